//! What is said in each situation, and what must never be said.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use proptest::prelude::*;

use crate::api::FailureCategory;
use crate::api::password_reset_policy::{Mode, ReadyWhen};
use crate::plan::decide::SkipReason;
use crate::plan::failure::{Health, ProviderFault, Stop};
use crate::plan::suspension::Suspension;
use crate::plan::tally::{Sample, Tally};

use super::findings::Findings;
use super::*;
use crate::api::ConditionType;

type Status = PasswordResetPolicyStatus;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn target(name: &str) -> TargetOutcome {
    TargetOutcome {
        name: name.into(),
        provider: format!("IdentityProvider/{name}"),
        health: Health::Ready,
        suspension: None,
        stop: None,
        running: None,
        complete: None,
    }
}

fn policy(targets: Vec<TargetOutcome>) -> PolicyOutcome {
    PolicyOutcome {
        generation: 3,
        mode: Mode::Enforce,
        ready_when: ReadyWhen::Enforced,
        suspension: None,
        targets,
        handled_reconcile: None,
    }
}

fn complete(tally: Tally) -> PolicyOutcome {
    policy(vec![TargetOutcome { complete: Some(tally), ..target("workforce") }])
}

fn failing(fault: ProviderFault, since: i64) -> Health {
    Health::NotReady { fault, message: "no answer within 30 s".into(), since: at(since) }
}

fn stopped(stop: Stop) -> PolicyOutcome {
    policy(vec![TargetOutcome { stop: Some(stop), ..target("workforce") }])
}

fn condition(status: &Status, type_: ConditionType) -> Option<&Condition> {
    conditions::find(&status.conditions, type_)
}

/// Type, status and reason of each condition, as one line of text.
fn said(status: &Status) -> String {
    let one = |condition: &Condition| format!("{}={} {}", condition.type_, condition.status, condition.reason);
    status.conditions.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn failed(count: u64) -> Tally {
    let mut tally = Tally { enforced: 5, ..Tally::default() };
    for n in 0..count {
        tally.add_failure(format!("spec.targets[0].users[{n}]"), FailureCategory::NotFound);
    }
    tally
}

fn failed_for_now(count: u64) -> Tally {
    let mut tally = Tally { enforced: 5, ..Tally::default() };
    (0..count).for_each(|n| tally.add_failure(n.to_string(), FailureCategory::Transient));
    tally
}

fn done() -> Tally {
    Tally { compliant: 3, enforced: 5, changed: 2, ..Tally::default() }
}

fn all_changed() -> Tally {
    Tally { compliant: 3, changed: 7, ..Tally::default() }
}

/// What Argo CD's shipped health check for kstatus conditions makes of a status.
fn argo(status: &Status) -> &'static str {
    let is = |type_, truth: &str| condition(status, type_).is_some_and(|condition| condition.status == truth);
    if is(ConditionType::Suspended, "True") {
        "Suspended"
    } else if is(ConditionType::Stalled, "True") {
        "Degraded"
    } else if is(ConditionType::Reconciling, "True") || !is(ConditionType::Ready, "True") {
        "Progressing"
    } else {
        "Healthy"
    }
}

