//! C3 to C6, C8, C9: what people write, and what they call themselves, that is too much or odd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use simulators::{Looker, MonoCloud, Options, PERSONAL_CANARY, PingOne, SECRET_CANARY};
use testbed::keycloak::options::OPERATOR_CLIENT;
use testbed::keycloak::realm::RealmOptions;
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::bed::{Bed, at_full_length, cutoff, fast, merge};
use crate::support::{create, objects};
use crate::tenant::Tenant;

fn enforce(targets: Value) -> Value {
    json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()}, "targets": targets})
}

fn selected(provider: &str, by: Value) -> Value {
    let mut target = json!({"name": provider, "providerRef": {"name": provider}, "scope": "Selected"});
    merge(&mut target, by);
    enforce(json!([target]))
}

/// C3. Everybody is `scope: Tenant` and nothing else: neither a selection that was left out nor a wildcard.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_selected_by_saying_so_and_in_no_other_way() {
    let look = Looker::start(Options::ordinary(12)).await.expect("a simulator");
    let ping = PingOne::start(Options::ordinary(12)).await.expect("a simulator");
    let mono = MonoCloud::start(Options::ordinary(12)).await.expect("a simulator");
    let mut bed = Bed::new("everybody").await;
    bed.start().await;
    bed.looker("look", &look, fast()).await;
    bed.pingone("ping", &ping, fast()).await;
    bed.monocloud("mono", &mono, fast()).await;

    let reference = json!({"name": "t", "providerRef": {"name": "look"}});
    for left_out in [
        json!({}),
        json!({"scope": "Selected"}),
        json!({"scope": "Selected", "users": [], "groups": []}),
        json!({"scope": "Selected", "users": [{}]}),
        json!({"scope": "Selected", "groups": [""]}),
        json!({"scope": "Everybody"}),
    ] {
        let mut target = reference.clone();
        merge(&mut target, left_out.clone());
        assert!(!create(&bed, "PasswordResetPolicy", "out", enforce(json!([target]))).await, "{left_out}");
    }
    assert!(!create(&bed, "PasswordResetPolicy", "none", enforce(json!([]))).await);

    let wildcards = [
        ("look", json!([{"email": "%@people.example"}, {"email": "%@%"}, {"id": "%"}])),
        ("ping", json!([{"username": "\" or username sw \""}, {"email": "*@*"}, {"username": "*"}])),
        ("mono", json!([{"username": "*"}, {"email": "*@people.example"}, {"username": "a OR *"}])),
    ];
    for (name, users) in wildcards {
        bed.policy(name, selected(name, json!({"users": users}))).await;
        let view = bed.policy_until(name, "everybody looked for", |view| view.count("failed") == 3).await;
        assert_eq!((view.count("targeted"), view.condition("Ready")), (3, "False PartiallyFailed".to_owned()));
        let groups = format!("{name}-groups");
        bed.policy(&groups, selected(name, json!({"groups": ["%"]}))).await;
        bed.policy_until(&groups, "no group", |view| view.condition("Stalled") == "True SelectionNotFound").await;
    }
    bed.list_in_config_map("list", "users.txt", "# nobody\n\n").await;
    let list = json!({"usersFrom": [{"format": "Email", "configMapRef": {"name": "list", "key": "users.txt"}}]});
    bed.policy("list", selected("look", list)).await;
    bed.policy_until("list", "a list of nobody", |view| view.condition("Stalled") == "True UserListInvalid").await;
    for simulator in [&look, &ping, &mono] {
        assert_eq!(simulator.requirements(), BTreeMap::new());
    }
}

/// C4. The operator bounds what it reads once more, where limits become a rate (`src/controller/provider/connect.rs`).
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_none_is_refused_by_the_api_server() {
    let bed = Bed::new("limits").await;
    let provider = |extra: Value| {
        let mut spec = json!({"monoCloud": {"baseURL": "https://idp.example", "credentialsSecretRef": {"name": "s"}}});
        merge(&mut spec, extra);
        spec
    };
    for field in ["requestsPerSecond", "burst", "maxConcurrentRequests"] {
        for value in [json!(0), json!(-1), json!(1_000_000_000), json!("NaN"), json!(1.5), json!("1e3"), json!([])] {
            let spec = provider(json!({"rateLimit": {field: value}}));
            assert!(!create(&bed, "IdentityProvider", "limits", spec.clone()).await, "{spec}");
        }
    }
    for field in ["pageSize", "observePeriodSeconds"] {
        for value in [json!(0), json!(-1), json!(1_000_000_000), json!("P1D")] {
            let spec = provider(json!({field: value}));
            assert!(!create(&bed, "IdentityProvider", "limits", spec.clone()).await, "{spec}");
        }
    }
    for days in [json!(0), json!(-1), json!(1_000_000_000), json!(0.5)] {
        let mut spec = selected("mono", json!({"groups": ["g"]}));
        spec["requirement"] = json!({"maxPasswordAgeDays": days});
        assert!(!create(&bed, "PasswordResetPolicy", "limits", spec).await, "{days}");
    }
}

