//! What has to be done about one account? One pure function over what an answer shows and what is remembered.
//!
//! The order of the rules is the meaning: each is one block, the first that fits decides. Nothing here writes or reads;
//! [`Verdict::Require`] asks the engine to write, [`Verdict::NeedsRead`] to complete the row. What a write led to goes
//! through [`after_write`] or [`after_refusal`] and comes out as what to remember; after an unclear answer the account is
//! read and decided like any other, and the intent that stays open is part of what is remembered about it.
//!
//! An entry found as [`State::Intended`] in a loaded ledger (a crash in mid-write) needs no function of its own either.

mod after;
mod rules;

pub use after::{after_refusal, after_write, nobody, sessions_due};
pub use rules::decide;

use std::time::Duration;

use jiff::Timestamp;

use crate::api::FailureCategory;

use super::capabilities::{Capabilities, Visibility};
use super::evidence::Evidence;
use super::ledger::{Entry, Refusal};

/// The oldest that a row may be that decides a write. An older one is read again.
pub const FRESH: Duration = Duration::from_secs(30);

/// Whether a row of this age may decide a write.
pub fn is_fresh(age: Duration) -> bool {
    age <= FRESH
}

/// Which states of accounts a policy is about (`accountStates`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountStates {
    /// Neither locked nor disabled.
    pub active: bool,
    /// Locked.
    pub locked: bool,
    /// Disabled.
    pub disabled: bool,
}

impl Default for AccountStates {
    /// Active accounts only.
    fn default() -> Self {
        Self { active: true, locked: false, disabled: false }
    }
}

/// What is known about an account besides its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What this campaign's ledger remembers.
    pub entry: Option<Entry>,
    /// What the tenant's other campaigns saw. `None` where the provider shows change times.
    pub evidence: Option<Evidence>,
    /// Named as protected by an object of this tenant.
    pub protected: bool,
    /// The account that the operator itself acts as.
    pub own: bool,
    /// Excluded by the target.
    pub excluded: bool,
    /// The open intent that is remembered was certainly never sent, see [`super::doubt::Doubt`].
    pub not_sent: bool,
    /// Whether the row is authoritative: what it does not give now, no read gives.
    pub complete: bool,
}

/// What holds for all accounts of a target during one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// T, in whole seconds. Where it is an age, fixed at the start of the pass.
    pub cutoff: Timestamp,
    /// Whether T is an age and moves along: what was changed once can be due again.
    pub rolling: bool,
    /// Which states of accounts are targeted.
    pub states: AccountStates,
    /// What the provider shows.
    pub visibility: Visibility,
    /// Whether accounts found changed are remembered: where a listing does not show it, that saves a read a pass.
    pub remember_compliant: bool,
    /// Whether a write that was accepted without effect may be sent once more.
    pub repeat_without_effect: bool,
    /// How long a write may take to show, in seconds: three reads within it, then it had no effect.
    pub settle_seconds: u32,
    /// The tag of the policy's generation and reconcile token, see [`super::ledger::refusal_tag`].
    pub refusal_tag: u32,
}

impl Rules {
    /// The rules of a pass at a provider with these capabilities. `cutoff` in whole seconds, fixed for the pass;
    /// `rolling` where it is an age. `settle_seconds`: how long a write may take to show.
    pub fn new(
        capabilities: &Capabilities,
        cutoff: Timestamp,
        rolling: bool,
        states: AccountStates,
        settle_seconds: u32,
        refusal_tag: u32,
    ) -> Self {
        let lists_show_changes = capabilities.list_shows_mark && capabilities.list_shows_change_time;
        Self {
            cutoff,
            rolling,
            states,
            visibility: capabilities.visibility,
            remember_compliant: capabilities.visibility == Visibility::MarkAndChangeTime && !lists_show_changes,
            repeat_without_effect: capabilities.repeat_without_effect,
            settle_seconds,
            refusal_tag,
        }
    }
}

/// Why an account is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// Protected, or the operator's own account.
    Protected,
    /// It has no password.
    NoPassword,
    /// Another system keeps its password.
    Federated,
    /// No person signs in to it.
    Service,
    /// Active, and `accountStates` lacks `Active`.
    Active,
    /// Locked, and `accountStates` lacks `Locked`.
    Locked,
    /// Disabled, and `accountStates` lacks `Disabled`.
    Disabled,
    /// It was listed once; no listing and no search shows it any more.
    Gone,
    /// Named by the policy, does not exist, and `missingUsers` is `Skip`.
    Missing,
}

impl SkipReason {
    /// The word that people read.
    pub fn word(self) -> &'static str {
        match self {
            SkipReason::Protected => "Protected",
            SkipReason::NoPassword => "NoPassword",
            SkipReason::Federated => "Federated",
            SkipReason::Service => "Service",
            SkipReason::Active => "Active",
            SkipReason::Locked => "Locked",
            SkipReason::Disabled => "Disabled",
            SkipReason::Gone => "Gone",
            SkipReason::Missing => "Missing",
        }
    }
}

impl From<Refusal> for FailureCategory {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected => FailureCategory::Rejected,
            Refusal::Forbidden => FailureCategory::Forbidden,
        }
    }
}

/// What an account is, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not counted.
    NotTargeted,
    /// Left alone.
    Skip(SkipReason),
    /// Changed after we required it; done for this cutoff.
    Changed,
    /// Changed without our doing; done for this cutoff.
    Compliant,
    /// Marked: the owner cannot go on without changing the password.
    Enforced,
    /// The mark went without a change. Never required again by itself.
    Cleared,
    /// Due. Counted as pending; in Enforce it is written.
    Require,
    /// Perhaps due, but not before this time of the provider's clock: T is ahead, or a write may still show. Counted as
    /// pending; to be read and decided again then.
    Wait(Timestamp),
    /// The row lacks something that a read gives. Counted as pending until then.
    NeedsRead,
    /// An authoritative answer does not tell: neither done nor due. What is missing.
    Unknown(&'static str),
    /// It cannot be required, why.
    Failed(FailureCategory),
}

/// A verdict, and what has to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What follows.
    pub verdict: Verdict,
    /// What the ledger has to remember instead of what it does; `None` where nothing is new.
    pub record: Option<Entry>,
}

impl From<Verdict> for Decision {
    /// A verdict that leaves what is remembered as it is.
    fn from(verdict: Verdict) -> Self {
        Self { verdict, record: None }
    }
}

#[cfg(test)]
mod tests;
