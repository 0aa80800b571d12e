use proptest::prelude::*;

use super::codec::Head;
use super::*;

fn key() -> CampaignKey {
    CampaignKey {
        tenant: "https://looker.corp.example".into(),
        namespace: "security".into(),
        policy: "inc-4711".into(),
        epoch: Epoch::Cutoff(1_700_000_000),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn accounts(range: std::ops::Range<u64>) -> Vec<AccountKey> {
    // Spread over the whole range of keys, as hashes are.
    range.map(|n| AccountKey(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

fn marked(m: i64) -> Entry {
    Entry { writes: 1, ..Entry::new(State::Marked { baseline: Baseline::At(7) }, at(m)) }
}

/// The ConfigMaps of one campaign.
#[derive(Clone, Default)]
struct Store(BTreeMap<u16, Vec<u8>>);

impl Store {
    fn save(&mut self, ledger: &mut Ledger, images: Vec<ShardImage>) -> usize {
        for image in &images {
            assert!(image.bytes.len() <= SHARD_BYTES);
            self.0.insert(image.index, image.bytes.clone());
            ledger.written(image);
        }
        images.len()
    }

    fn save_batch(&mut self, ledger: &mut Ledger) -> usize {
        let images = ledger.dirty_for_batch();
        self.save(ledger, images)
    }

    fn save_all(&mut self, ledger: &mut Ledger) -> usize {
        let images = ledger.dirty_shards();
        self.save(ledger, images)
    }

    fn load(&self) -> Result<Ledger, LedgerDamage> {
        Ledger::load(key(), Retention::All, self.0.clone().into_iter().collect())
    }
}

fn content(ledger: &Ledger) -> BTreeMap<AccountKey, Entry> {
    let mut all = BTreeMap::new();
    ledger.for_each(|key, entry| assert_eq!(all.insert(key, entry), None, "each account comes once"));
    all
}

#[test]
fn a_campaign_has_a_name_of_its_own_that_is_a_dns_label() {
    let names: Vec<String> = [
        key(),
        CampaignKey { tenant: "other".into(), ..key() },
        CampaignKey { namespace: "other".into(), ..key() },
        CampaignKey { policy: "other".into(), ..key() },
        CampaignKey { epoch: Epoch::Cutoff(1_700_000_001), ..key() },
        CampaignKey { epoch: Epoch::Age(90), ..key() },
        CampaignKey { namespace: "securityi".into(), policy: "nc-4711".into(), ..key() },
    ]
    .iter()
    .map(CampaignKey::name)
    .collect();
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name));
        assert!(name.len() + "-65535".len() <= 63);
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    }
    assert_eq!(key().shard_name(0), key().name());
    assert_eq!(key().shard_name(12), format!("{}-12", key().name()));
    for value in key().labels().values() {
        assert!(value.len() <= 63, "{value} is no label value");
    }
    assert_eq!(key().labels()[TENANT_LABEL], tenant_label(&key().tenant));
    assert_ne!(tenant_label("https://one.example"), tenant_label("https://other.example"));
}

#[test]
fn a_campaign_is_found_again_by_its_annotations() {
    for key in
        [key(), CampaignKey { epoch: Epoch::Age(90), ..key() }, CampaignKey { epoch: Epoch::Cutoff(-5), ..key() }]
    {
        assert_eq!(CampaignKey::from_annotations(&key.annotations()), Some(key));
    }
    assert_eq!(CampaignKey::from_annotations(&BTreeMap::new()), None);
}

#[test]
fn entries_of_a_selection_ignore_case_and_ids_do_not() {
    use crate::plan::observed::UserKey::{Email, Id, Username};
    let of = |key| EntryKey::new("t", &key);
    assert_eq!(of(Email("A@b.example".into())), of(Email("a@B.example".into())));
    assert_ne!(of(Id("A".into())), of(Id("a".into())));
    assert_ne!(of(Email("a".into())), of(Username("a".into())));
    assert_ne!(EntryKey::new("t", &Email("a".into())), EntryKey::new("u", &Email("a".into())));
}

#[test]
fn a_refusal_is_tagged_by_generation_and_reconcile_token() {
    assert_eq!(refusal_tag(1, None), refusal_tag(1, None));
    assert_ne!(refusal_tag(1, None), refusal_tag(2, None));
    assert_ne!(refusal_tag(1, None), refusal_tag(1, Some("again")));
}

#[test]
fn an_account_takes_nineteen_bytes_in_a_shard() {
    let mut ledger = Ledger::new(key(), Retention::All);
    let size = |ledger: &Ledger| ledger.dirty_shards()[0].bytes.len();
    ledger.record(AccountKey(1), marked(1));
    let one = size(&ledger);
    ledger.record(AccountKey(2), marked(1));
    assert_eq!(size(&ledger) - one, 19);
}

#[test]
fn what_is_recorded_is_read_again_after_a_restart() {
    let mut store = Store::default();
    let mut ledger = Ledger::new(key(), Retention::All);
    let entries = [
        Entry::new(State::Intended, at(1)),
        Entry { writes: 2, ..Entry::new(State::Sent, at(2)) },
        Entry { revoked: true, ..marked(3) },
        Entry::new(State::Marked { baseline: Baseline::Never }, at(4)),
        Entry::new(State::Marked { baseline: Baseline::Unknown }, at(5)),
        Entry::new(State::Changed, at(6)),
        Entry::new(State::Compliant, at(7)),
        Entry::new(State::Cleared { baseline: Baseline::At(1_700_000_000_123) }, at(8)),
        Entry::new(State::Refused { refusal: Refusal::Rejected, tag: u32::MAX }, at(9)),
        Entry::new(State::Refused { refusal: Refusal::Forbidden, tag: 0 }, at(10)),
        Entry::new(State::NotEffective, at(i64::from(u32::MAX))),
    ];
    for (account, entry) in accounts(0..11).into_iter().zip(entries) {
        ledger.record(account, entry);
    }
    ledger.link(EntryKey(1), AccountKey(2));
    let everybody = Some(Everybody { at: 5, stage: EverybodyStage::Open });
    ledger.set_everybody(everybody);
    store.save_all(&mut ledger);
    let loaded = store.load().unwrap();
    assert_eq!(content(&loaded), content(&ledger));
    assert_eq!(loaded.len(), 11);
    assert_eq!(loaded.account_of(&EntryKey(1)), Some(AccountKey(2)));
    assert_eq!(loaded.everybody(), everybody);
    assert!(!loaded.is_empty() && Ledger::new(key(), Retention::All).is_empty());
    assert_eq!(loaded.open(), [accounts(0..1)[0]]);
    assert!(loaded.dirty_shards().is_empty(), "nothing is to be stored after a load");
}

#[test]
fn recording_the_same_again_costs_no_write() {
    let mut store = Store::default();
    let mut ledger = Ledger::new(key(), Retention::All);
    ledger.record(AccountKey(1), marked(1));
    ledger.link(EntryKey(1), AccountKey(1));
    assert_eq!(store.save_all(&mut ledger), 1);
    ledger.record(AccountKey(1), marked(1));
    ledger.link(EntryKey(1), AccountKey(1));
    ledger.set_everybody(None);
    assert_eq!(store.save_all(&mut ledger), 0);
}

#[test]
fn a_campaign_costs_one_write_a_batch_and_one_at_the_end() {
    for (written, batch) in [(1_000, 200), (1_001, 200), (60, 25), (1, 25)] {
        let mut store = Store::default();
        let mut ledger = Ledger::new(key(), Retention::All);
        let mut saved = 0;
        for chunk in accounts(0..written).chunks(batch) {
            ledger.open_batch(chunk, at(10));
            saved += store.save_batch(&mut ledger);
            for account in chunk {
                ledger.record(*account, marked(11));
            }
        }
        saved += store.save_all(&mut ledger);
        assert_eq!(saved as u64, 1 + written.div_ceil(batch as u64), "{written} accounts by {batch}");
        assert_eq!(content(&store.load().unwrap()), content(&ledger));
    }
}

#[test]
fn a_full_shard_costs_one_write_more_and_the_head_keeps_the_open_batch() {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 4_096);
    let all = accounts(0..1_000);
    let mut saved = 0;
    for chunk in all.chunks(25) {
        ledger.open_batch(chunk, at(10));
        saved += store.save_batch(&mut ledger);
        // A crash here must find exactly this batch open, in the head.
        let mut open = store.load().unwrap().open();
        open.sort();
        let mut expected = chunk.to_vec();
        expected.sort();
        assert_eq!(open, expected);
        for account in chunk {
            ledger.record(*account, marked(11));
        }
    }
    saved += store.save_all(&mut ledger);
    let sealed = store.0.len() - 1;
    assert!(sealed >= 4, "{sealed}");
    assert_eq!(saved, 1 + 1_000 / 25 + sealed);
    assert!(store.0.values().all(|bytes| bytes.len() <= 4_096));
    assert_eq!(content(&store.load().unwrap()), content(&ledger));
    assert_eq!(ledger.len(), 1_000);
}

#[test]
fn a_state_that_moves_on_in_a_sealed_shard_is_stored_there_at_the_end_of_the_pass_only() {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    let all = accounts(0..200);
    all.iter().for_each(|account| ledger.record(*account, marked(11)));
    store.save_all(&mut ledger);
    assert!(store.0.len() > 3);
    let sealed = *all.iter().find(|account| !ledger.head.contains_key(account)).unwrap();
    let changed = Entry::new(State::Changed, at(12));
    ledger.record(sealed, changed);
    assert_eq!(store.save_batch(&mut ledger), 0);
    assert_eq!(store.save_all(&mut ledger), 1);
    assert_eq!(store.load().unwrap().entry(&sealed), Some(changed));
    assert_eq!(store.load().unwrap().len(), 200);
}

#[test]
fn where_head_and_sealed_shard_have_the_same_account_the_head_is_right() {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    let all = accounts(0..200);
    let refused = Entry::new(State::Refused { refusal: Refusal::Rejected, tag: 1 }, at(5));
    all.iter().for_each(|account| ledger.record(*account, refused));
    store.save_all(&mut ledger);
    let sealed = *all.iter().find(|account| !ledger.head.contains_key(account)).unwrap();
    ledger.open_batch(&[sealed], at(20));
    assert_eq!(store.save_batch(&mut ledger), 1, "the head only");
    let loaded = store.load().unwrap();
    assert!(loaded.entry(&sealed).unwrap().is_open());
    assert_eq!((loaded.len(), loaded.open()), (200, vec![sealed]));
    // Sealed once more, the account goes back to where it was.
    ledger.record(sealed, marked(21));
    accounts(200..300).iter().for_each(|account| ledger.record(*account, refused));
    store.save_all(&mut ledger);
    let loaded = store.load().unwrap();
    assert_eq!((loaded.entry(&sealed), loaded.len()), (Some(marked(21)), 300));
}

#[test]
fn a_crash_between_the_writes_of_two_shards_loses_nothing() {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    let mut acknowledged: BTreeMap<AccountKey, Entry> = BTreeMap::new();
    for chunk in accounts(0..400).chunks(10) {
        ledger.open_batch(chunk, at(10));
        let images = ledger.dirty_for_batch();
        for stop in 0..=images.len() {
            let mut crashed = store.clone();
            images[..stop].iter().for_each(|image| {
                crashed.0.insert(image.index, image.bytes.clone());
            });
            let loaded = content(&crashed.load().unwrap());
            for (account, entry) in &acknowledged {
                assert_eq!(loaded.get(account), Some(entry), "stopped after {stop} of {} shards", images.len());
            }
        }
        store.save(&mut ledger, images);
        chunk.iter().for_each(|account| ledger.record(*account, marked(11)));
        store.save_all(&mut ledger);
        acknowledged = content(&ledger);
    }
    assert!(store.0.len() > 5);
}

#[test]
fn where_two_sealed_shards_have_the_same_account_the_higher_index_is_right() {
    let shard = |index, head, entry: Entry| {
        let entries = vec![(AccountKey(u64::from(index == 0)), entry)];
        let links = vec![(EntryKey(1), AccountKey(u64::from(index)))];
        (index, codec::encode(&Shard { index, fingerprint: key().fingerprint(), head, entries, links }))
    };
    let head = Some(Head { sealed: 2, everybody: None });
    let shards = [shard(0, head, marked(1)), shard(1, None, marked(2)), shard(2, None, marked(3))];
    for order in [[0, 1, 2], [2, 1, 0]] {
        let shards = order.map(|i: usize| shards[i].clone()).to_vec();
        let mut loaded = Ledger::load(key(), Retention::All, shards).unwrap();
        assert_eq!(content(&loaded), BTreeMap::from([(AccountKey(0), marked(3)), (AccountKey(1), marked(1))]));
        loaded.head_links.clear();
        assert_eq!(loaded.account_of(&EntryKey(1)), Some(AccountKey(2)));
    }
}

#[test]
fn what_was_forgotten_does_not_come_back_from_a_sealed_shard() {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    let all = accounts(0..200);
    all.iter().for_each(|account| ledger.record(*account, marked(11)));
    let sealed = *all.iter().find(|account| !ledger.head.contains_key(account)).unwrap();
    ledger.open_batch(&[sealed], at(20));
    store.save_all(&mut ledger);
    ledger.forget(&sealed);
    store.save_batch(&mut ledger);
    assert_eq!(store.load().unwrap().entry(&sealed), None);
}

#[test]
fn a_crash_before_the_head_was_ever_stored_is_no_damage() {
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    accounts(0..200).iter().for_each(|account| ledger.record(*account, marked(11)));
    let images = ledger.dirty_shards();
    let indexes: Vec<u16> = images.iter().map(|image| image.index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 0]);
    for stop in 0..=images.len() {
        let store = Store(images[..stop].iter().map(|image| (image.index, image.bytes.clone())).collect());
        let loaded = store.load().unwrap().len();
        assert_eq!(loaded, if stop < images.len() { 0 } else { 200 });
    }
}

