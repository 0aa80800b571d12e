//! Collections: users, groups, populations. Pages are chained by `_links.next.href`, an absolute URL with an opaque cursor; the
//! last page has none ("Paging, ordering, and filtering collections").
//!
//! Undocumented, and chosen here: a page has 100 entries unless asked otherwise and never more than 200; a stale or foreign
//! cursor is 400 `INVALID_VALUE`; group membership in filters is direct.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::clock::{Millis, SECOND};
use crate::directory::Directory;
use crate::ids;
use crate::pingone::filter::{Filter, Operator};
use crate::pingone::{
    CONTENT_TYPE, GROUP, POPULATION, POPULATIONS, environment_id, error, in_scope, population_of, user,
};
use crate::world::{Order, World};

const USUAL_PAGE: usize = 100;
const LARGEST_PAGE: usize = 200;

const USER_ATTRIBUTES: [&str; 10] = [
    "username",
    "email",
    "enabled",
    "name.given",
    "name.family",
    "name.formatted",
    "nickname",
    "population.id",
    "externalId",
    "memberOfGroups",
];

fn user_filter_allows(attribute: &str, operator: Operator) -> bool {
    match operator {
        Operator::Eq => USER_ATTRIBUTES.contains(&attribute) && attribute != "memberOfGroups",
        Operator::Sw => {
            USER_ATTRIBUTES.contains(&attribute) && !["enabled", "population.id", "memberOfGroups"].contains(&attribute)
        }
        Operator::Ew => ["email", "name.family", "name.given"].contains(&attribute),
        Operator::Co => attribute == "email",
    }
}

/// Where a listing goes on. It is sent as hexadecimal digits that mean nothing to anybody else.
struct Cursor {
    /// The first index that may be on the page.
    from: u32,
    issued: Millis,
    /// Grows on pages that are empty on purpose, so that each has a link of its own.
    empties: u32,
    filter: String,
}

const CURSOR_KEY: u8 = 0xa7;

impl Cursor {
    fn encode(&self) -> String {
        let text = format!("{};{};{};{}", self.from, self.issued, self.empties, self.filter);
        text.bytes().map(|byte| format!("{:02x}", byte ^ CURSOR_KEY)).collect()
    }

    fn decode(text: &str) -> Option<Cursor> {
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok().map(|byte| byte ^ CURSOR_KEY))
            .collect();
        let decoded = String::from_utf8(bytes?).ok()?;
        let mut parts = decoded.splitn(4, ';');
        Some(Cursor {
            from: parts.next()?.parse().ok()?,
            issued: parts.next()?.parse().ok()?,
            empties: parts.next()?.parse().ok()?,
            filter: parts.next()?.to_owned(),
        })
    }
}

/// A page of positions, and how to go on.
struct Page {
    rows: Vec<u32>,
    total: usize,
    next: Option<Cursor>,
}

fn limit(call: &Call) -> Result<usize, Answer> {
    match call.query("limit").map(str::parse::<usize>) {
        None => Ok(USUAL_PAGE),
        Some(Ok(limit)) if limit > 0 => Ok(limit.min(LARGEST_PAGE)),
        Some(_) => Err(error::invalid_data("OUT_OF_RANGE", "limit", "limit must be a positive number")),
    }
}

fn cursor(world: &World, call: &Call) -> Result<Cursor, Answer> {
    let now = world.clock.millis();
    let Some(text) = call.query("cursor") else {
        let filter = call.query("filter").unwrap_or_default().to_owned();
        return Ok(Cursor { from: 0, issued: now, empties: 0, filter });
    };
    let invalid = || error::invalid_data("INVALID_VALUE", "cursor", "The cursor is invalid or has expired.");
    let cursor = Cursor::decode(text).ok_or_else(invalid)?;
    let lifetime = world.active.faults.paging.cursor_lifetime_seconds;
    if lifetime.is_some_and(|seconds| now - cursor.issued >= Millis::from(seconds) * SECOND) {
        return Err(invalid());
    }
    Ok(cursor)
}

