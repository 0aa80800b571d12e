//! What follows where there is no row to decide: after a write, and for an entry that leads to nobody.

use jiff::Timestamp;

use super::rules::{judge, no_password_here};
use super::{Decision, Facts, FailureCategory, Rules, SkipReason, Verdict};
use crate::plan::ledger::{Entry, Refusal, State};
use crate::plan::observed::{Account, Mark};

/// What an accepted write led to. `intent` is the entry that was recorded before it, `seen` the account as the answer
/// to the write or the read-back shows it.
///
/// `Wait(t)` asks for another read at `t`, which goes through [`decide`](super::decide) like any other (with
/// [`Facts::complete`]), and ends in `Enforced`, `Changed`, one more `Require` where the provider permits it, or
/// `Failed(WriteNotEffective)`. `NeedsRead` asks for a whole read where the answer does not show the mark.
pub fn after_write(intent: &Entry, seen: &Account, rules: &Rules) -> Decision {
    let sent = Entry { writes: intent.writes.saturating_add(1).min(3), ..intent.with(State::Sent, seen.answered_at) };
    let judged = if let Some(reason) = no_password_here(seen) {
        Verdict::Skip(reason).into()
    } else if seen.mark == Mark::NotGiven {
        Verdict::NeedsRead.into()
    } else {
        let facts = Facts { complete: true, ..Facts::default() };
        judge(seen, Some(&sent), &facts, rules, seen.answered_at)
    };
    Decision { record: judged.record.or(Some(sent)), ..judged }
}

/// What to remember of a write that the provider refused for good, and the verdict.
pub fn after_refusal(intent: &Entry, refusal: Refusal, tag: u32, at: Timestamp) -> Decision {
    let entry = intent.with(State::Refused { refusal, tag }, at);
    Decision { verdict: Verdict::Failed(refusal.into()), record: Some(entry) }
}

/// Whether the sessions of an account are to be ended now: `seen` shows the mark, whoever set it, and they have not been
/// ended before. `entry` is what is remembered after the decision. A lockout confirms no mark.
pub fn sessions_due(seen: &Account, verdict: Verdict, entry: Option<&Entry>) -> bool {
    verdict == Verdict::Enforced && seen.mark == Mark::Marked && entry.is_none_or(|entry| !entry.revoked)
}

/// What an entry of a selection is that leads to nobody, after an answer that proves it. `known_before`: it led to an
/// account once (see [`crate::plan::ledger::Ledger::account_of`]), so that is gone. `skip`: the target's `missingUsers`.
pub fn nobody(known_before: bool, skip: bool) -> Verdict {
    match (known_before, skip) {
        (true, _) => Verdict::Skip(SkipReason::Gone),
        (false, true) => Verdict::Skip(SkipReason::Missing),
        (false, false) => Verdict::Failed(FailureCategory::NotFound),
    }
}
