//! Several processes of the operator: one acts, and what happens when it ends, dies, or sleeps.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::json;
use simulators::{Faults, Options};
use testbed::proxy::{Action, Phase, Rule};

use crate::bed::{Bed, Replica, at_full_length};
use crate::support::{
    enforced, eventually, hold_lease, holder, lease, next_holder, open_intents, required_again, slow, writes,
    writes_by_caller,
};
use crate::tenant::{Tenant, Vendor, is_write};

/// So many that a campaign outlasts a change of hands on a slow machine.
const USERS: u32 = 300;
/// Requests that [`slow`] has on the wire at once.
const ON_THE_WIRE: usize = 4;

/// A tenant that takes a while for each call, so that some are always on the wire, a campaign over it, and one process
/// that works on it.
async fn running(name: &str, vendor: Vendor) -> (Bed, Tenant, Replica) {
    running_on(Bed::new(name).await, vendor, &[]).await
}

async fn running_on(mut bed: Bed, vendor: Vendor, settings: &[(&str, &str)]) -> (Bed, Tenant, Replica) {
    let latency = Faults { latency_ms: 60, ..Faults::default() };
    let tenant = Tenant::simulated(vendor, Options::ordinary(USERS).faults(latency)).await;
    bed.elects().await;
    let first = bed.replica("first", settings).await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 20).await;
    (bed, tenant, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_makes_no_call_and_writes_nothing_until_the_lease_is_free() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(10)).await;
    let mut bed = Bed::new("standby").await;
    bed.elects().await;
    hold_lease(&bed, 3600).await;
    bed.shorten("WATCH_TIMEOUT_SECONDS", 1);
    let standby = bed.replica("standby", &[]).await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    standby.says("\"message\":\"ready\"").await;
    // Its watches bring what it would work on, many times over.
    for n in 0..20 {
        bed.patch_policy("inc", json!({"metadata": {"annotations": {"test/n": n.to_string()}}})).await;
    }
    standby.says("standing by for the lease").await;
    let watched = async || bed.audit().await.iter().filter(|e| e.is("watch", "passwordresetpolicies")).count();
    let so_far = watched().await;
    eventually("its watches go on", &bed, async || watched().await >= so_far + 3).await;
    assert_eq!(tenant.simulator().counters().total(), 0, "no call to the provider");
    let written: Vec<_> = bed.audit().await.into_iter().filter(|event| event.is_write()).collect();
    assert!(written.is_empty(), "nothing is written: {written:?}");
    // Given up: the standby, which watches, begins, and has missed nothing.
    let api: kube::Api<k8s_openapi::api::coordination::v1::Lease> =
        kube::Api::namespaced(bed.client.clone(), &bed.operator_namespace);
    let free = kube::api::Patch::Merge(json!({"spec": {"holderIdentity": null}}));
    api.patch("password-reset-operator", &Default::default(), &free).await.expect("the lease is given up");
    bed.policy_until("inc", "everybody required", enforced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_hands_over_at_once_and_nobody_is_asked_twice() {
    let (bed, tenant, mut first) = running("handover", Vendor::PingOne).await;
    let second = bed.replica("second", &[]).await;
    second.says("standing by for the lease").await;
    let before = writes(tenant.simulator());
    assert!(before < USERS as usize, "the campaign still goes on");
    let leader = holder(&bed).await;
    let told = Instant::now();
    first.process.terminate().expect("SIGTERM");
    next_holder(&bed, &leader).await;
    let taken = told.elapsed();
    assert_eq!(first.ended().await, Some(0), "it ends well\n{}", first.log_text());
    let at_end = writes(tenant.simulator());
    eventually("the second goes on", &bed, async || writes(tenant.simulator()) > at_end).await;
    println!("R2: SIGTERM to the lease in other hands {taken:?}, to the next write {:?}", told.elapsed());
    bed.policy_until("inc", "everybody required", enforced).await;
    let written = tenant.written().await;
    assert_eq!(written.len(), USERS as usize);
    assert!(written.values().all(|times| *times == 1), "nobody twice: {written:?}");
    assert_eq!(writes_by_caller(tenant.simulator()).len(), 2, "both have worked");
    let lease = lease(&bed).await.expect("a lease");
    assert_eq!(lease.lease_transitions, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_followed_when_its_lease_has_expired() {
    let (bed, tenant, mut first) = running("killed", Vendor::PingOne).await;
    let second = bed.replica("second", &[]).await;
    second.says("standing by for the lease").await;
    let killed = Instant::now();
    first.process.kill();
    let before = writes(tenant.simulator());
    eventually("the second goes on", &bed, async || writes(tenant.simulator()) > before).await;
    println!(
        "R2: kill -9 to the next write by a standby {:?}, with a lease of {} s",
        killed.elapsed(),
        if at_full_length() { 15 } else { 4 }
    );
    bed.policy_until("inc", "everybody required", enforced).await;
    let written = tenant.written().await;
    assert_eq!(written.len(), USERS as usize);
    assert_eq!(required_again(tenant.simulator()), 0, "nobody twice: {written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_past_its_lease_sends_nothing_but_what_was_on_the_wire() {
    let (bed, tenant, mut first) = running("stopped", Vendor::PingOne).await;
    let leader = holder(&bed).await;
    let second = bed.replica("second", &[]).await;
    second.says("standing by for the lease").await;
    first.process.pause().expect("SIGSTOP");
    let before = writes_by_caller(tenant.simulator());
    let (of_first, _) = before.iter().next().expect("the first has written");
    next_holder(&bed, &leader).await;
    eventually("the second goes on", &bed, async || writes_by_caller(tenant.simulator()).len() == 2).await;
    first.process.resume().expect("SIGCONT");
    assert_eq!(first.ended().await, Some(1), "who has lost the lease ends, to be started again\n{}", first.log_text());
    bed.policy_until("inc", "everybody required", enforced).await;
    let on_the_wire = writes_by_caller(tenant.simulator())[of_first] - before[of_first];
    println!("R3: {on_the_wire} requests were on the wire when the leader was stopped");
    assert!(on_the_wire <= ON_THE_WIRE, "no more than may be on the wire at once: {on_the_wire}");
    let written = tenant.written().await;
    assert_eq!(written.len(), USERS as usize);
    assert_eq!(required_again(tenant.simulator()), 0, "no harmful duplicate: {written:?}");
    assert_ne!(holder(&bed).await, leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_past_its_lease_sends_nothing_when_it_wakes_though_nobody_took_over() {
    let (bed, tenant, mut only) = running("slept", Vendor::PingOne).await;
    only.process.pause().expect("SIGSTOP");
    // The calls on the wire arrive; then it has slept past its deadline.
    tokio::time::sleep(Duration::from_secs(if at_full_length() { 16 } else { 5 })).await;
    let asleep = writes(tenant.simulator());
    only.process.resume().expect("SIGCONT");
    assert_eq!(only.ended().await, Some(1), "it ends, to be started again\n{}", only.log_text());
    assert_eq!(writes(tenant.simulator()), asleep, "nothing was sent");
    let _fresh = bed.replica("fresh", &[]).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    assert_eq!(required_again(tenant.simulator()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_renewal_hangs_past_its_deadline_sends_nothing_meanwhile() {
    // A renewal that is sent after 5 s and waited for until 8.5 s, where the deadline is 7 s after the one before it.
    const DEADLINE: i64 = 7;
    let terms =
        [("LEASE_DURATION_SECONDS", "8"), ("LEASE_RENEW_DEADLINE_SECONDS", "7"), ("LEASE_RETRY_PERIOD_SECONDS", "5")];
    let mut bed = Bed::new("hanging-renewal").await;
    bed.behind_proxy().await;
    bed.api_proxy().rule(Rule::new(Phase::Before, Action::BlackHole).on("update coordination.k8s.io/leases"));
    let (bed, tenant, mut only) = running_on(bed, Vendor::PingOne, &terms).await;
    let renewed = lease(&bed).await.and_then(|lease| lease.renew_time).expect("a renewal").0;
    assert_eq!(only.ended().await, Some(1), "it ends, to be started again\n{}", only.log_text());
    let written = tenant.simulator().ledger().into_iter().filter(|record| record.by_api() && is_write(record.call));
    let deadline = renewed + SignedDuration::from_secs(DEADLINE);
    let (in_time, late): (Vec<_>, Vec<_>) = written.partition(|record| record.time <= deadline);
    assert!(late.len() <= ON_THE_WIRE, "{} writes came after the deadline and {} before it", late.len(), in_time.len());
    assert!(in_time.len() + late.len() < USERS as usize, "there was something left to send");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_beside_a_new_one_is_fenced_by_the_ledger_even_without_a_lease() {
    // A rollout that surges, or two by mistake: both act, and each batch is one's only. At Looker a batch is small, so that
    // the ledger is written again and again while the other one works.
    let latency = Faults { latency_ms: 40, ..Faults::default() };
    let tenant = Tenant::simulated(Vendor::Looker, Options::ordinary(USERS).faults(latency)).await;
    let bed = Bed::new("two").await;
    let (one, other) = tokio::join!(bed.replica("one", &[]), bed.replica("other", &[]));
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    let written = tenant.written().await;
    assert_eq!(written.len(), USERS as usize);
    assert_eq!(required_again(tenant.simulator()), 0, "nobody twice: {written:?}");
    eventually("no intent is left open", &bed, async || open_intents(&bed).await == 0).await;
    let fenced = |log: String| log.contains("the ledger was written by another operator");
    assert!(fenced(one.log_text()) || fenced(other.log_text()), "both wrote to it, and one of them at a time");
}