/// Cuts the page at `cursor` out of all `matches`, which are in rising order.
fn page(world: &World, limit: usize, cursor: &Cursor, matches: &[u32]) -> Page {
    let paging = &world.active.faults.paging;
    let limit = paging.max_rows.map_or(limit, |rows| limit.min(rows.max(1) as usize));
    let start = matches.partition_point(|index| *index < cursor.from);
    let total = matches.len();
    let follow = |from: u32, empties: u32| {
        Some(Cursor { from, issued: world.clock.millis(), empties, filter: cursor.filter.clone() })
    };
    if paging.empty_pages && cursor.empties.is_multiple_of(2) && start < total {
        return Page { rows: Vec::new(), total, next: follow(cursor.from, cursor.empties + 1) };
    }
    let end = (start + limit).min(total);
    let first = if paging.repeated_rows { start.saturating_sub(1) } else { start };
    let rows = matches[first..end].to_vec();
    let next = match matches.get(end) {
        _ if paging.looping => follow(cursor.from, cursor.empties),
        Some(index) => follow(*index, cursor.empties + 1),
        None if paging.endless => follow(u32::MAX, cursor.empties + 1),
        None => None,
    };
    Page { rows, total, next }
}

fn answer(world: &World, call: &Call, kind: &str, page: &Page, limit: usize, entries: Vec<Value>) -> Answer {
    let paging = &world.active.faults.paging;
    let path = call.target.split('?').next().unwrap_or_default();
    let mut links = json!({"self": {"href": format!("{}{}", call.origin, call.target)}});
    if let Some(next) = &page.next {
        let origin = paging.next_origin.as_deref().unwrap_or(&call.origin);
        links["next"] = json!({"href": format!("{origin}{path}?cursor={}&limit={limit}", next.encode())});
    }
    let count = page.total as i64 + paging.total_off_by;
    let body = json!({"_links": links, "_embedded": {kind: entries}, "count": count, "size": entries.len()});
    Answer::json(200, CONTENT_TYPE, &body)
}

fn user_value(directory: &Directory, index: u32, attribute: &str) -> String {
    let people = &directory.people;
    match attribute {
        "username" => people.username(index),
        "email" => people.email(index),
        "enabled" => (!directory.state(index).disabled).to_string(),
        "name.given" => people.given(index).to_owned(),
        "name.family" => people.family(index),
        "name.formatted" => format!("{} {}", people.given(index), people.family(index)),
        "population.id" => ids::uuid(people.seed, POPULATION, population_of(index) as u32),
        "nickname" => crate::population::PERSONAL_CANARY.to_owned(),
        _ => String::new(),
    }
}

/// `GET …/users`.
pub(crate) fn users(world: &mut World, call: &Call) -> Answer {
    let (limit, cursor) = match (limit(call), cursor(world, call)) {
        (Ok(limit), Ok(cursor)) => (limit, cursor),
        (Err(refusal), _) | (_, Err(refusal)) => return refusal,
    };
    let matches = match matching_users(world, &cursor.filter) {
        Ok(matches) => matches,
        Err(sentence) => {
            return error::invalid_filter(&sentence, &USER_ATTRIBUTES, &["eq", "sw", "ew", "co", "and", "or"]);
        }
    };
    let page = page(world, limit, &cursor, &matches);
    let entries = page.rows.iter().map(|index| {
        let state = world.directory.read(*index);
        let mut row = user::body(world, call, *index, state);
        if world.active.faults.sparse_rows
            && let Some(row) = row.as_object_mut()
        {
            row.retain(|member, _| !["enabled", "account"].contains(&member.as_str()));
        }
        row
    });
    let entries = entries.collect();
    answer(world, call, "users", &page, limit, entries)
}

fn matching_users(world: &mut World, filter: &str) -> Result<Arc<Vec<u32>>, String> {
    let scope = world.active.faults.population_scope.clone();
    let key = format!("{scope:?} {filter}");
    if filter.is_empty() {
        return Ok(match scope {
            None => world.listing(&key, Order::Index, |_, _| true),
            Some(scope) => world.listing(&key, Order::Index, |_, index| POPULATIONS[population_of(index)] == scope),
        });
    }
    let parsed = Filter::parse(filter, user_filter_allows)?;
    let (seed, exact_eq) = (world.directory.people.seed, world.active.faults.exact_eq);
    let holds = |directory: &Directory, index: u32| {
        parsed.holds(
            &|attribute, operator, value| {
                let actual = user_value(directory, index, attribute);
                if exact_eq && operator == Operator::Eq { actual == value } else { operator.holds(&actual, value) }
            },
            &|group| {
                let position = ids::uuid_index(seed, GROUP, group).and_then(|at| directory.groups.get(at as usize));
                position.is_some_and(|group| directory.is_member(group, index))
            },
        )
    };
    let candidates: Option<Vec<u32>> = parsed.names().and_then(|names| {
        let found: Option<Vec<_>> = names.into_iter().map(|name| world.directory.people.candidates(name)).collect();
        found.map(|found| found.concat())
    });
    if let Some(mut candidates) = candidates {
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|index| {
            world.directory.exists(*index) && in_scope(world, *index) && holds(&world.directory, *index)
        });
        return Ok(Arc::new(candidates));
    }
    let in_scope = |index: u32| scope.as_ref().is_none_or(|scope| POPULATIONS[population_of(index)] == scope);
    Ok(world.listing(&key, Order::Index, |directory, index| in_scope(index) && holds(directory, index)))
}

