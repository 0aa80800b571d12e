//! Does the API server itself still say what the watches have brought?
//!
//! A watch can be behind without knowing it: its connection is dead and the deadline has not come, or its API server is cut
//! off from the others. Before each batch the policy and its provider are therefore read once, past every cache. That
//! costs two reads for up to 200 writes, and bounds what a stale view can do to the batch that is open.

use std::sync::Arc;

use kube::{Api, ResourceExt};

use super::gate::policy_suspension;
use crate::api::{ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use crate::controller::context::{Context, Version};
use crate::controller::registry::ProviderId;

/// What a batch is sent on behalf of.
pub struct Confirm<'a> {
    /// Where to ask.
    pub context: &'a Arc<Context>,
    /// Namespace and name of the policy.
    pub policy: (&'a str, &'a str),
    /// Its UID and generation.
    pub version: (&'a str, i64),
    /// Its provider, in the version that the watches have brought.
    pub provider: &'a ProviderId,
}

impl Confirm<'_> {
    /// Whether both are what they were when the slice began. *Errors*: the API server does not answer.
    pub async fn holds(&self) -> Result<bool, kube::Error> {
        let (policy, provider) = futures::try_join!(self.policy_holds(), self.provider_now())?;
        Ok(policy && provider.is_some() && provider == self.context.provider_version(self.provider))
    }

    async fn policy_holds(&self) -> Result<bool, kube::Error> {
        let (namespace, name) = self.policy;
        let api: Api<PasswordResetPolicy> = Api::namespaced(self.context.client.clone(), namespace);
        let Some(policy) = api.get_opt(name).await? else { return Ok(false) };
        let (uid, generation) = self.version;
        Ok(policy.uid().as_deref() == Some(uid)
            && policy.metadata.generation == Some(generation)
            && policy.metadata.deletion_timestamp.is_none()
            && policy_suspension(self.context, &policy).is_none())
    }

    async fn provider_now(&self) -> Result<Option<Version>, kube::Error> {
        let client = self.context.client.clone();
        Ok(match self.provider {
            ProviderId::Namespaced(namespace, name) => {
                let api: Api<IdentityProvider> = Api::namespaced(client, namespace);
                api.get_opt(name).await?.map(|p| (p.metadata.uid, p.metadata.generation))
            }
            ProviderId::Cluster(name) => {
                let api: Api<ClusterIdentityProvider> = Api::all(client);
                api.get_opt(name).await?.map(|p| (p.metadata.uid, p.metadata.generation))
            }
        })
    }
}
