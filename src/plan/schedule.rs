//! When is something looked at again?
//!
//! Periods with jitter that comes from a hash of the object's UID: spread over objects, the same for one object, so that
//! a test can tell it beforehand. Nothing waits in here; the results are durations and times for the caller.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::capabilities::Capabilities;

/// How often counters alone may be written.
pub const COUNTERS_EVERY: Duration = Duration::from_secs(10);

/// When an object that may not be read is tried again: a grant raises no event.
pub const FORBIDDEN_RETRY: Duration = Duration::from_secs(30);

/// When a target that a human must correct is looked at again without an event: what has to change may be at the provider.
pub const STALLED_RETRY: Duration = Duration::from_secs(300);

/// How often pending people are looked at: the provider object's setting, else the provider's default.
pub fn observe_period(setting_seconds: Option<i32>, capabilities: &Capabilities) -> Duration {
    let seconds = setting_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| u64::from(capabilities.observe_period_seconds));
    Duration::from_secs(seconds)
}

/// When a settled target is looked at again: a period after `last` (the end of the last pass), ten percent more or less.
pub fn next_look(period: Duration, uid: &str, last: Timestamp) -> Timestamp {
    let jitter = period.mul_f64(0.9 + 0.2 * fraction(&[uid.as_bytes(), b"look"]));
    later(last, jitter)
}

/// When a settled target is first looked at by a process that started at `started`: after some part of the period, so
/// that a restart does not call every tenant at once.
pub fn first_look(period: Duration, uid: &str, started: Timestamp) -> Timestamp {
    let instant = started.as_nanosecond().to_be_bytes();
    later(started, period.mul_f64(fraction(&[uid.as_bytes(), b"start", &instant])))
}

/// The pause before the next probe of a provider that failed `failures` times in a row: the period, doubling up to the
/// provider's maximum (never below the period itself).
pub fn probe_pause(period_seconds: i32, failures: u32, capabilities: &Capabilities) -> Duration {
    let period = u64::try_from(period_seconds).unwrap_or(0).max(1);
    let max = u64::from(capabilities.max_probe_period_seconds).max(period);
    Duration::from_secs(doubled(period, failures, max))
}

/// The pause after `failures` passing errors in a row on one object: one second, doubling up to a minute, with up to a
/// quarter more by its UID.
pub fn transient_pause(failures: u32, uid: &str) -> Duration {
    let base = Duration::from_secs(doubled(1, failures, 60));
    base + base.mul_f64(0.25 * fraction(&[uid.as_bytes(), b"transient"]))
}

/// How long counters have still to wait, when they were last written at `written`. Zero when they may be written now.
pub fn counters_wait(written: Option<Timestamp>, now: Timestamp) -> Duration {
    written.map_or(Duration::ZERO, |written| {
        // A clock set back must not hold counters back for longer than one interval.
        let passed = Duration::try_from(now.duration_since(written)).unwrap_or(Duration::ZERO);
        COUNTERS_EVERY.saturating_sub(passed)
    })
}

/// How long it is from `now` until `then`; zero when that has passed.
pub fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// `base` times 2 to the power of (`failures` − 1), at most `max`.
fn doubled(base: u64, failures: u32, max: u64) -> u64 {
    let factor = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    base.saturating_mul(factor).min(max)
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// A number from 0 (included) to 1 (excluded) that depends on nothing but `parts`.
fn fraction(parts: &[&[u8]]) -> f64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
