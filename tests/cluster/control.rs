//! Suspend, edit and delete in the middle of a campaign: no write begins later than a second after the API server's answer,
//! and what goes on later asks nobody twice.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::Options;

use crate::bed::{Bed, View, fast};
use crate::history::History;
use crate::tenant::{Tenant, Vendor, is_write};

const USERS: u32 = 100;
/// Writes after which the campaign is disturbed.
const SOME: usize = 15;

/// A campaign that has begun and has long to go.
struct Running {
    bed: Bed,
    tenant: Tenant,
    history: History,
}

impl Running {
    async fn start() -> Self {
        let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(USERS)).await;
        let mut bed = Bed::new("control").await;
        bed.start().await;
        let slow =
            json!({"rateLimit": {"requestsPerSecond": 20, "burst": 5, "maxConcurrentRequests": 4}, "pageSize": 100});
        tenant.connect(&bed, "tenant", slow).await;
        let history = History::of(&bed, "inc").await;
        bed.policy("inc", tenant.policy("tenant", json!({}))).await;
        let begun = tokio::time::timeout(Duration::from_secs(60), tenant.simulator().recorded(SOME)).await;
        assert!(begun.is_ok(), "the campaign has begun\n{}", bed.log_text());
        Self { bed, tenant, history }
    }

    fn written(&self) -> Vec<(Timestamp, String)> {
        let writes = self.tenant.simulator().ledger().into_iter().filter(|record| is_write(record.call));
        writes.map(|record| (record.time, record.user.unwrap_or_default())).collect()
    }

    /// Who has been written to. Nobody may have been later than a second after `answered`, but for those who are `allowed`.
    async fn stopped(&self, answered: Timestamp, allowed: &BTreeSet<String>) -> BTreeSet<String> {
        let limit = answered + SignedDuration::from_secs(1);
        let late: Vec<_> = self.written().into_iter().filter(|(at, id)| *at > limit && !allowed.contains(id)).collect();
        assert!(late.is_empty(), "answered at {answered}, written later: {late:?}\n{}", self.bed.log_text());
        let all: BTreeSet<String> = self.written().into_iter().map(|(_, id)| id).collect();
        assert!(all.len() < USERS as usize, "it was disturbed in the middle");
        all
    }

    async fn policy(&self, what: &str, wanted: impl Fn(&View) -> bool) -> View {
        self.bed.policy_until("inc", what, wanted).await
    }

    /// Lets it go on at full speed and sees that everybody is required once.
    async fn finishes(&self) {
        self.bed.patch_provider("tenant", json!({"spec": fast()})).await;
        let done = self.policy("everybody required", |p| p.condition("Enforced") == "True Enforced").await;
        assert_eq!(done.condition("Suspended"), "");
        let written = self.tenant.written().await;
        assert_eq!(written.len(), USERS as usize);
        assert!(written.values().all(|times| *times == 1), "nobody twice: {written:?}");
        self.history.assert_sound();
    }
}

/// Two seconds after `answered`: a write that begins too late has begun by then.
async fn late_enough(answered: Timestamp) {
    let rest = (answered + SignedDuration::from_secs(2)).duration_since(Timestamp::now());
    tokio::time::sleep(rest.max(SignedDuration::ZERO).unsigned_abs()).await;
}

