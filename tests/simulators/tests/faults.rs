//! How the fault switches act, one sentence a test. MonoCloud stands for all three; the switches are shared.

mod client;

use std::time::Duration;

use client::{Answer, Client, http, listed, looker, monocloud, pingone, whole};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use simulators::monocloud::{FORCE_RESET, LIST_USERS, READ_USER};
use simulators::{
    Action, CallFault, Class, DateHeader, Effect, Faults, Handle, Lag, Options, Play, RateLimit, RetryAfter, Trap, When,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn force(client: &Client, server: &Handle, index: u32) -> RequestBuilder {
    client.request(Method::POST, &format!("/api/users/{}/password/force_reset", server.user_at(index).id))
}

fn calls(faults: Vec<CallFault>) -> Faults {
    Faults { calls: faults, ..Faults::default() }
}

#[tokio::test]
async fn a_reset_before_the_effect_leaves_nothing_and_after_it_loses_only_the_answer() {
    for (when, marked) in [(When::Before, false), (When::After, true)] {
        let (server, client) = monocloud(Options::ordinary(2)).await;
        server.set(calls(vec![CallFault::new(FORCE_RESET, 1, when, Action::Reset)]));
        let error = whole(force(&client, &server, 0)).await.expect_err("no answer");
        assert!(!error.is_timeout(), "{error:?}");
        assert_eq!(server.user_at(0).marked, marked);
        let record = &server.ledger()[0];
        assert_eq!(record.effect, if marked { Effect::Marked } else { Effect::Nothing });
        assert_eq!((record.fault, record.user.as_ref()), (Some("reset"), Some(&server.user_at(0).id)));
        assert_eq!(whole(force(&client, &server, 1)).await.expect("an answer").status, 200, "the next call is fine");
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_not_an_orderly_end() {
    let (server, _) = monocloud(Options::ordinary(1)).await;
    server.set(calls(vec![CallFault::always("*", When::Before, Action::Reset)]));
    let address = server.base_url().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(&address).await.expect("connected");
    stream.write_all(b"GET /api/users HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let error = stream.read_to_end(&mut Vec::new()).await.expect_err("no end of the stream");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_call_can_hang_after_its_effect_until_the_caller_gives_up() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    server.set(calls(vec![CallFault::new(FORCE_RESET, 1, When::After, Action::Hang { milliseconds: None })]));
    let impatient = force(&client, &server, 0).timeout(Duration::from_millis(100));
    assert!(whole(impatient).await.expect_err("no answer").is_timeout());
    assert!(server.user_at(0).marked);
    while server.counters().in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_status_comes_with_the_vendors_own_body_before_or_after_the_effect() {
    let (server, client) = monocloud(Options::ordinary(2)).await;
    server.set(calls(vec![
        CallFault::new(FORCE_RESET, 1, When::Before, Action::Status(503)),
        CallFault::new(FORCE_RESET, 2, When::After, Action::Status(500)),
    ]));
    let answers = [whole(force(&client, &server, 0)).await, whole(force(&client, &server, 1)).await];
    let statuses = answers.map(|answer| answer.expect("an answer").json()["status"].clone());
    assert_eq!(statuses, [json!(503), json!(500)]);
    assert_eq!([0, 1].map(|index| server.user_at(index).marked), [false, true]);
    assert_eq!(server.ledger().iter().map(|record| record.status).collect::<Vec<_>>(), [503, 200]);
    let (server, client) = pingone(Options::ordinary(1)).await;
    server.set(calls(vec![CallFault::always("GET *", When::Before, Action::Status(502))]));
    assert_eq!(client.get("/users").await.json()["code"], json!("UNEXPECTED_ERROR"));
    let (server, client) = looker(Options::ordinary(1)).await;
    server.set(calls(vec![CallFault::always("*", When::Before, Action::Status(503))]));
    assert!(client.get("/users").await.json()["documentation_url"].is_string());
}

#[tokio::test]
async fn a_fault_can_be_for_one_user_only() {
    let (server, client) = monocloud(Options::ordinary(2)).await;
    let fault = CallFault::always(READ_USER, When::Before, Action::Status(500)).for_user(&server.user_at(1).id);
    server.set(calls(vec![fault]));
    for (index, status) in [(0, 200), (1, 500), (1, 500)] {
        assert_eq!(client.get(&format!("/api/users/{}", server.user_at(index).id)).await.status, status);
    }
}

async fn struck(action: Action) -> reqwest::Result<Answer> {
    let (server, client) = monocloud(Options::ordinary(50)).await;
    server.set(calls(vec![CallFault::new(LIST_USERS, 1, When::After, action)]));
    whole(client.request(Method::GET, "/api/users?size=50")).await
}

#[tokio::test]
async fn bodies_can_be_half_wrong_kind_huge_deep_or_missing() {
    let truncated = struck(Action::TruncatedJson).await.expect("a complete HTTP answer");
    assert!(truncated.status == 200 && serde_json::from_str::<serde_json::Value>(&truncated.text).is_err());
    assert!(struck(Action::CutShort).await.is_err(), "fewer bytes than Content-Length says");
    let html = struck(Action::Html).await.expect("an answer");
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html")));
    let oversized = struck(Action::Oversized { bytes: 3_000_000 }).await.expect("an answer");
    assert!(oversized.text.len() >= 3_000_000 && listed(&oversized).len() >= 1_000_000);
    let nested = struck(Action::Nested { depth: 100_000 }).await.expect("an answer");
    assert_eq!(nested.text.len(), 200_000);
    let empty = struck(Action::Empty).await.expect("an answer");
    assert_eq!((empty.status, empty.text.as_str()), (200, ""));
    let slow = struck(Action::SlowBody { milliseconds: 0 }).await.expect("an answer");
    assert_eq!(listed(&slow).len(), 50, "byte by byte, and whole in the end");
}

#[tokio::test]
async fn any_answer_can_take_the_place_of_the_real_one() {
    let action = Action::Answer {
        status: 403,
        content_type: "text/plain".to_owned(),
        body: "quota".to_owned(),
        headers: vec![("retry-after".to_owned(), "7".to_owned())],
    };
    let answer = struck(action).await.expect("an answer");
    assert_eq!((answer.status, answer.text.as_str()), (403, "quota"));
    assert_eq!(answer.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn values_that_no_document_knows_can_be_merged_into_objects_and_rows() {
    let patch = json!({"force_password_reset": null, "user_id": 7, "brand_new": {"state": "FROZEN"}});
    for row in listed(&struck(Action::Merge(patch)).await.expect("an answer")) {
        assert_eq!((row.get("force_password_reset"), &row["user_id"]), (None, &json!(7)));
        assert_eq!((&row["brand_new"]["state"], &row["has_password"]), (&json!("FROZEN"), &json!(true)));
    }
    let (server, client) = pingone(Options::ordinary(2)).await;
    server.set(calls(vec![CallFault::always("GET *", When::After, Action::Merge(json!({"enabled": "maybe"})))]));
    let page = client.get("/users").await.json();
    assert_eq!((&page["_embedded"]["users"][1]["enabled"], &page["count"]), (&json!("maybe"), &json!(2)));
}

#[tokio::test]
async fn a_person_can_act_between_two_calls() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    let user = server.user_at(0);
    let comply = Action::Play { user: user.id.clone(), play: Play::Complies };
    server.set(calls(vec![CallFault::new(LIST_USERS, 1, When::After, comply)]));
    let listed = listed(&client.get("/api/users").await);
    assert_eq!(listed[0]["password_updated_at"], json!(user.changed_at.expect("known").as_second()), "the old time");
    assert!(server.user_at(0).changed_at > user.changed_at);
    assert_eq!(server.ledger()[0].caller, "person");
}

#[tokio::test]
async fn a_test_can_wait_for_the_ledger() {
    let (server, client) = monocloud(Options::ordinary(2)).await;
    let calls = async {
        for index in 0..2 {
            whole(force(&client, &server, index)).await.expect("an answer");
        }
    };
    futures::future::join(server.recorded(2), calls).await;
    assert_eq!(server.ledger().len(), 2);
}

#[tokio::test]
async fn a_redirect_to_another_origin_leads_into_a_trap_that_tells_whether_a_credential_came_along() {
    for status in [301, 302, 303, 307, 308] {
        let trap = Trap::start().await.expect("started");
        let (server, client) = monocloud(Options::ordinary(1)).await;
        let location = format!("{}/api/users", trap.origin());
        server.set(calls(vec![CallFault::always(LIST_USERS, When::Before, Action::Redirect { status, location })]));
        let answer = client.get("/api/users").await;
        assert_eq!(answer.status, status);
        let target = answer.header("location").expect("a location").to_owned();
        whole(http().get(&target)).await.expect("an answer");
        whole(http().get(&target).header("x-api-key", server.credentials().api_key)).await.expect("an answer");
        assert_eq!(trap.caught().iter().map(|caught| caught.secret).collect::<Vec<_>>(), [false, true]);
    }
}

#[tokio::test]
async fn over_the_rate_limit_come_429s_with_the_retry_after_that_was_asked_for() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    let now = server.clock().now().as_second();
    for (retry_after, expected) in [
        (RetryAfter::Honest, Some("100")),
        (RetryAfter::Absent, None),
        (RetryAfter::Seconds(7), Some("7")),
        (RetryAfter::Raw("soon".to_owned()), Some("soon")),
        (RetryAfter::Raw("-1".to_owned()), Some("-1")),
    ] {
        let rate_limit = Some(RateLimit { per_second: 0.01, burst: 2, retry_after });
        server.set(Faults { rate_limit, ..Faults::default() });
        assert_eq!([client.get("/api/users").await.status, client.get("/api/users").await.status], [200, 200]);
        let refused = client.get("/api/users").await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, expected));
    }
    let rate_limit = Some(RateLimit { per_second: 0.01, burst: 0, retry_after: RetryAfter::HttpDate(3_600) });
    server.set(Faults { rate_limit, ..Faults::default() });
    let refused = whole(force(&client, &server, 0)).await.expect("an answer");
    let date = refused.header("retry-after").expect("a date");
    let parsed = jiff::fmt::rfc2822::parse(date).expect("an HTTP date").timestamp().as_second();
    assert!((3_590..3_700).contains(&(parsed - now)), "{date}");
    assert_eq!(server.counters().with_status(429), 6);
    assert_eq!(server.ledger()[0].effect, Effect::Nothing, "a throttled write is recorded, and did nothing");
}

#[tokio::test]
async fn the_token_endpoint_of_pingone_is_outside_the_rate_limit() {
    let (server, client) = pingone(Options::ordinary(1)).await;
    let rate_limit = Some(RateLimit { per_second: 0.01, burst: 0, retry_after: RetryAfter::Honest });
    server.set(Faults { rate_limit, ..Faults::default() });
    let refused = client.get("/users").await;
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("REQUEST_LIMITED")));
    assert_eq!(client::pingone_token(&server).await.status, 200);
}

#[tokio::test]
async fn the_date_header_follows_the_clock_or_is_absent_or_absurd() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    server.clock().set_offset_seconds(-86_400);
    let answer = client.get("/api/users").await;
    let date = jiff::fmt::rfc2822::parse(answer.header("date").expect("a date")).expect("an HTTP date").timestamp();
    assert!((jiff::Timestamp::now().as_second() - date.as_second() - 86_400).abs() < 60);
    whole(force(&client, &server, 0)).await.expect("an answer");
    server.complies(&server.user_at(0).id).expect("able to");
    assert!(server.user_at(0).changed_at.expect("known") < jiff::Timestamp::now(), "a day behind");
    server.set(Faults { date: DateHeader::Absent, ..Faults::default() });
    assert_eq!(client.get("/api/users").await.header("date"), None);
    server.set(Faults { date: DateHeader::Raw("yesterday".to_owned()), ..Faults::default() });
    assert_eq!(client.get("/api/users").await.header("date"), Some("yesterday"));
}

