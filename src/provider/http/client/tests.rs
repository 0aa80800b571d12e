use std::sync::atomic::AtomicUsize;

use serde_json::json;
use wiremock::matchers::{body_string_contains, header, header_exists, method, path};
use wiremock::{Match, Mock, MockServer, ResponseTemplate};

use super::super::address::AddressRules;
use super::super::limiter::Limits;
use super::super::origin::Base;
use super::super::token::ClientAuth;
use super::*;
use crate::provider::Gate;

fn limiter() -> Arc<Limiter> {
    Limiter::new(Limits { requests_per_second: 100_000.0, burst: 100_000, max_concurrent_requests: 16 })
}

fn base(server: &MockServer) -> Base {
    Base::new(Url::parse(&server.uri()).unwrap(), &[]).unwrap()
}

fn settings(server: &MockServer) -> HttpSettings {
    settings_for(&base(server))
}

/// For a server on this machine.
fn settings_for(base: &Base) -> HttpSettings {
    let rules = AddressRules::parse(&["127.0.0.0/8"]).unwrap();
    let network = Network::new(rules, None, Vec::new()).unwrap();
    HttpSettings { network, ..HttpSettings::new(limiter(), vec![base.origin().clone()]) }
}

fn source(server: &MockServer) -> TokenSource {
    let url = base(server).url("test", &["token"]).unwrap();
    TokenSource::client_credentials(url, "id", SecretString::from("s3cret"), ClientAuth::Basic, "check the Secret")
}

fn bearer(server: &MockServer) -> Http {
    Http::new(settings(server), Auth::bearer(source(server), is_unauthorized)).unwrap()
}

fn keyed(settings: HttpSettings) -> Http {
    let name = HeaderName::from_static("x-api-key");
    Http::new(settings, Auth::Header(name, SecretString::from("k3y"))).unwrap()
}

fn open() -> Gate {
    Arc::new(|| true)
}

fn get(server: &MockServer) -> Request {
    Request::get("read thing", base(server).url("test", &["thing"]).unwrap())
}

fn post(server: &MockServer, gate: &Gate) -> Request {
    Request::write("write thing", Method::POST, base(server).url("test", &["thing"]).unwrap(), gate)
}

/// Tokens `t1`, `t2`, … for a right credential.
async fn issue_tokens(server: &MockServer) {
    let count = AtomicUsize::new(0);
    Mock::given(method("POST"))
        .and(path("/token"))
        .and(header("authorization", "Basic aWQ6czNjcmV0"))
        .respond_with(move |_: &wiremock::Request| {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            ResponseTemplate::new(200).set_body_json(json!({"access_token": format!("t{n}"), "expires_in": 3600}))
        })
        .mount(server)
        .await;
}

async fn count(server: &MockServer, wanted: &str) -> usize {
    server.received_requests().await.unwrap().iter().filter(|r| r.url.path() == wanted).count()
}

async fn answer(server: &MockServer, template: ResponseTemplate) {
    Mock::given(path("/thing")).respond_with(template).mount(server).await;
}

