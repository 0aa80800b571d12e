//! What does a status that an earlier process has written tell the next one?

use super::conditions;
use crate::api::password_reset_policy::{Mode, PasswordResetPolicySpec};
use crate::api::policy_status::PasswordResetPolicyStatus;
use crate::api::{ConditionType, Reason};

/// For each target of `spec`, whether a pass has ended by which it stands as well as it can: nothing is left to do but to
/// look again some time. Nothing is where status speaks of another generation, or of a look that `token` does not ask for.
pub fn settled_before(
    spec: &PasswordResetPolicySpec,
    status: &PasswordResetPolicyStatus,
    generation: i64,
    token: Option<&str>,
) -> Vec<bool> {
    let token_is_new = token.is_some() && status.last_handled_reconcile.as_deref() != token;
    // Under a suspension a token is echoed without a look.
    let is_echoed_only = token.is_some() && conditions::find(&status.conditions, ConditionType::Suspended).is_some();
    let is_about_this = status.observed_generation == Some(generation) && !token_is_new && !is_echoed_only;
    let looks = spec.mode == Mode::Observe;
    let is_settled = |name: &str| {
        status.targets.iter().any(|target| {
            let nobody_due = target.counts.as_ref().is_some_and(|counts| counts.pending == 0);
            let retries = status.failures.iter().any(|failure| failure.target == target.name && failure.may_pass());
            // What a human had to correct may be corrected by now.
            let ended = target.reason.as_deref().and_then(Reason::of_word).is_some_and(Reason::ends_a_pass);
            target.name == name && target.completed_at.is_some() && ended && (looks || nobody_due && !retries)
        })
    };
    spec.targets.iter().map(|target| is_about_this && is_settled(&target.name)).collect()
}

/// Whether status says that accounts of `target` were required, so that there are records of it.
pub fn speaks_of_records(status: &PasswordResetPolicyStatus, target: &str) -> bool {
    let counts = status.targets.iter().filter(|of| of.name == target).filter_map(|of| of.counts.as_ref());
    counts.map(|counts| counts.enforced + counts.changed + counts.cleared).sum::<i64>() > 0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(mode: &str) -> PasswordResetPolicySpec {
        let target = json!({"name": "all", "providerRef": {"name": "p"}, "scope": "Tenant"});
        let spec =
            json!({"mode": mode, "requirement": {"passwordChangedAfter": "2026-11-20T22:00:00Z"}, "targets": [target]});
        serde_json::from_value(spec).expect("a spec")
    }

    /// A status of generation 4 whose target has these members besides its name.
    fn status(target: Value, more: Value) -> PasswordResetPolicyStatus {
        let mut all = json!({"name": "all"});
        all.as_object_mut().expect("an object").extend(target.as_object().expect("an object").clone());
        let mut status = json!({"observedGeneration": 4, "conditions": [], "targets": [all]});
        status.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value(status).expect("a status")
    }

    fn counts(pending: i64) -> Value {
        json!({"targeted": 5, "pending": pending, "enforced": 5 - pending, "changed": 0, "cleared": 0, "compliant": 0, "skipped": 0, "failed": 0})
    }

    fn settled(mode: &str, status: &PasswordResetPolicyStatus, token: Option<&str>) -> bool {
        settled_before(&spec(mode), status, 4, token) == [true]
    }

    fn done(pending: i64) -> Value {
        json!({"reason": "Enforced", "completedAt": "2026-11-21T00:00:00Z", "counts": counts(pending)})
    }

    #[test]
    fn a_target_is_settled_that_had_a_complete_pass_which_left_nothing_to_do() {
        assert!(settled("Enforce", &status(done(0), json!({})), None));
        assert!(!settled("Enforce", &status(done(1), json!({})), None), "somebody is due");
        assert!(settled("Observe", &status(done(1), json!({})), None), "only looked at");
        let running = json!({"reason": "InProgress", "completedAt": "2026-11-21T00:00:00Z", "counts": counts(0)});
        assert!(!settled("Enforce", &status(running, json!({})), None));
        let first = json!({"reason": "Enforced", "counts": counts(0)});
        assert!(!settled("Enforce", &status(first, json!({})), None), "no pass has ended");
        let failures = json!({"failures": [{"target": "all", "subject": "u1", "category": "Transient",
            "firstSeen": "2026-11-21T00:00:00Z"}]});
        assert!(!settled("Enforce", &status(done(0), failures), None), "a passing cause is tried again");
    }

    #[test]
    fn another_generation_and_a_new_token_ask_for_a_look() {
        let done = |more| status(done(0), more);
        assert_eq!(settled_before(&spec("Enforce"), &done(json!({})), 5, None), [false]);
        assert!(!settled("Enforce", &done(json!({})), Some("now")));
        assert!(settled("Enforce", &done(json!({"lastHandledReconcile": "now"})), Some("now")));
        let suspended = json!({"lastHandledReconcile": "now", "conditions": [{"type": "Suspended", "status": "True",
            "reason": "Suspended", "message": "", "lastTransitionTime": "2026-11-21T00:00:00Z"}]});
        assert!(!settled("Enforce", &done(suspended), Some("now")), "it was echoed without a look");
    }

    #[test]
    fn who_was_required_has_records() {
        assert!(speaks_of_records(&status(done(1), json!({})), "all"));
        assert!(!speaks_of_records(&status(done(5), json!({})), "all"));
        assert!(!speaks_of_records(&status(done(1), json!({})), "other"));
    }
}