#[test]
fn intents_that_were_not_sent_are_taken_back_as_if_they_had_not_been() {
    let mut store = Store::default();
    let mut ledger = Ledger::new(key(), Retention::All);
    let refused = Entry { revoked: true, ..Entry::new(State::Refused { refusal: Refusal::Forbidden, tag: 9 }, at(5)) };
    let [new, known, sent] = [AccountKey(1), AccountKey(2), AccountKey(3)];
    ledger.record(known, refused);
    ledger.open_batch(&[new, known, sent], at(10));
    store.save_batch(&mut ledger);
    ledger.record(sent, marked(11));
    ledger.close_unsent(&[new, known, sent]);
    store.save_all(&mut ledger);
    let loaded = store.load().unwrap();
    assert_eq!(content(&loaded), BTreeMap::from([(known, refused), (sent, marked(11))]));
    assert!(loaded.open().is_empty());
}

#[test]
fn accounts_of_the_open_batch_whose_outcome_is_known_leave_a_full_head() {
    let mut store = Store::default();
    let mut ledger = Ledger::new(key(), Retention::All);
    ledger.set_shard_bytes(1_024);
    let (batch, others) = (accounts(0..40), accounts(100..140));
    ledger.open_batch(&batch, at(10));
    for account in batch.iter().chain(&others) {
        ledger.record(*account, marked(11));
    }
    store.save_all(&mut ledger);
    let loaded = store.load().unwrap();
    assert_eq!((store.0.len(), loaded.len()), (2, 80));
}

