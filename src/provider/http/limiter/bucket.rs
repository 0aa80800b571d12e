//! May one more request be sent now?
//!
//! A token bucket with a bound on requests on the way and pauses for the whole tenant. A token is taken out when its
//! request is *answered*, and those of requests on the way are spoken for: the server may count a request at any moment
//! in between, and it must find a token whenever that is, also when many requests were held up and arrive together.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::Rate;

/// The share of the allowed rate that is used. A server that counts with the same bucket then never says 429, although
/// requests do not arrive exactly as far apart as they were sent.
const SHARE: f64 = 0.99;
/// The timer's resolution. Waiting for less, as rounding can ask for, would be no wait at all.
const TICK: Duration = Duration::from_millis(1);
/// The first pause after a 429 that names none, and the longest of those that follow.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a tenant allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests per second; at least 0.01 is used.
    pub requests_per_second: f64,
    /// Requests that may be sent at once after a pause; at least 1 is used. No more than this may be unanswered either,
    /// so that a burst below rate × latency slows everything down.
    pub burst: u32,
    /// Requests that may be on the way at the same time; at least 1 is used.
    pub max_concurrent_requests: u32,
}

impl Limits {
    fn rate(&self) -> f64 {
        if self.requests_per_second.is_finite() { self.requests_per_second.max(0.01) * SHARE } else { 1.0 }
    }

    /// One token less than the server's bucket holds, which absorbs requests that arrive early.
    fn capacity(&self) -> f64 {
        f64::from(self.burst.saturating_sub(1).max(1))
    }
}

