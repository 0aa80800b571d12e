//! Require a change of one account: is it still due, send, read back, and say what became of it.

use jiff::Timestamp;
use tokio::time::Instant;

use super::batch::Due;
use super::rows::{Read, gone};
use crate::controller::tenant::SharedTenant;
use crate::plan::decide::{Facts, Rules, Verdict, decide, is_fresh};
use crate::plan::ledger::Refusal;
use crate::plan::observed::{Account, AccountId, Mark};
use crate::plan::step::Step;
use crate::provider::{ErrorKind, Gate, Provider, ProviderError};

/// What became of one write.
pub(super) enum Sent {
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
    pub(super) fn word(&self) -> &'static str {
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

/// Requires a change of one account by a row that says that it is due. `shielded`: whether an account, as a read has just
/// shown it, has a key that protects or excludes it.
#[allow(clippy::too_many_arguments)] // one call site; a struct would only repeat the names
pub(super) async fn require(
    provider: &dyn Provider,
    tenant: &SharedTenant,
    due: &Due,
    facts: &Facts,
    rules: &Rules,
    gate: &Gate,
    now: Timestamp,
    shielded: impl Fn(&Account) -> bool,
) -> Sent {
    let (key, row) = (due.key, &due.row);
    let id = &row.account.id;
    // What protects was asked when the row was decided; a write asks again, since it is what cannot be taken back.
    if facts.protected || facts.own || facts.excluded {
        return Sent::NotDue(row.account.clone());
    }
    let claim = if is_fresh(row.received.elapsed()) { tenant.claim(key, row.received) } else { None };
    let claim = match claim {
        Some(claim) => claim,
        None => match provider.read(id).await {
            Ok(account) => {
                if shielded(&account) || decide(&account, facts, rules, now).verdict != Verdict::Require {
                    return Sent::NotDue(account);
                }
                match tenant.claim(key, Instant::now()) {
                    Some(claim) => claim,
                    None => return Sent::Later,
                }
            }
            Err(error) if error.is_not_found() => return missing(provider, id).await,
            Err(error) if error.concerns_tenant() => return Sent::Unsent(error),
            Err(error) if error.is_unreadable() => return Sent::Unreadable,
            Err(_) => return Sent::Refused(Refusal::Forbidden),
        },
    };
    let sent = send_one(provider, id, gate).await;
    if let Sent::Unsent(_) | Sent::Unreadable = &sent {
        tenant.release(claim);
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
        Err(error) if error.concerns_tenant() => Sent::Unsent(error),
        Err(error) if error.is_not_found() => missing(provider, id).await,
        Err(error) if error.is_unreadable() => Sent::Unreadable,
        Err(error) if error.kind == ErrorKind::Rejected => Sent::Refused(Refusal::Rejected),
        Err(_) => Sent::Refused(Refusal::Forbidden),
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
