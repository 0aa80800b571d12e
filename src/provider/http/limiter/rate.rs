//! How fast may requests follow each other, after what refusals have taught?
//!
//! The configured rate, until a 429 says that the tenant allows less. Then the rate rests at what is believed to be
//! allowed for [`REST`] seconds, and rises ever faster after that (a cubic, as TCP CUBIC does after a loss, RFC 9438), until
//! it is refused again or is the configured one: a limit that was raised is found within half a minute, and one that was
//! not is tested only now and then. What is believed is corrected at each refusal. While the rate rose, it is known to be
//! a little below. While it rested, the limit was passed all the time: it lies below the rate and not below what was
//! answered since the refusal before over the time that took (less is measured where the tenant's own bucket is small and
//! overflows in the pause), and the middle is taken.

use std::time::Duration;

use tokio::time::Instant;

/// The lowest rate that 429s can push the bucket to, in requests per second.
const FLOOR: f64 = 0.2;
/// What a 429 leaves of the rate where nothing was known of a limit.
const SHRINK: f64 = 0.7;
/// What it leaves of a rate that rose.
const BELOW: f64 = 0.9;
/// What it leaves of a rate that rested, at least and at most, whatever was measured.
const MEASURED: std::ops::RangeInclusive<f64> = 0.5..=0.95;
/// The share of a measured limit that is used.
const SHARE: f64 = 0.99;
/// Seconds of good answers for which the rate rests after a refusal.
const REST: f64 = 12.0;
/// Seconds after that in which it rises by [`RISE`] of what it was.
const TO_RISE: f64 = 18.0;
const RISE: f64 = 0.95;

/// The rate of a tenant.
#[derive(Debug)]
pub(super) struct Rate {
    configured: f64,
    /// What refusals have taught; `None` while the configured rate is allowed.
    learned: Option<Learned>,
    answered_at: Option<Instant>,
}

/// What is believed since the last refusal.
#[derive(Debug)]
struct Learned {
    allowed: f64,
    /// Seconds of good answers.
    age: f64,
    answered: f64,
}

impl Learned {
    fn rate(&self) -> f64 {
        let rising = (self.age - REST).max(0.0) / TO_RISE;
        self.allowed * (1.0 + RISE * rising.powi(3))
    }

    fn rests(&self) -> bool {
        self.age <= REST
    }
}

impl Rate {
    /// This rate, of which nothing is known yet.
    pub(super) fn new(configured: f64) -> Self {
        Self { configured, learned: None, answered_at: None }
    }

    /// The rate in force, in requests per second.
    pub(super) fn in_force(&self) -> f64 {
        self.learned.as_ref().map_or(f64::MAX, Learned::rate).min(self.configured)
    }

    /// Another rate is configured. What was learned is the tenant's and stays.
    pub(super) fn configure(&mut self, configured: f64) {
        self.configured = configured;
    }

