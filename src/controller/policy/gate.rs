//! May a write still be sent? Asked of the newest objects that the watches have brought, right before each write.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::identity_provider::{Access, IdentityProviderSpec};
use crate::api::{PAUSED_ANNOTATION, PasswordResetPolicy};
use crate::controller::context::Context;
use crate::controller::registry::ProviderId;
use crate::plan::guard::{self, Suspension, Switches};
use crate::provider::Gate;

/// Open as long as this very policy (UID and generation) is there and not suspended, and its provider may be written to.
pub fn gate(context: Arc<Context>, policy: &PasswordResetPolicy, provider: ProviderId) -> Gate {
    let (namespace, name) = (policy.namespace(), policy.name_any());
    let (uid, generation) = (policy.uid(), policy.metadata.generation);
    Arc::new(move || {
        let current = context.policies.get(namespace.as_deref(), &name);
        let Some(Ok(current)) = current.as_ref().map(|object| object.0.as_ref()) else { return false };
        current.uid() == uid
            && current.metadata.generation == generation
            && current.metadata.deletion_timestamp.is_none()
            && policy_suspension(&context, current).is_none()
            && provider_spec(&context, &provider).is_some_and(|spec| !spec.suspend && spec.access == Access::ReadWrite)
    })
}

/// What suspends a policy as a whole.
pub fn policy_suspension(context: &Context, policy: &PasswordResetPolicy) -> Option<Suspension> {
    guard::suspension(Switches {
        operator: context.settings.suspend,
        provider: None,
        annotation: policy.annotations().get(PAUSED_ANNOTATION).map(String::as_str),
        spec: policy.spec.suspend,
    })
}

fn provider_spec(context: &Context, id: &ProviderId) -> Option<IdentityProviderSpec> {
    match id {
        ProviderId::Namespaced(namespace, name) => {
            context.providers.get(Some(namespace), name)?.0.as_ref().ok().map(|p| p.spec.clone())
        }
        ProviderId::Cluster(name) => {
            let stores = context.cluster_providers.as_ref()?;
            stores.get(None, name)?.0.as_ref().ok().map(|p| p.spec.provider.clone())
        }
    }
}
