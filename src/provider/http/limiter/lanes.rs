//! Whose turn is it? Requests wait in lanes, one for each policy, and the lane that has had least for its weight is next.
//!
//! What a lane has had is the number of its requests that were admitted, where each counts less the longer ago it was
//! (time constant [`MEMORY`]). So a policy that comes new goes before one that has been busy for long, two that are busy
//! share by their weights, and nobody waits for ever: whoever waits is forgotten what he had. Calls that are nobody's,
//! the operator's own (probes, tokens), go before all.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// How long what a lane has had is remembered: after this time a request counts for a third.
const MEMORY: Duration = Duration::from_secs(10);
/// A lane that has had less than this, in requests, is as good as new and is forgotten.
const FORGOTTEN: f64 = 0.05;
/// A lane that has had less than this and does not wait takes part no longer.
const IDLE: f64 = 0.5;

tokio::task_local! {
    static CURRENT: Lane;
}

/// On whose behalf calls are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    name: Arc<str>,
    weight: u32,
}

impl Lane {
    /// The lane of the policy called `name`. A lane of weight 4 gets four requests for each one of a lane of weight 1.
    pub fn new(name: &str, weight: u32) -> Self {
        Self { name: name.into(), weight: weight.max(1) }
    }

    /// Does `work`, in which every call to any tenant is made on behalf of this lane. It holds for whatever `work` polls
    /// itself, not for tasks that it spawns.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The lane that the running task works for; `None` for the operator's own calls.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}

/// The place of one waiting request.
pub(super) type Ticket = u64;

/// The waiting requests of a tenant, and what each lane has had.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    issued: Ticket,
    own: VecDeque<Ticket>,
    waiting: BTreeMap<Arc<str>, Queue>,
    attained: HashMap<Arc<str>, Attained>,
    /// How many entries `attained` may have before those that are as good as new are forgotten.
    kept: usize,
}

#[derive(Debug)]
struct Queue {
    weight: u32,
    tickets: VecDeque<Ticket>,
}

#[derive(Debug)]
struct Attained {
    weight: u32,
    requests: f64,
    at: Instant,
    /// The lane's failures are not covered by the budget: it goes slowly until it has a good answer.
    slow: bool,
    held_until: Option<Instant>,
}

impl Attained {
    fn new(weight: u32, now: Instant) -> Self {
        Self { weight, requests: 0.0, at: now, slow: false, held_until: None }
    }

    fn now(&self, now: Instant) -> f64 {
        self.requests * (-now.saturating_duration_since(self.at).as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }
}

impl Lanes {
    /// Puts a request at the end of its lane.
    pub(super) fn join(&mut self, lane: Option<&Lane>) -> Ticket {
        self.issued += 1;
        match lane {
            None => self.own.push_back(self.issued),
            Some(lane) => {
                let new = || Queue { weight: lane.weight, tickets: VecDeque::new() };
                let queue = self.waiting.entry(lane.name.clone()).or_insert_with(new);
                queue.weight = lane.weight;
                queue.tickets.push_back(self.issued);
            }
        }
        self.issued
    }

    /// Takes a request out, wherever in its lane it stands.
    pub(super) fn leave(&mut self, lane: Option<&Lane>, ticket: Ticket) {
        let Some(lane) = lane else { return self.own.retain(|other| *other != ticket) };
        if let Some(queue) = self.waiting.get_mut(&lane.name) {
            queue.tickets.retain(|other| *other != ticket);
            if queue.tickets.is_empty() {
                self.waiting.remove(&lane.name);
            }
        }
    }

    /// Whose turn it is; `None` where nobody waits whose lane may go now.
    pub(super) fn next(&self, now: Instant) -> Option<Ticket> {
        if let Some(ticket) = self.own.front() {
            return Some(*ticket);
        }
        let may_go = self.waiting.iter().filter(|(name, _)| self.held(name, now).is_none());
        let ranked = may_go.filter_map(|(name, queue)| {
            let had = self.attained.get(name).map_or(0.0, |attained| attained.now(now));
            Some((had / f64::from(queue.weight), *queue.tickets.front()?))
        });
        ranked.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map(|(_, ticket)| ticket)
    }

    /// Takes a request out, since it is sent now, and counts it.
    pub(super) fn admit(&mut self, lane: Option<&Lane>, ticket: Ticket, now: Instant) {
        self.leave(lane, ticket);
        let Some(lane) = lane else { return };
        let attained = self.attained(lane, now);
        attained.requests = attained.now(now) + 1.0;
        (attained.at, attained.weight) = (now, lane.weight);
        self.forget(now);
    }

