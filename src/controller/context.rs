//! What every reconcile can reach.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::ObjectRef;

use super::PolicyObject;
use super::ledger_store::LedgerStore;
use super::policy::runs::Runs;
use super::references::References;
use super::registry::{ProviderId, Registry};
use super::streams::Stores;
use super::wake::{Dependant, Wake};
use crate::api::identity_provider::IdentityProviderSpec;
use crate::api::password_reset_policy::Target;
use crate::api::{ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use crate::settings::Settings;
use crate::telemetry::metrics::Metrics;

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
    /// Connected tenants.
    pub registry: Registry,
    /// Where ledgers are kept.
    pub ledgers: LedgerStore,
    /// What policies remember between two reconciles.
    pub runs: Runs,
    /// Has other objects looked at.
    pub wake: Wake,
    /// When the process started.
    pub started: Timestamp,
    /// `namespace:name` of the operator's ServiceAccount, for the lines that grant it something.
    pub service_account: String,
}

impl Context {
    /// Every provider object that the API server has, with its spec.
    pub fn provider_objects(&self) -> Vec<(ProviderId, IdentityProviderSpec)> {
        let namespaced = self.providers.all().into_iter().map(|p| {
            let (namespace, name) = (p.metadata.namespace.unwrap_or_default(), p.metadata.name.unwrap_or_default());
            (ProviderId::Namespaced(namespace, name), p.spec)
        });
        let cluster = self.cluster_providers.iter().flat_map(Stores::all);
        let cluster = cluster.map(|p| (ProviderId::Cluster(p.metadata.name.unwrap_or_default()), p.spec.provider));
        namespaced.chain(cluster).collect()
    }

    /// Has every policy looked at that names provider `id` or another object of `tenant`: what one object says of a tenant
    /// holds for all.
    pub fn wake_policies_of(&self, id: &ProviderId, tenant: Option<&str>) {
        let same = tenant.map(|tenant| self.registry.of_tenant(tenant)).unwrap_or_default();
        for policy in self.policies.all() {
            let namespace = policy.metadata.namespace.clone().unwrap_or_default();
            let named = |target: &Target| {
                let other = ProviderId::of(&target.provider_ref, &namespace);
                other == *id || same.contains(&other)
            };
            if policy.spec.targets.iter().any(named) {
                self.wake.wake(&Dependant::Policy(namespace, policy.metadata.name.clone().unwrap_or_default()));
            }
        }
    }

    /// Forgets provider objects that are not there any more: their watches end, they protect nobody, and whoever names
    /// them is looked at.
    pub fn forget_deleted_providers(&self) {
        for (id, tenant) in self.registry.remove_unless(|id| self.exists(id)) {
            self.references.retain(&id.dependant(), &HashSet::new());
            self.wake_policies_of(&id, tenant.as_deref());
        }
    }

    /// Ends the watches of a deleted policy and forgets its run. Its ledger stays.
    pub fn forget_policy(&self, policy: ObjectRef<PolicyObject>) {
        let dependant = Dependant::Policy(policy.namespace.unwrap_or_default(), policy.name);
        self.references.retain(&dependant, &HashSet::new());
        self.runs.retain(|namespace, name| self.policies.get(Some(namespace), name).is_some());
    }

    fn exists(&self, id: &ProviderId) -> bool {
        match id {
            ProviderId::Namespaced(namespace, name) => self.providers.get(Some(namespace), name).is_some(),
            ProviderId::Cluster(name) => self.cluster_providers.as_ref().is_some_and(|stores| stores.get(None, name).is_some()),
        }
    }

    /// Has the controller of provider `id` look at it.
    pub fn wake_provider(&self, id: &ProviderId) {
        self.wake.wake(&id.dependant());
    }
}
