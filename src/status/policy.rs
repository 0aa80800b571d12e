//! The report of a policy.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::password_reset_policy::Mode;
use crate::api::policy_status::{Counts, FailureSample, PasswordResetPolicyStatus, TargetStatus};
use crate::api::{ConditionType, Reason};
use crate::plan::failure::Health;
use crate::plan::schedule;
use crate::plan::suspension::Suspension;

use super::conditions::{self, Conditions, Truth};
use super::findings::{self, Findings};
use super::outcome::{PolicyOutcome, TargetOutcome};
use super::verdict::{self, Rank, Verdict, View};
use super::{Difference, EventNote, Report, text};

/// How many samples of failures a status holds.
const SAMPLES: usize = 20;

/// One target with everything that its part of the status is made from.
struct Standing<'a> {
    target: &'a TargetOutcome,
    /// Its part of the previous status, when that speaks about the same generation.
    before: Option<&'a TargetStatus>,
    /// What the last complete pass at this generation found.
    complete: Option<Findings>,
    /// That pass was made by an earlier process; only its counts are known.
    remembered: bool,
    verdict: Verdict,
}

pub(super) fn report(
    outcome: &PolicyOutcome,
    previous: Option<&PasswordResetPolicyStatus>,
    now: Timestamp,
) -> Report<PasswordResetPolicyStatus> {
    let nothing = PasswordResetPolicyStatus::default();
    let before = previous.unwrap_or(&nothing);
    let current = before.observed_generation == Some(outcome.generation);
    let failures_before = before.failures.as_slice();
    let standings: Vec<Standing<'_>> = outcome
        .targets
        .iter()
        .map(|target| {
            let before = before.targets.iter().find(|status| current && status.name == target.name);
            standing(outcome, target, before, failures_before, now)
        })
        .collect();

    let conditions = conditions(outcome, &standings, &before.conditions, now);
    let targets: Vec<TargetStatus> = standings.iter().map(|standing| target_status(standing, now)).collect();
    let counts = targets.iter().filter_map(|target| target.counts).reduce(findings::add);
    let status = PasswordResetPolicyStatus {
        observed_generation: Some(outcome.generation),
        conditions,
        counts,
        progress: counts.map(progress),
        targets,
        failures: failures(&standings, before, now),
        last_handled_reconcile: outcome.handled_reconcile.clone().or_else(|| before.last_handled_reconcile.clone()),
    };
    Report {
        difference: difference(&status, before),
        events: events(&status.conditions, &before.conditions),
        speaks_again: speaks_again(outcome, now),
        status,
    }
}

fn standing<'a>(
    outcome: &'a PolicyOutcome,
    target: &'a TargetOutcome,
    before: Option<&'a TargetStatus>,
    failures: &[FailureSample],
    now: Timestamp,
) -> Standing<'a> {
    let failures = failures.iter().filter(|sample| sample.target == target.name);
    let remembered = before
        .filter(|status| status.completed_at.is_some())
        .and_then(|status| status.counts)
        .map(|counts| Findings::remembered(counts, failures));
    let is_remembered = target.complete.is_none() && remembered.is_some();
    let said = before.and_then(|status| status.reason.as_deref()).and_then(Reason::of_word);
    let doubtful = is_remembered && said.is_some_and(|reason| !reason.ends_a_pass());
    let complete = target.complete.as_ref().map(Findings::from).or(remembered);
    let verdict = verdict::of_target(
        target,
        View {
            mode: outcome.mode,
            ready_when: outcome.ready_when,
            suspension: outcome.suspension.as_ref().or(target.suspension.as_ref()),
            complete: complete.as_ref(),
            doubtful,
            now,
        },
    );
    Standing { target, before, complete, remembered: is_remembered, verdict }
}

/// What stops everything on purpose: the policy's own suspension, or one of every target.
fn suspension(outcome: &PolicyOutcome) -> Option<&Suspension> {
    let all = outcome.targets.iter().map(|target| target.suspension.as_ref()).collect::<Option<Vec<_>>>();
    outcome.suspension.as_ref().or_else(|| all?.first().copied())
}

