//! How does each row stand? Rows are completed by as few reads as possible and decided by `plan::decide`.

use futures::StreamExt;
use tokio::time::Instant;

use super::batch::Due;
use super::counts::Origin;
use super::fuse::Fuse;
use super::waiting::Waiting;
use super::{Halt, Pass, Work};
use crate::api::FailureCategory;
use crate::plan::capabilities::Paging;
use crate::plan::decide::{Decision, Verdict, decide, is_fresh};
use crate::plan::ledger::AccountKey;
use crate::plan::observed::{Account, AccountId, UserKey};
use crate::provider::{Provider, ProviderError};

/// A row that waits to be judged.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the answer shows.
    pub account: Account,
    /// When it came, by our monotonic clock.
    pub received: Instant,
    /// Where it was found.
    pub origin: Origin,
}

/// What a read of one account came to.
pub(super) enum Read {
    /// Here it is.
    Account(Account),
    /// It is not there any more.
    Gone,
    /// We may not read it.
    Refused,
    /// The answer about it cannot be read.
    Unreadable,
    /// The tenant does not answer.
    Failed(ProviderError),
}

impl Read {
    /// Reads, unless it is known that it would fail like those before it. `None` where it is too late to begin.
    pub(super) async fn under(fuse: &Fuse, read: impl Future<Output = Read>) -> Option<Self> {
        let read = match fuse.blown() {
            Some(error) => Read::Failed(error),
            None if fuse.is_late() => return None,
            None => read.await,
        };
        fuse.saw(if let Read::Failed(error) = &read { Some(error) } else { None });
        Some(read)
    }
}

impl Pass {
    /// Judges the next rows.
    pub(super) async fn judge(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let mut reads = Vec::new();
        // Few at first, so that whoever is due first is asked within moments, then ever more.
        let at_once = self.reads_at_once.max(work.concurrency()).min(work.at_once());
        self.reads_at_once = 2 * at_once;
        while reads.len() < at_once {
            let Some(row) = self.rows.pop_front() else { break };
            let key = work.account_key(&row.account.id);
            if !self.counts.is_new(key, row.origin) {
                continue;
            }
            self.shield(key, &row.account);
            let decision = decide(&row.account, &self.facts(work, key, false), &self.rules, work.now());
            match (decision.verdict, self.read_verdicts.get(&key)) {
                (Verdict::Require | Verdict::Wait(_) | Verdict::NeedsRead, _) if self.is_left_out(&key) => {
                    let verdict = Verdict::Failed(FailureCategory::Transient);
                    self.counts.add(row.origin, &row.account.id.0, verdict);
                }
                (Verdict::NeedsRead, Some(verdict)) => self.counts.add(row.origin, &row.account.id.0, *verdict),
                (Verdict::NeedsRead, None) => reads.push((key, row)),
                _ => self.take(work, key, row, decision),
            }
        }
        let (provider, fuse) = (work.provider(), &Fuse::until(work.deadline));
        let mut answers: Vec<(AccountKey, Row, Option<Read>)> = futures::stream::iter(reads)
            .map(|(key, row)| async move {
                let read = Read::under(fuse, complete(provider, &row)).await;
                (key, row, read)
            })
            .buffer_unordered(work.concurrency())
            .collect()
            .await;
        // Whether one who was not found is gone is told by what was answered about the others.
        answers.sort_by_key(|(_, _, read)| matches!(read, Some(Read::Gone)));
        let mut halt = None;
        for (key, row, read) in answers {
            match read {
                Some(Read::Account(account)) => {
                    self.has_read = true;
                    self.shield(key, &account);
                    let decision = decide(&account, &self.facts(work, key, true), &self.rules, work.now());
                    self.remember_read(work, key, &decision);
                    // The mark and the change time were read now; only what the row itself gave is as old as the row.
                    self.take(work, key, Row { account, ..row }, decision);
                }
                Some(Read::Gone) => {
                    let verdict = self.gone(key);
                    self.counts.add(row.origin, &row.account.id.0, verdict);
                }
                Some(Read::Refused) => self.finish(work, key, &row, Verdict::Failed(FailureCategory::Forbidden)),
                Some(Read::Unreadable) => {
                    self.finish(work, key, &row, Verdict::Unknown("an answer that cannot be read"))
                }
                // The slice is over; the next one reads it.
                None => {
                    self.counts.forget(key, row.origin);
                    self.rows.push_front(row);
                }
                Some(Read::Failed(error)) if fuse.blown().is_none() && self.stumbles_again(key) => {
                    tracing::debug!(%error, "one account cannot be read; the next pass tries again");
                    self.finish(work, key, &row, Verdict::Failed(FailureCategory::Transient));
                }
                Some(Read::Failed(error)) => {
                    self.counts.forget(key, row.origin);
                    self.rows.push_front(row);
                    halt = Some(error);
                }
            }
        }
        halt.map_or(Ok(()), |error| Err(Halt::Tenant(error)))
    }

