//! Wait for accounts whose write does not show yet, or whose answer was unclear, and decide them again.

use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::batch::Due;
use super::fuse::Fuse;
use super::rows::{Read, Row, read_again};
use super::{Halt, Pass, Work};
use crate::api::FailureCategory;
use crate::plan::decide::{Verdict, decide};
use crate::plan::ledger::AccountKey;

/// How soon an account is read whose write had an unclear answer.
pub(super) const UNCLEAR_READ: Duration = Duration::from_secs(1);

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

    pub(super) fn after(rest: Duration, due: Due) -> Self {
        Self { at: Instant::now() + rest, due }
    }
}

impl Pass {
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
        let (provider, fuse) = (work.provider(), &Fuse::until(work.deadline));
        let mut read: Vec<(Due, Option<Read>)> = futures::stream::iter(ready)
            .map(|due| async move {
                let read = Read::under(fuse, read_again(provider, &due.row)).await;
                (due, read)
            })
            .buffer_unordered(work.concurrency())
            .collect()
            .await;
        // Whether one who was not found is gone is told by what was answered about the others.
        read.sort_by_key(|(_, read)| matches!(read, Some(Read::Gone)));
        let mut halt = None;
        for (mut due, read) in read {
            // The slice is over; the next one reads it.
            let Some(read) = read else {
                self.waiting.push(Waiting::after(Duration::ZERO, due));
                continue;
            };
            let settled = match read {
                Read::Account(account) => {
                    self.has_read = true;
                    self.shield(due.key, &account);
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
                    self.gone(due.key)
                }
                Read::Refused => Verdict::Failed(FailureCategory::Forbidden),
            };
            self.counts.settle(due.row.origin, &due.row.account.id.0, settled);
        }
        halt.map_or(Ok(()), |error| Err(Halt::Tenant(error)))
    }
}
