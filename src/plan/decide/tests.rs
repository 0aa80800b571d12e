use jiff::Timestamp;

use super::*;
use crate::plan::evidence::{Evidence, Sighting};
use crate::plan::ledger::{Baseline, State};
use crate::plan::observed::{Account, ChangeTime, Credential, Mark, SignIn};

/// The cutoff of all tests, and times before and after it, in seconds.
const T: i64 = 1_700_000_000;
const BEFORE: i64 = T - 1_000;
const NOW: i64 = T + 1_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// Shows mark and change time (MonoCloud).
fn class_a() -> Rules {
    Rules {
        cutoff: at(T),
        rolling: false,
        states: AccountStates::default(),
        visibility: Visibility::MarkAndChangeTime,
        remember_compliant: false,
        repeat_without_effect: true,
        settle_seconds: 30,
        refusal_tag: 1,
    }
}

/// Shows mark and last sign-in (Looker).
fn class_b() -> Rules {
    Rules { visibility: Visibility::MarkAndSignIn, ..class_a() }
}

/// An active account with a local password that is due: unmarked, last changed before T, last signed in before T.
fn due() -> Account {
    Account {
        credential: Credential::Local,
        mark: Mark::Unmarked,
        changed: ChangeTime::At(at(BEFORE)),
        locked: Some(false),
        disabled: Some(false),
        sign_in: SignIn::At(at(BEFORE)),
        ..Account::unknown("id-1", at(NOW))
    }
}

fn marked() -> Account {
    Account { mark: Mark::Marked, ..due() }
}

fn changed(seconds: i64) -> Account {
    Account { changed: ChangeTime::At(at(seconds)), ..due() }
}

fn signed_in(seconds: i64) -> Account {
    Account { sign_in: SignIn::At(at(seconds)), changed: ChangeTime::Absent, ..due() }
}

/// A mark of our own write, seen at `m`, with a baseline of `baseline` seconds.
fn own_mark(m: i64, baseline: i64) -> Entry {
    Entry { writes: 1, ..Entry::new(State::Marked { baseline: Baseline::at(at(baseline)) }, at(m)) }
}

fn entry(state: State, seconds: i64) -> Entry {
    Entry::new(state, at(seconds))
}

fn knowing(entry: Entry) -> Facts {
    Facts { entry: Some(entry), ..Facts::default() }
}

fn seen(m: i64, sighting: Sighting) -> Option<Evidence> {
    Some(Evidence { newest: Some((m as u32, sighting)), changed: None })
}

fn complete() -> Facts {
    Facts { complete: true, ..Facts::default() }
}

fn judged(account: &Account, facts: &Facts, rules: &Rules) -> Decision {
    decide(account, facts, rules, at(NOW))
}

fn verdict(account: &Account, facts: &Facts, rules: &Rules) -> Verdict {
    judged(account, facts, rules).verdict
}

// Rule 1

#[test]
fn protected_accounts_and_the_operators_own_are_skipped_whatever_they_show() {
    for account in [due(), marked(), changed(T), Account { credential: Credential::NoPassword, ..due() }] {
        for facts in [
            Facts { protected: true, ..Facts::default() },
            Facts { own: true, ..Facts::default() },
            Facts { protected: true, excluded: true, ..knowing(entry(State::Changed, T)) },
        ] {
            assert_eq!(judged(&account, &facts, &class_a()), Verdict::Skip(SkipReason::Protected).into());
        }
    }
}

// Rule 2

#[test]
fn who_is_excluded_is_not_targeted() {
    for account in [due(), marked(), changed(T)] {
        let facts = Facts { excluded: true, ..Facts::default() };
        assert_eq!(judged(&account, &facts, &class_a()), Verdict::NotTargeted.into());
    }
}

#[test]
fn without_a_password_kept_here_there_is_nothing_to_require_whatever_is_selected() {
    let every = Rules { states: AccountStates { active: true, locked: true, disabled: true }, ..class_a() };
    for (credential, reason) in [
        (Credential::NoPassword, SkipReason::NoPassword),
        (Credential::Federated, SkipReason::Federated),
        (Credential::Service, SkipReason::Service),
    ] {
        for account in [due(), marked(), changed(T)] {
            let account = Account { credential, ..account };
            assert_eq!(verdict(&account, &Facts::default(), &every), Verdict::Skip(reason));
        }
    }
}

// Rule 3

#[test]
fn what_the_ledger_says_is_changed_is_changed_whatever_it_shows_now() {
    let disabled = Account { disabled: Some(true), ..due() };
    for account in [due(), marked(), disabled, Account::unknown("id-1", at(NOW))] {
        assert_eq!(judged(&account, &knowing(entry(State::Changed, T)), &class_a()), Verdict::Changed.into());
        assert_eq!(judged(&account, &knowing(entry(State::Compliant, T)), &class_a()), Verdict::Compliant.into());
    }
}