#[test]
fn each_situation_is_said_in_its_own_words() {
    let stall = |reason| Stop::stalled(reason, "spec.targets[0]", "correct it");
    let wait = Stop::waiting(Reason::WaitingForCutoff, at(300), "spec.requirement", "not yet");
    let with = |change: fn(&mut PolicyOutcome), mut outcome: PolicyOutcome| {
        change(&mut outcome);
        outcome
    };
    let sick = |health: Health| policy(vec![TargetOutcome { health, ..target("workforce") }]);
    let observe = |outcome: &mut PolicyOutcome| outcome.mode = Mode::Observe;
    let ready_when_changed = |outcome: &mut PolicyOutcome| outcome.ready_when = ReadyWhen::Changed;
    let suspend = |outcome: &mut PolicyOutcome| outcome.suspension = Some(Suspension::Spec);
    let before_the_first = "Enforced=False {}, Changed=False {}";
    let moving = |reason: &str| {
        format!(
            "Ready=False {reason}, Reconciling=True {reason}, ProviderReady=True Verified, {}",
            before_the_first.replace("{}", reason)
        )
    };
    let stalled = |reason: &str| {
        format!(
            "Ready=False {reason}, Stalled=True {reason}, ProviderReady=True Verified, {}",
            before_the_first.replace("{}", reason)
        )
    };
    let not_ready = |class: &str| {
        let not_ready = "ProviderNotReady";
        format!(
            "Ready=False {not_ready}, {class}=True {not_ready}, ProviderReady=False {not_ready}, {}",
            before_the_first.replace("{}", not_ready)
        )
    };
    let table: Vec<(&str, PolicyOutcome, String, &str)> = vec![
        ("waiting for the cutoff", stopped(wait), moving("WaitingForCutoff"), "Progressing"),
        ("planning", policy(vec![target("workforce")]), moving("InProgress"), "Progressing"),
        (
            "enforcing",
            policy(vec![TargetOutcome {
                running: Some(Tally { enforced: 2, pending: 8, ..Tally::default() }),
                ..target("workforce")
            }]),
            moving("InProgress"),
            "Progressing",
        ),
        ("throttled for up to 60 s", sick(failing(ProviderFault::Throttled, 40)), moving("InProgress"), "Progressing"),
        ("failing for up to 60 s", sick(failing(ProviderFault::Unreachable, 40)), moving("InProgress"), "Progressing"),
        ("unreachable for longer", sick(failing(ProviderFault::Unreachable, 0)), not_ready("Reconciling"), "Progressing"),
        ("throttled for longer", sick(failing(ProviderFault::Throttled, 0)), not_ready("Reconciling"), "Progressing"),
        (
            "bad answers for longer",
            sick(failing(ProviderFault::ResponseInvalid, 0)),
            not_ready("Reconciling"),
            "Progressing",
        ),
        ("provider stalled", sick(failing(ProviderFault::AuthenticationFailed, 99)), not_ready("Stalled"), "Degraded"),
        (
            "15 minutes without one good answer",
            sick(failing(ProviderFault::Unreachable, -800)),
            not_ready("Stalled"),
            "Degraded",
        ),
        ("bad spec", stopped(stall(Reason::InvalidSpec)), stalled("InvalidSpec"), "Degraded"),
        ("unresolved selection", stopped(stall(Reason::SelectionNotFound)), stalled("SelectionNotFound"), "Degraded"),
        ("unresolved exclusion", stopped(stall(Reason::ExclusionUnresolved)), stalled("ExclusionUnresolved"), "Degraded"),
        ("ReadOnly with Enforce", stopped(stall(Reason::ReadOnly)), stalled("ReadOnly"), "Degraded"),
        ("not enforceable", stopped(stall(Reason::NotEnforceable)), stalled("NotEnforceable"), "Degraded"),
        ("cutoff far ahead", stopped(stall(Reason::CutoffInFuture)), stalled("CutoffInFuture"), "Degraded"),
        (
            "provider missing",
            stopped(stall(Reason::ProviderNotFound)),
            stalled("ProviderNotFound").replace("ProviderReady=True Verified", "ProviderReady=False ProviderNotFound"),
            "Degraded",
        ),
        ("some failed, nothing else moves", complete(failed(2)), stalled("PartiallyFailed"), "Degraded"),
        (
            "some failed for a cause that may pass",
            complete(failed_for_now(2)),
            moving("PartiallyFailed"),
            "Progressing",
        ),
        (
            "some unknown, nothing else moves",
            complete(Tally { unknown: 1, ..done() }),
            stalled("PartiallyFailed"),
            "Degraded",
        ),
        (
            "marks cleared by others",
            complete(Tally { cleared: 1, ..done() }),
            format!("{}, DriftDetected=True RequirementCleared", stalled("RequirementCleared")),
            "Degraded",
        ),
        (
            "everyone marked or changed",
            complete(done()),
            "Ready=True Enforced, ProviderReady=True Verified, Enforced=True Enforced, Changed=False AwaitingUsers".into(),
            "Healthy",
        ),
        (
            "the same with readyWhen Changed",
            with(ready_when_changed, complete(done())),
            "Ready=False AwaitingUsers, ProviderReady=True Verified, Enforced=True Enforced, Changed=False AwaitingUsers"
                .into(),
            "Progressing",
        ),
        (
            "everyone changed",
            with(ready_when_changed, complete(all_changed())),
            "Ready=True Changed, ProviderReady=True Verified, Enforced=True Enforced, Changed=True Changed".into(),
            "Healthy",
        ),
        (
            "Observe, complete pass, somebody due",
            with(observe, complete(Tally { pending: 4, ..done() })),
            "Ready=True Observed, ProviderReady=True Verified, Enforced=False Observed, Changed=False Observed".into(),
            "Healthy",
        ),
        (
            "Observe, complete pass, nobody due",
            with(observe, complete(done())),
            "Ready=True Observed, ProviderReady=True Verified, Enforced=True Enforced, Changed=False AwaitingUsers".into(),
            "Healthy",
        ),
        (
            "suspended before the first complete pass",
            with(suspend, policy(vec![target("workforce")])),
            "Ready=False Suspended, ProviderReady=True Verified, Enforced=False Suspended, Changed=False Suspended, \
             Suspended=True Suspended"
                .into(),
            "Suspended",
        ),
        (
            "suspended when all was well",
            with(suspend, complete(done())),
            "Ready=True Enforced, ProviderReady=True Verified, Enforced=True Enforced, Changed=False AwaitingUsers, \
             Suspended=True Suspended"
                .into(),
            "Suspended",
        ),
        (
            "suspended with people still due",
            with(suspend, complete(Tally { pending: 4, ..done() })),
            "Ready=False Suspended, ProviderReady=True Verified, Enforced=False Suspended, Changed=False Suspended, \
             Suspended=True Suspended"
                .into(),
            "Suspended",
        ),
    ];
    for (situation, outcome, expected, health) in table {
        let report = report(&outcome, None, at(100));
        assert_eq!(said(&report.status), expected, "{situation}");
        assert_eq!(argo(&report.status), health, "{situation}");
        assert_eq!(report.status.observed_generation, Some(3), "{situation}");
        for condition in &report.status.conditions {
            assert_eq!(condition.observed_generation, Some(3), "{situation}: {}", condition.type_);
            assert!(!condition.message.is_empty(), "{situation}: {}", condition.type_);
        }
    }
}

