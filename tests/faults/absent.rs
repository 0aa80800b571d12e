//! A tenant that does not answer, fails, or refuses whoever asks.

use std::time::Duration;

use serde_json::json;
use simulators::{Action, CallFault, Effect, Faults, Handle, MonoCloud, Options, PingOne, When, pingone};

use crate::bed::{Bed, fast, merge};
use crate::throttled::{enforced, everybody};

/// Each call of the API fails.
fn down(action: Action) -> Faults {
    Faults { calls: vec![CallFault::always("*", When::Before, action)], ..Faults::default() }
}

async fn ready(bed: &Bed, name: &str) {
    bed.provider_until(name, "Ready", |p| p.condition("Ready") == "True Verified").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_tenant_is_tried_by_one_request_at_a_time_however_many_want_it() {
    const OBJECTS: [&str; 4] = ["one", "two", "three", "four"];
    for action in [Action::Status(503), Action::Reset] {
        let simulator = MonoCloud::start(Options::ordinary(8)).await.expect("a simulator");
        let mut bed = Bed::new("dead").await;
        bed.start().await;
        for name in OBJECTS {
            bed.monocloud(name, &simulator, fast()).await;
            ready(&bed, name).await;
        }
        simulator.set(down(action));
        let before = simulator.counters().total();
        for name in OBJECTS {
            bed.policy(name, everybody(name)).await;
        }
        for name in OBJECTS {
            bed.policy_until(name, "it waits", |p| p.is_current() && p.condition("Ready").starts_with("False")).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        // Four policies find it out, and the four objects' first probes; after that there are probes after 1, 2, 4 and
        // 8 s for all of them together, where each object by itself would send as many.
        let asked = simulator.counters().total() - before;
        assert!((5..=14).contains(&asked), "{asked} requests");
        simulator.set(Faults::default());
        for name in OBJECTS {
            enforced(&bed, name).await;
        }
        let requirements = simulator.requirements();
        assert!(requirements.len() == 8 && requirements.values().all(|times| *times == 1), "{requirements:?}");
    }
}

fn tokens(simulator: &Handle) -> u64 {
    simulator.count(pingone::TOKEN)
}

/// Two objects and two policies on a tenant that refuses everything; `calls` counts what it was asked after a while.
async fn refused(name: &str, faults: Faults, reason: &str, calls: fn(&Handle) -> u64, most: u64) {
    let simulator = PingOne::start(Options::ordinary(5).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new(name).await;
    bed.start().await;
    let mut period = fast();
    merge(&mut period, json!({"probePeriodSeconds": 10}));
    for name in ["one", "two"] {
        bed.pingone(name, &simulator, period.clone()).await;
        bed.policy(name, everybody(name)).await;
    }
    for name in ["one", "two"] {
        let expected = format!("False {reason}");
        bed.provider_until(name, reason, |p| p.condition("Ready") == expected).await;
    }
    tokio::time::sleep(Duration::from_secs(25)).await;
    let asked = calls(&simulator);
    assert!(asked <= most, "{name}: {asked} calls");
    simulator.set(Faults::default());
    for name in ["one", "two"] {
        enforced(&bed, name).await;
    }
    assert!(simulator.requirements().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_refuses_everything_is_asked_once_a_period_for_each_object() {
    // At first, after 10 s and after 20 s.
    let refusing = Faults { refuse_credentials: true, ..Faults::default() };
    let forbidding = Faults { forbid_everything: true, ..Faults::default() };
    tokio::join!(
        refused("refused-login", refusing, "AuthenticationFailed", tokens, 2 * 3),
        refused("forbidden", forbidding, "PermissionDenied", |s| s.count(pingone::LIST_USERS), 2 * 3),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_took_effect_before_the_server_failed_is_not_repeated() {
    const USERS: u32 = 30;
    let failing =
        |nth: u32, status: u16| CallFault::new(pingone::FORCE_CHANGE, nth, When::After, Action::Status(status));
    let calls = vec![failing(3, 500), failing(8, 502), failing(13, 503), failing(18, 504)];
    let simulator = PingOne::start(Options::ordinary(USERS).faults(Faults { calls, ..Faults::default() }))
        .await
        .expect("a simulator");
    let mut bed = Bed::new("applied").await;
    bed.start().await;
    bed.pingone("tenant", &simulator, fast()).await;
    bed.policy("inc", everybody("tenant")).await;
    enforced(&bed, "inc").await;
    let requirements = simulator.requirements();
    assert_eq!(requirements.len(), USERS as usize);
    assert!(requirements.values().all(|times| *times == 1), "{requirements:?}");
    assert!(simulator.ledger().iter().all(|record| record.effect != Effect::MarkedAgain));
}
