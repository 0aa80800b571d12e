//! Connections that break in every phase, and answers that are slow, huge or packed.

use serde_json::json;
use simulators::{Action, CallFault, Faults, MonoCloud, Options, When, monocloud};

use crate::accounts::{Tenant, is_enforced, one_of_each};
use crate::bed::{Bed, fast};

const USERS: u32 = 30;

fn with(calls: Vec<CallFault>) -> Faults {
    Faults { calls, ..Faults::default() }
}

/// I17.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_breaks_in_any_phase_is_read_before_it_is_repeated() {
    let mut bed = Bed::new("phases").await;
    bed.shorten("SETTLE_SECONDS", 3);
    bed.start().await;
    let tenants = one_of_each(&bed, USERS, json!({})).await;
    for Tenant { name, simulator, list, write } in &tenants {
        let hang = || Action::Hang { milliseconds: None };
        simulator.set(with(vec![
            CallFault::new(list, 1, When::Before, Action::Reset),
            CallFault::new(list, 2, When::After, Action::CutShort),
            CallFault::new(write, 2, When::Before, Action::Reset),
            CallFault::new(write, 7, When::After, Action::Reset),
            CallFault::new(write, 12, When::After, Action::CutShort),
            CallFault::new(write, 17, When::Before, hang()),
            CallFault::new(write, 22, When::After, hang()),
        ]));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
    }
    for Tenant { name, simulator, write, .. } in &tenants {
        is_enforced(&bed, name, simulator, USERS as usize).await;
        // Written again are the two that had no effect; Looker's answers tell, so that a cut one may cost a third.
        let writes = simulator.count(write);
        assert!((32..=33).contains(&writes), "{name}: {writes} writes for {USERS} accounts");
    }
}

/// I18.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_given_up_and_holds_no_other_tenant_up() {
    let mut bed = Bed::new("slow").await;
    bed.start().await;
    let slow = |action| with(vec![CallFault::new(monocloud::LIST_USERS, 1, When::After, action)]);
    let mut tenants = Vec::new();
    for (name, action) in
        [("body", Action::SlowBody { milliseconds: 1_000 }), ("headers", Action::Delay { milliseconds: 600_000 })]
    {
        let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
        bed.monocloud(
            name,
            &simulator,
            json!({"rateLimit": {"requestsPerSecond": 100, "burst": 10, "maxConcurrentRequests": 1}}),
        )
        .await;
        bed.provider_says(name, "Ready", "True Verified", &[]).await;
        simulator.set(slow(action));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        tenants.push((name, simulator));
    }
    let quick = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    bed.monocloud("quick", &quick, fast()).await;
    bed.enforce("quick", "quick", json!({"scope": "Tenant"})).await;
    is_enforced(&bed, "quick", &quick, USERS as usize).await;
    assert!(tenants.iter().all(|(_, simulator)| simulator.requirements().is_empty()), "they hang still");
    // The only slot of the tenant is free again once the answer is given up.
    for (name, simulator) in &tenants {
        is_enforced(&bed, name, simulator, USERS as usize).await;
    }
}

/// I19, I21.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_however_large_deep_or_packed_costs_memory_and_none_is_nobody() {
    let mut bed = Bed::new("huge").await;
    bed.start().await;
    let packed = |encoding: &str| Action::Answer {
        status: 200,
        content_type: "application/json".into(),
        // Nothing is asked for in a packed form, so nothing is unpacked.
        body: "\u{1f}\u{8b}\u{8}packed".into(),
        headers: vec![("Content-Encoding".into(), encoding.into())],
    };
    let cases = [
        ("ten-gigabytes", Action::Oversized { bytes: 10 << 30 }),
        ("a-million-elements", Action::Oversized { bytes: 3 << 20 }),
        ("deep", Action::Nested { depth: 100_000 }),
        ("gzip", packed("gzip")),
        ("zstd", packed("zstd")),
    ];
    let mut tenants = Vec::new();
    for (name, action) in cases {
        let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
        bed.monocloud(name, &simulator, fast()).await;
        bed.provider_says(name, "Ready", "True Verified", &[]).await;
        tenants.push((name, simulator, action));
    }
    for (name, simulator, action) in tenants {
        let before = bed.operator_peak_kilobytes();
        simulator.set(with(vec![CallFault {
            times: Some(3),
            ..CallFault::new(monocloud::LIST_USERS, 1, When::After, action)
        }]));
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        is_enforced(&bed, name, &simulator, USERS as usize).await;
        let grown = bed.operator_peak_kilobytes() - before;
        assert!(grown <= 16 * 1024, "{name}: {grown} kB more at the peak");
    }
}