#[test]
fn a_lockout_with_a_mark_that_was_seen_is_enforced_and_an_intent_is_not_enough() {
    let hidden = Account { mark: Mark::Hidden, locked: Some(true), ..due() };
    assert_eq!(judged(&hidden, &knowing(own_mark(T + 5, BEFORE)), &class_a()), Verdict::Enforced.into());
    for state in [State::Intended, State::Sent] {
        let facts = Facts { complete: true, ..knowing(entry(state, T + 5)) };
        assert_eq!(verdict(&hidden, &facts, &class_a()), Verdict::Skip(SkipReason::Locked));
        let locked_too = Rules { states: AccountStates { locked: true, ..class_a().states }, ..class_a() };
        assert!(matches!(verdict(&hidden, &facts, &locked_too), Verdict::Unknown(_)), "not written a second time");
    }
}

#[test]
fn a_lockout_that_hides_the_mark_does_not_hide_that_the_password_is_new_enough() {
    let locked_too = Rules { states: AccountStates { locked: true, ..class_a().states }, ..class_a() };
    let hidden = Account { mark: Mark::Hidden, ..changed(T) };
    assert_eq!(verdict(&hidden, &complete(), &locked_too), Verdict::Compliant);
    let old = Account { mark: Mark::Hidden, ..due() };
    assert_eq!(verdict(&old, &complete(), &locked_too), Verdict::Require);
}

#[test]
fn an_account_that_is_not_in_account_states_is_skipped_and_looked_at_again() {
    let locked = Account { locked: Some(true), ..due() };
    let disabled = Account { disabled: Some(true), ..due() };
    let both = Account { locked: Some(true), ..disabled.clone() };
    let rules = |active, locked, disabled| Rules { states: AccountStates { active, locked, disabled }, ..class_a() };
    let check = |account: &Account, rules: Rules| judged(account, &Facts::default(), &rules);
    assert_eq!(check(&locked, rules(true, false, false)), Verdict::Skip(SkipReason::Locked).into());
    assert_eq!(check(&disabled, rules(true, true, false)), Verdict::Skip(SkipReason::Disabled).into());
    assert_eq!(check(&both, rules(true, true, false)), Verdict::Skip(SkipReason::Disabled).into());
    assert_eq!(check(&both, rules(true, false, true)), Verdict::Skip(SkipReason::Locked).into());
    assert_eq!(check(&due(), rules(false, true, true)), Verdict::Skip(SkipReason::Active).into());
    assert_eq!(check(&locked, rules(true, true, false)), Verdict::Require.into());
    assert_eq!(check(&both, rules(false, true, true)), Verdict::Require.into());
    // The mark does not matter to that.
    assert_eq!(check(&Account { mark: Mark::Marked, ..disabled }, rules(true, false, false)).record, None);
}

#[test]
fn a_state_that_the_provider_did_not_give_is_unknown_and_not_written() {
    let unknown = Account { locked: None, ..due() };
    assert_eq!(verdict(&unknown, &Facts::default(), &class_a()), Verdict::NeedsRead);
    assert!(matches!(verdict(&unknown, &complete(), &class_a()), Verdict::Unknown(_)));
    let unknown = Account { disabled: None, ..due() };
    assert_eq!(verdict(&unknown, &Facts::default(), &class_a()), Verdict::NeedsRead);
    assert!(matches!(verdict(&unknown, &complete(), &class_a()), Verdict::Unknown(_)));
    // Where every state is targeted it does not matter which one it is.
    let every = Rules { states: AccountStates { active: true, locked: true, disabled: true }, ..class_a() };
    let unknown = Account { locked: None, disabled: None, ..due() };
    assert_eq!(verdict(&unknown, &complete(), &every), Verdict::Require);
}

// Rule 4

#[test]
fn who_is_marked_is_enforced_by_whomever_and_whatever_the_change_time_says() {
    for account in [marked(), Account { mark: Mark::Marked, ..changed(T + 5) }] {
        for known in [None, Some(entry(State::Intended, T)), Some(own_mark(T, BEFORE))] {
            let facts = Facts { entry: known, ..Facts::default() };
            assert_eq!(verdict(&account, &facts, &class_a()), Verdict::Enforced);
            assert_eq!(verdict(&account, &facts, &class_b()), Verdict::Enforced);
        }
    }
}

#[test]
fn a_marked_account_costs_no_read() {
    let row = Account { mark: Mark::Marked, ..Account::unknown("id-1", at(NOW)) };
    assert_eq!(verdict(&row, &Facts::default(), &class_a()), Verdict::Enforced);
}