#[test]
fn the_links_of_a_sealed_shard_outlive_its_being_stored_again() {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    let links: Vec<_> = accounts(0..200).into_iter().map(|account| (EntryKey(account.0), account)).collect();
    for (entry, account) in &links {
        ledger.link(*entry, *account);
    }
    store.save_all(&mut ledger);
    assert!(store.0.len() > 3, "several shards are sealed");
    ledger.link(links[0].0, AccountKey(7));
    let images = ledger.dirty_shards();
    assert!(images.iter().all(|image| image.index != 0), "it is replaced where it is");
    assert_eq!(store.save(&mut ledger, images), 1);
    let loaded = store.load().unwrap();
    assert_eq!(loaded.account_of(&links[0].0), Some(AccountKey(7)));
    assert!(links[1..].iter().all(|(entry, account)| loaded.account_of(entry) == Some(*account)));
}

#[test]
fn an_intent_found_in_a_loaded_ledger_is_not_taken_back() {
    let mut store = Store::default();
    let mut ledger = Ledger::new(key(), Retention::All);
    ledger.open_batch(&[AccountKey(1)], at(10));
    store.save_batch(&mut ledger);
    let mut loaded = store.load().unwrap();
    loaded.close_unsent(&[AccountKey(1)]);
    assert_eq!(loaded.open(), [AccountKey(1)]);
}