#[test]
fn a_bad_target_stops_only_itself_and_names_the_policys_reason() {
    let bad = TargetOutcome {
        stop: Some(Stop::stalled(Reason::SelectionNotFound, "spec.targets[0].groups[0]", "no such group")),
        ..target("analytics")
    };
    let moving = report(&policy(vec![bad.clone(), target("workforce")]), None, at(0));
    assert!(said(&moving.status).starts_with("Ready=False SelectionNotFound, Reconciling=True InProgress,"));
    let good = TargetOutcome { complete: Some(done()), ..target("workforce") };
    let rested = report(&policy(vec![bad, good]), None, at(0));
    assert!(said(&rested.status).starts_with("Ready=False SelectionNotFound, Stalled=True SelectionNotFound,"));
    let message = &condition(&rested.status, ConditionType::Ready).unwrap().message;
    assert_eq!(message, "target analytics: spec.targets[0].groups[0]: no such group");
    let reasons: Vec<_> = rested.status.targets.iter().map(|target| target.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["SelectionNotFound", "Enforced"]);
}

#[test]
fn the_worst_target_speaks() {
    let stalled =
        TargetOutcome { stop: Some(Stop::stalled(Reason::ReadOnly, "spec.targets[0]", "ReadOnly")), ..target("a") };
    let outage = TargetOutcome { health: failing(ProviderFault::AuthenticationFailed, 0), ..target("b") };
    let some_failed = TargetOutcome { complete: Some(failed(1)), ..target("c") };
    let cleared = TargetOutcome { complete: Some(Tally { cleared: 1, ..done() }), ..target("d") };
    let suspended =
        TargetOutcome { suspension: Some(Suspension::Provider("IdentityProvider/e".into())), ..target("e") };
    let moving = target("f");
    let waiting = TargetOutcome {
        stop: Some(Stop::waiting(Reason::WaitingForCutoff, at(9), "spec.requirement", "not yet")),
        ..target("g")
    };
    let done = TargetOutcome { complete: Some(done()), ..target("h") };
    let from_worst = [
        (stalled, "ReadOnly"),
        (outage, "ProviderNotReady"),
        (some_failed, "PartiallyFailed"),
        (cleared, "RequirementCleared"),
        (suspended, "Suspended"),
        (moving, "InProgress"),
        (waiting, "WaitingForCutoff"),
        (done, "Enforced"),
    ];
    for first in 0..from_worst.len() {
        let mut targets: Vec<_> = from_worst[first..].iter().map(|(target, _)| target.clone()).collect();
        targets.reverse();
        let report = report(&policy(targets), None, at(0));
        assert_eq!(condition(&report.status, ConditionType::Ready).unwrap().reason, from_worst[first].1);
    }
}

#[test]
fn targets_that_say_the_same_say_it_once_and_others_by_their_names() {
    let message = |reasons: [&str; 2]| {
        let stopped = |name: &str, why: &str| TargetOutcome {
            stop: Some(Stop::stalled(Reason::SelectionNotFound, "", why)),
            ..target(name)
        };
        let outcome = policy(vec![stopped("a", reasons[0]), stopped("b", reasons[1])]);
        let status = report(&outcome, None, at(0)).status;
        condition(&status, ConditionType::Ready).unwrap().message.clone()
    };
    assert_eq!(message(["no such group", "no such group"]), "no such group");
    assert_eq!(message(["no such group", "no such list"]), "target a: no such group; target b: no such list");
}

#[test]
fn what_is_done_and_what_to_do_about_cleared_marks_is_said() {
    let message = |outcome: &PolicyOutcome| {
        let status = report(outcome, None, at(0)).status;
        condition(&status, ConditionType::Ready).unwrap().message.clone()
    };
    let planning = policy(vec![target("workforce")]);
    assert!(message(&planning).contains("a change is required"), "{}", message(&planning));
    let looking = PolicyOutcome { mode: Mode::Observe, ..planning };
    assert!(!message(&looking).contains("a change is required"), "{}", message(&looking));
    let cleared = complete(Tally { cleared: 2, enforced: 5, ..Tally::default() });
    assert!(message(&cleared).contains("write a new policy"), "{}", message(&cleared));
}

#[test]
fn failures_are_said_while_a_first_pass_runs_and_forgotten_with_an_edit() {
    let running = policy(vec![TargetOutcome { running: Some(failed(2)), ..target("workforce") }]);
    let first = report(&running, None, at(0)).status;
    assert_eq!(first.failures.len(), 2);
    let edited = PolicyOutcome { generation: 4, ..policy(vec![target("workforce")]) };
    assert_eq!(report(&edited, Some(&first), at(5)).status.failures, []);
}

