//! Who may call? Client-credentials grant of a worker application, and bearer tokens. There are no scopes: what a worker may do
//! comes from its roles.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::call::{Answer, Call};
use crate::pingone::{environment_id, error};
use crate::world::World;

const HOUR: u32 = 3_600;

/// `POST /{environment}/as/token`. The client authenticates by HTTP Basic or in the form.
pub(crate) fn token(world: &mut World, call: &Call, worker_environment: &str) -> Answer {
    if call.parameter("environment") != worker_environment {
        return error::not_found("The environment was not found.");
    }
    let form = call.form();
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    if field("grant_type").as_deref() != Some("client_credentials") {
        return oauth_error(400, "unsupported_grant_type", "Unsupported grant_type");
    }
    let basic = call.header("authorization").and_then(|value| value.strip_prefix("Basic ")).and_then(decode_basic);
    let posted = field("client_id").zip(field("client_secret"));
    let expected = (world.credentials.client_id.clone(), world.credentials.client_secret.clone());
    if world.active.faults.refuse_credentials || basic.or(posted) != Some(expected) {
        return oauth_error(401, "invalid_client", "Invalid client credentials");
    }
    let environment = environment_id(world);
    let (token, lifetime) = world.issue_token(HOUR, |secret| jwt(secret, &environment));
    let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime});
    Answer::json(200, "application/json", &body).with_header("cache-control", "no-store")
}

fn oauth_error(status: u16, code: &str, description: &str) -> Answer {
    Answer::json(status, "application/json", &json!({"error": code, "error_description": description}))
}

fn decode_basic(text: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

/// The shape of an RS256 JWT. The signature is the secret itself: nobody but the simulator has to check it.
fn jwt(secret: &str, environment: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"default"}"#);
    let claims = URL_SAFE_NO_PAD.encode(json!({"env": environment, "sub": "worker"}).to_string());
    format!("{header}.{claims}.{secret}")
}

/// Lets a call in, or answers with the refusal.
pub(crate) fn admit(world: &World, call: &Call) -> Result<(), Answer> {
    let bearer = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if !bearer.is_some_and(|token| world.token_is_valid(token)) {
        return Err(error::invalid_token());
    }
    if call.parameter("environment") != environment_id(world) {
        return Err(error::not_found("The environment was not found."));
    }
    let faults = &world.active.faults;
    if faults.forbid_everything || (faults.read_only && call.is_write()) {
        return Err(error::no_permission(world));
    }
    Ok(())
}
