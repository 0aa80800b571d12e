//! The report of a provider object.

use jiff::Timestamp;

use crate::api::identity_provider::{IdentityProviderStatus, Tenant};
use crate::api::{ConditionType, Reason};
use crate::plan::capabilities::{Capabilities, Visibility};
use crate::plan::failure::{Health, ProviderFault};
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
    let was_ready = list.said(ConditionType::Ready, Truth::True, Reason::Verified).is_some();

    match &outcome.health {
        Health::Ready => list.set(ConditionType::Ready, Truth::True, Reason::Verified, VERIFIED),
        // A short disturbance takes nothing back.
        health @ Health::NotReady { .. } if was_ready && !health.shown(now) => {
            list.set(ConditionType::Ready, Truth::True, Reason::Verified, VERIFIED);
        }
        Health::Unverified => {
            // A restart has nothing to say before it has looked.
            if list.keep(ConditionType::Ready) {
                list.keep(ConditionType::Reconciling);
                list.keep(ConditionType::Stalled);
            } else {
                let message = "the credential is being tried";
                list.set(ConditionType::Ready, Truth::Unknown, Reason::InProgress, message);
                list.set(ConditionType::Reconciling, Truth::True, Reason::InProgress, message);
            }
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
        None => list.carry(ConditionType::Enforceable),
    }

    let status = IdentityProviderStatus {
        observed_generation: Some(outcome.generation),
        type_: outcome.type_.map(|type_| type_.as_str().to_owned()),
        conditions: list.into_list(),
        capabilities: outcome.capabilities.map(words).unwrap_or_default(),
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

/// How an earlier process left a provider object at this generation, where the tenant had refused it: the credential, its
/// rights, or its pace. `None` where status says anything else.
pub fn refused_before(said: &IdentityProviderStatus, generation: i64) -> Option<Health> {
    let said = Some(said).filter(|said| said.observed_generation == Some(generation))?;
    let ready =
        conditions::find(&said.conditions, ConditionType::Ready).filter(|c| c.status != Truth::True.as_str())?;
    let refusals = [ProviderFault::AuthenticationFailed, ProviderFault::PermissionDenied, ProviderFault::Throttled];
    let fault = refusals.into_iter().find(|fault| fault.reason().as_str() == ready.reason)?;
    Some(Health::NotReady { fault, message: ready.message.clone(), since: ready.last_transition_time.0 })
}

/// What a policy can ask of the provider, and how a change is told, each as one word.
fn words(capabilities: &Capabilities) -> Vec<String> {
    let visibility = match capabilities.visibility {
        Visibility::MarkAndChangeTime => "ChangeTime",
        Visibility::MarkAndSignIn => "ChangeInferred",
    };
    [
        (true, visibility),
        (capabilities.keys.id, "SelectByID"),
        (capabilities.keys.username, "SelectByUsername"),
        (capabilities.keys.email, "SelectByEmail"),
        (capabilities.groups, "Groups"),
        (capabilities.populations, "Populations"),
        (capabilities.revoke_sessions, "RevokeSessions"),
        (capabilities.tenant_native, "TenantNative"),
    ]
    .into_iter()
    .filter(|(can, _)| *can)
    .map(|(_, word)| word.to_owned())
    .collect()
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
            let reason = Reason::of_word(&now.reason)?;
            (!same && told && reason != Reason::InProgress).then(|| EventNote {
                warning: now.status != Truth::True.as_str(),
                reason,
                action: "Verify",
                note: conditions::note(&now.message),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::*;
    use crate::api::identity_provider::ProviderType;
    use crate::plan::failure::ProviderFault;
    use crate::plan::observed;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn tenant(enforceable: Enforceable) -> observed::Tenant {
        observed::Tenant {
            id: "https://corp.cloud.looker.com".into(),
            name: None,
            users: Some(120),
            own_account: None,
            own_account_has_password: None,
            enforceable,
        }
    }

    fn outcome(health: Health, tenant: Option<observed::Tenant>) -> ProviderOutcome {
        ProviderOutcome { generation: 1, type_: Some(ProviderType::Looker), health, tenant, capabilities: None }
    }

    fn failing(fault: ProviderFault) -> Health {
        Health::NotReady { fault, message: "no answer within 30 s".into(), since: at(0) }
    }

    fn said(status: &IdentityProviderStatus) -> String {
        let one = |condition: &Condition| format!("{}={} {}", condition.type_, condition.status, condition.reason);
        status.conditions.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn verified() -> IdentityProviderStatus {
        report(&outcome(Health::Ready, Some(tenant(Enforceable::Yes))), None, at(0)).status
    }

    #[test]
    fn a_verified_provider_is_ready_and_says_which_tenant() {
        let status = verified();
        assert_eq!(said(&status), "Ready=True Verified, Enforceable=True Verified");
        assert_eq!(status.type_.as_deref(), Some("Looker"));
        assert_eq!(status.tenant.unwrap().users, Some(120));
        assert_eq!(status.observed_generation, Some(1));
    }

    #[test]
    fn what_a_policy_may_ask_for_is_listed_in_words() {
        use crate::plan::capabilities::SAMPLE;
        let said = |capabilities| {
            let outcome = ProviderOutcome { capabilities: Some(capabilities), ..outcome(Health::Ready, None) };
            report(&outcome, None, at(0)).status.capabilities
        };
        let all = ["ChangeInferred", "SelectByID", "SelectByEmail", "Groups", "RevokeSessions", "TenantNative"];
        assert_eq!(said(&SAMPLE), all);
    }

    #[test]
    fn what_passes_is_reconciling_and_what_does_not_is_stalled() {
        for fault in ProviderFault::ALL {
            let status = report(&outcome(failing(fault), None), None, at(0)).status;
            let class = if fault.passes() { "Reconciling" } else { "Stalled" };
            let reason = fault.reason();
            assert_eq!(said(&status), format!("Ready=False {reason}, {class}=True {reason}"));
        }
    }

    #[test]
    fn a_newborn_is_reconciling() {
        let report = report(&outcome(Health::Unverified, None), None, at(0));
        assert_eq!(said(&report.status), "Ready=Unknown InProgress, Reconciling=True InProgress");
        assert_eq!(report.events, []);
    }

    #[test]
    fn a_restart_says_nothing_before_it_has_looked() {
        let outage = report(&outcome(failing(ProviderFault::Unreachable), None), None, at(0)).status;
        let refused = report(&outcome(failing(ProviderFault::SecretInvalid), None), None, at(0)).status;
        for before in [verified(), outage, refused] {
            let restarted = report(&outcome(Health::Unverified, None), Some(&before), at(100));
            assert_eq!((restarted.difference, restarted.events), (Difference::None, vec![]));
        }
    }

    #[test]
    fn a_short_silence_takes_nothing_back() {
        let before = verified();
        let silence = report(&outcome(failing(ProviderFault::Unreachable), None), Some(&before), at(60));
        assert_eq!(silence.difference, Difference::None);
        assert_eq!(silence.speaks_again, Some(std::time::Duration::from_secs(1)));
        let outage = report(&outcome(failing(ProviderFault::Unreachable), None), Some(&before), at(61));
        assert!(said(&outage.status).starts_with("Ready=False Unreachable, Reconciling=True Unreachable"));
        assert_eq!(outage.events.len(), 1);
    }

    #[test]
    fn a_bad_answer_and_a_refused_credential_are_said_at_once() {
        for fault in [ProviderFault::ResponseInvalid, ProviderFault::AuthenticationFailed] {
            let report = report(&outcome(failing(fault), None), Some(&verified()), at(1));
            assert!(said(&report.status).starts_with(&format!("Ready=False {}", fault.reason())));
        }
    }

    #[test]
    fn the_tenant_is_kept_from_its_first_verification_on() {
        let report = report(&outcome(failing(ProviderFault::AuthenticationFailed), None), Some(&verified()), at(1));
        assert_eq!(report.status.tenant, verified().tenant);
        assert!(said(&report.status).ends_with("Enforceable=True Verified"));
    }

    #[test]
    fn an_edit_is_verified_anew() {
        let edited = ProviderOutcome { generation: 2, ..outcome(Health::Unverified, None) };
        let status = report(&edited, Some(&verified()), at(5)).status;
        assert!(said(&status).starts_with("Ready=Unknown InProgress"));
    }

    #[test]
    fn a_new_process_knows_from_status_that_the_tenant_had_refused_the_one_before() {
        for fault in ProviderFault::ALL {
            use ProviderFault::{AuthenticationFailed, PermissionDenied, Throttled};
            let refusal = matches!(fault, AuthenticationFailed | PermissionDenied | Throttled);
            let told = report(&outcome(failing(fault), None), None, at(0)).status;
            assert_eq!(refused_before(&told, 1), refusal.then(|| failing(fault)), "{fault:?}");
            assert_eq!(refused_before(&told, 2), None, "the spec has changed since");
        }
        assert_eq!(refused_before(&verified(), 1), None);
    }

    #[test]
    fn not_enforceable_is_told_and_unknown_goes_on() {
        let no = Enforceable::No("password policy is off: turn it on".into());
        let told = report(&outcome(Health::Ready, Some(tenant(no))), Some(&verified()), at(1));
        assert_eq!(said(&told.status), "Ready=True Verified, Enforceable=False NotEnforceable");
        assert_eq!(told.events.iter().map(|event| event.reason).collect::<Vec<_>>(), [Reason::NotEnforceable]);
        let unknown = Enforceable::Unknown("the credential may not look".into());
        let silent = report(&outcome(Health::Ready, Some(tenant(unknown))), Some(&verified()), at(1));
        assert_eq!(said(&silent.status), "Ready=True Verified, Enforceable=Unknown NotEnforceable");
        assert_eq!(silent.events, []);
    }

    #[test]
    fn saying_it_again_changes_nothing() {
        let tenants = [None, Some(tenant(Enforceable::Yes)), Some(tenant(Enforceable::Unknown("no right".into())))];
        let faults = ProviderFault::ALL.map(failing);
        for health in faults.into_iter().chain([Health::Ready, Health::Unverified]) {
            for (tenant, before) in tenants.iter().flat_map(|tenant| [(tenant, None), (tenant, Some(verified()))]) {
                for now in [at(0), at(61), at(1000)] {
                    let outcome = outcome(health.clone(), tenant.clone());
                    let first = report(&outcome, before.as_ref(), now);
                    let second = report(&outcome, Some(&first.status), now);
                    assert_eq!(second.status, first.status);
                    assert_eq!((second.difference, second.events), (Difference::None, vec![]));
                }
            }
        }
    }

    #[test]
    fn another_word_or_another_tenant_is_news() {
        let refused = report(&outcome(failing(ProviderFault::AuthenticationFailed), None), Some(&verified()), at(1));
        assert_eq!(refused.difference, Difference::Words);
        let other = observed::Tenant { id: "https://other.cloud.looker.com".into(), ..tenant(Enforceable::Yes) };
        let moved = report(&outcome(Health::Ready, Some(other)), Some(&verified()), at(1));
        assert_eq!(moved.difference, Difference::Words);
    }

    #[test]
    fn trouble_is_a_warning_and_its_end_is_none() {
        let refused = report(&outcome(failing(ProviderFault::AuthenticationFailed), None), Some(&verified()), at(1));
        assert_eq!(refused.events.iter().map(|event| event.warning).collect::<Vec<_>>(), [true]);
        let well = report(&outcome(Health::Ready, Some(tenant(Enforceable::Yes))), Some(&refused.status), at(2));
        assert_eq!(well.events.iter().map(|event| event.warning).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn another_reason_of_the_same_status_is_an_event_of_its_own() {
        let refused = report(&outcome(failing(ProviderFault::AuthenticationFailed), None), Some(&verified()), at(1));
        let denied = report(&outcome(failing(ProviderFault::PermissionDenied), None), Some(&refused.status), at(2));
        assert_eq!(denied.events.iter().map(|event| event.reason).collect::<Vec<_>>(), [Reason::PermissionDenied]);
    }

    #[test]
    fn the_number_of_users_alone_is_no_news() {
        let mut grown = tenant(Enforceable::Yes);
        grown.users = Some(121);
        assert_eq!(
            report(&outcome(Health::Ready, Some(grown)), Some(&verified()), at(1)).difference,
            Difference::Counters
        );
    }
}
