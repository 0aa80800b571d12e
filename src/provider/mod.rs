//! The outside world: one folder per identity provider behind one trait.
//!
//! A provider answers and carries out; it decides nothing. It classifies its own errors, so that nobody else looks at an
//! HTTP status. Pressure (limiter, `Retry-After`), tokens, size caps and redaction live once in [`http`].

pub mod http;
pub mod keycloak;
pub mod looker;
pub mod monocloud;
pub mod pingone;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::plan::capabilities::Capabilities;
use crate::plan::observed::{Account, AccountId, Cursor, Listing, Page, SetKind, Tenant, UserKey};
pub use crate::plan::provider_error::{ErrorKind, ProviderError};
use crate::plan::step::{Applied, Step};

/// Asked right before a write is sent, after every wait. `false` means that writing has been stopped (suspended, edited,
/// deleted, no longer leader): the write is not sent and the call ends with [`ErrorKind::Stopped`].
pub type Gate = Arc<dyn Fn() -> bool + Send + Sync>;

/// One tenant of one identity provider.
///
/// Every method may wait for the tenant's limiter. No method repeats a request, but for one repeat after an answer that
/// refuses the credential: with a fresh token, or with a key that was taken before. Reading never changes anything.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Literal data: what this provider can show and do.
    fn capabilities(&self) -> &'static Capabilities;

    /// Does the credential work, what may it do, which tenant is it, and will a requirement bite?
    ///
    /// *Behaviour*: fetches a fresh token first when `fresh_token` is set. At most 6 calls. *Errors*:
    /// `AuthenticationFailed`, `PermissionDenied` naming the missing right, and what any call can give.
    async fn verify(&self, fresh_token: bool) -> Result<Tenant, ProviderError>;

    /// One page of a listing. `cursor` is what the page before gave as `next`.
    ///
    /// *Behaviour*: `next: None` only where the provider said that this is the end, never because a page is short.
    async fn list(&self, listing: &Listing, cursor: Option<&Cursor>) -> Result<Page, ProviderError>;

    /// The ids of all groups (populations) whose name is exactly `name`, or whose id is.
    ///
    /// *Requires* `capabilities().groups` (`populations`). *Behaviour*: none found is an empty vector.
    async fn sets(&self, kind: SetKind, name: &str) -> Result<Vec<String>, ProviderError>;

    /// Whether the tenant has more than `accounts` accounts. `None` where that is not told by a single call, or where
    /// `verify` tells how many there are anyway.
    async fn has_more_than(&self, _accounts: u64) -> Result<Option<bool>, ProviderError> {
        Ok(None)
    }

    /// Every account that `key` names, as a row like those of a listing: what it lacks is filled in by `complete`.
    ///
    /// *Behaviour*: hits are checked again on the client (see [`Account::matches`]); nobody is an empty vector, two are
    /// two: judging that is not the provider's. It costs a call or two for a key that names one account, and more where
    /// the provider searches in several places.
    async fn find(&self, key: &UserKey) -> Result<Vec<Account>, ProviderError>;

    /// Fills in what `row` (from `list` or `find`, at most 30 s old) does not give, by as few calls as possible. Rows
    /// that lack nothing cost no call.
    async fn complete(&self, row: Account) -> Result<Account, ProviderError>;

    /// The whole account, as fresh as the provider can give it. A 404 is `NotFound`.
    async fn read(&self, id: &AccountId) -> Result<Account, ProviderError>;

    /// The mark and the change time after a write, by as few calls as possible.
    async fn read_back(&self, id: &AccountId) -> Result<Account, ProviderError>;

    /// Carries out one step.
    ///
    /// *Idempotent how*: not at all on its own; the caller has decided by a fresh row that the step is due and recorded
    /// its intent. *Behaviour*: `gate` is asked immediately before each write is sent. An answer that leaves open
    /// whether the write took effect (timeout, reset, 5xx) is an error with `effect_unknown` set and is never repeated.
    async fn apply(&self, step: &Step, gate: &Gate) -> Result<Applied, ProviderError>;

    /// The provider's clock and ours at the last answer that carried a `Date`.
    /// `None` before the first one.
    fn clock(&self) -> Option<ClockReading>;
}

/// One reading of a provider's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The `Date` of the answer (RFC 9110 §6.6.1, whole seconds).
    pub theirs: Timestamp,
    /// Our clock when that answer came.
    pub ours: Timestamp,
}

impl ClockReading {
    /// What the provider's clock shows when ours shows `now`.
    pub fn at(&self, now: Timestamp) -> Timestamp {
        self.theirs.checked_add(now.duration_since(self.ours)).unwrap_or(self.theirs)
    }
}
