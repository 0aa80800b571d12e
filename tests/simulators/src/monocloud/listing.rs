//! Lists: `page` (from 1), `size`, `sort`, `filter`; bare arrays, with the header `x-pagination`.
//!
//! Undocumented, and chosen here: pages have at most 100 rows, and the header tells when more were asked for; without `sort` the
//! order means nothing; `filter` looks for its text anywhere in username, e-mail address and name, and knows no field names.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::directory::Directory;
use crate::faults::{Paging, PagingHeaders};
use crate::monocloud::{CONTENT_TYPE, group_id, group_position, problem, user};
use crate::world::{Order, World};

const USUAL_PAGE: usize = 10;
const LARGEST_PAGE: usize = 100;

const SORT_FIELDS: [&str; 9] = [
    "failure_count",
    "last_sign_in_attempt",
    "sign_in_attempts_count",
    "last_sign_in_success",
    "sign_in_success_count",
    "last_activity",
    "block_until",
    "creation_time",
    "last_updated",
];

/// A page that was asked for, and what the header says about it.
struct Page {
    rows: Vec<u32>,
    header: Option<String>,
}

fn page(paging: &Paging, call: &Call, rows: &[u32]) -> Result<Page, Answer> {
    let number = |name: &'static str, usual: usize| match call.query(name).map(str::parse::<usize>) {
        None => Ok(usual),
        Some(Ok(number)) if number > 0 => Ok(number),
        Some(_) => Err(problem::validation(name, "must be a positive number")),
    };
    let (asked, size) = (number("page", 1)?, number("size", USUAL_PAGE)?.min(LARGEST_PAGE));
    let size = paging.max_rows.map_or(size, |most| size.min(most.max(1) as usize));
    let pages = rows.len().div_ceil(size);
    // With empty pages in between, the real ones are the first, the third, and so on.
    let (wanted, empty, last) = match paging.empty_pages {
        true => (asked.div_ceil(2), asked % 2 == 0, pages * 2 - usize::from(pages > 0)),
        false => (asked, false, pages),
    };
    let wanted = if paging.looping { wanted.min(pages.max(1)) } else { wanted };
    let start = ((wanted - 1) * size).min(rows.len());
    let end = if empty { start } else { (start + size).min(rows.len()) };
    let first = if paging.repeated_rows && end > start { start.saturating_sub(1) } else { start };
    let has_next = asked < last || paging.endless || paging.looping;
    let header = json!({
        "page_size": size,
        "current_page": asked,
        "total_count": rows.len() as i64 + paging.total_off_by,
        "has_previous": asked > 1,
        "has_next": has_next,
    });
    let header = (paging.headers != PagingHeaders::None).then(|| header.to_string());
    Ok(Page { rows: rows[first..end].to_vec(), header })
}

fn respond(rows: Vec<Value>, header: Option<String>) -> Answer {
    let answer = Answer::json(200, CONTENT_TYPE, &rows);
    match header {
        Some(header) => answer.with_header("x-pagination", header),
        None => answer,
    }
}

/// Swaps the users with an equal creation time on every second call.
fn shaken(world: &World, call: &Call, rows: Arc<Vec<u32>>) -> Arc<Vec<u32>> {
    if !world.active.faults.paging.unstable_ties || world.counters.requests(call.template).is_multiple_of(2) {
        return rows;
    }
    let directory = &world.directory;
    let mut shaken = rows.to_vec();
    shaken
        .chunk_by_mut(|a, b| directory.state(*a).created_at / 1_000 == directory.state(*b).created_at / 1_000)
        .for_each(<[u32]>::reverse);
    Arc::new(shaken)
}

