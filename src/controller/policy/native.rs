//! One call for everybody (`strategy: TenantNative`), instead of one each.
//!
//! Its intent is recorded before it is sent, and it is never sent again once its intent is closed: whoever is due after
//! that is required one by one, by an ordinary pass. What a recorded intent means is judged by `plan::tenant_native`.

use std::time::Duration;

use tokio::time::Instant;

use super::pass::work::outcome;
use super::pass::{Halt, Pass, Progress, Work};
use crate::plan::decide::{Verdict, decide};
use crate::plan::guard;
use crate::plan::ledger::{AccountKey, Everybody, EverybodyStage, seconds};
use crate::plan::listing::ListingCheck;
use crate::plan::observed::{Account, Cursor, Listing, Tenant};
use crate::plan::step::Step;
use crate::plan::tenant_native::{Circumstances, Inquiry, Outcome, is_known_changed, refused_because};
use crate::provider::{ErrorKind, ProviderError};

/// Sends the one call where that is due and allowed, finds out whether it arrived, and goes on with an ordinary pass.
pub async fn advance(pass: &mut Pass, work: &mut Work<'_>, tenant: &Tenant) -> Result<Progress, Halt> {
    let stage = work.ledger.ledger.everybody().map(|everybody| everybody.stage);
    match stage {
        Some(EverybodyStage::Arrived) => {
            let progress = pass.advance(work).await?;
            // From now on each account has a record of its own; who comes later was not required by the call.
            if matches!(progress, Progress::Complete) {
                record(work, Some(EverybodyStage::Closed)).await?;
            }
            Ok(progress)
        }
        Some(EverybodyStage::Closed) => pass.advance(work).await,
        // Sent without a clear answer, or before a crash: it may still be at work, so it is not asked about at once.
        Some(EverybodyStage::Open) => {
            let since =
                work.ledger.ledger.everybody().map_or(0, |everybody| seconds(work.now()).saturating_sub(everybody.at));
            let rest = pass.rules.settle_seconds.saturating_sub(since);
            if rest > 0 && !pass.call_answered {
                return Ok(Progress::Wait(Instant::now() + Duration::from_secs(rest.into())));
            }
            inquire(pass, work).await
        }
        None if pass.surveyed => pass.advance(work).await,
        None => match survey(pass, work, tenant).await? {
            None => Ok(Progress::More),
            Some(false) => {
                pass.surveyed = true;
                pass.advance(work).await
            }
            Some(true) => {
                send(work).await?;
                pass.call_answered = true;
                inquire(pass, work).await
            }
        },
    }
}

/// A listing of the whole tenant that goes on from slice to slice. Of each page only what it says is kept, and nothing is
/// decided before the end.
pub struct Roster {
    check: ListingCheck,
    cursor: Option<Cursor>,
    seen: Seen,
}

/// What the pages of a roster have said so far.
enum Seen {
    /// Before the call: whether anybody is due, and how many are known to have changed.
    Survey { due: bool, known_changed: u64 },
    /// After it: whether it arrived.
    Inquiry(Inquiry),
}

impl Seen {
    fn page(&mut self, pass: &Pass, work: &mut Work<'_>, accounts: &[Account]) {
        let now = work.now();
        for account in accounts {
            let key = AccountKey::new(&work.ready.connection.tenant.id, &account.id);
            match self {
                Seen::Inquiry(inquiry) => inquiry.row(account, work.ledger.ledger.entry(&key).as_ref()),
                Seen::Survey { due, known_changed } => {
                    let facts = pass.facts(work, key, true);
                    let decision = decide(account, &facts, &pass.rules, now);
                    *due |= decision.verdict == Verdict::Require;
                    // Stored with the intent: a mark that is there already would else be taken for one that the call set.
                    if let Some(entry) = decision.record {
                        work.ledger.ledger.record(key, entry);
                    }
                    let (entry, evidence) = (facts.entry.as_ref(), facts.evidence.as_ref());
                    *known_changed += u64::from(is_known_changed(account, entry, evidence, pass.rules.cutoff));
                }
            }
        }
    }
}

