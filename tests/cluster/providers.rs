//! How a provider object stands, what its policies say of it, and how little a tenant that refuses is asked.

use std::time::Duration;

use serde_json::json;
use simulators::{
    Action, CallFault, Class, Faults, Handle, Looker, MonoCloud, Options, PingOne, Population, Share, When, looker,
    monocloud, pingone,
};

use testbed::proxy::{Action as ProxyAction, Answer, Phase, Proxy, Rule, Upstream};

use crate::bed::{Bed, View, fast, merge};
use crate::objects::ALLOWED_ORIGINS;

fn everybody() -> serde_json::Value {
    json!({"scope": "Tenant"})
}

/// No provider is at fault for an account, whatever is wrong with the provider.
fn assert_nobody_is_marked_failed(view: &View) {
    assert_eq!(
        (view.count("failed"), view.0["status"]["failures"].as_array().map_or(0, Vec::len)),
        (0, 0),
        "{:#}",
        view.0["status"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_is_tried_once_a_probe_and_a_corrected_one_at_once() {
    let simulator = PingOne::start(Options::ordinary(5)).await.expect("a simulator");
    let credentials = simulator.credentials();
    let mut bed = Bed::new("wrong-credential").await;
    bed.start().await;
    bed.pingone("p1", &simulator, fast()).await;
    bed.provider_says("p1", "Ready", "True Verified", &[]).await;
    // The tenant takes other credentials from now on.
    let new = simulator.rotate_credentials();
    let before = simulator.count(pingone::TOKEN);
    bed.enforce("inc", "p1", everybody()).await;
    let said = bed.provider_says("p1", "Ready", "False AuthenticationFailed", &[]).await;
    assert_eq!(said.condition("Stalled"), "True AuthenticationFailed");
    let policy = bed
        .policy_says("inc", "Ready", "False ProviderNotReady", &["IdentityProvider/p1", "AuthenticationFailed"])
        .await;
    assert_eq!(
        (policy.condition("Stalled"), policy.condition("Reconciling")),
        ("True ProviderNotReady".into(), String::new())
    );
    assert_eq!(policy.condition("ProviderReady"), "False ProviderNotReady");
    assert_nobody_is_marked_failed(&policy);
    // Whatever touches the objects, the refused credential is not tried again before its probe is due.
    let refused = simulator.count(pingone::TOKEN) - before;
    assert!(refused <= 2, "{refused} tokens were asked for");
    for round in 0..3 {
        let touch = json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": format!("{round}")}}});
        bed.patch_policy("inc", touch).await;
        bed.patch_provider("p1", json!({"metadata": {"annotations": {"round": format!("{round}")}}})).await;
        bed.policy_until("inc", "the token is handled", |p| {
            p.0["status"]["lastHandledReconcile"] == format!("{round}")
        })
        .await;
    }
    assert_eq!(simulator.count(pingone::TOKEN) - before, refused);

    let origins = format!("{} {}", simulator.base_url(), simulator.auth_url());
    let data: [(&str, &[u8]); 2] =
        [("clientID", new.client_id.as_bytes()), ("clientSecret", new.client_secret.as_bytes())];
    bed.put_secret(&bed.namespace, "p1", Some((ALLOWED_ORIGINS, &origins)), false, &data).await;
    bed.provider_says("p1", "Ready", "True Verified", &[]).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 5);
    let public = bed.everything_public().await;
    for secret in [
        credentials.client_secret,
        new.client_secret,
        simulators::PERSONAL_CANARY.to_owned(),
        simulators::SECRET_CANARY.to_owned(),
    ] {
        assert!(!public.contains(&secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_and_no_account_is_at_fault() {
    let forbid = Faults { forbid_everything: true, ..Faults::default() };
    let mono = MonoCloud::start(Options::ordinary(5).faults(forbid.clone())).await.expect("a simulator");
    let ping = PingOne::start(Options::ordinary(5).faults(Faults { permission_as_401: true, ..forbid.clone() }))
        .await
        .expect("a simulator");
    let look = Looker::start(Options::ordinary(5).faults(forbid)).await.expect("a simulator");
    let mut bed = Bed::new("permission").await;
    bed.start().await;
    bed.monocloud("mc", &mono, fast()).await;
    bed.pingone("p1", &ping, fast()).await;
    bed.looker("lo", &look, fast()).await;
    bed.policy(
        "inc",
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": crate::bed::cutoff()}, "targets": [
        {"name": "mc", "providerRef": {"name": "mc"}, "scope": "Tenant"},
        {"name": "p1", "providerRef": {"name": "p1"}, "scope": "Tenant"},
        {"name": "lo", "providerRef": {"name": "lo"}, "scope": "Tenant"}]}),
    )
    .await;
    for name in ["mc", "p1", "lo"] {
        let said = bed.provider_says(name, "Ready", "False PermissionDenied", &[]).await;
        println!("{name}: {}", said.message("Ready"));
    }
    let words = ["IdentityProvider/mc", "IdentityProvider/p1", "IdentityProvider/lo", "PermissionDenied"];
    let policy = bed.policy_says("inc", "Ready", "False ProviderNotReady", &words).await;
    assert_nobody_is_marked_failed(&policy);
    let calls = [mono.counters().total(), ping.counters().total(), look.counters().total()];
    assert!(calls.iter().all(|calls| *calls <= 8), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_refuses_every_write_is_at_fault_and_not_its_accounts() {
    let read_only = Faults { read_only: true, ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(30).faults(read_only)).await.expect("a simulator");
    let mut bed = Bed::new("read-only").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, merge_with(fast(), json!({"probePeriodSeconds": 10}))).await;
    bed.enforce("inc", "mc", everybody()).await;
    bed.provider_says("mc", "Ready", "False PermissionDenied", &[]).await;
    let policy = bed.policy_says("inc", "Ready", "False ProviderNotReady", &["PermissionDenied"]).await;
    assert_nobody_is_marked_failed(&policy);
    let tried = simulator.count(monocloud::FORCE_RESET);
    assert!((5..=12).contains(&tried), "{tried} writes were tried");
    simulator.set(Faults::default());
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 30);
    assert!(simulator.requirements().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_lost_in_mid_run_stops_the_tenant_and_makes_nobody_failed() {
    let simulator = MonoCloud::start(Options::ordinary(200)).await.expect("a simulator");
    let mut bed = Bed::new("lost-right").await;
    bed.start().await;
    let limit = json!({"requestsPerSecond": 40, "burst": 5, "maxConcurrentRequests": 4});
    bed.monocloud("mc", &simulator, json!({"probePeriodSeconds": 10, "rateLimit": limit})).await;
    bed.enforce("inc", "mc", everybody()).await;
    let accepted = async {
        while simulator.requirements().len() < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    };
    tokio::time::timeout(bed.deadline, accepted).await.expect("some are required");
    simulator.set(Faults { read_only: true, ..Faults::default() });
    bed.provider_says("mc", "Ready", "False PermissionDenied", &[]).await;
    let policy = bed.policy_says("inc", "Ready", "False ProviderNotReady", &["PermissionDenied"]).await;
    assert_nobody_is_marked_failed(&policy);
    assert!(simulator.requirements().len() < 200, "somebody was left");
    simulator.set(Faults::default());
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 200);
    assert!(simulator.requirements().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_credential_ends_the_rest_of_a_tenant_that_refused_every_write() {
    let read_only = Faults { read_only: true, ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(30).faults(read_only)).await.expect("a simulator");
    let mut bed = Bed::new("rest").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, merge_with(fast(), json!({"probePeriodSeconds": 86_400}))).await;
    bed.enforce("inc", "mc", everybody()).await;
    bed.policy_says("inc", "Ready", "False ProviderNotReady", &["PermissionDenied"]).await;
    simulator.set(Faults::default());
    let new = simulator.rotate_credentials();
    bed.put_key("mc", &simulator, "apiKey", new.api_key.as_bytes()).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 30);
}

/// What was planned by another period is planned anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_period_holds_at_once() {
    let refuse = Faults { refuse_credentials: true, ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(5).faults(refuse)).await.expect("a simulator");
    let mut bed = Bed::new("periods").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, merge_with(fast(), json!({"probePeriodSeconds": 3600}))).await;
    bed.provider_says("mc", "Ready", "False AuthenticationFailed", &[]).await;
    simulator.set(Faults::default());
    bed.patch_provider("mc", json!({"spec": {"probePeriodSeconds": 1800}})).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    bed.enforce("inc", "mc", everybody()).await;
    bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    let listed = simulator.count(monocloud::LIST_USERS);
    bed.patch_provider("mc", json!({"spec": {"observePeriodSeconds": 10}})).await;
    let looks = || simulator.count(monocloud::LIST_USERS) - listed;
    let looked = async {
        while looks() < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await
        }
    };
    tokio::time::timeout(bed.deadline, looked).await.expect("it is looked at by the new period");
}

/// Whoever asks for a look is answered, even where there is nothing to look at until somebody acts.
#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_token_is_echoed_beside_a_missing_secret_and_under_suspension() {
    let simulator = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::new("echo").await;
    bed.start().await;
    bed.bare_monocloud("bare", &simulator).await;
    bed.monocloud("off", &simulator, merge_with(fast(), json!({"suspend": true}))).await;
    for name in ["bare", "off"] {
        bed.enforce(name, name, everybody()).await;
        let look = json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": "now"}}});
        bed.patch_policy(name, look).await;
        bed.policy_until(name, "the token is echoed", |p| p.0["status"]["lastHandledReconcile"] == "now").await;
    }
}

