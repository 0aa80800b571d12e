//! What do users write, and what do they read back?
//!
//! One file per kind: [`identity_provider`] (how to reach one tenant), [`password_reset_policy`] (who must have a
//! new password, and since when) with what it reports in [`policy_status`]. [`conditions`] is the vocabulary of
//! status conditions, events and metrics. [`references`] holds the small types that several kinds share.
//!
//! Nothing here decides, calls or waits; this module imports no other module of the crate. Decoding is lenient:
//! unknown fields are ignored and the words in a status are plain strings, so that an object written for a newer
//! version never takes a whole watch down. Refusing bad input is the API server's work, by the rules that the types
//! carry. Where to go next: `plan` decides what to do with these types, `status` what to say.

pub mod conditions;
pub mod identity_provider;
pub mod password_reset_policy;
pub mod policy_status;
pub mod references;
mod rules;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

pub use conditions::{ConditionType, FailureCategory, Reason};
pub use identity_provider::{ClusterIdentityProvider, IdentityProvider};
pub use password_reset_policy::PasswordResetPolicy;

/// The API group of every kind.
pub const GROUP: &str = "passwordreset.dev";

/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// Annotation on a credentials Secret: the origins (`https://host[:port]`, space separated) that its credential may
/// be sent to. Required wherever a provider's URL is given by the user. It keeps somebody who may create providers,
/// but may not read Secrets, from having the operator send a Secret to an address of their choice.
pub const ALLOWED_ORIGINS_ANNOTATION: &str = "passwordreset.dev/allowed-origins";

/// Label (value `"true"`) on a Secret that `usersFrom` may read. It marks the Secret as a list of users, so that no
/// other Secret can be read through a policy.
pub const USER_LIST_LABEL: &str = "passwordreset.dev/user-list";

/// The value of [`USER_LIST_LABEL`].
pub const USER_LIST_LABEL_VALUE: &str = "true";

/// Annotation on a policy: suspends it; the value is the reason, shown in the condition. Unlike `spec.suspend` it is
/// left alone by GitOps tools that restore the spec; by Flux where it was not set by a field manager whose name begins
/// with `kubectl`, <https://fluxcd.io/flux/faq/#why-are-kubectl-edits-rolled-back-by-flux>.
pub const PAUSED_ANNOTATION: &str = "passwordreset.dev/paused";

/// Annotation on a policy: look at everything now. The value, any token, is echoed in
/// `status.lastHandledReconcile`.
pub const RECONCILE_ANNOTATION: &str = "passwordreset.dev/reconcile";

/// Annotation on a policy: go on although the ledger is lost. The value is any token; take the annotation away afterwards,
/// since it accepts later losses as well.
pub const ACCEPT_LEDGER_LOSS_ANNOTATION: &str = "passwordreset.dev/accept-ledger-loss";

/// `status.observedGeneration` of an object that no operator has looked at yet. The API server fills it in on
/// creation, so that tools that compare it with `metadata.generation` (kstatus, Argo CD, Flux) never take a newborn
/// object for a finished one.
pub const NOT_YET_OBSERVED: i64 = -1;

/// The CRDs of all kinds, as they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![IdentityProvider::crd(), ClusterIdentityProvider::crd(), PasswordResetPolicy::crd()];
    let schemas = all
        .iter_mut()
        .flat_map(|crd| &mut crd.spec.versions)
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        default_status(schema);
        unwrap_lines(schema);
    }
    all
}

/// Gives `status` its default, which the derive has no attribute for.
fn default_status(root: &mut JSONSchemaProps) {
    if let Some(status) = root.properties.as_mut().and_then(|fields| fields.get_mut("status")) {
        status.nullable = None;
        status.default = Some(JSON(json!({ "observedGeneration": NOT_YET_OBSERVED })));
    }
}

/// Joins the lines of every description: the line ends of a doc comment suit the source, and `kubectl explain` wraps
/// by itself.
fn unwrap_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    schema.properties.iter_mut().flatten().for_each(|(_, field)| unwrap_lines(field));
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        unwrap_lines(item);
    }
}
