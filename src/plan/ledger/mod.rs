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

pub use entry::{Baseline, Entry, Refusal, State, seconds};
pub use key::{AccountKey, CAMPAIGN_LABEL, CampaignKey, EntryKey, Epoch, TENANT_LABEL, refusal_tag, tenant_label};

use jiff::Timestamp;

/// One shard as it has to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardImage {
    /// Its index; 0 is the head. See [`CampaignKey::shard_name`].
    pub index: u16,
    /// Its bytes, at most 64 KiB.
    pub bytes: Vec<u8>,
}

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
    /// It arrived; who signed in since and is unmarked has changed.
    Arrived,
    /// Done with: never sent again, who is due is required one by one.
    Closed,
}

/// The ledger of one campaign.
#[derive(Clone, Debug)]
pub struct Ledger {
    key: CampaignKey,
}

#[allow(unused_variables, missing_docs)]
impl Ledger {
    /// An empty ledger.
    pub fn new(key: CampaignKey, retention: Retention) -> Self {
        Self { key }
    }
    /// Reads what was stored. No shards at all give an empty ledger: whether there should be some, only status tells.
    pub fn load(key: CampaignKey, retention: Retention, shards: Vec<(u16, Vec<u8>)>) -> Result<Self, LedgerDamage> {
        Ok(Self { key })
    }
    pub fn key(&self) -> &CampaignKey {
        &self.key
    }
    pub fn len(&self) -> usize {
        0
    }
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn entry(&self, key: &AccountKey) -> Option<Entry> {
        None
    }
    pub fn for_each(&self, f: impl FnMut(AccountKey, Entry)) {}
    pub fn record(&mut self, key: AccountKey, entry: Entry) {}
    pub fn forget(&mut self, key: &AccountKey) {}
    pub fn link(&mut self, entry: EntryKey, account: AccountKey) {}
    pub fn account_of(&self, entry: &EntryKey) -> Option<AccountKey> {
        None
    }
    pub fn open_batch(&mut self, accounts: &[AccountKey], at: Timestamp) {}
    pub fn close_unsent(&mut self, accounts: &[AccountKey]) {}
    pub fn open(&self) -> Vec<AccountKey> {
        Vec::new()
    }
    pub fn everybody(&self) -> Option<Everybody> {
        None
    }
    pub fn set_everybody(&mut self, everybody: Option<Everybody>) {}
    /// What has to be stored before a batch is sent, in this order.
    pub fn dirty_for_batch(&self) -> Vec<ShardImage> {
        Vec::new()
    }
    /// Everything that is not stored yet, in the order it must be written: the head last.
    pub fn dirty_shards(&self) -> Vec<ShardImage> {
        Vec::new()
    }
    /// The shard with this index was stored as it was handed out last.
    pub fn written(&mut self, index: u16) {}
}
