//! The user, as single reads and list rows show it, and a user's sessions.

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::clock::{DAY, Millis, SECOND};
use crate::directory::State;
use crate::ids;
use crate::ledger::Effect;
use crate::monocloud::{CONTENT_TYPE, SESSION, USER, forbidden, problem};
use crate::population::{Class, PERSONAL_CANARY};
use crate::world::World;

fn seconds(millis: Millis) -> i64 {
    millis.div_euclid(SECOND)
}

/// A list row. All times are whole seconds since 1970.
pub(crate) fn summary(world: &World, index: u32, state: State) -> Value {
    let directory = &world.directory;
    let people = &directory.people;
    let class = directory.class(index);
    let signed_in = state.signed_in_at.map(seconds);
    let block_until = match class {
        Class::Blocked => Some(seconds(people.epoch + 3_650 * DAY)),
        Class::BlockEnded => Some(seconds(people.epoch - DAY)),
        _ => None,
    };
    let external = class == Class::Federated;
    let external_providers = if external {
        json!([{"authenticator": "google", "provider_user_id": people.username(index), "claims": {"email": people.email(index)}}])
    } else {
        json!([])
    };
    let passkeys = if class == Class::NoPassword {
        json!([{"name": PERSONAL_CANARY, "passkey_id": people.username(index)}])
    } else {
        json!([])
    };
    json!({
        "user_id": ids::short_id(people.seed, USER, index),
        "creation_time": seconds(state.created_at),
        "last_updated": seconds(state.changed_at.unwrap_or(state.created_at)),
        "disabled": state.disabled,
        "block_until": block_until,
        "failure_count": if class == Class::Blocked { 5 } else { 0 },
        "has_password": directory.has_password(index),
        "force_password_reset": state.marked,
        "password_updated_at": state.changed_at.map(seconds),
        "last_sign_in_success": signed_in,
        "last_sign_in_attempt": signed_in,
        "last_activity": signed_in,
        "sign_in_attempts_count": i32::from(signed_in.is_some()),
        "sign_in_success_count": i32::from(signed_in.is_some()),
        "username": {"id": ids::short_id(people.seed, 9, index), "source": "monocloud", "username": people.username(index)},
        "emails": [{
            "id": ids::short_id(people.seed, 10, index), "source": "monocloud", "verification_source": "monocloud",
            "email": people.email(index), "verified": true, "primary": true,
        }],
        "phone_numbers": [],
        "passkeys": passkeys,
        "connections": [{"idp": if external { "google" } else { "monocloud" }, "connection_id": ids::short_id(people.seed, 11, 0)}],
        "external_providers": external_providers,
        "claims": {"name": format!("{} {}", people.given(index), people.family(index)), "given_name": people.given(index), "family_name": people.family(index)},
    })
}

/// A single user: the row plus public and private data.
pub(crate) fn body(world: &World, index: u32, state: State) -> Value {
    let mut body = summary(world, index, state);
    body["public_data"] = json!({"nickname": PERSONAL_CANARY});
    body["private_data"] = json!({"note": format!("{PERSONAL_CANARY} private {index}")});
    body
}

/// `GET /api/users/{user}`.
pub(crate) fn read(world: &mut World, index: u32) -> Answer {
    let state = world.directory.read(index);
    Answer::json(200, CONTENT_TYPE, &body(world, index, state))
}

fn open_sessions(world: &World, index: u32) -> impl Iterator<Item = (u32, String)> + use<> {
    let sessions = world.directory.state(index).sessions;
    let seed = world.directory.people.seed;
    (0..u8::BITS)
        .filter(move |bit| sessions >> bit & 1 == 1)
        .map(move |bit| (bit, ids::short_id(seed, SESSION + 16 * u64::from(bit), index)))
}

/// `GET /api/users/{user}/sessions`; 402 where the plan has none.
pub(crate) fn sessions(world: &World, index: u32) -> Answer {
    if world.active.faults.plan_without_sessions {
        return problem::of_status(402);
    }
    let sessions: Vec<Value> = open_sessions(world, index)
        .map(|(_, id)| json!({"session_id": id, "user_id": ids::short_id(world.directory.people.seed, USER, index)}))
        .collect();
    Answer::json(200, CONTENT_TYPE, &sessions)
}

/// `DELETE /api/users/{user}/sessions/{session}`; 402 where the plan has none.
pub(crate) fn delete_session(world: &mut World, call: &Call, index: u32) -> Answer {
    if world.active.faults.plan_without_sessions {
        return problem::of_status(402);
    }
    if forbidden(world, index, call.parameter("user")) {
        return problem::of_status(403);
    }
    let Some((bit, _)) = open_sessions(world, index).find(|(_, id)| id == call.parameter("session")) else {
        return problem::of_status(404);
    };
    let states = world.directory.change(index, true, |state| state.sessions &= !(1 << bit));
    world.record(call, Some(index), Effect::SessionEnded, Some(states), 204);
    Answer::no_content()
}