fn group_body(world: &World, call: &Call, position: usize) -> Value {
    let id = ids::uuid(world.directory.people.seed, GROUP, position as u32);
    let environment = format!("{}/v1/environments/{}", call.origin, environment_id(world));
    json!({
        "_links": {"self": {"href": format!("{environment}/groups/{id}")}},
        "id": id,
        "environment": {"id": environment_id(world)},
        "name": world.directory.groups[position].name,
    })
}

fn population_body(world: &World, call: &Call, position: usize) -> Value {
    let id = ids::uuid(world.directory.people.seed, POPULATION, position as u32);
    let environment = format!("{}/v1/environments/{}", call.origin, environment_id(world));
    json!({
        "_links": {"self": {"href": format!("{environment}/populations/{id}")}},
        "id": id,
        "environment": {"id": environment_id(world)},
        "name": POPULATIONS[position],
        "default": position == 0,
    })
}

/// `GET …/groups`.
pub(crate) fn groups(world: &World, call: &Call) -> Answer {
    let allows = |attribute: &str, operator| attribute == "name" && matches!(operator, Operator::Eq | Operator::Sw);
    let compare = |position: usize, _: &str, operator: Operator, value: &str| {
        operator.holds(&world.directory.groups[position].name, value)
    };
    let count = world.directory.groups.len();
    small_collection(world, call, "groups", count, allows, compare, group_body)
}

/// `GET …/populations`: by name only with `sw`, so that "Partners" also brings "Partners Asia".
pub(crate) fn populations(world: &World, call: &Call) -> Answer {
    let allows =
        |attribute: &str, operator| matches!((attribute, operator), ("name", Operator::Sw) | ("id", Operator::Eq));
    let seed = world.directory.people.seed;
    let compare = |position: usize, attribute: &str, operator: Operator, value: &str| match attribute {
        "id" => operator.holds(&ids::uuid(seed, POPULATION, position as u32), value),
        _ => operator.holds(POPULATIONS[position], value),
    };
    small_collection(world, call, "populations", POPULATIONS.len(), allows, compare, population_body)
}

fn small_collection(
    world: &World,
    call: &Call,
    kind: &str,
    count: usize,
    allows: impl Fn(&str, Operator) -> bool,
    compare: impl Fn(usize, &str, Operator, &str) -> bool,
    body: impl Fn(&World, &Call, usize) -> Value,
) -> Answer {
    let (limit, cursor) = match (limit(call), cursor(world, call)) {
        (Ok(limit), Ok(cursor)) => (limit, cursor),
        (Err(refusal), _) | (_, Err(refusal)) => return refusal,
    };
    let parsed = if cursor.filter.is_empty() { Ok(None) } else { Filter::parse(&cursor.filter, allows).map(Some) };
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(sentence) => return error::invalid_filter(&sentence, &["name", "id"], &["eq", "sw"]),
    };
    let holds = |position: usize| {
        parsed.as_ref().is_none_or(|filter| {
            filter.holds(&|attribute, operator, value| compare(position, attribute, operator, value), &|_| false)
        })
    };
    let matches: Vec<u32> = (0..count).filter(|position| holds(*position)).map(|position| position as u32).collect();
    let page = page(world, limit, &cursor, &matches);
    let entries = page.rows.iter().map(|position| body(world, call, *position as usize)).collect();
    answer(world, call, kind, &page, limit, entries)
}

/// `GET …/groups/{group}`.
pub(crate) fn group(world: &World, call: &Call) -> Answer {
    let position = ids::uuid_index(world.directory.people.seed, GROUP, call.parameter("group")).map(|at| at as usize);
    match position.filter(|position| *position < world.directory.groups.len()) {
        Some(position) => Answer::json(200, CONTENT_TYPE, &group_body(world, call, position)),
        None => error::not_found("The requested resource object was not found."),
    }
}

/// `GET …/populations/{population}`.
pub(crate) fn population(world: &World, call: &Call) -> Answer {
    let position =
        ids::uuid_index(world.directory.people.seed, POPULATION, call.parameter("population")).map(|at| at as usize);
    match position.filter(|position| *position < POPULATIONS.len()) {
        Some(position) => Answer::json(200, CONTENT_TYPE, &population_body(world, call, position)),
        None => error::not_found("The requested resource object was not found."),
    }
}
