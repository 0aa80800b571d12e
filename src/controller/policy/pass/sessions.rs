//! End the sessions of accounts whose mark is confirmed.

use futures::StreamExt;

use super::fuse::Fuse;
use super::rows::Row;
use super::work::outcome;
use super::{Halt, Pass, Work};
use crate::api::password_reset_policy::Sessions;
use crate::plan::decide::{Verdict, sessions_due};
use crate::plan::ledger::{AccountKey, Baseline, Entry, State};
use crate::plan::observed::AccountId;
use crate::plan::step::Step;
use crate::provider::{ErrorKind, ProviderError};

/// Accounts whose sessions could not be ended, with none ended, that are the provider's refusal rather than theirs.
const REFUSED_SESSIONS: usize = 5;

impl Pass {
    /// Queues the end of an account's sessions, where the policy wants it and it is due.
    pub(super) fn queue_sessions(&mut self, work: &Work<'_>, key: AccountKey, row: &Row, verdict: Verdict) {
        let refused = self.sessions_refused || self.sessions_kept.contains(&key);
        let wanted = work.ready.desired.sessions == Sessions::Revoke && !refused && work.may_write;
        if wanted && sessions_due(&row.account, verdict, work.ledger.ledger.entry(&key).as_ref()) {
            self.sessions.push_back(row.account.id.clone());
        }
    }

    /// How many accounts may keep their sessions, with none ended in this pass, before it is the provider's refusal: more
    /// where it has ended some for this campaign before, and those that are left may be left for reasons of their own.
    fn too_many_kept(&self, work: &Work<'_>) -> usize {
        let mut ended_before = false;
        work.ledger.ledger.for_each(|_, entry| ended_before |= entry.revoked);
        if ended_before { 4 * REFUSED_SESSIONS } else { REFUSED_SESSIONS }
    }

    /// Ends the sessions of accounts whose mark is confirmed.
    pub(super) async fn end_sessions(&mut self, work: &mut Work<'_>) -> Result<(), Halt> {
        // Until one has ended, no more are tried at once than it takes to tell that the provider refuses.
        let at_once = if self.sessions_ended { work.at_once() } else { work.at_once().min(REFUSED_SESSIONS) };
        let part: Vec<AccountId> = self.sessions.drain(..at_once.min(self.sessions.len())).collect();
        let (provider, gate, fuse) = (work.provider(), &work.gate, &Fuse::until(work.deadline));
        let ended: Vec<(AccountId, Option<Result<_, ProviderError>>)> = futures::stream::iter(part)
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
            if let Some(ended) = &ended {
                work.count_write("revoke_sessions", outcome(ended));
            }
            match ended {
                None => self.sessions.push_front(id),
                Some(Ok(_)) => {
                    self.sessions_ended = true;
                    let (key, now) = (work.account_key(&id), work.now());
                    let unknown = || Entry::new(State::Marked { baseline: Baseline::Unknown }, now);
                    let entry = work.ledger.ledger.entry(&key).unwrap_or_else(unknown);
                    work.ledger.ledger.record(key, Entry { revoked: true, ..entry });
                }
                Some(Err(error)) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                    // The plan or the rights do not cover sessions: requiring goes on without.
                    tracing::warn!(%error, "sessions are not ended any more in this pass");
                    self.sessions_refused = true;
                }
                Some(Err(error)) if error.concerns_tenant() => {
                    let key = work.account_key(&id);
                    // Whatever the others met: who is tried first is so at each round, and while sessions cannot be ended
                    // nobody else is required. In an outage the tenant is probed before the next round.
                    if error.is_an_answer() && self.stumbles_again(key) {
                        tracing::debug!(%error, "sessions of one account were not ended");
                        self.sessions_kept.insert(key);
                    } else {
                        self.sessions.push_front(id);
                        halt = Some(error);
                    }
                }
                // This account's sessions are tried again by the next pass, since its bit is not set.
                Some(Err(error)) => {
                    tracing::debug!(%error, "sessions of one account were not ended");
                    self.sessions_kept.insert(work.account_key(&id));
                }
            }
        }
        let kept = self.sessions_kept.len();
        if !self.sessions_ended && kept >= REFUSED_SESSIONS && kept >= self.too_many_kept(work) {
            tracing::warn!("no sessions could be ended; those of {} accounts were tried", kept);
            self.sessions_refused = true;
        }
        if self.sessions_refused {
            self.sessions.clear();
            return Ok(());
        }
        halt.map_or(Ok(()), |error| Err(Halt::of_write(error)))
    }
}