    /// The first request of each lane: those whose turn it may be.
    pub(super) fn heads(&self) -> impl Iterator<Item = Ticket> {
        let queues = self.waiting.values().filter_map(|queue| queue.tickets.front());
        self.own.front().into_iter().chain(queues).copied()
    }

    /// Lets a lane go slowly: not before `until`, and then one request at a time.
    pub(super) fn slow_down(&mut self, lane: &Lane, now: Instant, until: Instant) {
        let attained = self.attained(lane, now);
        attained.slow = true;
        attained.held_until = Some(until);
    }

    /// Lets a lane go as fast as it may.
    pub(super) fn speed_up(&mut self, lane: &Lane) {
        if let Some(attained) = self.attained.get_mut(&lane.name) {
            (attained.slow, attained.held_until) = (false, None);
        }
    }

    /// Whether a lane has to go slowly.
    pub(super) fn is_slow(&self, lane: &Lane) -> bool {
        self.attained.get(&lane.name).is_some_and(|attained| attained.slow)
    }

    /// Until when a lane may not go, where that lies ahead.
    pub(super) fn held_until(&self, lane: Option<&Lane>, now: Instant) -> Option<Instant> {
        lane.and_then(|lane| self.held(&lane.name, now))
    }

    /// The part of the tenant's rate that a lane may expect, from 0 (excluded) to 1: its weight among those that wait or
    /// have been busy lately.
    pub(super) fn share(&self, lane: &Lane, now: Instant) -> f64 {
        let waiting = self.waiting.iter().filter(|(name, _)| **name != lane.name).map(|(_, queue)| queue.weight);
        let busy = self.attained.iter().filter(|(name, attained)| {
            **name != lane.name && !self.waiting.contains_key(*name) && attained.now(now) >= IDLE
        });
        let others: f64 = waiting.chain(busy.map(|(_, attained)| attained.weight)).map(f64::from).sum();
        let own = f64::from(lane.weight);
        own / (own + others)
    }

    fn held(&self, name: &str, now: Instant) -> Option<Instant> {
        self.attained.get(name)?.held_until.filter(|until| *until > now)
    }

    fn attained(&mut self, lane: &Lane, now: Instant) -> &mut Attained {
        self.attained.entry(lane.name.clone()).or_insert_with(|| Attained::new(lane.weight, now))
    }

