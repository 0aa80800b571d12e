use super::*;
use crate::plan::capabilities::Visibility;
use crate::plan::decide::{Facts, Rules, Verdict, decide};
use crate::plan::observed::ChangeTime;

const T: i64 = 1_700_000_000;
const INTENT: i64 = T + 100;
const NOW: i64 = T + 1_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn fine() -> Circumstances {
    Circumstances {
        target: 2,
        whole_tenant: true,
        excludes: false,
        protected: 0,
        own_account_has_password: Some(false),
        states: AccountStates { active: true, locked: true, disabled: true },
        known_changed: 0,
    }
}

fn account(mark: Mark, sign_in: i64) -> Account {
    Account {
        credential: Credential::Local,
        mark,
        changed: ChangeTime::Absent,
        locked: Some(false),
        disabled: Some(false),
        sign_in: SignIn::At(at(sign_in)),
        ..Account::unknown("id", at(NOW))
    }
}

fn unmarked() -> Account {
    account(Mark::Unmarked, T - 50)
}

fn marked() -> Account {
    account(Mark::Marked, T - 50)
}

fn signed_in_since() -> Account {
    account(Mark::Unmarked, INTENT + 50)
}

fn known_mark() -> Entry {
    Entry::new(State::Marked { baseline: Baseline::Never }, at(T + 50))
}

fn outcome(answered: bool, rows: &[(Account, Option<Entry>)]) -> Outcome {
    let intent = Everybody { at: INTENT as u32, stage: EverybodyStage::Open };
    let mut inquiry = Inquiry::new(intent, answered);
    rows.iter().for_each(|(account, entry)| inquiry.row(account, entry.as_ref()));
    inquiry.outcome()
}

#[test]
fn the_call_may_be_sent_when_nobody_is_to_be_spared() {
    assert_eq!(refused_because(&fine()), []);
    let states = AccountStates { locked: false, ..fine().states };
    assert_eq!(refused_because(&Circumstances { states, ..fine() }), [], "the provider has no lockout to look at");
}

#[test]
fn the_call_is_refused_with_the_field_and_what_to_write_instead() {
    let without_disabled = AccountStates { disabled: false, ..fine().states };
    for (circumstances, path, says) in [
        (Circumstances { excludes: true, ..fine() }, "spec.targets[2].exclude", "remove exclude"),
        (Circumstances { protected: 3, ..fine() }, "the provider object's spec.protectedUsers", "3 protected users"),
        (Circumstances { whole_tenant: false, ..fine() }, "spec.targets[2].scope", "set scope to Tenant"),
        (
            Circumstances { own_account_has_password: Some(true), ..fine() },
            "the provider object's credentialsSecretRef",
            "service account",
        ),
        (
            Circumstances { own_account_has_password: None, ..fine() },
            "the provider object's credentialsSecretRef",
            "not known",
        ),
        (
            Circumstances { states: without_disabled, ..fine() },
            "spec.targets[2].accountStates",
            "add Active and Disabled",
        ),
        (Circumstances { known_changed: 1, ..fine() }, "spec.targets[2].strategy", "1 accounts have changed"),
    ] {
        let reasons = refused_because(&circumstances);
        assert_eq!(reasons.len(), 1, "{circumstances:?}");
        assert_eq!(reasons[0].path, path);
        assert!(reasons[0].message.contains(says), "{}", reasons[0].message);
        assert!(reasons[0].message.contains("set spec.targets[2].strategy to PerUser"));
    }
}

#[test]
fn every_reason_is_told_at_once() {
    let all = Circumstances {
        whole_tenant: false,
        excludes: true,
        protected: 1,
        own_account_has_password: None,
        states: AccountStates::default(),
        known_changed: 1,
        ..fine()
    };
    assert_eq!(refused_because(&all).len(), 6);
}

#[test]
fn an_account_is_known_changed_by_ledger_by_evidence_or_by_a_credential_created_since() {
    let since = Entry::new(State::Changed, at(T));
    let before = Entry::new(State::Changed, at(T - 1));
    let evidence = |m: i64| Evidence { newest: None, changed: Some(m as u32) };
    let created = |seconds| Account { credential_created: Some(at(seconds)), ..unmarked() };
    let known = |account: &Account, entry: Option<Entry>, evidence: Option<Evidence>| {
        is_known_changed(account, entry.as_ref(), evidence.as_ref(), at(T))
    };
    assert!(known(&unmarked(), Some(since), None));
    assert!(!known(&unmarked(), Some(before), None));
    assert!(!known(&unmarked(), Some(known_mark()), None));
    assert!(known(&unmarked(), None, Some(evidence(T))));
    assert!(!known(&unmarked(), None, Some(evidence(T - 1))));
    assert!(known(&created(T), None, None));
    assert!(!known(&created(T - 1), None, None));
}

