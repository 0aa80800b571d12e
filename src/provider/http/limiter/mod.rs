//! How hard may this tenant be pressed? One owner of that for everybody who talks to it.
//!
//! A limiter belongs to a tenant, not to a client: several objects and several [`super::Http`] clients share one. It
//! must not know what is sent, and it never repeats anything. What it decides is plain data over a moment:
//!
//! | file | question |
//! |---|---|
//! | `bucket` | may one more request be sent now? |
//! | `rate` | how fast, after what refusals have taught? |
//! | `lanes` | whose turn is it? |
//! | `breaker` | is the tenant there at all? |
//! | `budget` | how much may be spent on repeats? |
//!
//! This file waits and wakes, and decides nothing.

mod breaker;
mod bucket;
mod budget;
mod lanes;
mod rate;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use bucket::Limits;
pub use lanes::Lane;

use breaker::{Breaker, Sendable};
use bucket::{Bucket, Room};
use budget::Budget;
use lanes::{Lanes, Ticket};

use crate::provider::ProviderError;

/// For so long after its start a process sends nothing to any tenant, so that one that is killed or crashes at once, again
/// and again, never gets as far as asking for a token.
pub const QUIET_START: Duration = Duration::from_millis(500);
/// How far apart the requests of a policy are whose failures the budget does not cover.
const SLOW_PACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct State {
    bucket: Bucket,
    lanes: Lanes,
    breaker: Breaker<ProviderError>,
    budget: Budget,
    waiters: HashMap<Ticket, Arc<Notify>>,
}

/// Decides when a request may be sent, and whose.
#[derive(Debug)]
pub struct Limiter {
    state: Mutex<State>,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Work of the running task's lane.
    Work,
    /// A token: whoever asks for it, all need it, so it goes before all. Its answer may come from another host and shows
    /// nothing about the tenant; without it the tenant cannot be asked.
    Token,
}

/// What became of an admitted request, as far as the limiter cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer that is no refusal for load.
    Answered,
    /// 429, with the pause that the answer names.
    Throttled(Option<Duration>),
    /// Never sent: it costs no token.
    NotSent,
    /// No answer, or one that only says that the server failed, with the pause that it names.
    Failed(ProviderError, Option<Duration>),
}

/// Why a request may not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The tenant has asked for a pause that lasts so long still.
    Paused(Duration),
    /// The tenant is not there. It is asked again after so long, and failed last because of this.
    Absent(Duration, ProviderError),
}

/// The right to send one request. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    lane: Option<Lane>,
    purpose: Purpose,
    admitted: Instant,
    probe: bool,
    /// Whether the request takes a token out of the bucket; not where it was never sent or is refused for load.
    counts: bool,
}

/// What a waiting request has to do.
enum Step {
    Go { probe: bool },
    Refused(Refusal),
    Wait(Option<Instant>),
}

impl State {
    fn step(&mut self, ticket: Ticket, lane: Option<&Lane>, patience: Duration, now: Instant) -> Step {
        if let Sendable::Nothing(rest, cause) = self.breaker.sendable(now) {
            return Step::Refused(Refusal::Absent(rest, cause.clone()));
        }
        if let Some(rest) = self.bucket.paused_for(now) {
            return if rest > patience { Step::Refused(Refusal::Paused(rest)) } else { Step::Wait(Some(now + rest)) };
        }
        if self.lanes.next(now) != Some(ticket) {
            return Step::Wait(self.lanes.held_until(lane, now));
        }
        match self.bucket.room(now) {
            Room::Now => {}
            Room::At(then) => return Step::Wait(Some(then)),
            Room::AfterAnAnswer => return Step::Wait(None),
        }
        self.lanes.admit(lane, ticket, now);
        if let Some(lane) = lane.filter(|lane| self.lanes.is_slow(lane)) {
            self.lanes.slow_down(lane, now, now + SLOW_PACE);
        }
        self.bucket.sent();
        self.budget.earn();
        Step::Go { probe: self.breaker.sent() }
    }

    /// Has those looked at whose turn it may be now.
    fn wake(&self) {
        self.lanes.heads().filter_map(|ticket| self.waiters.get(&ticket)).for_each(|waiter| waiter.notify_one());
    }

    /// Has everybody looked at, since they may have to give up.
    fn wake_all(&self) {
        self.waiters.values().for_each(|waiter| waiter.notify_one());
    }

    /// Takes in how a request ended.
    fn settle(&mut self, permit: &Permit, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Answered => {
                // A token says nothing of the pace that the tenant bears.
                if permit.purpose == Purpose::Work {
                    self.bucket.answered(now);
                }
                self.answered(permit);
            }
            Outcome::Throttled(named) => {
                self.bucket.throttled(permit.admitted, named, now);
                self.answered(permit);
            }
            Outcome::NotSent => self.breaker.showed_nothing(permit.probe),
            Outcome::Failed(cause, pause) => {
                if let Some(pause) = pause {
                    self.bucket.pause(now + pause);
                }
                self.breaker.failed(permit.probe, now, cause);
                let covered = self.budget.draw();
                if let Some(lane) = permit.lane.as_ref().filter(|_| !covered) {
                    self.lanes.slow_down(lane, now, now + SLOW_PACE);
                }
            }
        }
    }

    fn answered(&mut self, permit: &Permit) {
        if permit.purpose == Purpose::Token {
            return self.breaker.showed_nothing(permit.probe);
        }
        self.breaker.answered();
        if let Some(lane) = &permit.lane {
            self.lanes.speed_up(lane);
        }
    }
}

