//! A slice has ended: what follows from how, and when does it go on?

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Driver;
use crate::api::Reason;
use crate::controller::policy::pass::{Halt, Progress};
use crate::controller::policy::runs::{TargetRun, Trouble};
use crate::plan::failure::{ProviderFault, Stop};
use crate::plan::schedule;
use crate::plan::tally::Tally;
use crate::provider::ProviderError;

/// The rest before the next pass where a listing changed each time it was read.
const MOVED_REST: Duration = Duration::from_secs(10);

impl Driver<'_> {
    /// The tenant has answered well: whatever a pass has said against it is over.
    pub(super) fn answered(&self) {
        if self.context.registry.answered(&self.ready.id, &self.ready.connection) {
            self.context.wake_provider(&self.ready.id);
            self.context.wake_policies_of(&self.ready.id);
        }
    }

    pub(super) fn go_on(&self, run: &mut TargetRun, progress: Progress) -> Duration {
        match progress {
            Progress::More => Duration::ZERO,
            Progress::Wait(at) => at.saturating_duration_since(Instant::now()),
            Progress::Moved => {
                run.pass = None;
                MOVED_REST
            }
            Progress::Complete => {
                run.complete = run.pass.take().map(|pass| pass.tally());
                run.looked = true;
                let wait = if run.complete.as_ref().is_some_and(Tally::retries) {
                    run.retries = run.retries.saturating_add(1);
                    schedule::retry_look(run.retries, self.observe_period())
                } else {
                    run.retries = 0;
                    let now = Timestamp::now();
                    schedule::until(schedule::next_look(self.observe_period(), self.policy.uid, now), now)
                };
                run.next_look = Some(Instant::now() + wait);
                wait
            }
        }
    }

    pub(super) async fn halted(&self, run: &mut TargetRun, halt: Halt) -> Duration {
        match halt {
            // The event that stopped it, or its end, wakes the policy.
            Halt::Stopped => {
                run.pass = None;
                Duration::from_secs(1)
            }
            Halt::Stale => {
                tracing::info!(
                    policy = self.policy.name,
                    "the API server knows of a change that the watches have not brought yet; nothing is sent until they do"
                );
                run.pass = None;
                self.pause(run)
            }
            Halt::Fenced => {
                tracing::warn!(
                    policy = self.policy.name,
                    "the ledger was written by another operator, or by a write of ours whose answer was lost; it is read again"
                );
                (run.pass, run.ledger) = (None, None);
                self.pause(run)
            }
            Halt::Ledger(error) => {
                tracing::warn!(policy = self.policy.name, %error, "the ledger cannot be read or written; nothing is sent without it");
                let message = "the records cannot be read or written at the API server, and nothing is sent without them; \
                               the operator's log says why";
                run.stop = Some(Stop::transient(Reason::InProgress, "", message));
                self.pause(run)
            }
            Halt::Stop(stop) => {
                run.put_down().await;
                let now = Timestamp::now();
                // A clock that is wrong now may be right long before the time that it makes of the cutoff.
                let longest = self.observe_period().max(schedule::STALLED_RETRY);
                let wait = match stop.until {
                    Some(at) => schedule::until(at, now).min(longest),
                    None => {
                        run.stops = run.stops.saturating_add(1);
                        let capabilities = self.ready.connection.provider.capabilities();
                        schedule::stalled_look(run.stops, self.observe_period(), capabilities)
                    }
                };
                run.next_look = Some(Instant::now() + wait);
                run.stop = Some(stop);
                run.looked = true;
                wait
            }
            Halt::Tenant(error) => self.fault(run, &error),
        }
    }

    fn fault(&self, run: &mut TargetRun, error: &ProviderError) -> Duration {
        let fault = ProviderFault::of(error);
        let found = run.pass.as_ref().map(|pass| pass.tally());
        // What a listing said so far cannot be trusted after an answer that is wrong for it. Nor does a pass outlive a long
        // rest: whoever is protected or excluded is asked for at its beginning.
        if error.is_unreadable() || error.is_refusal() || !fault.passes() {
            run.pass = None;
        }
        let since = run.trouble.as_ref().map_or(Timestamp::now(), |trouble| trouble.since);
        let met = run.trouble.as_ref().filter(|trouble| trouble.fault == fault).map_or(0, |trouble| trouble.met) + 1;
        let wait = if fault.passes() {
            self.pause(run).max(error.retry_after.unwrap_or_default().min(Duration::from_secs(3600)))
        } else {
            // A probe that is answered well does not show that a pass will be: such a tenant rests ever longer.
            let capabilities = self.ready.connection.provider.capabilities();
            schedule::probe_pause(self.ready.spec.probe_period_seconds, met, capabilities)
        };
        // A tenant that is throttled keeps its pace by its limiter.
        if fault != ProviderFault::Throttled {
            let until = Instant::now() + wait;
            run.trouble = Some(Trouble { fault, message: error.to_string(), since, met, found, until });
        }
        if self.context.registry.fault(
            &self.ready.id,
            &self.ready.connection,
            fault,
            error.to_string(),
            Timestamp::now(),
        ) {
            tracing::info!(provider = ?self.ready.id, %error, "the tenant does not answer as it should");
            self.context.wake_provider(&self.ready.id);
        }
        wait
    }

    fn pause(&self, run: &mut TargetRun) -> Duration {
        let wait = schedule::transient_pause(run.failures, self.policy.uid);
        run.failures = run.failures.saturating_add(1);
        wait
    }
}
