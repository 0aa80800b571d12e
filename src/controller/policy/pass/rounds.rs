//! Has everybody been listed, where rows may move while a listing is read?

use super::task::Task;
use super::{Pass, Work};
use crate::plan::capabilities::Paging;

/// How often a listing that is paged by offset is repeated at most, to find rows that moved while it was read.
pub(super) const CONFIRMATIONS: u32 = 3;

impl Pass {
    /// Begins another round of the listings where they are paged by offset, so that rows which moved while they were
    /// read are found. Returns whether there is one.
    pub(super) fn next_round(&mut self, work: &Work<'_>) -> bool {
        if !self.may_move(work) || self.round > CONFIRMATIONS || (self.round > 0 && self.is_confirmed(work)) {
            return false;
        }
        self.round += 1;
        self.due_in_round = false;
        self.counts.next_round(!work.may_write);
        self.tasks.extend(self.listings.iter().map(Task::again));
        true
    }

    /// Counts accounts that the ledger remembers and that a complete listing of the tenant does not show any more.
    pub(super) fn count_gone(&mut self, work: &Work<'_>) {
        if work.ready.desired.selection.tenant && self.is_confirmed(work) {
            let mut gone = 0;
            work.ledger.ledger.for_each(|key, _| gone += u64::from(!self.counts.has_seen(key)));
            self.counts.gone(gone);
        }
    }

    /// Whether the last round of the listings found nothing that the one before should have shown.
    pub(super) fn is_confirmed(&self, work: &Work<'_>) -> bool {
        !self.may_move(work)
            || (self.round > 0 && if work.may_write { !self.due_in_round } else { self.counts.nobody_new() })
    }

    /// Whether rows may have moved from one page to another while a listing was read.
    fn may_move(&self, work: &Work<'_>) -> bool {
        work.capabilities().paging == Paging::Offset && !self.listings.is_empty()
    }
}