/// A tenant whose answers take seconds: what was done is said in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_tenant_keeps_no_slice_from_its_end() {
    let slow = Faults { latency_ms: 1500, ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(60).faults(slow)).await.expect("a simulator");
    let mut bed = Bed::new("slow").await;
    bed.start().await;
    let limit = json!({"rateLimit": {"requestsPerSecond": 100, "burst": 100, "maxConcurrentRequests": 4}});
    bed.monocloud("mc", &simulator, limit).await;
    bed.enforce("inc", "mc", everybody()).await;
    let partly = |p: &View| (1..60).contains(&p.count("enforced"));
    bed.policy_until("inc", "some are required and said so", partly).await;
    bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert!(simulator.requirements().values().all(|times| *times == 1));
}

/// Only refusals that are new say something about the tenant.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_were_refused_before_do_not_speak_against_the_tenant_after_an_edit() {
    let population = Population::with(60, &[(Class::Forbidden, Share::Count(25)), (Class::Refused, Share::Count(25))]);
    let simulator = MonoCloud::start(Options::new(population)).await.expect("a simulator");
    let mut bed = Bed::new("refused-before").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, merge_with(fast(), json!({"probePeriodSeconds": 10}))).await;
    bed.enforce("inc", "mc", everybody()).await;
    let failed =
        |p: &View| p.is_current() && p.condition("Ready") == "False PartiallyFailed" && p.count("failed") == 50;
    bed.policy_until("inc", "fifty are refused", failed).await;
    let before = simulator.count(monocloud::FORCE_RESET);
    bed.patch_policy("inc", json!({"spec": {"readyWhen": "Changed"}})).await;
    bed.policy_until("inc", "they are refused again", failed).await;
    assert_eq!(simulator.count(monocloud::FORCE_RESET) - before, 50, "each is tried once more");
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
}