#[test]
fn a_mark_is_remembered_with_what_was_read_together_with_it_and_not_written_again_for_nothing() {
    for (rules, baseline) in [(class_a(), BEFORE), (class_b(), BEFORE + 1)] {
        let account = Account { sign_in: SignIn::At(at(BEFORE + 1)), ..marked() };
        let expected = entry(State::Marked { baseline: Baseline::at(at(baseline)) }, NOW);
        assert_eq!(judged(&account, &Facts::default(), &rules).record, Some(expected));
        assert_eq!(judged(&account, &knowing(expected), &rules).record, None);
    }
}

#[test]
fn the_time_of_a_mark_is_rewritten_only_when_the_sign_in_moved_or_a_cutoff_was_reached_since() {
    let known = own_mark(T + 5, BEFORE);
    let moved = Account { sign_in: SignIn::At(at(T + 10)), ..marked() };
    assert_eq!(judged(&moved, &knowing(known), &class_b()).record, Some(own_mark(NOW, T + 10)));
    assert_eq!(judged(&marked(), &knowing(known), &class_b()).record, None);
    let early = own_mark(T - 5, BEFORE);
    assert_eq!(judged(&marked(), &knowing(early), &class_b()).record, Some(own_mark(NOW, BEFORE)));
    let not_reached = Account { answered_at: at(T - 1), ..marked() };
    assert_eq!(decide(&not_reached, &knowing(early), &class_b(), at(T - 1)).record, None);
}

#[test]
fn a_mark_without_the_sign_in_beside_it_asks_for_a_read_where_only_a_sign_in_tells() {
    let row = Account { sign_in: SignIn::NotGiven, ..marked() };
    assert_eq!(verdict(&row, &Facts::default(), &class_b()), Verdict::NeedsRead);
    assert_eq!(verdict(&row, &knowing(own_mark(T + 5, BEFORE)), &class_b()), Verdict::Enforced);
    assert_eq!(verdict(&row, &complete(), &class_b()), Verdict::Enforced);
}

// Rule 5

#[test]
fn unmarked_and_changed_at_or_after_t_is_compliant() {
    for seconds in [T, T + 1, NOW] {
        assert_eq!(judged(&changed(seconds), &Facts::default(), &class_a()), Verdict::Compliant.into());
    }
    assert_eq!(verdict(&changed(T - 1), &Facts::default(), &class_a()), Verdict::Require);
}

#[test]
fn what_costs_a_read_to_see_is_remembered() {
    let rules = Rules { remember_compliant: true, ..class_a() };
    let expected = entry(State::Compliant, T + 7);
    assert_eq!(judged(&changed(T + 7), &Facts::default(), &rules).record, Some(expected));
}

#[test]
fn changed_after_we_required_it_is_changed() {
    let decision = judged(&changed(NOW), &knowing(own_mark(T + 5, BEFORE)), &class_a());
    let expected = Entry { writes: 1, ..entry(State::Changed, NOW) };
    assert_eq!(decision, Decision { verdict: Verdict::Changed, record: Some(expected) });
}

#[test]
fn after_our_own_write_only_a_change_later_than_the_one_in_its_read_back_counts() {
    // The call itself moved the change time; then an admin took the mark away.
    let known = own_mark(T + 5, T + 4);
    assert_eq!(verdict(&changed(T + 4), &knowing(known), &class_a()), Verdict::Cleared);
    let by_a_millisecond = Account { changed: ChangeTime::At("2023-11-14T22:13:24.001Z".parse().unwrap()), ..due() };
    assert_eq!(verdict(&by_a_millisecond, &knowing(known), &class_a()), Verdict::Changed);
    // It still does not count after the mark was cleared and came back.
    let cleared = judged(&changed(T + 4), &knowing(known), &class_a()).record.unwrap();
    assert_eq!(verdict(&changed(T + 4), &knowing(cleared), &class_a()), Verdict::Cleared);
    let back = Account { mark: Mark::Marked, changed: ChangeTime::NotGiven, ..due() };
    let again = judged(&back, &knowing(cleared), &class_a()).record.unwrap();
    let later = Account { answered_at: at(NOW + 30), ..changed(T + 4) };
    assert_eq!(verdict(&later, &knowing(again), &class_a()), Verdict::Cleared);
}

#[test]
fn after_a_crash_without_a_read_back_any_change_since_t_counts() {
    assert_eq!(verdict(&changed(T), &knowing(entry(State::Intended, T + 5)), &class_a()), Verdict::Changed);
}

#[test]
fn a_mark_of_somebody_else_does_not_keep_a_change_from_counting() {
    let found = Entry { writes: 0, ..own_mark(T + 5, T + 4) };
    assert_eq!(verdict(&changed(T + 4), &knowing(found), &class_a()), Verdict::Compliant);
}

#[test]
fn a_credential_created_at_or_after_t_is_compliant_where_the_provider_says_so() {
    let created = |seconds| Account { credential_created: Some(at(seconds)), ..signed_in(BEFORE) };
    assert_eq!(verdict(&created(T), &Facts::default(), &class_b()), Verdict::Compliant);
    assert_eq!(verdict(&created(T - 1), &Facts::default(), &class_b()), Verdict::Require);
}

