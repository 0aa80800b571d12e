//! A campaign's ledger together with where it is stored: what is recorded, and when it has to be written.

use std::collections::HashMap;

use crate::controller::ledger_store::{LedgerStore, WriteError};
use crate::controller::process;
use crate::plan::capabilities::{Capabilities, Visibility};
use crate::plan::doubt::{Doubt, Opener};
use crate::plan::evidence::TenantEvidence;
use crate::plan::ledger::{CampaignKey, Ledger, LedgerDamage, Retention, ShardImage};

/// Accounts above which a provider whose lists show everything keeps open batches only.
const LARGE_TENANT: u64 = 100_000;

/// A ledger and the versions of its shards at the API server.
pub struct CampaignLedger {
    /// The records.
    pub ledger: Ledger,
    /// What other campaigns of the tenant saw, where changes can only be inferred.
    pub evidence: Option<TenantEvidence>,
    /// Which intents of a process that died may be on the wire.
    pub doubt: Doubt,
    /// Whether there were records when it was read, mostly another process's, and no batch has been opened since.
    pub resumed: bool,
    opener: Option<Opener>,
    store: LedgerStore,
    versions: HashMap<u16, String>,
}

/// Why a ledger could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Records existed and are gone or unreadable, and the provider shows too little to rebuild them.
    #[error("{0}")]
    Lost(String),
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl CampaignLedger {
    /// Reads the ledger of `key`. `expected` says that status speaks of records; `accept_loss` that a human has accepted
    /// that they are lost.
    pub async fn load(
        store: &LedgerStore,
        key: CampaignKey,
        capabilities: &Capabilities,
        users: Option<u64>,
        expected: bool,
        accept_loss: bool,
    ) -> Result<Self, LoadError> {
        let shows_all = capabilities.list_shows_mark && capabilities.list_shows_change_time;
        let infers = capabilities.visibility == Visibility::MarkAndSignIn;
        let large = users.is_some_and(|n| n > LARGE_TENANT);
        let retention = if shows_all && !infers && large { Retention::OpenOnly } else { Retention::All };
        let stored = store.load(&key).await?;
        let mut versions = stored.versions;
        let nothing = stored.shards.is_empty();
        let loaded = Ledger::load(key.clone(), retention, stored.shards);
        let lost = match &loaded {
            Ok(_) => (nothing && expected).then(|| "no record is left of what status speaks of".to_owned()),
            Err(damage) => Some(damage.to_string()),
        };
        if let Some(why) = lost.as_ref().filter(|_| infers && !accept_loss) {
            return Err(LoadError::Lost(why.clone()));
        }
        let ledger = match loaded {
            Ok(ledger) => ledger,
            // What the provider shows is enough to rebuild the records, or a human has accepted the loss.
            Err(damage) => {
                tracing::warn!(%damage, "the records of a campaign are damaged and are rebuilt from what the provider shows");
                store.delete(&key).await?;
                versions.clear();
                Ledger::new(key.clone(), retention)
            }
        };
        let doubt = match stored.opener.as_ref().filter(|opener| process::is_gone(opener)) {
            Some(opener) => Doubt::new(ledger.open(), opener.at_once),
            None => Doubt::default(),
        };
        let evidence = if infers { Some(evidence(store, &key, Retention::All).await?) } else { None };
        let resumed = !ledger.is_empty();
        Ok(Self { ledger, evidence, doubt, resumed, opener: stored.opener, store: store.clone(), versions })
    }

    /// Reads again what other campaigns of the tenant saw, where that matters.
    pub async fn refresh_evidence(&mut self) -> Result<(), kube::Error> {
        if self.evidence.is_some() {
            let key = self.ledger.key().clone();
            self.evidence = Some(evidence(&self.store, &key, Retention::All).await?);
        }
        Ok(())
    }

    /// Writes what has to be stored before a batch is sent, `at_once` requests at a time: the checkpoint after a crash, and
    /// the fence.
    pub async fn save_for_batch(&mut self, at_once: usize) -> Result<(), WriteError> {
        self.opener = Some(process::opener(at_once));
        self.resumed = false;
        let images = self.ledger.dirty_for_batch();
        self.write(images).await
    }

    /// Writes the first records of a campaign whose changes can only be inferred: status speaks of them from now on, and
    /// to find them missing later would mean a loss.
    pub async fn save_first_evidence(&mut self) -> Result<(), WriteError> {
        if self.evidence.is_some() && self.versions.is_empty() && !self.ledger.is_empty() {
            self.save().await?;
        }
        Ok(())
    }

    /// Writes everything that is not stored yet.
    pub async fn save(&mut self) -> Result<(), WriteError> {
        let images = self.ledger.dirty_shards();
        self.write(images).await
    }

    async fn write(&mut self, images: Vec<ShardImage>) -> Result<(), WriteError> {
        for image in images {
            let opener = self.opener.as_ref().filter(|_| image.index == 0);
            let before = self.versions.get(&image.index);
            let version = self.store.write(self.ledger.key(), &image, before, opener).await?;
            self.versions.insert(image.index, version);
            self.ledger.written(&image);
        }
        Ok(())
    }
}

/// What the other campaigns of the tenant saw. A damaged one tells nothing; its own policy says so.
async fn evidence(store: &LedgerStore, key: &CampaignKey, retention: Retention) -> Result<TenantEvidence, kube::Error> {
    let siblings = store.siblings(key).await?;
    let ledgers: Vec<Ledger> = siblings
        .into_iter()
        .filter_map(|(key, shards)| {
            Ledger::load(key, retention, shards)
                .inspect_err(|damage: &LedgerDamage| tracing::warn!(%damage, "another campaign's records tell nothing"))
                .ok()
        })
        .collect();
    Ok(TenantEvidence::new(&ledgers))
}
