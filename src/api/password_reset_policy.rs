//! Who must have a new password, and since when?
//!
//! A policy states a date, not a command: every targeted account's password was changed at or after it, or its owner
//! cannot go on without changing it. What became of it is in [`super::policy_status`].

#![allow(clippy::duplicated_attributes, reason = "every printer column repeats its type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy_status::PasswordResetPolicyStatus;
use super::references::{ConfigMapKeyRef, SecretKeyRef, UserRef};

/// Who must have a new password, since when, and how that is brought about.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "passwordreset.dev",
    version = "v1alpha1",
    kind = "PasswordResetPolicy",
    plural = "passwordresetpolicies",
    shortname = "prp",
    category = "passwordresets",
    namespaced,
    derive = "PartialEq",
    status = "PasswordResetPolicyStatus",
    selectable = ".spec.mode",
    doc = "Who must have a new password, and since when. Accounts whose password is older are required to change it at the next sign-in; accounts that are known to have changed it are not touched again.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Changed", type_ = "integer", json_path = ".status.counts.changed"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.counts.failed"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Cutoff", type_ = "string", json_path = ".spec.requirement.passwordChangedAfter", priority = 1),
    printcolumn(name = "Targeted", type_ = "integer", json_path = ".status.counts.targeted", priority = 1),
    printcolumn(name = "Enforced", type_ = "integer", json_path = ".status.counts.enforced", priority = 1),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.counts.pending", priority = 1),
    printcolumn(name = "Skipped", type_ = "integer", json_path = ".status.counts.skipped", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PasswordResetPolicySpec {
    /// Observe: look and report, write nothing. Enforce: require a change of everybody who is due. Required; there is
    /// no default that acts.
    pub mode: Mode,

    /// Why. When several policies want the same tenant, the more urgent type goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CampaignReason>,

    /// Since when a password must be new. Cannot be changed: create a new policy for another date.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("requirement cannot be changed, because what was done so far was done for it: create a new policy for another cutoff or age")
        .reason(Reason::FieldValueForbidden))]
    pub requirement: Requirement,

    /// The tenants, and whom in each: 1 to 32, each with its own name and its own provider.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(a, self.exists_one(b, b.providerRef.name == a.providerRef.name && b.providerRef.kind == a.providerRef.kind))")
            .message("two targets have the same providerRef: put their users and groups into one target, or write a second policy")
            .reason(Reason::FieldValueInvalid)
    )]
    pub targets: Vec<Target>,

    /// What is done to an account beside requiring the change.
    #[serde(default)]
    pub action: PolicyAction,

    /// When the policy counts as Ready. Enforced (default): as soon as nobody can go on without changing the
    /// password. Changed: when everybody has changed it.
    #[serde(default)]
    pub ready_when: ReadyWhen,

    /// Stops writing within a second; looking goes on. Nothing is undone. Defaults to false. Where a GitOps tool would
    /// set it back, use the annotation passwordreset.dev/paused: "<why>" instead; with Flux set it by kubectl annotate
    /// --field-manager=flux-client-side-apply, or Flux takes it away.
    #[serde(default)]
    pub suspend: bool,
}

/// Whether a policy writes.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Look and report; the same engine with writes off.
    Observe,
    /// Require a change of everybody who is due.
    Enforce,
}

/// Why the policy exists.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CampaignReason {
    /// Compromise, SuspectedCompromise, Compliance, Hygiene or Exercise, from the most to the least urgent.
    #[serde(rename = "type")]
    pub type_: ReasonType,
    /// A ticket or an address, for people: at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub reference: Option<String>,
}

/// Why the policy exists, the most urgent first; the order is the priority.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReasonType {
    /// Passwords are known to others.
    Compromise,
    /// Passwords may be known to others.
    SuspectedCompromise,
    /// An audit or a rule asks for it.
    Compliance,
    /// Routine.
    Hygiene,
    /// Practice.
    Exercise,
}