fn sorted(
    world: &mut World,
    call: &Call,
    key: &str,
    keep: impl Fn(&Directory, u32) -> bool,
) -> Result<Arc<Vec<u32>>, Answer> {
    let Some(sort) = call.query("sort") else {
        return Ok(world.listing(key, Order::Unspecified, keep));
    };
    let invalid = || problem::validation("sort", "is not a field followed by :1 or :-1");
    let (field, descending) = match sort.split_once(':') {
        Some((field, "1")) => (field, false),
        Some((field, "-1")) => (field, true),
        _ => return Err(invalid()),
    };
    if !SORT_FIELDS.contains(&field) {
        return Err(invalid());
    }
    if field == "creation_time" {
        let order = if descending { Order::IndexDescending } else { Order::Index };
        let rows = world.listing(key, order, keep);
        return Ok(shaken(world, call, rows));
    }
    // The other fields change with every sign-in, so nothing is remembered for them.
    let mut rows = world.listing(key, Order::Index, keep).to_vec();
    rows.sort_by_key(|index| {
        let state = world.directory.state(*index);
        let value = if field == "last_updated" { state.changed_at } else { state.signed_in_at };
        if descending { value.map(|value| -value) } else { value }
    });
    Ok(Arc::new(rows))
}

fn filter(call: &Call) -> String {
    call.query("filter").unwrap_or_default().trim().trim_matches('"').to_lowercase()
}

fn contains(directory: &Directory, index: u32, text: &str) -> bool {
    let people = &directory.people;
    text.is_empty()
        || people.username(index).contains(text)
        || people.email(index).to_lowercase().contains(text)
        || format!("{} {}", people.given(index), people.family(index)).contains(text)
}

fn user_page(world: &mut World, call: &Call, rows: &[u32]) -> Answer {
    match page(&world.active.faults.paging, call, rows) {
        Ok(page) => {
            let rows = page.rows.iter().map(|index| {
                let state = world.directory.read(*index);
                user::summary(world, *index, state)
            });
            respond(rows.collect(), page.header)
        }
        Err(refusal) => refusal,
    }
}

/// `GET /api/users`.
pub(crate) fn users(world: &mut World, call: &Call) -> Answer {
    let text = filter(call);
    match sorted(world, call, &format!("users {text}"), |directory, index| contains(directory, index, &text)) {
        Ok(rows) => user_page(world, call, &rows),
        Err(refusal) => refusal,
    }
}

/// `GET /api/users/groups/{group}/assigned`.
pub(crate) fn group_users(world: &mut World, call: &Call) -> Answer {
    let Some(position) = group_position(world, call.parameter("group")) else { return problem::of_status(404) };
    let text = filter(call);
    let keep = |directory: &Directory, index: u32| {
        directory.is_member(&directory.groups[position], index) && contains(directory, index, &text)
    };
    match sorted(world, call, &format!("group {position} {text}"), keep) {
        Ok(rows) => user_page(world, call, &rows),
        Err(refusal) => refusal,
    }
}

fn group_body(world: &World, position: usize) -> Value {
    json!({"group_id": group_id(world, position), "name": world.directory.groups[position].name, "description": null, "type": "custom"})
}

fn group_page(world: &World, call: &Call, positions: &[u32]) -> Answer {
    match page(&world.active.faults.paging, call, positions) {
        Ok(page) => {
            respond(page.rows.iter().map(|position| group_body(world, *position as usize)).collect(), page.header)
        }
        Err(refusal) => refusal,
    }
}

/// `GET /api/groups`.
pub(crate) fn groups(world: &World, call: &Call) -> Answer {
    let text = filter(call);
    let groups = world.directory.groups.iter().enumerate();
    let chosen: Vec<u32> = groups
        .filter(|(_, group)| group.name.to_lowercase().contains(&text))
        .map(|(position, _)| position as u32)
        .collect();
    group_page(world, call, &chosen)
}

/// `GET /api/groups/{group}`.
pub(crate) fn group(world: &World, call: &Call) -> Answer {
    match group_position(world, call.parameter("group")) {
        Some(position) => Answer::json(200, CONTENT_TYPE, &group_body(world, position)),
        None => problem::of_status(404),
    }
}

/// `GET /api/users/{user}/groups`.
pub(crate) fn groups_of(world: &World, call: &Call, index: u32) -> Answer {
    let groups = world.directory.groups.iter().enumerate();
    let chosen: Vec<u32> = groups
        .filter(|(_, group)| world.directory.is_member(group, index))
        .map(|(position, _)| position as u32)
        .collect();
    group_page(world, call, &chosen)
}