#[test]
fn one_failed_and_one_unknown_are_two_who_are_not_done() {
    let mut tally = failed(1);
    (tally.unknown, tally.pending) = (1, 1);
    assert!(
        said(&report(&complete(tally), None, at(0)).status).starts_with("Ready=False PartiallyFailed, Reconciling")
    );
}

#[test]
fn after_the_first_complete_pass_only_the_end_of_a_pass_moves_anything() {
    let first = report(&complete(done()), None, at(0)).status;
    let mut routine = complete(done());
    routine.targets[0].running = Some(Tally { pending: 1, enforced: 2, ..Tally::default() });
    let during = report(&routine, Some(&first), at(900));
    assert_eq!(during.difference, Difference::None);
    assert_eq!(during.events, []);
    let after = report(&complete(all_changed()), Some(&first), at(950));
    assert_eq!(after.difference, Difference::Words);
    assert_eq!(condition(&after.status, ConditionType::Changed).unwrap().status, "True");
}

#[test]
fn a_restart_takes_nothing_back() {
    let mut tally = failed(2);
    tally.skipped.insert(SkipReason::Disabled, 4);
    let before = report(&complete(tally), None, at(0)).status;
    let mut restarted = policy(vec![TargetOutcome { health: Health::Unverified, ..target("workforce") }]);
    assert_eq!(report(&restarted, Some(&before), at(500)).difference, Difference::None);
    restarted.targets[0].health = Health::Ready;
    restarted.targets[0].running = Some(Tally { enforced: 1, ..Tally::default() });
    let during = report(&restarted, Some(&before), at(501));
    assert_eq!((during.difference, during.events), (Difference::None, vec![]));
}

#[test]
fn what_a_human_had_to_correct_is_not_called_well_by_a_process_that_has_not_looked_yet() {
    let good = report(&complete(done()), None, at(0)).status;
    let stop = Stop::stalled(Reason::SelectionNotFound, "spec.targets[0].groups[0]", "no such group");
    let outcome = TargetOutcome { stop: Some(stop), complete: Some(done()), ..target("workforce") };
    let stalled = report(&policy(vec![outcome]), Some(&good), at(10)).status;
    assert!(said(&stalled).starts_with("Ready=False SelectionNotFound, Stalled=True SelectionNotFound"));
    let restarted = report(&policy(vec![target("workforce")]), Some(&stalled), at(20)).status;
    assert!(
        said(&restarted).starts_with("Ready=False InProgress, Reconciling=True InProgress"),
        "{}",
        said(&restarted)
    );
}

#[test]
fn what_failed_for_a_cause_that_may_pass_stalls_nothing_before_or_after_a_restart() {
    let mut both = failed_for_now(2);
    both.merge(&failed(1));
    for (tally, type_) in [(failed_for_now(2), ConditionType::Reconciling), (both, ConditionType::Stalled)] {
        let before = report(&complete(tally), None, at(0)).status;
        assert!(condition(&before, type_).is_some(), "{}", said(&before));
        let restarted = report(&policy(vec![target("workforce")]), Some(&before), at(60));
        assert_eq!(restarted.difference, Difference::None, "{}", said(&restarted.status));
    }
}

#[test]
fn what_a_human_must_correct_is_not_passed_over_for_what_may_pass_at_another_target() {
    let two = |first, second| policy(vec![first, TargetOutcome { complete: Some(second), ..target("contractors") }]);
    let known = TargetOutcome { complete: Some(failed(1)), ..target("workforce") };
    let before = report(&two(known, failed_for_now(1)), None, at(0)).status;
    let restarted = report(&two(target("workforce"), failed_for_now(2)), Some(&before), at(60)).status;
    let message = &condition(&restarted, ConditionType::Enforced).unwrap().message;
    assert!(message.contains("Correct the entry"), "{message}");
}

#[test]
fn a_stop_after_a_restart_is_said_in_its_own_words() {
    let stop = |path| Some(Stop::stalled(Reason::SelectionNotFound, path, "no such group"));
    let mut outcome = complete(done());
    outcome.targets[0].stop = stop("spec.targets[0].groups[0]");
    let before = report(&outcome, None, at(0)).status;
    let restarted = policy(vec![TargetOutcome { stop: stop("spec.targets[0].groups[7]"), ..target("workforce") }]);
    let after = report(&restarted, Some(&before), at(60)).status;
    assert!(condition(&after, ConditionType::Ready).unwrap().message.contains("groups[7]"));
}

#[test]
fn an_outage_after_the_first_complete_pass_shows_in_provider_ready_only() {
    let first = report(&complete(done()), None, at(0)).status;
    let mut outage = complete(done());
    for (fault, now) in [
        (ProviderFault::Unreachable, 100),
        (ProviderFault::Unreachable, 5000),
        (ProviderFault::AuthenticationFailed, 10),
    ] {
        outage.targets[0].health = failing(fault, 0);
        let report = report(&outage, Some(&first), at(now));
        assert_eq!(
            said(&report.status),
            said(&first).replace("ProviderReady=True Verified", "ProviderReady=False ProviderNotReady")
        );
        assert_eq!(report.events, []);
    }
}