#[tokio::test]
async fn latency_holds_back_each_answer_and_in_flight_requests_are_counted() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    server.set(Faults { latency_ms: 500, ..Faults::default() });
    futures::future::join_all((0..5).map(|_| client.get("/api/users"))).await;
    assert_eq!((server.counters().peak_in_flight, server.counters().in_flight), (5, 0));
}

#[tokio::test]
async fn with_a_lag_in_time_a_write_shows_once_it_is_over() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    server.set(Faults { lag: Some(Lag::Milliseconds(1_000)), ..Faults::default() });
    let answer = whole(force(&client, &server, 0)).await.expect("an answer");
    assert_eq!(answer.json()["force_password_reset"], json!(true), "the write's own answer knows");
    let path = format!("/api/users/{}", server.user_at(0).id);
    assert_eq!(client.get(&path).await.json()["force_password_reset"], json!(false));
    let mut reads = 0;
    while client.get(&path).await.json()["force_password_reset"] == json!(false) {
        reads += 1;
        assert!(reads < 1_000_000, "it never shows");
    }
}

#[tokio::test]
async fn short_lived_tokens_and_refused_credentials_can_be_switched_on() {
    let (server, _) = pingone(Options::ordinary(1)).await;
    server.set(Faults { token_lifetime_seconds: Some(5), ..Faults::default() });
    let answer = client::pingone_token(&server).await.json();
    assert_eq!(answer["expires_in"], json!(5));
    let url = format!("{}/v1/environments/{}/users", server.base_url(), server.environment_id());
    let bearer = answer["access_token"].as_str().expect("a token");
    assert_eq!(whole(http().get(&url).bearer_auth(bearer)).await.expect("an answer").status, 200);
    server.clock().set_offset_seconds(6);
    assert_eq!(whole(http().get(&url).bearer_auth(bearer)).await.expect("an answer").status, 401);
    server.set(Faults { refuse_credentials: true, ..Faults::default() });
    assert_eq!(client::pingone_token(&server).await.status, 401);
}

