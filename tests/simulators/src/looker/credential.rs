//! The e-mail credential: the flag, the one call for everybody, and the password rules.
//!
//! Undocumented, and chosen here: the flag can be set on a disabled credential; the call for everybody answers `"success"`.

use serde_json::{Value, json};

use crate::call::{Answer, Call, sparse};
use crate::clock::iso_offset;
use crate::directory::State;
use crate::ledger::Effect;
use crate::looker::{CONTENT_TYPE, error, forbidden, has_credential, id};
use crate::population::{Class, SECRET_CANARY};
use crate::world::{World, marking};

const FLAG: &str = "forced_password_reset_at_next_login";

/// The whole credential. Its two URLs are live one-time secrets, which normal reads carry.
pub(crate) fn body(world: &World, index: u32, state: State) -> Value {
    let directory = &world.directory;
    let user_id = id(directory, index);
    let token = format!("{SECRET_CANARY}{:016x}", directory.people.bits(index, 21));
    json!({
        "can": {"show_password_reset_url": true},
        "created_at": iso_offset(state.created_at),
        "email": directory.people.email(index),
        FLAG: state.marked,
        "user_id": user_id,
        "is_disabled": directory.class(index) == Class::CredentialDisabled,
        // Seen as an empty string for somebody who never logged in.
        "logged_in_at": state.signed_in_at.map(iso_offset).unwrap_or_default(),
        "password_reset_url": format!("https://looker.example/password/reset/{token}"),
        "account_setup_url": format!("https://looker.example/account/setup/{token}"),
        "password_reset_url_expired": false,
        "account_setup_url_expired": false,
        "type": "email",
        "url": format!("https://looker.example/api/4.0/users/{user_id}/credentials_email"),
        "user_url": format!("https://looker.example/api/4.0/users/{user_id}"),
    })
}

/// Sends `value` with the members that the caller asked for, and counts secrets that go out.
pub(crate) fn answer(world: &mut World, call: &Call, value: Value) -> Answer {
    let value = match (call.query("fields").filter(|fields| !fields.is_empty()), value) {
        (None, value) => value,
        (Some(fields), Value::Array(rows)) => rows.into_iter().map(|row| sparse(row, fields)).collect(),
        (Some(fields), value) => sparse(value, fields),
    };
    let answer = Answer::json(200, CONTENT_TYPE, &value);
    let secret = answer.body.windows(SECRET_CANARY.len()).any(|window| window == SECRET_CANARY.as_bytes());
    world.counters.secrets_shown += u64::from(secret);
    answer
}

/// `GET /users/{user}/credentials_email`.
pub(crate) fn read(world: &mut World, call: &Call, index: u32) -> Answer {
    if !has_credential(&world.directory, index) {
        return error::not_found();
    }
    let state = world.directory.read(index);
    let body = body(world, index, state);
    answer(world, call, body)
}

/// `PATCH /users/{user}/credentials_email`. Only the flag can be changed here.
pub(crate) fn patch(world: &mut World, call: &Call, index: u32) -> Answer {
    if forbidden(world, index, call.parameter("user")) {
        return error::forbidden(world);
    }
    if !has_credential(&world.directory, index) {
        return error::not_found();
    }
    let Ok(Value::Object(patch)) = serde_json::from_slice::<Value>(&call.body) else {
        return error::of_status(400);
    };
    if let Some(field) = patch.keys().find(|field| *field != FLAG) {
        return error::invalid(field, "this simulator changes nothing but the flag");
    }
    let Some(Value::Bool(wanted)) = patch.get(FLAG).cloned() else {
        return error::invalid(FLAG, "must be a boolean");
    };
    let effective = world.directory.class(index) != Class::WithoutEffect;
    let (before, after) = world.directory.change(index, true, |state| {
        if effective {
            state.marked = wanted;
        }
    });
    let effect = match (effective, wanted) {
        (false, _) => Effect::WithoutEffect,
        (true, true) => marking(before),
        (true, false) => Effect::Unmarked,
    };
    world.record(call, Some(index), effect, Some((before, after)), 200);
    let body = body(world, index, after);
    answer(world, call, body)
}

/// `PUT /password_config/force_password_reset_at_next_login_for_all_users`: the answer is a bare JSON string.
pub(crate) fn force_all(world: &mut World, call: &Call) -> Answer {
    world.directory.force_all();
    world.record(call, None, Effect::MarkedEverybody, None, 200);
    Answer::json(200, CONTENT_TYPE, &"success")
}

/// `GET /password_config`: rules only, no trace of a call for everybody.
pub(crate) fn config() -> Answer {
    let body = json!({
        "can": {}, "min_length": 12, "require_numeric": true, "require_upperlower": true, "require_special": false,
        "expiration_enabled": false, "expiration_duration_days": 90, "policy_enabled_at": null,
    });
    Answer::json(200, CONTENT_TYPE, &body)
}