#[test]
fn a_short_silence_is_not_said_at_all() {
    let first = report(&complete(done()), None, at(0)).status;
    let mut silence = complete(done());
    silence.targets[0].health = failing(ProviderFault::Unreachable, 900);
    let report = report(&silence, Some(&first), at(930));
    assert_eq!(report.difference, Difference::None);
    assert_eq!(report.speaks_again, Some(Duration::from_secs(31)));
}

#[test]
fn an_edit_begins_anew() {
    let first = report(&complete(done()), None, at(0)).status;
    let edited = PolicyOutcome { generation: 4, ..policy(vec![target("workforce")]) };
    let report = report(&edited, Some(&first), at(50));
    assert!(said(&report.status).starts_with("Ready=False InProgress, Reconciling=True InProgress"));
    assert_eq!(report.status.targets[0].completed_at, None);
    assert_eq!(report.status.observed_generation, Some(4));
}

#[test]
fn the_first_completion_is_never_rewritten() {
    let first = report(&complete(done()), None, at(10)).status;
    let later = report(&complete(all_changed()), Some(&first), at(5000)).status;
    assert_eq!(later.targets[0].completed_at.as_ref().unwrap().0, at(10));
}

#[test]
fn a_transition_time_moves_with_the_status_and_not_with_the_reason() {
    let planning = report(&policy(vec![target("workforce")]), None, at(10)).status;
    let with_fraction = at(20).checked_add(SignedDuration::from_millis(700)).unwrap();
    let partly = report(&complete(failed(1)), Some(&planning), with_fraction).status;
    assert_eq!(condition(&partly, ConditionType::Ready).unwrap().last_transition_time.0, at(10));
    assert_eq!(condition(&partly, ConditionType::Stalled).unwrap().last_transition_time.0, at(20));
    let good = report(&complete(done()), Some(&partly), at(30)).status;
    assert_eq!(condition(&good, ConditionType::Ready).unwrap().last_transition_time.0, at(30));
}

#[test]
fn a_smooth_campaign_is_two_events_and_its_counters_are_no_words() {
    let mut outcome = policy(vec![target("workforce")]);
    let mut events = Vec::new();
    let first = report(&outcome, None, at(0));
    events.extend(first.events);
    outcome.targets[0].running = Some(Tally { enforced: 100, pending: 900, ..Tally::default() });
    let second = report(&outcome, Some(&first.status), at(2));
    assert_eq!(second.difference, Difference::Counters);
    events.extend(second.events);
    outcome.targets[0].running = None;
    outcome.targets[0].complete = Some(Tally { enforced: 1000, ..Tally::default() });
    let third = report(&outcome, Some(&second.status), at(4));
    assert_eq!(third.difference, Difference::Words);
    events.extend(third.events);
    let reasons: Vec<_> = events.iter().map(|event| (event.reason, event.warning)).collect();
    assert_eq!(reasons, [(Reason::InProgress, false), (Reason::Enforced, false)]);
}

#[test]
fn counters_add_up_over_targets_and_progress_leaves_the_skipped_out() {
    let mut one = done();
    one.skipped.insert(SkipReason::Disabled, 6);
    let two = Tally { pending: 4, ..all_changed() };
    let outcome = policy(vec![
        TargetOutcome { complete: Some(one), ..target("a") },
        TargetOutcome { complete: Some(two), ..target("b") },
    ]);
    let status = report(&outcome, None, at(0)).status;
    let counts = status.counts.unwrap();
    assert_eq!((counts.targeted, counts.compliant, counts.skipped, counts.pending), (30, 6, 6, 4));
    assert_eq!(status.progress.as_deref(), Some("20/24"));
}

#[test]
fn a_pass_that_starts_again_does_not_count_down() {
    let mut outcome = policy(vec![TargetOutcome {
        running: Some(Tally { enforced: 700, pending: 300, ..Tally::default() }),
        ..target("workforce")
    }]);
    let before = report(&outcome, None, at(0)).status;
    outcome.targets[0].running = Some(Tally { enforced: 200, ..Tally::default() });
    assert_eq!(report(&outcome, Some(&before), at(60)).status.progress.as_deref(), Some("700/1000"));
}

#[test]
fn a_message_breaks_failed_and_skipped_down() {
    let mut tally = failed(2);
    tally.skipped.insert(SkipReason::Protected, 1);
    tally.skipped.insert(SkipReason::Disabled, 3);
    let status = report(&complete(tally), None, at(0)).status;
    assert_eq!(
        condition(&status, ConditionType::Ready).unwrap().message,
        "of 11 accounts 2 failed (samples are in status.failures). Correct the entry or the account, or exclude it; all are \
         looked at again with every pass, and one that was refused is asked again after an edit or a new value of the \
         annotation passwordreset.dev/reconcile: 5 enforced, 2 failed (NotFound 2), 4 skipped (Protected 1, Disabled 3)"
    );
}

#[test]
fn the_parts_of_a_sum_add_up_over_targets() {
    let targets = [2, 3].map(|disabled| {
        let tally = Tally { skipped: [(SkipReason::Disabled, disabled)].into(), ..done() };
        TargetOutcome { complete: Some(tally), ..target("a") }
    });
    let status = report(&policy(targets.into()), None, at(0)).status;
    let said = &condition(&status, ConditionType::Enforced).unwrap().message;
    assert!(said.ends_with("5 skipped (Disabled 5)"), "{said}");
}

