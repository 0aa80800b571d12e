use jiff::Timestamp;

use super::*;
use crate::plan::ledger::{CampaignKey, Epoch, Retention};

fn entry(state: State, seconds: i64) -> Entry {
    Entry::new(state, Timestamp::from_second(seconds).unwrap())
}

fn mark(baseline: u64) -> State {
    State::Marked { baseline: Baseline::At(baseline) }
}

const CLEARED: State = State::Cleared { baseline: Baseline::Never };

fn of(entries: &[Entry]) -> Evidence {
    let mut evidence = Evidence::default();
    entries.iter().for_each(|entry| evidence.add(entry));
    evidence
}

#[test]
fn the_latest_mark_that_was_followed_by_a_change_is_what_satisfies_other_policies() {
    let evidence = of(&[entry(State::Changed, 30), entry(State::Changed, 10), entry(mark(1), 40)]);
    assert_eq!(evidence, Evidence { newest: Some((40, Sighting::Marked(Baseline::At(1)))), changed: Some(30) });
}

#[test]
fn the_newest_sighting_holds_in_whatever_order_campaigns_are_read() {
    let entries = [entry(mark(5), 20), entry(CLEARED, 30), entry(mark(9), 10)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
        assert_eq!(of(&order.map(|i| entries[i])).newest, Some((30, Sighting::Cleared)));
    }
}

#[test]
fn in_the_same_second_the_sighting_holds_that_takes_less_for_a_change() {
    let marked = |baseline| entry(State::Marked { baseline }, 20);
    let order = [marked(Baseline::Never), marked(Baseline::At(5)), marked(Baseline::Unknown), entry(CLEARED, 20)];
    for (i, less) in order.iter().enumerate() {
        for more in &order[i + 1..] {
            assert_eq!(of(&[*less, *more]), of(&[*more]));
            assert_eq!(of(&[*more, *less]), of(&[*more]));
        }
    }
}

#[test]
fn intents_refusals_and_accounts_found_compliant_are_no_evidence_of_a_mark() {
    let entries = [State::Intended, State::Sent, State::Compliant, State::NotEffective].map(|state| entry(state, 20));
    assert_eq!(of(&entries), Evidence::default());
}

#[test]
fn evidence_is_gathered_over_the_campaigns_of_a_tenant() {
    let campaign = |policy: &str, entries: &[(u64, Entry)]| {
        let key =
            CampaignKey { tenant: "t".into(), namespace: "n".into(), policy: policy.into(), epoch: Epoch::Cutoff(5) };
        let mut ledger = Ledger::new(key, Retention::All);
        entries.iter().for_each(|(account, entry)| ledger.record(AccountKey(*account), *entry));
        ledger
    };
    let one = campaign("one", &[(1, entry(State::Changed, 10)), (2, entry(mark(1), 10))]);
    let two = campaign("two", &[(1, entry(mark(3), 20)), (3, entry(State::Intended, 20))]);
    let mut tenant = TenantEvidence::new([&one, &two]);
    let both = Evidence { newest: Some((20, Sighting::Marked(Baseline::At(3)))), changed: Some(10) };
    assert_eq!(tenant.get(&AccountKey(1)), Some(both));
    assert_eq!(tenant.get(&AccountKey(3)), None);
    tenant.add(AccountKey(2), &entry(CLEARED, 30));
    assert_eq!(tenant.get(&AccountKey(2)).unwrap().newest, Some((30, Sighting::Cleared)));
    let arrived = Evidence { newest: Some((15, Sighting::Marked(Baseline::Never))), changed: None };
    assert_eq!(Evidence::join(Some(both), Some(arrived)), Some(both));
    assert_eq!(Evidence::join(None, Some(arrived)), Some(arrived));
    assert_eq!(Evidence::join(None, None), None);
}