/// Whether there is room for one more request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Room {
    /// Now.
    Now,
    /// Then at the earliest.
    At(Instant),
    /// When one of those on the way has been answered.
    AfterAnAnswer,
}

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    limits: Limits,
    rate: Rate,
    tokens: f64,
    refilled: Instant,
    in_flight: u32,
    paused_until: Option<Instant>,
    next_pause: Duration,
    /// Refused, perhaps before this process began, and nothing answered since: one request at a time finds out whether
    /// that is over.
    refused: bool,
    /// Requests admitted before this moment belong to an episode of throttling that has been counted.
    throttled_at: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn full(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            rate: Rate::new(limits.rate()),
            tokens: limits.capacity(),
            refilled: now,
            in_flight: 0,
            paused_until: None,
            next_pause: FIRST_PAUSE,
            refused: false,
            throttled_at: None,
        }
    }

    /// A bucket that was empty at `since`, and from which nothing is taken before `until`. The tenant may have asked
    /// somebody else for a longer pause: one request finds out.
    pub(super) fn filling(limits: Limits, since: Instant, until: Instant) -> Self {
        Self { tokens: 0.0, paused_until: Some(until), refused: true, ..Self::full(limits, since) }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Puts other limits in force. Returns whether they are others.
    pub(super) fn set_limits(&mut self, limits: Limits, now: Instant) -> bool {
        if self.limits == limits {
            return false;
        }
        self.refill(now);
        self.rate.configure(limits.rate());
        self.tokens = self.tokens.min(limits.capacity());
        self.limits = limits;
        true
    }

    /// The rate in force, in requests per second.
    pub(super) fn rate(&self) -> f64 {
        self.rate.in_force()
    }

    /// How long the tenant still has to pause; `None` when it does not.
    pub(super) fn paused_for(&self, now: Instant) -> Option<Duration> {
        self.paused_until.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    /// Whether one more request may be sent, pauses apart.
    pub(super) fn room(&mut self, now: Instant) -> Room {
        self.refill(now);
        let most = if self.refused { 1 } else { self.limits.max_concurrent_requests.max(1) };
        if self.in_flight >= most {
            return Room::AfterAnAnswer;
        }
        let needed = f64::from(self.in_flight) + 1.0;
        if self.tokens >= needed {
            return Room::Now;
        }
        if needed > self.limits.capacity() {
            return Room::AfterAnAnswer;
        }
        Room::At(now + self.rate.time_for(needed - self.tokens).max(TICK))
    }

    /// A request is sent.
    pub(super) fn sent(&mut self) {
        self.in_flight += 1;
    }

    /// A request is no longer on the way. `counts`: it takes a token, since it was sent and not refused for load.
    pub(super) fn ended(&mut self, counts: bool, now: Instant) {
        self.refill(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        if counts {
            // Below zero only after a pause, which has emptied the bucket already.
            self.tokens = (self.tokens - 1.0).max(0.0);
        }
    }

    /// An answer came that is no refusal for load.
    pub(super) fn answered(&mut self, now: Instant) {
        self.refill(now);
        (self.next_pause, self.refused) = (FIRST_PAUSE, false);
        self.rate.answered(now);
    }

    /// A request that was sent at `sent` was refused for load, and this pause was named.
    pub(super) fn throttled(&mut self, sent: Instant, named: Option<Duration>, now: Instant) {
        let counted = self.throttled_at.is_some_and(|at| sent <= at);
        let pause = named.unwrap_or(self.next_pause);
        if !counted {
            self.refused = true;
            self.rate.refused(now);
            self.throttled_at = Some(now);
            if named.is_none() {
                self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
            }
        }
        if !counted || named.is_some() {
            self.pause(now + pause);
        }
    }

    /// Lets the tenant rest until then. After a pause the bucket is empty: a burst right then would only be refused.
    pub(super) fn pause(&mut self, until: Instant) {
        let until = self.paused_until.map_or(until, |old| old.max(until));
        self.paused_until = Some(until);
        self.tokens = 0.0;
        self.refilled = until;
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate.in_force()).min(self.limits.capacity());
        self.refilled = self.refilled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rate: f64, burst: u32, concurrent: u32) -> Limits {
        Limits { requests_per_second: rate, burst, max_concurrent_requests: concurrent }
    }

    fn at(seconds: f64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs_f64(seconds)
    }

    /// Sends and answers as many requests at `now` as there is room for.
    fn burst(bucket: &mut Bucket, now: Instant) -> u32 {
        let mut sent = 0;
        while bucket.paused_for(now).is_none() && bucket.room(now) == Room::Now {
            bucket.sent();
            bucket.answered(now);
            bucket.ended(true, now);
            sent += 1;
        }
        sent
    }

    #[test]
    fn after_a_long_sleep_of_the_whole_process_no_more_is_sent_than_the_bucket_holds() {
        let mut bucket = Bucket::full(limits(10.0, 10, 4), at(0.0));
        burst(&mut bucket, at(0.0));
        assert_eq!(burst(&mut bucket, at(86_400.0)), 9);
    }

    #[test]
    fn requests_that_were_on_the_way_while_the_process_slept_keep_their_tokens() {
        let mut bucket = Bucket::full(limits(10.0, 10, 4), at(0.0));
        for _ in 0..3 {
            assert_eq!(bucket.room(at(0.0)), Room::Now);
            bucket.sent();
        }
        let mut sent = 0;
        while bucket.room(at(300.0)) == Room::Now {
            bucket.sent();
            sent += 1;
        }
        assert_eq!(sent, 1, "four may be on the way");
        (0..4).for_each(|_| bucket.ended(true, at(300.0)));
        assert_eq!(burst(&mut bucket, at(300.0)), 5);
    }

    #[test]
    fn a_new_process_has_no_burst_that_the_one_before_may_have_had() {
        let mut bucket = Bucket::filling(limits(10.0, 10, 4), at(0.0), at(0.5));
        assert!(bucket.paused_for(at(0.4)).is_some());
        assert_eq!(burst(&mut bucket, at(0.4)), 0);
        assert_eq!(burst(&mut bucket, at(0.5)), 4, "what half a second brings");
        assert_eq!(burst(&mut bucket, at(10.0)), 9);
    }

    #[test]
    fn the_first_request_of_a_new_process_is_answered_before_a_second_is_sent() {
        let mut bucket = Bucket::filling(limits(10.0, 10, 4), at(0.0), at(0.5));
        assert_eq!(bucket.room(at(0.5)), Room::Now);
        bucket.sent();
        assert_eq!(bucket.room(at(0.6)), Room::AfterAnAnswer);
        bucket.answered(at(0.6));
        bucket.ended(true, at(0.6));
        assert_eq!(bucket.room(at(0.6)), Room::Now);
    }

    #[test]
    fn after_a_refusal_one_request_finds_out_whether_the_others_may_follow() {
        let mut bucket = Bucket::full(limits(100.0, 50, 8), at(0.0));
        bucket.sent();
        bucket.throttled(at(0.0), None, at(0.1));
        bucket.ended(false, at(0.1));
        assert_eq!(bucket.room(at(2.0)), Room::Now);
        bucket.sent();
        assert_eq!(bucket.room(at(2.5)), Room::AfterAnAnswer);
        bucket.answered(at(2.5));
        bucket.ended(true, at(2.5));
        bucket.sent();
        assert_eq!(bucket.room(at(2.5)), Room::Now);
    }

    #[test]
    fn senseless_limits_neither_divide_by_zero_nor_stop_for_ever() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut bucket = Bucket::full(limits(rate, 0, 0), at(0.0));
            assert_eq!(burst(&mut bucket, at(0.0)), 1, "{rate}");
            let Room::At(next) = bucket.room(at(0.0)) else { panic!("no time at {rate}") };
            assert!(next <= at(102.0), "{rate}");
        }
    }
}