fn conditions(
    outcome: &PolicyOutcome,
    standings: &[Standing<'_>],
    previous: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let mut list = Conditions::new(previous, outcome.generation, now);
    let verdicts: Vec<(&str, &Verdict)> =
        standings.iter().map(|standing| (standing.target.name.as_str(), &standing.verdict)).collect();

    // Ready
    let worst = verdicts.iter().map(|(_, verdict)| verdict.rank).min().unwrap_or(Rank::InProgress);
    let all_ready = worst == Rank::Done;
    let reason = reason(&verdicts, worst);
    let message = message(&verdicts, |verdict| !verdict.ready() || all_ready);
    let remembered = standings.iter().all(|standing| standing.remembered);
    let keep = |list: &Conditions<'_>, type_, truth, reason, message: String| {
        // A clock moves with every look; the first reading is enough.
        let names_a_clock = matches!(reason, Reason::CutoffInFuture | Reason::ProviderResponseInvalid);
        match list.said(type_, truth, reason) {
            // What an earlier process said in full of a pass is not said again with less.
            Some(said) if names_a_clock || (remembered && reason.ends_a_pass()) => said.to_owned(),
            _ => message,
        }
    };
    let ready = keep(&list, ConditionType::Ready, Truth::of(all_ready), reason, message);
    list.set(ConditionType::Ready, Truth::of(all_ready), reason, &ready);

    // Reconciling, or Stalled, or neither
    let moving: Vec<(&str, &Verdict)> = verdicts.iter().copied().filter(|(_, verdict)| verdict.moving).collect();
    let stalled: Vec<(&str, &Verdict)> = verdicts.iter().copied().filter(|(_, verdict)| verdict.stalled).collect();
    for (type_, of) in [(ConditionType::Reconciling, &moving), (ConditionType::Stalled, &stalled)] {
        if let Some(worst) = of.iter().map(|(_, verdict)| verdict.rank).min() {
            let reason = self::reason(of, worst);
            let text = keep(&list, type_, Truth::True, reason, self::message(of, |_| true));
            list.set(type_, Truth::True, reason, &text);
            break;
        }
    }

    provider_ready(&mut list, standings, now);
    reached(&mut list, outcome, standings, reason, &ready, remembered);

    // Suspended and DriftDetected, only while true
    if let Some(suspension) = suspension(outcome) {
        list.set(ConditionType::Suspended, Truth::True, Reason::Suspended, &suspension.to_string());
    }
    let cleared: i64 =
        standings.iter().filter_map(|standing| standing.complete.as_ref()).map(|found| found.counts.cleared).sum();
    if cleared > 0 {
        list.set(ConditionType::DriftDetected, Truth::True, Reason::RequirementCleared, &text::drift(cleared));
    }
    list.into_list()
}

/// The reason of the worst: the first target's of that rank, but `Changed` only where all have changed.
fn reason(verdicts: &[(&str, &Verdict)], worst: Rank) -> Reason {
    let mut of_worst = verdicts.iter().filter(|(_, verdict)| verdict.rank == worst).map(|(_, verdict)| verdict.reason);
    let Some(first) = of_worst.next() else { return Reason::InProgress };
    if first == Reason::Changed && of_worst.any(|reason| reason != first) { Reason::Enforced } else { first }
}

/// What the targets say, each with its name where there are several that say different things.
fn message(verdicts: &[(&str, &Verdict)], says: impl Fn(&Verdict) -> bool) -> String {
    let mut saying: Vec<&(&str, &Verdict)> = verdicts.iter().filter(|(_, verdict)| says(verdict)).collect();
    saying.sort_by_key(|(_, verdict)| verdict.rank);
    let Some((_, first)) = saying.first() else { return String::new() };
    if verdicts.len() == 1
        || (saying.len() == verdicts.len() && saying.iter().all(|(_, other)| other.message == first.message))
    {
        return first.message.clone();
    }
    saying.iter().map(|(name, verdict)| format!("target {name}: {}", verdict.message)).collect::<Vec<_>>().join("; ")
}

