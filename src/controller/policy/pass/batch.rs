//! Require a change of those that are due: record the intent, send, and take in what became of each write.
//!
//! How one account is written to is in [`super::require`], who is waited for in [`super::waiting`].

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;

use super::fuse::Fuse;
use super::require::{Sent, require};
use super::rows::Row;
use super::waiting::{UNCLEAR_READ, Waiting};
use super::{Halt, Pass, Work, age};
use crate::api::FailureCategory;
use crate::plan::batch::{self, Gathered, Refusals, TENANT_REFUSAL, TenantRefuses};
use crate::plan::decide::{Decision, FRESH, Facts, Verdict, after_refusal, after_write, decide};
use crate::plan::ledger::{AccountKey, Entry, Refusal, State};
use crate::plan::observed::Account;
use crate::provider::{ErrorKind, ProviderError};

/// An account that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its key in the ledger.
    pub key: AccountKey,
    /// The row that says so.
    pub row: Row,
    /// What was remembered before the intent was recorded: a row that is read again is decided by that.
    pub before: Option<Entry>,
    /// Whether an intent that was remembered then was certainly never sent.
    pub not_sent: bool,
}

/// The open batch: recorded, and not all sent.
#[derive(Debug)]
pub struct Batch(VecDeque<Due>);

impl Batch {
    /// Who was not sent.
    pub fn unsent(&self) -> impl Iterator<Item = &Due> {
        self.0.iter()
    }

    /// The same, to be gathered again.
    pub fn into_unsent(self) -> VecDeque<Due> {
        self.0
    }
}

/// A batch is sent in the order of its keys: after a crash that tells who may have been on the way (see
/// [`crate::plan::doubt`]).
fn in_order(batch: &mut VecDeque<Due>) {
    batch.make_contiguous().sort_by_key(|due| due.key);
}

impl Pass {
    /// Whether the gathered batch has to be sent now: it is full, or its oldest row would be too old at the end, or it is
    /// the first one of a process that goes on with what another began: people have waited for that long enough.
    pub(super) fn must_send(&self, work: &Work<'_>) -> bool {
        let Some(oldest) = self.due.iter().map(|due| age(&due.row)).max() else { return false };
        let gathered = Gathered { accounts: self.due.len(), oldest };
        let pace = work.ready.connection.tenant.limiter.pace();
        work.ledger.resumed || batch::must_send(gathered, work.capabilities(), pace)
    }

    /// Records the intent to write to the gathered accounts: the checkpoint and the fence.
    pub(super) async fn open_batch(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        work.confirm().await?;
        let size = self.due.len().min(work.capabilities().batch);
        let mut batch: VecDeque<Due> = self.due.drain(..size).collect();
        for due in &mut batch {
            due.before = work.ledger.ledger.entry(&due.key);
        }
        in_order(&mut batch);
        let keys: Vec<AccountKey> = batch.iter().map(|due| due.key).collect();
        work.ledger.ledger.open_batch(&keys, work.now());
        work.ledger.doubt.reopened(&keys);
        if let Err(error) = work.ledger.save_for_batch(work.concurrency()).await {
            work.ledger.ledger.close_unsent(&keys);
            self.due.extend(batch);
            return Err(error.into());
        }
        self.batch = Some(Batch(batch));
        Ok(())
    }