#[test]
fn a_pass_that_has_found_as_many_as_the_one_before_a_restart_is_believed() {
    let mut outcome =
        policy(vec![TargetOutcome { running: Some(Tally { pending: 10, ..Tally::default() }), ..target("a") }]);
    let before = report(&outcome, None, at(0)).status;
    outcome.targets[0].running = Some(Tally { enforced: 10, ..Tally::default() });
    let status = report(&outcome, Some(&before), at(60)).status;
    assert_eq!(status.targets[0].counts.unwrap().enforced, 10);
}

#[test]
fn that_sessions_are_not_ended_is_said_of_whichever_target_it_holds() {
    let refused = Tally { sessions_refused: true, ..done() };
    for targets in [[done(), refused.clone()], [refused, done()]] {
        let targets = targets.map(|tally| TargetOutcome { complete: Some(tally), ..target("a") });
        let status = report(&policy(targets.into()), None, at(0)).status;
        let said = &condition(&status, ConditionType::Enforced).unwrap().message;
        assert!(said.ends_with("and set a new value of the annotation passwordreset.dev/reconcile"), "{said}");
    }
    let said = |tally| {
        let status = report(&complete(tally), None, at(0)).status;
        condition(&status, ConditionType::Enforced).unwrap().message.clone()
    };
    assert!(!said(done()).contains("essions"));
    let kept = said(Tally { sessions_kept: 3, ..done() });
    assert!(kept.contains("The sessions of 3 accounts could not be ended"), "{kept}");
}

#[test]
fn samples_keep_their_first_time_and_the_targets_take_turns() {
    let many = TargetOutcome { complete: Some(failed(20)), ..target("a") };
    let few = TargetOutcome { complete: Some(failed(3)), ..target("b") };
    let first = report(&policy(vec![many, few]), None, at(0)).status;
    assert_eq!(first.failures.len(), 20);
    assert_eq!(first.failures.iter().filter(|sample| sample.target == "b").count(), 3);
    let mut fewer = failed(2);
    fewer.add_failure("id-77", FailureCategory::Forbidden);
    let second = report(
        &policy(vec![TargetOutcome { complete: Some(fewer), ..target("a") }, target("b")]),
        Some(&first),
        at(60),
    );
    let of_a: Vec<_> = second.status.failures.iter().filter(|sample| sample.target == "a").collect();
    let times: Vec<_> = of_a.iter().map(|sample| (sample.subject.as_str(), sample.first_seen.0)).collect();
    assert_eq!(times, [("spec.targets[0].users[0]", at(0)), ("spec.targets[0].users[1]", at(0)), ("id-77", at(60))]);
}

#[test]
fn a_subject_that_fails_in_another_way_fails_since_then() {
    let failing = |category| {
        let mut tally = Tally { enforced: 5, ..Tally::default() };
        tally.add_failure("id-1", category);
        tally.add_failure("id-2", category);
        complete(tally)
    };
    let first = report(&failing(FailureCategory::Forbidden), None, at(0)).status;
    let since = |status: &Status| status.failures.iter().map(|sample| sample.first_seen.0).collect::<Vec<_>>();
    assert_eq!(since(&report(&failing(FailureCategory::Forbidden), Some(&first), at(60)).status), [at(0), at(0)]);
    assert_eq!(since(&report(&failing(FailureCategory::Rejected), Some(&first), at(60)).status), [at(60), at(60)]);
}

#[test]
fn where_nobody_failed_nothing_is_said_of_causes_that_may_pass() {
    let found = Findings::remembered(Default::default(), std::iter::empty());
    assert!(!found.all_may_pass() && found.failed.is_empty());
}

#[test]
fn samples_of_many_targets_fill_their_room_and_no_more() {
    let targets = ["a", "b", "c"].map(|name| TargetOutcome { complete: Some(failed(20)), ..target(name) });
    let status = report(&policy(targets.into()), None, at(0)).status;
    let of = |name: &str| status.failures.iter().filter(|sample| sample.target == name).count();
    assert_eq!((of("a"), of("b"), of("c")), (7, 7, 6));
}

#[test]
fn the_order_in_which_failures_are_found_is_not_said() {
    let sample = |n: u32| Sample { subject: format!("id-{n}"), category: FailureCategory::Rejected };
    let mut tally = failed(0);
    tally.failed.insert(FailureCategory::Rejected, 2);
    tally.samples = vec![sample(1), sample(2)];
    let first = report(&complete(tally.clone()), None, at(0)).status;
    tally.samples.reverse();
    assert_eq!(report(&complete(tally), Some(&first), at(900)).difference, Difference::None);
}

#[test]
fn a_message_that_names_a_clock_is_not_rewritten_with_every_look() {
    let look = |clock: &str| {
        stopped(Stop::stalled(Reason::CutoffInFuture, "spec.requirement", format!("the clock said {clock}")))
    };
    let first = report(&look("12:00"), None, at(0)).status;
    assert_eq!(report(&look("12:05"), Some(&first), at(300)).difference, Difference::None);
}

