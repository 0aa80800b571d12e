//! Error bodies: `{id, code, message, details: [{code, target?, message, innerError?}]}` ("Error codes").

use serde_json::{Value, json};

use crate::call::Answer;
use crate::pingone::CONTENT_TYPE;
use crate::world::World;

fn body(status: u16, code: &str, message: &str, details: Value) -> Answer {
    let body =
        json!({"id": "8b2f1b7a-2a4f-4f63-9f6c-5d0c5e0f3c11", "code": code, "message": message, "details": details});
    Answer::json(status, CONTENT_TYPE, &body)
}

fn detail(status: u16, code: &str, message: &str, detail: &str) -> Answer {
    body(status, code, message, json!([{"code": detail, "message": message}]))
}

pub(crate) fn not_found(message: &str) -> Answer {
    body(404, "NOT_FOUND", message, json!([]))
}

pub(crate) fn invalid_token() -> Answer {
    detail(
        401,
        "ACCESS_FAILED",
        "The request could not be completed. You do not have access to this resource.",
        "INVALID_TOKEN",
    )
}

/// Missing permission: 403, or 401 by a switch, since the vendor warns that the status inside the 4xx class may change.
pub(crate) fn no_permission(world: &World) -> Answer {
    let status = if world.active.faults.permission_as_401 { 401 } else { 403 };
    let message = "The request could not be completed. You do not have access to this resource.";
    detail(status, "ACCESS_FAILED", message, "INSUFFICIENT_PERMISSIONS")
}

pub(crate) fn unsupported_media_type() -> Answer {
    body(415, "INVALID_REQUEST", "The content type of the request is not supported.", json!([]))
}

pub(crate) fn invalid_request(message: &str) -> Answer {
    body(400, "INVALID_REQUEST", message, json!([]))
}

pub(crate) fn invalid_data(code: &str, target: &str, message: &str) -> Answer {
    body(
        400,
        "INVALID_DATA",
        "The request could not be completed. One or more validation errors were in the request.",
        json!([{
            "code": code, "target": target, "message": message
        }]),
    )
}

pub(crate) fn request_failed(code: &str, message: &str) -> Answer {
    detail(400, "REQUEST_FAILED", message, code)
}

pub(crate) fn invalid_filter(message: &str, attributes: &[&str], operators: &[&str]) -> Answer {
    body(
        400,
        "INVALID_REQUEST",
        "The request could not be completed. The filter is invalid.",
        json!([{
            "code": "INVALID_FILTER", "target": "filter", "message": message,
            "innerError": {"supportedAttributes": attributes, "supportedOperators": operators}
        }]),
    )
}

pub(crate) fn of_status(status: u16) -> Answer {
    match status {
        400 => invalid_request("The request could not be completed."),
        401 => invalid_token(),
        403 => detail(403, "ACCESS_FAILED", "You do not have access to this resource.", "INSUFFICIENT_PERMISSIONS"),
        404 => not_found("The requested resource object was not found."),
        415 => unsupported_media_type(),
        429 => detail(429, "REQUEST_LIMITED", "You have exceeded the allowed number of requests.", "LIMIT_EXCEEDED"),
        405 => body(405, "INVALID_REQUEST", "The request method is not supported.", json!([])),
        _ => body(status, "UNEXPECTED_ERROR", "An unexpected error occurred.", json!([])),
    }
}
