//! What does a pass work with?

use jiff::Timestamp;
use tokio::time::Instant;

use super::halt::Halt;
use crate::controller::policy::confirm::Confirm;
use crate::controller::policy::dereference::{self, Ready};
use crate::controller::policy::ledger::CampaignLedger;
use crate::plan::capabilities::Capabilities;
use crate::plan::ledger::{AccountKey, EntryKey};
use crate::plan::observed::{AccountId, UserKey};
use crate::provider::{Gate, Provider, ProviderError};
use crate::telemetry::metrics::{Metrics, WriteLabels};

/// What a pass works with during one slice.
pub struct Work<'a> {
    /// The target.
    pub ready: &'a Ready,
    /// Its campaign's records.
    pub ledger: &'a mut CampaignLedger,
    /// What is counted.
    pub metrics: &'a Metrics,
    /// Asked before each write.
    pub gate: Gate,
    /// Asked before each batch.
    pub confirm: Confirm<'a>,
    /// Whether anything may be written.
    pub may_write: bool,
    /// When the slice ends: no call is begun after it.
    pub deadline: Instant,
}

impl Work<'_> {
    /// *Errors*: what is to be sent is not wanted any more, or nobody can tell.
    pub(in crate::controller::policy) async fn confirm(&self) -> Result<(), Halt> {
        if self.confirm.holds().await.map_err(Halt::Ledger)? { Ok(()) } else { Err(Halt::Stale) }
    }

    pub(in crate::controller::policy) fn provider(&self) -> &dyn Provider {
        self.ready.connection.provider.as_ref()
    }

    pub(super) fn capabilities(&self) -> &'static Capabilities {
        self.provider().capabilities()
    }

    /// Counts a write for metrics.
    pub(in crate::controller::policy) fn count_write(&self, step: &'static str, outcome: &'static str) {
        let labels = WriteLabels { provider: self.capabilities().name, step, outcome };
        self.metrics.provider_writes.get_or_create(&labels).inc();
    }

    pub(super) fn account_key(&self, id: &AccountId) -> AccountKey {
        AccountKey::new(&self.ready.connection.tenant.id, id)
    }

    pub(super) fn entry_key(&self, key: &UserKey) -> EntryKey {
        EntryKey::new(&self.ready.connection.tenant.id, key)
    }

    /// How many accounts a page is asked for.
    pub(super) fn page_size(&self) -> u64 {
        let asked = self.ready.spec.page_size.and_then(|size| u64::try_from(size).ok());
        asked.unwrap_or(self.capabilities().page_size.into()).max(1)
    }

    /// What time it is: the provider's clock, else ours.
    pub(in crate::controller::policy) fn now(&self) -> Timestamp {
        dereference::clocks(self.ready, Timestamp::now()).working()
    }

    /// How many calls fit into about two seconds at the pace that this policy may expect: what is begun together, so that
    /// a slice can end in between.
    pub(super) fn at_once(&self) -> usize {
        ((self.ready.connection.tenant.limiter.pace() * 2.0) as usize).clamp(1, 200)
    }

    /// Calls that may be on the way at the same time.
    pub(super) fn concurrency(&self) -> usize {
        self.ready.connection.tenant.limiter.limits().max_concurrent_requests.max(1) as usize
    }
}

/// The word in metrics for how a write ended.
pub(in crate::controller::policy) fn outcome<T>(ended: &Result<T, ProviderError>) -> &'static str {
    match ended {
        Ok(_) => "accepted",
        Err(error) if error.effect_unknown => "unclear",
        Err(error) if error.is_refusal() => "refused",
        Err(_) => "not_sent",
    }
}
