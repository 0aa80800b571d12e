//! A campaign from apply to everybody changed, and what it costs.

use serde_json::json;
use simulators::{MonoCloud, Options};

use crate::bed::{Bed, cutoff, fast};

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_is_due_is_required_exactly_once_and_then_counted_as_they_comply() {
    let simulator = MonoCloud::start(Options::ordinary(150)).await.expect("a simulator");
    let mut bed = Bed::new("campaign").await;
    bed.start().await;
    bed.monocloud("monocloud", &simulator, fast()).await;
    bed.policy(
        "inc",
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
        "targets": [{"name": "all", "providerRef": {"name": "monocloud"}, "scope": "Tenant"}]}),
    )
    .await;
    let policy = bed.policy_until("inc", "everybody required", |p| p.condition("Enforced") == "True Enforced").await;
    assert_eq!(policy.count("enforced"), 150, "{:#}", policy.0["status"]);
    assert_eq!(policy.condition("Ready"), "True Enforced");
    assert!(simulator.requirements().values().all(|n| *n == 1));
    assert_eq!(simulator.requirements().len(), 150);
    println!("{:#}", policy.0["status"]);
}
