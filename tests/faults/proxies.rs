//! Proxies: those of the environment are never used, the one that is set gets everything.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::json;
use simulators::{MonoCloud, Options, PingOne};

use crate::bed::{Bed, fast};
use crate::listener::Listener;

/// I28, R9. Also the way to the API server.
#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_see_nothing() {
    let listener = Listener::start().await;
    let simulator = PingOne::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::new("env-proxy").await;
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        bed.set(name, &listener.origin());
        bed.set(&name.to_lowercase(), &listener.origin());
    }
    bed.start().await;
    bed.pingone("p1", &simulator, fast()).await;
    bed.enforce("inc", "p1", json!({"scope": "Tenant"})).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 5);
    listener.assert_untouched();
}

/// What a proxy was asked: the whole address and whether its password came along.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A forward proxy that sends whatever it is asked to one server.
async fn proxy(server: String) -> (String, Asked) {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let router = Router::new().fallback(forward).with_state((asked.clone(), http, server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

async fn forward(
    State((asked, http, server)): State<(Asked, reqwest::Client, String)>,
    request: Request,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let password = parts.headers.remove("proxy-authorization");
    let password = password.and_then(|value| value.to_str().map(str::to_owned).ok());
    asked.lock().unwrap_or_else(PoisonError::into_inner).push((parts.uri.to_string(), password));
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    parts.headers.remove("host");
    let sent = http.request(parts.method, format!("{server}{path}")).headers(parts.headers).body(body);
    let mut answer = sent.send().await.expect("an answer");
    let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
    let mut response = Response::new(Body::from(answer.bytes().await.expect("a body")));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    for hop in ["connection", "content-length", "transfer-encoding"] {
        response.headers_mut().remove(hop);
    }
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_that_is_set_gets_every_request_and_its_password_is_never_shown() {
    let simulator = MonoCloud::start(Options::ordinary(7)).await.expect("a simulator");
    let (address, asked) = proxy(simulator.base_url()).await;
    let mut bed = Bed::new("proxy").await;
    bed.set("PROXY_URL", &format!("http://operator:canary-of-the-proxy@{address}"));
    bed.set("LOG", "trace");
    bed.start().await;
    // Where nobody listens: only the proxy leads anywhere.
    let block = json!({"monoCloud": {"baseURL": "http://localhost:9", "credentialsSecretRef": {"name": "mc"}}});
    let key = simulator.credentials().api_key;
    bed.provider("mc", &["http://localhost:9"], json!({"apiKey": key}), block, fast()).await;
    bed.enforce("inc", "mc", json!({"scope": "Tenant"})).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 7);
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(asked.len() as u64, simulator.counters().total(), "every request came by the proxy");
    for (uri, password) in asked {
        assert!(uri.starts_with("http://localhost:9/"), "{uri}");
        assert_eq!(password.as_deref(), Some("Basic b3BlcmF0b3I6Y2FuYXJ5LW9mLXRoZS1wcm94eQ=="));
    }
    let public = bed.everything_public().await;
    assert!(!public.contains("canary-of-the-proxy") && !public.contains("b3BlcmF0b3I6"));
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_password-reset-operator"))
        .env("PROXY_URL", "http://operator:canary-of-the-proxy@proxy.example")
        .arg("--help")
        .output()
        .expect("it runs");
    let help = String::from_utf8_lossy(&help.stdout);
    assert!(help.contains("PROXY_URL") && !help.contains("canary"), "{help}");
}
