//! What was intended, seen and done about each account of one campaign, as a few small binary shards.
//!
//! A provider shows too little to tell again who was asked and who complied; this remembers it across crashes. It is
//! also the checkpoint and the fence: the head shard is written (by the engine, with a resourceVersion precondition)
//! before each batch of writes. Here are data and bytes only; who stores them is `controller`.
//!
//! Shard 0 is the head: what is new, the open batch, and how many sealed shards there are. When it is full, everything
//! but the open batch moves to a new sealed shard. A sealed shard is changed in place from then on. Where an account is
//! in two shards after a crash, the head is right, then the shard with the higher index.

mod codec;
mod entry;
mod key;
mod sealed;
mod shards;

pub use entry::{Baseline, Entry, Refusal, State, seconds};
pub use key::{
    AccountKey, CAMPAIGN_LABEL, CampaignKey, EntryKey, Epoch, OPENER_ANNOTATION, TENANT_LABEL, refusal_tag,
    tenant_label,
};
pub use shards::ShardImage;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use codec::Shard;
use sealed::Sealed;
use shards::Storage;

/// The greatest size of a shard in bytes. A ConfigMap may have 1 MiB; small ones keep each write small.
const SHARD_BYTES: usize = 64 * 1024;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Every account that something is known about.
    All,
    /// Only what a listing that shows marks and change times cannot tell: open intents, writes not yet seen, refusals,
    /// writes without effect, ended sessions. A mark that somebody clears is then required again.
    OpenOnly,
}

/// Records existed and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerDamage {
    /// Sealed shards are there, the head is not.
    #[error("the head shard is missing")]
    HeadMissing,
    /// The head names shards that are not there.
    #[error("shards are missing: {0:?}")]
    ShardsMissing(Vec<u16>),
    /// A shard's bytes are not what was written.
    #[error("shard {index} cannot be read: {why}")]
    Unreadable {
        /// Which shard.
        index: u16,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// One call for everybody (`TenantNative`), how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Everybody {
    /// When the intent was recorded, in seconds since 1970.
    pub at: u32,
    /// How far.
    pub stage: EverybodyStage,
}

/// How far the one call for everybody has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EverybodyStage {
    /// About to be sent, or sent without a clear answer.
    Open,
    /// It arrived; who signed in since and is unmarked has changed. Until a complete pass has ended.
    Arrived,
    /// Done with: never sent again, who is due is required one by one.
    Closed,
}

/// The ledger of one campaign.
#[derive(Clone, Debug)]
pub struct Ledger {
    key: CampaignKey,
    fingerprint: u64,
    retention: Retention,
    shard_bytes: usize,
    head: BTreeMap<AccountKey, Entry>,
    head_links: BTreeMap<EntryKey, AccountKey>,
    sealed: Sealed,
    everybody: Option<Everybody>,
    /// Of the open batch: what was remembered before the intent.
    batch: HashMap<AccountKey, Option<Entry>>,
    /// By shard index, the head first.
    storage: Vec<Storage>,
    /// Whether a head is stored, whatever it says.
    has_head: bool,
}

impl Ledger {
    /// An empty ledger, of which nothing is stored.
    pub fn new(key: CampaignKey, retention: Retention) -> Self {
        Self::with_shard_bytes(key, retention, SHARD_BYTES)
    }

    /// An empty ledger with smaller shards, so that a test needs few accounts to fill them.
    pub fn with_shard_bytes(key: CampaignKey, retention: Retention, shard_bytes: usize) -> Self {
        let fingerprint = key.fingerprint();
        Self {
            key,
            fingerprint,
            retention,
            shard_bytes: shard_bytes.min(SHARD_BYTES),
            head: BTreeMap::new(),
            head_links: BTreeMap::new(),
            sealed: Sealed::default(),
            everybody: None,
            batch: HashMap::new(),
            storage: vec![Storage::default()],
            has_head: false,
        }
    }

    /// Fills shards from now on up to so many bytes only, see [`Ledger::with_shard_bytes`].
    pub fn set_shard_bytes(&mut self, shard_bytes: usize) {
        self.shard_bytes = shard_bytes.min(SHARD_BYTES);
    }

