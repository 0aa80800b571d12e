//! How does a call pass through: rules, server, rules, caller?

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use futures::stream;
use tokio::sync::watch;

use super::gate::Gate;
use super::rule::{Action, Answer, Choice, Phase, Rule};
use super::socket::Wire;
use super::template::{Template, is_watch};
use super::{Call, Record, lock, moment};

/// Largest body of a call, in bytes.
const LARGEST_REQUEST: usize = 64 << 20;

type Rewriter = Box<dyn FnMut(&Call, Bytes) -> Vec<Bytes> + Send>;

/// What a proxy knows and does about calls.
pub(super) struct Switchboard {
    upstream: String,
    template: Template,
    http: reqwest::Client,
    pub gate: Gate,
    calls: AtomicU64,
    records: Mutex<Vec<Record>>,
    rules: Mutex<Vec<Rule>>,
    silenced: watch::Sender<Option<Silenced>>,
    rewriting: Mutex<Option<(Choice, Rewriter)>>,
}

#[derive(Clone)]
struct Silenced(Choice);

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Switchboard({})", self.upstream)
    }
}

/// The server's answer, its body still to come.
struct Answered {
    parts: axum::http::response::Parts,
    rest: reqwest::Response,
}

impl Switchboard {
    pub fn new(upstream: String, template: Template, http: reqwest::Client) -> Self {
        Self {
            upstream,
            template,
            http,
            gate: Gate::default(),
            calls: AtomicU64::new(0),
            records: Mutex::default(),
            rules: Mutex::default(),
            silenced: watch::Sender::new(None),
            rewriting: Mutex::default(),
        }
    }

    pub fn records(&self) -> Vec<Record> {
        lock(&self.records).clone()
    }

    pub fn forget(&self) {
        lock(&self.records).clear();
    }

