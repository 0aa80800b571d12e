//! The process is told to end: idle, in the middle of a batch, and twice.

use serde_json::json;
use simulators::{Action, CallFault, Faults, Options, Play, When, looker};

use crate::bed::Bed;
use crate::support::{enforced, eventually, holder, open_intents, required_again, slow, writes};
use crate::tenant::{Tenant, Vendor};

const USERS: u32 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_operator_that_is_told_to_end_gives_the_lease_up_and_ends_well() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(10)).await;
    let mut bed = Bed::new("idle").await;
    bed.elects().await;
    let mut operator = bed.replica("operator", &[]).await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    operator.process.terminate().expect("SIGTERM");
    assert_eq!(operator.ended().await, Some(0), "{}", operator.log_text());
    assert_eq!(holder(&bed).await, "", "the lease is free");
}

/// Class B, where an intent that is left open may ask somebody twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_told_to_end_twice_in_mid_batch_closes_the_batch_and_gives_the_lease_up() {
    let latency = Faults { latency_ms: 60, ..Faults::default() };
    let tenant = Tenant::simulated(Vendor::Looker, Options::ordinary(USERS).faults(latency)).await;
    let mut bed = Bed::new("midbatch").await;
    bed.elects().await;
    let mut operator = bed.replica("operator", &[]).await;
    tenant.connect(&bed, "tenant", slow()).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 10).await;
    operator.process.terminate().expect("SIGTERM");
    operator.says("stopping: no new work is taken").await;
    // Whoever is impatient; it may have ended by now.
    let _ = operator.process.terminate();
    assert_eq!(operator.ended().await, Some(0), "{}", operator.log_text());
    let sent = writes(tenant.simulator());
    assert!(sent < USERS as usize, "the campaign was not over: {sent}");
    assert_eq!(holder(&bed).await, "", "the lease is free");
    assert_eq!(open_intents(&bed).await, 0, "the open batch is closed");
    let _next = bed.replica("next", &[]).await;
    bed.policy_until("inc", "everybody required", enforced).await;
    let written = tenant.written().await;
    assert_eq!(written.len(), USERS as usize);
    assert!(written.values().all(|times| *times == 1), "nobody twice: {written:?}");
    assert_eq!(required_again(tenant.simulator()), 0);
}

/// Class B: only a read tells whether a write whose answer never came has arrived. It has, or it has not, or it has not and
/// an admin has set the mark before the next process looks.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_told_to_end_while_a_write_hangs_ends_in_time_and_the_next_one_reads_before_it_writes() {
    let cases =
        [("arrived", When::After, false, 20), ("lost", When::Before, false, 21), ("set", When::Before, true, 20)];
    for (name, when, is_marked_by_an_admin, sent) in cases {
        let hang = CallFault::new(looker::PATCH_CREDENTIAL, 5, when, Action::Hang { milliseconds: None });
        let faults = Faults { calls: vec![hang], ..Faults::default() };
        let tenant = Tenant::simulated(Vendor::Looker, Options::ordinary(20).faults(faults)).await;
        let simulator = tenant.simulator();
        let mut bed = Bed::new(name).await;
        bed.elects().await;
        bed.shorten("SETTLE_SECONDS", 3);
        let mut operator = bed.replica("operator", &[]).await;
        tenant.connect(&bed, "tenant", slow()).await;
        bed.policy("inc", tenant.policy("tenant", json!({}))).await;
        let hanging = || simulator.ledger().into_iter().find(|record| record.fault == Some("hang"))?.user;
        eventually("a write hangs", &bed, async || hanging().is_some()).await;
        operator.process.terminate().expect("SIGTERM");
        let code = operator.ended().await;
        // The call itself is given up later than Kubernetes kills.
        let log = operator.log_text();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("calls that are still on the way are not waited for any longer"), "{log}");
        assert_eq!(holder(&bed).await, "", "the lease is free");
        let unclear = hanging().expect("an account");
        if is_marked_by_an_admin {
            simulator.play(&unclear, Play::Marks).expect("an admin marks");
        }
        let _next = bed.replica("next", &[]).await;
        bed.policy_until("inc", "everybody required", enforced).await;
        let written = tenant.written().await;
        assert_eq!(written.values().sum::<u64>(), sent, "{name}: {written:?}");
        assert!(written.iter().all(|(user, times)| *times == 1 || *user == unclear), "{name}: {written:?}");
        assert_eq!(simulator.users().iter().filter(|user| user.marked).count(), 20, "{name}: nobody is left out");
        assert_eq!(required_again(simulator), 0, "{name}: nobody twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_goes_on_soon_after_it_is_started_again() {
    let tenant = Tenant::simulated(Vendor::MonoCloud, Options::ordinary(900)).await;
    let mut bed = Bed::new("again").await;
    bed.start().await;
    let rate = json!({"rateLimit": {"requestsPerSecond": 150, "burst": 20, "maxConcurrentRequests": 8}});
    tenant.connect(&bed, "tenant", rate).await;
    bed.policy("inc", tenant.policy("tenant", json!({}))).await;
    eventually("the campaign goes on", &bed, async || writes(tenant.simulator()) >= 250).await;
    bed.kill();
    let before = writes(tenant.simulator());
    let started = std::time::Instant::now();
    bed.start().await;
    eventually("it goes on", &bed, async || writes(tenant.simulator()) > before).await;
    println!("R2: start after kill -9 to the next write {:?}", started.elapsed());
    bed.policy_until("inc", "everybody required", enforced).await;
    let written = tenant.written().await;
    assert_eq!(written.len(), 900);
    assert_eq!(required_again(tenant.simulator()), 0, "nobody twice");
}
