//! One target's accounts by what is known of them, as they are written into a status.

use crate::api::FailureCategory;
use crate::api::policy_status::{Counts, FailureSample};
use crate::plan::tally::{Sample, Tally};

/// Accounts of one target by what is known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The counters; `targeted` is the sum of the rest.
    pub(super) counts: Counts,
    /// The parts of `skipped`, by reason. Empty where an earlier process found them: a status keeps no parts.
    pub(super) skipped: Vec<(&'static str, i64)>,
    /// The parts of `failed`, by category.
    pub(super) failed: Vec<(&'static str, i64)>,
    /// Samples of failed accounts.
    pub(super) samples: Vec<Sample>,
    /// Whether sessions were to be ended and the provider refuses that.
    pub(super) sessions_refused: bool,
    /// Accounts whose sessions were to be ended and could not be.
    pub(super) sessions_kept: i64,
}

impl From<&Tally> for Findings {
    fn from(tally: &Tally) -> Self {
        Self {
            counts: Counts {
                targeted: number(tally.targeted()),
                compliant: number(tally.compliant),
                enforced: number(tally.enforced),
                changed: number(tally.changed),
                pending: number(tally.pending),
                cleared: number(tally.cleared),
                skipped: number(tally.skipped_total()),
                failed: number(tally.failed_total()),
                unknown: number(tally.unknown),
            },
            skipped: tally.skipped.iter().map(|(reason, count)| (reason.word(), number(*count))).collect(),
            failed: tally.failed.iter().map(|(category, count)| (category.as_str(), number(*count))).collect(),
            samples: tally.samples.clone(),
            sessions_refused: tally.sessions_refused,
            sessions_kept: number(tally.sessions_kept),
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Findings {
    /// What a status remembers. `samples`: those of the target; where they are all that failed and may all pass, their
    /// part is known.
    pub(super) fn remembered<'a>(counts: Counts, samples: impl Iterator<Item = &'a FailureSample>) -> Self {
        let passing = samples.filter(|sample| sample.may_pass()).count();
        let all = counts.failed > 0 && i64::try_from(passing) == Ok(counts.failed);
        let failed = if all { vec![(FailureCategory::Transient.as_str(), counts.failed)] } else { Vec::new() };
        Self { counts, failed, ..Self::default() }
    }

    /// Whether all that failed did so for causes that may pass. Parts that are not known are no such causes.
    pub(super) fn all_may_pass(&self) -> bool {
        self.counts.unknown == 0 && self.failed == [(FailureCategory::Transient.as_str(), self.counts.failed)]
    }

    /// The sum of two targets, without the samples.
    pub(super) fn and(mut self, other: &Findings) -> Findings {
        self.sessions_refused |= other.sessions_refused;
        self.sessions_kept += other.sessions_kept;
        self.counts = add(self.counts, other.counts);
        for (sums, parts) in [(&mut self.skipped, &other.skipped), (&mut self.failed, &other.failed)] {
            for (word, count) in parts {
                match sums.iter_mut().find(|(known, _)| known == word) {
                    Some((_, sum)) => *sum += count,
                    None => sums.push((word, *count)),
                }
            }
        }
        self
    }
}

/// The sum of two sets of counters.
pub(super) fn add(left: Counts, right: Counts) -> Counts {
    Counts {
        targeted: left.targeted + right.targeted,
        compliant: left.compliant + right.compliant,
        enforced: left.enforced + right.enforced,
        changed: left.changed + right.changed,
        pending: left.pending + right.pending,
        cleared: left.cleared + right.cleared,
        skipped: left.skipped + right.skipped,
        failed: left.failed + right.failed,
        unknown: left.unknown + right.unknown,
    }
}
