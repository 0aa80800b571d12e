//! How soon does a stop take effect, and how much does one trouble delay somebody else? (`stops` and `beside` of `make bench`)

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use simulators::{Action, CallFault, Faults, Handle, MonoCloud, Options, When, monocloud};

use crate::bed::Bed;
use crate::everybody;

/// Suspensions, and deletions, that are measured.
const STOPS: usize = 25;
/// How long after a stop writes are looked for.
const WATCHED: Duration = Duration::from_secs(3);
/// Campaigns alone, and as many beside trouble, in turn.
const PAIRS: usize = 5;

/// Policies that are suspended or deleted in the midst of their campaign, at 100 writes a second.
pub async fn stops() {
    println!("\n## From a stop to the last write (aim: 1 s in 99 of 100 cases)\n");
    println!("| stop | times | median s | longest s |\n|---|---|---|---|");
    let simulator = MonoCloud::start(Options::ordinary(100_000)).await.expect("a simulator");
    let mut bed = Bed::new("stops").await;
    bed.set("LOG", "warn");
    bed.start().await;
    let limit = json!({"rateLimit": {"requestsPerSecond": 100, "burst": 1, "maxConcurrentRequests": 8}});
    bed.monocloud("monocloud", &simulator, limit).await;
    let (mut suspended, mut deleted) = (Vec::new(), Vec::new());
    for n in 0..STOPS {
        let name = format!("stop-{n}");
        bed.policy(&name, everybody("Compliance")).await;
        at_work(&simulator).await;
        let stop = Timestamp::now();
        bed.patch_policy(&name, json!({"spec": {"suspend": true}})).await;
        suspended.push(last_write_after(&simulator, stop).await);
        bed.patch_policy(&name, json!({"spec": {"suspend": false}})).await;
        at_work(&simulator).await;
        let stop = Timestamp::now();
        bed.delete_policy(&name).await;
        deleted.push(last_write_after(&simulator, stop).await);
    }
    for (stop, mut delays) in [("suspended", suspended), ("deleted", deleted)] {
        delays.sort_by(f64::total_cmp);
        println!("| {stop} | {STOPS} | {:.3} | {:.3} |", delays[STOPS / 2], delays[STOPS - 1]);
    }
}

/// Waits until people are being written to.
async fn at_work(simulator: &Handle) {
    let written = || simulator.count(monocloud::FORCE_RESET);
    let before = written();
    while written() < before + 30 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Seconds from `stop` to the last write that the tenant took; 0 where none came.
async fn last_write_after(simulator: &Handle, stop: Timestamp) -> f64 {
    tokio::time::sleep(WATCHED).await;
    let ledger = simulator.ledger();
    let last = ledger.iter().rev().find(|record| record.requires_change()).expect("it was at work");
    last.time.duration_since(stop).as_secs_f64().max(0.0)
}

/// A campaign of 500 people at 50 a second, alone and beside tenants that hang or refuse and policies that cannot work.
pub async fn beside() {
    println!("\n## Beside trouble of others (aim: at most 1.10 of the time alone)\n");
    println!("| pair | alone s | beside s | ratio |\n|---|---|---|---|");
    let mut ratios = Vec::new();
    for pair in 1..=PAIRS {
        let (alone, beside) = (one(false).await, one(true).await);
        ratios.push(beside / alone);
        println!("| {pair} | {alone:.2} | {beside:.2} | {:.3} |", beside / alone);
    }
    ratios.sort_by(f64::total_cmp);
    println!("\nmedian ratio {:.3} ({:.3} to {:.3})", ratios[PAIRS / 2], ratios[0], ratios[PAIRS - 1]);
}

async fn one(troubled: bool) -> f64 {
    let good = MonoCloud::start(Options::ordinary(500)).await.expect("a simulator");
    let hang = CallFault::always("*", When::Before, Action::Hang { milliseconds: None });
    let faults = Faults { calls: vec![hang], ..Faults::default() };
    let hangs = MonoCloud::start(Options::ordinary(500).faults(faults)).await.expect("a simulator");
    let refuses = MonoCloud::start(Options::ordinary(500)).await.expect("a simulator");
    let mut bed = Bed::new("beside").await;
    bed.set("LOG", "warn");
    bed.start().await;
    let limit = json!({"rateLimit": {"requestsPerSecond": 50, "burst": 1, "maxConcurrentRequests": 8}});
    bed.monocloud("good", &good, limit.clone()).await;
    bed.provider_until("good", "ready", |p| p.condition("Ready") == "True Verified").await;
    if troubled {
        bed.monocloud("hangs", &hangs, limit.clone()).await;
        bed.monocloud("refuses", &refuses, limit).await;
        refuses.rotate_credentials();
        for n in 0..10 {
            for provider in ["hangs", "refuses", "absent"] {
                let mut spec = everybody("Compromise");
                spec["targets"][0]["providerRef"]["name"] = provider.into();
                bed.policy(&format!("{provider}-{n}"), spec).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let mut spec = everybody("Compliance");
    spec["targets"][0]["providerRef"]["name"] = "good".into();
    let begin = Instant::now();
    bed.policy("good", spec).await;
    bed.policy_until("good", "everybody required", |p| p.condition("Enforced").starts_with("True")).await;
    begin.elapsed().as_secs_f64()
}