/// A bad target stops only itself.
#[tokio::test(flavor = "multi_thread")]
async fn groups_that_may_not_be_read_stop_the_targets_that_name_them_and_nobody_else() {
    let denied = CallFault::always(monocloud::LIST_GROUPS, When::Before, Action::Status(403));
    let faults = Faults { calls: vec![denied], ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(10).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("no-groups").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.enforce("by-group", "mc", json!({"scope": "Selected", "groups": ["staff"]})).await;
    bed.policy_says("by-group", "Stalled", "True SelectionNotFound", &["spec.targets[0].groups[0]", "grant"]).await;
    bed.enforce("spared", "mc", json!({"scope": "Tenant", "exclude": {"groups": ["staff"]}})).await;
    bed.policy_says("spared", "Stalled", "True ExclusionUnresolved", &["exclude.groups[0]", "grant"]).await;
    assert_eq!(simulator.requirements().len(), 0);
    bed.enforce("all", "mc", everybody()).await;
    bed.policy_says("all", "Ready", "True Enforced", &[]).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
}

/// What a search looks at is not documented for MonoCloud: that it is refused says no more than that it finds nobody.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_search_is_refused_a_listing_tells_whom_a_key_names() {
    let simulator = MonoCloud::start(Options::ordinary(10)).await.expect("a simulator");
    let mut bed = Bed::new("no-search").await;
    bed.start().await;
    let refusal = Answer { status: 422, headers: Vec::new(), body: "{}".into() };
    let searched =
        Rule::new(Phase::Before, ProxyAction::Answer(refusal)).matching(|call| call.target.contains("filter="));
    let proxy = Proxy::start(Upstream::plain(&simulator.base_url())).await.expect("a proxy");
    proxy.rule(searched);
    bed.monocloud_at("mc", &simulator, proxy.url(), fast()).await;
    let email = simulator.user_at(3).email;
    bed.enforce("inc", "mc", json!({"scope": "Selected", "users": [{"email": email}]})).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!((policy.count("enforced"), policy.count("failed")), (1, 0), "{:#}", policy.0["status"]);
}

