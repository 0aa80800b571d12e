//! What no list of points names: pairs of faults, and random days. Each campaign comes from a seed, and `SEED` plays one again.
//!
//! Beside the campaigns one operator lives through all of it, at five faults in a hundred calls: its memory, its descriptors
//! and its threads must not grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::json;
use testbed::proxy::{Action, Answer, Phase, Rule};
use tokio::sync::RwLock;

use crate::bed::{self, Bed};
use crate::campaign::{self, Beds, Campaign, LONG_SETTLE_SECONDS};
use crate::dice::Dice;
use crate::points::{KUBERNETES, Trouble};
use crate::run::run;
use crate::site::Act;
use crate::site::Site;
use crate::tenant::Vendor;

/// Campaigns at a time.
const AT_ONCE: usize = 4;
/// Eight pages of five.
const PEOPLE: usize = 40;
/// The operator that lives through all of it has tenants of so many people.
const CROWD: usize = 60;
/// Looks at the end of a campaign that must find nothing to do.
const LOOKS: usize = 3;
/// A campaign that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(400);
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// What memory may differ by between the first third and the last, besides a tenth of it: pages of freed memory stay a while.
const NOISE_KILOBYTES: u64 = 4096;
const NOISE_DESCRIPTORS: u64 = 8;

impl Dice {
    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Faults of pairs that were set, and those that a call met.
static FAULTS: AtomicU64 = AtomicU64::new(0);
static STRUCK: AtomicU64 = AtomicU64::new(0);

/// While the API server restarts no other campaign runs.
static API_SERVER: RwLock<()> = RwLock::const_new(());

/// Runs campaigns until the time is over, or the one of `SEED`. Panics when one of them goes wrong.
pub async fn soak() {
    let minutes: u64 = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let beds = Arc::new(Beds::default());
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        let (what, problems, log) = campaign(seed, &calls(&beds).await, &beds).await;
        println!("{log}\nseed {seed}: {what}\n{}", problems.join("\n"));
        assert!(problems.is_empty(), "seed {seed} failed");
        return;
    }
    let calls = Arc::new(calls(&beds).await);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let first = jiff::Timestamp::now().as_second() as u64 * 1000;
    println!("soak: {minutes} min, seeds from {first}");
    let next = AtomicU64::new(first);
    let seeds = futures::stream::iter(std::iter::from_fn(|| {
        (Instant::now() < end).then(|| next.fetch_add(1, Ordering::SeqCst))
    }));
    let campaigns = seeds
        .map(|seed| {
            let (beds, calls) = (beds.clone(), calls.clone());
            async move {
                let run =
                    async move { tokio::time::timeout(LONGEST, campaign(seed, &calls, &beds)).await.expect("it ends") };
                let run = tokio::spawn(run).await;
                let (what, problems, log) =
                    run.unwrap_or_else(|panic| ("?".to_owned(), vec![panic.to_string()], String::new()));
                if !problems.is_empty() {
                    let lines: Vec<&str> = log.lines().collect();
                    let tail = lines[lines.len().saturating_sub(40)..].join("\n");
                    println!(
                        "FAILED seed {seed}: {what}\n  again: SEED={seed} make soak\n  {}\n{tail}",
                        problems.join("\n  ")
                    );
                }
                (seed, what, problems.is_empty())
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<(u64, String, bool)>>();
    let (campaigns, samples) = tokio::join!(campaigns, live_through(end, first));
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (_, what, good) in &campaigns {
        let kind = kinds.entry(what.split(':').next().unwrap_or_default()).or_default();
        if *good { kind.0 += 1 } else { kind.1 += 1 }
    }
    println!("soak: {} campaigns in {minutes} min", campaigns.len());
    for (kind, (good, bad)) in kinds {
        println!("  {kind:<24} {good} ok, {bad} failed");
    }
    let (faults, struck) = (FAULTS.load(Ordering::SeqCst), STRUCK.load(Ordering::SeqCst));
    println!("  {struck} of the {faults} faults of pairs were met by a call");
    assert!(2 * struck >= faults, "most faults of pairs were met by no call");
    let grown = told(&samples);
    let failed: Vec<u64> = campaigns.iter().filter(|(_, _, good)| !good).map(|(seed, _, _)| *seed).collect();
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
    assert!(grown.is_empty(), "the operator that lived through it has grown: {grown:?}");
}

/// How many calls a campaign without a fault makes to one proxy.
struct Calls {
    vendor: Vendor,
    proxy: &'static str,
    number: u64,
}

/// Found out by one campaign of each provider.
async fn calls(beds: &Beds) -> Vec<Calls> {
    let mut calls = Vec::new();
    for vendor in [Vendor::PingOne, Vendor::Looker, Vendor::MonoCloud, Vendor::Keycloak] {
        let reference = run(vendor, None, beds).await;
        assert!(reference.problems.is_empty(), "{vendor:?}, without a fault: {:#?}", reference.problems);
        let of_proxy = |(proxy, records): (_, Vec<_>)| Calls { vendor, proxy, number: records.len() as u64 };
        calls.extend(reference.records.into_iter().map(of_proxy));
    }
    calls
}

/// One campaign: what it was, what was wrong, and the operator's log.
async fn campaign(seed: u64, calls: &[Calls], beds: &Beds) -> (String, Vec<String>, String) {
    let mut dice = Dice(seed);
    let vendor = dice.one_of(&[
        Vendor::PingOne,
        Vendor::PingOne,
        Vendor::Looker,
        Vendor::Looker,
        Vendor::MonoCloud,
        Vendor::MonoCloud,
        Vendor::Keycloak,
    ]);
    if dice.below(2) == 0 { pair(vendor, dice, calls, beds).await } else { day(vendor, dice, beds).await }
}

/// Two faults in a row: the second one meets the operator that recovers from the first.
async fn pair(vendor: Vendor, mut dice: Dice, calls: &[Calls], beds: &Beds) -> (String, Vec<String>, String) {
    let _others = API_SERVER.read().await;
    let mut campaign =
        Campaign::prepare(vendor, crate::site::USERS, LONG_SETTLE_SECONDS, campaign::bed(beds).await).await;
    let mut what = format!("pair {vendor:?}:");
    for turn in 1..=2 {
        let proxy = dice.one_of(&[KUBERNETES, "api", "api"]);
        let troubles = match proxy {
            KUBERNETES => Trouble::KILLS[..3].to_vec(),
            _ => [Trouble::KILLS, Trouble::BREAKS].concat(),
        };
        let of_proxy = calls.iter().find(|calls| calls.vendor == vendor && calls.proxy == proxy);
        // After the first fault there is less to do. In thousandths, so that a seed gives nearly the same call again.
        let last = of_proxy.expect("every provider has it").number / turn;
        let (trouble, nth) = (dice.one_of(&troubles), 1 + dice.below(1000) * last / 1000);
        what += &format!(" {proxy}#{nth} {}", trouble.name());
        campaign.proxy(proxy).rule(campaign.fault(trouble).nth(nth));
        if campaign.bed.operator().id().is_none() {
            campaign.bed.start().await;
        }
        let at_rest = campaign.rest(true).await;
        FAULTS.fetch_add(1, Ordering::SeqCst);
        if let Some(at_rest) = at_rest {
            let (problems, log) = campaign.end(at_rest, LOOKS, beds).await;
            return (what, problems, log);
        }
        STRUCK.fetch_add(1, Ordering::SeqCst);
        if trouble.kills() {
            campaign.nothing_on_the_wire().await;
        } else {
            campaign.pardon_what_people_do();
        }
        let on_the_wire = matches!(trouble, Trouble::KilledOnTheWire | Trouble::Late);
        campaign.people_act(dice.below(4), on_the_wire).await;
        if trouble.kills() {
            campaign.ready_for_the_next().await;
        }
    }
    // The third operator meets no fault, nor does one that lives.
    let rest = if campaign.bed.operator().id().is_none() {
        campaign.bed.start().await;
        campaign.rest(false).await.unwrap_or(Ok(()))
    } else {
        campaign.rest_by_itself().await
    };
    let (problems, log) = campaign.end(rest, LOOKS, beds).await;
    (what, problems, log)
}

/// Whatever may happen on a day, one thing after the other, and then a quiet evening.
async fn day(vendor: Vendor, mut dice: Dice, beds: &Beds) -> (String, Vec<String>, String) {
    let restarts_api_server = dice.below(12) == 0;
    let (_alone, _others) = if restarts_api_server {
        (Some(API_SERVER.write().await), None)
    } else {
        (None, Some(API_SERVER.read().await))
    };
    let mut campaign = Campaign::prepare(vendor, PEOPLE, 4, campaign::bed(beds).await).await;
    campaign.bed.lacks_rights();
    campaign.pardon_what_people_do();
    let rate = json!({"spec": {"rateLimit": {"requestsPerSecond": 25, "burst": 5, "maxConcurrentRequests": 4}}});
    campaign.bed.patch_provider(campaign::PROVIDER, rate).await;
    campaign.bed.start().await;
    let mut what = format!("day {vendor:?}:");
    let events = 4 + dice.below(8);
    for _ in 0..events {
        tokio::time::sleep(dice.milliseconds(50, 900)).await;
        let api = campaign.site.proxy("api");
        let kubernetes = campaign.bed.api_proxy();
        let some = 1 + dice.below(5);
        let answer = |status: u16, headers: Vec<(String, String)>| {
            Action::Answer(Answer { status, headers, body: Default::default() })
        };
        what += &match dice.below(12) {
            0 | 1 => {
                campaign.bed.operator().kill();
                campaign.nothing_on_the_wire().await;
                campaign.people_act(dice.below(4), false).await;
                campaign.ready_for_the_next().await;
                tokio::time::sleep(dice.milliseconds(1, 1500)).await;
                campaign.bed.start().await;
                " kill".to_owned()
            }
            2 => {
                api.rule(Rule::new(Phase::Before, answer(503, vec![])).first(some));
                format!(" {some}x503")
            }
            3 => {
                api.rule(Rule::new(Phase::AfterForward, answer(503, vec![])).first(some));
                format!(" {some}x503-applied")
            }
            4 => {
                let headers = vec![("retry-after".to_owned(), "1".to_owned())];
                api.rule(Rule::new(Phase::Before, answer(429, headers)).first(some));
                format!(" {some}x429")
            }
            5 => {
                api.rule(Rule::new(Phase::AfterForward, Action::Reset).first(some));
                format!(" {some}xlost")
            }
            6 => {
                api.rule(Rule::new(Phase::Before, Action::Delay(dice.milliseconds(100, 900))).first(some));
                format!(" {some}xslow")
            }
            7 => {
                kubernetes.reset_connections();
                " connections-reset".to_owned()
            }
            8 => {
                kubernetes.black_hole(true);
                tokio::time::sleep(dice.milliseconds(300, 2000)).await;
                kubernetes.black_hole(false);
                " black-hole".to_owned()
            }
            9 => {
                kubernetes
                    .rule(Rule::new(Phase::AfterForward, Action::Reset).matching(|c| c.method != "GET").first(some));
                format!(" {some}xkubernetes-lost")
            }
            10 => {
                kubernetes.rule(Rule::new(Phase::Before, answer(500, vec![])).first(some));
                format!(" {some}xkubernetes-500")
            }
            _ if restarts_api_server => {
                campaign.bed.plane.restart_api_server().await.expect("it starts again");
                " api-server-restart".to_owned()
            }
            _ => {
                let marked = campaign.marked().await;
                if let Some(person) = marked.into_iter().find(|person| !campaign.site.has_acted(person)) {
                    campaign.site.act(&person, Act::Complies).await;
                }
                " complies".to_owned()
            }
        };
    }
    campaign.clear_rules();
    campaign.look().await;
    let rest = campaign.rest(false).await.unwrap_or(Ok(()));
    let (problems, log) = campaign.end(rest, LOOKS, beds).await;
    (what, problems, log)
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    campaigns: u64,
    kilobytes: u64,
    descriptors: u64,
    threads: u64,
}

/// One operator, campaign after campaign, at five faults in a hundred calls, which come from the seed `first`.
async fn live_through(end: Instant, first: u64) -> Vec<Sample> {
    let began = Instant::now();
    let mut bed = Bed::new("soak").await;
    // An API server that has just begun does not know the Roles yet.
    bed.lacks_rights();
    bed.set("SETTLE_SECONDS", "4");
    bed.set("LOG", "warn");
    bed.start().await;
    let done = AtomicU64::new(0);
    let campaigns = async {
        let mut dice = Dice(first);
        while Instant::now() < end {
            let _served = API_SERVER.read().await;
            let vendor = dice.one_of(&[Vendor::MonoCloud, Vendor::PingOne, Vendor::Looker]);
            let name = format!("n{}", done.load(Ordering::SeqCst));
            let site = Site::open(vendor, CROWD).await;
            for (phase, action) in [(Phase::Before, Action::Reset), (Phase::AfterForward, Action::Reset)] {
                let seed = dice.next();
                let unlucky = move |call: &testbed::proxy::Call| Dice(seed ^ call.number).below(40) == 0;
                site.proxy("api").rule(Rule::new(phase, action).matching(unlucky));
            }
            let mut extra = bed::fast();
            bed::merge(&mut extra, json!({"probePeriodSeconds": 10}));
            site.connect(&bed, &name, extra).await;
            bed.policy(&name, site.tenant.policy(&name, json!({}))).await;
            bed.policy_until(&name, "everybody is required", |p| p.condition("Enforced").starts_with("True")).await;
            bed.delete_policy(&name).await;
            bed.delete_provider(&name).await;
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    let sampling = async {
        let mut samples = Vec::new();
        loop {
            tokio::time::sleep(SAMPLE_EVERY).await;
            let campaigns = done.load(Ordering::SeqCst);
            samples.extend(sample(&bed, began.elapsed(), campaigns));
            if Instant::now() > end {
                return samples;
            }
        }
    };
    let (samples, ()) = tokio::join!(sampling, campaigns);
    bed.operator().kill();
    samples
}

/// From proc(5).
fn sample(bed: &Bed, at: Duration, campaigns: u64) -> Option<Sample> {
    let process = bed.operator().id()?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count() as u64;
    Some(Sample { at, campaigns, kilobytes: field("VmRSS:")?, descriptors, threads: field("Threads:")? })
}

/// Prints the samples and says what has grown.
fn told(samples: &[Sample]) -> Vec<String> {
    println!("the operator that lived through it:\n  minute  campaigns  RSS kB  descriptors  threads");
    for sample in samples.iter().step_by((samples.len() / 12).max(1)) {
        println!(
            "  {:>6.1} {:>10} {:>7} {:>12} {:>8}",
            sample.at.as_secs_f64() / 60.0,
            sample.campaigns,
            sample.kilobytes,
            sample.descriptors,
            sample.threads
        );
    }
    let third = samples.len() / 3;
    if third < 3 {
        return Vec::new(); // too short to tell
    }
    let median = |part: &[Sample], of: fn(&Sample) -> u64| {
        let mut values: Vec<u64> = part.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    // The first third is for warming up: pools and buffers have their size after it.
    let (middle, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let mut grown = Vec::new();
    let mut compare = |name: &str, of: fn(&Sample) -> u64, noise: fn(u64) -> u64| {
        let (before, after) = (median(middle, of), median(last, of));
        if after > before + noise(before) {
            grown.push(format!("{name} from {before} to {after}"));
        }
    };
    compare("memory (kB)", |s| s.kilobytes, |before| before / 10 + NOISE_KILOBYTES);
    compare("descriptors", |s| s.descriptors, |_| NOISE_DESCRIPTORS);
    compare("threads", |s| s.threads, |_| 2);
    grown
}