#[test]
fn a_suspension_of_one_provider_is_not_the_policys() {
    let suspended =
        TargetOutcome { suspension: Some(Suspension::Provider("IdentityProvider/a".into())), ..target("a") };
    let one =
        report(&policy(vec![suspended.clone(), TargetOutcome { complete: Some(done()), ..target("b") }]), None, at(0));
    assert!(condition(&one.status, ConditionType::Suspended).is_none());
    assert!(said(&one.status).starts_with("Ready=False Suspended, ProviderReady"));
    let all = report(&policy(vec![suspended]), None, at(0));
    assert!(condition(&all.status, ConditionType::Suspended).is_some());
}

#[test]
fn suspending_a_finished_policy_changes_nothing_but_suspended() {
    let first = report(&complete(done()), None, at(0)).status;
    let paused = PolicyOutcome { suspension: Some(Suspension::Annotation("change freeze".into())), ..complete(done()) };
    let report = report(&paused, Some(&first), at(60));
    let (suspended, rest) = report.status.conditions.split_last().unwrap();
    assert_eq!(rest, first.conditions);
    assert!(suspended.message.ends_with("It says: change freeze"), "{}", suspended.message);
    assert_eq!(report.events.len(), 1);
}

#[test]
fn the_reconcile_token_is_echoed_and_kept() {
    let token = PolicyOutcome { handled_reconcile: Some("token-1".into()), ..complete(done()) };
    let first = report(&token, None, at(0)).status;
    let later = report(&complete(done()), Some(&first), at(60));
    assert_eq!(later.status.last_handled_reconcile.as_deref(), Some("token-1"));
    assert_eq!(later.difference, Difference::None);
    let again = PolicyOutcome { handled_reconcile: Some("token-2".into()), ..complete(done()) };
    assert_eq!(report(&again, Some(&first), at(60)).difference, Difference::Words);
}

#[test]
fn what_is_said_of_a_new_generation_is_no_counter() {
    let first = report(&complete(done()), None, at(0)).status;
    let edited = PolicyOutcome { generation: 4, ..complete(done()) };
    assert_eq!(report(&edited, Some(&first), at(60)).difference, Difference::Words);
}

#[test]
fn the_next_words_are_announced() {
    let stop = Stop::waiting(Reason::WaitingForCutoff, at(300), "spec.requirement", "not yet");
    assert_eq!(report(&stopped(stop), None, at(100)).speaks_again, Some(Duration::from_secs(200)));
    assert_eq!(report(&complete(done()), None, at(100)).speaks_again, None);
}

#[test]
fn a_time_that_has_passed_is_not_looked_forward_to() {
    let stop = Stop::waiting(Reason::WaitingForCutoff, at(300), "spec.requirement", "not yet");
    assert_eq!(report(&stopped(stop), None, at(300)).speaks_again, None);
}

#[test]
fn everyone_has_changed_only_when_every_target_has() {
    let a = TargetOutcome { complete: Some(all_changed()), ..target("a") };
    let b = TargetOutcome { complete: Some(done()), ..target("b") };
    let some = report(&policy(vec![a.clone(), b]), None, at(0)).status;
    assert!(said(&some).starts_with("Ready=True Enforced,"), "{}", said(&some));
    let b = TargetOutcome { complete: Some(all_changed()), ..target("b") };
    let all = report(&policy(vec![a, b]), None, at(0)).status;
    assert!(said(&all).starts_with("Ready=True Changed,"), "{}", said(&all));
}

#[test]
fn failures_are_named_while_others_are_still_due() {
    let both = report(&complete(Tally { pending: 3, ..failed(1) }), None, at(0)).status;
    assert!(
        said(&both).starts_with("Ready=False PartiallyFailed, Reconciling=True PartiallyFailed,"),
        "{}",
        said(&both)
    );
    let due = report(&complete(Tally { pending: 3, ..done() }), None, at(0)).status;
    assert!(said(&due).starts_with("Ready=False InProgress, Reconciling=True InProgress,"), "{}", said(&due));
}

#[test]
fn notes_and_messages_fit() {
    let long = Stop::stalled(Reason::InvalidSpec, "spec", "ä".repeat(9000));
    let report = report(&stopped(long), None, at(0));
    assert!(report.events.iter().all(|event| event.note.len() <= 1024));
    assert!(!report.events.is_empty() && report.events.iter().all(|event| event.note.len() > 1000), "cut and no more");
    assert!(report.status.conditions.iter().all(|condition| condition.message.len() <= 4096));
}

fn any_tally() -> impl Strategy<Value = Tally> {
    (proptest::array::uniform8(0_u64..3), 0_u64..2).prop_map(|([c, e, ch, p, cl, s, f, u], more)| {
        let mut tally = Tally {
            compliant: c,
            enforced: e,
            changed: ch,
            pending: p * more,
            cleared: cl,
            unknown: u,
            ..Tally::default()
        };
        tally.skipped.insert(SkipReason::Disabled, s);
        for n in 0..f {
            tally.add_failure(format!("id-{n}"), FailureCategory::Rejected);
        }
        tally
    })
}

