//! When is something looked at again?
//!
//! Periods with jitter that comes from a hash of the object's UID: spread over objects, the same for one object, so that
//! a test can tell it beforehand. Nothing waits in here; the results are durations and times for the caller.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::capabilities::Capabilities;
use crate::api::password_reset_policy::ReasonType;

/// How often counters alone may be written.
pub const COUNTERS_EVERY: Duration = Duration::from_secs(10);

/// When an object that may not be read is tried again: a grant raises no event.
pub const FORBIDDEN_RETRY: Duration = Duration::from_secs(30);

/// When a target that a human must correct is looked at again without an event: what has to change may be at the provider.
pub const STALLED_RETRY: Duration = Duration::from_secs(300);

/// When a target that stopped for a human `stops` times in a row is looked at again: after [`STALLED_RETRY`], doubling up to
/// its observe period or the provider's longest pause between probes, since each look may cost calls.
pub fn stalled_look(stops: u32, period: Duration, capabilities: &Capabilities) -> Duration {
    let first = STALLED_RETRY.as_secs();
    let longest = period.as_secs().min(capabilities.max_probe_period_seconds.into());
    Duration::from_secs(doubled(first, stops, longest.max(first)))
}

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

/// When a target is looked at again after `passes` passes in a row that left accounts to causes that may pass: ten seconds,
/// doubling up to its observe period.
pub fn retry_look(passes: u32, period: Duration) -> Duration {
    Duration::from_secs(doubled(10, passes, u64::MAX)).min(period)
}

/// How many requests a policy gets for each one that a policy for exercise gets, where both want the same tenant.
pub fn weight(reason: Option<ReasonType>) -> u32 {
    match reason {
        Some(ReasonType::Compromise) => 16,
        Some(ReasonType::SuspectedCompromise) => 8,
        Some(ReasonType::Compliance) | None => 4,
        Some(ReasonType::Hygiene) => 2,
        Some(ReasonType::Exercise) => 1,
    }
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
    f64::from(bits) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::capabilities::SAMPLE;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn the_setting_goes_before_the_providers_default() {
        assert_eq!(observe_period(Some(60), &SAMPLE), Duration::from_secs(60));
        for none in [None, Some(0), Some(-1)] {
            assert_eq!(observe_period(none, &SAMPLE), Duration::from_secs(86_400), "{none:?}");
        }
    }

    #[test]
    fn probes_double_up_to_the_providers_maximum() {
        let pauses: Vec<u64> = (1..=9).map(|failures| probe_pause(300, failures, &SAMPLE).as_secs()).collect();
        assert_eq!(pauses, [300, 600, 1200, 2400, 4800, 9600, 19_200, 21_600, 21_600]);
        assert_eq!(probe_pause(300, u32::MAX, &SAMPLE).as_secs(), 21_600);
    }

    #[test]
    fn whom_a_passing_cause_kept_from_being_required_is_tried_again_soon_and_then_less_often() {
        let period = Duration::from_secs(60);
        let pauses: Vec<u64> = [1, 2, 3, 4, u32::MAX].map(|passes| retry_look(passes, period).as_secs()).to_vec();
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_probe_period_above_the_maximum_is_kept() {
        assert_eq!(probe_pause(86_400, 5, &SAMPLE).as_secs(), 86_400);
    }

    #[test]
    fn the_worse_the_reason_the_more_requests_a_policy_gets() {
        use ReasonType::{Compliance, Compromise, Exercise, Hygiene, SuspectedCompromise};
        let reasons =
            [Some(Compromise), Some(SuspectedCompromise), Some(Compliance), None, Some(Hygiene), Some(Exercise)];
        assert_eq!(reasons.map(weight), [16, 8, 4, 4, 2, 1]);
    }

    #[test]
    fn one_object_has_one_time_and_several_are_spread() {
        let period = Duration::from_secs(1000);
        assert_eq!(next_look(period, "uid-1", at(0)), next_look(period, "uid-1", at(0)));
        let times: std::collections::BTreeSet<_> =
            (0..100).map(|n| next_look(period, &format!("uid-{n}"), at(0))).collect();
        assert!(times.len() > 90, "{}", times.len());
    }

    #[test]
    fn what_a_human_must_mend_is_looked_at_after_five_minutes_and_then_ever_less_often() {
        let (quarter, day) = (Duration::from_secs(900), Duration::from_secs(86_400));
        let longest = SAMPLE.max_probe_period_seconds.into();
        let look = |stops, period| stalled_look(stops, period, &SAMPLE);
        let looks = |period| [1, 2, 3, 30].map(|stops| look(stops, period).as_secs());
        assert_eq!(looks(quarter), [300, 600, 900, 900]);
        assert_eq!(looks(day), [300, 600, 1200, longest]);
        assert_eq!(look(5, Duration::from_secs(10)), STALLED_RETRY, "a short period makes no more of them");
    }

    #[test]
    fn another_start_gives_another_first_look() {
        let period = Duration::from_secs(86_400);
        assert_ne!(first_look(period, "uid-1", at(0)), first_look(period, "uid-1", at(1)));
    }

    proptest! {
        #[test]
        fn looks_stay_within_ten_percent_of_the_period(seconds in 10_u64..604_800, uid in "[a-f0-9]{8}") {
            let period = Duration::from_secs(seconds);
            let after = until(next_look(period, &uid, at(0)), at(0));
            prop_assert!(after >= period.mul_f64(0.9) && after <= period.mul_f64(1.1));
            let first = until(first_look(period, &uid, at(0)), at(0));
            prop_assert!(first < period);
        }

        #[test]
        fn a_passing_error_is_tried_again_within_75_seconds(failures in any::<u32>(), uid in "[a-f0-9]{8}") {
            let pause = transient_pause(failures, &uid);
            let base = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(Duration::from_secs(60));
            prop_assert!(pause >= base && pause <= base.mul_f64(1.25), "{pause:?}");
        }
    }
}
