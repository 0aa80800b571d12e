//! Require a change of those that are due: record the intent, send, confirm, and wait for what does not show yet.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::fuse::Fuse;
use super::rows::{Read, Row, gone, read_again};
use super::{Halt, Pass, Work, age, concerns_tenant};
use crate::api::FailureCategory;
use crate::controller::registry::SharedTenant;
use crate::plan::decide::{Decision, Facts, Rules, SkipReason, Verdict, after_refusal, after_write, decide};
use crate::plan::ledger::{AccountKey, Baseline, Entry, Refusal, State};
use crate::plan::observed::{Account, AccountId, Mark};
use crate::plan::step::Step;
use crate::provider::{ErrorKind, Gate, Provider, ProviderError};
use crate::telemetry::metrics::WriteLabels;

/// A row that decides a write is at most this old, else it is read again.
pub(super) const FRESH: Duration = Duration::from_secs(30);
/// Left of [`FRESH`] for the last of a batch when sending begins.
const MARGIN: Duration = Duration::from_secs(5);
/// How soon an account is read whose write had an unclear answer.
const UNCLEAR_READ: Duration = Duration::from_secs(1);
/// Refused writes with none accepted that are the tenant's refusal rather than the accounts'.
const TENANT_REFUSAL: usize = 5;
/// The same for writes that are found invalid, which says more about the account, and where the tenant has accepted a write
/// of another pass not long ago.
const TENANT_REJECTION: usize = 20;

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

/// An account whose write does not show yet, or whose answer was unclear.
#[derive(Debug)]
pub struct Waiting {
    /// When to read it.
    pub at: Instant,
    due: Due,
}

impl Waiting {
    /// To be read at `until`, a time of the provider's clock, which shows `now`.
    pub fn until(until: Timestamp, now: Timestamp, key: AccountKey, row: Row) -> Self {
        let rest = Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
        Self { at: Instant::now() + rest, due: Due { key, row, before: None, not_sent: false } }
    }

    /// The account's key.
    pub fn key(&self) -> AccountKey {
        self.due.key
    }

    fn after(rest: Duration, due: Due) -> Self {
        Self { at: Instant::now() + rest, due }
    }
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

/// What became of one write.
enum Sent {
    /// The account as it is now. `written`: a write was accepted just before.
    Seen { account: Account, written: bool },
    /// Accepted, but no answer shows the account.
    Unseen,
    /// Another policy has written to it, which may not show yet.
    Later,
    /// It turned out not to be due.
    NotDue(Account),
    /// Refused for good.
    Refused(Refusal),
    /// There is no such account any more.
    Gone,
    /// Nobody knows whether it arrived.
    Unclear(ProviderError),
    /// Nothing was sent, because an answer about the account cannot be read.
    Unreadable,
    /// Nothing was sent, because of the tenant or because writing stopped.
    Unsent(ProviderError),
}

impl Sent {
    /// The word for metrics.
    fn word(&self) -> &'static str {
        match self {
            Sent::Seen { written: true, .. } | Sent::Unseen => "accepted",
            Sent::Refused(_) => "refused",
            Sent::Unclear(_) => "unclear",
            Sent::Seen { written: false, .. }
            | Sent::NotDue(_)
            | Sent::Gone
            | Sent::Later
            | Sent::Unreadable
            | Sent::Unsent(_) => "not_sent",
        }
    }
}

