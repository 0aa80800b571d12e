//! Users and their sessions.

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::directory::State;
use crate::ledger::Effect;
use crate::looker::{CONTENT_TYPE, credential, error, forbidden, group_id, has_credential, id};
use crate::population::Class;
use crate::world::World;

/// The whole user, with the e-mail credential inside. Google Cloud core, when it denies credential calls, shows none.
pub(crate) fn body(world: &World, index: u32, state: State) -> Value {
    let directory = &world.directory;
    let people = &directory.people;
    let class = directory.class(index);
    let shows_credential = has_credential(directory, index) && !world.active.faults.core_denies_credentials;
    let credential = shows_credential.then(|| credential::body(world, index, state));
    let has_email = !matches!(class, Class::Embed | Class::ServiceAccount);
    let saml = matches!(class, Class::NoPassword | Class::Federated);
    let groups = directory.groups.iter().enumerate().filter(|(_, group)| directory.is_member(group, index));
    let mut body = json!({
        "can": {"show": true},
        "id": id(directory, index),
        "first_name": people.given(index),
        "last_name": people.family(index),
        "display_name": format!("{} {}", people.given(index), people.family(index)),
        "email": has_email.then(|| people.email(index)),
        "is_disabled": state.disabled,
        "is_service_account": class == Class::ServiceAccount,
        "verified_looker_employee": false,
        "presumed_looker_employee": false,
        "credentials_email": credential,
        "credentials_saml": saml.then(|| json!({"email": people.email(index), "type": "saml"})),
        "credentials_embed": if class == Class::Embed { json!([{"external_user_id": people.username(index), "type": "embed"}]) } else { json!([]) },
        "credentials_api3": if class == Class::ApiUser { json!([{"id": "1", "type": "api3"}]) } else { json!([]) },
        "group_ids": groups.map(|(position, _)| group_id(position)).collect::<Vec<_>>(),
        "role_ids": if class == Class::ApiUser { json!(["2"]) } else { json!([]) },
        "url": format!("https://looker.example/api/4.0/users/{}", id(directory, index)),
    });
    if world.active.faults.sparse_rows
        && let Some(body) = body.as_object_mut()
    {
        body.retain(|member, _| !member.starts_with("credentials_"));
    }
    body
}

/// `GET /user`: the API user.
pub(crate) fn me(world: &mut World, call: &Call) -> Answer {
    let index = world.directory.people.users;
    read(world, call, index)
}

/// `GET /users/{user}`.
pub(crate) fn read(world: &mut World, call: &Call, index: u32) -> Answer {
    let state = world.directory.read(index);
    let body = body(world, index, state);
    credential::answer(world, call, body)
}

fn open_sessions(world: &World, index: u32) -> impl Iterator<Item = (u32, String)> + use<> {
    let sessions = world.directory.state(index).sessions;
    let user = id(&world.directory, index);
    (0..u8::BITS).filter(move |bit| sessions >> bit & 1 == 1).map(move |bit| (bit, format!("{user}{bit:02}")))
}

/// `GET /users/{user}/sessions`.
pub(crate) fn sessions(world: &World, call: &Call, index: u32) -> Answer {
    let sessions: Vec<Value> = open_sessions(world, index)
        .map(|(_, id)| json!({"id": id, "ip_address": "192.0.2.1", "browser": "Firefox", "credentials_type": "email"}))
        .collect();
    let sessions = match call.query("fields") {
        Some(fields) => sessions.into_iter().map(|session| crate::call::sparse(session, fields)).collect(),
        None => sessions,
    };
    Answer::json(200, CONTENT_TYPE, &sessions)
}

/// `DELETE /users/{user}/sessions/{session}`.
pub(crate) fn delete_session(world: &mut World, call: &Call, index: u32) -> Answer {
    if forbidden(world, index, call.parameter("user")) {
        return error::forbidden(world);
    }
    let Some((bit, _)) = open_sessions(world, index).find(|(_, id)| id == call.parameter("session")) else {
        return error::not_found();
    };
    let states = world.directory.change(index, true, |state| state.sessions &= !(1 << bit));
    world.record(call, Some(index), Effect::SessionEnded, Some(states), 204);
    Answer::no_content()
}