// Rule 6

#[test]
fn a_mark_that_went_without_a_change_is_cleared() {
    let decision = judged(&due(), &knowing(own_mark(T + 5, BEFORE)), &class_a());
    let baseline = Baseline::at(at(BEFORE));
    let expected = Entry { writes: 1, ..entry(State::Cleared { baseline }, NOW) };
    assert_eq!(decision, Decision { verdict: Verdict::Cleared, record: Some(expected) });
    let never = Account { changed: ChangeTime::Absent, ..due() };
    assert_eq!(verdict(&never, &knowing(own_mark(T + 5, BEFORE)), &class_a()), Verdict::Cleared);
}

#[test]
fn cleared_is_sticky_until_a_mark_is_seen_again_or_a_change() {
    let cleared = Entry { writes: 1, ..entry(State::Cleared { baseline: Baseline::at(at(BEFORE)) }, T + 9) };
    for rules in [class_a(), class_b()] {
        assert_eq!(judged(&due(), &knowing(cleared), &rules), Verdict::Cleared.into());
        let again = judged(&marked(), &knowing(cleared), &rules);
        assert_eq!(again, Decision { verdict: Verdict::Enforced, record: Some(own_mark(NOW, BEFORE)) });
    }
    assert_eq!(verdict(&changed(T + 20), &knowing(cleared), &class_a()), Verdict::Changed);
    assert_eq!(verdict(&signed_in(T + 20), &knowing(cleared), &class_b()), Verdict::Cleared);
}

#[test]
fn a_mark_that_is_back_is_measured_by_the_change_that_shows_now_unless_our_own_write_may_have_made_it() {
    let again = Account { changed: ChangeTime::At(at(T - 1)), ..marked() };
    for (writes, baseline) in [(0, T - 1), (1, BEFORE)] {
        let cleared = Entry { writes, ..entry(State::Cleared { baseline: Baseline::at(at(BEFORE)) }, T + 9) };
        let back = Entry { writes, ..own_mark(NOW, baseline) };
        let decision = Decision { verdict: Verdict::Enforced, record: Some(back) };
        assert_eq!(judged(&again, &knowing(cleared), &class_a()), decision, "{writes}");
    }
}

#[test]
fn a_mark_that_was_seen_before_t_does_not_count() {
    for rules in [class_a(), class_b()] {
        assert_eq!(verdict(&due(), &knowing(own_mark(T - 5, BEFORE)), &rules), Verdict::Require);
    }
    assert_eq!(verdict(&signed_in(NOW), &knowing(own_mark(T - 5, BEFORE)), &class_b()), Verdict::Require);
}

#[test]
fn mark_gone_and_a_sign_in_since_it_was_last_seen_is_changed_where_only_sign_ins_are_shown() {
    let decision = judged(&signed_in(T + 20), &knowing(own_mark(T + 5, BEFORE)), &class_b());
    let expected = Entry { writes: 1, ..entry(State::Changed, T + 5) };
    assert_eq!(decision, Decision { verdict: Verdict::Changed, record: Some(expected) });
    assert_eq!(verdict(&signed_in(BEFORE), &knowing(own_mark(T + 5, BEFORE)), &class_b()), Verdict::Cleared);
    let never = Account { sign_in: SignIn::Never, ..signed_in(0) };
    assert_eq!(verdict(&never, &knowing(own_mark(T + 5, BEFORE)), &class_b()), Verdict::Cleared);
}

#[test]
fn a_first_sign_in_ever_is_later_than_never() {
    let known = Entry { state: State::Marked { baseline: Baseline::Never }, ..own_mark(T + 5, 0) };
    assert_eq!(verdict(&signed_in(T + 20), &knowing(known), &class_b()), Verdict::Changed);
}

#[test]
fn a_sign_in_that_is_not_given_is_neither_a_change_nor_a_clearing() {
    let unknown = Account { sign_in: SignIn::NotGiven, ..due() };
    let facts = knowing(own_mark(T + 5, BEFORE));
    assert_eq!(verdict(&unknown, &facts, &class_b()), Verdict::NeedsRead);
    assert!(matches!(verdict(&unknown, &Facts { complete: true, ..facts }, &class_b()), Verdict::Unknown(_)));
    let blind = Entry { state: State::Marked { baseline: Baseline::Unknown }, ..own_mark(T + 5, 0) };
    assert!(matches!(verdict(&signed_in(T + 20), &knowing(blind), &class_b()), Verdict::Unknown(_)));
}