    /// Sends the next part of the open batch.
    pub(super) async fn send(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let Some(batch) = &mut self.batch else { return Ok(()) };
        // Until one is accepted, no more are sent at once than it takes to tell that the tenant refuses them all.
        let at_once = if self.accepted { work.at_once() } else { work.at_once().min(TENANT_REFUSAL) };
        let part: Vec<Due> = batch.0.drain(..at_once.min(batch.0.len())).collect();
        if batch.0.is_empty() {
            self.batch = None;
        }
        let sending: Vec<(Due, Facts)> = part
            .into_iter()
            .map(|due| {
                let facts = Facts { entry: due.before, not_sent: due.not_sent, ..self.facts(work, due.key, true) };
                (due, facts)
            })
            .collect();
        let (provider, tenant, rules) = (work.provider(), work.ready.connection.tenant.as_ref(), &self.rules);
        let (gate, now, fuse) = (&work.gate, work.now(), &Fuse::until(work.deadline));
        let (protecting, excluding) = (&self.protected_keys, &self.excluded_keys);
        let shielded = |account: &Account| protecting.names(account) || excluding.names(account);
        let mut ended: Vec<(Due, Option<Sent>)> = futures::stream::iter(sending)
            .map(|(due, facts)| async move {
                if let Some(error) = fuse.blown() {
                    return (due, Some(Sent::Unsent(error)));
                }
                if fuse.is_late() {
                    return (due, None);
                }
                let sent = require(provider, tenant, &due, &facts, rules, gate, now, &shielded).await;
                fuse.saw(match &sent {
                    Sent::Unsent(error) | Sent::Unclear(error) => Some(error),
                    _ => None,
                });
                (due, Some(sent))
            })
            .buffer_unordered(work.concurrency())
            .collect()
            .await;
        // Whether one who was not found is gone is told by what was answered about the others.
        ended.sort_by_key(|(_, sent)| matches!(sent, Some(Sent::Gone)));
        let mut halt = None;
        let is_outage = fuse.blown().is_some();
        for (due, sent) in ended {
            match sent {
                Some(sent) => {
                    if let Some(error) = self.ended(work, due, sent, is_outage) {
                        halt.get_or_insert(error);
                    }
                }
                None => self.put_back(due),
            }
        }
        if let Some(batch) = &mut self.batch {
            in_order(&mut batch.0);
        }
        if let Some((kind, message)) = self.refusal_of_the_tenant(work) {
            return Err(Halt::Tenant(ProviderError::new(kind, "require a change", message)));
        }
        halt.map_or(Ok(()), |error| Err(Halt::of_write(error)))
    }

    /// Takes in what became of one write. Returns the error that stops the rest.
    fn ended(&mut self, work: &mut Work<'_>, mut due: Due, sent: Sent, is_outage: bool) -> Option<ProviderError> {
        if let Sent::Seen { account, .. } | Sent::NotDue(account) = &sent {
            due.row.account.mark = account.mark;
        }
        work.count_write("require_change", sent.word());
        let intent = work.ledger.ledger.entry(&due.key);
        let unseen = Account::unknown(due.row.account.id.0.clone(), work.now());
        match (sent, intent) {
            (Sent::Seen { account, written: true }, Some(intent)) => {
                self.has_read = true;
                self.accept(work);
                self.became(work, due, after_write(&intent, &account, &self.rules));
            }
            (Sent::Unseen, Some(intent)) => {
                self.accept(work);
                self.became(work, due, after_write(&intent, &unseen, &self.rules));
            }
            (Sent::Seen { account, .. } | Sent::NotDue(account), _) => {
                self.shield(due.key, &account);
                work.ledger.ledger.close_unsent(&[due.key]);
                let decision = decide(&account, &self.facts(work, due.key, true), &self.rules, work.now());
                self.became(work, due, decision);
            }
            (Sent::Refused(refusal), Some(intent)) => {
                // A right may be lost in mid-run: whoever is forbidden is believed to be so when somebody else is not.
                if !self.accepted || refusal == Refusal::Forbidden {
                    self.suspects.push((due, refusal));
                } else {
                    let tag = self.rules.refusal_tag;
                    self.became(work, due, after_refusal(&intent, refusal, tag, work.now()));
                }
            }
            (Sent::Later, _) => {
                work.ledger.ledger.close_unsent(&[due.key]);
                self.waiting.push(Waiting::after(FRESH, due));
            }
            (Sent::Gone, _) => {
                work.ledger.ledger.close_unsent(&[due.key]);
                let verdict = self.gone(due.key);
                self.counts.settle(due.row.origin, &due.row.account.id.0, verdict);
            }
            // The intent stays open: the next pass reads the account before it is written again.
            (Sent::Unclear(_), _) if self.stumbles_again(due.key) => {
                let verdict = Verdict::Failed(FailureCategory::Transient);
                self.counts.settle(due.row.origin, &due.row.account.id.0, verdict);
            }
            (Sent::Unclear(_), _) => self.waiting.push(Waiting::after(UNCLEAR_READ, due)),
            (Sent::Unreadable, _) | (Sent::Unsent(_), _) if !is_outage && self.stumbles_again(due.key) => {
                work.ledger.ledger.close_unsent(&[due.key]);
                let verdict = Verdict::Failed(FailureCategory::Transient);
                self.counts.settle(due.row.origin, &due.row.account.id.0, verdict);
            }
            (Sent::Unreadable, _) => {
                work.ledger.ledger.close_unsent(&[due.key]);
                self.waiting.push(Waiting::after(UNCLEAR_READ, due));
            }
            (Sent::Unsent(error), _) => {
                self.put_back(due);
                return Some(error);
            }
            // Without an intent nothing was sent: the ledger has been replaced under us, and the next pass looks again.
            (_, None) => self.waiting.push(Waiting::after(UNCLEAR_READ, due)),
        }
        None
    }