fn provider_ready(list: &mut Conditions<'_>, standings: &[Standing<'_>], now: Timestamp) {
    let type_ = ConditionType::ProviderReady;
    let mut bad = Vec::new();
    let mut unverified = Vec::new();
    let mut reason = Reason::ProviderNotReady;
    for Standing { target, .. } in standings {
        if let Some(stop) = &target.stop
            && matches!(stop.reason, Reason::ProviderNotFound | Reason::ProviderNotAllowed)
        {
            if bad.is_empty() {
                reason = stop.reason;
            }
            bad.push(stop.to_string());
            continue;
        }
        match (&target.health, target.health.shown(now)) {
            (Health::NotReady { fault, message, .. }, true) => {
                bad.push(text::provider_not_ready(&target.provider, fault.reason(), message));
            }
            (Health::Unverified, _) => unverified.push(target.provider.as_str()),
            _ => {}
        }
    }
    bad.dedup();
    if !bad.is_empty() {
        list.set(type_, Truth::False, reason, &bad.join("; "));
    } else if !unverified.is_empty() {
        // A restart has nothing to say before it has looked.
        if !list.keep(type_) {
            let message = format!("{} not verified yet", unverified.join(", "));
            list.set(type_, Truth::Unknown, Reason::InProgress, &message);
        }
    } else if !standings.is_empty() {
        list.set(type_, Truth::True, Reason::Verified, "every provider object is Ready");
    }
}