#[test]
fn a_sign_in_while_still_marked_is_not_taken_for_a_change_later() {
    // Signed in, did not change, gave up; then an admin cleared the mark.
    let mut known = own_mark(T + 5, BEFORE);
    let abandoned = Account { sign_in: SignIn::At(at(T + 10)), ..marked() };
    known = judged(&abandoned, &knowing(known), &class_b()).record.unwrap();
    let later = Account { answered_at: at(NOW + 30), ..signed_in(T + 10) };
    assert_eq!(verdict(&later, &knowing(known), &class_b()), Verdict::Cleared);
}

#[test]
fn a_mark_that_seems_gone_within_the_settle_time_may_not_show_yet() {
    for (rules, row) in [(class_a(), changed(BEFORE)), (class_b(), signed_in(BEFORE))] {
        let known = knowing(own_mark(NOW, BEFORE));
        let seen = |after: i64| judged(&Account { answered_at: at(NOW + after), ..row.clone() }, &known, &rules);
        assert_eq!(seen(1), Verdict::Wait(at(NOW + 15)).into(), "read again, and nothing is remembered");
        assert_eq!(seen(15), Verdict::Wait(at(NOW + 30)).into());
        assert_eq!(seen(30).verdict, Verdict::Cleared);
    }
}

#[test]
fn what_another_campaign_saw_change_after_a_mark_since_t_is_changed_here_and_remembered() {
    let facts = Facts { evidence: Some(Evidence { newest: None, changed: Some(T as u32) }), ..Facts::default() };
    let decision = judged(&marked(), &facts, &class_b());
    assert_eq!(decision, Decision { verdict: Verdict::Changed, record: Some(entry(State::Changed, T)) });
    let older = Facts { evidence: Some(Evidence { newest: None, changed: Some(T as u32 - 1) }), ..Facts::default() };
    assert_eq!(verdict(&due(), &older, &class_b()), Verdict::Require);
}

#[test]
fn a_mark_that_another_campaign_saw_since_t_lets_a_sign_in_tell_a_change() {
    let mark = Sighting::Marked(Baseline::at(at(BEFORE)));
    let facts = Facts { evidence: seen(T + 5, mark), ..Facts::default() };
    assert_eq!(verdict(&signed_in(T + 20), &facts, &class_b()), Verdict::Changed);
    assert_eq!(verdict(&signed_in(BEFORE), &facts, &class_b()), Verdict::Require, "its clearing is not ours");
    let early = Facts { evidence: seen(T - 5, mark), ..Facts::default() };
    assert_eq!(verdict(&signed_in(T + 20), &early, &class_b()), Verdict::Require);
}

#[test]
fn the_newest_sighting_of_any_campaign_tells() {
    let own = knowing(own_mark(T + 5, BEFORE));
    // Another campaign saw the mark later, together with the sign-in that looks like a change from here.
    let later = Facts { evidence: seen(T + 30, Sighting::Marked(Baseline::at(at(T + 20)))), ..own };
    assert_eq!(verdict(&signed_in(T + 20), &later, &class_b()), Verdict::Cleared);
    // Another campaign saw that it had gone without a sign-in.
    let gone = Facts { evidence: seen(T + 30, Sighting::Cleared), ..own };
    assert_eq!(verdict(&signed_in(T + 40), &gone, &class_b()), Verdict::Cleared);
    // Seen again by another campaign after this one saw it cleared.
    let cleared = knowing(entry(State::Cleared { baseline: Baseline::at(at(BEFORE)) }, T + 9));
    let again = Facts { evidence: seen(T + 30, Sighting::Marked(Baseline::at(at(T + 20)))), ..cleared };
    assert_eq!(verdict(&signed_in(T + 40), &again, &class_b()), Verdict::Changed);
    assert_eq!(verdict(&signed_in(T + 20), &again, &class_b()), Verdict::Cleared);
}

// Rule 7

#[test]
fn otherwise_it_is_due() {
    for rules in [class_a(), class_b()] {
        assert_eq!(judged(&due(), &Facts::default(), &rules), Verdict::Require.into());
    }
}

#[test]
fn what_the_row_does_not_give_costs_one_read_and_is_then_unknown() {
    let without_mark = Account { mark: Mark::NotGiven, ..due() };
    let without_credential = Account { credential: Credential::NotGiven, ..due() };
    for row in [without_mark, without_credential] {
        assert_eq!(judged(&row, &Facts::default(), &class_a()), Verdict::NeedsRead.into());
        assert!(matches!(verdict(&row, &complete(), &class_a()), Verdict::Unknown(_)));
    }
    let without_change = Account { changed: ChangeTime::NotGiven, ..due() };
    assert_eq!(verdict(&without_change, &Facts::default(), &class_a()), Verdict::NeedsRead);
    // A read that shows a time which cannot be read.
    assert!(matches!(verdict(&without_change, &complete(), &class_a()), Verdict::Unknown(_)));
    assert_eq!(verdict(&without_change, &complete(), &class_b()), Verdict::Require);
}

