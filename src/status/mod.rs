//! What has to be said?
//!
//! [`report`] turns what was found out about a policy, and what its status said before, into the status to write, the
//! events to send and when the words change by themselves. [`provider_report`] does the same for a provider object.
//! Pure: equal input gives an equal report, and a report of what has been said already changes nothing. Writing it is
//! the controller's work.

mod conditions;
mod findings;
pub mod outcome;
mod policy;
mod provider;
mod remembered;
mod text;
mod verdict;

use std::time::Duration;

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::identity_provider::IdentityProviderStatus;
use crate::api::policy_status::PasswordResetPolicyStatus;

pub use outcome::{PolicyOutcome, ProviderOutcome, TargetOutcome};
pub use provider::refused_before;
pub use remembered::{settled_before, speaks_of_records};
pub use text::cut;

/// The status to write, and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report<S> {
    /// The whole status.
    pub status: S,
    /// How it differs from the previous one.
    pub difference: Difference,
    /// Events to send once the status is written.
    pub events: Vec<EventNote>,
    /// When, from now, the words would change without anything happening; look again then.
    pub speaks_again: Option<Duration>,
}

/// How urgently a status has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Nothing to write.
    None,
    /// Counters, progress, samples or the text of a message: at most every 10 s.
    Counters,
    /// What is said: at once.
    Words,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventNote {
    /// Warning rather than Normal.
    pub warning: bool,
    /// The reason, from the vocabulary of conditions.
    pub reason: Reason,
    /// What was being done, as one word in CamelCase.
    pub action: &'static str,
    /// At most 1024 bytes, without names or addresses of people.
    pub note: String,
}

/// What to say about a policy.
pub fn report(
    outcome: &PolicyOutcome,
    previous: Option<&PasswordResetPolicyStatus>,
    now: Timestamp,
) -> Report<PasswordResetPolicyStatus> {
    policy::report(outcome, previous, now)
}

/// What to say about a provider object.
pub fn provider_report(
    outcome: &ProviderOutcome,
    previous: Option<&IdentityProviderStatus>,
    now: Timestamp,
) -> Report<IdentityProviderStatus> {
    provider::report(outcome, previous, now)
}

#[cfg(test)]
mod tests;
