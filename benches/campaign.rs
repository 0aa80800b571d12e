//! How fast, how small, how polite is a whole campaign? The real operator on a real API server against simulators.
//!
//! `make bench`. Prints a table; judges nothing, since wall time depends on the machine. Counts are asserted in tests.

#[path = "../tests/support/bed.rs"]
mod bed;
mod cold;
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
    if wanted("throughput") {
        throughput().await;
    }
}

async fn campaign(bed: &mut Bed, simulator: &Handle, extra: serde_json::Value) -> (Duration, u64) {
    bed.start().await;
    bed.monocloud("monocloud", simulator, extra).await;
    bed.provider_until("monocloud", "ready", |p| p.condition("Ready") == "True Verified").await;
    let begin = Instant::now();
    bed.policy(
        "campaign",
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
            "targets": [{"name": "all", "providerRef": {"name": "monocloud"}, "scope": "Tenant"}]}),
    )
    .await;
    bed.deadline = Duration::from_secs(3_600);
    bed.policy_until("campaign", "everybody required", |p| p.condition("Enforced").starts_with("True")).await;
    (begin.elapsed(), bed.operator_peak_kilobytes())
}

/// How much more memory do 100,000 accounts take than 1,000?
async fn memory() {
    println!("## Memory (VmHWM of the operator, MonoCloud, whole campaign)\n");
    println!("| accounts | kB |\n|---|---|");
    let mut peaks = Vec::new();
    for accounts in [1_000, 100_000] {
        let peak = peak(accounts).await;
        println!("| {accounts} | {peak} |");
        peaks.push(peak);
    }
    println!(
        "\n100,000 accounts take {} kB more than 1,000 (aim: at most 8,192).\n",
        peaks[1].saturating_sub(peaks[0])
    );
}

async fn peak(accounts: u32) -> u64 {
    let simulator = MonoCloud::start(Options::ordinary(accounts)).await.expect("a simulator");
    let mut bed = Bed::new("memory").await;
    bed.set("LOG", "warn");
    campaign(&mut bed, &simulator, fast()).await.1
}

/// A tenant that allows 50 requests a second: how close to the least possible time, how many refusals?
async fn limited() {
    const USERS: u32 = 1_000;
    let (rate, burst) = (50.0, 50);
    let limit = RateLimit { per_second: rate, burst, retry_after: RetryAfter::default() };
    let faults = Faults { rate_limit: Some(limit), ..Faults::default() };
    let simulator = MonoCloud::start(Options::ordinary(USERS).faults(faults)).await.expect("a simulator");
    let mut bed = Bed::new("limited").await;
    let extra = json!({"rateLimit": {"requestsPerSecond": 50, "burst": 50, "maxConcurrentRequests": 8}});
    let (took, _) = campaign(&mut bed, &simulator, extra).await;
    let counters = simulator.counters();
    let least = (counters.total() as f64 - f64::from(burst)) / rate;
    let refused = counters.with_status(429);
    println!("\n## Under a limit of 50/s (burst 50), {USERS} accounts\n");
    println!("| requests | least time s | took s | ratio | 429s |\n|---|---|---|---|---|");
    let took = took.as_secs_f64();
    println!("| {} | {least:.1} | {took:.1} | {:.3} | {refused} |", counters.total(), took / least);
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