impl Pass {
    /// Whether the gathered batch has to be sent now: it is full, or its oldest row would be too old at the end, or it is
    /// the first one of a process that goes on with what another began: people have waited for that long enough.
    pub(super) fn must_send(&self, work: &Work<'_>) -> bool {
        let Some(oldest) = self.due.iter().map(|due| age(&due.row)).max() else { return false };
        if work.ledger.resumed || self.due.len() >= work.capabilities().batch {
            return true;
        }
        let rate = work.ready.connection.tenant.limiter.pace();
        let calls = self.due.len() as f64 * f64::from(work.capabilities().calls_per_write);
        oldest + Duration::from_secs_f64((calls / rate).min(3600.0)) + MARGIN >= FRESH
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
        let (gate, now, fuse) = (&work.gate, work.now(), &Fuse::default());
        let ended: Vec<(Due, Sent)> = futures::stream::iter(sending)
            .map(|(due, facts)| async move {
                if let Some(error) = fuse.blown() {
                    return (due, Sent::Unsent(error));
                }
                let sent = require(provider, tenant, &due, &facts, rules, gate, now).await;
                fuse.saw(match &sent {
                    Sent::Unsent(error) | Sent::Unclear(error) => Some(error),
                    _ => None,
                });
                (due, sent)
            })
            .buffer_unordered(work.concurrency())
            .collect()
            .await;
        let mut halt = None;
        let is_outage = fuse.blown().is_some();
        for (due, sent) in ended {
            if let Some(error) = self.ended(work, due, sent, is_outage) {
                halt.get_or_insert(error);
            }
        }
        if let Some(batch) = &mut self.batch {
            in_order(&mut batch.0);
        }
        if let Some((kind, message)) = self.refusal_of_the_tenant(work) {
            return Err(Halt::Tenant(ProviderError::new(kind, "require a change", message)));
        }
        match halt {
            None => Ok(()),
            Some(error) if error.kind == ErrorKind::Stopped => Err(Halt::Stopped),
            Some(error) => Err(Halt::Tenant(error)),
        }
    }

