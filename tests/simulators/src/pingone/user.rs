//! The user resource, a user's sessions, and the environment itself.

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::clock::iso_millis;
use crate::directory::State;
use crate::ids;
use crate::ledger::Effect;
use crate::pingone::{CONTENT_TYPE, GROUP, POPULATION, SESSION, USER, environment_id, error, forbidden, population_of};
use crate::population::{Class, PERSONAL_CANARY};
use crate::world::World;

/// `GET /v1/environments/{environment}`.
pub(crate) fn environment(world: &World, call: &Call) -> Answer {
    let id = environment_id(world);
    let body = json!({
        "_links": {"self": {"href": format!("{}/v1/environments/{id}", call.origin)}},
        "id": id,
        "name": "Simulated environment",
        "type": "PRODUCTION",
        "region": "EU",
        "license": {"id": ids::uuid(world.directory.people.seed, 9, 0)},
    });
    Answer::json(200, CONTENT_TYPE, &body)
}

/// A user as lists and single reads show it. It never tells anything about the password but a link.
pub(crate) fn body(world: &World, call: &Call, index: u32, state: State) -> Value {
    let directory = &world.directory;
    let people = &directory.people;
    let class = directory.class(index);
    let environment = format!("{}/v1/environments/{}", call.origin, environment_id(world));
    let id = ids::uuid(people.seed, USER, index);
    let href = format!("{environment}/users/{id}");
    let locked = class == Class::AccountLocked;
    let identity_provider = if class == Class::Federated {
        json!({"id": ids::uuid(people.seed, 8, 0), "type": "SAML"})
    } else {
        json!({"type": "PING_ONE"})
    };
    let mut body = json!({
        "_links": {"self": {"href": href}, "password": {"href": format!("{href}/password")}, "environment": {"href": environment}},
        "id": id,
        "environment": {"id": environment_id(world)},
        "account": {"canAuthenticate": !locked && !state.disabled, "status": if locked { "LOCKED" } else { "OK" }},
        "createdAt": iso_millis(state.created_at),
        "email": people.email(index),
        "enabled": !state.disabled,
        "identityProvider": identity_provider,
        "lifecycle": {"status": "ACCOUNT_OK"},
        "mfaEnabled": false,
        "name": {"given": people.given(index), "family": people.family(index), "formatted": format!("{} {}", people.given(index), people.family(index))},
        "nickname": PERSONAL_CANARY,
        "population": {"id": ids::uuid(people.seed, POPULATION, population_of(index) as u32)},
        "updatedAt": iso_millis(state.created_at),
        "username": people.username(index),
        "verifyStatus": "NOT_INITIATED",
    });
    if locked {
        body["account"]["lockedAt"] = iso_millis(people.epoch).into();
    }
    if let Some(at) = state.signed_in_at {
        body["lastSignOn"] = json!({"at": iso_millis(at), "remoteIp": "192.0.2.1"});
    }
    for asked in call.query("include").unwrap_or_default().split(',') {
        let groups = directory.groups.iter().enumerate().filter(|(_, group)| directory.is_member(group, index));
        match asked {
            "memberOfGroupIDs" => {
                body[asked] = groups.map(|(position, _)| ids::uuid(people.seed, GROUP, position as u32)).collect();
            }
            "memberOfGroupNames" => body[asked] = groups.map(|(_, group)| group.name.clone()).collect(),
            _ => {}
        }
    }
    body
}

/// `GET …/users/{user}`.
pub(crate) fn read(world: &mut World, call: &Call, index: u32) -> Answer {
    let state = world.directory.read(index);
    Answer::json(200, CONTENT_TYPE, &body(world, call, index, state))
}

fn session_id(world: &World, index: u32, bit: u32) -> String {
    ids::uuid(world.directory.people.seed, SESSION + 16 * u64::from(bit), index)
}

fn open_sessions(world: &World, index: u32) -> impl Iterator<Item = u32> + use<> {
    let sessions = world.directory.state(index).sessions;
    (0..u8::BITS).filter(move |bit| sessions >> bit & 1 == 1)
}

/// `GET …/users/{user}/sessions`.
pub(crate) fn sessions(world: &World, call: &Call, index: u32) -> Answer {
    let href = format!("{}{}", call.origin, call.target);
    let sessions: Vec<Value> = open_sessions(world, index)
        .map(|bit| {
            let id = session_id(world, index, bit);
            json!({"_links": {"self": {"href": format!("{href}/{id}")}}, "id": id, "user": {"id": call.parameter("user")}})
        })
        .collect();
    let size = sessions.len();
    let body =
        json!({"_links": {"self": {"href": href}}, "_embedded": {"sessions": sessions}, "count": size, "size": size});
    Answer::json(200, CONTENT_TYPE, &body)
}

/// `DELETE …/users/{user}/sessions/{session}`.
pub(crate) fn delete_session(world: &mut World, call: &Call, index: u32) -> Answer {
    if forbidden(&world.directory, &world.active.faults.forbid_users, index, call.parameter("user")) {
        return error::no_permission(world);
    }
    let wanted = call.parameter("session");
    let Some(bit) = open_sessions(world, index).find(|bit| session_id(world, index, *bit) == wanted) else {
        return error::not_found("The requested resource object was not found.");
    };
    let states = world.directory.change(index, true, |state| state.sessions &= !(1 << bit));
    world.record(call, Some(index), Effect::SessionEnded, Some(states), 204);
    Answer::no_content()
}