#[test]
fn skips_that_the_row_shows_cost_no_read() {
    let row = Account { disabled: Some(true), ..Account::unknown("id-1", at(NOW)) };
    assert_eq!(verdict(&row, &Facts::default(), &class_a()), Verdict::Skip(SkipReason::Disabled));
    let row = Account { credential: Credential::Federated, ..Account::unknown("id-1", at(NOW)) };
    assert_eq!(verdict(&row, &Facts::default(), &class_a()), Verdict::Skip(SkipReason::Federated));
}

#[test]
fn a_password_without_a_change_time_is_due_once_then_the_ledger_decides() {
    let account = Account { changed: ChangeTime::Absent, ..due() };
    assert_eq!(verdict(&account, &complete(), &class_a()), Verdict::Require);
    let facts = Facts { complete: true, ..knowing(own_mark(T + 5, BEFORE)) };
    assert_eq!(verdict(&account, &facts, &class_a()), Verdict::Cleared);
}

#[test]
fn a_change_that_another_campaign_saw_ends_what_was_remembered_here() {
    let evidence = Some(Evidence { newest: None, changed: Some((T + 9) as u32) });
    let facts = Facts { evidence, ..knowing(own_mark(T + 5, BEFORE)) };
    let decision = judged(&signed_in(BEFORE), &facts, &class_b());
    let record = decision.record.unwrap();
    assert_eq!((decision.verdict, record.state, i64::from(record.at)), (Verdict::Changed, State::Changed, T + 9));
}

#[test]
fn an_inferred_change_is_remembered_with_the_time_of_the_newest_mark_whoever_saw_it() {
    let sighting = Sighting::Marked(Baseline::at(at(BEFORE)));
    let facts = Facts { evidence: seen(T + 20, sighting), ..knowing(own_mark(T + 5, BEFORE)) };
    let decision = judged(&signed_in(T + 30), &facts, &class_b());
    assert_eq!((decision.verdict, i64::from(decision.record.unwrap().at)), (Verdict::Changed, T + 20));
}

#[test]
fn an_intent_that_was_never_accepted_is_sent_even_where_nothing_is_repeated() {
    let once = Rules { repeat_without_effect: false, ..class_a() };
    let facts = Facts { complete: true, ..knowing(entry(State::Intended, NOW - 31)) };
    assert_eq!(verdict(&due(), &facts, &once), Verdict::Require);
}

#[test]
fn a_read_back_that_tells_no_change_time_is_waited_for() {
    let seen = Account { changed: ChangeTime::NotGiven, ..due() };
    let decision = after_write(&entry(State::Intended, NOW - 1), &seen, &class_a());
    assert!(matches!(decision.verdict, Verdict::Wait(_)), "{:?}", decision.verdict);
}

#[test]
fn nothing_is_required_before_the_providers_clock_has_reached_t() {
    let account = Account { answered_at: at(T - 1), ..due() };
    assert_eq!(decide(&account, &Facts::default(), &class_a(), at(T - 1)), Verdict::Wait(at(T)).into());
    assert_eq!(decide(&account, &Facts::default(), &class_a(), at(T)), Verdict::Require.into());
}

#[test]
fn a_row_is_fresh_for_thirty_seconds() {
    assert!(is_fresh(Duration::from_secs(30)));
    assert!(!is_fresh(Duration::from_millis(30_001)));
}

#[test]
fn a_change_holds_for_as_long_as_the_age_permits_and_a_later_expiry_is_due_again() {
    let rules = Rules { rolling: true, ..class_a() };
    let held = Entry { writes: 1, ..entry(State::Changed, T) };
    assert_eq!(verdict(&Account::unknown("id-1", at(NOW)), &knowing(held), &rules), Verdict::Changed);
    let expired = Entry { writes: 1, ..entry(State::Changed, T - 1) };
    assert_eq!(verdict(&Account::unknown("id-1", at(NOW)), &knowing(expired), &rules), Verdict::NeedsRead);
    assert_eq!(verdict(&changed(T - 1), &knowing(expired), &rules), Verdict::Require);
    assert_eq!(verdict(&changed(T + 1), &knowing(expired), &rules), Verdict::Compliant);
}

#[test]
fn with_an_age_a_mark_that_went_by_a_change_is_not_cleared_when_the_change_is_too_old_again() {
    let rules = Rules { rolling: true, ..class_a() };
    // Marked long ago and standing; cleared by an admin.
    assert_eq!(verdict(&due(), &knowing(own_mark(BEFORE + 5, BEFORE)), &rules), Verdict::Cleared);
    // Seen marked within the second of the change: it cannot be told that the change came later.
    assert_eq!(verdict(&due(), &knowing(own_mark(BEFORE, BEFORE - 90)), &rules), Verdict::Cleared);
    // Marked long ago, changed soon after; not looked at until the change was too old.
    assert_eq!(verdict(&due(), &knowing(own_mark(BEFORE - 50, BEFORE - 90)), &rules), Verdict::Require);
}