impl Limiter {
    /// For a tenant of which nothing is known: with a full bucket.
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::of(Bucket::full(limits, Instant::now()), "")
    }

    /// For a tenant that another process may have pressed until this one started, at `started`: with what the bucket has
    /// gained since, and not before [`QUIET_START`] has passed. `tenant` sets its pauses apart from those of others.
    pub fn starting(limits: Limits, tenant: &str, started: Instant) -> Arc<Self> {
        Self::of(Bucket::filling(limits, started, started + QUIET_START), tenant)
    }

    fn of(bucket: Bucket, seed: &str) -> Arc<Self> {
        let (lanes, budget, waiters) = Default::default();
        Arc::new(Self { state: Mutex::new(State { bucket, lanes, breaker: Breaker::new(seed), budget, waiters }) })
    }

    /// Puts other limits in force, for requests that already wait too. What refusals have taught stays.
    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.state();
        if state.bucket.set_limits(limits, Instant::now()) {
            state.wake();
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.state().bucket.limits()
    }

    /// How many requests a second the running task's lane may expect to send: its share of the rate in force.
    pub fn pace(&self) -> f64 {
        let state = self.state();
        let share = Lane::current().map_or(1.0, |lane| state.lanes.share(&lane, Instant::now()));
        state.bucket.rate() * share
    }

    /// How long the whole tenant still has to pause; `None` when it does not.
    pub fn blocked_for(&self) -> Option<Duration> {
        self.state().bucket.paused_for(Instant::now())
    }

    /// Lets the whole tenant pause, as an answer's *body* asked for (a header is obeyed without help). A longer pause
    /// that is under way stays.
    pub fn block_for(&self, pause: Duration) {
        let mut state = self.state();
        state.bucket.pause(Instant::now() + pause);
        state.wake_all();
    }

    /// While nobody can reach the tenant: how long it is until one request may try again. `None` while it answers.
    pub fn absent_for(&self) -> Option<Duration> {
        self.state().breaker.probe_in(Instant::now())
    }

    /// Lets one request try at once whether a tenant that nobody can reach answers now, since it is asked in another way:
    /// with another credential, address or certificate.
    pub fn retry_now(&self) {
        self.state().breaker.retry_now(Instant::now());
    }

    /// Waits for this request's turn, its token and its slot.
    ///
    /// *Errors*: the tenant has asked for a pause that is longer than `patience`, or does not answer anybody.
    pub(super) async fn acquire(self: &Arc<Self>, purpose: Purpose, patience: Duration) -> Result<Permit, Refusal> {
        let lane = if purpose == Purpose::Token { None } else { Lane::current() };
        let waiting = Waiting::join(self, lane);
        loop {
            let now = Instant::now();
            let step = self.state().step(waiting.ticket, waiting.lane.as_ref(), patience, now);
            match step {
                Step::Go { probe } => {
                    let lane = waiting.lane.clone();
                    return Ok(Permit { limiter: self.clone(), lane, purpose, admitted: now, probe, counts: true });
                }
                Step::Refused(refusal) => return Err(refusal),
                Step::Wait(None) => waiting.changed.notified().await,
                Step::Wait(Some(until)) => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = waiting.changed.notified() => {}
                },
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place among those that wait. Dropping it gives the place up.
struct Waiting<'a> {
    limiter: &'a Limiter,
    lane: Option<Lane>,
    ticket: Ticket,
    changed: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn join(limiter: &'a Limiter, lane: Option<Lane>) -> Self {
        let mut state = limiter.state();
        let (ticket, changed) = (state.lanes.join(lane.as_ref()), Arc::new(Notify::new()));
        state.waiters.insert(ticket, changed.clone());
        drop(state);
        Self { limiter, lane, ticket, changed }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        state.waiters.remove(&self.ticket);
        state.lanes.leave(self.lane.as_ref(), self.ticket);
        state.wake();
    }
}

impl Permit {
    /// Says what became of the request and frees its slot.
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.counts = !matches!(outcome, Outcome::NotSent | Outcome::Throttled(_));
        let limiter = self.limiter.clone();
        let mut state = limiter.state();
        let now = Instant::now();
        state.settle(&self, outcome, now);
        // Whoever waits may have to give up.
        if state.bucket.paused_for(now).is_some() || state.breaker.probe_in(now).is_some() {
            state.wake_all();
        }
        self.probe = false;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        // A probe that nobody waited for any more.
        state.breaker.showed_nothing(self.probe);
        state.bucket.ended(self.counts, Instant::now());
        state.wake();
    }
}

#[cfg(test)]
mod tests;
