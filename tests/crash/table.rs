//! How did all points of a provider go? Runs them, a few at a time over all providers, and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::Semaphore;

use crate::campaign::Beds;
use crate::points::{self, Point, Trouble};
use crate::run::{Outcome, run};
use crate::tenant::Vendor;

/// Campaigns at a time: most of a campaign is waiting.
const AT_ONCE: usize = 20;
/// Fewer points than this, and something is not enumerated any more.
const FEWEST_KILLS: usize = 100;
const FEWEST_BREAKS: usize = 60;
/// Failures that are told at length.
const TOLD: usize = 5;
/// Lines of the operator's log that are told.
const LINES: usize = 60;

/// Runs every point of a provider. Panics when one of them goes wrong.
pub async fn enumerate(vendor: Vendor, troubles: &[Trouble]) {
    static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);
    let began = Instant::now();
    let beds = Arc::new(Beds::default());
    let recording = {
        let _place = PLACES.acquire().await.expect("it is never closed");
        run(vendor, None, &beds).await
    };
    assert!(recording.problems.is_empty(), "{vendor:?}, without a fault: {:#?}\n{}", recording.problems, recording.log);
    let points = points::of(vendor, &recording.records, troubles);
    let chosen = std::env::var("CRASH_POINT").is_ok();
    if !chosen {
        let fewest = if troubles[0].kills() { FEWEST_KILLS } else { FEWEST_BREAKS };
        assert!(points.len() >= fewest, "{vendor:?}: {} points, at least {fewest} are expected", points.len());
    }
    let results: Vec<(Point, Result<Outcome, String>)> = futures::stream::iter(points)
        .map(|point| (point, beds.clone()))
        .map(|(point, beds)| async move {
            let _place = PLACES.acquire().await.expect("it is never closed");
            let of_run = Arc::new(point.clone());
            let at_point = || {
                let (of_run, beds) = (of_run.clone(), beds.clone());
                // A task of its own: what panics there is this point's failure.
                tokio::spawn(async move { run(of_run.vendor, Some(&of_run), &beds).await })
            };
            let outcome = match at_point().await {
                // No two campaigns make their calls in quite the same order.
                Ok(outcome) if !outcome.reached && outcome.problems.is_empty() => at_point().await,
                outcome => outcome,
            };
            let outcome = outcome.map_err(|error| error.to_string());
            tell(&point, &outcome);
            (point, outcome)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let failures = results.iter().filter(|(_, result)| !is_good(result)).count();
    println!("{}", table(vendor, &results, troubles, began.elapsed()));
    assert!(failures == 0, "{vendor:?}: {failures} of {} points failed", results.len());
    if !chosen {
        let reached = reached(&results);
        assert!(reached * 100 >= results.len() * 95, "{vendor:?}: {reached} of {} points were reached", results.len());
        let pairs = |reached: bool| -> BTreeSet<(&str, &str, Trouble)> {
            let some = results.iter().filter(|(_, r)| !reached || r.as_ref().is_ok_and(|outcome| outcome.reached));
            some.map(|(point, _)| (point.proxy, point.template.as_str(), point.trouble)).collect()
        };
        let missed: Vec<_> = pairs(false).difference(&pairs(true)).copied().collect();
        assert!(missed.is_empty(), "{vendor:?}: no call of these kinds had this trouble: {missed:?}");
    }
}

fn reached(results: &[(Point, Result<Outcome, String>)]) -> usize {
    results.iter().filter(|(_, result)| result.as_ref().is_ok_and(|outcome| outcome.reached)).count()
}

fn is_good(result: &Result<Outcome, String>) -> bool {
    result.as_ref().is_ok_and(|outcome| outcome.problems.is_empty())
}

/// Tells of a failure as soon as it happens: the point, how to run it again, what is wrong and what the operator wrote.
fn tell(point: &Point, result: &Result<Outcome, String>) {
    static FAILURES: AtomicUsize = AtomicUsize::new(0);
    let (problems, log) = match result {
        Ok(outcome) if outcome.problems.is_empty() => return,
        Ok(outcome) => (outcome.problems.clone(), outcome.log.as_str()),
        Err(panic) => (vec![panic.clone()], ""),
    };
    let mut text = format!("FAILED {point}\n  again: CRASH_POINT='{point}' cargo test --test crash\n");
    if FAILURES.fetch_add(1, Ordering::SeqCst) < TOLD {
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LINES)..];
        let _ = writeln!(text, "  {}\n--- operator ---\n{}", problems.join("\n  "), tail.join("\n"));
    } else {
        let firsts: Vec<&str> = problems.iter().filter_map(|problem| problem.lines().next()).collect();
        let _ = writeln!(text, "  {}", firsts.join("\n  "));
    }
    println!("{text}");
}

/// How many points of a kind of call went well, went wrong, and were not reached, by trouble.
type Row = BTreeMap<Trouble, (usize, usize, usize)>;

/// Kinds of calls down, troubles across: how many went well of how many, and how many were not reached.
fn table(vendor: Vendor, results: &[(Point, Result<Outcome, String>)], troubles: &[Trouble], took: Duration) -> String {
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for (point, result) in results {
        let cell = rows.entry((point.proxy, &point.template)).or_default().entry(point.trouble).or_default();
        match result {
            Ok(outcome) if !outcome.reached => cell.2 += 1,
            Ok(outcome) if outcome.problems.is_empty() => cell.0 += 1,
            _ => cell.1 += 1,
        }
    }
    let restarts: Vec<f64> =
        results.iter().filter_map(|(_, r)| r.as_ref().ok()).map(|outcome| outcome.took.as_secs_f64()).collect();
    let mean = restarts.iter().sum::<f64>() / restarts.len().max(1) as f64;
    let slowest = restarts.iter().copied().fold(0.0, f64::max);
    let mut text = format!(
        "{vendor:?}: {} of {} points reached in {:.0} s; from restart to rest and one more look {mean:.1} s, at most \
         {slowest:.1} s\n",
        reached(results),
        results.len(),
        took.as_secs_f64()
    );
    let _ = write!(text, "  {:<72}", "call");
    for trouble in troubles {
        let _ = write!(text, " {:>19}", trouble.name());
    }
    for ((proxy, template), cells) in rows {
        let _ = write!(text, "\n  {:<72}", format!("{proxy} {template}"));
        for trouble in troubles {
            let cell = match cells.get(trouble) {
                None => "-".to_owned(),
                Some((good, 0, 0)) => format!("{good} ok"),
                Some((good, bad, missed)) => format!("{good} ok {bad} BAD {missed} not reached"),
            };
            let _ = write!(text, " {cell:>19}");
        }
    }
    text
}