    /// Records a decision, counts it, and passes on what follows from it.
    pub(super) fn take(&mut self, work: &mut Work<'_>, key: AccountKey, row: Row, decision: Decision) {
        if let Some(entry) = decision.record {
            work.ledger.ledger.record(key, entry);
        }
        if decision.verdict != Verdict::NotTargeted {
            self.counts.add(row.origin, &row.account.id.0, decision.verdict);
        }
        self.follow(work, key, row, decision.verdict);
    }

    /// What follows from a verdict on an account that has been counted.
    pub(super) fn follow(&mut self, work: &mut Work<'_>, key: AccountKey, row: Row, verdict: Verdict) {
        match verdict {
            Verdict::Require => {
                self.due_in_round = true;
                self.counts.due(key);
                let not_sent = work.ledger.doubt.was_not_sent(&key);
                if work.may_write {
                    self.due.push(Due { key, row, before: None, not_sent });
                }
                self.shows_nothing(work, key);
            }
            Verdict::Wait(until) => {
                self.waiting.push(Waiting::until(until, work.now(), key, row));
                self.shows_nothing(work, key);
            }
            Verdict::Enforced => {
                work.ledger.doubt.may_have_been_sent(key);
                self.queue_sessions(work, key, &row, verdict);
            }
            Verdict::Changed | Verdict::Compliant | Verdict::Cleared => work.ledger.doubt.may_have_been_sent(key),
            _ => {}
        }
    }

    /// Takes in that an account whose intent a crash left open shows nothing of it. Those after it that cannot have been
    /// sent to are read again now, instead of when a write would show.
    fn shows_nothing(&mut self, work: &mut Work<'_>, key: AccountKey) {
        if work.ledger.doubt.shows_nothing(key) {
            let now = Instant::now();
            let cleared = self.waiting.iter_mut().filter(|w| work.ledger.doubt.was_not_sent(&w.key()));
            cleared.for_each(|waiting| waiting.at = waiting.at.min(now));
        }
    }

    fn finish(&mut self, work: &Work<'_>, key: AccountKey, row: &Row, verdict: Verdict) {
        self.remember_read(work, key, &Decision { verdict, record: None });
        self.counts.add(row.origin, &row.account.id.0, verdict);
    }

    /// Keeps what a read showed for the confirming listing, where neither the listing nor the ledger would tell it again.
    fn remember_read(&mut self, work: &Work<'_>, key: AccountKey, decision: &Decision) {
        let told_again = decision.record.is_some() || matches!(decision.verdict, Verdict::Require | Verdict::Wait(_));
        if work.capabilities().paging == Paging::Offset && !told_again {
            self.read_verdicts.insert(key, decision.verdict);
        }
    }
}

/// Fills in what a row lacks: by the cheap way while it is fresh, else by reading the account anew.
async fn complete(provider: &dyn Provider, row: &Row) -> Read {
    if is_fresh(row.received.elapsed()) {
        read_result(provider, row, provider.complete(row.account.clone()).await).await
    } else {
        read_again(provider, row).await
    }
}

/// Reads the account of a row anew.
pub(super) async fn read_again(provider: &dyn Provider, row: &Row) -> Read {
    read_result(provider, row, provider.read(&row.account.id).await).await
}

async fn read_result(provider: &dyn Provider, row: &Row, read: Result<Account, ProviderError>) -> Read {
    match read {
        Ok(account) => Read::Account(account),
        Err(error) if error.is_not_found() => gone(provider, &row.account.id).await,
        Err(error) if error.concerns_tenant() => Read::Failed(error),
        Err(error) if error.is_unreadable() => Read::Unreadable,
        Err(_) => Read::Refused,
    }
}

/// A 404 alone may mean "forbidden": only a search that works and finds nobody says that an account is gone.
pub(super) async fn gone(provider: &dyn Provider, id: &AccountId) -> Read {
    match provider.find(&UserKey::Id(id.0.clone())).await {
        Ok(found) if found.is_empty() => Read::Gone,
        Ok(_) => Read::Refused,
        Err(error) if error.concerns_tenant() => Read::Failed(error),
        Err(error) if error.is_unreadable() => Read::Unreadable,
        Err(_) => Read::Refused,
    }
}