/// Suspends by a patch of the policy, resumes by another one.
async fn a_policy_is_suspended_and_goes_on(suspend: Value, resume: Value, why: &str) {
    let run = Running::start().await;
    run.bed.patch_policy("inc", suspend).await;
    let answered = Timestamp::now();
    let suspended = run.policy("suspended", |p| p.condition("Suspended").starts_with("True")).await;
    assert_eq!(suspended.condition("Ready"), "False Suspended");
    assert_eq!(suspended.condition("Reconciling"), "");
    assert!(suspended.message("Suspended").contains(why), "{}", suspended.message("Suspended"));
    late_enough(answered).await;
    let written = run.stopped(answered, &BTreeSet::new()).await;
    // Reads go on, so that what is left is known.
    let left = i64::from(USERS) - written.len() as i64;
    run.policy("the rest is counted", |p| p.count("pending") == left && p.count("targeted") == i64::from(USERS)).await;
    assert_eq!(run.written().len(), written.len());
    run.bed.patch_policy("inc", resume).await;
    run.finishes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_a_policy_stops_its_writes_and_resuming_asks_nobody_twice() {
    a_policy_is_suspended_and_goes_on(
        json!({"spec": {"suspend": true}}),
        json!({"spec": {"suspend": false}}),
        "spec.suspend",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_a_policy_by_annotation_says_why_and_stops_its_writes() {
    let pause = |why: Value| json!({"metadata": {"annotations": {"passwordreset.dev/paused": why}}});
    a_policy_is_suspended_and_goes_on(
        pause(json!("the help desk is full")),
        pause(Value::Null),
        "the help desk is full",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_a_provider_stops_every_call_of_the_campaign() {
    let run = Running::start().await;
    run.bed.patch_provider("tenant", json!({"spec": {"suspend": true}})).await;
    let answered = Timestamp::now();
    let suspended = run.policy("suspended", |p| p.condition("Suspended").starts_with("True")).await;
    assert_eq!(suspended.condition("Ready"), "False Suspended");
    late_enough(answered).await;
    let before = run.tenant.simulator().counters().total();
    run.stopped(answered, &BTreeSet::new()).await;
    late_enough(Timestamp::now()).await;
    assert_eq!(run.tenant.simulator().counters().total(), before, "nothing is read either");
    run.bed.patch_provider("tenant", json!({"spec": {"suspend": false}})).await;
    run.finishes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_the_write_access_from_a_provider_stops_its_writes() {
    let run = Running::start().await;
    run.bed.patch_provider("tenant", json!({"spec": {"access": "ReadOnly"}})).await;
    let answered = Timestamp::now();
    let stalled = run.policy("read only", |p| p.condition("Stalled") == "True ReadOnly").await;
    assert_eq!(stalled.condition("Ready"), "False ReadOnly");
    late_enough(answered).await;
    run.stopped(answered, &BTreeSet::new()).await;
    run.bed.patch_provider("tenant", json!({"spec": {"access": "ReadWrite"}})).await;
    run.finishes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_leaves_those_alone_who_are_no_longer_selected() {
    let run = Running::start().await;
    let known: BTreeSet<String> = run.written().into_iter().map(|(_, id)| id).collect();
    let users = run.tenant.simulator().users();
    let chosen: BTreeSet<String> =
        users.iter().rev().map(|u| u.id.clone()).filter(|id| !known.contains(id)).take(5).collect();
    let entries: Vec<Value> = chosen.iter().map(|id| json!({"id": id})).collect();
    let target = json!({"name": "all", "providerRef": {"name": "tenant"}, "scope": "Selected", "users": entries});
    run.bed.patch_policy("inc", json!({"spec": {"targets": [target]}})).await;
    let answered = Timestamp::now();
    let done =
        run.policy("the five are required", |p| p.is_current() && p.condition("Enforced") == "True Enforced").await;
    assert_eq!((done.count("targeted"), done.count("enforced")), (5, 5), "{:#}", done.0["status"]);
    late_enough(answered).await;
    let written = run.stopped(answered, &chosen).await;
    assert!(chosen.is_subset(&written));
    assert!(run.tenant.written().await.values().all(|times| *times == 1), "nobody twice");
    run.history.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_policy_ends_its_writes_and_undoes_nothing() {
    let run = Running::start().await;
    run.bed.delete_policy("inc").await;
    let answered = Timestamp::now();
    late_enough(answered).await;
    let written = run.stopped(answered, &BTreeSet::new()).await;
    let users = run.tenant.simulator().users();
    let marked: BTreeSet<String> = users.into_iter().filter(|user| user.marked).map(|user| user.id).collect();
    assert_eq!(marked, written, "what was required stays required");
    run.bed.policy("inc", run.tenant.policy("tenant", json!({}))).await;
    run.finishes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_operator_calls_nobody_for_a_campaign_and_goes_on_when_it_may() {
    let mut run = Running::start().await;
    run.bed.kill();
    run.bed.set("SUSPEND", "true");
    let written = run.written().len();
    run.bed.start().await;
    let suspended = run.policy("suspended", |p| p.condition("Suspended").starts_with("True")).await;
    assert_eq!(
        (suspended.condition("Ready"), suspended.condition("Reconciling")),
        ("False Suspended".into(), String::new())
    );
    late_enough(Timestamp::now()).await;
    assert_eq!(run.written().len(), written, "nothing is written");
    run.bed.kill();
    run.bed.set("SUSPEND", "false");
    run.bed.start().await;
    run.finishes().await;
}
