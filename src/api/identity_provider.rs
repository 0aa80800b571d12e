//! How is one tenant of an identity provider reached, how hard may it be called, and whom must nobody touch?
//!
//! [`IdentityProvider`] lives in a namespace and serves its policies; [`ClusterIdentityProvider`] is the same for
//! the namespaces it names. Connecting is the work of the `provider` module.

#![allow(clippy::duplicated_attributes, reason = "every printer column repeats its type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::references::{CaBundleRef, SecretRef, UserRef};
use super::rules;

/// The connection to one tenant of an identity provider, its limits and its protected accounts.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "passwordreset.dev",
    version = "v1alpha1",
    kind = "IdentityProvider",
    plural = "identityproviders",
    shortname = "idp",
    category = "passwordresets",
    namespaced,
    derive = "PartialEq",
    status = "IdentityProviderStatus",
    selectable = ".status.type",
    doc = "The connection to one tenant of an identity provider, its limits and its protected accounts. Policies in the same namespace refer to it.",
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".status.tenant.id", priority = 1),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.tenant.users", priority = 1),
    printcolumn(
        name = "Enforceable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Enforceable')].status",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.pingOne), has(self.looker), has(self.monoCloud), has(self.keycloak)].filter(given, given).size() == 1")
        .message("give exactly one provider block: pingOne, looker, monoCloud or keycloak")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("has(self.pingOne) == has(oldSelf.pingOne) && has(self.looker) == has(oldSelf.looker) && has(self.monoCloud) == has(oldSelf.monoCloud) && has(self.keycloak) == has(oldSelf.keycloak)")
        .message("the provider type cannot be changed: create a new object for another tenant, then point the policies at it")
        .reason(Reason::FieldValueForbidden)
)]
pub struct IdentityProviderSpec {
    /// Which provider, and where.
    #[serde(flatten)]
    pub block: ProviderBlock,

    /// How hard the tenant may be called. The limit is shared by every policy on this tenant; when several objects
    /// name one tenant, the lowest limits of those that were verified apply.
    #[serde(default)]
    pub rate_limit: RateLimit,

    /// Accounts that are never touched, whatever a policy selects: break-glass accounts, the owner of the tenant.
    /// When one of them does not resolve to exactly one account, nothing at all is written on this tenant until it
    /// does. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub protected_users: Vec<UserRef>,

    /// Stops every policy on this tenant: nothing is read and nothing is written for them, within a second; only the
    /// connection is still probed. Policies go on where they were when it is false again. Defaults to false.
    #[serde(default)]
    pub suspend: bool,

    /// ReadWrite (default), or ReadOnly: nothing is ever written to the tenant. Policies in mode Observe work,
    /// those in mode Enforce say ReadOnly.
    #[serde(default)]
    pub access: Access,

    /// How often, in seconds, people who still have to change their password are looked at again: 10 to 604800.
    /// Defaults to 900 (15 minutes); for Looker to 86400 (a day), because its calls count against a monthly
    /// allowance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 604_800))]
    pub observe_period_seconds: Option<i32>,

    /// How often, in seconds, a tenant that is not Ready is tried again: 10 to 86400, default 300. The wait doubles
    /// with every failure, up to one hour (Looker: six hours).
    #[serde(default = "IdentityProviderSpec::default_probe_period_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub probe_period_seconds: i32,

    /// How many users are asked for per page of a listing: 1 to 1000. Defaults to what suits the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub page_size: Option<i32>,

    /// How the server's certificate is verified. It always is; no field turns that off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl IdentityProviderSpec {
    fn default_probe_period_seconds() -> i32 {
        300
    }

    /// How often, in seconds, people who still have to change their password are looked at again.
    pub fn observe_period_seconds(&self) -> i32 {
        let default = if self.block.looker.is_some() { 86_400 } else { 900 };
        self.observe_period_seconds.unwrap_or(default)
    }
}

/// The connection to one tenant of an identity provider, offered to the namespaces it names.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "passwordreset.dev",
    version = "v1alpha1",
    kind = "ClusterIdentityProvider",
    plural = "clusteridentityproviders",
    shortname = "cidp",
    category = "passwordresets",
    derive = "PartialEq",
    status = "IdentityProviderStatus",
    selectable = ".status.type",
    doc = "The connection to one tenant of an identity provider, offered to the policies of the namespaces it names. Its Secret and its CA bundle live in the operator's namespace.",
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".status.tenant.id", priority = 1),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.tenant.users", priority = 1),
    printcolumn(
        name = "Enforceable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Enforceable')].status",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIdentityProviderSpec {
    /// The same fields as an IdentityProvider.
    #[serde(flatten)]
    pub provider: IdentityProviderSpec,

    /// The namespaces whose policies may use this provider: 1 to 256 names, or the single entry "*" for every
    /// namespace.
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 63), regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"))
    )]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("!('*' in self) || self.size() == 1")
            .message("write either the names of the namespaces or the single entry \"*\", not both")
            .reason(Reason::FieldValueInvalid)
    )]
    pub allowed_namespaces: Vec<String>,
}

