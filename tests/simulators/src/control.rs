//! The control endpoints, `/_control/…`: ledger, users, switches and play over HTTP, for the demo and for use by hand.
//!
//! They need no credential, are not counted and meet no fault. They are no part of any vendor's API.

use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::{Answer, Match, find, parse_pairs};
use crate::faults::Faults;
use crate::play::Play;
use crate::server::Simulation;

const ROUTES: &[&str] = &[
    "GET /_control/summary",
    "GET /_control/ledger",
    "GET /_control/users",
    "GET /_control/users/{user}",
    "POST /_control/users/{user}/{play}",
    "POST /_control/play/{play}",
    "POST /_control/hire",
    "GET /_control/counters",
    "GET /_control/faults",
    "PUT /_control/faults",
    "PUT /_control/clock",
    "POST /_control/tokens/revoke",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockSetting {
    offset_seconds: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct PlayRequest {
    /// Only the first so many.
    count: Option<usize>,
    /// These users instead of the marked ones.
    users: Vec<String>,
}

fn good(body: Value) -> Answer {
    Answer::json(200, "application/json", &body)
}

fn bad(status: u16, sentence: String) -> Answer {
    Answer::json(status, "application/json", &json!({ "error": sentence }))
}

pub(crate) fn answer(simulation: &Simulation, parts: &Parts, body: &[u8]) -> Answer {
    let path = parts.uri.path();
    let (template, parameters) = match find(ROUTES, &parts.method, path) {
        Match::Found(template, parameters) => (template, parameters),
        _ => return bad(404, format!("there is no {} {path}; there are: {}", parts.method, ROUTES.join(", "))),
    };
    let query = parse_pairs(parts.uri.query().unwrap_or_default());
    let number =
        |name: &str| query.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.parse::<u64>().ok());
    let parameter =
        |name: &str| parameters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str());
    let limit = number("limit").unwrap_or(1_000);
    match template {
        "GET /_control/summary" => good(summary(simulation)),
        "GET /_control/ledger" => {
            good(json!(simulation.ledger(number("since").unwrap_or(0), usize::try_from(limit).unwrap_or(usize::MAX))))
        }
        "GET /_control/users" => {
            let offset = u32::try_from(number("offset").unwrap_or(0)).unwrap_or(u32::MAX);
            good(json!(simulation.users(offset, u32::try_from(limit).unwrap_or(u32::MAX))))
        }
        "GET /_control/users/{user}" => {
            let world = simulation.world();
            match simulation.vendor.index(&world, parameter("user")) {
                Some(index) => good(json!(world.view(&*simulation.vendor, index))),
                None => bad(404, format!("there is no user {}", parameter("user"))),
            }
        }
        "POST /_control/users/{user}/{play}" => match parse_play(parameter("play")) {
            Ok(play) => match simulation.play(parameter("user"), play) {
                Ok(()) => good(json!({})),
                Err(sentence) => bad(409, sentence),
            },
            Err(sentence) => bad(404, sentence),
        },
        "POST /_control/play/{play}" => play_many(simulation, parameter("play"), body),
        "POST /_control/hire" => good(json!({ "id": simulation.hire() })),
        "GET /_control/counters" => good(json!(simulation.world().counters)),
        "GET /_control/faults" => good(json!(simulation.world().active.faults)),
        "PUT /_control/faults" => match serde_json::from_slice::<Faults>(body) {
            Ok(faults) => {
                let mut world = simulation.world();
                world.directory.lag = faults.lag;
                world.active.set(faults);
                good(json!(world.active.faults))
            }
            Err(error) => bad(400, format!("these are no switches: {error}")),
        },
        "PUT /_control/clock" => match serde_json::from_slice::<ClockSetting>(body) {
            Ok(setting) => {
                let world = simulation.world();
                world.clock.set_offset_seconds(setting.offset_seconds);
                good(json!({ "now": world.clock.now() }))
            }
            Err(error) => bad(400, format!("write {{\"offset_seconds\": 3600}}: {error}")),
        },
        _ => {
            simulation.world().revoke_all_tokens();
            good(json!({}))
        }
    }
}

fn parse_play(name: &str) -> Result<Play, String> {
    serde_json::from_value(Value::String(name.to_owned())).map_err(|error| format!("nobody can do that: {error}"))
}

fn play_many(simulation: &Simulation, name: &str, body: &[u8]) -> Answer {
    let play = match parse_play(name) {
        Ok(play) => play,
        Err(sentence) => return bad(404, sentence),
    };
    let request = if body.is_empty() { Ok(PlayRequest::default()) } else { serde_json::from_slice(body) };
    let request: PlayRequest = match request {
        Ok(request) => request,
        Err(error) => return bad(400, format!("write {{\"count\": 3}} or {{\"users\": [\"id\"]}}: {error}")),
    };
    let count = request.count.unwrap_or(usize::MAX);
    let done: Vec<String> = if request.users.is_empty() {
        simulation.play_marked(count, play)
    } else {
        request.users.into_iter().take(count).filter(|user| simulation.play(user, play).is_ok()).collect()
    };
    good(json!({ "count": done.len(), "users": done }))
}

/// Totals over the whole tenant, for a person who looks.
fn summary(simulation: &Simulation) -> Value {
    let mut world = simulation.world();
    let world = &mut *world;
    let directory = &world.directory;
    let users: Vec<u32> = (0..directory.end()).filter(|index| directory.exists(*index)).collect();
    let marked = users.iter().filter(|index| directory.state(**index).marked).count();
    let with_password = users.iter().filter(|index| directory.has_password(**index)).count();
    json!({
        "provider": simulation.vendor.kind(),
        "now": world.clock.now(),
        "users": users.len(),
        "changed_users": directory.stored(),
        "with_password": with_password,
        "marked": marked,
        "ledger": world.ledger.len(),
        "requests": world.counters.total(),
        "throttled": world.counters.with_status(429),
        "peak_in_flight": world.counters.peak_in_flight,
    })
}