#[test]
fn writes_without_effect_are_counted_on_and_a_new_requirement_starts_anew() {
    let mut ledger = Ledger::new(key(), Retention::All);
    let sent = Entry { writes: 1, ..Entry::new(State::Sent, at(5)) };
    let changed = Entry { writes: 1, revoked: true, ..Entry::new(State::Changed, at(5)) };
    ledger.record(AccountKey(1), sent);
    ledger.record(AccountKey(2), changed);
    ledger.open_batch(&[AccountKey(1), AccountKey(2)], at(10));
    assert_eq!(ledger.entry(&AccountKey(1)), Some(Entry { writes: 1, ..Entry::new(State::Intended, at(10)) }));
    assert_eq!(ledger.entry(&AccountKey(2)), Some(Entry::new(State::Intended, at(10))));
}

#[test]
fn a_change_while_a_shard_is_being_stored_is_stored_next_time() {
    let mut store = Store::default();
    let mut ledger = Ledger::new(key(), Retention::All);
    ledger.record(AccountKey(1), marked(1));
    let images = ledger.dirty_shards();
    ledger.record(AccountKey(2), marked(1));
    store.save(&mut ledger, images);
    assert_eq!(store.save_all(&mut ledger), 1);
    assert_eq!(store.load().unwrap().len(), 2);
}

