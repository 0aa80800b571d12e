//! How does one target stand, and which of several is the worst?

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::password_reset_policy::{Mode, ReadyWhen};
use crate::plan::failure::{Class, Health, Severity, Stop};
use crate::plan::suspension::Suspension;

use super::findings::Findings;
use super::outcome::TargetOutcome;
use super::text;

/// From the worst to the best; a policy says what its worst target says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Stalled,
    ProviderNotReady,
    PartiallyFailed,
    RequirementCleared,
    Suspended,
    InProgress,
    WaitingForCutoff,
    AwaitingUsers,
    Done,
}

/// How one target stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) rank: Rank,
    pub(super) reason: Reason,
    /// It goes on, or will, by itself.
    pub(super) moving: bool,
    /// A human must act. Never together with `moving`.
    pub(super) stalled: bool,
    pub(super) message: String,
}

impl Verdict {
    pub(super) fn ready(&self) -> bool {
        self.rank == Rank::Done
    }

    fn moving(rank: Rank, reason: Reason, message: String) -> Self {
        Self { rank, reason, moving: true, stalled: false, message }
    }

    fn stalled(rank: Rank, reason: Reason, message: String) -> Self {
        Self { rank, reason, moving: false, stalled: true, message }
    }

    fn resting(rank: Rank, reason: Reason, message: String) -> Self {
        Self { rank, reason, moving: false, stalled: false, message }
    }

    /// Stopped on purpose.
    pub(super) fn suspended(suspension: &Suspension) -> Self {
        Self::resting(Rank::Suspended, Reason::Suspended, suspension.to_string())
    }

    /// Stopped against its will.
    pub(super) fn of_stop(stop: &Stop) -> Self {
        match stop.class {
            Class::Stalled => Self::stalled(Rank::Stalled, stop.reason, stop.to_string()),
            Class::Waiting | Class::Transient => {
                let rank =
                    if stop.reason == Reason::WaitingForCutoff { Rank::WaitingForCutoff } else { Rank::InProgress };
                Self::moving(rank, stop.reason, stop.to_string())
            }
        }
    }
}

/// What a verdict is made from, beside the target itself.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) mode: Mode,
    pub(super) ready_when: ReadyWhen,
    /// The policy's own suspension or the target's.
    pub(super) suspension: Option<&'a Suspension>,
    /// What the last complete pass at this generation found, in this process or an earlier one.
    pub(super) complete: Option<&'a Findings>,
    /// A human had to correct something or had stopped it when an earlier process ended, and this one has not looked yet:
    /// what that pass found may not be how things stand.
    pub(super) doubtful: bool,
    pub(super) now: Timestamp,
}

/// How `target` stands.
pub(super) fn of_target(target: &TargetOutcome, view: View<'_>) -> Verdict {
    let View { mode, suspension, complete, doubtful, now, .. } = view;
    let settled = complete.filter(|found| !doubtful && settled(found, mode)).map(|found| of_settled(found, view));
    if let Some(suspension) = suspension {
        // Stopping changes nothing about what has been reached.
        return match settled {
            Some(verdict) if verdict.ready() => verdict,
            _ => Verdict::suspended(suspension),
        };
    }
    if let Some(stop) = &target.stop
        && stop.class == Class::Stalled
    {
        return Verdict::of_stop(stop);
    }
    // An outage does not take back what a complete pass has shown; it shows in ProviderReady.
    if let Some(verdict) = settled {
        return verdict;
    }
    let failed = complete.is_some_and(|found| found.counts.failed + found.counts.unknown > 0);
    let moving = match (target.health.severity(now), &target.stop) {
        (severity @ (Severity::Reconciling | Severity::Stalled), _) => return not_ready(target, severity),
        (_, Some(stop)) => Verdict::of_stop(stop),
        (_, None) => Verdict::moving(Rank::InProgress, Reason::InProgress, text::in_progress(mode)),
    };
    match complete {
        Some(found) if failed && !doubtful && moving.rank == Rank::InProgress => {
            Verdict::moving(Rank::PartiallyFailed, Reason::PartiallyFailed, text::partially_failed(found))
        }
        _ => moving,
    }
}

fn not_ready(target: &TargetOutcome, severity: Severity) -> Verdict {
    let message = match &target.health {
        Health::NotReady { fault, message, .. } => text::provider_not_ready(&target.provider, fault.reason(), message),
        Health::Ready | Health::Unverified => text::provider_unverified(&target.provider),
    };
    if severity == Severity::Stalled {
        Verdict::stalled(Rank::ProviderNotReady, Reason::ProviderNotReady, message)
    } else {
        Verdict::moving(Rank::ProviderNotReady, Reason::ProviderNotReady, message)
    }
}

/// Whether a complete pass leaves nothing to do but to look again.
fn settled(found: &Findings, mode: Mode) -> bool {
    mode == Mode::Observe || found.counts.pending == 0
}

/// Whether nobody of those who are meant can go on without a new password.
pub(super) fn enforced(found: &Findings) -> bool {
    let counts = &found.counts;
    counts.pending == 0 && counts.failed == 0 && counts.unknown == 0 && counts.cleared == 0
}

fn of_settled(found: &Findings, view: View<'_>) -> Verdict {
    let counts = &found.counts;
    if view.mode == Mode::Observe {
        Verdict::resting(Rank::Done, Reason::Observed, text::observed(found))
    } else if found.all_may_pass() {
        Verdict::moving(Rank::PartiallyFailed, Reason::PartiallyFailed, text::partially_failed(found))
    } else if counts.failed + counts.unknown > 0 {
        Verdict::stalled(Rank::PartiallyFailed, Reason::PartiallyFailed, text::partially_failed(found))
    } else if counts.cleared > 0 {
        Verdict::stalled(Rank::RequirementCleared, Reason::RequirementCleared, text::cleared(found))
    } else if counts.enforced == 0 {
        Verdict::resting(Rank::Done, Reason::Changed, text::changed(found))
    } else if view.ready_when == ReadyWhen::Changed {
        Verdict::resting(Rank::AwaitingUsers, Reason::AwaitingUsers, text::awaiting(found))
    } else {
        Verdict::resting(Rank::Done, Reason::Enforced, text::enforced(found))
    }
}
