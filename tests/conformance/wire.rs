//! What was sent, and how do answers go wrong? A proxy that passes everything on, remembers it, and breaks what it is told
//! to break.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use futures::{StreamExt, stream};
use url::Url;

/// Largest body passed on, in bytes.
const CAP: usize = 16 << 20;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fetches a token.
    Authentication,
    /// A GET.
    Read,
    /// Anything else.
    Write,
}

/// One request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it is for.
    pub kind: Kind,
    /// Its method.
    pub method: Method,
    /// Its path as it was sent, without the query.
    pub path: String,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which requests it hits.
    pub on: Kind,
    /// How many of them; `None` for all.
    pub times: Option<u32>,
    /// Whether the provider gets the request all the same.
    pub passed_on: bool,
    /// What comes back.
    pub answer: Answer,
}

/// What comes back in place of the provider's answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This one.
    Whole {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(&'static str, String)>,
        /// Its body.
        body: String,
    },
    /// The first half of the body, as if it were all.
    Half,
    /// The first half of the body, then the connection breaks.
    CutShort,
    /// None: the connection breaks.
    Lost,
    /// The same with one text replaced by another.
    Replaced(String, String),
}

impl Answer {
    /// A JSON answer with this status.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::Whole { status, headers: vec![("content-type", "application/json".to_owned())], body: body.into() }
    }
}

/// A running proxy in front of one or more origins; it ends with the test's runtime.
pub struct Wire {
    origins: Vec<Url>,
    line: Arc<Line>,
}

struct Line {
    is_authentication: fn(&str) -> bool,
    http: reqwest::Client,
    state: Mutex<Switches>,
}

#[derive(Default)]
struct Switches {
    calls: Vec<Call>,
    fault: Option<Fault>,
    largest_page: Option<(&'static str, u32)>,
}

impl Wire {
    /// Listens in front of each of these origins.
    pub async fn start(targets: &[String], is_authentication: fn(&str) -> bool) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.build().expect("a client");
        let line = Arc::new(Line { is_authentication, http, state: Mutex::default() });
        let mut origins = Vec::new();
        for target in targets {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
            let address = format!("http://{}", listener.local_addr().expect("an address"));
            origins.push(address.parse().expect("an address"));
            let router = Router::new().fallback(answer).with_state((line.clone(), target.clone()));
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Self { origins, line }
    }

    /// Where it listens, in the order of the origins behind it.
    pub fn origins(&self) -> &[Url] {
        &self.origins
    }

    /// What came since the last call of this.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.line.state().calls)
    }

    /// Something goes wrong from now on, in place of what did before.
    pub fn fail(&self, on: Kind, passed_on: bool, answer: Answer) {
        self.line.state().fault = Some(Fault { on, times: None, passed_on, answer });
    }

    /// The next request of a kind does not reach the provider and gets this answer.
    pub fn fail_once(&self, on: Kind, answer: Answer) {
        self.line.state().fault = Some(Fault { on, times: Some(1), passed_on: false, answer });
    }

    /// The provider gives no more than `rows` on a page, whatever is asked for by the query parameter `parameter`.
    pub fn largest_page(&self, parameter: &'static str, rows: u32) {
        self.line.state().largest_page = Some((parameter, rows));
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, Switches> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the call down; the fault that hits it, if any.
    fn note(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        let hit = state.fault.as_mut().filter(|fault| fault.on == call.kind && fault.times != Some(0));
        let hit = hit.map(|fault| {
            fault.times = fault.times.map(|times| times - 1);
            fault.clone()
        });
        state.calls.push(call);
        hit
    }

    fn query(&self, query: &str) -> String {
        let Some((parameter, rows)) = self.state().largest_page else { return query.to_owned() };
        let smaller = |pair: &str| match pair.split_once('=') {
            Some((name, value)) if name == parameter && value.parse().is_ok_and(|asked: u32| asked > rows) => {
                format!("{name}={rows}")
            }
            _ => pair.to_owned(),
        };
        query.split('&').map(smaller).collect::<Vec<_>>().join("&")
    }
}

async fn answer(State((line, target)): State<(Arc<Line>, String)>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let kind = match parts.method {
        _ if (line.is_authentication)(&path) => Kind::Authentication,
        Method::GET => Kind::Read,
        _ => Kind::Write,
    };
    let fault = line.note(Call { kind, method: parts.method.clone(), path: path.clone() });
    if let Some(Fault { passed_on: false, answer, .. }) = fault {
        return broken(answer, Response::new(Bytes::new()));
    }
    let query = parts.uri.query().map(|query| format!("?{}", line.query(query))).unwrap_or_default();
    let body = to_bytes(body, CAP).await.expect("a body");
    // With the name that the provider used, so that links in answers lead back here.
    let sent = line.http.request(parts.method, format!("{target}{path}{query}")).headers(parts.headers).body(body);
    let mut answer = sent.send().await.expect("an answer from behind the wire");
    let status = answer.status();
    let headers = std::mem::take(answer.headers_mut());
    let mut whole = Response::new(answer.bytes().await.expect("a whole answer"));
    *whole.status_mut() = status;
    for (name, value) in
        headers.iter().filter(|(name, _)| ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
    {
        whole.headers_mut().append(name.clone(), value.clone());
    }
    match fault {
        Some(fault) => broken(fault.answer, whole),
        None => whole.map(Body::from),
    }
}

fn broken(answer: Answer, whole: Response<Bytes>) -> Response<Body> {
    match answer {
        Answer::Whole { status, headers, body } => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            for (name, value) in headers {
                let value = HeaderValue::from_str(&value).expect("a header value");
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
            response
        }
        Answer::Half => whole.map(|body| Body::from(body.slice(..body.len() / 2))),
        Answer::CutShort => {
            let length = whole.body().len();
            let mut response = whole.map(|body| interrupted(body.slice(..length / 2)));
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            response
        }
        Answer::Lost => {
            let lost = stream::iter([Err::<Bytes, _>(io::Error::other("the connection breaks"))]);
            Response::new(Body::from_stream(lost))
        }
        Answer::Replaced(from, to) => whole.map(|body| Body::from(String::from_utf8_lossy(&body).replace(&from, &to))),
    }
}

/// The pause lets the server send what it has, before the failure makes it drop the connection.
fn interrupted(body: Bytes) -> Body {
    let broken = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::other("the connection breaks"))
    });
    Body::from_stream(stream::iter([Ok(body)]).chain(broken))
}
