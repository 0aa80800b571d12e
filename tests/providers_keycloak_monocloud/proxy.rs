//! How many requests did a provider really send? A proxy in front of Keycloak that passes everything on and remembers it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

/// Largest body passed on, in bytes.
const CAP: usize = 16 << 20;

#[derive(Clone)]
struct Behind {
    target: String,
    http: reqwest::Client,
    seen: Arc<Mutex<Vec<String>>>,
}

/// A running proxy; it ends with the test's runtime.
pub struct Proxy {
    /// Its address, `http://127.0.0.1:<port>`.
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Listens on a free port and passes every request on to `target`.
    pub async fn start(target: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        let behind = Behind { target: target.to_owned(), http, seen: seen.clone() };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(pass_on).with_state(behind);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen }
    }

    /// What came since the last call of this, as `METHOD path`, ids replaced by `{id}`, without queries.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("no panic while locked"))
    }

    /// The same without the fetching of tokens.
    pub fn take_calls(&self) -> Vec<String> {
        self.take().into_iter().filter(|call| !call.ends_with("/token")).collect()
    }
}

async fn pass_on(State(behind): State<Behind>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    behind.seen.lock().expect("no panic while locked").push(format!("{} {}", parts.method, template(path)));
    let address = format!("{}{}", behind.target, parts.uri.path_and_query().map_or(path, |p| p.as_str()));
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    let body = to_bytes(body, CAP).await.expect("a body");
    let answer = behind.http.request(parts.method, address).headers(headers).body(body).send().await;
    let answer = answer.expect("an answer from behind the proxy");
    let status = answer.status();
    let content_type = answer.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = answer.bytes().await.expect("a whole answer");
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::from_u16(status.as_u16()).expect("a status");
    let mut out = HeaderMap::new();
    out.extend(content_type.map(|value| (header::CONTENT_TYPE, value)));
    *response.headers_mut() = out;
    response
}

/// The path below the realm, with `{id}` for everything that looks like one of Keycloak's ids.
fn template(path: &str) -> String {
    let below = path.strip_prefix("/admin/realms/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    let path = below.map_or_else(|| path.to_owned(), |rest| format!("/{rest}"));
    let segment = |s: &str| if s.len() == 36 && s.matches('-').count() == 4 { "{id}".to_owned() } else { s.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
