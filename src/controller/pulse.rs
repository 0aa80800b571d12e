//! Do the watches still hear from the API server?
//!
//! A watch that is dead without knowing it looks like one where nothing happens. Each watch therefore ends within a
//! minute and is begun anew, and every answer to it is noted here. The process counts as alive while the watch that has
//! heard nothing for the longest time is not silent for too long.
//!
//! It is not asked *why* a watch is silent. If our own end is stuck, a restart mends it; if the API server is away, the
//! restart costs little: the new process waits for the API server before its first watch, which counts as alive. So an
//! outage of any length costs one restart, and no crash loop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::locked;

/// The watches of this process; clones share them.
#[derive(Clone, Debug)]
pub struct Pulses(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    watches: Mutex<HashMap<u64, (&'static str, Arc<AtomicU64>)>>,
    next: AtomicU64,
}

/// The pulse of one watch. The watch counts until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    number: u64,
    heard: Arc<AtomicU64>,
    pulses: Pulses,
}

impl Default for Pulses {
    fn default() -> Self {
        Self(Arc::new(Shared { started: Instant::now(), watches: Mutex::default(), next: AtomicU64::new(0) }))
    }
}

impl Pulses {
    /// A watch of `kind` begins. It has as long as any other until its first answer.
    pub fn begin(&self, kind: &'static str) -> Pulse {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let heard = Arc::new(AtomicU64::new(self.now()));
        self.watches().insert(number, (kind, heard.clone()));
        Pulse(Arc::new(Registered { number, heard, pulses: self.clone() }))
    }

    /// The kind of the watch that has been silent for the longest time, and for how long, if that is longer than `limit`.
    pub fn silent(&self, limit: Duration) -> Option<(&'static str, Duration)> {
        let watches = self.watches();
        longest_silence(watches.values().map(|(kind, heard)| (*kind, heard.load(Ordering::Relaxed))), self.now(), limit)
    }

    /// Milliseconds since the process started, by a clock that only goes forward.
    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn watches(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (&'static str, Arc<AtomicU64>)>> {
        locked(&self.0.watches)
    }
}

/// The longest silence over `limit` among watches of (kind, milliseconds of the last answer).
fn longest_silence(
    watches: impl Iterator<Item = (&'static str, u64)>,
    now: u64,
    limit: Duration,
) -> Option<(&'static str, Duration)> {
    let silent = watches.map(|(kind, heard)| (kind, Duration::from_millis(now.saturating_sub(heard))));
    silent.filter(|(_, silence)| *silence > limit).max_by_key(|(_, silence)| *silence)
}

impl Pulse {
    /// The API server has answered.
    pub fn beat(&self) {
        self.0.heard.store(self.0.pulses.now(), Ordering::Relaxed);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.pulses.watches().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(110);

    #[test]
    fn one_silent_watch_is_enough_and_the_longest_silence_is_told() {
        let watches = [("policies", 100_000), ("providers", 40_000), ("secrets", 30_000)];
        assert_eq!(longest_silence(watches.into_iter(), 140_000, LIMIT), None, "exactly the limit is not over it");
        let silent = longest_silence(watches.into_iter(), 151_000, LIMIT);
        assert_eq!(silent, Some(("secrets", Duration::from_secs(121))));
        assert_eq!(longest_silence([].into_iter(), u64::MAX, LIMIT), None, "without a watch nothing is silent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_counts_from_its_beginning_to_its_end() {
        let pulses = Pulses::default();
        tokio::time::advance(Duration::from_secs(500)).await;
        let (one, other) = (pulses.begin("policies"), pulses.begin("secrets"));
        assert_eq!(pulses.silent(LIMIT), None, "time before it began does not count");
        tokio::time::advance(Duration::from_secs(100)).await;
        one.beat();
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(pulses.silent(LIMIT), Some(("secrets", Duration::from_secs(120))));
        let clone = other.clone();
        drop(other);
        assert!(pulses.silent(LIMIT).is_some(), "a clone is still at work");
        drop(clone);
        assert_eq!(pulses.silent(LIMIT), None);
    }
}