#[test]
fn the_call_arrived_if_an_account_unmarked_before_the_intent_is_marked_now() {
    for answered in [true, false] {
        let rows = [(unmarked(), None), (signed_in_since(), None), (marked(), None)];
        assert_eq!(outcome(answered, &rows), Outcome::Arrived);
    }
}

#[test]
fn a_mark_that_was_there_before_the_intent_or_came_with_a_new_account_does_not_prove_it() {
    let new = Account { credential_created: Some(at(INTENT + 5)), ..marked() };
    let elsewhere = Account { credential: Credential::Federated, ..marked() };
    let rows = [(marked(), Some(known_mark())), (new, None), (elsewhere, None), (unmarked(), None)];
    assert_eq!(outcome(false, &rows), Outcome::SendAgain);
}

#[test]
fn nobody_marked_and_nobody_signed_in_is_sent_again() {
    let never = Account { sign_in: SignIn::Never, ..unmarked() };
    assert_eq!(outcome(false, &[(unmarked(), None), (never, None)]), Outcome::SendAgain);
}

#[test]
fn nobody_marked_but_somebody_signed_in_is_required_one_by_one() {
    assert_eq!(outcome(false, &[(unmarked(), None), (signed_in_since(), None)]), Outcome::OneByOne);
    let unknown = Account { sign_in: SignIn::NotGiven, ..unmarked() };
    assert_eq!(outcome(false, &[(unknown, None)]), Outcome::OneByOne, "what is not given is not taken for never");
    let same_second = account(Mark::Unmarked, INTENT);
    assert_eq!(outcome(false, &[(same_second, None)]), Outcome::OneByOne);
}

#[test]
fn a_call_that_was_answered_and_marked_nobody_is_not_sent_again() {
    assert_eq!(outcome(true, &[(unmarked(), None)]), Outcome::OneByOne);
}

fn rules() -> Rules {
    Rules {
        cutoff: at(T),
        rolling: false,
        states: fine().states,
        visibility: Visibility::MarkAndSignIn,
        remember_compliant: false,
        repeat_without_effect: true,
        settle_seconds: 30,
        refusal_tag: 1,
    }
}

fn verdict_after(stage: EverybodyStage, account: &Account, entry: Option<Entry>) -> Verdict {
    let everybody = Everybody { at: INTENT as u32, stage };
    let facts = Facts { entry, evidence: arrived(Some(everybody)), complete: true, ..Facts::default() };
    decide(account, &facts, &rules(), at(NOW)).verdict
}

#[test]
fn after_a_call_that_arrived_unmarked_with_a_sign_in_since_is_changed_and_without_is_required() {
    let after = |account: &Account| verdict_after(EverybodyStage::Arrived, account, None);
    assert_eq!(after(&signed_in_since()), Verdict::Changed);
    assert_eq!(after(&unmarked()), Verdict::Require);
    assert_eq!(after(&marked()), Verdict::Enforced);
    assert_eq!(after(&account(Mark::Unmarked, INTENT)), Verdict::Require, "perhaps signed in just before");
}

#[test]
fn after_a_closed_call_a_new_hire_or_a_straggler_is_required_whether_signed_in_or_not() {
    for stage in [EverybodyStage::Closed, EverybodyStage::Open] {
        for account in [signed_in_since(), unmarked()] {
            assert_eq!(verdict_after(stage, &account, None), Verdict::Require);
        }
    }
}

#[test]
fn a_single_requirement_after_the_call_that_a_crash_caught_is_written_again() {
    let intent = Entry::new(State::Intended, at(INTENT + 60));
    let signed_in = account(Mark::Unmarked, INTENT + 70);
    assert_eq!(verdict_after(EverybodyStage::Arrived, &signed_in, Some(intent)), Verdict::Require);
}

#[test]
fn a_mark_that_was_there_before_must_be_remembered_when_the_intent_is() {
    // The call was lost. What the listing before it showed is recorded as any pass would, and tells the mark from ours.
    let before = marked();
    let rules = rules();
    let record = decide(&before, &Facts { complete: true, ..Facts::default() }, &rules, at(INTENT)).record;
    assert!(record.is_some());
    assert_eq!(outcome(false, &[(before.clone(), record), (unmarked(), None)]), Outcome::SendAgain);
    assert_eq!(outcome(false, &[(before, None), (unmarked(), None)]), Outcome::Arrived, "forgotten, it would mislead");
}
