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
    // An edited provider may protect more people than the pass knows of.
    let provider_generation = provider_object(&context, &provider).map(|(generation, _)| generation);
    Arc::new(move || {
        let current = context.policies.get(namespace.as_deref(), &name);
        let Some(Ok(current)) = current.as_ref().map(|object| object.0.as_ref()) else { return false };
        !context.stopping.is_cancelled()
            && current.uid() == uid
            && current.metadata.generation == generation
            && current.metadata.deletion_timestamp.is_none()
            && policy_suspension(&context, current).is_none()
            && provider_object(&context, &provider).is_some_and(|(generation, spec)| {
                Some(generation) == provider_generation && !spec.suspend && spec.access == Access::ReadWrite
            })
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

/// The generation and the spec of a provider object as the API server has it now.
fn provider_object(context: &Context, id: &ProviderId) -> Option<(Option<i64>, IdentityProviderSpec)> {
    match id {
        ProviderId::Namespaced(namespace, name) => {
            let object = context.providers.get(Some(namespace), name)?;
            object.0.as_ref().ok().map(|p| (p.metadata.generation, p.spec.clone()))
        }
        ProviderId::Cluster(name) => {
            let object = context.cluster_providers.as_ref()?.get(None, name)?;
            object.0.as_ref().ok().map(|p| (p.metadata.generation, p.spec.provider.clone()))
        }
    }
}