    /// A request was answered at `now`.
    pub(super) fn answered(&mut self, now: Instant) {
        // Time in which nothing was asked shows nothing. A short pause that was asked for counts like a gap.
        let longest = (2.0 / self.in_force()).max(1.5);
        let passed = self.answered_at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64().min(longest));
        self.answered_at = Some(now);
        if let Some(learned) = &mut self.learned {
            learned.answered += 1.0;
            learned.age += passed;
        }
        if self.in_force() >= self.configured {
            self.learned = None;
        }
    }

    /// A request was refused for load at `now`, the first of those that were on the way together.
    pub(super) fn refused(&mut self, now: Instant) {
        let rate = self.in_force();
        let allowed = match &self.learned {
            None => rate * SHRINK,
            Some(learned) if learned.rests() => {
                let measured = if learned.age > 0.0 { SHARE * learned.answered / learned.age } else { 0.0 };
                ((measured + rate) / 2.0).clamp(MEASURED.start() * rate, MEASURED.end() * rate)
            }
            Some(_) => rate * BELOW,
        };
        let allowed = allowed.max(FLOOR.min(self.configured));
        self.learned = Some(Learned { allowed, age: 0.0, answered: 0.0 });
        self.answered_at = Some(now);
    }

    /// How long the gap is after so many requests.
    pub(super) fn time_for(&self, requests: f64) -> Duration {
        Duration::from_secs_f64(requests / self.in_force())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs_f64(seconds)
    }

    /// Answers `n` requests, as fast as the rate allows, from `now` on. Returns when the last was answered.
    fn answer(rate: &mut Rate, n: u32, mut now: f64) -> f64 {
        for _ in 0..n {
            now += 1.0 / rate.in_force();
            rate.answered(at(now));
        }
        now
    }

    #[test]
    fn nothing_is_above_the_configured_rate() {
        let mut rate = Rate::new(10.0);
        answer(&mut rate, 1000, 0.0);
        assert_eq!(rate.in_force(), 10.0);
    }

    #[test]
    fn the_first_refusal_takes_a_part_and_the_next_ones_close_in_on_what_is_allowed() {
        let mut rate = Rate::new(100.0);
        answer(&mut rate, 50, 0.0);
        rate.refused(at(1.0));
        assert!((rate.in_force() - 70.0).abs() < 1e-9, "{}", rate.in_force());
        // The tenant allows 50 a second: in a pause of a second and a second of work it answers a hundred.
        (1..=100).for_each(|i| rate.answered(at(2.0 + 0.01 * f64::from(i))));
        rate.refused(at(3.0));
        assert!((rate.in_force() - (0.99 * 50.0 + 70.0) / 2.0).abs() < 0.5, "{}", rate.in_force());
    }

    #[test]
    fn it_rests_and_then_rises_to_almost_twice_within_half_a_minute() {
        let mut rate = Rate::new(1000.0);
        rate.learned = Some(Learned { allowed: 50.0, age: 0.0, answered: 0.0 });
        rate.answered(at(0.0));
        let mut now = 0.0;
        let mut until = |seconds: f64| {
            while now < seconds {
                now = answer(&mut rate, 1, now);
            }
            rate.in_force() / 50.0
        };
        assert_eq!(until(11.9), 1.0);
        assert!((1.0..1.02).contains(&until(16.0)), "slowly at first");
        assert!(until(30.0) >= 1.9);
        rate.refused(at(30.0));
        assert!((1.7..1.8).contains(&(rate.in_force() / 50.0)), "below where it was refused");
    }

    #[test]
    fn refusals_without_an_answer_lead_to_the_floor_and_answers_to_the_configured_rate_again() {
        let mut rate = Rate::new(10.0);
        (0..20).for_each(|i| rate.refused(at(f64::from(i))));
        assert_eq!(rate.in_force(), FLOOR);
        answer(&mut rate, 400, 20.0);
        assert_eq!(rate.in_force(), 10.0);
        let mut slow = Rate::new(0.1);
        slow.refused(at(0.0));
        assert!(slow.in_force() <= 0.1, "a configured rate below the floor is not raised to it");
    }

    #[test]
    fn time_in_which_nothing_is_asked_teaches_nothing() {
        let mut rate = Rate::new(100.0);
        rate.refused(at(0.0));
        answer(&mut rate, 10, 0.0);
        let before = rate.in_force();
        rate.answered(at(3600.0));
        assert!(rate.in_force() <= 1.1 * before);
        rate.refused(at(3600.1));
        let after = rate.in_force();
        assert!(after > 0.05 * before, "an hour without requests is no sign of a low limit: {after}");
    }

    #[test]
    fn another_configured_rate_changes_nothing_in_what_was_learned() {
        let mut rate = Rate::new(100.0);
        rate.refused(at(0.0));
        rate.configure(200.0);
        assert!((rate.in_force() - 70.0).abs() < 1e-9);
        rate.configure(20.0);
        assert_eq!(rate.in_force(), 20.0);
    }
}
