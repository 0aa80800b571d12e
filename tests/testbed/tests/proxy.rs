//! Does the proxy break calls and connections at the moment that it was told, and only then?

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use testbed::control_plane;
use testbed::proxy::{Action, Answer, Gate, Phase, Proxy, Rule, Upstream};
use tokio::sync::Notify;
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Long enough for a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(20);
/// What must not happen is watched for so long.
const SHORT: Duration = Duration::from_millis(300);

/// A server that counts what was done to it, behind a proxy.
struct Stage {
    proxy: Proxy,
    done: Arc<AtomicU32>,
    events: broadcast::Sender<String>,
    http: reqwest::Client,
}

impl Stage {
    async fn new() -> Self {
        let done = Arc::new(AtomicU32::new(0));
        let (events, _) = broadcast::channel::<String>(16);
        let (counting, watching) = (done.clone(), events.clone());
        let router = Router::new()
            .route(
                "/users/{id}/reset",
                post(move |body: String| async move {
                    counting.fetch_add(1, Ordering::SeqCst);
                    format!("done: {body}")
                }),
            )
            .route("/host", get(|headers: HeaderMap| async move { headers["host"].to_str().unwrap().to_owned() }))
            .route(
                "/things",
                get(move || async move {
                    let stream = futures::stream::unfold(watching.subscribe(), |mut events| async move {
                        let line = events.recv().await.ok()?;
                        Some((Ok::<_, Infallible>(Bytes::from(line)), events))
                    });
                    Body::from_stream(stream)
                }),
            );
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let proxy = Proxy::start(Upstream::plain(&url)).await.unwrap();
        Self { proxy, done, events, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn reset(&self, user: u32) -> Result<String, reqwest::Error> {
        let url = format!("{}/users/{user}/reset", self.proxy.url());
        let answer = self.http.post(url).body("please").send().await?;
        answer.error_for_status()?.text().await
    }

    fn done(&self) -> u32 {
        self.done.load(Ordering::SeqCst)
    }

    /// Opens a watch and returns once the server knows of it.
    async fn watch(&self) -> reqwest::Response {
        let before = self.events.receiver_count();
        let url = format!("{}/things?watch=true", self.proxy.url());
        let answer = timeout(DEADLINE, self.http.get(url).send()).await.unwrap().unwrap();
        while self.events.receiver_count() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answer
    }

    fn say(&self, line: &str) {
        self.events.send(format!("{line}\n")).unwrap();
    }
}

async fn next(watch: &mut reqwest::Response) -> String {
    let chunk = timeout(DEADLINE, watch.chunk()).await.expect("an event in time").unwrap().expect("no end");
    String::from_utf8(chunk.to_vec()).unwrap()
}

async fn until(what: &str, wanted: impl Fn() -> bool) {
    let wait = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, wait).await.is_ok(), "waited in vain: {what}");
}

#[tokio::test]
async fn a_call_without_a_rule_passes_unchanged_and_is_remembered() {
    let stage = Stage::new().await;
    assert_eq!(stage.reset(7).await.unwrap(), "done: please");
    assert_eq!(stage.reset(8).await.unwrap(), "done: please");
    until("both answers are through", || stage.proxy.records().iter().all(|r| r.answered.is_some())).await;
    let records = stage.proxy.records();
    let seen: Vec<_> = records.iter().map(|r| (r.call.template.as_str(), r.call.nth, r.call.target.as_str())).collect();
    assert_eq!(
        seen,
        [("POST /users/{id}/reset", 1, "/users/7/reset"), ("POST /users/{id}/reset", 2, "/users/8/reset")]
    );
    assert!(records[0].arrived < records[0].forwarded.unwrap() && records[0].forwarded < records[0].answered);
    assert_eq!((records[0].status, &records[0].call.body[..]), (Some(200), &b"please"[..]));
}

#[tokio::test]
async fn the_server_sees_the_address_that_the_caller_used() {
    let stage = Stage::new().await;
    let host = stage.http.get(format!("{}/host", stage.proxy.url())).send().await.unwrap().text().await.unwrap();
    assert_eq!(format!("http://{host}"), stage.proxy.url());
}

#[tokio::test]
async fn a_reset_before_forwarding_keeps_the_call_from_the_server_and_one_after_it_does_not() {
    let stage = Stage::new().await;
    stage.proxy.rule(Rule::new(Phase::Before, Action::Reset).on("POST /users/{id}/reset").nth(2));
    stage.reset(1).await.unwrap();
    assert!(stage.reset(2).await.is_err());
    assert_eq!(stage.done(), 1);
    stage.proxy.clear_rules();
    stage.proxy.rule(Rule::new(Phase::AfterForward, Action::Reset).first(1));
    assert!(stage.reset(3).await.is_err());
    assert_eq!(stage.done(), 2);
    stage.reset(4).await.unwrap();
    let last = stage.proxy.records().into_iter().nth(2).unwrap();
    assert_eq!((last.status, last.answered), (Some(200), None), "the server answered, the caller never knew");
}

