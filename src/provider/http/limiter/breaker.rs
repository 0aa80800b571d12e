//! Is the tenant there at all?
//!
//! After [`THRESHOLD`] requests in a row without a good answer, whoever sent them, nothing is sent any more but one probe
//! at a time, after pauses that grow. Everybody else is told at once what the last failure was. The first good answer ends
//! it. The probe is an ordinary request: the next one that somebody wants to send when the pause is over.

use std::time::Duration;

use tokio::time::Instant;

use crate::plan::schedule;

/// Failures in a row that are an outage. Fewer are what networks and single accounts do.
pub(super) const THRESHOLD: u32 = 5;
/// The longest pause between two probes.
const LONGEST: Duration = Duration::from_secs(60);

/// What is known of a tenant's outage; `E` is what a failure is told by.
#[derive(Debug)]
pub(super) struct Breaker<E> {
    seed: String,
    failures: u32,
    open: Option<Open<E>>,
}

#[derive(Debug)]
struct Open<E> {
    cause: E,
    failed_probes: u32,
    next: Instant,
    probing: bool,
}

/// What may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sendable<'a, E> {
    /// Anything.
    Everything,
    /// One request, to find out whether the tenant answers.
    Probe,
    /// Nothing, for so long, because of this.
    Nothing(Duration, &'a E),
}

impl<E> Breaker<E> {
    /// Closed. The pauses of breakers with other seeds differ by up to a quarter.
    pub(super) fn new(seed: &str) -> Self {
        Self { seed: seed.to_owned(), failures: 0, open: None }
    }

    /// What may be sent at `now`.
    pub(super) fn sendable(&self, now: Instant) -> Sendable<'_, E> {
        match &self.open {
            None => Sendable::Everything,
            // How long a probe that is on the way will take nobody knows; the next pause is as good a guess as any.
            Some(open) if open.probing => Sendable::Nothing(pause(&self.seed, open.failed_probes), &open.cause),
            Some(open) if open.next > now => Sendable::Nothing(open.next - now, &open.cause),
            Some(_) => Sendable::Probe,
        }
    }

    /// A request is sent, as [`Breaker::sendable`] allows. Returns whether it is the probe.
    pub(super) fn sent(&mut self) -> bool {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
        self.open.is_some()
    }

    /// A good answer came. Returns whether it ends an outage.
    pub(super) fn answered(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// No good answer came, to the probe or to another request. Returns whether an outage begins.
    pub(super) fn failed(&mut self, probe: bool, now: Instant, cause: E) -> bool {
        self.failures = self.failures.saturating_add(1);
        if let Some(open) = &mut self.open {
            // What was on the way when it began says nothing new.
            if probe {
                open.failed_probes = open.failed_probes.saturating_add(1);
                open.cause = cause;
                open.probing = false;
                open.next = now + pause(&self.seed, open.failed_probes);
            }
            return false;
        }
        if self.failures < THRESHOLD {
            return false;
        }
        self.open = Some(Open { cause, failed_probes: 0, next: now + pause(&self.seed, 0), probing: false });
        true
    }

    /// The probe ended without showing anything: it was not sent, or its answer came from elsewhere. Another one may be
    /// sent at once.
    pub(super) fn showed_nothing(&mut self, probe: bool) {
        if let Some(open) = self.open.as_mut().filter(|_| probe) {
            open.probing = false;
        }
    }

    /// Something has changed that may be the remedy: the next probe need not wait.
    pub(super) fn retry_now(&mut self, now: Instant) {
        self.open.iter_mut().for_each(|open| open.next = now);
    }

    /// When the next probe may be sent, as a time from `now`; `None` outside of an outage.
    pub(super) fn probe_in(&self, now: Instant) -> Option<Duration> {
        match self.sendable(now) {
            Sendable::Everything => None,
            Sendable::Probe => Some(Duration::ZERO),
            Sendable::Nothing(rest, _) => Some(rest),
        }
    }
}

