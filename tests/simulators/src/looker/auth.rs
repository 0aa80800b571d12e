//! Login, logout, and who may call.
//!
//! Undocumented, and chosen here: bad credentials are 404 (the login operation declares no 401); a bad token is 401, which no
//! operation declares but the troubleshooting page names.

use serde_json::json;

use crate::call::{Answer, Call};
use crate::ledger::Effect;
use crate::looker::{
    CONTENT_TYPE, FORCE_ALL, PASSWORD_CONFIG, PATCH_CREDENTIAL, READ_CREDENTIAL, SEARCH_CREDENTIALS, error,
};
use crate::world::World;

const HOUR: u32 = 3_600;

/// `POST /login`: credentials in the form body; in the query they are not accepted any more.
pub(crate) fn login(world: &mut World, call: &Call) -> Answer {
    let form = call.form();
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let expected = (Some(world.credentials.client_id.as_str()), Some(world.credentials.client_secret.as_str()));
    if world.active.faults.refuse_credentials || (field("client_id"), field("client_secret")) != expected {
        return error::not_found();
    }
    let (token, lifetime) = world.issue_token(HOUR, str::to_owned);
    let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime, "refresh_token": null});
    Answer::json(200, CONTENT_TYPE, &body)
}

/// The vendor's page writes `token <t>`, its SDKs send `Bearer <t>`.
fn token(call: &Call) -> Option<&str> {
    let value = call.header("authorization")?;
    value.strip_prefix("token ").or_else(|| value.strip_prefix("Bearer "))
}

/// `DELETE /logout`.
pub(crate) fn logout(world: &mut World, call: &Call) -> Answer {
    if let Some(token) = token(call) {
        world.revoke_token(token);
    }
    world.record(call, None, Effect::LoggedOut, None, 204);
    Answer::no_content()
}

/// Lets a call in, or answers with the refusal. Counts administrative calls.
pub(crate) fn admit(world: &mut World, call: &Call) -> Result<(), Answer> {
    if !token(call).is_some_and(|token| world.token_is_valid(token)) {
        return Err(error::unauthenticated());
    }
    world.counters.administrative_calls += 1;
    let faults = &world.active.faults;
    if faults.administrative_allowance.is_some_and(|allowance| world.counters.administrative_calls > allowance) {
        return Err(error::of_status(429));
    }
    let credential_call =
        matches!(call.template, FORCE_ALL | PASSWORD_CONFIG | PATCH_CREDENTIAL | READ_CREDENTIAL | SEARCH_CREDENTIALS);
    let denied = faults.core_denies_credentials && credential_call;
    if faults.forbid_everything || denied || (faults.read_only && call.is_write()) {
        return Err(error::forbidden(world));
    }
    Ok(())
}