    /// Takes in what became of one write. Returns the error that stops the rest.
    fn ended(&mut self, work: &mut Work<'_>, mut due: Due, sent: Sent, is_outage: bool) -> Option<ProviderError> {
        if let Sent::Seen { account, .. } | Sent::NotDue(account) = &sent {
            due.row.account.mark = account.mark;
        }
        let labels = WriteLabels { provider: work.capabilities().name, outcome: sent.word() };
        work.metrics.provider_writes.get_or_create(&labels).inc();
        let intent = work.ledger.ledger.entry(&due.key);
        let unseen = Account::unknown(due.row.account.id.0.clone(), work.now());
        match (sent, intent) {
            (Sent::Seen { account, written: true }, Some(intent)) => {
                self.accept(work);
                self.became(work, due, after_write(&intent, &account, &self.rules));
            }
            (Sent::Unseen, Some(intent)) => {
                self.accept(work);
                self.became(work, due, after_write(&intent, &unseen, &self.rules));
            }
            (Sent::Seen { account, .. } | Sent::NotDue(account), _) => {
                work.ledger.ledger.close_unsent(&[due.key]);
                let decision = decide(&account, &self.facts(work, due.key, true), &self.rules, work.now());
                self.became(work, due, decision);
            }
            (Sent::Refused(refusal), Some(intent)) => {
                if !self.accepted {
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
                self.counts.settle(due.row.origin, &due.row.account.id.0, Verdict::Skip(SkipReason::Gone));
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
                self.batch.get_or_insert_with(|| Batch(VecDeque::new())).0.push_front(due);
                return Some(error);
            }
            // Without an intent nothing was sent: the ledger has been replaced under us, and the next pass looks again.
            (_, None) => self.waiting.push(Waiting::after(UNCLEAR_READ, due)),
        }
        None
    }

    /// What the refusals so far say about the tenant, while it has not accepted one write.
    fn refusal_of_the_tenant(&self, work: &Work<'_>) -> Option<(ErrorKind, &'static str)> {
        if self.accepted {
            return None;
        }
        let forbidden = self.suspects.iter().filter(|(_, refusal)| *refusal == Refusal::Forbidden).count();
        let has_accepted = work.ready.connection.tenant.has_accepted();
        if forbidden >= if has_accepted { TENANT_REJECTION } else { TENANT_REFUSAL } {
            let message = "the tenant refuses every write: grant the credential the right to require password changes";
            return Some((ErrorKind::PermissionDenied, message));
        }
        (self.suspects.len() >= TENANT_REJECTION).then_some((
            ErrorKind::Unsupported,
            "the tenant finds every write invalid, so that no more are tried: is its version of the API one that this \
             operator knows, and may passwords be changed there at all?",
        ))
    }

    /// A write was accepted: refusals so far were about their accounts, not about the tenant.
    fn accept(&mut self, work: &mut Work<'_>) {
        work.ready.connection.tenant.accepts();
        if !self.accepted {
            self.accepted = true;
            self.accept_refusals(work);
        }
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
    fn became(&mut self, work: &mut Work<'_>, due: Due, decision: Decision) {
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

    /// Reads accounts that were waited for and decides them again.
    pub(super) async fn settle(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let now = Instant::now();
        let (mut ready, mut later) = (Vec::new(), Vec::new());
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.at <= now && ready.len() < work.at_once() {
                ready.push(waiting.due)
            } else {
                later.push(waiting)
            }
        }
        self.waiting = later;
        let (provider, fuse) = (work.provider(), &Fuse::default());
        let read: Vec<(Due, Read)> = futures::stream::iter(ready)
            .map(|due| async move {
                let read = match fuse.blown() {
                    Some(error) => Read::Failed(error),
                    None => read_again(provider, &due.row).await,
                };
                fuse.saw(if let Read::Failed(error) = &read { Some(error) } else { None });
                (due, read)
            })
            .buffer_unordered(work.concurrency())
            .collect()
            .await;
        let mut halt = None;
        for (mut due, read) in read {
            let settled = match read {
                Read::Account(account) => {
                    let decision = decide(&account, &self.facts(work, due.key, true), &self.rules, work.now());
                    due.row = Row { account, received: Instant::now(), ..due.row };
                    self.became(work, due, decision);
                    continue;
                }
                Read::Failed(error) if fuse.blown().is_none() && self.stumbles_again(due.key) => {
                    tracing::debug!(%error, "one account cannot be read; the next pass tries again");
                    Verdict::Failed(FailureCategory::Transient)
                }
                Read::Failed(error) => {
                    self.waiting.push(Waiting::after(UNCLEAR_READ, due));
                    halt = Some(error);
                    continue;
                }
                Read::Unreadable if self.stumbles_again(due.key) => Verdict::Failed(FailureCategory::Transient),
                Read::Unreadable => {
                    self.waiting.push(Waiting::after(UNCLEAR_READ, due));
                    continue;
                }
                Read::Gone => {
                    work.ledger.ledger.close_unsent(&[due.key]);
                    Verdict::Skip(SkipReason::Gone)
                }
                Read::Refused => Verdict::Failed(FailureCategory::Forbidden),
            };
            self.counts.settle(due.row.origin, &due.row.account.id.0, settled);
        }
        halt.map_or(Ok(()), |error| Err(Halt::Tenant(error)))
    }

    /// Ends the sessions of accounts whose mark is confirmed.
    pub(super) async fn end_sessions(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        let part: Vec<AccountId> = self.sessions.drain(..work.at_once().min(self.sessions.len())).collect();
        let (provider, gate, fuse) = (work.provider(), &work.gate, &Fuse::default());
        let ended: Vec<(AccountId, Result<_, ProviderError>)> = futures::stream::iter(part)
            .map(|id| async move {
                let step = Step::RevokeSessions(id.clone());
                let ended = fuse.call(async || provider.apply(&step, gate).await).await;
                (id, ended)
            })
            .buffer_unordered(work.concurrency())
            .collect()
            .await;
        let mut halt = None;
        for (id, ended) in ended {
            match ended {
                Ok(_) => {
                    let (key, now) = (work.account_key(&id), work.now());
                    let unknown = || Entry::new(State::Marked { baseline: Baseline::Unknown }, now);
                    let entry = work.ledger.ledger.entry(&key).unwrap_or_else(unknown);
                    work.ledger.ledger.record(key, Entry { revoked: true, ..entry });
                }
                Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                    // The plan or the rights do not cover sessions: requiring goes on without.
                    tracing::warn!(%error, "sessions are not ended any more in this pass");
                    self.sessions_refused = true;
                }
                Err(error) if concerns_tenant(&error) => {
                    if error.held_back || !self.stumbles_again(work.account_key(&id)) {
                        self.sessions.push_front(id);
                    }
                    halt = Some(error);
                }
                // This account's sessions are tried again by the next pass, since its bit is not set.
                Err(error) => tracing::debug!(%error, "sessions of one account were not ended"),
            }
        }
        if self.sessions_refused {
            self.sessions.clear();
            return Ok(());
        }
        match halt {
            None => Ok(()),
            Some(error) if error.kind == ErrorKind::Stopped => Err(Halt::Stopped),
            Some(error) => Err(Halt::Tenant(error)),
        }
    }
}

/// Requires a change of one account by a row that says that it is due.
async fn require(
    provider: &dyn Provider,
    tenant: &SharedTenant,
    due: &Due,
    facts: &Facts,
    rules: &Rules,
    gate: &Gate,
    now: Timestamp,
) -> Sent {
    let (key, row) = (due.key, &due.row);
    let id = &row.account.id;
    // What protects was asked when the row was decided; a write asks again, since it is what cannot be taken back.
    if facts.protected || facts.own || facts.excluded {
        return Sent::NotDue(row.account.clone());
    }
    let fresh = row.received.elapsed() < FRESH;
    if !(fresh && tenant.claim(key, row.received)) {
        match provider.read(id).await {
            Ok(account) => {
                if decide(&account, facts, rules, now).verdict != Verdict::Require {
                    return Sent::NotDue(account);
                }
                if !tenant.claim(key, Instant::now()) {
                    return Sent::Later;
                }
            }
            Err(error) if error.kind == ErrorKind::NotFound => return missing(provider, id).await,
            Err(error) if concerns_tenant(&error) => return Sent::Unsent(error),
            Err(error) if error.kind == ErrorKind::ResponseInvalid => return Sent::Unreadable,
            Err(_) => return Sent::Refused(Refusal::Forbidden),
        }
    }
    let sent = send_one(provider, id, gate).await;
    if let Sent::Unsent(_) | Sent::Unreadable = &sent {
        tenant.release(&key);
    }
    sent
}

/// Sends the write and reads it back.
async fn send_one(provider: &dyn Provider, id: &AccountId, gate: &Gate) -> Sent {
    match provider.apply(&Step::RequireChange(id.clone()), gate).await {
        Ok(applied) => match applied.seen {
            Some(account) if account.mark == Mark::Marked => Sent::Seen { account, written: applied.written },
            _ => match provider.read_back(id).await {
                Ok(account) => Sent::Seen { account, written: applied.written },
                Err(_) => Sent::Unseen,
            },
        },
        Err(error) if error.effect_unknown => Sent::Unclear(error),
        Err(error) => match error.kind {
            ErrorKind::Rejected => Sent::Refused(Refusal::Rejected),
            ErrorKind::Forbidden | ErrorKind::PermissionDenied => Sent::Refused(Refusal::Forbidden),
            ErrorKind::NotFound => missing(provider, id).await,
            ErrorKind::ResponseInvalid => Sent::Unreadable,
            _ => Sent::Unsent(error),
        },
    }
}

/// What a 404 on a write means.
async fn missing(provider: &dyn Provider, id: &AccountId) -> Sent {
    match gone(provider, id).await {
        Read::Gone => Sent::Gone,
        Read::Failed(error) => Sent::Unsent(error),
        Read::Unreadable => Sent::Unreadable,
        Read::Account(_) | Read::Refused => Sent::Refused(Refusal::Forbidden),
    }
}
