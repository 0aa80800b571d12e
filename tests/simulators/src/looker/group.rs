//! Groups, their direct members and their subgroups.

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::looker::listing::{like, respond, slice};
use crate::looker::{credential, error, group_id, group_position, user};
use crate::world::{Order, World};

fn body(world: &World, position: usize) -> Value {
    let directory = &world.directory;
    let group = &directory.groups[position];
    let members = (0..directory.people.users).filter(|index| directory.is_member(group, *index)).count();
    json!({
        "can": {"show": true},
        "id": group_id(position),
        "name": group.name,
        "user_count": members,
        "externally_managed": false,
        "external_group_id": null,
    })
}

fn page(world: &mut World, call: &Call, positions: Vec<u32>) -> Answer {
    match slice(&world.active.faults.paging, call, &positions) {
        Ok(slice) => respond(world, call, slice, |world, position| body(world, position as usize)),
        Err(refusal) => refusal,
    }
}

fn positions(world: &World, keep: impl Fn(usize) -> bool) -> Vec<u32> {
    (0..world.directory.groups.len()).filter(|position| keep(*position)).map(|position| position as u32).collect()
}

/// `GET /groups`, all or those of `ids`.
pub(crate) fn list(world: &mut World, call: &Call) -> Answer {
    let ids = call.query("ids");
    let chosen = positions(world, |position| ids.is_none_or(|ids| ids.split(',').any(|id| id == group_id(position))));
    page(world, call, chosen)
}

/// `GET /groups/search` by `name` (with wildcards) and `id`.
pub(crate) fn search(world: &mut World, call: &Call) -> Answer {
    let groups = &world.directory.groups;
    let chosen = positions(world, |position| {
        call.query("name").is_none_or(|pattern| like(&groups[position].name, pattern))
            && call.query("id").is_none_or(|id| id == group_id(position))
    });
    page(world, call, chosen)
}

/// `GET /groups/{group}`.
pub(crate) fn read(world: &mut World, call: &Call) -> Answer {
    let Some(position) = group_position(world, call.parameter("group")) else { return error::not_found() };
    let body = body(world, position);
    credential::answer(world, call, body)
}

/// `GET /groups/{group}/groups`.
pub(crate) fn subgroups(world: &mut World, call: &Call) -> Answer {
    let Some(parent) = group_position(world, call.parameter("group")) else { return error::not_found() };
    let name = &world.directory.groups[parent].name;
    let children = positions(world, |position| world.directory.groups[position].parent.as_ref() == Some(name));
    let rows: Vec<Value> = children.into_iter().map(|position| body(world, position as usize)).collect();
    credential::answer(world, call, Value::Array(rows))
}

/// `GET /groups/{group}/users`: direct members.
pub(crate) fn users(world: &mut World, call: &Call) -> Answer {
    let Some(position) = group_position(world, call.parameter("group")) else { return error::not_found() };
    let order = if call.query("sorts").is_some() { Order::Index } else { Order::Unspecified };
    let rows = world.listing(&format!("group {position}"), order, move |directory, index| {
        directory.is_member(&directory.groups[position], index)
    });
    match slice(&world.active.faults.paging, call, &rows) {
        Ok(slice) => respond(world, call, slice, |world, index| {
            let state = world.directory.read(index);
            user::body(world, index, state)
        }),
        Err(refusal) => refusal,
    }
}