impl ClusterIdentityProviderSpec {
    /// Whether policies in `namespace` may use this provider.
    pub fn allows(&self, namespace: &str) -> bool {
        allows(&self.allowed_namespaces, namespace)
    }
}

/// Whether `namespace` is one of the `allowed`: by its name, or since all are.
pub fn allows(allowed: &[String], namespace: &str) -> bool {
    allowed.iter().any(|allowed| allowed == "*" || allowed == namespace)
}

/// Exactly one member is set; it is the provider's type. All are absent in an object that was written for a newer
/// version, with a provider this one does not know.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderBlock {
    /// A PingOne environment. Its Secret holds the keys clientID and clientSecret of a worker application with the
    /// role Identity Data Admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_one: Option<PingOne>,
    /// A Looker instance. Its Secret holds the keys clientID and clientSecret of an API key whose user may manage
    /// users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looker: Option<Looker>,
    /// A MonoCloud tenant. Its Secret holds the key apiKey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mono_cloud: Option<MonoCloud>,
    /// A Keycloak realm. Its Secret holds the keys clientID and clientSecret of a confidential client with a service
    /// account that has the realm-management roles manage-users and view-realm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keycloak: Option<Keycloak>,
}

impl ProviderBlock {
    /// The provider's type; `None` when this version knows none of the members that were given.
    pub fn provider_type(&self) -> Option<ProviderType> {
        match self {
            Self { ping_one: Some(_), .. } => Some(ProviderType::PingOne),
            Self { looker: Some(_), .. } => Some(ProviderType::Looker),
            Self { mono_cloud: Some(_), .. } => Some(ProviderType::MonoCloud),
            Self { keycloak: Some(_), .. } => Some(ProviderType::Keycloak),
            _ => None,
        }
    }

    /// The Secret that holds the credential, whichever the provider.
    pub fn credentials_secret_ref(&self) -> Option<&SecretRef> {
        let Self { ping_one, looker, mono_cloud, keycloak } = self;
        None.or(ping_one.as_ref().map(|block| &block.credentials_secret_ref))
            .or(looker.as_ref().map(|block| &block.credentials_secret_ref))
            .or(mono_cloud.as_ref().map(|block| &block.credentials_secret_ref))
            .or(keycloak.as_ref().map(|block| &block.credentials_secret_ref))
    }
}

/// The identity providers that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderType {
    /// Ping Identity's PingOne.
    PingOne,
    /// Google's Looker.
    Looker,
    /// MonoCloud.
    MonoCloud,
    /// Keycloak.
    Keycloak,
}

impl ProviderType {
    /// The word in `status.type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PingOne => "PingOne",
            Self::Looker => "Looker",
            Self::MonoCloud => "MonoCloud",
            Self::Keycloak => "Keycloak",
        }
    }
}

impl std::fmt::Display for ProviderType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A PingOne environment.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.region) ? !has(self.baseURL) && !has(self.authURL) : has(self.baseURL) && has(self.authURL)")
    .message("give either region, or both baseURL and authURL (for a proxy or a private host)")
    .reason(Reason::FieldValueInvalid))]
pub struct PingOne {
    /// The environment's UUID. It identifies the tenant and cannot be changed.
    #[serde(rename = "environmentID")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = rules::UUID,
        validation = rules::IDENTIFIES_THE_TENANT
    )]
    pub environment_id: String,
    /// The UUID of the environment that the worker application lives in, when that is another one. Defaults to
    /// environmentID.
    #[serde(rename = "workerEnvironmentID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::UUID)]
    pub worker_environment_id: Option<String>,
    /// The region of the environment, or baseURL and authURL instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Where the management API is reached instead of the region's own host, with or without /v1 at the end. Needs
    /// authURL beside it, and the origins of both in the Secret's annotation passwordreset.dev/allowed-origins.
    #[serde(rename = "baseURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = rules::URL_CHARACTERS,
        validation = rules::HTTPS
    )]
    pub base_url: Option<String>,
    /// Where tokens are requested instead of the region's own host.
    #[serde(rename = "authURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = rules::URL_CHARACTERS,
        validation = rules::HTTPS
    )]
    pub auth_url: Option<String>,
    /// The worker application's token endpoint authentication method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
    /// The Secret with the keys clientID and clientSecret of a worker application.
    pub credentials_secret_ref: SecretRef,
}

/// The worker application's token endpoint authentication method, as PingOne shows it: ClientSecretBasic or
/// ClientSecretPost. Defaults to ClientSecretBasic, as in PingOne.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenEndpointAuthMethod {
    /// Client Secret Basic.
    #[default]
    ClientSecretBasic,
    /// Client Secret Post.
    ClientSecretPost,
}

/// The region of the environment: NA (.com), CA (.ca), EU (.eu), AP (.asia), AU (.com.au) or SG (.sg). Give baseURL and
/// authURL instead for a proxy or a private host.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Region {
    /// North America (`.com`).
    NA,
    /// Canada (`.ca`).
    CA,
    /// Europe (`.eu`).
    EU,
    /// Asia-Pacific (`.asia`).
    AP,
    /// Australia (`.com.au`).
    AU,
    /// Singapore (`.sg`).
    SG,
}

