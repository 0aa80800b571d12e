//! How fast may this tenant be asked? One bucket for everybody who talks to it.
//!
//! A limiter belongs to a tenant, not to a client: several objects and several [`super::Http`] clients share one. It
//! must not know what is sent, and it never repeats anything.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The share of the allowed rate that is used. A server that counts with the same bucket then never says 429, although
/// requests do not arrive exactly as far apart as they were sent.
const SHARE: f64 = 0.99;
/// The lowest rate that 429s can push the bucket to, in requests per second.
const FLOOR: f64 = 0.2;
/// What a 429 leaves of the rate.
const SHRINK: f64 = 0.7;
/// Seconds of successful answers that bring the rate from nothing back to the configured one.
const RECOVERY_SECONDS: f64 = 60.0;
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

#[derive(Debug)]
struct State {
    limits: Limits,
    /// The rate in force: that of `limits`, less what 429s took away.
    rate: f64,
    /// What the bucket holds. A token is taken out when its request is *answered*, and those of requests on the way are
    /// spoken for: the server may count a request at any moment in between, and it must find a token whenever that is,
    /// also when many requests were held up and arrive together.
    tokens: f64,
    refilled: Instant,
    recovered: Instant,
    in_flight: u32,
    blocked_until: Option<Instant>,
    next_pause: Duration,
    /// Requests admitted before this moment belong to an episode of throttling that has been counted.
    throttled_at: Option<Instant>,
}

impl State {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.limits.capacity());
        self.refilled = self.refilled.max(now);
    }

    fn blocked_for(&self, now: Instant) -> Option<Duration> {
        self.blocked_until.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }
}

/// A token bucket with a bound on concurrent requests and a pause for the whole tenant. First come, first served.
#[derive(Debug)]
pub struct Limiter {
    /// Held by the one request that waits for its token or slot; the others queue here in order.
    turn: tokio::sync::Mutex<()>,
    changed: Notify,
    state: Mutex<State>,
}

/// What became of an admitted request, as far as the limiter cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer that is no refusal for load.
    Answered,
    /// 429, with the pause that the answer names.
    Throttled(Option<Duration>),
    /// The server is busy and names a pause (503 with `Retry-After`).
    Busy(Duration),
    /// Never sent: it costs no token.
    NotSent,
    /// No answer, or one that only says that the server failed.
    Lost,
}

/// The right to send one request. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    admitted: Instant,
    /// Whether the request takes a token out of the bucket; not where it was never sent or is refused for load.
    counts: bool,
}

impl Limiter {
    /// A full bucket with these limits.
    pub fn new(limits: Limits) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            turn: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            state: Mutex::new(State {
                limits,
                rate: limits.rate(),
                tokens: limits.capacity(),
                refilled: now,
                recovered: now,
                in_flight: 0,
                blocked_until: None,
                next_pause: FIRST_PAUSE,
                throttled_at: None,
            }),
        })
    }

    /// Puts other limits in force, for requests that already wait too. What 429s took away stays away in proportion.
    pub fn set_limits(&self, limits: Limits) {
        {
            let mut state = self.state();
            if state.limits == limits {
                return;
            }
            let now = Instant::now();
            state.refill(now);
            let share = (state.rate / state.limits.rate()).min(1.0);
            state.rate = limits.rate() * share;
            state.limits = limits;
            state.tokens = state.tokens.min(limits.capacity());
        }
        self.changed.notify_one();
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.state().limits
    }

    /// How long the whole tenant still has to pause; `None` when it does not.
    pub fn blocked_for(&self) -> Option<Duration> {
        self.state().blocked_for(Instant::now())
    }

    /// Lets the whole tenant pause, as an answer's *body* asked for (a header is obeyed without help). A longer pause
    /// that is under way stays.
    pub fn block_for(&self, pause: Duration) {
        Self::pause(&mut self.state(), Instant::now() + pause);
    }

    /// Waits for a token and a slot.
    ///
    /// *Errors*: how long the tenant has to pause still, when that is longer than `patience`.
    pub(super) async fn acquire(self: &Arc<Self>, patience: Duration) -> Result<Permit, Duration> {
        let _turn = self.turn.lock().await;
        loop {
            let until = {
                let mut state = self.state();
                let now = Instant::now();
                state.refill(now);
                if let Some(rest) = state.blocked_for(now) {
                    if rest > patience {
                        return Err(rest);
                    }
                    Some(now + rest)
                } else if state.in_flight >= state.limits.max_concurrent_requests.max(1) {
                    None
                } else {
                    let needed = f64::from(state.in_flight) + 1.0;
                    if state.tokens >= needed {
                        state.in_flight += 1;
                        return Ok(Permit { limiter: self.clone(), admitted: now, counts: true });
                    }
                    let enough_in = Duration::from_secs_f64((needed - state.tokens) / state.rate).max(TICK);
                    (needed <= state.limits.capacity()).then(|| now + enough_in)
                }
            };
            match until {
                Some(until) => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    fn settle(&self, admitted: Instant, outcome: Outcome) {
        let mut state = self.state();
        let now = Instant::now();
        state.refill(now);
        match outcome {
            Outcome::Answered => {
                state.next_pause = FIRST_PAUSE;
                let configured = state.limits.rate();
                let passed = now.saturating_duration_since(state.recovered).as_secs_f64().min(1.0);
                state.rate = (state.rate + configured * passed / RECOVERY_SECONDS).min(configured);
                state.recovered = now;
            }
            Outcome::Throttled(named) => {
                let counted = state.throttled_at.is_some_and(|at| admitted <= at);
                let pause = named.unwrap_or(state.next_pause);
                if !counted {
                    let configured = state.limits.rate();
                    state.rate = (state.rate * SHRINK).max(FLOOR.min(configured));
                    state.throttled_at = Some(now);
                    state.recovered = now;
                    if named.is_none() {
                        state.next_pause = (state.next_pause * 2).min(LONGEST_PAUSE);
                    }
                }
                if !counted || named.is_some() {
                    Self::pause(&mut state, now + pause);
                }
            }
            Outcome::Busy(pause) => Self::pause(&mut state, now + pause),
            Outcome::NotSent | Outcome::Lost => {}
        }
    }

    /// After a pause the bucket is empty: a burst right then would only be refused again.
    fn pause(state: &mut State, until: Instant) {
        let until = state.blocked_until.map_or(until, |old| old.max(until));
        state.blocked_until = Some(until);
        state.tokens = 0.0;
        state.refilled = until;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Permit {
    /// Says what became of the request and frees its slot.
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.counts = !matches!(outcome, Outcome::NotSent | Outcome::Throttled(_));
        self.limiter.settle(self.admitted, outcome);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.limiter.state();
            state.refill(Instant::now());
            state.in_flight = state.in_flight.saturating_sub(1);
            if self.counts {
                // Below zero only after a pause, which has emptied the bucket already.
                state.tokens = (state.tokens - 1.0).max(0.0);
            }
        }
        self.limiter.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
