//! In which order does a request meet counters, faults and the vendor's code?
//!
//! Arrival is counted; then latency, rate limit, a call fault "before", the vendor's own code together with its ledger entry, a
//! call fault "after". Control calls (`/_control/…`) bypass all of it. Vendors answer without waiting; every wait is here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, LOCATION};
use axum::http::{HeaderValue, Request, Response};
use futures::{StreamExt, stream};
use serde_json::Value;

use crate::call::{Answer, Call, Host, Match, find, parse_pairs};
use crate::clock::{SECOND, http_date};
use crate::control;
use crate::faults::{Action, DateHeader, RetryAfter, When};
use crate::ledger::Effect;
use crate::play::Play;
use crate::socket::Breaker;
use crate::world::{Vendor, World};

const LARGEST_REQUEST: usize = 1 << 20;

/// A vendor and its world.
pub(crate) struct Simulation {
    pub vendor: Box<dyn Vendor>,
    world: Mutex<World>,
}

/// Counts a request as in flight for as long as it is being answered, also when the caller leaves early.
struct InFlight(Arc<Simulation>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.world().counters.in_flight -= 1;
    }
}

impl Simulation {
    pub fn new(vendor: Box<dyn Vendor>, world: World) -> Simulation {
        Simulation { vendor, world: Mutex::new(world) }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request.
    pub async fn respond(self: Arc<Self>, host: Host, request: Request<Body>, breaker: Breaker) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, LARGEST_REQUEST).await.unwrap_or_default();
        if host == Host::Api && parts.uri.path().starts_with("/_control/") {
            return plain(control::answer(&self, &parts, &body));
        }
        let templates = if host == Host::Auth { self.vendor.auth_routes() } else { self.vendor.routes() };
        let (template, parameters) = match find(templates, &parts.method, parts.uri.path()) {
            Match::Found(template, parameters) => (template, parameters),
            other => return self.finish(self.misdirected(matches!(other, Match::WrongMethod))),
        };
        let authority = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
        let call = Call {
            host,
            template,
            parameters,
            query: parse_pairs(parts.uri.query().unwrap_or_default()),
            origin: format!("http://{authority}"),
            target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: parts.headers,
            body,
        };
        let latency = {
            let mut world = self.world();
            world.counters.arrived(template);
            world.active.faults.latency_ms
        };
        let _in_flight = InFlight(Arc::clone(&self));
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
        let (answer, action) = self.decide(&call);
        match action {
            Some(action) => self.act(action, answer, breaker).await,
            None => self.finish(answer),
        }
    }

    /// Lets the call take its effect, and says what is to be done to the answer.
    fn decide(&self, call: &Call) -> (Answer, Option<Action>) {
        let mut world = self.world();
        let world = &mut *world;
        if call.host == Host::Api
            && let Err(seconds) = world.active.throttle()
        {
            let answer = self.throttled(world, seconds);
            self.record_refusal(world, call, answer.status);
            world.counters.answered(call.template, answer.status);
            return (answer, None);
        }
        let user = call.parameter("user");
        let struck = world.active.strike(call.template, Some(user).filter(|user| !user.is_empty()));
        if let Some((When::Before, action)) = &struck
            && !action.keeps_answer()
        {
            let (status, answer) = match action {
                Action::Status(status) => (*status, self.vendor.error(*status)),
                _ => (0, self.vendor.error(500)),
            };
            self.record_refusal(world, call, status);
            world.ledger_note(call, action.name());
            world.counters.answered(call.template, status);
            return (answer, Some(action.clone()));
        }
        if let Some((When::Before, Action::Play { user, play })) = &struck {
            self.happens(world, user, *play);
        }
        let before = world.ledger.len();
        let answer = self.vendor.answer(world, call);
        if world.ledger.len() == before {
            self.record_refusal(world, call, answer.status);
        }
        world.counters.answered(call.template, answer.status);
        let Some((when, action)) = struck else { return (answer, None) };
        world.ledger_note(call, action.name());
        if let (When::After, Action::Play { user, play }) = (when, &action) {
            self.happens(world, user, *play);
        }
        let answer = if let Action::Status(status) = action { self.vendor.error(status) } else { answer };
        (answer, Some(action))
    }

    /// Somebody acts in the midst of a call; what is not possible does not happen.
    fn happens(&self, world: &mut World, user: &str, play: Play) {
        if let Some(index) = self.vendor.index(world, user) {
            let _ = world.play(index, play);
        }
    }

    fn record_refusal(&self, world: &mut World, call: &Call, status: u16) {
        if call.is_write() {
            let user = self.vendor.index(world, call.parameter("user"));
            world.record(call, user, Effect::Nothing, None, status);
        }
    }

    fn misdirected(&self, wrong_method: bool) -> Answer {
        let mut world = self.world();
        let (template, status) = if wrong_method { ("wrong method", 405) } else { ("unknown path", 404) };
        world.counters.arrived(template);
        world.counters.in_flight -= 1;
        world.counters.answered(template, status);
        self.vendor.error(status)
    }

    fn throttled(&self, world: &World, seconds: f64) -> Answer {
        let answer = self.vendor.error(429);
        let retry_after = world.active.faults.rate_limit.as_ref().map(|limit| &limit.retry_after);
        let header = match retry_after {
            None | Some(RetryAfter::Absent) => return answer,
            Some(RetryAfter::Honest) => format!("{}", seconds.ceil().max(1.0)),
            Some(RetryAfter::Seconds(seconds)) => seconds.to_string(),
            Some(RetryAfter::HttpDate(ahead)) => http_date(world.clock.millis() + ahead.saturating_mul(SECOND)),
            Some(RetryAfter::Raw(text)) => text.clone(),
        };
        answer.with_header("retry-after", header)
    }

    async fn act(&self, action: Action, answer: Answer, breaker: Breaker) -> Response<Body> {
        match action {
            Action::Status(_) | Action::Play { .. } => self.finish(answer),
            Action::Merge(patch) => {
                let merged = serde_json::from_slice(&answer.body).map(|body| merged(body, &patch));
                let body = merged.map_or(answer.body, |body| body.to_string().into_bytes());
                self.finish(Answer { body, ..answer })
            }
            Action::Answer { status, content_type, body, headers } => {
                let mut response =
                    self.finish(Answer { status, content_type: "", headers: Vec::new(), body: body.into_bytes() });
                insert(&mut response, CONTENT_TYPE.as_str(), &content_type);
                headers.iter().for_each(|(name, value)| insert(&mut response, name, value));
                response
            }
            Action::Reset => {
                breaker.reset();
                self.finish(answer)
            }
            Action::Hang { milliseconds } => {
                match milliseconds {
                    Some(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
                    None => std::future::pending().await,
                }
                breaker.reset();
                self.finish(answer)
            }
            Action::Delay { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                self.finish(answer)
            }
            Action::TruncatedJson => {
                let half = answer.body.len() / 2;
                let body = answer.body[..half].to_vec();
                self.finish(Answer { body, ..answer })
            }
            Action::CutShort => {
                let length = answer.body.len().max(2);
                let half = Bytes::from(answer.body[..answer.body.len() / 2].to_vec());
                let body = stream::once(async { Ok(half) }).chain(stream::once(async {
                    // The first half has to be on its way before the end of the connection overtakes it.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
                }));
                let mut response = self.finish(answer).map(|_| Body::from_stream(body));
                insert(&mut response, CONTENT_LENGTH.as_str(), &length.to_string());
                response
            }
            Action::SlowBody { milliseconds } => {
                let body = answer.body.clone();
                let bytes = stream::iter(body).then(move |byte| async move {
                    if milliseconds > 0 {
                        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    }
                    Ok::<_, std::io::Error>(Bytes::from(vec![byte]))
                });
                self.finish(answer).map(|_| Body::from_stream(bytes))
            }
            Action::Html => {
                let page =
                    "<!doctype html><html><head><title>Sign in to the network</title></head><body>…</body></html>";
                self.finish(Answer { status: 200, content_type: "text/html", headers: Vec::new(), body: page.into() })
            }
            Action::Oversized { bytes } => self.json(oversized(bytes)),
            Action::Nested { depth } => {
                let depth = depth as usize;
                self.json(Body::from(format!("{}{}", "[".repeat(depth), "]".repeat(depth))))
            }
            Action::Empty => self.json(Body::empty()),
            Action::Redirect { status, location } => {
                let mut response =
                    self.finish(Answer { status, content_type: "", headers: Vec::new(), body: Vec::new() });
                insert(&mut response, LOCATION.as_str(), &location);
                response
            }
        }
    }

    fn json(&self, body: Body) -> Response<Body> {
        self.finish(Answer { status: 200, content_type: "application/json", headers: Vec::new(), body: Vec::new() })
            .map(|_| body)
    }

    /// The answer as it goes out, with the provider's `Date`.
    fn finish(&self, answer: Answer) -> Response<Body> {
        let mut response = plain(answer);
        let world = self.world();
        match &world.active.faults.date {
            DateHeader::Clock => insert(&mut response, DATE.as_str(), &http_date(world.clock.millis())),
            DateHeader::Absent => {}
            DateHeader::Raw(text) => insert(&mut response, DATE.as_str(), text),
        }
        response
    }
}