#[test]
fn a_large_campaign_of_a_provider_that_shows_everything_keeps_only_what_a_list_cannot_tell() {
    let mut store = Store::default();
    let mut ledger = Ledger::new(key(), Retention::OpenOnly);
    let refused = Entry::new(State::Refused { refusal: Refusal::Rejected, tag: 1 }, at(5));
    for chunk in accounts(0..1_000).chunks(200) {
        ledger.open_batch(chunk, at(10));
        store.save_batch(&mut ledger);
        chunk[1..].iter().for_each(|account| ledger.record(*account, marked(11)));
        ledger.record(chunk[0], refused);
    }
    store.save_all(&mut ledger);
    assert_eq!(ledger.len(), 5);
    assert_eq!(content(&store.load().unwrap()), content(&ledger));
    // What was kept before the campaign became so large is dropped when it is loaded.
    let mut all = Ledger::new(key(), Retention::All);
    accounts(0..100).iter().for_each(|account| all.record(*account, marked(11)));
    let mut store = Store::default();
    store.save_all(&mut all);
    let loaded = Ledger::load(key(), Retention::OpenOnly, store.0.into_iter().collect()).unwrap();
    assert!(loaded.is_empty());
    let mut all = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    accounts(0..100).iter().for_each(|account| all.record(*account, marked(11)));
    let mut store = Store::default();
    store.save_all(&mut all);
    assert!(store.0.len() > 1, "a shard is sealed");
    let loaded = Ledger::load(key(), Retention::OpenOnly, store.0.into_iter().collect()).unwrap();
    assert!(loaded.is_empty());
}

