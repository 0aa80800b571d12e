//! Errors: `application/problem+json`, and the three shapes of 422, which only `type` tells apart.

use serde_json::{Value, json};

use crate::call::Answer;

const CONTENT_TYPE: &str = "application/problem+json";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn problem(status: u16, kind: &str, title: &str, errors: Option<Value>) -> Answer {
    let mut body = json!({"type": kind, "title": title, "status": status, "traceId": TRACE});
    if let Some(errors) = errors {
        body["errors"] = errors;
    }
    Answer::json(status, CONTENT_TYPE, &body)
}

/// 422 with `errors: [{code, description}]`.
pub(crate) fn identity_validation(code: &str, description: &str) -> Answer {
    let kind = "https://httpstatuses.io/422#identity-validation-error";
    problem(422, kind, "Identity Validation Error", Some(json!([{"code": code, "description": description}])))
}

/// 422 with `errors: {field: [message]}`.
pub(crate) fn validation(field: &str, message: &str) -> Answer {
    problem(422, "https://httpstatuses.io/422#validation-error", "Validation Error", Some(json!({field: [message]})))
}

/// 422 without `errors`.
pub(crate) fn unprocessable() -> Answer {
    problem(422, "https://httpstatuses.io/422", "Unprocessable Entity", None)
}

pub(crate) fn of_status(status: u16) -> Answer {
    let title = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        422 => return unprocessable(),
        429 => "Resource Exhausted",
        _ => "Server Error",
    };
    problem(status, &format!("https://httpstatuses.io/{status}"), title, None)
}
