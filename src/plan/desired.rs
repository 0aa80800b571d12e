//! Who is meant by a target, and what is wanted of them?
//!
//! [`resolve`] turns one target of a policy, and the lists that it names, into a [`Desired`]: keys, groups and populations
//! with the place that each came from. Which accounts they lead to is asked of the provider later. A mistake that only
//! concerns one selected user becomes a [`Place`] to count; a mistake in what *protects* people stops the target, since
//! guessing there would touch somebody who must not be touched. Whether writing may begin is the question of
//! [`super::guard`].

mod entries;
mod index;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::password_reset_policy::{
    AccountState, Exclude, MissingUsers, Mode, PasswordResetPolicySpec, Scope, Sessions, Strategy, Target,
};

use super::capabilities::{Capabilities, Visibility};
use super::decide::AccountStates;
use super::failure::Stop;
use super::ledger::Epoch;
use super::observed::UserKey;
use entries::{Protecting, Selecting, named};

pub use entries::protected_keys;
pub use index::KeyIndex;

/// Since when a password must be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// Changed at or after this time.
    ChangedAfter(Timestamp),
    /// Not older than so many days of 24 hours.
    MaxAgeDays(u32),
}

impl Requirement {
    /// What the ledger calls it.
    pub fn epoch(self) -> Epoch {
        match self {
            Self::ChangedAfter(cutoff) => Epoch::Cutoff(cutoff.as_second()),
            Self::MaxAgeDays(days) => Epoch::Age(days),
        }
    }
}

/// Where an entry was written. Prints as in `status.failures[].subject`, and never as a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// An element of a field, such as `spec.targets[0].users[3]`.
    Entry {
        /// The field.
        field: Arc<str>,
        /// The element, from 0.
        index: u32,
    },
    /// A line of a list, such as `Secret/leak-4711 users.txt:17`.
    Line {
        /// The list.
        list: Arc<str>,
        /// The line, from 1.
        line: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { field, index } => write!(f, "{field}[{index}]"),
            Self::Line { list, line } => write!(f, "{list}:{line}"),
        }
    }
}

/// A user key and where it was written first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedKey {
    /// How the user is named.
    pub key: UserKey,
    /// Where.
    pub place: Place,
}

/// A group or population by the name (or id, or path) in the spec, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSet {
    /// As written.
    pub name: String,
    /// Such as `spec.targets[0].groups[1]`.
    pub place: Place,
}

/// Who is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Everybody in the tenant; the rest is empty then.
    pub tenant: bool,
    /// Users by key: duplicates merged, exclusions by text removed.
    pub keys: Vec<SelectedKey>,
    /// Groups.
    pub groups: Vec<NamedSet>,
    /// Populations.
    pub populations: Vec<NamedSet>,
    /// Entries that can name nobody. Each counts like a listed user who does not exist: failed (`NotFound`), or skipped
    /// under `missingUsers: Skip`.
    pub malformed: Vec<Place>,
}

/// Who is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// Users by key. One without a match at the provider is harmless; one with two matches stops the target.
    pub keys: Vec<SelectedKey>,
    /// Groups.
    pub groups: Vec<NamedSet>,
    /// Populations.
    pub populations: Vec<NamedSet>,
}

impl Exclusions {
    /// Whether nobody is left out.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.groups.is_empty() && self.populations.is_empty()
    }
}

/// What one target wants, with every reference to a list replaced by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The position in `spec.targets`, from 0.
    pub index: usize,
    /// The target's name.
    pub name: String,
    /// Whether anything is written.
    pub mode: Mode,
    /// Since when.
    pub requirement: Requirement,
    /// Who.
    pub selection: Selection,
    /// Who not.
    pub excluded: Exclusions,
    /// In which states.
    pub account_states: AccountStates,
    /// What a listed user counts as who does not exist.
    pub missing_users: MissingUsers,
    /// Each by itself, or by one call.
    pub strategy: Strategy,
    /// What becomes of sessions.
    pub sessions: Sessions,
}

/// Why a list could not be had at all. The texts are the controller's, which knows the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListUnavailable {
    /// No such object, or no such key in it.
    NotFound(String),
    /// The operator may not read it; the lines that grant it.
    Forbidden(String),
    /// It may not be used as a list: no label, or it is a credential; the line to add.
    Refused(String),
}

/// What was fetched for one entry of `usersFrom`.
pub type Fetched<'a> = Result<&'a [u8], ListUnavailable>;

/// What [`resolve`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The policy.
    pub spec: &'a PasswordResetPolicySpec,
    /// The position of the target in `spec.targets`.
    pub index: usize,
    /// What the target's provider can do.
    pub capabilities: &'a Capabilities,
    /// The content of `usersFrom`, in its order.
    pub users_from: &'a [Fetched<'a>],
    /// The content of `exclude.usersFrom`, in its order.
    pub exclude_users_from: &'a [Fetched<'a>],
}