fn merge_with(mut left: serde_json::Value, right: serde_json::Value) -> serde_json::Value {
    merge(&mut left, right);
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_may_not_be_written_is_a_sample_and_the_rest_goes_on() {
    let population = Population::with(20, &[(Class::Forbidden, Share::Count(1))]);
    let simulator = MonoCloud::start(Options::new(population)).await.expect("a simulator");
    let mut bed = Bed::new("one-forbidden").await;
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.enforce("inc", "mc", everybody()).await;
    let policy = bed.policy_says("inc", "Ready", "False PartiallyFailed", &["1 failed"]).await;
    assert_eq!((policy.count("enforced"), policy.count("failed")), (19, 1));
    assert_eq!(policy.condition("Stalled"), "True PartiallyFailed");
    let forbidden = simulator.users().into_iter().find(|user| user.class == Class::Forbidden).expect("one is");
    let failure = &policy.0["status"]["failures"][0];
    assert_eq!(
        (failure["category"].as_str(), failure["subject"].as_str()),
        (Some("Forbidden"), Some(forbidden.id.as_str()))
    );
    assert_eq!(failure["target"], "target");
    bed.patch_policy(
        "inc",
        json!({"spec": {"targets": [{"name": "target", "providerRef": {"name": "mc"}, "scope": "Tenant",
        "exclude": {"users": [{"id": forbidden.id}]}}]}}),
    )
    .await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!((policy.count("targeted"), policy.count("enforced")), (19, 19));
    assert!(simulator.requirements().values().all(|times| *times == 1));
    assert!(!bed.everything_public().await.contains(simulators::PERSONAL_CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_missing_not_allowed_or_not_ready_is_waited_for_and_found_at_once() {
    let simulator = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::new("reference").await;
    bed.start().await;
    bed.enforce("inc", "mc", everybody()).await;
    let path = "spec.targets[0].providerRef: ";
    let said =
        bed.policy_says("inc", "Ready", "False ProviderNotFound", &[path, "IdentityProvider/mc does not exist"]).await;
    assert_eq!(said.condition("Stalled"), "True ProviderNotFound");
    assert_eq!(said.condition("ProviderReady"), "False ProviderNotFound");
    bed.bare_monocloud("mc", &simulator).await;
    bed.policy_says("inc", "Ready", "False ProviderNotReady", &["IdentityProvider/mc is not Ready (SecretForbidden)"])
        .await;
    bed.delete_provider("mc").await;
    bed.policy_says("inc", "Ready", "False ProviderNotFound", &[path]).await;
    bed.monocloud("mc", &simulator, fast()).await;
    let said = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!((said.count("enforced"), said.condition("ProviderReady")), (5, "True Verified".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_credential_is_used_at_once_and_a_run_goes_on() {
    let simulator = PingOne::start(Options::ordinary(60)).await.expect("a simulator");
    let mut bed = Bed::new("rotation").await;
    bed.start().await;
    let slow = json!({"rateLimit": {"requestsPerSecond": 40, "burst": 1, "maxConcurrentRequests": 4}});
    bed.pingone("p1", &simulator, slow).await;
    bed.enforce("inc", "p1", everybody()).await;
    // In the middle of the run.
    let some = async |wanted: usize| {
        while simulator.requirements().len() < wanted {
            simulator.recorded(simulator.ledger().len() + 1).await;
        }
    };
    some(10).await;
    let (new, tokens) = (simulator.rotate_credentials(), simulator.counters().tokens_issued);
    let origins = format!("{} {}", simulator.base_url(), simulator.auth_url());
    let data: [(&str, &[u8]); 2] =
        [("clientID", new.client_id.as_bytes()), ("clientSecret", new.client_secret.as_bytes())];
    bed.put_secret(&bed.namespace, "p1", Some((ALLOWED_ORIGINS, &origins)), false, &data).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 60);
    assert_eq!(simulator.counters().tokens_issued, tokens + 1);
    assert!(simulator.requirements().values().all(|times| *times == 1));
    assert_nobody_is_marked_failed(&policy);
    bed.provider_says("p1", "Ready", "True Verified", &[]).await;
}

/// Breaks a tenant in the middle of a run, repairs it, and expects the run to go on where it was.
async fn outage(name: &str, simulator: &Handle, bed: &Bed, action: Action, write: &str) {
    let calls = vec![CallFault::always("*", When::Before, action)];
    while simulator.requirements().len() < 10 {
        simulator.recorded(simulator.ledger().len() + 1).await;
    }
    simulator.set(Faults { calls, ..Faults::default() });
    let written = simulator.requirements().len();
    bed.log_says("the tenant does not answer as it should").await;
    // A minute is not worth a word, so what is said is what was said before.
    let view = bed.policy_until("inc", "in progress", |view| !view.condition("Ready").is_empty()).await;
    assert_eq!(
        (view.condition("Ready"), view.condition("Stalled")),
        ("False InProgress".to_owned(), String::new()),
        "{name}"
    );
    let during = simulator.count(write);
    simulator.set(Faults::default());
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 60);
    assert_nobody_is_marked_failed(&policy);
    assert!(simulator.requirements().values().all(|times| *times == 1), "{name}: {:?}", simulator.requirements());
    // Nobody is asked twice, and who was required before the outage is not written to again.
    assert!(simulator.count(write) - during <= 60 - written as u64 + 8, "{name}");
    // The pages, the pages that confirm them, and some probes; from the beginning again it were twelve more.
    let asked = simulator.count(monocloud::LIST_USERS);
    assert!(asked <= 2 * 12 + 8, "{name}: {asked} pages were asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_resumes_where_an_outage_stopped_it() {
    let run = async |name: &str, action: Action| {
        let simulator = MonoCloud::start(Options::ordinary(60)).await.expect("a simulator");
        let mut bed = Bed::new(name).await;
        bed.start().await;
        let rate = json!({"requestsPerSecond": 40, "burst": 1, "maxConcurrentRequests": 4});
        bed.monocloud("mc", &simulator, json!({"rateLimit": rate, "pageSize": 5})).await;
        bed.enforce("inc", "mc", everybody()).await;
        outage(name, &simulator, &bed, action, monocloud::FORCE_RESET).await;
    };
    tokio::join!(run("unavailable", Action::Status(503)), run("reset", Action::Reset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_asks_for_a_pause_is_left_alone_for_it_and_nobody_fails() {
    let simulator = MonoCloud::start(Options::ordinary(40)).await.expect("a simulator");
    let told = Action::Answer {
        status: 429,
        content_type: "application/problem+json".into(),
        body: "{}".into(),
        headers: vec![("Retry-After".into(), "3".into())],
    };
    simulator.set(Faults {
        calls: vec![CallFault::new(monocloud::FORCE_RESET, 10, When::Before, told)],
        ..Faults::default()
    });
    let mut bed = Bed::new("throttled").await;
    bed.start().await;
    bed.monocloud(
        "mc",
        &simulator,
        json!({"rateLimit": {"requestsPerSecond": 500, "burst": 1, "maxConcurrentRequests": 1}}),
    )
    .await;
    bed.enforce("inc", "mc", everybody()).await;
    let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(policy.count("enforced"), 40);
    assert_nobody_is_marked_failed(&policy);
    assert!(simulator.requirements().values().all(|times| *times == 1));
    let times: Vec<_> =
        simulator.ledger().iter().filter(|record| record.requires_change()).map(|record| record.time).collect();
    let pause = times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().expect("two writes");
    assert!(pause >= jiff::SignedDuration::from_millis(2900), "the longest pause was {pause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn looker_answers_a_wrong_credential_with_404_and_it_is_no_missing_user() {
    let simulator =
        Looker::start(Options::ordinary(5).faults(Faults { refuse_credentials: true, ..Faults::default() }))
            .await
            .expect("a simulator");
    let mut bed = Bed::new("looker-credential").await;
    bed.start().await;
    bed.looker("lo", &simulator, fast()).await;
    bed.provider_says("lo", "Ready", "False AuthenticationFailed", &[]).await;
    assert!(simulator.count(looker::LOGIN) <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_said_after_a_minute_and_a_silent_tenant_holds_nobody_up() {
    let mut spec = fast();
    merge(&mut spec, json!({"probePeriodSeconds": 10}));
    let gone = async || {
        let simulator = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
        let mut bed = Bed::new("gone").await;
        bed.start().await;
        bed.monocloud("mc", &simulator, spec.clone()).await;
        bed.provider_says("mc", "Ready", "True Verified", &[]).await;
        let began = jiff::Timestamp::now();
        drop(simulator);
        bed.enforce("inc", "mc", everybody()).await;
        let first = bed.policy_says("inc", "Ready", "False InProgress", &[]).await;
        assert_eq!(first.condition("Reconciling"), "True InProgress");
        let view = bed.provider_says("mc", "Ready", "False Unreachable", &[]).await;
        assert_eq!(view.condition("Reconciling"), "True Unreachable");
        assert!(jiff::Timestamp::now().duration_since(began) >= jiff::SignedDuration::from_secs(60), "said too early");
        let policy = bed.policy_says("inc", "Ready", "False ProviderNotReady", &["Unreachable"]).await;
        assert_eq!(policy.condition("Reconciling"), "True ProviderNotReady");
        assert_nobody_is_marked_failed(&policy);
    };
    let silent = async || {
        let simulator = MonoCloud::start(Options::ordinary(40)).await.expect("a simulator");
        let mut bed = Bed::new("silent").await;
        bed.start().await;
        bed.monocloud("mc", &simulator, spec.clone()).await;
        bed.provider_says("mc", "Ready", "True Verified", &[]).await;
        let hang = CallFault::always("*", When::Before, Action::Hang { milliseconds: None });
        simulator.set(Faults { calls: vec![hang], ..Faults::default() });
        // Each key is a call of its own, and no more of them are waited for than are on the way when the first gives up.
        let users: Vec<_> = simulator.users().into_iter().map(|user| json!({"email": user.email})).collect();
        bed.enforce("inc", "mc", json!({"scope": "Selected", "users": users})).await;
        bed.log_says("the tenant does not answer as it should").await;
        let asked = simulator.counters().total();
        assert!(asked <= 20, "{asked} calls were waited for");
        simulator.set(Faults::default());
        let policy = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
        assert_eq!(policy.count("enforced"), 40);
    };
    tokio::join!(gone(), silent());
}
