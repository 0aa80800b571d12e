//! The password resource of a user: its state, and the forced change.
//!
//! Undocumented, and chosen here: the precedence of states (locked out, then expired, then must-change, so that both hide a mark);
//! what a forced change does for users without a password (400 `NO_PASSWORD`), behind a gateway (400 `ACCOUNT_NOT_USABLE`)
//! and under an external identity provider (400 `REQUEST_FAILED`); that disabled and locked users can be forced.

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::clock::iso_millis;
use crate::directory::{Directory, State};
use crate::ids;
use crate::ledger::{Effect, SideEffects};
use crate::pingone::{CONTENT_TYPE, POLICY, USER, environment_id, error, forbidden};
use crate::population::Class;
use crate::world::{World, marking};

/// The media type that makes the POST a forced change. It has no `+json`.
pub const FORCE_CHANGE_TYPE: &str = "application/vnd.pingidentity.password.forceChange";

/// Other operations that share method and path with the forced change.
const OTHER_OPERATIONS: [&str; 4] = [
    "application/vnd.pingidentity.password.check+json",
    "application/vnd.pingidentity.password.recover+json",
    "application/vnd.pingidentity.password.sendRecoveryCode",
    "application/vnd.pingidentity.password.unlock",
];

fn status(directory: &Directory, index: u32, state: State) -> &'static str {
    match directory.class(index) {
        Class::Gateway => "EXTERNAL",
        _ if !directory.has_password(index) => "NO_PASSWORD",
        _ if state.locked_out => "PASSWORD_LOCKED_OUT",
        _ if state.expired => "PASSWORD_EXPIRED",
        _ if state.marked => "MUST_CHANGE_PASSWORD",
        _ => "OK",
    }
}

fn body(world: &World, call: &Call, index: u32, status: &str, changed_at: Option<i64>) -> Value {
    let seed = world.directory.people.seed;
    let environment_id = environment_id(world);
    let environment = format!("{}/v1/environments/{environment_id}", call.origin);
    let user_id = ids::uuid(seed, USER, index);
    let policy_id = ids::uuid(seed, POLICY, 0);
    let password = json!({"href": format!("{environment}/users/{user_id}/password")});
    let mut body = json!({
        "_links": {
            "self": password,
            "environment": {"href": environment},
            "user": {"href": format!("{environment}/users/{user_id}")},
            "passwordPolicy": {"href": format!("{environment}/passwordPolicies/{policy_id}")},
            "password.check": password,
            "password.reset": password,
            "password.set": password,
            "password.recover": password,
        },
        "environment": {"id": environment_id},
        "user": {"id": user_id},
        "passwordPolicy": {"id": policy_id},
        "status": status,
    });
    if let Some(changed_at) = changed_at {
        body["lastChangedAt"] = iso_millis(changed_at).into();
    }
    if status == "PASSWORD_LOCKED_OUT" {
        body["secondsUntilUnlock"] = 900.into();
    }
    body
}

/// `GET …/password`.
pub(crate) fn read(world: &mut World, call: &Call, index: u32) -> Answer {
    let state = world.directory.read(index);
    let body = body(world, call, index, status(&world.directory, index, state), state.changed_at);
    Answer::json(200, CONTENT_TYPE, &body)
}

/// `POST …/password`: the media type says which operation it is.
pub(crate) fn post(world: &mut World, call: &Call, index: u32) -> Answer {
    match call.header("content-type") {
        Some(FORCE_CHANGE_TYPE) if call.body.is_empty() => force_change(world, call, index),
        Some(FORCE_CHANGE_TYPE) => error::invalid_request("The request body must be empty."),
        Some(other) if OTHER_OPERATIONS.contains(&other) => {
            error::invalid_request("The content type asks for another operation, which this simulator does not play.")
        }
        _ => error::unsupported_media_type(),
    }
}

fn force_change(world: &mut World, call: &Call, index: u32) -> Answer {
    let directory = &world.directory;
    if forbidden(directory, &world.active.faults.forbid_users, index, call.parameter("user")) {
        return error::no_permission(world);
    }
    let class = directory.class(index);
    match class {
        Class::Gateway => {
            return error::request_failed("ACCOUNT_NOT_USABLE", "The password is managed by an external directory.");
        }
        Class::Federated => {
            return error::request_failed("ACCOUNT_NOT_USABLE", "The user's identity provider is external.");
        }
        _ if !directory.has_password(index) => {
            return error::request_failed("NO_PASSWORD", "The user has no password.");
        }
        _ => {}
    }
    let effective = class != Class::WithoutEffect;
    let (before, after) = world.directory.change(index, true, |state| {
        state.marked |= effective;
        state.locked_out = false;
    });
    let side_effects =
        SideEffects { password_unlocked: before.locked_out, user_unlocked_event: true, mfa_counter_reset: true };
    let effect = if effective { marking(before) } else { Effect::WithoutEffect };
    world.record_with(call, Some(index), effect, Some((before, after)), 200, side_effects);
    // The official example answer shows NO_PASSWORD together with a lastChangedAt; some tenants may really answer so.
    let sample = matches!(class, Class::SampleAnswer | Class::WithoutEffect);
    let shown = if sample { "NO_PASSWORD" } else { status(&world.directory, index, after) };
    let body = body(world, call, index, shown, after.changed_at);
    Answer::json(200, CONTENT_TYPE, &body)
}