    /// Keeps the memory within twice of what is worth remembering.
    fn forget(&mut self, now: Instant) {
        if self.attained.len() > self.kept {
            self.attained.retain(|_, attained| attained.now(now) >= FORGOTTEN || attained.held_until > Some(now));
            self.kept = 2 * self.attained.len() + 16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        // One start for all, so that differences are exact.
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_millis(milliseconds)
    }

    /// Admits `n` requests, ten a second from `from` on, while each of `lanes` always has one waiting, and counts whose.
    fn admit(lanes: &mut Lanes, busy: &[&Lane], from: u64, n: u64) -> Vec<u64> {
        let mut tickets: Vec<Ticket> = busy.iter().map(|lane| lanes.join(Some(lane))).collect();
        let mut admitted = vec![0; busy.len()];
        for i in 0..n {
            let now = at(from + 100 * i);
            let next = lanes.next(now).expect("somebody waits");
            let whose = tickets.iter().position(|ticket| *ticket == next).expect("a ticket of ours");
            lanes.admit(Some(busy[whose]), next, now);
            tickets[whose] = lanes.join(Some(busy[whose]));
            admitted[whose] += 1;
        }
        busy.iter().zip(tickets).for_each(|(lane, ticket)| lanes.leave(Some(lane), ticket));
        admitted
    }

    #[test]
    fn within_a_lane_who_came_first_goes_first() {
        let (mut lanes, lane) = (Lanes::default(), Lane::new("a", 1));
        let tickets: Vec<Ticket> = (0..5).map(|_| lanes.join(Some(&lane))).collect();
        for ticket in tickets {
            assert_eq!(lanes.next(at(0)), Some(ticket));
            lanes.admit(Some(&lane), ticket, at(0));
        }
        assert_eq!(lanes.next(at(0)), None);
    }

    #[test]
    fn lanes_that_are_busy_share_by_their_weights() {
        let (urgent, other, exercise) = (Lane::new("a", 16), Lane::new("b", 4), Lane::new("c", 1));
        let admitted = admit(&mut Lanes::default(), &[&urgent, &other, &exercise], 0, 2100);
        for (admitted, expected) in admitted.iter().zip([1600, 400, 100]) {
            assert!(admitted.abs_diff(expected) <= expected / 10, "{admitted:?} instead of {expected}");
        }
    }

    #[test]
    fn a_lane_that_comes_new_goes_before_one_that_was_busy_for_long() {
        let mut lanes = Lanes::default();
        let (large, small) = (Lane::new("large", 4), Lane::new("small", 4));
        admit(&mut lanes, &[&large], 0, 1000);
        assert_eq!(admit(&mut lanes, &[&large, &small], 100_000, 40), [0, 40], "forty requests are few beside those");
        // Not for ever: once it has had as much, both go in turn.
        let [large, small] = admit(&mut lanes, &[&large, &small], 104_000, 1000)[..] else { panic!("two lanes") };
        assert!(large > 400 && small > 400, "{large} {small}");
    }

    #[test]
    fn the_least_urgent_is_not_starved_by_ever_new_urgent_ones() {
        let (mut lanes, exercise) = (Lanes::default(), Lane::new("exercise", 1));
        let mut own = lanes.join(Some(&exercise));
        let mut admitted = 0;
        for i in 0..600 {
            let urgent = Lane::new(&format!("urgent-{}", i / 10), 16);
            let (ticket, now) = (lanes.join(Some(&urgent)), at(100 * i));
            if lanes.next(now) == Some(own) {
                lanes.admit(Some(&exercise), own, now);
                own = lanes.join(Some(&exercise));
                admitted += 1;
                lanes.leave(Some(&urgent), ticket);
            } else {
                lanes.admit(Some(&urgent), ticket, now);
            }
        }
        assert!(admitted >= 6, "{admitted} of 600");
    }

    #[test]
    fn calls_of_the_operator_itself_go_first_and_count_for_nobody() {
        let (mut lanes, lane) = (Lanes::default(), Lane::new("a", 16));
        let of_policy = lanes.join(Some(&lane));
        let probe = lanes.join(None);
        assert_eq!(lanes.next(at(0)), Some(probe));
        lanes.admit(None, probe, at(0));
        assert_eq!(lanes.next(at(0)), Some(of_policy));
    }

    #[test]
    fn whoever_gives_up_leaves_nothing_behind() {
        let (mut lanes, lane) = (Lanes::default(), Lane::new("a", 1));
        let (first, second) = (lanes.join(Some(&lane)), lanes.join(Some(&lane)));
        let probe = lanes.join(None);
        lanes.leave(Some(&lane), first);
        lanes.leave(None, probe);
        assert_eq!(lanes.next(at(0)), Some(second));
        lanes.leave(Some(&lane), second);
        assert_eq!((lanes.next(at(0)), lanes.waiting.len(), lanes.own.len()), (None, 0, 0));
    }

    #[test]
    fn lanes_that_are_gone_are_forgotten() {
        let mut lanes = Lanes::default();
        for i in 0..10_000_u64 {
            let lane = Lane::new(&format!("policy-{i}"), 1);
            let (ticket, now) = (lanes.join(Some(&lane)), at(100 * i));
            lanes.admit(Some(&lane), ticket, now);
        }
        // A request is as good as forgotten after half a minute, in which 300 others were admitted.
        assert!(lanes.attained.len() < 1000, "{}", lanes.attained.len());
    }

    #[test]
    fn a_lane_that_has_to_go_slowly_is_passed_by_the_others_until_its_time_comes() {
        let mut lanes = Lanes::default();
        let (failing, well) = (Lane::new("failing", 16), Lane::new("well", 1));
        let (slow, fast) = (lanes.join(Some(&failing)), lanes.join(Some(&well)));
        lanes.slow_down(&failing, at(0), at(1000));
        assert_eq!(lanes.next(at(0)), Some(fast));
        assert_eq!(lanes.held_until(Some(&failing), at(0)), Some(at(1000)));
        assert_eq!(lanes.next(at(1000)), Some(slow), "urgent as it is");
        lanes.leave(Some(&well), fast);
        assert_eq!(lanes.next(at(999)), None);
        lanes.speed_up(&failing);
        assert_eq!(lanes.next(at(999)), Some(slow));
    }

    #[test]
    fn a_lane_may_expect_its_weight_among_those_that_take_part() {
        let mut lanes = Lanes::default();
        let (large, small) = (Lane::new("large", 4), Lane::new("small", 16));
        assert_eq!(lanes.share(&small, at(0)), 1.0);
        let ticket = lanes.join(Some(&large));
        assert_eq!(lanes.share(&small, at(0)), 0.8);
        lanes.admit(Some(&large), ticket, at(0));
        assert_eq!(lanes.share(&small, at(0)), 0.8, "it was busy a moment ago");
        assert_eq!(lanes.share(&small, at(60_000)), 1.0);
    }
}