    /// Has the open batch send to this account later.
    fn put_back(&mut self, due: Due) {
        self.batch.get_or_insert_with(|| Batch(VecDeque::new())).0.push_front(due);
    }

    /// What the refusals since the last write that was accepted say about the tenant. Nothing where the account was
    /// refused before: that is known, and what others met since is what counts.
    fn refusal_of_the_tenant(&self, work: &Work<'_>) -> Option<(ErrorKind, &'static str)> {
        let was_refused = |due: &Due| due.before.is_some_and(|entry| matches!(entry.state, State::Refused { .. }));
        let mut refusals = Refusals::default();
        for (_, refusal) in self.suspects.iter().filter(|(due, _)| !was_refused(due)) {
            match refusal {
                Refusal::Forbidden => refusals.forbidden += 1,
                Refusal::Rejected => refusals.rejected += 1,
            }
        }
        Some(match batch::tenant_refuses(refusals, work.ready.connection.tenant.has_accepted())? {
            TenantRefuses::Right => (
                ErrorKind::PermissionDenied,
                "the tenant refuses every write: grant the credential the right to require password changes",
            ),
            TenantRefuses::Form => (
                ErrorKind::Unsupported,
                "the tenant finds every write invalid, so that no more are tried: is its version of the API one that this \
                 operator knows, and may passwords be changed there at all?",
            ),
        })
    }

    /// A write was accepted: refusals so far were about their accounts, not about the tenant.
    fn accept(&mut self, work: &mut Work<'_>) {
        work.ready.connection.tenant.accepts();
        self.accepted = true;
        self.accept_refusals(work);
    }

    /// Believes the refusals that were held back.
    pub(super) fn accept_refusals(&mut self, work: &mut Work<'_>) {
        for (due, refusal) in std::mem::take(&mut self.suspects) {
            if let Some(intent) = work.ledger.ledger.entry(&due.key) {
                let decision = after_refusal(&intent, refusal, self.rules.refusal_tag, work.now());
                self.became(work, due, decision);
            }
        }
    }

    /// Records and counts what an account that was counted as pending has become.
    pub(super) fn became(&mut self, work: &mut Work<'_>, due: Due, decision: Decision) {
        if let Some(entry) = decision.record {
            work.ledger.ledger.record(due.key, entry);
        }
        match decision.verdict {
            Verdict::Wait(_) | Verdict::Require => self.follow(work, due.key, due.row, decision.verdict),
            Verdict::NeedsRead => self.waiting.push(Waiting::after(Duration::ZERO, due)),
            verdict => {
                self.counts.settle(due.row.origin, &due.row.account.id.0, verdict);
                self.queue_sessions(work, due.key, &due.row, verdict);
            }
        }
    }
}
