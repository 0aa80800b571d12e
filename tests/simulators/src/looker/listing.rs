//! Lists of users and of e-mail credentials: `limit`, `offset`, `sorts`, `fields`, bare arrays, `Link` and `X-Total-Count`.
//!
//! Undocumented, and chosen here: without `limit` everything comes; without `sorts` the order means nothing; an unknown sort
//! field is 422; `id` of a credential is not the user's id.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::call::{Answer, Call};
use crate::directory::Directory;
use crate::faults::{Paging, PagingHeaders};
use crate::looker::{credential, error, group_id, has_credential, id, user};
use crate::population::Class;
use crate::world::{Order, World};

/// Compares as Looker's search does: ignoring case, `%` for any text, `_` for any one character.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    // `reach[i]`: the pattern so far matches the first i characters.
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    for part in pattern {
        if part == '%' {
            let first = reach.iter().position(|reached| *reached).unwrap_or(reach.len());
            reach[first..].fill(true);
        } else {
            for at in (0..text.len()).rev() {
                reach[at + 1] = reach[at] && (part == '_' || part == text[at]);
            }
            reach[0] = false;
        }
    }
    reach[text.len()]
}

fn matches(actual: Option<&str>, pattern: &str) -> bool {
    match pattern.to_uppercase().as_str() {
        "IS NULL" => actual.is_none(),
        "NOT NULL" => actual.is_some(),
        _ => actual.is_some_and(|actual| like(actual, pattern)),
    }
}

fn order(call: &Call, field: &str) -> Result<Order, Answer> {
    let sorts = call.query("sorts").unwrap_or_default();
    // Ids are unique, so that further fields to sort by decide nothing.
    let mut words = sorts.split(',').next().unwrap_or_default().split_whitespace();
    match (words.next(), words.next().map(str::to_lowercase).as_deref(), words.next()) {
        (None, ..) => Ok(Order::Unspecified),
        (Some(name), None | Some("asc"), None) if name == field => Ok(Order::Index),
        (Some(name), Some("desc"), None) if name == field => Ok(Order::IndexDescending),
        _ => Err(error::invalid("sorts", "cannot sort by this field")),
    }
}

/// The part of a list that was asked for.
pub(crate) struct Slice {
    pub rows: Vec<u32>,
    headers: Vec<(&'static str, String)>,
}

/// Cuts a page out of all `rows` by `limit` and `offset`.
pub(crate) fn slice(paging: &Paging, call: &Call, rows: &[u32]) -> Result<Slice, Answer> {
    let number = |name: &'static str| match call.query(name).map(str::parse::<usize>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(error::invalid(name, "must be a number")),
    };
    let (limit, offset) = (number("limit")?, number("offset")?.unwrap_or(0));
    let asked = limit.unwrap_or(rows.len());
    let length = paging.max_rows.map_or(asked, |most| asked.min(most as usize));
    let offset_shown = if paging.looping && !rows.is_empty() && offset >= rows.len() {
        rows.len() - rows.len().min(length.max(1))
    } else {
        offset
    };
    let start = offset_shown.min(rows.len());
    let end = (start + length).min(rows.len());
    let first = if paging.repeated_rows && start > 0 && start < rows.len() { start - 1 } else { start };
    let mut headers = Vec::new();
    let more = end < rows.len() || paging.looping;
    if limit.is_some() {
        if matches!(paging.headers, PagingHeaders::All | PagingHeaders::LinkOnly) {
            headers.push(("link", links(paging, call, offset, length.max(1), rows.len(), more)));
        }
        if matches!(paging.headers, PagingHeaders::All | PagingHeaders::TotalOnly) {
            headers.push(("x-total-count", (rows.len() as i64 + paging.total_off_by).to_string()));
        }
    }
    Ok(Slice { rows: rows[first..end.max(first)].to_vec(), headers })
}

/// The `Link` header. The links go on after the rows that came, also where fewer came than were asked for.
fn links(paging: &Paging, call: &Call, offset: usize, length: usize, total: usize, more: bool) -> String {
    let origin = paging.next_origin.as_deref().unwrap_or(&call.origin);
    let path = call.target.split('?').next().unwrap_or_default();
    let link = |offset: usize, relation: &str| {
        let others = call.query.iter().filter(|(name, _)| name != "offset");
        let query: Vec<String> = others
            .map(|(name, value)| (name.as_str(), value.clone()))
            .chain([("offset", offset.to_string())])
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)))
            .collect();
        format!("<{origin}{path}?{}>; rel=\"{relation}\"", query.join("&"))
    };
    let mut links = vec![link(0, "first")];
    if offset > 0 {
        links.push(link(offset.saturating_sub(length), "prev"));
    }
    if more {
        links.push(link(offset + length, "next"));
    }
    links.push(link(total.saturating_sub(1) / length * length, "last"));
    links.join(", ")
}

pub(crate) fn respond(world: &mut World, call: &Call, slice: Slice, body: impl Fn(&mut World, u32) -> Value) -> Answer {
    let rows: Vec<Value> = slice.rows.iter().map(|index| body(world, *index)).collect();
    let answer = credential::answer(world, call, Value::Array(rows));
    slice.headers.into_iter().fold(answer, |answer, (name, value)| answer.with_header(name, value))
}