/// A Looker instance.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Looker {
    /// The address of the instance's API, without /api/4.0, for example https://corp.cloud.looker.com. Its origin
    /// must stand in the Secret's annotation passwordreset.dev/allowed-origins. It identifies the tenant and cannot
    /// be changed.
    #[serde(rename = "baseURL")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = rules::URL_CHARACTERS,
        validation = rules::HTTPS,
        validation = rules::IDENTIFIES_THE_TENANT
    )]
    pub base_url: String,
    /// The Secret with the keys clientID and clientSecret.
    pub credentials_secret_ref: SecretRef,
}

/// A MonoCloud tenant.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonoCloud {
    /// The tenant's domain, for example https://corp.eu.monocloud.com. Its origin must stand in the Secret's
    /// annotation passwordreset.dev/allowed-origins. It identifies the tenant and cannot be changed.
    #[serde(rename = "baseURL")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = rules::URL_CHARACTERS,
        validation = rules::HTTPS,
        validation = rules::IDENTIFIES_THE_TENANT
    )]
    pub base_url: String,
    /// The Secret with the key apiKey.
    pub credentials_secret_ref: SecretRef,
}

/// A Keycloak realm.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!isURL(self.baseURL) || url(self.baseURL).getScheme() == 'https' || url(self.baseURL).getHostname() in ['127.0.0.1', 'localhost', '::1'] || has(self.allowPlainHTTP) && self.allowPlainHTTP")
    .message("baseURL must begin with https://; for plain http:// inside a cluster set allowPlainHTTP: true (127.0.0.1, localhost and [::1] need none, but have to be in the operator's ALLOWED_ADDRESSES)")
    .reason(Reason::FieldValueInvalid))]
pub struct Keycloak {
    /// The address of the server with its base path, if it has one, for example https://keycloak.corp.example or
    /// https://sso.corp.example/auth. Its origin must stand in the Secret's annotation
    /// passwordreset.dev/allowed-origins. It identifies the tenant and cannot be changed.
    #[serde(rename = "baseURL")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = rules::URL_CHARACTERS,
        validation = rules::HTTP_OR_HTTPS,
        validation = rules::IDENTIFIES_THE_TENANT
    )]
    pub base_url: String,
    /// The realm whose users are meant. It identifies the tenant and cannot be changed.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = rules::IDENTIFIES_THE_TENANT)]
    pub realm: String,
    /// The realm that the client in the Secret belongs to. Defaults to realm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub auth_realm: Option<String>,
    /// Allows a baseURL that begins with http://, for a Keycloak inside the cluster. The credential and every answer
    /// then cross the network unencrypted. Defaults to false.
    #[serde(rename = "allowPlainHTTP", default)]
    pub allow_plain_http: bool,
    /// The Secret with the keys clientID and clientSecret.
    pub credentials_secret_ref: SecretRef,
}

/// How hard the tenant may be called.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimit {
    /// Requests per second, on average: 1 to 10000, default 10. Stay below what the provider allows; what it allows
    /// is shared with everything else that calls the tenant.
    #[schemars(range(min = 1, max = 10_000))]
    pub requests_per_second: i32,
    /// Requests that may be sent at once after a pause: 1 to 10000, default 10.
    #[schemars(range(min = 1, max = 10_000))]
    pub burst: i32,
    /// Requests that may wait for an answer at the same time: 1 to 256, default 4.
    #[schemars(range(min = 1, max = 256))]
    pub max_concurrent_requests: i32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests_per_second: 10, burst: 10, max_concurrent_requests: 4 }
    }
}

/// Whether anything may be written to the tenant.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Policies in mode Enforce may write.
    #[default]
    ReadWrite,
    /// Nothing is ever written.
    ReadOnly,
}

/// How the server's certificate is verified.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The certificate authorities that may have signed the server's certificate. They replace the system's.
    pub ca_bundle_config_map_ref: CaBundleRef,
}

/// What the operator knows about the tenant.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityProviderStatus {
    /// The metadata.generation that this status speaks about; -1 until the operator has looked once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// PingOne, Looker, MonoCloud or Keycloak.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub type_: Option<String>,
    /// Ready: the tenant was reached with the credential and answers as it should. Reconciling: being tried again.
    /// Stalled: a human must act; the message says how. Enforceable: whether a requirement will really make people
    /// change their password (Unknown where the credential may not look).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What the provider can do and show, as words; what is not listed a policy cannot ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<String>,
    /// The tenant that the credential reached. Absent until it was verified once; kept from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

/// The tenant that the credential reached.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// What identifies the tenant: PingOne's environment ID, Keycloak's origin and realm, the origin of Looker or
    /// MonoCloud. Objects with one id share one rate limit and the union of their protected users.
    #[schemars(length(max = 1024))]
    pub id: String,
    /// The tenant's name, where the provider says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub name: Option<String>,
    /// How many accounts the tenant has, where the provider says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<i64>,
}
