//! What became of a policy?
//!
//! Small and stable: no time of the last pass, no names and no addresses. Only what somebody acts upon.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FailureCategory;

/// What became of a policy.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordResetPolicyStatus {
    /// The metadata.generation that this status speaks about; -1 until the operator has looked once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; Reconciling and Stalled only while true; ProviderReady; Enforced: nobody who is meant can go on without
    /// a new password; Changed: everybody who is meant has one; Suspended and DriftDetected only while true. The
    /// reasons are listed in docs/reasons.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// All targets together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Accounts that are done (compliant, enforced or changed) of those that are meant and not skipped, such as
    /// 812/1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub progress: Option<String>,
    /// Each target by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<TargetStatus>,
    /// Samples of what failed: at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failures: Vec<FailureSample>,
    /// The value of the annotation passwordreset.dev/reconcile that was obeyed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub last_handled_reconcile: Option<String>,
}

/// Accounts by what is known of them. `targeted` is the sum of all others.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Accounts that are meant: the sum of all others.
    pub targeted: i64,
    /// Had a new password already.
    pub compliant: i64,
    /// Must change the password before they can go on, and have not yet.
    pub enforced: i64,
    /// Changed the password after it was required of them.
    pub changed: i64,
    /// Are due, and nothing was required of them yet.
    pub pending: i64,
    /// Were required to change, and somebody else took the requirement away.
    pub cleared: i64,
    /// Are left alone: protected, without a password here, of a service, of a state that accountStates lacks, missing or
    /// gone. The message says how many of each.
    pub skipped: i64,
    /// Could not be required to change; see failures.
    pub failed: i64,
    /// The provider did not say enough to decide.
    pub unknown: i64,
}

/// What became of one target.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The target's name in the spec.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// One of the reasons in docs/reasons.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// When every account of this target was first seen at this generation of the policy. Never rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// One sample of what failed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureSample {
    /// The target's name in the spec.
    #[schemars(length(max = 63))]
    pub target: String,
    /// An account's id, or a place, such as spec.targets[0].users[3] or Secret/leak-4711 users.txt:17. Never a name or
    /// an address.
    #[schemars(length(max = 512))]
    pub subject: String,
    /// NotFound, Ambiguous, Forbidden, Rejected, WriteNotEffective or Transient.
    #[schemars(length(max = 64))]
    pub category: String,
    /// When it was first seen.
    pub first_seen: Time,
}

impl FailureSample {
    /// Whether it failed for a cause that may pass.
    pub fn may_pass(&self) -> bool {
        self.category == FailureCategory::Transient.as_str()
    }
}
