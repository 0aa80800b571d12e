//! A tenant that asks for fewer requests, in every way it may.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::{Action, CallFault, Faults, Handle, MonoCloud, Options, RateLimit, RetryAfter, When, monocloud};

use crate::bed::{Bed, cutoff, fast, merge};

/// A policy over the whole tenant of `provider`.
pub fn everybody(provider: &str) -> Value {
    json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
        "targets": [{"name": "all", "providerRef": {"name": provider}, "scope": "Tenant"}]})
}

/// Requests that an answer in place of the usual one refuses for load.
fn refuse(on: &str, nth: u32, retry_after: Option<&str>) -> CallFault {
    let headers = retry_after.map(|value| ("retry-after".to_owned(), value.to_owned())).into_iter().collect();
    let (content_type, body) = ("application/problem+json".to_owned(), "{}".to_owned());
    CallFault::new(on, nth, When::Before, Action::Answer { status: 429, content_type, body, headers })
}

async fn tenant(users: u32, calls: Vec<CallFault>) -> Handle {
    MonoCloud::start(Options::ordinary(users).faults(Faults { calls, ..Faults::default() })).await.expect("a simulator")
}

pub async fn enforced(bed: &Bed, policy: &str) {
    bed.policy_until(policy, "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
}

/// When each write came, and its status.
fn writes(simulator: &Handle) -> Vec<(Timestamp, u16)> {
    let ours = simulator.ledger().into_iter().filter(|record| record.by_api() && record.call == monocloud::FORCE_RESET);
    ours.map(|record| (record.time, record.status)).collect()
}

/// The gap between the first refusal and the next write of anybody, in seconds.
fn gap(simulator: &Handle) -> f64 {
    let writes = writes(simulator);
    let refused = writes.iter().position(|(_, status)| *status != 200).expect("a refusal");
    writes[refused + 1].0.duration_since(writes[refused].0).as_secs_f64()
}

fn each_once(simulator: &Handle, users: u32) {
    let requirements = simulator.requirements();
    assert_eq!(requirements.len(), users as usize);
    assert!(requirements.values().all(|times| *times == 1), "{requirements:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_the_tenant_names_holds_for_every_policy_and_object_and_is_no_failure() {
    let simulator = tenant(40, vec![refuse(monocloud::FORCE_RESET, 5, Some("3"))]).await;
    let mut bed = Bed::new("pause").await;
    bed.start().await;
    // One request at a time, so that none is on the way when the refusal comes.
    let one = json!({"rateLimit": {"requestsPerSecond": 1000, "burst": 1000, "maxConcurrentRequests": 1}});
    for name in ["one", "two"] {
        bed.monocloud(name, &simulator, one.clone()).await;
        bed.provider_until(name, "Ready", |p| p.condition("Ready") == "True Verified").await;
    }
    let half = |provider: &str, users: std::ops::Range<u32>| {
        let users: Vec<Value> = users.map(|n| json!({"id": simulator.user_at(n).id})).collect();
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
            "targets": [{"name": "half", "providerRef": {"name": provider}, "scope": "Selected", "users": users}]})
    };
    bed.policy("first", half("one", 0..20)).await;
    bed.policy("second", half("two", 20..40)).await;
    for name in ["first", "second"] {
        enforced(&bed, name).await;
    }
    assert!(gap(&simulator) >= 3.0, "{:?}", writes(&simulator));
    each_once(&simulator, 40);
    for name in ["one", "two"] {
        bed.provider_until(name, "Ready", |p| p.condition("Ready") == "True Verified").await;
    }
}

