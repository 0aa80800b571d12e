//! A process that is stopped for a while, and one whose metrics are asked for without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use simulators::{Faults, MonoCloud, Options, PingOne, RateLimit, RetryAfter, pingone};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, at_full_length, fast, merge};
use crate::support::eventually;
use crate::throttled::{enforced, everybody};

fn signal(bed: &Bed, signal: &str) {
    let id = bed.operator().id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args(["-s", signal, &id]).status().expect("kill(1)");
    assert!(sent.success());
}

/// It sleeps for five minutes at full length.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_sends_no_burst_above_the_bucket_and_takes_a_new_token() {
    const USERS: u32 = 200;
    // The tenant counts with the bucket that is configured: a burst beyond it would be refused.
    let limit = RateLimit { per_second: 20.0, burst: 10, retry_after: RetryAfter::Honest };
    let faults = Faults { rate_limit: Some(limit), token_lifetime_seconds: Some(10), ..Faults::default() };
    let simulator = PingOne::start(Options::ordinary(USERS).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("asleep").await;
    bed.start().await;
    let rate = json!({"rateLimit": {"requestsPerSecond": 20, "burst": 10, "maxConcurrentRequests": 8}});
    bed.pingone("tenant", &simulator, rate).await;
    bed.policy("inc", everybody("tenant")).await;
    for asleep in [if at_full_length() { 300 } else { 12 }, 1, 2] {
        let more = simulator.requirements().len() + 10;
        eventually("the campaign goes on", &bed, async || simulator.requirements().len() >= more).await;
        signal(&bed, "STOP");
        tokio::time::sleep(Duration::from_secs(asleep)).await;
        signal(&bed, "CONT");
    }
    enforced(&bed, "inc").await;
    let requirements = simulator.requirements();
    assert!(requirements.len() == USERS as usize && requirements.values().all(|times| *times == 1), "{requirements:?}");
    let counters = simulator.counters();
    assert_eq!(counters.with_status(429), 0, "never above the bucket");
    assert_eq!(counters.with_status(401), 0, "an old token is known to be old");
    assert!(simulator.count(pingone::TOKEN) >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_are_asked_for_without_end_and_read_slowly_change_nothing_in_the_work() {
    const USERS: u32 = 400;
    let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("scraped").await;
    let [port] = testbed::ports::free().expect("a free port");
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.start().await;
    let mut spec = fast();
    merge(&mut spec, json!({"pageSize": 100}));
    bed.monocloud("tenant", &simulator, spec).await;
    bed.provider_until("tenant", "Ready", |p| p.condition("Ready") == "True Verified").await;
    let verified = simulator.counters().total();
    let (over, scraped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut scrapers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (over, scraped) = (over.clone(), scraped.clone());
        scrapers.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let answer = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.expect("an answer");
                assert!(answer.text().await.expect("metrics").ends_with("# EOF\n"));
                scraped.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        });
    }
    for _ in 0..20 {
        let over = over.clone();
        scrapers.spawn(async move {
            let mut slow = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
            slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("a request");
            while !over.load(Ordering::Relaxed) && slow.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    bed.policy("inc", everybody("tenant")).await;
    enforced(&bed, "inc").await;
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = scrapers.join_next().await {
        ended.expect("a scraper");
    }
    assert!(scraped.load(Ordering::Relaxed) >= 10);
    // A write for each, and the listing twice: as many calls as without scrapers.
    let pages = u64::from(USERS) / 100;
    assert_eq!(simulator.counters().total() - verified, u64::from(USERS) + 2 * pages);
    assert!(simulator.requirements().values().all(|times| *times == 1));
}
