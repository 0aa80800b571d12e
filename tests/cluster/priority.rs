//! Who goes first where several policies want the same tenant?

use std::time::Duration;

use serde_json::{Value, json};
use simulators::{Handle, MonoCloud, Options, monocloud};

use crate::bed::{Bed, cutoff};

/// A policy over these people, for this reason.
fn over(simulator: &Handle, people: std::ops::Range<u32>, reason: &str) -> Value {
    let users: Vec<Value> = people.map(|n| json!({"id": simulator.user_at(n).id})).collect();
    json!({"mode": "Enforce", "reason": {"type": reason}, "requirement": {"passwordChangedAfter": cutoff()},
        "targets": [{"name": "some", "providerRef": {"name": "tenant"}, "scope": "Selected", "users": users}]})
}

/// How many of the first 100 people are written to between the first and the last write to the 20 after them.
async fn routine_writes_beside(name: &str, reason: &str) -> usize {
    let simulator = MonoCloud::start(Options::ordinary(120)).await.expect("a simulator");
    let mut bed = Bed::new(name).await;
    bed.start().await;
    let limit = json!({"rateLimit": {"requestsPerSecond": 10, "burst": 1, "maxConcurrentRequests": 1}});
    bed.monocloud("tenant", &simulator, limit).await;
    bed.policy("routine", over(&simulator, 0..100, "Hygiene")).await;
    let at_work = async {
        while simulator.count(monocloud::FORCE_RESET) < 5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(bed.deadline, at_work).await.expect("routine is at work");
    bed.policy("other", over(&simulator, 100..120, reason)).await;
    bed.policy_until("other", "everybody is required", |p| p.condition("Enforced") == "True Enforced").await;
    let others: Vec<String> = (100..120).map(|n| simulator.user_at(n).id).collect();
    let ledger = simulator.ledger().into_iter().filter(|record| record.requires_change());
    let is_other: Vec<bool> = ledger.map(|record| record.user.is_some_and(|user| others.contains(&user))).collect();
    let first = is_other.iter().position(|other| *other).expect("a write");
    let last = is_other.iter().rposition(|other| *other).expect("a write");
    is_other[first..last].iter().filter(|other| !**other).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_after_a_compromise_goes_before_routine_and_two_of_a_kind_share() {
    let (urgent, equal) =
        tokio::join!(routine_writes_beside("urgent", "Compromise"), routine_writes_beside("equal", "Hygiene"));
    // Eight requests to one; each of the 20 costs a request or two.
    assert!(urgent <= 8, "{urgent} routine writes in between");
    assert!((10..=60).contains(&equal), "{equal} of the other's writes in between");
}