    /// Reads what was stored: index and bytes of every shard that was found, in any order.
    ///
    /// No shards at all give an empty ledger; whether there should be some, only the policy's status can tell. A
    /// sealed shard that the head does not know was written right before a crash: the head still has all of it.
    pub fn load(key: CampaignKey, retention: Retention, shards: Vec<(u16, Vec<u8>)>) -> Result<Self, LedgerDamage> {
        let mut ledger = Self::new(key, retention);
        if shards.is_empty() {
            return Ok(ledger);
        }
        let mut shards: BTreeMap<u16, Vec<u8>> = shards.into_iter().collect();
        let bytes = shards.remove(&0).ok_or(LedgerDamage::HeadMissing)?;
        let head_shard = ledger.read(0, &bytes)?;
        let Some(head) = head_shard.head else {
            return Err(LedgerDamage::Unreadable { index: 0, why: "it is not a head shard" });
        };
        let missing: Vec<u16> = (1..=head.sealed).filter(|index| !shards.contains_key(index)).collect();
        if !missing.is_empty() {
            return Err(LedgerDamage::ShardsMissing(missing));
        }
        let mut entries = Vec::new();
        let mut links = Vec::new();
        for (index, bytes) in shards.range(1..=head.sealed.max(1)).take(usize::from(head.sealed)) {
            let shard = ledger.read(*index, bytes)?;
            if shard.head.is_some() {
                return Err(LedgerDamage::Unreadable { index: *index, why: "it is a head shard" });
            }
            entries.push((*index, shard.entries));
            links.extend(shard.links.into_iter().map(|(entry, account)| (entry, account, *index)));
        }
        ledger.sealed = Sealed::load(&entries, links);
        drop(entries);
        ledger.head = head_shard.entries.into_iter().collect();
        ledger.head_links = head_shard.links.into_iter().collect();
        ledger.everybody = head.everybody;
        ledger.has_head = true;
        ledger.storage.resize(usize::from(head.sealed) + 1, Storage::default());
        if retention == Retention::OpenOnly {
            ledger.head.retain(|_, entry| retention.keeps(entry));
            ledger.sealed.retain(|entry| retention.keeps(entry));
        }
        Ok(ledger)
    }

    fn read(&self, index: u16, bytes: &[u8]) -> Result<Shard, LedgerDamage> {
        let shard = codec::decode(bytes).map_err(|why| LedgerDamage::Unreadable { index, why })?;
        if shard.fingerprint != self.fingerprint {
            return Err(LedgerDamage::Unreadable { index, why: "it belongs to another campaign" });
        }
        if shard.index != index {
            return Err(LedgerDamage::Unreadable { index, why: "it is another shard of this campaign" });
        }
        Ok(shard)
    }

    /// The campaign.
    pub fn key(&self) -> &CampaignKey {
        &self.key
    }

    /// How many accounts are remembered.
    pub fn len(&self) -> usize {
        let mut count = 0;
        self.for_each(|_, _| count += 1);
        count
    }

    /// Whether no account is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is remembered about an account.
    pub fn entry(&self, key: &AccountKey) -> Option<Entry> {
        self.head.get(key).copied().or_else(|| self.sealed.entry(key))
    }

    /// Every account that is remembered.
    pub fn for_each(&self, mut each: impl FnMut(AccountKey, Entry)) {
        self.head.iter().for_each(|(key, entry)| each(*key, *entry));
        self.sealed.iter().filter(|(key, _)| !self.head.contains_key(key)).for_each(|(key, entry)| each(key, entry));
    }

    /// Remembers `entry` instead of what was. Nothing happens where that is the same.
    pub fn record(&mut self, key: AccountKey, entry: Entry) {
        if self.entry(&key) == Some(entry) {
            return;
        }
        if !entry.is_open() {
            self.batch.remove(&key);
        }
        if !self.retention.keeps(&entry) {
            self.forget(&key);
        } else if let Some(known) = self.head.get_mut(&key) {
            *known = entry;
            self.touch(0);
        } else if let Some(shard) = self.sealed.replace(&key, &entry) {
            self.touch(shard);
        } else {
            self.make_room(1, 0);
            self.head.insert(key, entry);
            self.touch(0);
        }
    }