#[tokio::test]
async fn many_requests_at_once_share_one_token() {
    let server = MockServer::start().await;
    issue_tokens(&server).await;
    Mock::given(path("/thing"))
        .and(header("authorization", "Bearer t1"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let http = bearer(&server);
    let all = futures::future::join_all((0..20).map(|_| http.send(get(&server)))).await;
    assert!(all.iter().all(|r| r.as_ref().unwrap().status == 200));
    assert_eq!((count(&server, "/token").await, count(&server, "/thing").await), (1, 20));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_request_repeated_once() {
    let server = MockServer::start().await;
    issue_tokens(&server).await;
    Mock::given(path("/thing"))
        .and(header("authorization", "Bearer t2"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    answer(&server, ResponseTemplate::new(401)).await;
    let http = bearer(&server);
    let all = futures::future::join_all((0..8).map(|_| http.send(get(&server)))).await;
    assert!(all.iter().all(|r| r.as_ref().unwrap().status == 200));
    assert_eq!(count(&server, "/token").await, 2);
    assert!(count(&server, "/thing").await <= 16);
}

#[tokio::test]
async fn a_write_is_repeated_with_a_fresh_token_too_since_a_401_comes_before_any_effect() {
    let server = MockServer::start().await;
    issue_tokens(&server).await;
    Mock::given(path("/thing"))
        .and(header("authorization", "Bearer t2"))
        .respond_with(ResponseTemplate::new(204))
        .mount(&server)
        .await;
    answer(&server, ResponseTemplate::new(401)).await;
    assert_eq!(bearer(&server).send(post(&server, &open())).await.unwrap().status, 204);
    assert_eq!(count(&server, "/thing").await, 2);
}

#[tokio::test]
async fn when_every_token_is_refused_no_stream_of_logins_follows() {
    let server = MockServer::start().await;
    issue_tokens(&server).await;
    answer(&server, ResponseTemplate::new(401)).await;
    let http = bearer(&server);
    for _ in 0..10 {
        let error = http.send(get(&server)).await.unwrap().ok().unwrap_err();
        assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
    }
    assert_eq!(count(&server, "/token").await, 2);
}

#[tokio::test]
async fn a_refused_credential_is_answered_from_memory_until_a_probe_asks_anew() {
    let server = MockServer::start().await;
    let refusal = json!({"error": "invalid_client", "error_description": "s3cret of bob@corp.example is wrong"});
    Mock::given(path("/token")).respond_with(ResponseTemplate::new(401).set_body_json(refusal)).mount(&server).await;
    let http = bearer(&server);
    for _ in 0..5 {
        let error = http.send(get(&server)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
        assert_eq!(
            error.to_string(),
            "fetch token: the credential is refused: HTTP 401 (invalid_client); check the Secret"
        );
    }
    assert_eq!((count(&server, "/token").await, count(&server, "/thing").await), (1, 0));
    http.forget_token().await;
    http.send(get(&server)).await.unwrap_err();
    assert_eq!(count(&server, "/token").await, 2);
}

#[tokio::test]
async fn requests_that_wait_for_a_failing_token_share_the_failure() {
    let server = MockServer::start().await;
    Mock::given(path("/token")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
    let http = bearer(&server);
    let all = futures::future::join_all((0..20).map(|_| http.send(get(&server)))).await;
    assert!(all.iter().all(|r| r.as_ref().unwrap_err().kind == ErrorKind::Unreachable));
    assert_eq!(count(&server, "/token").await, 1);
    http.send(get(&server)).await.unwrap_err();
    assert_eq!(count(&server, "/token").await, 2, "a failure that may pass is not remembered");
}

#[tokio::test]
async fn an_error_code_that_could_be_anything_is_not_shown() {
    let server = MockServer::start().await;
    let refusal = json!({"error": "bob@corp.example"});
    Mock::given(path("/token")).respond_with(ResponseTemplate::new(400).set_body_json(refusal)).mount(&server).await;
    let error = bearer(&server).send(get(&server)).await.unwrap_err();
    assert_eq!(error.message, "the credential is refused: HTTP 400; check the Secret");
}

#[tokio::test]
async fn redirects_are_refused_and_no_credential_goes_along() {
    for status in [301, 302, 303, 307, 308] {
        let (server, other) = (MockServer::start().await, MockServer::start().await);
        let target = format!("{}/thing?secret=1", other.uri());
        answer(&server, ResponseTemplate::new(status).insert_header("location", target.as_str())).await;
        let http = keyed(settings(&server));
        let error = http.send(get(&server)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::EndpointRefused);
        assert!(!error.message.contains("secret"), "{error}");
        assert!(other.received_requests().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn requests_and_tokens_outside_the_allowed_origins_are_never_sent() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    let http = keyed(settings(&server));
    let error = http.send(get(&other)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::EndpointRefused);
    let auth = Auth::bearer(source(&other), is_unauthorized);
    assert_eq!(Http::new(settings(&server), auth).unwrap_err().kind, ErrorKind::EndpointRefused);
    assert!(other.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_was_taken_is_shown_once_more_where_it_is_refused() {
    let server = MockServer::start().await;
    let http = keyed(settings(&server));
    let asked = async || {
        let answers = http.send(get(&server)).await.unwrap().status.as_u16();
        let requests = server.received_requests().await.unwrap().len();
        server.reset().await;
        (answers, requests)
    };
    answer(&server, ResponseTemplate::new(401)).await;
    assert_eq!(asked().await, (401, 1), "it was never taken");
    answer(&server, ResponseTemplate::new(200)).await;
    assert_eq!(asked().await, (200, 1));
    Mock::given(path("/thing")).respond_with(ResponseTemplate::new(401)).up_to_n_times(1).mount(&server).await;
    answer(&server, ResponseTemplate::new(200)).await;
    assert_eq!(asked().await, (200, 2), "one odd answer");
    for requests in [2, 1, 1] {
        answer(&server, ResponseTemplate::new(401)).await;
        assert_eq!(asked().await, (401, requests), "it is not taken any more");
    }
}

#[test]
fn a_space_in_a_query_is_no_plus() {
    let url = Url::parse("https://a.example/users?limit=2").unwrap();
    let request = Request::get("list", url).query(&[("filter", r#"name eq "a+b c""#), ("x", "")]);
    assert_eq!(request.url.query(), Some("limit=2&filter=name%20eq%20%22a%2Bb%20c%22&x="));
}

#[tokio::test]
async fn an_application_that_wants_its_secret_in_the_body_gets_it_there_alone() {
    let server = MockServer::start().await;
    let token = ResponseTemplate::new(200).set_body_json(json!({"access_token": "t1", "expires_in": 3600}));
    Mock::given(path("/token"))
        .and(header_exists("authorization"))
        .respond_with(ResponseTemplate::new(401))
        .expect(0)
        .mount(&server)
        .await;
    Mock::given(path("/token"))
        .and(body_string_contains("client_secret=s3cret"))
        .respond_with(token)
        .mount(&server)
        .await;
    answer(&server, ResponseTemplate::new(200)).await;
    let url = base(&server).url("test", &["token"]).unwrap();
    let source = TokenSource::client_credentials(url, "id", SecretString::from("s3cret"), ClientAuth::Body, "");
    let http = Http::new(settings(&server), Auth::bearer(source, is_unauthorized)).unwrap();
    assert!(http.send(get(&server)).await.unwrap().status.is_success());
}

#[tokio::test]
async fn a_link_is_followed_within_its_origin_only() {
    let server = MockServer::start().await;
    let http = keyed(settings(&server));
    let here = Url::parse("https://a.example/v1/users?limit=2").unwrap();
    let link = |to| http.same_origin("list", &here, to);
    assert_eq!(link("https://a.example/v1/users?cursor=x").unwrap().query(), Some("cursor=x"));
    assert_eq!(link("/v1/users?cursor=x").unwrap().as_str(), "https://a.example/v1/users?cursor=x");
    for elsewhere in
        ["https://b.example/", "http://a.example/", "https://a.example:8443/", "//b.example/", "https://u:p@a.example/"]
    {
        assert_eq!(link(elsewhere).unwrap_err().kind, ErrorKind::EndpointRefused, "{elsewhere}");
    }
    assert_eq!(link("https://").unwrap_err().kind, ErrorKind::ResponseInvalid);
}

#[tokio::test]
async fn a_gate_that_closes_during_the_wait_lets_nothing_out() {
    let server = MockServer::start().await;
    answer(&server, ResponseTemplate::new(200)).await;
    let mut settings = settings(&server);
    settings.limiter = Limiter::new(Limits { requests_per_second: 1000.0, burst: 10, max_concurrent_requests: 1 });
    let limiter = settings.limiter.clone();
    let http = Arc::new(keyed(settings));
    let held = limiter.acquire(Purpose::Work, Duration::ZERO).await.unwrap();
    let writing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let gate: Gate = {
        let writing = writing.clone();
        Arc::new(move || writing.load(Ordering::SeqCst))
    };
    let waiting = tokio::spawn({
        let (http, request) = (http.clone(), post(&server, &gate));
        async move { http.send(request).await }
    });
    tokio::task::yield_now().await;
    writing.store(false, Ordering::SeqCst);
    drop(held);
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Stopped, false));
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn one_429_makes_the_whole_tenant_wait() {
    let (server, sibling) = (MockServer::start().await, MockServer::start().await);
    answer(&server, ResponseTemplate::new(429).insert_header("retry-after", "60")).await;
    answer(&sibling, ResponseTemplate::new(200)).await;
    let settings = settings(&server);
    let mut others = settings.clone();
    others.allowed_origins = vec![base(&sibling).origin().clone()];
    let error = keyed(settings).send(get(&server)).await.unwrap().ok().unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(60))));
    let error = keyed(others).send(get(&sibling)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert!(error.retry_after.unwrap() > Duration::from_secs(50));
    assert!(sibling.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_used_up_quota_makes_the_whole_tenant_wait_before_it_refuses() {
    let server = MockServer::start().await;
    let quota = ResponseTemplate::new(200).insert_header("x-ratelimit-remaining", "0");
    answer(&server, quota.insert_header("x-ratelimit-reset", "60")).await;
    let http = keyed(settings(&server));
    http.send(get(&server)).await.unwrap().ok().expect("the answer itself is good");
    let error = http.send(get(&server)).await.unwrap_err();
    assert_eq!((error.kind, error.held_back), (ErrorKind::Throttled, true));
    assert!(error.retry_after.unwrap() > Duration::from_secs(50));
    assert_eq!(count(&server, "/thing").await, 1);
}

#[tokio::test]
async fn a_tenant_that_fails_again_and_again_is_left_alone_and_the_reason_is_told() {
    let server = MockServer::start().await;
    answer(&server, ResponseTemplate::new(502)).await;
    let http = keyed(settings(&server));
    for _ in 0..5 {
        http.send(get(&server)).await.expect("an answer");
    }
    let error = http.send(post(&server, &open())).await.unwrap_err();
    assert_eq!((error.kind, error.held_back, error.effect_unknown), (ErrorKind::Unreachable, true, false));
    assert!(error.message.contains("502"), "{error}");
    assert_eq!(count(&server, "/thing").await, 5);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    let server = MockServer::start().await;
    answer(&server, ResponseTemplate::new(200).set_body_string("x".repeat(2000))).await;
    let mut settings = settings(&server);
    settings.body_cap = 1999;
    let error = keyed(settings).send(get(&server)).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::ResponseInvalid, false));
}

#[tokio::test]
async fn answers_that_are_not_the_expected_json_are_invalid_and_leave_a_write_in_doubt() {
    let html = ResponseTemplate::new(200).set_body_raw("{}", "text/html; charset=utf-8");
    let json = |text: &str| ResponseTemplate::new(200).set_body_raw(text, "application/json");
    let deep = "[".repeat(100_000);
    for template in [html, json("{\"a\": 1"), json("secret"), json(""), json("[]"), json(&deep)] {
        let server = MockServer::start().await;
        answer(&server, template).await;
        let http = keyed(settings(&server));
        #[derive(Debug, serde::Deserialize)]
        struct Thing {
            #[serde(rename = "a")]
            _a: u8,
        }
        let read = http.send(get(&server)).await.unwrap().json::<Thing>().unwrap_err();
        assert_eq!((read.kind, read.effect_unknown), (ErrorKind::ResponseInvalid, false));
        assert!(!read.message.contains("secret"));
        let write = http.send(post(&server, &open())).await.unwrap().json::<Thing>().unwrap_err();
        assert_eq!((write.kind, write.effect_unknown), (ErrorKind::ResponseInvalid, true));
    }
}

/// Answers each connection with these bytes and closes it.
async fn raw(bytes: &'static [u8]) -> Url {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    url
}

async fn send_to(url: Url, write: bool) -> Result<Response, ProviderError> {
    send_within(Duration::from_secs(60), url, write).await
}

async fn send_within(deadline: Duration, url: Url, write: bool) -> Result<Response, ProviderError> {
    let base = Base::new(url, &[]).unwrap();
    let mut settings = settings_for(&base);
    settings.deadline = deadline;
    let url = base.url("test", &["thing"]).unwrap();
    let request = if write { Request::write("w", Method::POST, url, &open()) } else { Request::get("r", url) };
    keyed(settings).send(request).await
}

#[tokio::test]
async fn a_truncated_answer_is_invalid() {
    const SHORT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":";
    let error = send_to(raw(SHORT).await, false).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::ResponseInvalid, false));
    let error = send_to(raw(SHORT).await, true).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::ResponseInvalid, true));
}

#[tokio::test]
async fn a_write_without_an_answer_is_in_doubt_and_one_that_was_never_sent_is_not() {
    let error = send_to(raw(b"").await, true).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Unreachable, true));
    let error = send_to(raw(b"").await, false).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Unreachable, false));
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
    };
    let error = send_to(closed, true).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Unreachable, false));
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_in_doubt() {
    let server = MockServer::start().await;
    answer(&server, ResponseTemplate::new(200).set_delay(Duration::from_secs(60))).await;
    let url = Url::parse(&server.uri()).unwrap();
    let error = send_within(Duration::from_millis(300), url, true).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Unreachable, true));
}

