//! What a start of the operator is like.

use std::time::Duration;

use serde_json::json;
use simulators::{MonoCloud, Options};

use crate::bed::{Bed, cutoff, fast};

const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Waits until the operator says at `address` that it is ready.
async fn ready(bed: &Bed, address: &str) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let asked = async {
        loop {
            let answer = http.get(format!("http://{address}/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let answered = tokio::time::timeout(DEADLINE, asked).await;
    assert!(answered.is_ok(), "ready in time\n{}", bed.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_ready_at_every_start_and_takes_no_provider_for_missing() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("start").await;
    let [port] = testbed::ports::free().expect("a free port");
    let address = format!("127.0.0.1:{port}");
    bed.set("LISTEN", &address);
    bed.start().await;
    bed.monocloud("monocloud", &simulator, fast()).await;
    bed.policy(
        "inc",
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
        "targets": [{"name": "all", "providerRef": {"name": "monocloud"}, "scope": "Tenant"}]}),
    )
    .await;
    let enforced = |p: &crate::bed::View| p.condition("Enforced") == "True Enforced";
    let before = bed.policy_until("inc", "everybody required", enforced).await.0["metadata"]["resourceVersion"].clone();
    for _ in 0..5 {
        bed.kill();
        bed.start().await;
        ready(&bed, &address).await;
    }
    let after = bed.policy_until("inc", "the same", enforced).await.0["metadata"]["resourceVersion"].clone();
    assert_eq!(before, after, "nothing new was said of the policy");
}