#[tokio::test]
async fn a_hook_after_the_answer_runs_when_the_caller_has_it() {
    let stage = Stage::new().await;
    let (told, tell) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (hook_told, hook_tell) = (told.clone(), tell.clone());
    stage.proxy.rule(Rule::new(Phase::AfterAnswer, Action::Pass).hook(move |_| {
        let (told, tell) = (hook_told.clone(), hook_tell.clone());
        async move {
            told.notify_one();
            tell.notified().await;
        }
    }));
    assert_eq!(stage.reset(1).await.unwrap(), "done: please", "the answer does not wait for the hook");
    timeout(DEADLINE, told.notified()).await.expect("the hook runs");
    tell.notify_one();
}

#[tokio::test]
async fn an_answer_can_take_the_place_of_the_servers_whether_the_server_has_the_call_or_not() {
    let stage = Stage::new().await;
    for (phase, done) in [(Phase::Before, 0), (Phase::AfterForward, 1)] {
        stage.proxy.clear_rules();
        let headers = vec![("retry-after".to_owned(), "7".to_owned())];
        let answer = Answer { status: 503, headers, body: Bytes::from_static(b"no") };
        stage.proxy.rule(Rule::new(phase, Action::Answer(answer)));
        let answer = stage.http.post(format!("{}/users/1/reset", stage.proxy.url())).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "7"));
        assert_eq!(answer.text().await.unwrap(), "no");
        assert_eq!(stage.done(), done, "{phase:?}");
        let last = || stage.proxy.records().pop().unwrap();
        until("the answer is through", || last().answered.is_some()).await;
        assert_eq!((last().status, last().told), ((done == 1).then_some(200), Some(503)), "{phase:?}");
    }
}

#[tokio::test]
async fn a_truncated_body_ends_in_a_reset() {
    let stage = Stage::new().await;
    stage.proxy.rule(Rule::new(Phase::AfterForward, Action::Truncate(4)));
    let mut answer = stage.http.post(format!("{}/users/1/reset", stage.proxy.url())).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), Bytes::from_static(b"done"));
    assert!(answer.chunk().await.is_err());
    let last = stage.proxy.records().pop().unwrap();
    assert_eq!((last.status, last.told), (Some(200), None), "the server answered, the caller cannot read it");
}

#[tokio::test]
async fn a_late_call_reaches_the_server_after_its_caller_has_given_up() {
    let stage = Stage::new().await;
    stage.proxy.rule(Rule::new(Phase::Before, Action::ForwardLate(SHORT)).first(1));
    assert!(stage.reset(1).await.is_err());
    assert_eq!(stage.done(), 0);
    until("it arrives", || stage.done() == 1).await;
}

#[tokio::test]
async fn a_late_call_reaches_the_server_although_its_caller_ends_while_the_rule_acts() {
    let stage = Stage::new().await;
    let late = Rule::new(Phase::Before, Action::ForwardLate(SHORT)).hook(|_| tokio::time::sleep(2 * SHORT));
    stage.proxy.rule(late.first(1));
    assert!(timeout(SHORT, stage.reset(1)).await.is_err(), "it is gone before the rule is done");
    until("it arrives", || stage.done() == 1).await;
}

#[tokio::test]
async fn what_is_on_its_way_arrives_although_the_caller_is_gone() {
    let stage = Stage::new().await;
    stage.proxy.rule(Rule::new(Phase::AfterForward, Action::BlackHole));
    assert!(timeout(SHORT, stage.reset(3)).await.is_err(), "no answer");
    assert_eq!(stage.done(), 1);
}

