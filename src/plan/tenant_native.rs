//! One call that requires a change of everybody: when it is refused, and what an open intent means.
//!
//! The call has no answer that tells anything and hits whoever has a local password. So it is refused as soon as
//! anybody is to be spared, its intent is recorded before it is sent, and whether it arrived is found out by a
//! listing, after a good answer just as after a crash. Who carries that out is `controller`; single accounts that are
//! due afterwards go through [`super::decide`] like any other.

use super::decide::AccountStates;
use super::evidence::{Evidence, Sighting};
use super::ledger::{Baseline, Entry, Everybody, EverybodyStage, State};
use super::observed::{Account, Credential, Mark, SignIn};

use jiff::Timestamp;

/// What has to be known before the call may be sent. The accounts come from a complete, clean listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The target's index in `spec.targets`.
    pub target: usize,
    /// Whether `scope` is `Tenant`.
    pub whole_tenant: bool,
    /// Whether the target excludes anything.
    pub excludes: bool,
    /// How many users are protected on this tenant, by any object of it.
    pub protected: usize,
    /// Whether the account that the operator acts as has a local password; `None` where that is not known.
    pub own_account_has_password: Option<bool>,
    /// The target's `accountStates`.
    pub states: AccountStates,
    /// How many accounts are known changed since the cutoff, see [`is_known_changed`].
    pub known_changed: u64,
}

/// A reason why the call is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The field that it is about.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Every reason why the call may not be sent; empty when it may.
pub fn refused_because(now: &Circumstances) -> Vec<Refused> {
    let target = format!("spec.targets[{}]", now.target);
    let per_user = format!("set {target}.strategy to PerUser");
    let mut reasons = Vec::new();
    let mut refuse = |path: &str, message: String| {
        reasons.push(Refused { path: path.to_owned(), message });
    };
    if !now.whole_tenant {
        refuse(
            &format!("{target}.scope"),
            format!("one call requires everybody of the tenant: set scope to Tenant, or {per_user}"),
        );
    }
    if now.excludes {
        refuse(
            &format!("{target}.exclude"),
            format!("one call for everybody cannot leave anybody out: remove exclude, or {per_user}"),
        );
    }
    if now.protected > 0 {
        refuse(
            "the provider object's spec.protectedUsers",
            format!("one call for everybody hits the {} protected users of this tenant too: {per_user}", now.protected),
        );
    }
    if now.own_account_has_password != Some(false) {
        let what = match now.own_account_has_password {
            Some(_) => "the operator's own API user has an e-mail credential, which one call for everybody hits too",
            None => "it is not known whether the operator's own API user has an e-mail credential",
        };
        refuse(
            "the provider object's credentialsSecretRef",
            format!("{what}: use an API-only service account without one, or {per_user}"),
        );
    }
    if !now.states.active || !now.states.disabled {
        refuse(
            &format!("{target}.accountStates"),
            format!("one call for everybody hits active and disabled accounts: add Active and Disabled, or {per_user}"),
        );
    }
    if now.known_changed > 0 {
        refuse(
            &format!("{target}.strategy"),
            format!(
                "{} accounts have changed since the cutoff and one call for everybody would ask them again: {per_user}",
                now.known_changed
            ),
        );
    }
    reasons
}

/// Whether an account is known to have changed since `cutoff`, as ledger, evidence or a new credential show.
pub fn is_known_changed(
    account: &Account,
    entry: Option<&Entry>,
    evidence: Option<&Evidence>,
    cutoff: Timestamp,
) -> bool {
    let remembered = entry.is_some_and(|e| matches!(e.state, State::Changed | State::Compliant) && e.since(cutoff));
    let elsewhere = evidence.and_then(|e| e.changed).is_some_and(|m| i64::from(m) >= cutoff.as_second());
    remembered || elsewhere || account.credential_created.is_some_and(|created| created >= cutoff)
}

/// What an open intent means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The call arrived. Record [`EverybodyStage::Arrived`]; from then on [`arrived`] is evidence for every account,
    /// until a complete pass has ended: then record [`EverybodyStage::Closed`], or an account that is created later and
    /// signs in would look as if it had been required.
    Arrived,
    /// Nothing happened to anybody: open a new intent and send it again.
    SendAgain,
    /// Nobody can tell any more: record [`EverybodyStage::Closed`]; whoever is due is required one by one.
    OneByOne,
}

/// Finds out what an open intent means, from one complete listing during which nothing is recorded in the ledger.
///
/// *Requires* that every mark which the listing before the call showed was recorded (as [`super::decide::decide`] says
/// to) and stored together with the intent: a mark that was there before would else be taken for one that the call set.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry {
    intent: Everybody,
    answered: bool,
    newly_marked: bool,
    signed_in: bool,
}

impl Inquiry {
    /// `answered`: whether the call had a good answer; not so after a crash or an unclear answer.
    pub fn new(intent: Everybody, answered: bool) -> Self {
        Self { intent, answered, newly_marked: false, signed_in: false }
    }

    /// Takes in one row, and what the ledger remembered of the account when the intent was recorded.
    pub fn row(&mut self, account: &Account, entry: Option<&Entry>) {
        let intent = i64::from(self.intent.at);
        let newer = account.credential_created.is_some_and(|created| created.as_second() >= intent);
        if newer || matches!(account.credential, Credential::NoPassword | Credential::Federated | Credential::Service) {
            return;
        }
        match account.mark {
            Mark::Marked => {
                let before = entry.is_some_and(|entry| matches!(entry.state, State::Marked { .. }));
                self.newly_marked |= !before;
            }
            Mark::Unmarked => {
                // A sign-in in the very second of the intent may have been before it; it counts as one that makes
                // sending again unsafe, and not (see `arrived`) as one that proves a change.
                self.signed_in |= match account.sign_in {
                    SignIn::At(time) => time.as_second() >= intent,
                    SignIn::Never => false,
                    SignIn::NotGiven => true,
                };
            }
            Mark::NotGiven | Mark::Hidden => self.signed_in = true,
        }
    }

    /// What the intent means, after the last row.
    pub fn outcome(&self) -> Outcome {
        match (self.newly_marked, self.signed_in, self.answered) {
            (true, _, _) => Outcome::Arrived,
            (false, false, false) => Outcome::SendAgain,
            _ => Outcome::OneByOne,
        }
    }
}

/// What a call that arrived proves about every account that existed then: a mark at the time of the intent, so that
/// "unmarked with a sign-in since" is a change, and "unmarked without" is due. To be added to the account's evidence.
/// `None` while it is open and after it was closed.
pub fn arrived(everybody: Option<Everybody>) -> Option<Evidence> {
    let everybody = everybody.filter(|e| e.stage == EverybodyStage::Arrived)?;
    let baseline = Baseline::At(u64::from(everybody.at) * 1000 + 999);
    Some(Evidence { newest: Some((everybody.at, Sighting::Marked(baseline))), changed: None })
}

#[cfg(test)]
mod tests;