/// Enforced and Changed: what complete passes have shown.
fn reached(
    list: &mut Conditions<'_>,
    outcome: &PolicyOutcome,
    standings: &[Standing<'_>],
    ready_reason: Reason,
    ready_message: &str,
    remembered: bool,
) {
    let complete: Option<Vec<&Findings>> = standings.iter().map(|standing| standing.complete.as_ref()).collect();
    let Some(complete) = complete.filter(|complete| !complete.is_empty()) else {
        for type_ in [ConditionType::Enforced, ConditionType::Changed] {
            list.set(type_, Truth::False, ready_reason, ready_message);
        }
        return;
    };
    let all = complete.iter().copied().fold(Findings::default(), |all, found| all.and(found));
    let enforced = verdict::enforced(&all);
    let (reason, message) = if enforced {
        (Reason::Enforced, text::enforced(&all))
    } else if all.counts.failed + all.counts.unknown > 0 {
        (Reason::PartiallyFailed, text::partially_failed(&all))
    } else if all.counts.cleared > 0 {
        (Reason::RequirementCleared, text::cleared(&all))
    } else if outcome.mode == Mode::Observe {
        (Reason::Observed, text::observed(&all))
    } else if suspension(outcome).is_some() {
        (Reason::Suspended, text::pending(&all))
    } else {
        (Reason::InProgress, text::pending(&all))
    };
    let changed = enforced && all.counts.enforced == 0;
    let (changed_reason, changed_message) = match (changed, enforced) {
        (true, _) => (Reason::Changed, text::changed(&all)),
        (false, true) => (Reason::AwaitingUsers, text::awaiting(&all)),
        (false, false) => (reason, message.clone()),
    };
    for (type_, holds, reason, message) in [
        (ConditionType::Enforced, enforced, reason, message),
        (ConditionType::Changed, changed, changed_reason, changed_message),
    ] {
        let truth = Truth::of(holds);
        let said = list.said(type_, truth, reason).filter(|_| remembered).map(str::to_owned);
        list.set(type_, truth, reason, &said.unwrap_or(message));
    }
}

fn target_status(standing: &Standing<'_>, now: Timestamp) -> TargetStatus {
    let before = standing.before;
    let counts = match (&standing.complete, &standing.target.running) {
        // Once complete, counts move with the end of a pass, as the conditions do.
        (Some(complete), _) => Some(complete.counts),
        // A pass that starts anew after a restart does not count down what was seen before.
        (None, Some(running)) => {
            let running = Findings::from(running).counts;
            match before.and_then(|status| status.counts) {
                Some(seen) if seen.targeted > running.targeted => Some(seen),
                _ => Some(running),
            }
        }
        (None, None) => before.and_then(|status| status.counts),
    };
    let completed_at = before
        .and_then(|status| status.completed_at.clone())
        .or_else(|| standing.complete.is_some().then(|| conditions::whole_seconds(now)));
    TargetStatus {
        name: standing.target.name.clone(),
        counts,
        reason: Some(standing.verdict.reason.as_str().to_owned()),
        completed_at,
    }
}

/// At most [`SAMPLES`], the targets taking turns; those that were there before keep their place and time.
fn failures(standings: &[Standing<'_>], before: &PasswordResetPolicyStatus, now: Timestamp) -> Vec<FailureSample> {
    let mut by_target: Vec<std::vec::IntoIter<FailureSample>> = standings
        .iter()
        .map(|standing| {
            let target = &standing.target.name;
            let known: Vec<&FailureSample> = before.failures.iter().filter(|sample| &sample.target == target).collect();
            let found = match (&standing.target.complete, &standing.target.running) {
                (Some(complete), _) => complete,
                (None, Some(running)) if !standing.remembered => running,
                _ if standing.before.is_some() => return known.into_iter().cloned().collect::<Vec<_>>().into_iter(),
                _ => return Vec::new().into_iter(),
            };
            let mut samples: Vec<(usize, FailureSample)> = found
                .samples
                .iter()
                .map(|failure| {
                    let subject = conditions::bounded(&failure.subject, 512);
                    let category = failure.category.as_str();
                    let place =
                        known.iter().position(|sample| sample.subject == subject && sample.category == category);
                    let first_seen =
                        place.map_or_else(|| conditions::whole_seconds(now), |at| known[at].first_seen.clone());
                    let sample =
                        FailureSample { target: target.clone(), subject, category: category.to_owned(), first_seen };
                    (place.unwrap_or(usize::MAX), sample)
                })
                .collect();
            samples.sort_by(|(left, a), (right, b)| left.cmp(right).then_with(|| a.subject.cmp(&b.subject)));
            samples.into_iter().map(|(_, sample)| sample).collect::<Vec<_>>().into_iter()
        })
        .collect();
    let mut taken: Vec<Vec<FailureSample>> = by_target.iter().map(|_| Vec::new()).collect();
    let mut room = SAMPLES;
    let mut moved = true;
    while moved {
        moved = false;
        for (from, to) in by_target.iter_mut().zip(&mut taken) {
            if room > 0
                && let Some(sample) = from.next()
            {
                to.push(sample);
                room -= 1;
                moved = true;
            }
        }
    }
    taken.into_iter().flatten().collect()
}

fn progress(counts: Counts) -> String {
    format!("{}/{}", counts.compliant + counts.enforced + counts.changed, counts.targeted - counts.skipped)
}

fn difference(status: &PasswordResetPolicyStatus, before: &PasswordResetPolicyStatus) -> Difference {
    let words = |status: &PasswordResetPolicyStatus| -> Vec<_> {
        status.targets.iter().map(|t| (t.name.clone(), t.reason.clone(), t.completed_at.clone())).collect()
    };
    if status == before {
        Difference::None
    } else if status.observed_generation == before.observed_generation
        && conditions::same_words(&status.conditions, &before.conditions)
        && status.last_handled_reconcile == before.last_handled_reconcile
        && words(status) == words(before)
    {
        Difference::Counters
    } else {
        Difference::Words
    }
}

/// An event where Ready says something else, and where a condition that is only there while true comes without Ready saying
/// so.
fn events(now: &[Condition], before: &[Condition]) -> Vec<EventNote> {
    let ready = |list| conditions::find(list, ConditionType::Ready);
    let mut events = Vec::new();
    let said = ready(now).map(|c| (&c.status, &c.reason));
    if said != ready(before).map(|c| (&c.status, &c.reason))
        && let Some(condition) = ready(now)
        && let Some(reason) = Reason::of_word(&condition.reason)
    {
        events.push(event(reason, &condition.message));
    }
    for type_ in [ConditionType::Suspended, ConditionType::DriftDetected] {
        if let Some(condition) = conditions::find(now, type_)
            && conditions::find(before, type_).is_none()
            && let Some(reason) = Reason::of_word(&condition.reason)
            && !events.iter().any(|event| event.reason == reason)
        {
            events.push(event(reason, &condition.message));
        }
    }
    events
}

fn event(reason: Reason, message: &str) -> EventNote {
    let calm = matches!(
        reason,
        Reason::Enforced
            | Reason::Changed
            | Reason::Observed
            | Reason::InProgress
            | Reason::WaitingForCutoff
            | Reason::AwaitingUsers
            | Reason::Suspended
    );
    EventNote { warning: !calm, reason, action: "Reconcile", note: conditions::note(message) }
}

fn speaks_again(outcome: &PolicyOutcome, now: Timestamp) -> Option<Duration> {
    let ends = outcome.targets.iter().filter_map(|target| target.stop.as_ref()?.until);
    let worsens = outcome.targets.iter().filter_map(|target| target.health.worsens_at(now));
    ends.chain(worsens).filter(|then| *then > now).min().map(|then| schedule::until(then, now))
}