#[tokio::test]
async fn a_rule_can_hold_its_calls_until_they_are_let_go() {
    let stage = Stage::new().await;
    let gate = Gate::closed();
    stage.proxy.rule(Rule::new(Phase::Before, Action::Hold(gate.clone())).nth(1));
    let call = stage.reset(1);
    tokio::pin!(call);
    assert!(timeout(SHORT, &mut call).await.is_err());
    stage.reset(2).await.unwrap();
    assert_eq!(stage.done(), 1, "the other call passes by");
    gate.open();
    assert!(timeout(DEADLINE, call).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_closed_gate_holds_every_call_before_the_server() {
    let stage = Stage::new().await;
    stage.proxy.hold().close();
    let call = stage.reset(1);
    tokio::pin!(call);
    assert!(timeout(SHORT, &mut call).await.is_err());
    assert_eq!(stage.done(), 0);
    stage.proxy.hold().open();
    assert!(timeout(DEADLINE, call).await.unwrap().is_ok());
}

#[tokio::test]
async fn in_a_black_hole_nothing_passes_and_nothing_ends_and_later_everything_comes() {
    let stage = Stage::new().await;
    let mut watch = stage.watch().await;
    stage.say("one");
    assert_eq!(next(&mut watch).await, "one\n");
    stage.proxy.black_hole(true);
    stage.say("two");
    assert!(timeout(SHORT, watch.chunk()).await.is_err(), "neither an event nor an end");
    let call = stage.reset(1);
    tokio::pin!(call);
    assert!(timeout(SHORT, &mut call).await.is_err(), "neither an answer nor an error");
    assert_eq!(stage.done(), 0);
    stage.proxy.black_hole(false);
    assert_eq!(next(&mut watch).await, "two\n");
    assert!(timeout(DEADLINE, call).await.unwrap().is_ok());
}

#[tokio::test]
async fn stranded_connections_stay_silent_for_good_while_new_ones_work() {
    let stage = Stage::new().await;
    let mut watch = stage.watch().await;
    stage.proxy.strand_connections();
    stage.say("one");
    assert!(timeout(SHORT, watch.chunk()).await.is_err());
    let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = fresh.post(format!("{}/users/1/reset", stage.proxy.url())).send().await.unwrap();
    assert!(answer.status().is_success());
}

#[tokio::test]
async fn open_connections_are_reset_and_new_ones_refused_when_told() {
    let stage = Stage::new().await;
    let mut watch = stage.watch().await;
    stage.proxy.reset_connections();
    assert!(timeout(DEADLINE, watch.chunk()).await.expect("it ends").is_err());
    stage.proxy.refuse(true);
    assert!(stage.reset(1).await.is_err());
    stage.proxy.refuse(false);
    assert!(stage.reset(1).await.is_ok());
}

#[tokio::test]
async fn chosen_watches_fall_silent_and_the_rest_goes_on() {
    let stage = Stage::new().await;
    let mut watch = stage.watch().await;
    stage.proxy.silence(|call| call.is_watch);
    stage.say("one");
    assert!(timeout(SHORT, watch.chunk()).await.is_err());
    stage.reset(1).await.unwrap();
    stage.proxy.end_silence();
    assert_eq!(next(&mut watch).await, "one\n");
}

#[tokio::test]
async fn events_are_dropped_doubled_and_put_in_another_order() {
    let stage = Stage::new().await;
    let mut watch = stage.watch().await;
    let mut kept = None;
    stage.proxy.rewrite_events(
        |call| call.template == "GET /things",
        move |_, line| match &line[..] {
            b"dropped" => vec![],
            b"doubled" => vec![line.clone(), line],
            b"first" => {
                kept = Some(line);
                vec![]
            }
            _ => [Some(line), kept.take()].into_iter().flatten().collect(),
        },
    );
    for line in ["dropped", "doubled", "first", "second"] {
        stage.say(line);
    }
    let mut seen = String::new();
    while !seen.ends_with("first\n") {
        seen += &next(&mut watch).await;
    }
    assert_eq!(seen, "doubled\ndoubled\nsecond\nfirst\n");
    stage.proxy.keep_events();
    stage.say("dropped");
    assert_eq!(next(&mut watch).await, "dropped\n");
}

#[tokio::test]
async fn the_api_server_is_reached_through_the_proxy_with_the_callers_own_rights() {
    let plane = control_plane::shared().await.unwrap();
    let proxy = Proxy::start(Upstream::api_server(plane).unwrap()).await.unwrap();
    let namespace = control_plane::create_namespace(&plane.client().await.unwrap(), "proxy").await.unwrap();
    let kubeconfig = plane.service_account_kubeconfig_at(&namespace, "caller", proxy.url()).await.unwrap();
    let client = control_plane::client(&kubeconfig).await.unwrap();
    let review: k8s_openapi::api::authentication::v1::SelfSubjectReview = kube::Api::all(client.clone())
        .create(&Default::default(), &Default::default())
        .await
        .expect("an account may ask who it is");
    let user = review.status.unwrap().user_info.unwrap().username.unwrap();
    assert_eq!(user, format!("system:serviceaccount:{namespace}:caller"));
    let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> = kube::Api::namespaced(client, &namespace);
    let refused = secrets.list(&Default::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    let templates: Vec<String> = proxy.records().into_iter().map(|record| record.call.template).collect();
    assert_eq!(templates, ["create authentication.k8s.io/selfsubjectreviews", "list secrets"]);
}