fn any_health() -> impl Strategy<Value = Health> {
    prop_oneof![
        1 => Just(Health::Unverified),
        3 => Just(Health::Ready),
        2 => (proptest::sample::select(&ProviderFault::ALL[..]), -1000_i64..1000)
            .prop_map(|(fault, since)| failing(fault, since)),
    ]
}

fn any_stop() -> impl Strategy<Value = Stop> {
    prop_oneof![
        proptest::sample::select(vec![
            Reason::ReadOnly,
            Reason::CutoffInFuture,
            Reason::ProviderNotFound,
            Reason::LedgerLost
        ])
        .prop_map(|reason| Stop::stalled(reason, "spec.targets[0]", "correct it")),
        (0_i64..2000).prop_map(|until| Stop::waiting(Reason::WaitingForCutoff, at(until), "spec", "not yet")),
        Just(Stop::transient(Reason::InProgress, "", "the API server does not answer")),
    ]
}

fn any_suspension() -> impl Strategy<Value = Option<Suspension>> {
    proptest::option::weighted(
        0.2,
        prop_oneof![Just(Suspension::Operator), Just(Suspension::Spec), Just(Suspension::Annotation("why".into()))],
    )
}

fn any_outcome() -> impl Strategy<Value = PolicyOutcome> {
    let parts = (
        any_health(),
        any_suspension(),
        proptest::option::weighted(0.2, any_stop()),
        proptest::option::of(any_tally()),
        proptest::option::of(any_tally()),
    );
    (1_i64..3, any::<bool>(), any::<bool>(), any_suspension(), proptest::collection::vec(parts, 1..4)).prop_map(
        |(generation, observe, changed, suspension, targets)| PolicyOutcome {
            generation,
            mode: if observe { Mode::Observe } else { Mode::Enforce },
            ready_when: if changed { ReadyWhen::Changed } else { ReadyWhen::Enforced },
            suspension,
            targets: targets
                .into_iter()
                .enumerate()
                .map(|(n, (health, suspension, stop, running, complete))| TargetOutcome {
                    health,
                    suspension,
                    stop,
                    running,
                    complete,
                    ..target(&format!("target-{n}"))
                })
                .collect(),
            handled_reconcile: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happened_what_is_said_holds(history in proptest::collection::vec(any_outcome(), 1..5)) {
        let mut before: Option<Status> = None;
        for (step, outcome) in history.iter().enumerate() {
            let now = at(100 * i64::try_from(step).unwrap());
            let report = report(outcome, before.as_ref(), now);
            let status = &report.status;
            let is = |type_, truth: &str| condition(status, type_).is_some_and(|c| c.status == truth);

            // The list: each type once, what is always there, what is only there while true.
            let mut types: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
            let length = types.len();
            types.sort_unstable();
            types.dedup();
            prop_assert_eq!(types.len(), length);
            for always in [ConditionType::Ready, ConditionType::ProviderReady, ConditionType::Enforced, ConditionType::Changed] {
                prop_assert!(condition(status, always).is_some());
            }
            for while_true in [ConditionType::Reconciling, ConditionType::Stalled, ConditionType::Suspended, ConditionType::DriftDetected] {
                prop_assert!(condition(status, while_true).is_none_or(|c| c.status == "True"));
            }
            prop_assert!(!(is(ConditionType::Reconciling, "True") && is(ConditionType::Stalled, "True")));
            if is(ConditionType::Ready, "True") || is(ConditionType::Suspended, "True") {
                prop_assert!(condition(status, ConditionType::Reconciling).is_none());
                prop_assert!(condition(status, ConditionType::Stalled).is_none());
            }

            // Enforced and Changed: exactly what complete passes have shown.
            let known: Option<Vec<crate::api::policy_status::Counts>> =
                status.targets.iter().map(|t| t.completed_at.as_ref().and(t.counts)).collect();
            let enforced = known.as_ref().is_some_and(|all| {
                all.iter().all(|c| c.pending == 0 && c.failed == 0 && c.unknown == 0 && c.cleared == 0)
            });
            let changed = enforced && known.is_some_and(|all| all.iter().all(|c| c.enforced == 0));
            prop_assert_eq!(is(ConditionType::Enforced, "True"), enforced);
            prop_assert_eq!(is(ConditionType::Changed, "True"), changed);

            // Counts add up.
            for c in status.targets.iter().filter_map(|t| t.counts).chain(status.counts) {
                prop_assert_eq!(
                    c.targeted,
                    c.compliant + c.enforced + c.changed + c.pending + c.cleared + c.skipped + c.failed + c.unknown
                );
            }
            prop_assert!(status.failures.len() <= 20);
            prop_assert!(report.events.len() <= 3);

            // Saying it again changes nothing.
            let again = super::report(outcome, Some(status), now);
            prop_assert_eq!(&again.status, status);
            prop_assert_eq!(again.difference, Difference::None);
            prop_assert_eq!(again.events, vec![]);
            before = Some(report.status);
        }
    }
}
