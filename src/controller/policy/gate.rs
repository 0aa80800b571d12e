//! May a write still be sent? Asked of the newest objects that the watches have brought, right before each write.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{PAUSED_ANNOTATION, PasswordResetPolicy};
use crate::controller::context::{Context, ProviderView, Version};
use crate::controller::references::AsRead;
use crate::controller::registry::ProviderId;
use crate::controller::tenant::Members;
use crate::plan::suspension::{self, Suspension, Switches};
use crate::provider::Gate;

/// Open as long as nothing has changed that the slice was begun with: this very policy, every provider object that names
/// the tenant (whom they protect, whether they suspend it) and nobody besides, and the lists of the target as they were
/// read; and as long as this process is the one that acts.
pub fn gate(
    context: &Arc<Context>,
    policy: &PasswordResetPolicy,
    named: &[&ProviderView],
    members: Option<Members>,
    lists: Vec<AsRead>,
) -> Gate {
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    let (uid, generation) = (policy.uid(), policy.metadata.generation);
    let providers: Vec<(ProviderId, Version)> =
        named.iter().map(|object| (object.id.clone(), object.version.clone())).collect();
    let context = context.clone();
    Arc::new(move || {
        let current = context.policies.get(Some(&namespace), &name);
        let Some(Ok(current)) = current.as_ref().map(|object| object.0.as_ref()) else { return false };
        context.leadership.holds()
            && !context.stopping.is_cancelled()
            && current.uid() == uid
            && current.metadata.generation == generation
            && current.metadata.deletion_timestamp.is_none()
            && policy_suspension(&context, current).is_none()
            && providers.iter().all(|(id, version)| context.provider_version(id).as_ref() == Some(version))
            && members.as_ref().is_none_or(Members::are_current)
            && lists.iter().all(AsRead::is_current)
    })
}

/// What suspends a policy as a whole.
pub fn policy_suspension(context: &Context, policy: &PasswordResetPolicy) -> Option<Suspension> {
    suspension::suspension(Switches {
        operator: context.settings.suspend,
        provider: None,
        annotation: policy.annotations().get(PAUSED_ANNOTATION).map(String::as_str),
        spec: policy.spec.suspend,
    })
}