#[tokio::test]
async fn an_awkward_tenant_keeps_its_books_when_every_user_is_forced_once() {
    let (server, client) = monocloud(Options::awkward(200)).await;
    let users = server.users();
    for user in &users {
        client.send(Method::POST, &format!("/api/users/{}/password/force_reset", user.id)).await;
    }
    let marked = |class: Class| {
        !matches!(
            class,
            Class::NoPassword | Class::Federated | Class::Refused | Class::Forbidden | Class::WithoutEffect
        )
    };
    for user in server.users() {
        assert_eq!(user.marked, marked(user.class), "{:?}", user.class);
    }
    assert_eq!(server.ledger().len(), 200);
    assert_eq!(server.requirements().len(), users.iter().filter(|user| marked(user.class)).count());
}

#[tokio::test]
async fn a_simulator_that_is_dropped_refuses_connections_and_ends_those_it_has() {
    let (server, client) = monocloud(Options::ordinary(1)).await;
    assert_eq!(client.get("/api/users").await.status, 200);
    drop(server);
    while whole(client.request(Method::GET, "/api/users")).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_taken_port_or_an_impossible_population_is_an_error() {
    let (server, _) = monocloud(Options::ordinary(1)).await;
    let port = server.base_url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    assert!(simulators::MonoCloud::start(Options { port, ..Options::ordinary(1) }).await.is_err());
    let population = simulators::Population::with(1, &[(Class::Gateway, simulators::Share::Count(1))]);
    let error = simulators::MonoCloud::start(Options::new(population)).await.expect_err("MonoCloud has no gateways");
    assert!(error.to_string().contains("MonoCloud has no class Gateway"), "{error}");
}
