//! Watches that end, fall silent, expire, or bring something else than the truth.
//!
//! Each test proves that the watches are at work by what a change does: of a policy, a provider, a Secret, a list.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::Bytes;
use serde_json::{Value, json};
use simulators::{MonoCloud, Options};
use testbed::proxy::{Action, Call, Phase, Proxy, Rule};

use crate::bed::{Bed, View, cutoff, fast};
use crate::support::{answer, enforced, eventually, hold_list, livez, required_again, slow, writes};
use crate::tenant::{Tenant, Vendor};

const POLICIES: &str = "watch passwordreset.dev/passwordresetpolicies";
const PROVIDERS: &str = "watch passwordreset.dev/identityproviders";
const KINDS: [&str; 4] = [POLICIES, PROVIDERS, "watch secrets", "watch configmaps"];

/// An operator behind a proxy that follows one policy, its provider, its Secret and its list.
struct Stage {
    bed: Bed,
    tenant: Tenant,
    changes: u32,
}

impl Stage {
    async fn new(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    /// The same with settings that are never those that are shipped.
    async fn with(name: &str, settings: &[(&str, &str)]) -> Self {
        let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(60)).await;
        let mut bed = Bed::new(name).await;
        bed.behind_proxy().await;
        // A dead connection is noticed after 2 + 5 s, a call that is not answered after 2 s.
        bed.shorten("WATCH_TIMEOUT_SECONDS", 2);
        bed.shorten("CALL_TIMEOUT_SECONDS", 2);
        for (name, value) in settings {
            bed.set(name, value);
        }
        bed.start().await;
        tenant.connect(&bed, "tenant", fast()).await;
        bed.grant("configmaps", "list").await;
        let mut stage = Self { bed, tenant, changes: 0 };
        stage.put_list(0).await;
        stage
            .bed
            .policy(
                "listed",
                json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": stage.tenant.cutoff.to_string()},
                    "targets": [{"name": "all", "providerRef": {"name": "tenant"}, "scope": "Selected", "missingUsers": "Skip",
                        "usersFrom": [{"format": "ID", "configMapRef": {"name": "list", "key": "users"}}]}]}),
            )
            .await;
        stage.bed.policy_until("listed", "the first is required", |p| enforced(p) && p.count("enforced") == 1).await;
        stage.works().await;
        stage
    }

    fn proxy(&self) -> &Proxy {
        self.bed.api_proxy()
    }

    /// The list names one person more each time.
    async fn put_list(&mut self, upto: u32) {
        let ids: Vec<String> = (0..=upto).map(|n| self.tenant.simulator().user_at(n).id).collect();
        self.bed
            .apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "list"},
                "data": {"users": ids.join("\n")}}))
            .await;
    }

    /// Changes one object of each kind that is watched and waits until the operator has acted on each.
    async fn works(&mut self) {
        self.changes += 1;
        let n = self.changes;
        self.put_list(n).await;
        let expected = i64::from(n) + 1;
        self.bed
            .policy_until("listed", "the longer list is read", |p| enforced(p) && p.count("enforced") == expected)
            .await;
        self.bed.patch_provider("tenant", json!({"spec": {"suspend": true}})).await;
        self.bed
            .policy_until("listed", "the provider is suspended", |p| p.condition("Suspended").starts_with("True"))
            .await;
        self.bed.patch_provider("tenant", json!({"spec": {"suspend": false}})).await;
        let resumed = |p: &View| enforced(p) && p.condition("Suspended").is_empty();
        self.bed.policy_until("listed", "the provider is back", resumed).await;
        let key = self.tenant.simulator().rotate_credentials().api_key;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"apiKey": key}, "metadata": {"name": "tenant",
            "annotations": {"passwordreset.dev/allowed-origins": self.tenant.simulator().base_url()}}});
        self.bed.apply(&secret).await;
        let token = format!("look-{n}");
        let look = json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": token}}});
        self.bed.patch_policy("listed", look).await;
        let looked = |p: &View| enforced(p) && p.0["status"]["lastHandledReconcile"] == token;
        self.bed.policy_until("listed", "the new key is used for a look", looked).await;
    }

    /// Has a fault hit the watch of one kind, while the others are well, until every change is acted on.
    async fn alone(&mut self, kind: &str, rule: Rule) {
        let before = self.asked(kind);
        self.proxy().rule(rule.on(kind));
        let begun = || self.asked(kind) > before;
        eventually("the watch is begun anew", &self.bed, async || begun()).await;
        self.works().await;
        self.proxy().clear_rules();
    }

    fn asked(&self, template: &str) -> usize {
        self.proxy().records().iter().filter(|record| record.call.template == template).count()
    }

    fn nobody_twice(&self) {
        assert_eq!(required_again(self.tenant.simulator()), 0);
        assert_eq!(writes(self.tenant.simulator()), self.changes as usize + 1, "each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_watch_that_is_dropped_and_all_of_them_at_once_are_begun_anew() {
    let mut stage = Stage::new("dropped").await;
    for kind in KINDS {
        stage.alone(kind, Rule::new(Phase::AfterAnswer, Action::Reset).first(2)).await;
    }
    stage.proxy().reset_connections();
    stage.works().await;
    stage.nobody_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_dead_without_an_end_are_noticed_each_alone_and_all_together() {
    let mut stage = Stage::new("dead").await;
    for kind in KINDS {
        stage.alone(kind, Rule::new(Phase::Before, Action::BlackHole).first(1)).await;
    }
    // Open, silent, and never closed: only our own clock can tell.
    stage.proxy().strand_connections();
    let healed = Instant::now();
    stage.works().await;
    println!("R5: dead connections of all watches, to having acted on a change of each kind {:?}", healed.elapsed());
    stage.nobody_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_listed_anew_and_nobody_is_asked_twice() {
    let mut stage = Stage::new("expired").await;
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"});
    // By the answer's status.
    let lists = stage.asked("list passwordreset.dev/passwordresetpolicies");
    for kind in KINDS {
        stage.proxy().rule(Rule::new(Phase::Before, answer(410, &[], gone.clone())).on(kind).first(2));
    }
    stage.proxy().reset_connections();
    stage.works().await;
    stage.proxy().clear_rules();
    assert!(stage.asked("list passwordreset.dev/passwordresetpolicies") > lists + 1, "each time it was listed anew");
    // Or in the middle of a watch.
    let event = Bytes::from(json!({"type": "ERROR", "object": gone}).to_string());
    let times = Mutex::new(0);
    stage.proxy().rewrite_events(
        |_| true,
        move |_, line| {
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            *times += 1;
            if *times <= 6 { vec![event.clone()] } else { vec![line] }
        },
    );
    let lists = stage.asked("list passwordreset.dev/passwordresetpolicies");
    stage.works().await;
    stage.proxy().keep_events();
    assert!(stage.asked("list passwordreset.dev/passwordresetpolicies") > lists, "it was listed anew");
    stage.nobody_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_twice_late_or_in_another_order_mislead_nobody() {
    let mut stage = Stage::new("events").await;
    let (held, old) = (Arc::new(Mutex::new(None::<Bytes>)), Arc::new(Mutex::new(None::<Bytes>)));
    // Each event comes after the one that followed it, twice, and the very first one again and again.
    stage.proxy().rewrite_events(
        |call: &Call| call.template == POLICIES || call.template == "watch configmaps",
        move |_, line| {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            let mut old = old.lock().unwrap_or_else(PoisonError::into_inner);
            let first = old.get_or_insert_with(|| line.clone()).clone();
            match held.take() {
                None => {
                    *held = Some(line);
                    vec![first]
                }
                Some(before) => vec![line.clone(), before.clone(), line, before, first],
            }
        },
    );
    for n in 0..6 {
        stage.bed.patch_policy("listed", json!({"metadata": {"annotations": {"test/n": n.to_string()}}})).await;
    }
    stage.changes += 1;
    let changes = stage.changes;
    stage.put_list(changes).await;
    stage.put_list(changes).await;
    // Back to the truth, what was lost comes with the next watch or list.
    stage.proxy().keep_events();
    stage.proxy().reset_connections();
    stage.works().await;
    stage.nobody_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_event_is_lost_is_found_by_the_list_that_comes_by_itself() {
    let mut stage = Stage::with("lost", &[("WATCH_TIMEOUT_SECONDS", "2")]).await;
    let lost = Arc::new(Mutex::new(0));
    let counted = lost.clone();
    // The watch hears how far it is, as by a bookmark, so that it never asks for that event again.
    stage.proxy().rewrite_events(
        |call: &Call| KINDS.contains(&call.template.as_str()),
        move |_, line| {
            let event: Value = serde_json::from_slice(&line).expect("an event");
            if event["type"] == "BOOKMARK" {
                return vec![line];
            }
            *counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            let object = &event["object"];
            let bookmark = json!({"type": "BOOKMARK", "object": {"kind": object["kind"], "apiVersion": object["apiVersion"],
                "metadata": {"resourceVersion": object["metadata"]["resourceVersion"], "name": "", "creationTimestamp": null},
                "spec": object["spec"]}});
            vec![Bytes::from(bookmark.to_string())]
        },
    );
    stage.changes += 1;
    let changes = stage.changes;
    stage.put_list(changes).await;
    let id = stage.tenant.simulator().user_at(59).id;
    let mut spec = stage.tenant.policy("tenant", json!({}));
    spec["targets"] =
        json!([{"name": "one", "providerRef": {"name": "tenant"}, "scope": "Selected", "users": [{"id": id}]}]);
    stage.bed.policy("unheard", spec).await;
    let all_lost = || *lost.lock().unwrap_or_else(PoisonError::into_inner) >= 2;
    eventually("both events are lost", &stage.bed, async || all_lost()).await;
    stage.proxy().keep_events();
    stage.bed.policy_until("unheard", "it is found", enforced).await;
    let expected = i64::from(changes) + 1;
    stage.bed.policy_until("listed", "the longer list is found", |p| p.count("enforced") == expected).await;
    assert_eq!(required_again(stage.tenant.simulator()), 0);
    assert_eq!(writes(stage.tenant.simulator()), changes as usize + 2, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_only_the_api_server_knows_to_be_suspended_sends_nothing() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(30)).await;
    let mut bed = Bed::new("stale").await;
    bed.behind_proxy().await;
    bed.start().await;
    tenant.connect(&bed, "tenant", fast()).await;
    bed.provider_until("tenant", "Ready", |p| p.condition("Ready") == "True Verified").await;
    // Ledgers of policies that are gone are looked for once at the start; only then is a list that of the campaign.
    let swept =
        || bed.api_proxy().records().iter().any(|r| r.call.template == "list configmaps" && r.forwarded.is_some());
    eventually("old ledgers were looked for", &bed, async || swept()).await;
    // The ledger is read before the first batch; meanwhile the watch of policies becomes stale.
    let gate = hold_list(&bed, "list configmaps");
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the ledger is asked for", &bed, async || gate.is_reached()).await;
    bed.api_proxy().silence(|call| call.is_watch && call.template == POLICIES);
    bed.patch_policy("inc", json!({"spec": {"suspend": true}})).await;
    gate.open();
    let asked = || {
        let records = bed.api_proxy().records();
        records.iter().filter(|r| r.call.template == "get passwordreset.dev/passwordresetpolicies").count()
    };
    eventually("the policy itself is read", &bed, async || asked() >= 2).await;
    assert_eq!(writes(tenant.simulator()), 0, "nobody is asked on behalf of a suspended policy");
    bed.api_proxy().end_silence();
    bed.policy_until("inc", "it is suspended", |p| p.condition("Suspended").starts_with("True")).await;
    bed.patch_policy("inc", json!({"spec": {"suspend": false}})).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    assert_eq!(required_again(tenant.simulator()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_whose_watches_hear_nothing_says_that_it_is_not_alive_and_a_fresh_one_waits() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("silent").await;
    bed.behind_proxy().await;
    let [port] = testbed::ports::free().expect("a free port");
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.shorten("WATCH_TIMEOUT_SECONDS", 1);
    bed.shorten("CALL_TIMEOUT_SECONDS", 1);
    bed.shorten("WATCH_SILENCE_SECONDS", 15);
    bed.start().await;
    bed.monocloud("tenant", &simulator, fast()).await;
    bed.provider_until("tenant", "Ready", |p| p.condition("Ready") == "True Verified").await;
    assert_eq!(livez(port).await.0, 200);
    bed.api_proxy().black_hole(true);
    let silent = Instant::now();
    eventually("it says so", &bed, async || livez(port).await.0 == 503).await;
    println!("R5: silence of all watches, to a red /livez {:?}", silent.elapsed());
    let said = livez(port).await.1;
    assert!(said.contains("has not been answered for"), "{said}");
    // What the kubelet does then.
    bed.kill();
    bed.start().await;
    eventually("it starts", &bed, async || livez(port).await.0 == 200).await;
    eventually("it says what it waits for", &bed, async || bed.log_text().contains("the API server does not answer"))
        .await;
    assert_eq!(livez(port).await.0, 200, "who waits for the API server is alive");
    bed.api_proxy().black_hole(false);
    bed.policy(
        "inc",
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
            "targets": [{"name": "all", "providerRef": {"name": "tenant"}, "scope": "Tenant"}]}),
    )
    .await;
    bed.policy_until("inc", "everybody required", enforced).await;
    assert_eq!(livez(port).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn being_told_to_come_back_in_a_day_is_not_obeyed_and_the_lease_is_kept() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(40)).await;
    let mut bed = Bed::new("retry-after").await;
    bed.behind_proxy().await;
    bed.elects().await;
    bed.shorten("WATCH_TIMEOUT_SECONDS", 1);
    let mut operator = bed.replica("operator", &[]).await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 5).await;
    let holder = crate::support::holder(&bed).await;
    let put_off = || bed.api_proxy().records().iter().filter(|r| r.answered.is_some() && r.forwarded.is_none()).count();
    for (n, (status, seconds)) in [(429, "86400"), (503, "86400"), (429, "1"), (503, "1")].into_iter().enumerate() {
        let body: Value = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status});
        let later = answer(status, &[("Retry-After", seconds)], body);
        let not_the_lease = |call: &Call| !call.template.contains("coordination.k8s.io");
        bed.api_proxy().rule(Rule::new(Phase::Before, later).matching(not_the_lease).first(3));
        eventually("it was put off and has come back each time", &bed, async || put_off() >= 3 * (n + 1)).await;
    }
    bed.policy_until("inc", "everybody required", enforced).await;
    assert_eq!(crate::support::holder(&bed).await, holder, "the lease was kept");
    assert_eq!(required_again(tenant.simulator()), 0);
    assert_eq!(operator.process.exited().expect("its state"), None);
}