/// Since when a password must be new.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.passwordChangedAfter) != has(self.maxPasswordAgeDays)")
    .message("give exactly one of passwordChangedAfter (a date) or maxPasswordAgeDays (an age)")
    .reason(Reason::FieldValueInvalid))]
pub struct Requirement {
    /// Every password must have been changed at or after this time, for example 2026-11-20T22:00:00Z. Whole seconds.
    /// Compared with the provider's times only. A time ahead of the provider's clock is waited for up to 10 minutes;
    /// changes made before it do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == timestamp(int(self))")
        .message("write whole seconds, for example 2026-11-20T22:00:00Z: providers compare in whole seconds")
        .reason(Reason::FieldValueInvalid),
        validation = Rule::new("self < timestamp('9999-01-01T00:00:00Z')")
        .message("this is too far ahead for any calendar: is the year a typing error?")
        .reason(Reason::FieldValueInvalid))]
    pub password_changed_after: Option<Time>,
    /// No password may be older than this many days: 1 to 3650. Only where the provider shows when a password was
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub max_password_age_days: Option<i32>,
}

/// One tenant, and whom in it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.scope != 'Tenant' || !(has(self.users) && self.users.size() > 0 || has(self.usersFrom) && self.usersFrom.size() > 0 || has(self.groups) && self.groups.size() > 0 || has(self.populations) && self.populations.size() > 0)")
        .message("scope Tenant means everybody: remove users, usersFrom, groups and populations, or write scope: Selected")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.scope != 'Selected' || has(self.users) && self.users.size() > 0 || has(self.usersFrom) && self.usersFrom.size() > 0 || has(self.groups) && self.groups.size() > 0 || has(self.populations) && self.populations.size() > 0")
        .message("scope Selected selects nobody: give at least one of users, usersFrom, groups or populations, or write scope: Tenant for everybody")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.strategy != 'TenantNative' || self.scope == 'Tenant'")
        .message("strategy TenantNative is one call for everybody: write scope: Tenant, or strategy: PerUser")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.strategy != 'TenantNative' || !has(self.exclude)")
        .message("strategy TenantNative is one call for everybody and can leave nobody out: remove exclude, or write strategy: PerUser")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.strategy != 'TenantNative' || 'Disabled' in self.accountStates")
        .message("strategy TenantNative is one call for everybody, disabled accounts too: add Disabled to accountStates, or write strategy: PerUser")
        .reason(Reason::FieldValueInvalid)
)]
pub struct Target {
    /// A name for this target, unique within the policy; it appears in the status.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// The provider object that says how to reach the tenant.
    pub provider_ref: ProviderRef,

    /// Tenant: every account of the tenant. Selected: those that users, usersFrom, groups and populations name
    /// together. Required; there is no default that acts.
    pub scope: Scope,

    /// Users by id, username or email: at most 100; more by usersFrom. Entries that lead to one account are merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub users: Vec<UserRef>,

    /// Lists of users in Secrets or ConfigMaps: at most 16. One user a line; blank lines and lines that begin with #
    /// are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub users_from: Vec<UserListSource>,

    /// Groups whose members are meant, by exact name or by id: at most 100. Only direct members count: members of a
    /// nested group do not, unless the provider itself lists them. A group that does not exist, or a name that fits
    /// more than one, stops this target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,

    /// PingOne only: populations whose users are meant, by name or id: at most 100. A population that does not exist
    /// stops this target, and so does a name that fits more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub populations: Vec<String>,

    /// Who is left out, whatever is selected. A group, list or population here that does not resolve stops this
    /// target: nobody is touched until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Exclude>,

    /// A listed user whom the provider does not know. Fail (default): counts as failed, and keeps the policy from
    /// being Enforced. Skip: counts as skipped; right for old lists, which name people who have left.
    #[serde(default)]
    pub missing_users: MissingUsers,