fn list(
    world: &mut World,
    call: &Call,
    sort_field: &str,
    rows: impl FnOnce(&mut World, Order) -> Arc<Vec<u32>>,
    body: impl Fn(&mut World, u32) -> Value,
) -> Answer {
    let order = match order(call, sort_field) {
        Ok(order) => order,
        Err(refusal) => return refusal,
    };
    let rows = rows(world, order);
    match slice(&world.active.faults.paging, call, &rows) {
        Ok(slice) => respond(world, call, slice, body),
        Err(refusal) => refusal,
    }
}

fn user_row(world: &mut World, index: u32) -> Value {
    let state = world.directory.read(index);
    user::body(world, index, state)
}

/// `GET /users`, all or those of `ids`.
pub(crate) fn users(world: &mut World, call: &Call) -> Answer {
    let ids: Option<Vec<&str>> = call.query("ids").map(|ids| ids.split(',').map(str::trim).collect());
    let key = format!("users {ids:?}");
    let chosen =
        |directory: &Directory, index: u32| ids.as_ref().is_none_or(|ids| ids.contains(&id(directory, index).as_str()));
    list(world, call, "id", |world, order| world.listing(&key, order, chosen), user_row)
}

const USER_FILTERS: [&str; 8] =
    ["id", "first_name", "last_name", "email", "is_disabled", "embed_user", "is_service_account", "group_id"];

fn user_filter(directory: &Directory, index: u32, filter: &str, value: &str) -> bool {
    let class = directory.class(index);
    let people = &directory.people;
    let boolean = |actual: bool| value.eq_ignore_ascii_case(if actual { "true" } else { "false" });
    match filter {
        "id" => matches(Some(&id(directory, index)), value),
        "first_name" => matches(Some(people.given(index)), value),
        "last_name" => matches(Some(&people.family(index)), value),
        "email" => {
            let email = (!matches!(class, Class::Embed | Class::ServiceAccount)).then(|| people.email(index));
            matches(email.as_deref(), value)
        }
        "is_disabled" => boolean(directory.state(index).disabled),
        "embed_user" => boolean(class == Class::Embed),
        "is_service_account" => boolean(class == Class::ServiceAccount),
        "group_id" => {
            let group = directory.groups.iter().enumerate().find(|(position, _)| group_id(*position) == value);
            group.is_some_and(|(_, group)| directory.is_member(group, index))
        }
        _ => true,
    }
}

fn search(
    world: &mut World,
    call: &Call,
    order: Order,
    kind: &str,
    known: &[&str],
    holds: impl Fn(&Directory, u32, &str, &str) -> bool,
    eligible: impl Fn(&Directory, u32) -> bool,
) -> Arc<Vec<u32>> {
    let filters: Vec<(&str, &str)> = call
        .query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| known.contains(name))
        .collect();
    let any = call.query("filter_or").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let keep = |directory: &Directory, index: u32| {
        let mut results = filters.iter().map(|(name, value)| holds(directory, index, name, value));
        eligible(directory, index)
            && (filters.is_empty() || if any { results.any(|held| held) } else { results.all(|held| held) })
    };
    // An address without `%` names its users; looking at everybody would make a list of keys quadratic.
    let address = filters.iter().find(|(name, value)| *name == "email" && !value.contains('%') && !any);
    if let Some(mut found) = address.and_then(|(_, value)| world.directory.people.candidates(value)) {
        found.retain(|index| world.directory.exists(*index) && keep(&world.directory, *index));
        return Arc::new(found);
    }
    world.listing(&format!("{kind} {any} {filters:?}"), order, keep)
}

/// `GET /users/search`.
pub(crate) fn search_users(world: &mut World, call: &Call) -> Answer {
    let rows = |world: &mut World, order| search(world, call, order, "users", &USER_FILTERS, user_filter, |_, _| true);
    list(world, call, "id", rows, user_row)
}

/// `GET /credentials_email/search`. It cannot filter on the flag or on a group.
pub(crate) fn search_credentials(world: &mut World, call: &Call) -> Answer {
    let holds = |directory: &Directory, index: u32, filter: &str, value: &str| match filter {
        // The credential's own id, which no field shows.
        "id" => value == (u64::from(index) + 500_000).to_string(),
        "email" => matches(Some(&directory.people.email(index)), value),
        _ => value.split(',').any(|email| email.trim().eq_ignore_ascii_case(&directory.people.email(index))),
    };
    let rows = |world: &mut World, order| {
        search(world, call, order, "credentials", &["id", "email", "emails"], holds, has_credential)
    };
    list(world, call, "user_id", rows, |world, index| {
        let state = world.directory.read(index);
        credential::body(world, index, state)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_underscore_matches_any_character_and_a_percent_sign_any_text() {
        assert!(like("adaxquokka-1@people.example", "Ada_Quokka-1@people.example"));
        assert!(like("contractors-kiosk", "contractors%"));
        assert!(like("", "%"));
        assert!(!like("contractors", "contractor"));
        assert!(!like("contractors", "_contractors"));
        assert!(like("abcabc", "%b_"));
    }
}
