//! What was found out, as plain data: everything that a report is made from.

use crate::api::identity_provider::ProviderType;
use crate::api::password_reset_policy::{Mode, ReadyWhen};
use crate::plan::capabilities::Capabilities;
use crate::plan::failure::{Health, Stop};
use crate::plan::observed::Tenant;
use crate::plan::suspension::Suspension;
use crate::plan::tally::Tally;

/// What one look at a policy found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyOutcome {
    /// The generation of the spec that was worked on.
    pub generation: i64,
    /// `spec.mode`.
    pub mode: Mode,
    /// `spec.readyWhen`.
    pub ready_when: ReadyWhen,
    /// What stops writing to every target on purpose: the operator, the annotation or `spec.suspend`.
    pub suspension: Option<Suspension>,
    /// Each target, in the order of the spec.
    pub targets: Vec<TargetOutcome>,
    /// The value of the reconcile annotation that this look obeys; `None` keeps what the status says.
    pub handled_reconcile: Option<String>,
}

/// What one look at a target found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetOutcome {
    /// The target's name.
    pub name: String,
    /// The provider object as `Kind/name`.
    pub provider: String,
    /// How the provider stands.
    pub health: Health,
    /// What stops this target alone on purpose: its provider object.
    pub suspension: Option<Suspension>,
    /// What stops it against its will.
    pub stop: Option<Stop>,
    /// What the pass that runs now has found so far. `None` when none runs.
    pub running: Option<Tally>,
    /// What the last complete pass at this generation found. `None` before the first one in this process: what the
    /// status says of an earlier process at the same generation then holds on.
    pub complete: Option<Tally>,
}

/// What one look at a provider object found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderOutcome {
    /// The generation of the spec that was worked on.
    pub generation: i64,
    /// The provider's type, where this version knows it.
    pub type_: Option<ProviderType>,
    /// How it stands.
    pub health: Health,
    /// What the last verification in this process said; `None` keeps what the status says.
    pub tenant: Option<Tenant>,
    /// What the provider can do and show; `None` where this version does not know it.
    pub capabilities: Option<&'static Capabilities>,
}
