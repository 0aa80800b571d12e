//! How fast, how small, how polite is a whole campaign? The real operator on a real API server against simulators.
//!
//! `make bench`. Prints a table; judges nothing, since wall time depends on the machine. Counts are asserted in tests.

#![allow(clippy::disallowed_methods)] // they are the operator's rules; a benchmark is a client of its own

#[path = "../tests/support/bed.rs"]
mod bed;
mod cold;
mod disturbed;
#[path = "../tests/support/rights.rs"]
mod rights;

use std::time::{Duration, Instant};

use bed::{Bed, cutoff, fast};
use serde_json::json;
use simulators::{Faults, Handle, MonoCloud, Options, RateLimit, RetryAfter};

/// Pairs of operator and bare loop, interleaved.
const PAIRS: usize = 9;

#[tokio::main]
async fn main() {
    // `cargo bench --bench campaign -- memory limited` runs these parts only; cargo adds `--bench` of its own.
    let parts: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    if wanted("cold") {
        cold::cold().await;
    }
    if wanted("memory") {
        memory().await;
    }
    if wanted("limited") {
        limited().await;
    }
    if wanted("unknown") {
        unknown().await;
    }
    if wanted("steps") {
        steps().await;
    }
    if wanted("fair") {
        fair().await;
    }
    if wanted("stops") {
        disturbed::stops().await;
    }
    if wanted("beside") {
        disturbed::beside().await;
    }
    if wanted("throughput") {
        throughput().await;
    }
}

async fn campaign(bed: &mut Bed, simulator: &Handle, extra: serde_json::Value) -> (Duration, u64) {
    bed.start().await;
    bed.monocloud("monocloud", simulator, extra).await;
    bed.provider_until("monocloud", "ready", |p| p.condition("Ready") == "True Verified").await;
    let begin = Instant::now();
    bed.policy("campaign", everybody("Compliance")).await;
    bed.deadline = Duration::from_secs(3_600);
    bed.policy_until("campaign", "everybody required", |p| p.condition("Enforced").starts_with("True")).await;
    (begin.elapsed(), bed.operator_peak_kilobytes())
}

/// How much more memory do many accounts take than 1,000?
async fn memory() {
    println!("## Memory (VmHWM of the operator, MonoCloud, whole campaign; aim: at most 8,192 kB more)\n");
    println!("| accounts | kB | more than 1,000 take, kB |\n|---|---|---|");
    let few = peak(1_000).await;
    println!("| 1000 | {few} | 0 |");
    for accounts in [100_000, 1_000_000] {
        let peak = peak(accounts).await;
        println!("| {accounts} | {peak} | {} |", peak.saturating_sub(few));
    }
}

async fn peak(accounts: u32) -> u64 {
    let simulator = MonoCloud::start(Options::ordinary(accounts)).await.expect("a simulator");
    let mut bed = Bed::new("memory").await;
    bed.set("LOG", "warn");
    campaign(&mut bed, &simulator, fast()).await.1
}