/// Whom an object protects counts from its first verification on, which no policy makes for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_verification_that_is_throttled_leaves_nobody_unprotected() {
    let simulator = tenant(10, vec![refuse("*", 1, None)]).await;
    let protected = simulator.user_at(3).id;
    let mut bed = Bed::new("unprotected").await;
    bed.start().await;
    let mut extra = fast();
    merge(&mut extra, json!({"protectedUsers": [{"id": protected}]}));
    bed.policy("inc", everybody("mc")).await;
    bed.monocloud("mc", &simulator, extra).await;
    enforced(&bed, "inc").await;
    let requirements = simulator.requirements();
    assert_eq!(requirements.len(), 9);
    assert!(!requirements.contains_key(&protected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_any_form_is_obeyed_within_bounds() {
    // What the header says, and the least and the most seconds until the next write.
    let cases = [
        ("seconds", Some("2".to_owned()), 2.0, 10.0),
        ("none", None, 1.0, 10.0),
        ("garbage", Some("soon".to_owned()), 1.0, 10.0),
        ("negative", Some("-7".to_owned()), 1.0, 10.0),
        ("past", Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()), 1.0, 10.0),
        ("absurd", Some("1000000000000".to_owned()), 60.0, 90.0),
        ("year-2099", Some("Fri, 06 Nov 2099 08:50:07 GMT".to_owned()), 60.0, 90.0),
    ];
    let mut bed = Bed::new("forms").await;
    bed.start().await;
    let mut tenants = Vec::new();
    for (name, header, least, most) in cases {
        let simulator = tenant(3, vec![refuse(monocloud::FORCE_RESET, 2, header.as_deref())]).await;
        bed.monocloud(name, &simulator, json!({"rateLimit": {"maxConcurrentRequests": 1}})).await;
        bed.policy(name, everybody(name)).await;
        tenants.push((name, simulator, least, most));
    }
    for (name, simulator, least, most) in tenants {
        enforced(&bed, name).await;
        let gap = gap(&simulator);
        assert!((least..most).contains(&gap), "{name}: {gap} s");
        each_once(&simulator, 3);
    }
}

/// A second after the refusal the tenant would take the next one, so it is the date that is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_until_a_date_that_is_near_is_kept() {
    const USERS: u32 = 12;
    let limit = RateLimit { per_second: 2.0, burst: 8, retry_after: RetryAfter::HttpDate(4) };
    let faults = Faults { rate_limit: Some(limit), ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(USERS).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("until").await;
    bed.start().await;
    let mut one_at_a_time = fast();
    merge(&mut one_at_a_time, json!({"rateLimit": {"maxConcurrentRequests": 1}}));
    bed.monocloud("tenant", &simulator, one_at_a_time).await;
    bed.policy("inc", everybody("tenant")).await;
    enforced(&bed, "inc").await;
    // The date has whole seconds.
    assert!(gap(&simulator) >= 3.0, "{:?}", writes(&simulator));
    each_once(&simulator, USERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_only_refusals_tell_is_learned() {
    const USERS: u32 = 300;
    let limit = RateLimit { per_second: 25.0, burst: 25, retry_after: RetryAfter::Absent };
    let faults = Faults { rate_limit: Some(limit), ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(USERS).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("unknown").await;
    bed.start().await;
    bed.monocloud("tenant", &simulator, json!({"rateLimit": {"requestsPerSecond": 200, "burst": 200}})).await;
    bed.policy("inc", everybody("tenant")).await;
    enforced(&bed, "inc").await;
    each_once(&simulator, USERS);
    let (refused, all) = (simulator.counters().with_status(429), simulator.counters().total());
    // The first second or two teach; a sender that only obeys its own 200 a second would be refused seven times in eight.
    assert!(refused >= 1 && refused * 10 <= all, "{refused} of {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_refuses_for_ever_shows_throttled_and_is_asked_ever_less_often() {
    let faults = Faults { calls: vec![CallFault { times: None, ..refuse("*", 1, None) }], ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(5).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("refusing").await;
    bed.start().await;
    for name in ["one", "two"] {
        bed.monocloud(name, &simulator, fast()).await;
        bed.policy(name, everybody(name)).await;
    }
    for name in ["one", "two"] {
        bed.provider_until(name, "Throttled", |p| p.condition("Ready") == "False Throttled").await;
    }
    // Pauses of 1, 2, 4, 8 and 16 s, whoever asks: two objects and two policies.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = simulator.counters().total();
    assert!(asked <= 8, "{asked} requests");
    assert!(writes(&simulator).is_empty());
    simulator.set(Faults::default());
    for name in ["one", "two"] {
        enforced(&bed, name).await;
    }
    each_once(&simulator, 5);
}