fn pause(seed: &str, failed_probes: u32) -> Duration {
    schedule::transient_pause(failed_probes.saturating_add(1), seed).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs_f64(seconds)
    }

    /// Whether a request goes out at `now`, and if it does, that it fails.
    fn fails(breaker: &mut Breaker<u32>, now: f64) -> bool {
        let sendable = !matches!(breaker.sendable(at(now)), Sendable::Nothing(..));
        if sendable {
            let probe = breaker.sent();
            breaker.failed(probe, at(now), 7);
        }
        sendable
    }

    fn open(seed: &str) -> Breaker<u32> {
        let mut breaker = Breaker::new(seed);
        for _ in 0..THRESHOLD {
            assert!(fails(&mut breaker, 0.0));
        }
        breaker
    }

    #[test]
    fn a_good_answer_in_between_is_no_outage() {
        let mut breaker = Breaker::new("t");
        for _ in 0..10 {
            (1..THRESHOLD).for_each(|_| assert!(!breaker.failed(false, at(0.0), 7)));
            assert!(!breaker.answered());
        }
        assert_eq!(breaker.sendable(at(0.0)), Sendable::Everything);
    }

    #[test]
    fn in_an_outage_probes_go_out_one_at_a_time_after_pauses_that_double_to_a_minute() {
        let mut breaker = open("t");
        let (mut probes, mut now) = (Vec::new(), 0.0);
        while now < 400.0 {
            if fails(&mut breaker, now) {
                probes.push(now);
            }
            now += 0.01;
        }
        let pauses: Vec<f64> =
            std::iter::once(0.0).chain(probes.iter().copied()).zip(&probes).map(|(a, b)| b - a).collect();
        for (pause, least) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
            assert!((least - 0.1..=f64::min(1.26 * least, 60.1)).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn while_the_probe_is_on_the_way_nobody_else_sends() {
        let mut breaker = open("t");
        assert_eq!(breaker.sendable(at(30.0)), Sendable::Probe);
        assert!(breaker.sent());
        assert!(matches!(breaker.sendable(at(30.0)), Sendable::Nothing(_, 7)));
        assert!(breaker.answered(), "it ends the outage");
        assert_eq!(breaker.sendable(at(30.0)), Sendable::Everything);
        assert_eq!(breaker.probe_in(at(30.0)), None);
        (1..THRESHOLD).for_each(|_| assert!(!breaker.failed(false, at(30.0), 7), "it counts from the beginning"));
    }

    #[test]
    fn requests_that_were_on_the_way_when_it_began_say_nothing_against_it_and_all_for_its_end() {
        let mut breaker = open("t");
        let before = breaker.probe_in(at(0.5)).unwrap();
        (0..20).for_each(|_| assert!(!breaker.failed(false, at(0.5), 8)));
        assert_eq!(breaker.probe_in(at(0.5)), Some(before));
        assert!(breaker.answered());
    }

    #[test]
    fn a_probe_that_was_not_sent_leaves_its_place_to_the_next() {
        let mut breaker = open("t");
        assert!(breaker.sent());
        breaker.showed_nothing(true);
        assert_eq!(breaker.sendable(at(30.0)), Sendable::Probe);
    }

    #[test]
    fn a_remedy_is_tried_at_once_and_by_one_probe() {
        let mut breaker = open("t");
        breaker.retry_now(at(0.1));
        assert!(fails(&mut breaker, 0.1));
        assert!(!fails(&mut breaker, 0.2));
        let mut closed = Breaker::<u32>::new("t");
        closed.retry_now(at(0.1));
        assert_eq!(closed.sendable(at(0.1)), Sendable::Everything);
    }

    #[test]
    fn tenants_that_fail_together_are_not_probed_together() {
        let rests: Vec<_> = ["a", "b", "c"].map(|seed| open(seed).probe_in(at(0.0)).unwrap()).to_vec();
        assert!(rests[0] != rests[1] && rests[1] != rests[2], "{rests:?}");
    }
}
