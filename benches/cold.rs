//! Many settled policies: how soon is a new process ready, and what does it write and ask? (`cold` of `make bench`)
//!
//! The objects carry the status that an operator leaves behind after a complete pass, so that none has to run first.

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use password_reset_operator::api::PasswordResetPolicy;
use serde_json::{Value, json};
use simulators::{MonoCloud, Options};

use crate::bed::{Bed, fast, merge};
use crate::everybody;

/// Starts of the operator.
const STARTS: usize = 5;
/// How long a start is watched for writes once the operator is ready; the resync of kube's controller included.
const WATCHED: Duration = Duration::from_secs(20);

/// `POLICIES` (10,000 by default) policies that are settled, each of them with one target.
pub async fn cold() {
    let policies: usize = std::env::var("POLICIES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let simulator = MonoCloud::start(Options::ordinary(10)).await.expect("a simulator");
    let mut bed = Bed::new("cold").await;
    bed.set("LOG", "info");
    // None of the looks that come by themselves falls into the time that is watched.
    let mut extra = fast();
    merge(&mut extra, json!({"observePeriodSeconds": 604_800}));
    bed.monocloud("monocloud", &simulator, extra).await;
    bed.start().await;
    bed.policy("pattern", everybody("Compliance")).await;
    bed.deadline = Duration::from_secs(600);
    let pattern = bed.policy_until("pattern", "settled", |p| p.condition("Enforced").starts_with("True")).await;
    bed.kill();
    let began = Instant::now();
    settle(&bed, policies, &pattern.0["status"]).await;
    println!("\n## Cold start with {policies} settled policies (made in {:.0} s)\n", began.elapsed().as_secs_f64());
    println!("| start | ready after s | writes | calls to the provider | resident MB, peak |\n|---|---|---|---|---|");
    for start in 1..=STARTS {
        let (writes, calls) = (writes(&bed).await, simulator.counters().total());
        let began = Instant::now();
        bed.start().await;
        while readies(&bed) < start + 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ready = began.elapsed();
        tokio::time::sleep(WATCHED).await;
        let peak = bed.operator_peak_kilobytes();
        let written = self::writes(&bed).await - writes;
        println!(
            "| {start} | {:.2} | {written} | {} | {:.0} |",
            ready.as_secs_f64(),
            simulator.counters().total() - calls,
            peak as f64 / 1024.0
        );
        bed.kill();
    }
}

/// How often an operator has said that it is ready; the first one made the pattern.
fn readies(bed: &Bed) -> usize {
    bed.log_text().lines().filter(|line| line.contains("\"message\":\"ready\"")).count()
}

/// Creates the policies with a status of their first generation.
async fn settle(bed: &Bed, policies: usize, status: &Value) {
    let api: Api<PasswordResetPolicy> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let spec = everybody("Compliance");
    futures::stream::iter(0..policies)
        .for_each_concurrent(32, |number| {
            let (api, name, spec) = (api.clone(), format!("policy-{number}"), spec.clone());
            async move {
                let object = json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "PasswordResetPolicy",
                    "metadata": {"name": name}, "spec": spec});
                let object: PasswordResetPolicy = serde_json::from_value(object).expect("a policy");
                api.create(&PostParams::default(), &object).await.expect("it is accepted");
                let patch = Patch::Merge(json!({"status": status}));
                api.patch_status(&name, &PatchParams::default(), &patch).await.expect("the status is accepted");
            }
        })
        .await;
}

/// What the operator has written to the API server so far, events included.
async fn writes(bed: &Bed) -> usize {
    let audit = bed.audit().await;
    audit.iter().filter(|event| event.is_write()).count()
}