/// C5. The longest names, nearly as many annotations as there may be, and a status that somebody else has filled.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_stays_small_however_large_the_object_is() {
    let mono = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::new("large").await;
    bed.monocloud("mono", &mono, fast()).await;
    let name = format!("{}.{}", "n".repeat(63), "m".repeat(63));
    let target = json!({"name": "t".repeat(63), "providerRef": {"name": "mono"}, "scope": "Tenant"});
    bed.policy(&name, enforce(json!([target]))).await;
    let (api, _) = objects(&bed, "PasswordResetPolicy");
    let noise = json!({"metadata": {"annotations": {"example.org/noise": "n".repeat(250 * 1024)}}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(noise)).await.expect("annotations up to 256 KiB are taken");
    let condition = |number: usize| {
        json!({"type": format!("Other{number}"), "status": "True", "reason": "Noise", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let fill = |count: usize| {
        let others: Vec<Value> = (0..count).map(condition).collect();
        Patch::Merge(json!({"status": {"conditions": others}}))
    };
    api.patch_status(&name, &PatchParams::default(), &fill(10_000)).await.expect_err("the CRD bounds the list");
    api.patch_status(&name, &PatchParams::default(), &fill(6)).await.expect("a few are taken");
    bed.start().await;
    let done = bed.policy_until(&name, "everybody required", |view| view.condition("Ready") == "True Enforced").await;
    let conditions = done.0["status"]["conditions"].as_array().expect("conditions");
    let (foreign, ours): (Vec<Value>, Vec<Value>) =
        conditions.iter().cloned().partition(|c| c["type"].as_str().is_some_and(|t| t.starts_with("Other")));
    assert_eq!(foreign, (0..6).map(condition).collect::<Vec<_>>(), "what somebody else has said is theirs");
    assert!(ours.len() < 20, "{} conditions of ours", ours.len());
    for type_ in ["Ready", "ProviderReady", "Enforced", "Changed"] {
        assert!(ours.iter().any(|c| c["type"] == type_), "{type_}: {ours:?}");
    }
    assert_eq!(mono.requirements().len(), 5);
    let log = std::fs::read_to_string(bed.plane.audit_log()).expect("the audit log");
    let user = format!("\"username\":\"system:serviceaccount:{}:", bed.operator_namespace);
    let writes = log.lines().filter(|line| line.contains(&user) && line.contains("\"requestObject\""));
    let largest = writes.map(str::len).max().unwrap_or_default();
    assert!((1..20_000).contains(&largest), "the largest write has {largest} bytes");
    assert!(bed.log_text().len() < 200_000, "the log has {} bytes", bed.log_text().len());
}

/// C6. Policies on one user set share one tenant: each account is written once and all policies are done. A thousand at
/// full length.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_policies_on_the_same_people_ask_each_of_them_once_and_all_report_it() {
    let policies = if at_full_length() { 1_000 } else { 200 };
    let mono = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::new("crowd").await;
    bed.start().await;
    bed.monocloud("mono", &mono, fast()).await;
    let spec = enforce(json!([{"name": "all", "providerRef": {"name": "mono"}, "scope": "Tenant"}]));
    for number in 0..policies {
        bed.policy(&format!("inc-{number}"), spec.clone()).await;
    }
    for number in 0..policies {
        let name = format!("inc-{number}");
        let view = bed.policy_until(&name, "done", |view| view.condition("Ready") == "True Enforced").await;
        assert_eq!(view.count("enforced"), 5, "{name}");
    }
    let written = mono.requirements();
    assert!(written.len() == 5 && written.values().all(|times| *times == 1), "{written:?}");
}

/// C8. A tenant whose people are called what no log, label or status may hold.
#[tokio::test(flavor = "multi_thread")]
async fn names_with_escapes_and_of_a_megabyte_show_nowhere() {
    let names = ["\u{1b}[31mquokka\r\n{\"level\":\"ERROR\"}\u{0}\u{202e}".to_owned(), "quokka".repeat(175_000)];
    let marked = Arc::new([const { AtomicBool::new(false) }; 2]);
    let shown = marked.clone();
    let person = move |number: usize| {
        let name = &names[number];
        json!({"user_id": format!("id-{number}"), "username": {"username": name}, "name": name,
            "emails": [{"email": format!("quokka-{number}@quokka.example")}], "has_password": true, "disabled": false,
            "force_password_reset": shown[number].load(Ordering::SeqCst), "password_updated_at": 1_700_000_000,
            "creation_time": 1_600_000_000})
    };
    let number_in = |request: &Request| usize::from(request.url.path().contains("id-1"));
    let server = MockServer::start().await;
    let all = person.clone();
    Mock::given(method("GET"))
        .and(path("/api/users"))
        .respond_with(move |_: &Request| {
            let page = ResponseTemplate::new(200).set_body_json([all(0), all(1)]);
            page.insert_header("x-pagination", r#"{"current_page":1,"total_count":2,"has_next":false}"#)
        })
        .mount(&server)
        .await;
    let one = person.clone();
    Mock::given(method("GET"))
        .and(path_regex("^/api/users/id-"))
        .respond_with(move |request: &Request| ResponseTemplate::new(200).set_body_json(one(number_in(request))))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path_regex("/password/force_reset$"))
        .respond_with(move |request: &Request| {
            marked[number_in(request)].store(true, Ordering::SeqCst);
            ResponseTemplate::new(200).set_body_json(person(number_in(request)))
        })
        .mount(&server)
        .await;

    let mut bed = Bed::new("names").await;
    let [port] = testbed::ports::free().expect("a free port");
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.set("LOG", "trace");
    bed.start().await;
    let block = json!({"monoCloud": {"baseURL": server.uri(), "credentialsSecretRef": {"name": "mono"}}});
    bed.provider("mono", &[&server.uri()], json!({"apiKey": "wombat-key"}), block, fast()).await;
    bed.policy("inc", enforce(json!([{"name": "all", "providerRef": {"name": "mono"}, "scope": "Tenant"}]))).await;
    let view = bed.policy_until("inc", "everybody required", |view| view.condition("Ready") == "True Enforced").await;
    assert!(view.0["status"].to_string().len() < 10_000);
    let metrics = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.expect("metrics").text().await;
    let public = bed.everything_public().await + &metrics.expect("text");
    for shown in ["quokka", "wombat", "\u{1b}", "\\u001b", "\u{202e}", "\\u202e"] {
        assert!(!public.contains(shown), "{shown:?}");
    }
    assert!(public.lines().all(|line| line.len() < 20_000), "no endless line");
}

/// C8, at the real Keycloak: its tokens are made by itself and hold no canary, but all of them begin alike.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_secret_or_person_of_keycloak_shows_even_where_everything_is_logged() {
    let tenant = Tenant::keycloak(RealmOptions::default().users(12)).await;
    let realm = tenant.realm_of();
    let login = [("grant_type", "client_credentials"), ("client_id", OPERATOR_CLIENT)];
    let url = format!("{}/protocol/openid-connect/token", realm.url());
    let secret = realm.client_secret();
    let asked =
        reqwest::Client::new().post(url).form(&[&login[..], &[("client_secret", &secret)]].concat()).send().await;
    let token: Value = asked.expect("an answer").json().await.expect("JSON");
    let head = "eyJhbGci";
    assert!(token["access_token"].as_str().is_some_and(|token| token.starts_with(head)), "so a token begins");

    let mut bed = Bed::new("keycloak").await;
    let [port] = testbed::ports::free().expect("a free port");
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.set("LOG", "trace");
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    bed.policy("inc", tenant.policy("tenant", json!({"action": {"sessions": "Revoke"}}))).await;
    bed.policy_until("inc", "everybody required", |view| view.condition("Ready") == "True Enforced").await;
    assert_eq!(tenant.written().await.len(), 12);
    let metrics = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.expect("metrics").text().await;
    let public = (bed.everything_public().await + &metrics.expect("text")).to_lowercase();
    for shown in [head, &secret, PERSONAL_CANARY, SECRET_CANARY, "user-0"] {
        assert!(!public.contains(&shown.to_lowercase()), "{shown}");
    }
}

/// C9. Whatever a policy selects, who is protected and the operator's own account are never written. That this holds in
/// every order of events is an invariant of `tests/decisions.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_protected_and_the_operators_own_account_are_left_alone_however_they_are_selected() {
    let mut options = Options::ordinary(12);
    options.api_user_has_credential = true;
    let look = Looker::start(options).await.expect("a simulator");
    let mut bed = Bed::new("protected").await;
    bed.start().await;
    let (chief, other, own) = (look.user_at(0), look.user_at(1), look.api_user_id());
    let mut guarded = fast();
    merge(&mut guarded, json!({"protectedUsers": [{"email": chief.email.to_uppercase()}]}));
    bed.looker("look", &look, guarded).await;
    let users = json!({"users": [{"id": chief.id}, {"email": chief.email}, {"email": other.email}, {"id": own}]});
    bed.policy("named", selected("look", users)).await;
    bed.policy("all", enforce(json!([{"name": "all", "providerRef": {"name": "look"}, "scope": "Tenant"}]))).await;
    for name in ["named", "all"] {
        let view = bed.policy_until(name, "a complete pass", |view| view.condition("Ready") == "True Enforced").await;
        assert!(view.message("Enforced").ends_with("2 skipped (Protected 2)"), "{name}: {:#}", view.0["status"]);
    }
    let written = look.requirements();
    assert!(!written.contains_key(&chief.id) && written.contains_key(&other.id), "{written:?}");
    assert!(!written.contains_key(&own), "the operator never asks itself");
}