    /// Remembers nothing about an account any more.
    pub fn forget(&mut self, key: &AccountKey) {
        self.batch.remove(key);
        if self.head.remove(key).is_some() {
            self.touch(0);
        }
        if let Some(shard) = self.sealed.forget(key) {
            // A head stored without it, before this shard is, would bring back what the shard says.
            self.touch_before_head(shard);
        }
    }

    /// Remembers which account an entry of a selection led to.
    pub fn link(&mut self, entry: EntryKey, account: AccountKey) {
        if self.account_of(&entry) == Some(account) {
            return;
        }
        if let Some(known) = self.head_links.get_mut(&entry) {
            *known = account;
            self.touch(0);
        } else if let Some(shard) = self.sealed.relink(&entry, account) {
            self.touch(shard);
        } else {
            self.make_room(0, 1);
            self.head_links.insert(entry, account);
            self.touch(0);
        }
    }

    /// The account that an entry of a selection led to last.
    pub fn account_of(&self, entry: &EntryKey) -> Option<AccountKey> {
        self.head_links.get(entry).copied().or_else(|| self.sealed.link(entry))
    }

    /// Closes the batch before and records the intent to write to these accounts at `at` of the provider's clock. Store
    /// [`Ledger::dirty_for_batch`] before the first write is sent.
    ///
    /// How many writes were accepted is carried on only where they had no effect: a requirement that was met and is due
    /// again starts anew.
    pub fn open_batch(&mut self, accounts: &[AccountKey], at: Timestamp) {
        self.batch.clear();
        for key in accounts {
            let before = self.entry(key);
            self.batch.entry(*key).or_insert(before);
        }
        self.make_room(self.batch.len(), 0);
        for (key, before) in &self.batch {
            let carried = before.filter(|entry| {
                matches!(entry.state, State::Intended | State::Sent | State::Refused { .. } | State::NotEffective)
            });
            let intent = carried.map_or(Entry::new(State::Intended, at), |entry| entry.with(State::Intended, at));
            self.head.insert(*key, intent);
        }
        self.touch(0);
    }

    /// Takes back the intents of the open batch that were not sent, so that everything is as before.
    ///
    /// Intents that were found in a loaded ledger stay: nobody knows whether they were sent.
    pub fn close_unsent(&mut self, accounts: &[AccountKey]) {
        for key in accounts {
            if !self.head.get(key).is_some_and(Entry::is_open) {
                continue;
            }
            let Some(before) = self.batch.remove(key) else { continue };
            self.head.remove(key);
            self.touch(0);
            // A sealed shard that had it has it still.
            if let Some(before) = before.filter(|before| self.sealed.entry(key) != Some(*before)) {
                self.head.insert(*key, before);
            }
        }
    }

    /// The accounts whose intent is open: after a load, those that a crash may have caught in mid-write.
    pub fn open(&self) -> Vec<AccountKey> {
        let mut open = Vec::new();
        self.for_each(|key, entry| {
            if entry.is_open() {
                open.push(key);
            }
        });
        open
    }

    /// The one call for everybody, where one was intended.
    pub fn everybody(&self) -> Option<Everybody> {
        self.everybody
    }

    /// Records how far the one call for everybody is; `None` takes an intent back that was not sent.
    pub fn set_everybody(&mut self, everybody: Option<Everybody>) {
        if self.everybody != everybody {
            self.everybody = everybody;
            self.touch(0);
        }
    }
}

impl Retention {
    fn keeps(self, entry: &Entry) -> bool {
        match self {
            Retention::All => true,
            Retention::OpenOnly => {
                entry.revoked
                    || matches!(
                        entry.state,
                        State::Intended | State::Sent | State::Refused { .. } | State::NotEffective
                    )
            }
        }
    }
}

#[cfg(test)]
mod tests;