#[test]
fn a_head_is_sealed_when_it_is_full_and_not_before() {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, codec::size(10, 0));
    accounts(0..10).iter().for_each(|account| ledger.record(*account, marked(11)));
    store.save_all(&mut ledger);
    assert_eq!(store.0.len(), 1);
    ledger.record(AccountKey(99), marked(11));
    store.save_all(&mut ledger);
    assert_eq!(store.0.len(), 2);
    // Links take room as well.
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, codec::size(5, 5));
    for account in accounts(0..5) {
        ledger.link(EntryKey(account.0), account);
        ledger.record(account, marked(11));
    }
    store.save_all(&mut ledger);
    assert_eq!(store.0.len(), 1);
    ledger.record(AccountKey(99), marked(11));
    store.save_all(&mut ledger);
    assert_eq!(store.0.len(), 2);
}

fn stored() -> Store {
    let mut store = Store::default();
    let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 1_024);
    accounts(0..200).iter().for_each(|account| ledger.record(*account, marked(11)));
    store.save_all(&mut ledger);
    assert!(store.0.len() > 3);
    store
}

#[test]
fn a_missing_shard_is_damage_that_names_it() {
    let mut store = stored();
    store.0.remove(&2);
    assert_eq!(store.load().unwrap_err(), LedgerDamage::ShardsMissing(vec![2]));
    store.0.remove(&0);
    assert_eq!(store.load().unwrap_err(), LedgerDamage::HeadMissing);
}

#[test]
fn no_shards_at_all_are_an_empty_ledger() {
    assert!(Store::default().load().unwrap().is_empty());
}

#[test]
fn a_shard_that_is_not_what_was_written_is_damage() {
    let unreadable = |index, why| LedgerDamage::Unreadable { index, why };
    let with = |index: u16, bytes: Vec<u8>| {
        let mut store = stored();
        store.0.insert(index, bytes);
        store.load().unwrap_err()
    };
    let of = |index: u16| stored().0[&index].clone();
    assert_eq!(with(1, Vec::new()), unreadable(1, "it is shorter than its checksum"));
    assert_eq!(with(1, of(2)), unreadable(1, "it is another shard of this campaign"));
    assert_eq!(with(0, of(2)), unreadable(0, "it is another shard of this campaign"));
    let mut newer = of(1);
    newer[4] = 2;
    assert_eq!(with(1, newer), unreadable(1, "another version of the operator wrote it"));
    let elsewhere = CampaignKey { policy: "other".into(), ..key() };
    let shards = stored().0.into_iter().collect();
    let damage = Ledger::load(elsewhere, Retention::All, shards).unwrap_err();
    assert_eq!(damage, unreadable(0, "it belongs to another campaign"));
    for index in [0, 1] {
        for byte in 0..of(index).len() {
            let mut flipped = of(index);
            flipped[byte] ^= 0x10;
            assert!(matches!(with(index, flipped), LedgerDamage::Unreadable { .. }), "byte {byte} of shard {index}");
        }
    }
}

#[test]
fn a_sealed_account_takes_21_bytes_of_memory() {
    let mut ledger = Ledger::new(key(), Retention::All);
    accounts(0..100_000).iter().for_each(|account| ledger.record(*account, marked(11)));
    assert_eq!(ledger.len(), 100_000);
    let bytes = ledger.sealed.bytes();
    assert!(bytes <= 100_000 * 24, "{bytes}");
    assert!(ledger.head.len() < SHARD_BYTES / 19);
    for account in accounts(0..100_000) {
        assert_eq!(ledger.entry(&account), Some(marked(11)));
    }
}

// Whatever is recorded, stored, lost and loaded