// After a write

#[test]
fn a_mark_in_the_read_back_is_enforced_with_what_it_shows_as_baseline() {
    let intent = entry(State::Intended, NOW - 1);
    let decision = after_write(&intent, &marked(), &class_a());
    assert_eq!(decision, Decision { verdict: Verdict::Enforced, record: Some(own_mark(NOW, BEFORE)) });
    let decision = after_write(&intent, &Account { mark: Mark::Marked, ..changed(NOW) }, &class_a());
    assert_eq!(decision, Decision { verdict: Verdict::Enforced, record: Some(own_mark(NOW, NOW)) });
    let bare = Account { mark: Mark::Marked, ..Account::unknown("id-1", at(NOW)) };
    assert_eq!(after_write(&intent, &bare, &class_a()).verdict, Verdict::Enforced, "no more than the mark is needed");
}

#[test]
fn who_changes_before_the_read_back_has_changed() {
    let decision = after_write(&entry(State::Intended, NOW - 1), &changed(NOW), &class_a());
    let expected = Entry { writes: 1, ..entry(State::Changed, NOW) };
    assert_eq!(decision, Decision { verdict: Verdict::Changed, record: Some(expected) });
}

#[test]
fn a_read_back_that_does_not_show_the_mark_asks_for_a_read() {
    let blind = Account { mark: Mark::NotGiven, ..due() };
    let sent = Entry { writes: 1, ..entry(State::Sent, NOW) };
    let decision = after_write(&entry(State::Intended, NOW - 1), &blind, &class_a());
    assert_eq!(decision, Decision { verdict: Verdict::NeedsRead, record: Some(sent) });
}

#[test]
fn a_write_that_turns_out_to_have_met_no_password_is_skipped() {
    let none = Account { credential: Credential::NoPassword, ..due() };
    let decision = after_write(&entry(State::Intended, NOW - 1), &none, &class_a());
    assert_eq!(decision.verdict, Verdict::Skip(SkipReason::NoPassword));
    assert_eq!(decision.record.unwrap().state, State::Sent);
}

fn read(seconds: i64) -> Account {
    Account { answered_at: at(seconds), ..due() }
}

#[test]
fn a_write_without_effect_is_read_three_times_over_thirty_seconds_then_repeated_once_then_failed() {
    let first = after_write(&entry(State::Intended, NOW), &read(NOW), &class_a());
    let once = Entry { writes: 1, ..entry(State::Sent, NOW) };
    assert_eq!(first, Decision { verdict: Verdict::Wait(at(NOW + 15)), record: Some(once) });
    let look =
        |known, seconds| decide(&read(seconds), &Facts { complete: true, ..knowing(known) }, &class_a(), at(seconds));
    assert_eq!(look(once, NOW + 15), Verdict::Wait(at(NOW + 30)).into());
    assert_eq!(look(once, NOW + 29), Verdict::Wait(at(NOW + 30)).into());
    assert_eq!(look(once, NOW + 30), Verdict::Require.into());

    let intent = Entry { writes: 1, ..entry(State::Intended, NOW + 30) };
    let twice = after_write(&intent, &read(NOW + 31), &class_a()).record.unwrap();
    assert_eq!(twice, Entry { writes: 2, ..entry(State::Sent, NOW + 31) });
    let failed = look(twice, NOW + 61);
    let remembered = Entry { writes: 2, ..entry(State::NotEffective, NOW + 61) };
    let verdict = Verdict::Failed(FailureCategory::WriteNotEffective);
    assert_eq!(failed, Decision { verdict, record: Some(remembered) });
    assert_eq!(look(remembered, NOW + 9_000), verdict.into());
}

#[test]
fn where_the_call_has_side_effects_a_write_without_effect_is_not_repeated() {
    let rules = Rules { repeat_without_effect: false, ..class_a() };
    let sent = after_write(&entry(State::Intended, NOW), &read(NOW), &rules).record.unwrap();
    let facts = Facts { complete: true, ..knowing(sent) };
    let failed = decide(&read(NOW + 30), &facts, &rules, at(NOW + 30)).verdict;
    assert_eq!(failed, Verdict::Failed(FailureCategory::WriteNotEffective));
}

#[test]
fn a_mark_that_shows_late_is_enforced() {
    for state in [State::Sent, State::NotEffective] {
        let known = Entry { writes: 1, ..entry(state, T + 5) };
        let decision = judged(&marked(), &knowing(known), &class_a());
        assert_eq!(decision, Decision { verdict: Verdict::Enforced, record: Some(own_mark(NOW, BEFORE)) });
    }
}

#[test]
fn a_repeat_that_a_crash_caught_counts_as_sent() {
    let known = Entry { writes: 1, ..entry(State::Intended, T + 5) };
    assert_eq!(verdict(&due(), &knowing(known), &class_a()), Verdict::Failed(FailureCategory::WriteNotEffective));
}

