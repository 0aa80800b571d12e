//! How many accounts of a target are what, and samples of what failed.
//!
//! Counts only: what they mean for conditions is said in `status`.

use std::collections::BTreeMap;

use super::decide::{SkipReason, Verdict};
use crate::api::FailureCategory;

/// How many samples of failures are kept.
pub const SAMPLES: usize = 20;

/// One failure, without a name or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// An account id, or a place such as `spec.targets[0].users[3]`.
    pub subject: String,
    /// Why.
    pub category: FailureCategory,
}

/// The counts of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Changed without our doing.
    pub compliant: u64,
    /// Marked.
    pub enforced: u64,
    /// Changed after we required it.
    pub changed: u64,
    /// Due, or not known yet.
    pub pending: u64,
    /// The mark went without a change.
    pub cleared: u64,
    /// Left alone, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Cannot be required, by category.
    pub failed: BTreeMap<FailureCategory, u64>,
    /// Neither done nor due.
    pub unknown: u64,
    /// Whether sessions were to be ended and the provider refuses that.
    pub sessions_refused: bool,
    /// Accounts whose sessions were to be ended and could not be.
    pub sessions_kept: u64,
    /// At most [`SAMPLES`] failures, the first ones.
    pub samples: Vec<Sample>,
}

impl Tally {
    /// Counts one account.
    pub fn add(&mut self, verdict: Verdict) {
        self.count(verdict, 1);
    }

    /// Takes back what [`Tally::add`] counted, when an account turned into something else within a pass.
    pub fn remove(&mut self, verdict: Verdict) {
        self.count(verdict, -1);
    }

    /// Counts a failure and keeps a sample of it while there is room. `subject` is an account id or a place.
    pub fn add_failure(&mut self, subject: impl Into<String>, category: FailureCategory) {
        self.add(Verdict::Failed(category));
        if self.samples.len() < SAMPLES {
            self.samples.push(Sample { subject: subject.into(), category });
        }
    }

    /// Adds the counts of another part (of the same target, or another target for the policy's sum).
    pub fn merge(&mut self, other: &Tally) {
        self.sessions_refused |= other.sessions_refused;
        self.sessions_kept += other.sessions_kept;
        self.compliant += other.compliant;
        self.enforced += other.enforced;
        self.changed += other.changed;
        self.pending += other.pending;
        self.cleared += other.cleared;
        self.unknown += other.unknown;
        for (reason, n) in &other.skipped {
            *self.skipped.entry(*reason).or_default() += n;
        }
        for (category, n) in &other.failed {
            *self.failed.entry(*category).or_default() += n;
        }
        let room = SAMPLES - self.samples.len().min(SAMPLES);
        self.samples.extend(other.samples.iter().take(room).cloned());
    }

    /// Whether an account failed for a cause that may pass, so that the next pass should not wait for its turn.
    pub fn retries(&self) -> bool {
        self.failed.contains_key(&FailureCategory::Transient)
    }

    fn count(&mut self, verdict: Verdict, by: i64) {
        let counter = match verdict {
            Verdict::NotTargeted => return,
            Verdict::Skip(reason) => self.skipped.entry(reason).or_default(),
            Verdict::Changed => &mut self.changed,
            Verdict::Compliant => &mut self.compliant,
            Verdict::Enforced => &mut self.enforced,
            Verdict::Cleared => &mut self.cleared,
            Verdict::Require | Verdict::Wait(_) | Verdict::NeedsRead => &mut self.pending,
            Verdict::Unknown(_) => &mut self.unknown,
            Verdict::Failed(category) => self.failed.entry(category).or_default(),
        };
        *counter = counter.saturating_add_signed(by);
        self.skipped.retain(|_, n| *n > 0);
        self.failed.retain(|_, n| *n > 0);
    }

    /// Everybody who is left alone.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Everybody who cannot be required.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Everybody who is counted: the sum of the rest.
    pub fn targeted(&self) -> u64 {
        self.done() + self.pending + self.cleared + self.skipped_total() + self.failed_total() + self.unknown
    }

    fn done(&self) -> u64 {
        self.compliant + self.enforced + self.changed
    }
}

#[cfg(test)]
mod tests;