#[tokio::test]
async fn statuses_have_a_usual_reading_and_only_server_errors_and_conflicts_leave_a_write_in_doubt() {
    for (status, kind, unknown) in [
        (400, ErrorKind::Rejected, false),
        (401, ErrorKind::AuthenticationFailed, false),
        (403, ErrorKind::PermissionDenied, false),
        (404, ErrorKind::NotFound, false),
        (408, ErrorKind::Unreachable, true),
        (409, ErrorKind::Unreachable, true),
        (422, ErrorKind::Rejected, false),
        (429, ErrorKind::Throttled, false),
        (500, ErrorKind::Unreachable, true),
        (503, ErrorKind::Unreachable, true),
    ] {
        let server = MockServer::start().await;
        answer(&server, ResponseTemplate::new(status).set_body_string("secret")).await;
        let http = keyed(settings(&server));
        let error = http.send(post(&server, &open())).await.unwrap().ok().unwrap_err();
        assert_eq!((error.kind, error.effect_unknown), (kind, unknown), "{status}");
        assert!(!error.to_string().contains("secret"));
    }
}

struct NoBody;

impl Match for NoBody {
    fn matches(&self, request: &wiremock::Request) -> bool {
        request.body.is_empty()
    }
}

#[tokio::test]
async fn an_empty_write_says_that_it_is_empty_and_the_key_and_agent_are_sent() {
    let server = MockServer::start().await;
    Mock::given(NoBody)
        .and(header("content-length", "0"))
        .and(header("x-api-key", "k3y"))
        .and(header("user-agent", concat!("password-reset-operator/", env!("CARGO_PKG_VERSION"))))
        .and(header("content-type", "application/vnd.example"))
        .and(header_exists("accept"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let request = post(&server, &open()).header(CONTENT_TYPE, "application/vnd.example");
    assert_eq!(keyed(settings(&server)).send(request).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_clock_of_the_provider_is_remembered() {
    let server = MockServer::start().await;
    answer(&server, ResponseTemplate::new(200).insert_header("date", "Sun, 06 Nov 1994 08:49:37 GMT")).await;
    let http = keyed(settings(&server));
    assert_eq!(http.clock(), None);
    let answer = http.send(get(&server)).await.unwrap();
    let theirs: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
    assert_eq!(http.clock().unwrap().theirs, theirs);
    assert!(answer.answered_at > theirs, "no answer is from 1994, whatever one of their nodes says");
}

#[test]
fn an_answer_was_made_when_the_server_says_unless_that_is_more_than_a_day_off() {
    let ours: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
    let hours = |n: i64| ours + jiff::SignedDuration::from_hours(n);
    for (theirs, made) in [(24, 24), (-24, -24), (25, 0), (-25, 0), (700_000, 0)] {
        assert_eq!(super::believed(Some(hours(theirs)), ours), hours(made), "{theirs}");
    }
    assert_eq!(super::believed(None, ours), ours);
}

#[tokio::test]
async fn a_bad_ca_bundle_or_key_is_told_without_showing_it() {
    let server = MockServer::start().await;
    let mut bad = settings(&server);
    bad.ca_bundle = Some(b"not a certificate".to_vec());
    let auth = || Auth::Header(HeaderName::from_static("x-api-key"), SecretString::from("k3y"));
    assert_eq!(Http::new(bad, auth()).unwrap_err().kind, ErrorKind::TlsFailed);
    let auth = Auth::Header(HeaderName::from_static("x-api-key"), SecretString::from("k3y\nx"));
    let error = Http::new(settings(&server), auth).unwrap_err();
    assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
    assert!(!error.to_string().contains("k3y"));
}

#[tokio::test]
async fn nothing_prints_addresses_headers_or_bodies() {
    let server = MockServer::start().await;
    answer(&server, ResponseTemplate::new(200).set_body_string("secret")).await;
    let http = keyed(settings(&server));
    let request = get(&server).query(&[("email", "bob@corp.example")]);
    assert_eq!(format!("{request:?}"), r#"Request { operation: "read thing", .. }"#);
    let answer = http.send(request).await.unwrap();
    assert_eq!(format!("{answer:?} {http:?}"), "Response { status: 200, .. } Http { .. }");
}

/// A TLS server with a certificate for 127.0.0.1, signed by an authority of its own; its address and that authority.
fn tls_server() -> (Url, Vec<u8>) {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::{Read, Write};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("http-tls-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let files = testbed::certificates::Certificates::create(&folder).unwrap();
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.server).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.server_key).unwrap();
    let authority = std::fs::read(&files.authority).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut seen = [0; 4096];
            if stream.read(&mut seen).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (url, authority)
}

#[tokio::test]
async fn a_server_is_believed_only_with_a_certificate_of_the_given_authority() {
    let (url, authority) = tls_server();
    let (_, stranger) = tls_server();
    let base = Base::new(url, &[]).unwrap();
    let send = |ca_bundle: Option<Vec<u8>>| {
        let mut settings = settings_for(&base);
        settings.ca_bundle = ca_bundle;
        let request = Request::write("w", Method::POST, base.url("test", &["thing"]).unwrap(), &open());
        async move { keyed(settings).send(request).await }
    };
    assert_eq!(send(Some(authority)).await.unwrap().status, 200);
    let error = send(Some(stranger)).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::TlsFailed, false), "{error}");
    assert!(error.message.contains("tls.caBundleConfigMapRef"), "{error}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_fails_it() {
    let server = MockServer::start().await;
    let url = Url::parse(&server.uri().replace("http://", "https://")).unwrap();
    let error = send_to(url, true).await.unwrap_err();
    assert_eq!((error.kind, error.effect_unknown), (ErrorKind::TlsFailed, false), "{error}");
}