#[test]
fn a_refused_account_is_not_written_again_until_generation_or_reconcile_token_change() {
    for refusal in [Refusal::Rejected, Refusal::Forbidden] {
        let decision = after_refusal(&entry(State::Intended, T), refusal, 1, at(NOW));
        assert_eq!(decision.verdict, Verdict::Failed(refusal.into()));
        let facts = knowing(decision.record.unwrap());
        assert_eq!(judged(&due(), &facts, &class_a()), Verdict::Failed(refusal.into()).into());
        assert_eq!(verdict(&due(), &facts, &Rules { refusal_tag: 2, ..class_a() }), Verdict::Require);
        assert_eq!(verdict(&marked(), &facts, &class_a()), Verdict::Enforced);
        assert_eq!(verdict(&changed(NOW), &facts, &class_a()), Verdict::Compliant);
    }
}

#[test]
fn after_an_unclear_answer_the_account_is_read_then_decided_and_never_written_blindly() {
    let intent = entry(State::Intended, NOW - 5);
    let after = |account: &Account, rules| {
        decide(account, &Facts { complete: true, ..knowing(intent) }, &rules, account.answered_at)
    };
    let arrived = after(&marked(), class_a());
    assert_eq!(arrived, Decision { verdict: Verdict::Enforced, record: Some(own_mark(NOW, BEFORE)) });
    assert_eq!(after(&changed(NOW), class_a()).verdict, Verdict::Changed);
    for rules in [class_a(), class_b()] {
        assert_eq!(after(&read(NOW), rules), Verdict::Wait(at(NOW + 10)).into());
        assert_eq!(after(&read(NOW + 10), rules), Verdict::Wait(at(NOW + 25)).into());
        assert_eq!(after(&read(NOW + 25), rules), Verdict::Require.into());
    }
}

// After a crash in mid-write: an intent in a loaded ledger

#[test]
fn after_a_crash_who_is_marked_is_done_and_who_is_not_is_decided_by_what_it_shows() {
    let facts = knowing(entry(State::Intended, T + 5));
    assert_eq!(verdict(&marked(), &facts, &class_a()), Verdict::Enforced);
    assert_eq!(verdict(&changed(T + 6), &facts, &class_a()), Verdict::Changed);
    assert_eq!(verdict(&due(), &facts, &class_a()), Verdict::Require);
}

#[test]
fn after_a_crash_an_open_intent_without_a_mark_is_written_again_sign_in_or_not() {
    let facts = knowing(entry(State::Intended, T + 5));
    assert_eq!(verdict(&marked(), &facts, &class_b()), Verdict::Enforced);
    assert_eq!(verdict(&signed_in(T + 20), &facts, &class_b()), Verdict::Require);
    assert_eq!(verdict(&signed_in(BEFORE), &facts, &class_b()), Verdict::Require);
    // Not even where another campaign had seen a mark: this one found the account due after that.
    let older = Facts { evidence: seen(T + 2, Sighting::Marked(Baseline::Never)), ..facts };
    assert_eq!(verdict(&signed_in(T + 20), &older, &class_b()), Verdict::Require);
}

// Sessions

#[test]
fn sessions_end_once_the_mark_is_confirmed_for_ours_and_for_found_ones_and_never_for_others() {
    let due_after = |account: &Account, facts: &Facts| {
        let decision = judged(account, facts, &class_a());
        sessions_due(account, decision.verdict, decision.record.or(facts.entry).as_ref())
    };
    assert!(due_after(&marked(), &Facts::default()), "found marked");
    assert!(due_after(&marked(), &knowing(own_mark(T + 5, BEFORE))), "ours, repeated after a crash while still marked");
    let ended = Entry { revoked: true, ..own_mark(T + 5, BEFORE) };
    assert!(!due_after(&marked(), &knowing(ended)));
    assert!(!due_after(&changed(NOW), &knowing(own_mark(T + 5, BEFORE))), "no longer marked");
    assert!(!due_after(&changed(NOW), &Facts::default()), "compliant");
    assert!(!due_after(&due(), &Facts::default()));
    let hidden = Account { mark: Mark::Hidden, ..due() };
    assert!(!due_after(&hidden, &knowing(own_mark(T + 5, BEFORE))), "the mark is not confirmed by a lockout");
}

// Nobody

#[test]
fn a_listed_user_who_does_not_exist_fails_or_is_skipped_and_one_who_left_is_gone() {
    assert_eq!(nobody(false, false), Verdict::Failed(FailureCategory::NotFound));
    assert_eq!(nobody(false, true), Verdict::Skip(SkipReason::Missing));
    assert_eq!(nobody(true, false), Verdict::Skip(SkipReason::Gone));
    assert_eq!(nobody(true, true), Verdict::Skip(SkipReason::Gone));
}