    /// The accounts that are meant, by their state: any of Active, Locked and Disabled. Defaults to [Active]. Others
    /// are skipped, and looked at again with every pass.
    #[serde(default = "Target::default_account_states")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub account_states: Vec<AccountState>,

    /// PerUser (default): each account by itself. TenantNative: the provider's one call for everybody (Looker), which
    /// also reaches accounts that have a new password already; it needs scope Tenant, no exclude, Active and Disabled
    /// among accountStates, no protected users, an API user without an e-mail credential, and nobody known to have
    /// changed since the cutoff.
    #[serde(default)]
    pub strategy: Strategy,
}

impl Target {
    fn default_account_states() -> Vec<AccountState> {
        vec![AccountState::Active]
    }
}

/// The provider object that says how to reach the tenant.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRef {
    /// IdentityProvider (default), in the policy's namespace, or ClusterIdentityProvider, which must allow the
    /// policy's namespace.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// The kinds that a target may refer to.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProviderKind {
    /// In the policy's namespace.
    #[default]
    IdentityProvider,
    /// Cluster-scoped.
    ClusterIdentityProvider,
}

impl ProviderKind {
    /// The kind's name, as in `kubectl get`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdentityProvider => "IdentityProvider",
            Self::ClusterIdentityProvider => "ClusterIdentityProvider",
        }
    }
}

impl std::fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a target means.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Every account of the tenant.
    Tenant,
    /// Those that are named.
    Selected,
}

/// A list of users in a Secret or a ConfigMap of the policy's namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.configMapRef)")
    .message("give exactly one of secretRef or configMapRef")
    .reason(Reason::FieldValueInvalid))]
pub struct UserListSource {
    /// What each line holds: ID, Username or Email.
    pub format: UserListFormat,
    /// A key of a Secret. The Secret must carry the label passwordreset.dev/user-list: "true", and the operator must
    /// be allowed to read it (a Role with get, list and watch on it by name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// A key of a ConfigMap. The operator must be allowed to read it (a Role with get, list and watch on it by name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
}

/// What each line of a list holds.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UserListFormat {
    /// The provider's identifier.
    ID,
    /// The name the user signs in with.
    Username,
    /// The e-mail address.
    Email,
}

/// Who is left out.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exclude {
    /// Users by id, username or email: at most 100. An entry without a match stops nothing: who must never be touched
    /// belongs in protectedUsers of the provider object, where it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub users: Vec<UserRef>,
    /// Lists of users in Secrets or ConfigMaps: at most 16. A malformed line stops the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub users_from: Vec<UserListSource>,
    /// Groups whose members are left out, by exact name or by id: at most 100. Only direct members are: members of a
    /// nested group are not, unless the provider itself lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
    /// PingOne only: populations whose users are left out, by name or id: at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub populations: Vec<String>,
}

/// What a listed user counts as whom the provider does not know.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MissingUsers {
    /// Failed.
    #[default]
    Fail,
    /// Skipped.
    Skip,
}

/// The states of an account that a target may mean.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AccountState {
    /// Can sign in.
    Active,
    /// Shut out for a time, or until unlocked, by the provider.
    Locked,
    /// Shut out by an administrator.
    Disabled,
}

/// How a change is required.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// Each account by itself.
    #[default]
    PerUser,
    /// The provider's one call for everybody.
    TenantNative,
}

/// What is done to an account beside requiring the change.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAction {
    /// Keep (default): who is signed in stays signed in until the session ends. Revoke: sessions are ended once the
    /// requirement is confirmed, where the provider can.
    #[serde(default)]
    pub sessions: Sessions,
}

/// What happens to the sessions of an account that must change its password.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sessions {
    /// They go on.
    #[default]
    Keep,
    /// They are ended.
    Revoke,
}

/// When a policy counts as Ready.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReadyWhen {
    /// Nobody can go on without changing the password.
    #[default]
    Enforced,
    /// Everybody has changed it.
    Changed,
}
