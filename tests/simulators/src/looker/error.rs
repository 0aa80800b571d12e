//! Error bodies: `Error = {message, documentation_url}`, `ValidationError = Error + errors: [{field, code, message, …}]`.

use serde_json::json;

use crate::call::Answer;
use crate::looker::CONTENT_TYPE;
use crate::world::World;

const DOCUMENTATION: &str = "https://cloud.google.com/looker/docs/";

fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, CONTENT_TYPE, &json!({"message": message, "documentation_url": DOCUMENTATION}))
}

pub(crate) fn not_found() -> Answer {
    error(404, "Not found")
}

pub(crate) fn unauthenticated() -> Answer {
    error(401, "Requires authentication.")
}

/// 403, or by a switch 404: Looker may hide that something exists.
pub(crate) fn forbidden(world: &World) -> Answer {
    if world.active.faults.forbidden_as_not_found { not_found() } else { error(403, "Permission denied.") }
}

pub(crate) fn invalid(field: &str, message: &str) -> Answer {
    let body = json!({
        "message": "Validation Failed",
        "documentation_url": DOCUMENTATION,
        "errors": [{"field": field, "code": "invalid", "message": message, "documentation_url": DOCUMENTATION}],
    });
    Answer::json(422, CONTENT_TYPE, &body)
}

pub(crate) fn of_status(status: u16) -> Answer {
    match status {
        401 => unauthenticated(),
        403 => error(403, "Permission denied."),
        404 => not_found(),
        422 => invalid("", "is invalid"),
        429 => error(429, "Too many requests."),
        400 => error(400, "Bad request."),
        _ => error(status, "An error has occurred."),
    }
}