    pub fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        lock(&self.rules)
    }

    pub fn silence(&self, on: Option<Choice>) {
        self.silenced.send_replace(on.map(Silenced));
    }

    pub fn rewrite(&self, rewriting: Option<(Choice, Rewriter)>) {
        *lock(&self.rewriting) = rewriting;
    }

    /// Answers one call, or breaks it.
    pub async fn respond(self: Arc<Self>, request: Request<Body>, wire: Wire) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else { return broken(&wire) };
        let call = self.arrived(&parts, body);
        self.gate.passed().await;
        self.spoken(&call).await;
        match Arc::clone(&self).struck_before(&call, &parts.headers).await {
            None | Some(Action::Pass | Action::Truncate(_)) => {}
            Some(Action::Delay(time)) => tokio::time::sleep(time).await,
            Some(Action::Hold(gate)) => gate.passed().await,
            Some(Action::BlackHole) => std::future::pending().await,
            Some(Action::Reset | Action::ForwardLate(_)) => return broken(&wire),
            Some(Action::Answer(answer)) => return self.through(call, made(answer), true, &wire),
        }
        // Rules took their time. Whoever has closed the gate meanwhile may believe that nothing comes after it but what is
        // said to be forwarded: nothing is awaited in between.
        self.gate.passed().await;
        if wire.is_broken() {
            return broken(&wire);
        }
        self.note(&call, |record| record.forwarded = Some(moment()));
        // What is on its way arrives, even when its caller leaves now. A watch that nobody reads ends.
        let forwarded = if call.is_watch {
            self.forward(&call, &parts.headers).await
        } else {
            let (board, call) = (Arc::clone(&self), call.clone());
            let sending = tokio::spawn(async move { board.forward(&call, &parts.headers).await });
            sending.await.map_err(io::Error::other).and_then(|answer| answer)
        };
        let Ok(answer) = forwarded else { return broken(&wire) };
        self.answer(call, answer, &wire).await
    }

    async fn answer(self: Arc<Self>, call: Call, answer: Forwarded, wire: &Wire) -> Response<Body> {
        let cut = match self.struck(&call, Phase::AfterForward).await {
            None | Some(Action::Pass | Action::ForwardLate(_)) => None,
            Some(Action::Delay(time)) => {
                tokio::time::sleep(time).await;
                None
            }
            Some(Action::Hold(gate)) => {
                gate.passed().await;
                None
            }
            Some(Action::BlackHole) => std::future::pending().await,
            Some(Action::Reset) => return broken(wire),
            Some(Action::Answer(answer)) => return self.through(call, made(answer), true, wire),
            Some(Action::Truncate(bytes)) => Some(bytes),
        };
        self.spoken(&call).await;
        let whole = cut.is_none();
        let response = match (answer, cut) {
            (Forwarded::Whole(parts, body), None) => Response::from_parts(parts, Body::from(body)),
            (Forwarded::Whole(mut parts, body), Some(bytes)) => {
                let length = body.len();
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length.max(bytes + 1)));
                Response::from_parts(parts, cut_short(body.slice(..bytes.min(length)), wire.clone()))
            }
            (Forwarded::Stream(answered), _) => {
                let Answered { parts, rest } = *answered;
                Response::from_parts(parts, Arc::clone(&self).events(call.clone(), rest))
            }
        };
        self.through(call, response, whole, wire)
    }

    /// Lets rules act before the call is forwarded. What is forwarded late is so even when its caller is killed meanwhile,
    /// with whom [`Self::respond`] ends.
    async fn struck_before(self: Arc<Self>, call: &Call, headers: &HeaderMap) -> Option<Action> {
        let (call, headers) = (call.clone(), headers.clone());
        let acting = tokio::spawn(async move {
            let action = self.struck(&call, Phase::Before).await;
            if let Some(Action::ForwardLate(time)) = action {
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    self.note(&call, |record| record.forwarded = Some(moment()));
                    let _ = self.forward(&call, &headers).await;
                });
            }
            action
        });
        acting.await.ok().flatten()
    }

    /// Remembers when the caller has the answer, and lets rules act then.
    fn through(self: Arc<Self>, call: Call, response: Response<Body>, whole: bool, wire: &Wire) -> Response<Body> {
        let (through, wire) = (wire.through(), wire.clone());
        let told = whole.then_some(response.status().as_u16());
        tokio::spawn(async move {
            if through.await.is_err() {
                return;
            }
            self.note(&call, |record| (record.answered, record.told) = (Some(moment()), told));
            match self.struck(&call, Phase::AfterAnswer).await {
                Some(Action::Reset) => wire.reset(),
                Some(Action::Delay(time)) => tokio::time::sleep(time).await,
                _ => {}
            }
        });
        response
    }

    fn arrived(&self, parts: &axum::http::request::Parts, body: Bytes) -> Call {
        let template = (self.template)(&parts.method, &parts.uri);
        let mut records = lock(&self.records);
        let nth = records.iter().filter(|record| record.call.template == template).count() as u64 + 1;
        let call = Call {
            number: self.calls.fetch_add(1, Ordering::SeqCst) + 1,
            nth,
            method: parts.method.to_string(),
            target: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            template,
            body,
            is_watch: is_watch(&parts.uri),
        };
        let record = Record {
            call: call.clone(),
            arrived: moment(),
            forwarded: None,
            status: None,
            failed: false,
            answered: None,
            told: None,
        };
        records.push(record);
        call
    }

    fn note(&self, call: &Call, note: impl FnOnce(&mut Record)) {
        let mut records = lock(&self.records);
        if let Some(record) = records.iter_mut().find(|record| record.call.number == call.number) {
            note(record);
        }
    }

    /// Runs the hooks of all rules that strike, in their order. Returns the first action that is more than passing on.
    async fn struck(&self, call: &Call, phase: Phase) -> Option<Action> {
        let struck: Vec<Rule> =
            lock(&self.rules).iter_mut().filter_map(|rule| rule.strikes(call, phase).then(|| rule.clone())).collect();
        let mut action = None;
        for rule in struck {
            if let Some(hook) = rule.hook {
                // A hook may kill the caller, with whom this very future ends.
                let _ = tokio::spawn(hook(call.clone())).await;
            }
            if !matches!(rule.action, Action::Pass) {
                action.get_or_insert(rule.action);
            }
        }
        action
    }

    /// Waits while the call is silenced.
    async fn spoken(&self, call: &Call) {
        let mut silenced = self.silenced.subscribe();
        // The sender lives as long as `self`.
        let _ = silenced.wait_for(|silenced| !silenced.as_ref().is_some_and(|on| (on.0)(call))).await;
    }

    async fn forward(&self, call: &Call, headers: &HeaderMap) -> io::Result<Forwarded> {
        let forwarded = self.ask(call, headers).await;
        if forwarded.is_err() {
            self.note(call, |record| record.failed = true);
        }
        forwarded
    }

    async fn ask(&self, call: &Call, headers: &HeaderMap) -> io::Result<Forwarded> {
        let method = call.method.parse().map_err(io::Error::other)?;
        let mut headers = headers.clone();
        // Bodies are read on the way, so they have to come as they are.
        for header in [ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(header);
        }
        let request = self.http.request(method, format!("{}{}", self.upstream, call.target));
        let request = request.headers(headers).body(call.body.clone());
        let mut answer = request.send().await.map_err(io::Error::other)?;
        let mut head = Response::new(());
        *head.status_mut() = answer.status();
        *head.headers_mut() = std::mem::take(answer.headers_mut());
        for header in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers_mut().remove(header);
        }
        let status = head.status();
        let (parts, ()) = head.into_parts();
        self.note(call, |record| record.status = Some(status.as_u16()));
        if call.is_watch && status.is_success() {
            return Ok(Forwarded::Stream(Box::new(Answered { parts, rest: answer })));
        }
        let body = answer.bytes().await.map_err(io::Error::other)?;
        Ok(Forwarded::Whole(parts, body))
    }

    /// The events of a watch, line by line.
    fn events(self: Arc<Self>, call: Call, rest: reqwest::Response) -> Body {
        let lines = stream::try_unfold((rest, Vec::new()), move |(mut rest, mut begun): (_, Vec<u8>)| {
            let (board, call) = (Arc::clone(&self), call.clone());
            async move {
                while let Some(chunk) = rest.chunk().await.map_err(io::Error::other)? {
                    begun.extend_from_slice(&chunk);
                    let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') else { continue };
                    let whole = begun.drain(..=end).collect::<Vec<u8>>();
                    board.spoken(&call).await;
                    let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                    let out: Vec<u8> =
                        lines.flat_map(|line| board.rewritten(&call, Bytes::copy_from_slice(line))).collect();
                    if !out.is_empty() {
                        return Ok::<_, io::Error>(Some((Bytes::from(out), (rest, begun))));
                    }
                }
                Ok(None)
            }
        });
        Body::from_stream(lines)
    }

    /// What is passed on in place of one event.
    fn rewritten(&self, call: &Call, line: Bytes) -> Vec<u8> {
        let lines = match &mut *lock(&self.rewriting) {
            Some((on, rewrite)) if on(call) => rewrite(call, line),
            _ => vec![line],
        };
        lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
    }
}

enum Forwarded {
    Whole(axum::http::response::Parts, Bytes),
    Stream(Box<Answered>),
}

/// Resets the connection; the response is never written.
fn broken(wire: &Wire) -> Response<Body> {
    wire.reset();
    Response::new(Body::empty())
}

fn made(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status.try_into().unwrap_or_default();
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// These bytes, and then a reset in place of the rest.
fn cut_short(begin: Bytes, wire: Wire) -> Body {
    Body::from_stream(stream::unfold(Some(begin), move |begin| {
        let wire = wire.clone();
        async move {
            match begin {
                Some(begin) => Some((Ok(begin), None)),
                None => {
                    // What came before has to be on its way first.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    wire.reset();
                    Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None))
                }
            }
        }
    }))
}