fn state() -> impl Strategy<Value = State> {
    let baseline = prop_oneof![
        Just(Baseline::Never),
        Just(Baseline::Unknown),
        (1u64..(1 << 48) - 1).prop_map(Baseline::At),
        Just(Baseline::At((1 << 48) - 2)),
    ];
    let refusal = prop_oneof![Just(Refusal::Rejected), Just(Refusal::Forbidden)];
    prop_oneof![
        Just(State::Intended),
        Just(State::Sent),
        baseline.clone().prop_map(|baseline| State::Marked { baseline }),
        Just(State::Changed),
        Just(State::Compliant),
        baseline.prop_map(|baseline| State::Cleared { baseline }),
        (refusal, any::<u32>()).prop_map(|(refusal, tag)| State::Refused { refusal, tag }),
        Just(State::NotEffective),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (state(), any::<u32>(), 0u8..4, any::<bool>()).prop_map(|(state, at, writes, revoked)| Entry {
        state,
        at,
        writes,
        revoked,
    })
}

#[derive(Clone, Debug)]
enum Op {
    Record(u64, Entry),
    Forget(u64),
    Link(u64, u64),
    Batch(Vec<u64>),
    CloseUnsent(Vec<u64>),
    StoreAll,
    StoreBatch,
    /// Crashes after so many shards of what is to be stored: before a batch, or all of it.
    Crash(bool, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let account = 0u64..40;
    let some = prop::collection::vec(0u64..40, 1..6);
    prop_oneof![
        8 => (account.clone(), entry()).prop_map(|(account, entry)| Op::Record(account, entry)),
        1 => account.clone().prop_map(Op::Forget),
        2 => (0u64..20, account).prop_map(|(entry, account)| Op::Link(entry, account)),
        3 => some.clone().prop_map(Op::Batch),
        2 => some.prop_map(Op::CloseUnsent),
        2 => Just(Op::StoreAll),
        2 => Just(Op::StoreBatch),
        2 => (any::<bool>(), 0usize..4).prop_map(|(batch, after)| Op::Crash(batch, after)),
    ]
}

/// What a ledger should say, kept plainly.
#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<AccountKey, Entry>,
    links: BTreeMap<EntryKey, AccountKey>,
    batch: BTreeMap<AccountKey, Option<Entry>>,
    /// What accounts were at some time since all of it was stored.
    since: Vec<(AccountKey, Option<Entry>)>,
}

fn all_links(ledger: &Ledger) -> BTreeMap<EntryKey, AccountKey> {
    (0..20).filter_map(|n| Some((EntryKey(n), ledger.account_of(&EntryKey(n))?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ledger_says_what_was_recorded_and_after_a_crash_what_was_stored(ops in prop::collection::vec(op(), 0..80)) {
        let mut ledger = Ledger::with_shard_bytes(key(), Retention::All, 250);
        let mut model = Model::default();
        let mut store = Store::default();
        let mut stored = Model::default();
        for op in ops {
            match op {
                Op::Record(account, entry) => {
                    let key = AccountKey(account);
                    ledger.record(key, entry);
                    if model.entries.insert(key, entry) != Some(entry) && entry.state != State::Intended {
                        model.batch.remove(&key);
                    }
                }
                Op::Forget(account) => {
                    ledger.forget(&AccountKey(account));
                    model.entries.remove(&AccountKey(account));
                    model.batch.remove(&AccountKey(account));
                }
                Op::Link(entry, account) => {
                    ledger.link(EntryKey(entry), AccountKey(account));
                    model.links.insert(EntryKey(entry), AccountKey(account));
                }
                Op::Batch(accounts) => {
                    let keys: Vec<AccountKey> = accounts.into_iter().map(AccountKey).collect();
                    ledger.open_batch(&keys, at(99));
                    model.batch.clear();
                    for key in &keys {
                        let before = model.entries.get(key).copied();
                        model.batch.entry(*key).or_insert(before);
                        let intent = ledger.entry(key).unwrap();
                        prop_assert_eq!((intent.state, intent.at), (State::Intended, 99));
                        model.entries.insert(*key, intent);
                    }
                }
                Op::CloseUnsent(accounts) => {
                    let keys: Vec<AccountKey> = accounts.into_iter().map(AccountKey).collect();
                    ledger.close_unsent(&keys);
                    for key in &keys {
                        let open = model.entries.get(key).is_some_and(Entry::is_open);
                        match model.batch.get(key).copied().filter(|_| open) {
                            Some(Some(before)) => drop(model.entries.insert(*key, before)),
                            Some(None) => drop(model.entries.remove(key)),
                            None => continue,
                        }
                        model.batch.remove(key);
                    }
                }
                Op::StoreAll => {
                    store.save_all(&mut ledger);
                    model.since.clear();
                    stored = model.clone();
                    prop_assert!(ledger.dirty_shards().is_empty());
                }
                Op::StoreBatch => {
                    store.save_batch(&mut ledger);
                    // Intents are stored, whatever else may wait.
                    let loaded = store.load().unwrap();
                    for key in model.batch.keys().filter(|key| model.entries.get(key).is_some_and(Entry::is_open)) {
                        prop_assert_eq!(loaded.entry(key), model.entries.get(key).copied());
                    }
                    stored = Model {
                        entries: content(&loaded),
                        links: all_links(&loaded),
                        ..Model::default()
                    };
                }
                Op::Crash(batch, after) => {
                    let images = if batch { ledger.dirty_for_batch() } else { ledger.dirty_shards() };
                    let whole = !batch && after >= images.len();
                    for image in images.into_iter().take(after) {
                        store.0.insert(image.index, image.bytes);
                    }
                    let newest = model.clone();
                    ledger = store.load().unwrap();
                    ledger.set_shard_bytes(250);
                    let entries = content(&ledger);
                    if whole {
                        prop_assert_eq!(&entries, &newest.entries);
                    }
                    // Each account is as it was stored last, or as it was at some time since.
                    for key in (0..40).map(AccountKey) {
                        let now = entries.get(&key);
                        prop_assert!(
                            now == stored.entries.get(&key) || newest.since.contains(&(key, now.copied())),
                            "{:?} is {:?}, was stored as {:?}", key, now, stored.entries.get(&key)
                        );
                    }
                    model = Model { entries, links: all_links(&ledger), ..Model::default() };
                    stored = model.clone();
                }
            }
            model.since.extend((0..40).map(|n| (AccountKey(n), model.entries.get(&AccountKey(n)).copied())));
            prop_assert_eq!(content(&ledger), model.entries.clone());
            prop_assert_eq!(all_links(&ledger), model.links.clone());
            prop_assert_eq!(ledger.len(), model.entries.len());
        }
    }

    #[test]
    fn whatever_bytes_are_loaded_nothing_panics(
        shards in prop::collection::vec((0u16..4, prop::collection::vec(any::<u8>(), 0..200)), 0..4),
    ) {
        let _ = Ledger::load(key(), Retention::All, shards);
    }

    #[test]
    fn a_shard_with_a_right_checksum_over_nonsense_never_panics(
        index in 0u16..3,
        kind in 0u8..3,
        counts in (prop_oneof![0u32..4, any::<u32>()], prop_oneof![0u32..4, any::<u32>()]),
        rest in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = b"PRLG\x01".to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(&index.to_be_bytes());
        bytes.extend_from_slice(&key().fingerprint().to_be_bytes());
        bytes.extend_from_slice(&counts.0.to_be_bytes());
        bytes.extend_from_slice(&counts.1.to_be_bytes());
        bytes.extend_from_slice(&rest);
        codec::seal(&mut bytes);
        let mut shards = stored().0;
        shards.insert(index, bytes);
        if let Ok(ledger) = Ledger::load(key(), Retention::All, shards.into_iter().collect()) {
            prop_assert!(ledger.dirty_shards().is_empty());
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again(
        entries in prop::collection::vec((any::<u64>(), entry()), 0..20),
        links in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
        sealed in prop::option::of(any::<u16>()),
        stage in 0..4_usize,
    ) {
        let stages = [EverybodyStage::Open, EverybodyStage::Arrived, EverybodyStage::Closed];
        let everybody = stages.get(stage).map(|stage| Everybody { at: 5, stage: *stage });
        let shard = Shard {
            index: 7,
            fingerprint: 9,
            head: sealed.map(|sealed| Head { sealed, everybody }),
            entries: entries.into_iter().map(|(key, entry)| (AccountKey(key), entry)).collect(),
            links: links.into_iter().map(|(entry, account)| (EntryKey(entry), AccountKey(account))).collect(),
        };
        let bytes = codec::encode(&shard);
        // What a head has more is counted for every shard.
        let head = if shard.head.is_some() { 0 } else { 7 };
        prop_assert_eq!(bytes.len() + head, codec::size(shard.entries.len(), shard.links.len()));
        prop_assert_eq!(codec::decode(&bytes), Ok(shard));
    }
}