/// Turns one target into what it wants.
///
/// # Errors
/// A [`Stop`] of class Stalled with the path of the field: an option that the provider does not support, a list that
/// cannot be used, an exclusion that does not resolve.
pub fn resolve(sources: &Sources<'_>) -> Result<Desired, Stop> {
    let Sources { spec, index, capabilities, .. } = *sources;
    let path = format!("spec.targets[{index}]");
    let target =
        spec.targets.get(index).ok_or_else(|| Stop::stalled(Reason::InvalidSpec, &path, "there is no such target"))?;
    let requirement = requirement(spec, capabilities)?;
    supported(spec, target, &path, capabilities)?;
    let protecting = Protecting::read(target.exclude.as_ref(), &path, capabilities, sources.exclude_users_from)?;
    let selecting = Selecting::read(target, &path, capabilities, sources.users_from, &protecting)?;
    selecting.settle(&protecting.misshapen)?;
    let states = &target.account_states;
    Ok(Desired {
        index,
        name: target.name.clone(),
        mode: spec.mode,
        requirement,
        selection: Selection {
            tenant: target.scope == Scope::Tenant,
            keys: selecting.keys,
            groups: named(&target.groups, &format!("{path}.groups")),
            populations: named(&target.populations, &format!("{path}.populations")),
            malformed: selecting.malformed,
        },
        excluded: protecting.exclusions,
        account_states: AccountStates {
            active: states.contains(&AccountState::Active),
            locked: states.contains(&AccountState::Locked),
            disabled: states.contains(&AccountState::Disabled),
        },
        missing_users: target.missing_users,
        strategy: target.strategy,
        sessions: spec.action.sessions,
    })
}

/// One target's tenant, to find two that are the same.
#[derive(Clone, Copy, Debug)]
pub struct TargetTenant<'a> {
    /// The position in `spec.targets`.
    pub index: usize,
    /// The target's name.
    pub name: &'a str,
    /// The tenant's identity, as verified or as the provider's spec gives it.
    pub tenant: &'a str,
}

/// The targets that lead to one tenant through different provider objects: each of them stops, since one's exclusions
/// would not protect anybody from the other.
pub fn duplicate_tenants(targets: &[TargetTenant<'_>]) -> Vec<(usize, Stop)> {
    targets
        .iter()
        .filter_map(|target| {
            let other = targets.iter().find(|other| other.index != target.index && other.tenant == target.tenant)?;
            Some((
                target.index,
                Stop::stalled(
                    Reason::DuplicateTenant,
                    format!("spec.targets[{}].providerRef", target.index),
                    format!(
                        "targets {} and {} lead to the same tenant through different provider objects: put their users \
                         and groups into one target, or write a second policy",
                        target.name, other.name
                    ),
                ),
            ))
        })
        .collect()
}

/// Which campaign a spec stands for; `None` where its requirement is none.
pub fn epoch(spec: &PasswordResetPolicySpec) -> Option<Epoch> {
    match (&spec.requirement.password_changed_after, spec.requirement.max_password_age_days) {
        (Some(cutoff), None) => Some(Requirement::ChangedAfter(cutoff.0).epoch()),
        (None, Some(days)) => Some(Requirement::MaxAgeDays(u32::try_from(days).ok()?).epoch()),
        _ => None,
    }
}

fn requirement(spec: &PasswordResetPolicySpec, capabilities: &Capabilities) -> Result<Requirement, Stop> {
    let given = &spec.requirement;
    match (&given.password_changed_after, given.max_password_age_days) {
        (Some(cutoff), None) => Ok(Requirement::ChangedAfter(cutoff.0)),
        (None, Some(days)) => {
            let path = "spec.requirement.maxPasswordAgeDays";
            let days = u32::try_from(days)
                .ok()
                .filter(|days| *days > 0)
                .ok_or_else(|| Stop::stalled(Reason::InvalidSpec, path, "write a number of days from 1 to 3650"))?;
            if capabilities.visibility != Visibility::MarkAndChangeTime {
                return Err(Stop::stalled(
                    Reason::UnsupportedByProvider,
                    path,
                    format!(
                        "{} does not show when a password was changed, so an age cannot be told: write \
                         passwordChangedAfter with a date in a new policy",
                        capabilities.name
                    ),
                ));
            }
            Ok(Requirement::MaxAgeDays(days))
        }
        _ => Err(Stop::stalled(
            Reason::InvalidSpec,
            "spec.requirement",
            "give exactly one of passwordChangedAfter (a date) or maxPasswordAgeDays (an age)",
        )),
    }
}

/// Refuses options that the provider cannot honour; user keys are checked where they are read.
fn supported(
    spec: &PasswordResetPolicySpec,
    target: &Target,
    path: &str,
    capabilities: &Capabilities,
) -> Result<(), Stop> {
    let name = capabilities.name;
    let refuse = |field: String, why: String| Err(Stop::stalled(Reason::UnsupportedByProvider, field, why));
    let no_exclude = Exclude::default();
    let exclude = target.exclude.as_ref().unwrap_or(&no_exclude);
    for (prefix, groups, populations) in
        [("", &target.groups, &target.populations), ("exclude.", &exclude.groups, &exclude.populations)]
    {
        if !groups.is_empty() && !capabilities.groups {
            return refuse(
                format!("{path}.{prefix}groups"),
                format!("{name} has no groups: name the people by {prefix}users or {prefix}usersFrom instead"),
            );
        }
        if !populations.is_empty() && !capabilities.populations {
            let instead = if capabilities.groups { "groups" } else { "users" };
            return refuse(
                format!("{path}.{prefix}populations"),
                format!("{name} has no populations: write {prefix}{instead} instead"),
            );
        }
    }
    if spec.action.sessions == Sessions::Revoke && !capabilities.revoke_sessions {
        return refuse(
            "spec.action.sessions".into(),
            format!("{name} (target {}) cannot end the sessions of a user: write Keep", target.name),
        );
    }
    if target.strategy == Strategy::TenantNative && !capabilities.tenant_native {
        return refuse(
            format!("{path}.strategy"),
            format!("{name} has no call that requires a change of everybody: write PerUser"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