impl World {
    fn ledger_note(&mut self, call: &Call, fault: &'static str) {
        if call.is_write() {
            self.ledger.note_fault(fault);
        }
    }
}

fn plain(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status.try_into().unwrap_or_default();
    if !answer.content_type.is_empty() {
        insert(&mut response, CONTENT_TYPE.as_str(), answer.content_type);
    }
    answer.headers.iter().for_each(|(name, value)| insert(&mut response, name, value));
    response
}

/// Adds a header; what cannot be a header's name or value is left out.
fn insert(response: &mut Response<Body>, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), HeaderValue::from_str(value)) {
        response.headers_mut().insert(name, value);
    }
}

/// Merges into an object, or into each row of a bare or embedded list.
fn merged(body: Value, patch: &Value) -> Value {
    match body {
        Value::Array(rows) => rows.into_iter().map(|row| merge(row, patch)).collect(),
        Value::Object(mut page) if page.contains_key("_embedded") => {
            if let Some(Value::Object(embedded)) = page.get_mut("_embedded") {
                embedded.values_mut().for_each(|rows| *rows = merged(rows.take(), patch));
            }
            Value::Object(page)
        }
        other => merge(other, patch),
    }
}

/// JSON Merge Patch, RFC 7396.
fn merge(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut object = if let Value::Object(object) = target { object } else { serde_json::Map::new() };
    for (name, value) in patch {
        if value.is_null() {
            object.remove(name);
        } else {
            let old = object.remove(name).unwrap_or(Value::Null);
            object.insert(name.clone(), merge(old, value));
        }
    }
    Value::Object(object)
}

/// A JSON array of empty objects, made while it is sent.
fn oversized(bytes: u64) -> Body {
    const CHUNK: usize = 64 * 1024;
    let chunks = bytes / CHUNK as u64 + 1;
    let filler = Bytes::from("{},".repeat(CHUNK / 3));
    let body = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"[")) })
        .chain(stream::iter(0..chunks).map(move |_| Ok(filler.clone())))
        .chain(stream::once(async { Ok(Bytes::from_static(b"{}]")) }));
    Body::from_stream(body)
}
