//! The report of a provider object.

use jiff::Timestamp;

use crate::api::identity_provider::{IdentityProviderStatus, Tenant};
use crate::api::{ConditionType, Reason};
use crate::plan::failure::Health;
use crate::plan::observed::Enforceable;
use crate::plan::schedule;

use super::conditions::{self, Conditions, Truth};
use super::outcome::ProviderOutcome;
use super::{Difference, EventNote, Report};

pub(super) fn report(
    outcome: &ProviderOutcome,
    previous: Option<&IdentityProviderStatus>,
    now: Timestamp,
) -> Report<IdentityProviderStatus> {
    let nothing = IdentityProviderStatus::default();
    let before = previous.unwrap_or(&nothing);
    let mut list = Conditions::new(&before.conditions, outcome.generation, now);
    let was_ready = conditions::find(&before.conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.status == Truth::True.as_str());

    match &outcome.health {
        Health::Ready => list.set(ConditionType::Ready, Truth::True, Reason::Verified, VERIFIED),
        // A restart, and a short disturbance, take nothing back.
        health if was_ready && !health.shown(now) => {
            list.set(ConditionType::Ready, Truth::True, Reason::Verified, VERIFIED);
        }
        Health::Unverified => {
            let message = "the credential is being tried";
            list.set(ConditionType::Ready, Truth::Unknown, Reason::InProgress, message);
            list.set(ConditionType::Reconciling, Truth::True, Reason::InProgress, message);
        }
        Health::NotReady { fault, message, .. } => {
            let reason = fault.reason();
            // Stalled is what passes by no means; an outage that lasts is still tried, and its policies say Stalled.
            let type_ = if fault.passes() { ConditionType::Reconciling } else { ConditionType::Stalled };
            list.set(ConditionType::Ready, Truth::False, reason, message);
            list.set(type_, Truth::True, reason, message);
        }
    }

    match outcome.tenant.as_ref().map(|tenant| &tenant.enforceable) {
        Some(Enforceable::Yes) => list.set(
            ConditionType::Enforceable,
            Truth::True,
            Reason::Verified,
            "a requirement makes people change their password at the next sign-in",
        ),
        Some(Enforceable::No(why)) => {
            list.set(ConditionType::Enforceable, Truth::False, Reason::NotEnforceable, why);
        }
        Some(Enforceable::Unknown(why)) => {
            list.set(ConditionType::Enforceable, Truth::Unknown, Reason::NotEnforceable, why);
        }
        None => {
            if let Some(known) = conditions::find(&before.conditions, ConditionType::Enforceable) {
                list.keep(known);
            }
        }
    }

    let status = IdentityProviderStatus {
        observed_generation: Some(outcome.generation),
        type_: outcome.type_.map(str::to_owned),
        conditions: list.into_list(),
        capabilities: outcome.capabilities.clone(),
        tenant: outcome.tenant.as_ref().map_or_else(
            || before.tenant.clone(),
            |tenant| {
                Some(Tenant {
                    id: tenant.id.clone(),
                    name: tenant.name.as_deref().map(|name| conditions::bounded(name, 256)),
                    users: tenant.users.and_then(|users| i64::try_from(users).ok()),
                })
            },
        ),
    };
    Report {
        difference: difference(&status, before),
        events: events(&status, before),
        speaks_again: outcome.health.worsens_at(now).map(|then| schedule::until(then, now)),
        status,
    }
}

const VERIFIED: &str = "the tenant was reached with the credential and answers as it should";

fn difference(status: &IdentityProviderStatus, before: &IdentityProviderStatus) -> Difference {
    let users_apart = |status: &IdentityProviderStatus| {
        let mut status = status.clone();
        if let Some(tenant) = &mut status.tenant {
            tenant.users = None;
        }
        status.conditions.clear();
        status
    };
    if status == before {
        Difference::None
    } else if conditions::same_words(&status.conditions, &before.conditions)
        && users_apart(status) == users_apart(before)
    {
        Difference::Counters
    } else {
        Difference::Words
    }
}

/// An event where Ready or Enforceable says something else.
fn events(status: &IdentityProviderStatus, before: &IdentityProviderStatus) -> Vec<EventNote> {
    [ConditionType::Ready, ConditionType::Enforceable]
        .into_iter()
        .filter_map(|type_| {
            let now = conditions::find(&status.conditions, type_)?;
            let same = conditions::find(&before.conditions, type_)
                .is_some_and(|before| before.status == now.status && before.reason == now.reason);
            let told = type_ == ConditionType::Ready || now.status == Truth::False.as_str();
            let reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == now.reason)?;
            (!same && told && reason != Reason::InProgress).then(|| EventNote {
                warning: now.status != Truth::True.as_str(),
                reason,
                action: "Verify",
                note: conditions::note(&now.message),
            })
        })
        .collect()
}