/// Looks at everybody before the call. Returns whether anybody is due, `None` where the deadline came first. *Errors*: a stop
/// that says who would be hit who must not.
async fn survey(pass: &mut Pass, work: &mut Work<'_>, tenant: &Tenant) -> Result<Option<bool>, Halt> {
    let seen = everybody(pass, work, || Seen::Survey { due: false, known_changed: 0 }).await?;
    let Some(Seen::Survey { due, known_changed }) = seen else { return Ok(None) };
    let desired = &work.ready.desired;
    let refused = refused_because(&Circumstances {
        target: desired.index,
        whole_tenant: desired.selection.tenant,
        excludes: !desired.excluded.is_empty(),
        protected: work.ready.protected.as_ref().map_or(0, Vec::len),
        own_account_has_password: tenant.own_account_has_password,
        states: desired.account_states,
        known_changed,
    });
    guard::tenant_native_refused(&refused).map_or(Ok(Some(due)), |stop| Err(Halt::Stop(stop)))
}

/// Records the intent and sends the call. After an unclear answer the intent stays open.
async fn send(work: &mut Work<'_>) -> Result<(), Halt> {
    work.confirm().await?;
    record(work, Some(EverybodyStage::Open)).await?;
    let sent = work.provider().apply(&Step::RequireEverybody, &work.gate).await;
    work.count_write("require_everybody", outcome(&sent));
    match sent {
        Ok(_) => Ok(()),
        Err(error) if error.effect_unknown => Err(Halt::Tenant(error)),
        Err(error) => {
            // It was not sent, or refused: nothing has happened to anybody.
            record(work, None).await?;
            Err(if error.kind == ErrorKind::Stopped { Halt::Stopped } else { Halt::Tenant(error) })
        }
    }
}

/// Finds out by one listing what the recorded intent means, and records that.
async fn inquire(pass: &mut Pass, work: &mut Work<'_>) -> Result<Progress, Halt> {
    let Some(intent) = work.ledger.ledger.everybody() else { return Ok(Progress::More) };
    let is_answered = pass.call_answered;
    let seen = everybody(pass, work, || Seen::Inquiry(Inquiry::new(intent, is_answered))).await?;
    let Some(Seen::Inquiry(inquiry)) = seen else { return Ok(Progress::More) };
    pass.call_answered = false;
    let stage = match inquiry.outcome() {
        Outcome::Arrived => Some(EverybodyStage::Arrived),
        Outcome::SendAgain => None,
        Outcome::OneByOne => Some(EverybodyStage::Closed),
    };
    record(work, stage).await?;
    Ok(Progress::More)
}

async fn record(work: &mut Work<'_>, stage: Option<EverybodyStage>) -> Result<(), Halt> {
    let at = match (stage, work.ledger.ledger.everybody()) {
        // The time of the intent is what sign-ins are compared with later.
        (Some(EverybodyStage::Arrived | EverybodyStage::Closed), Some(everybody)) => everybody.at,
        _ => seconds(work.now()),
    };
    work.ledger.ledger.set_everybody(stage.map(|stage| Everybody { at, stage }));
    Ok(work.ledger.save().await?)
}

/// What one complete listing of the tenant says, or `None` where the deadline came first; the next slice goes on there.
async fn everybody(pass: &mut Pass, work: &mut Work<'_>, begin: impl Fn() -> Seen) -> Result<Option<Seen>, Halt> {
    while Instant::now() < work.deadline {
        if work.may_write && !(work.gate)() {
            return Err(Halt::Stopped);
        }
        let cursor = pass.roster.as_ref().and_then(|roster| roster.cursor.as_ref());
        let page = work.provider().list(&Listing::Tenant, cursor).await.map_err(Halt::Tenant)?;
        let mut roster = pass.roster.take().unwrap_or_else(|| Roster {
            check: ListingCheck::new(&Listing::Tenant, pass.max_pages),
            cursor: None,
            seen: begin(),
        });
        if let Err(fault) = roster.check.take(&page) {
            return Err(Halt::Tenant(ProviderError::new(ErrorKind::ResponseInvalid, "list users", fault.to_string())));
        }
        roster.seen.page(pass, work, &page.accounts);
        roster.cursor = page.next;
        if roster.cursor.is_none() {
            return Ok(Some(roster.seen));
        }
        pass.roster = Some(roster);
    }
    Ok(None)
}