/// What a tenant that allows `rate` a second did to a campaign that was told `told`: the least time that the requests need,
/// the time they took, all of them, and those refused.
async fn under_a_limit(users: u32, limit: RateLimit, told: u32) -> (f64, f64, u64, u64) {
    let (rate, burst) = (limit.per_second, f64::from(limit.burst));
    let faults = Faults { rate_limit: Some(limit), ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(users).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("limited").await;
    bed.set("LOG", "warn");
    let extra = json!({"rateLimit": {"requestsPerSecond": told, "burst": told, "maxConcurrentRequests": 8}});
    let (took, _) = campaign(&mut bed, &simulator, extra).await;
    let counters = simulator.counters();
    let (all, refused) = (counters.total(), counters.with_status(429));
    (((all - refused) as f64 - burst) / rate, took.as_secs_f64(), all, refused)
}

fn limit(per_second: u32, retry_after: RetryAfter) -> RateLimit {
    RateLimit { per_second: per_second.into(), burst: per_second, retry_after }
}

/// Tenants whose limit is configured: how close to the least possible time, how many refusals?
async fn limited() {
    println!("\n## Under a limit that is known (aim: at most 1.02 of the least time, 0.1 % refused)\n");
    println!(
        "| limit /s | accounts | requests | least time s | took s | ratio | 429s |\n|---|---|---|---|---|---|---|"
    );
    for (rate, users) in [(10, 1_000), (50, 3_000), (100, 6_000)] {
        let (least, took, all, refused) = under_a_limit(users, limit(rate, RetryAfter::Honest), rate).await;
        println!("| {rate} | {users} | {all} | {least:.1} | {took:.1} | {:.3} | {refused} |", took / least);
    }
}

/// A tenant whose limit only its refusals tell.
async fn unknown() {
    const USERS: u32 = 3_000;
    println!("\n## Under a limit of 50/s, told 200/s (aim: at most 1.10 of the least time, 2 % refused)\n");
    println!("| Retry-After | requests | least time s | took s | ratio | 429s |\n|---|---|---|---|---|---|");
    for (named, retry_after) in [("1", RetryAfter::Honest), ("none", RetryAfter::Absent)] {
        let (least, took, all, refused) = under_a_limit(USERS, limit(50, retry_after), 200).await;
        let (ratio, share) = (took / least, 100.0 * refused as f64 / all as f64);
        println!("| {named} | {all} | {least:.1} | {took:.1} | {ratio:.3} | {refused} ({share:.2} %) |");
    }
}

/// A limit that changes in the midst of a campaign: what part of it is used half a minute later?
async fn steps() {
    const WINDOW: Duration = Duration::from_secs(30);
    println!("\n## A limit that changes, 30 s later (aim: at least 95 % of it is used)\n");
    println!("| from /s | to /s | used | 429s in the meantime |\n|---|---|---|---|");
    let faults = |rate| Faults { rate_limit: Some(limit(rate, RetryAfter::Honest)), ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(20_000).faults(faults(50))).await.expect("a simulator");
    let mut bed = Bed::new("steps").await;
    bed.set("LOG", "warn");
    bed.start().await;
    let told = json!({"rateLimit": {"requestsPerSecond": 200, "burst": 200, "maxConcurrentRequests": 8}});
    bed.monocloud("monocloud", &simulator, told).await;
    bed.policy("campaign", everybody("Compliance")).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    for (from, to) in [(50, 25), (25, 50), (50, 100)] {
        simulator.set(faults(to));
        let good = || simulator.counters().total() - simulator.counters().with_status(429);
        let refused = simulator.counters().with_status(429);
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (before, begin) = (good(), Instant::now());
        tokio::time::sleep(WINDOW).await;
        let used = (good() - before) as f64 / begin.elapsed().as_secs_f64() / f64::from(to);
        println!("| {from} | {to} | {used:.3} | {} |", simulator.counters().with_status(429) - refused);
    }
}

fn everybody(reason: &str) -> serde_json::Value {
    json!({"mode": "Enforce", "reason": {"type": reason}, "requirement": {"passwordChangedAfter": cutoff()},
        "targets": [{"name": "all", "providerRef": {"name": "monocloud"}, "scope": "Tenant"}]})
}

/// Ten people beside a million on one tenant at the default rate.
async fn fair() {
    println!("\n## Ten people beside a million, 10 requests a second (aim: at most twice the time alone)\n");
    println!("| ten people | s |\n|---|---|");
    let simulator = MonoCloud::start(Options::ordinary(1_000_000)).await.expect("a simulator");
    let mut bed = Bed::new("fair").await;
    bed.set("LOG", "warn");
    bed.deadline = Duration::from_secs(600);
    bed.start().await;
    bed.monocloud("monocloud", &simulator, json!({})).await;
    bed.provider_until("monocloud", "ready", |p| p.condition("Ready") == "True Verified").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut places = (900_000..).step_by(10);
    let mut took = Vec::new();
    for situation in ["alone, the bucket full", "alone, the bucket drained", "beside a million", "beside a million"] {
        if took.len() == 2 {
            bed.policy("million", everybody("Compliance")).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        let first = places.next().unwrap_or_default();
        let users: Vec<_> = (first..first + 10).map(|n| json!({"id": simulator.user_at(n).id})).collect();
        let name = format!("ten-{}", took.len());
        let begin = Instant::now();
        let mut spec = everybody("Compliance");
        spec["targets"][0] =
            json!({"name": "ten", "providerRef": {"name": "monocloud"}, "scope": "Selected", "users": users});
        bed.policy(&name, spec).await;
        bed.policy_until(&name, "ten required", |p| p.condition("Enforced").starts_with("True")).await;
        took.push(begin.elapsed().as_secs_f64());
        println!("| {situation} | {:.2} |", took[took.len() - 1]);
    }
    let beside = took[2].max(took[3]);
    println!(
        "\n{:.2} of the time with a drained bucket, {:.2} of that with a full one",
        beside / took[1],
        beside / took[0]
    );
}

/// Forced accounts per second beside a bare loop of the same HTTP client, in turn.
async fn throughput() {
    const USERS: u32 = 5_000;
    let mut ratios = Vec::new();
    println!("\n## Without a limit, {USERS} accounts, beside a bare loop of the same HTTP client\n");
    println!("| pair | operator /s | bare loop /s | ratio |\n|---|---|---|---|");
    for pair in 1..=PAIRS {
        let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
        let mut bed = Bed::new("throughput").await;
        bed.set("LOG", "warn");
        let extra = json!({"rateLimit": {"requestsPerSecond": 10000, "burst": 10000, "maxConcurrentRequests": 16}});
        let (took, _) = campaign(&mut bed, &simulator, extra).await;
        bed.kill();
        let operator = f64::from(USERS) / took.as_secs_f64();
        let bare = bare_loop(USERS).await;
        ratios.push(operator / bare);
        println!("| {pair} | {operator:.0} | {bare:.0} | {:.2} |", operator / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("\nmedian ratio {:.2} ({:.2} to {:.2})", ratios[PAIRS / 2], ratios[0], ratios[PAIRS - 1]);
}

/// One listing, then a write for each account, 16 at a time, checking each answer: the least that a script has to do.
async fn bare_loop(users: u32) -> f64 {
    use futures::StreamExt;
    let simulator = MonoCloud::start(Options::ordinary(users)).await.expect("a simulator");
    let (client, key) = (reqwest::Client::builder().build().expect("a client"), simulator.credentials().api_key);
    let begin = Instant::now();
    let mut ids = Vec::new();
    for page in 1.. {
        let url = format!("{}/api/users?page={page}&size=50&sort=creation_time:1", simulator.base_url());
        let answer = client.get(url).header("x-api-key", &key).send().await.expect("an answer");
        let rows: Vec<serde_json::Value> = answer.json().await.expect("rows");
        if rows.is_empty() {
            break; // one request more than the operator, which believes the pagination header
        }
        ids.extend(rows.iter().filter_map(|row| row["user_id"].as_str().map(str::to_owned)));
    }
    futures::stream::iter(&ids)
        .for_each_concurrent(16, |id| {
            let url = format!("{}/api/users/{id}/password/force_reset", simulator.base_url());
            let request = client.post(url).header("x-api-key", &key).header("content-length", 0);
            async move {
                let user: serde_json::Value = request.send().await.expect("an answer").json().await.expect("a user");
                assert_eq!(user["force_password_reset"], true);
            }
        })
        .await;
    f64::from(users) / begin.elapsed().as_secs_f64()
}
