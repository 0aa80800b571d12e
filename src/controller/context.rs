//! What every reconcile can reach.

use std::sync::Arc;

use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::leader::Leadership;
use super::ledger_store::LedgerStore;
use super::policy::runs::Runs;
use super::provider::Said;
use super::references::References;
use super::registry::{ProviderId, Registry};
use super::streams::Stores;
use super::wake::{Dependant, Wake};
use crate::api::identity_provider::{IdentityProviderSpec, allows};
use crate::api::password_reset_policy::Target;
use crate::api::{ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use crate::provider::http::Network;
use crate::settings::Settings;
use crate::telemetry::metrics::Metrics;

/// UID and generation of an object: what changes when it is edited, or deleted and created anew.
pub type Version = (Option<String>, Option<i64>);

/// A provider object as the API server has it.
#[derive(Clone, Debug)]
pub struct ProviderView {
    /// Which.
    pub id: ProviderId,
    /// Its version.
    pub version: Version,
    /// Its spec.
    pub spec: IdentityProviderSpec,
    /// For the cluster kind, the namespaces that may use it.
    pub allowed_namespaces: Option<Vec<String>>,
}

impl ProviderView {
    /// Whether policies of `namespace` may use it.
    pub fn allows(&self, namespace: &str) -> bool {
        self.allowed_namespaces.as_ref().is_none_or(|allowed| allows(allowed, namespace))
    }
}

/// Shared by all controllers of the process.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Command line and environment.
    pub settings: Settings,
    /// Publishes events; one for the process, since it merges repeats.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Policies, as the API server has them.
    pub policies: Stores<PasswordResetPolicy>,
    /// IdentityProviders.
    pub providers: Stores<IdentityProvider>,
    /// ClusterIdentityProviders; `None` where the operator may not list them and the kind is off.
    pub cluster_providers: Option<Stores<ClusterIdentityProvider>>,
    /// Secrets and ConfigMaps that objects refer to.
    pub references: References,
    /// The way to identity providers.
    pub network: Network,
    /// Connected tenants.
    pub registry: Registry,
    /// What was written last of each provider.
    pub said: Said,
    /// Where ledgers are kept.
    pub ledgers: LedgerStore,
    /// What policies remember between two reconciles.
    pub runs: Runs,
    /// Has other objects looked at.
    pub wake: Wake,
    /// Whether this process may act; asked right before each write.
    pub leadership: Leadership,
    /// Cancelled when the process stops: no further write is sent.
    pub stopping: CancellationToken,
    /// `namespace:name` of the operator's ServiceAccount, for the lines that grant it something.
    pub service_account: String,
}

impl Context {
    /// Every provider object that the API server has.
    pub fn provider_objects(&self) -> Vec<ProviderView> {
        let namespaced = self.providers.all().filter_map(|object| {
            let p = object.0.as_ref().ok()?;
            Some(ProviderView {
                id: ProviderId::Namespaced(p.namespace().unwrap_or_default(), p.name_any()),
                version: (p.uid(), p.metadata.generation),
                spec: p.spec.clone(),
                allowed_namespaces: None,
            })
        });
        let cluster = self.cluster_providers.iter().flat_map(Stores::all).filter_map(|object| {
            let p = object.0.as_ref().ok()?;
            Some(ProviderView {
                id: ProviderId::Cluster(p.name_any()),
                version: (p.uid(), p.metadata.generation),
                spec: p.spec.provider.clone(),
                allowed_namespaces: Some(p.spec.allowed_namespaces.clone()),
            })
        });
        namespaced.chain(cluster).collect()
    }

    /// Waits until every provider object is known: one that is not might look deleted, and its protected users would not
    /// count.
    pub async fn providers_known(&self) {
        self.providers.ready().await;
        if let Some(cluster) = &self.cluster_providers {
            cluster.ready().await;
        }
    }

    /// UID and generation of a provider object now; `None` where it is gone or does not decode.
    pub fn provider_version(&self, id: &ProviderId) -> Option<Version> {
        match id {
            ProviderId::Namespaced(namespace, name) => {
                let object = self.providers.get(Some(namespace), name)?;
                object.0.as_ref().ok().map(|p| (p.metadata.uid.clone(), p.metadata.generation))
            }
            ProviderId::Cluster(name) => {
                let object = self.cluster_providers.as_ref()?.get(None, name)?;
                object.0.as_ref().ok().map(|p| (p.metadata.uid.clone(), p.metadata.generation))
            }
        }
    }

    /// Whether there is an object of this name, readable or not.
    pub fn provider_exists(&self, id: &ProviderId) -> bool {
        match id {
            ProviderId::Namespaced(namespace, name) => self.providers.get(Some(namespace), name).is_some(),
            ProviderId::Cluster(name) => self.cluster_providers.as_ref().is_some_and(|s| s.get(None, name).is_some()),
        }
    }

    /// Has every policy looked at whose provider names the same tenant as provider `id`.
    pub fn wake_policies_of(&self, id: &ProviderId) {
        let same = self.registry.same_tenant(id);
        for object in self.policies.all() {
            let Ok(policy) = &object.0 else { continue };
            let namespace = policy.namespace().unwrap_or_default();
            let named = |t: &Target| same.contains(&ProviderId::of(&t.provider_ref, &namespace));
            if policy.spec.targets.iter().any(named) {
                self.wake.wake(&Dependant::Policy(namespace, policy.name_any()));
            }
        }
    }

    /// Forgets what is remembered of objects that are gone. What a policy has open is closed in its ledger first.
    pub async fn forget_deleted(&self) {
        let policy_exists = |namespace: &str, name: &str| self.policies.get(Some(namespace), name).is_some();
        self.runs.retain(policy_exists).await;
        self.registry.retain(|id| self.provider_exists(id));
        self.said.retain(|id| self.provider_exists(id));
        self.references.retain_dependants(|dependant| match dependant {
            Dependant::Policy(namespace, name) => policy_exists(namespace, name),
            Dependant::Provider(namespace, name) => self.providers.get(Some(namespace), name).is_some(),
            Dependant::ClusterProvider(name) => self.provider_exists(&ProviderId::Cluster(name.clone())),
        });
    }

    /// Has the controller of provider `id` look at it.
    pub fn wake_provider(&self, id: &ProviderId) {
        self.wake.wake(&match id.clone() {
            ProviderId::Namespaced(namespace, name) => Dependant::Provider(namespace, name),
            ProviderId::Cluster(name) => Dependant::ClusterProvider(name),
        });
    }
}
