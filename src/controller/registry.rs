//! Which tenants are connected, how do they stand, and whom do their objects protect?
//!
//! Provider controllers write into it, policies read from it. An object is identified by its name; a tenant by what
//! its provider calls it, so that two objects of one tenant share what [`SharedTenant`] holds and the union of their
//! protected users.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::api::identity_provider::{IdentityProviderSpec, ProviderType, RateLimit};
use crate::api::password_reset_policy::{ProviderKind, ProviderRef};
use crate::api::references::UserRef;
use crate::controller::context::ProviderView;
use crate::controller::locked;
use crate::controller::tenant::SharedTenant;
use crate::plan::failure::{Health, ProviderFault};
use crate::plan::observed::Tenant;
use crate::provider::Provider;
use crate::provider::http::Limiter;

/// A provider object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderId {
    /// An IdentityProvider: namespace and name.
    Namespaced(String, String),
    /// A ClusterIdentityProvider: name.
    Cluster(String),
}

impl ProviderId {
    /// The object that a reference in a policy of `namespace` names.
    pub fn of(reference: &ProviderRef, namespace: &str) -> Self {
        match reference.kind {
            ProviderKind::IdentityProvider => Self::Namespaced(namespace.to_owned(), reference.name.clone()),
            ProviderKind::ClusterIdentityProvider => Self::Cluster(reference.name.clone()),
        }
    }
}

/// A working connection to a tenant.
#[derive(Clone)]
pub struct Connection {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// What it shares with other objects of the same tenant.
    pub tenant: Arc<SharedTenant>,
}

/// One provider object as the last reconcile left it.
#[derive(Clone)]
pub struct Entry {
    /// Its UID: nothing that is known of it holds for another one of its name.
    pub uid: String,
    /// Its spec.
    pub spec: IdentityProviderSpec,
    /// For the cluster kind, the namespaces that may use it.
    pub allowed_namespaces: Option<Vec<String>>,
    /// The tenant it names, as soon as its spec says so.
    pub tenant_id: Option<String>,
    /// The connection, once its Secret could be used.
    pub connection: Option<Connection>,
    /// How it stands.
    pub health: Health,
    /// What the last verification found, and when.
    pub verified: Option<(Tenant, Instant)>,
    /// Whether it was verified once, in this process or (by its status) in an earlier one: its protected users count
    /// from then on until it is deleted.
    pub verified_once: bool,
    /// Whether a verification has had an outcome, good or bad.
    pub has_outcome: bool,
    /// Changes when the connection has to be made anew.
    pub fingerprint: u64,
    /// The probes of a provider that is not Ready.
    pub probes: Probes,
}

/// Probes since the last good answer.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// How many have failed in a row.
    pub failed: u32,
    /// When the next one is due.
    pub next: Option<Instant>,
    /// Whether it is due then because the tenant answers nobody: as soon as it answers anybody, it is due at once.
    pub absent: bool,
}

impl Entry {
    /// Whether `connection` is the one in use.
    fn is_over(&self, connection: &Connection) -> bool {
        self.connection.as_ref().is_some_and(|current| Arc::ptr_eq(&current.provider, &connection.provider))
    }

    /// The provider's type, where the spec names one that is known.
    pub fn provider_type(&self) -> Option<ProviderType> {
        self.spec.block.provider_type()
    }
}

/// What protects on a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// An object that names the tenant has not had its first outcome: nothing may be written yet.
    NotKnownYet,
    /// The protected users of every object that counts, with the object's name.
    Known(Vec<(String, Vec<UserRef>)>),
}

struct Inner {
    started: Instant,
    settle: Duration,
    objects: BTreeMap<ProviderId, Entry>,
    tenants: HashMap<String, Arc<SharedTenant>>,
}

/// All provider objects and tenants of this process.
pub struct Registry(Mutex<Inner>);

impl Registry {
    /// Nothing is known yet. `started` is when the process began, `settle` how long a write may take to show.
    pub fn new(started: Instant, settle: Duration) -> Self {
        Self(Mutex::new(Inner { started, settle, objects: BTreeMap::new(), tenants: HashMap::new() }))
    }

    /// Another process may have pressed the tenants until now.
    pub fn takes_over(&self, now: Instant) {
        locked(&self.0).started = now;
    }

    /// Since when this process acts, by a clock that shows `now`.
    pub fn acts_since(&self, now: Timestamp) -> Timestamp {
        let acts_for = SignedDuration::try_from(locked(&self.0).started.elapsed()).unwrap_or(SignedDuration::ZERO);
        now.checked_sub(acts_for).unwrap_or(now)
    }

    /// What is known of an object.
    pub fn get(&self, id: &ProviderId) -> Option<Entry> {
        locked(&self.0).objects.get(id).cloned()
    }

    /// Puts an object as a reconcile found it, and adjusts the limits of its tenant. Returns what it replaces, which may
    /// be newer than what that reconcile began with: passes report here meanwhile.
    pub fn put(&self, id: ProviderId, entry: Entry) -> Option<Entry> {
        let mut inner = locked(&self.0);
        let tenant = entry.tenant_id.clone();
        // It may have been forgotten while this object was looked at, and there must never be two.
        if let Some(Connection { tenant: shared, .. }) = &entry.connection {
            inner.tenants.entry(shared.id.clone()).or_insert_with(|| shared.clone());
        }
        let counts = |entry: &Entry| entry.verified_once.then(|| (entry.uid.clone(), entry.tenant_id.clone()));
        let now = counts(&entry);
        let before = inner.objects.insert(id, entry);
        if now != before.as_ref().and_then(counts)
            && let Some((_, Some(tenant))) = &now
            && let Some(shared) = inner.tenants.get(tenant)
        {
            shared.joined();
        }
        for tenant in [before.as_ref().and_then(|e| e.tenant_id.clone()), tenant].into_iter().flatten() {
            inner.adjust(&tenant);
        }
        before
    }

    /// Forgets objects that `exists` does not know any more. Their protected users no longer count.
    pub fn retain(&self, exists: impl Fn(&ProviderId) -> bool) {
        let mut inner = locked(&self.0);
        let (kept, gone) = std::mem::take(&mut inner.objects).into_iter().partition(|(id, _)| exists(id));
        inner.objects = kept;
        let gone: BTreeMap<ProviderId, Entry> = gone;
        for tenant in gone.into_values().filter_map(|entry| entry.tenant_id) {
            inner.adjust(&tenant);
        }
    }

    /// What the objects of tenant `id` share; made when first asked for.
    pub fn tenant(&self, id: &str, spec: &IdentityProviderSpec) -> Arc<SharedTenant> {
        let mut inner = locked(&self.0);
        let (started, settle) = (inner.started, inner.settle);
        let tenant = inner.tenants.entry(id.to_owned()).or_insert_with(|| {
            let limiter = Limiter::starting((&spec.rate_limit).into(), id, started);
            Arc::new(SharedTenant::new(id, limiter, settle))
        });
        tenant.clone()
    }

    /// Records that a pass over `connection` has had good answers. Returns whether that is news. A connection that has been
    /// replaced or taken away says nothing any more.
    pub fn answered(&self, id: &ProviderId, connection: &Connection) -> bool {
        let mut inner = locked(&self.0);
        let Some(entry) = inner.objects.get_mut(id).filter(|entry| entry.is_over(connection)) else { return false };
        let news = entry.health != Health::Ready;
        entry.health = Health::Ready;
        entry.probes = Probes::default();
        news
    }

    /// Records a fault seen in a pass over `connection`. `since` stays that of the first failure. Returns whether the
    /// fault is new. A connection that has been replaced says nothing any more: its credential may be the old one.
    pub fn fault(
        &self,
        id: &ProviderId,
        connection: &Connection,
        fault: ProviderFault,
        message: String,
        now: Timestamp,
    ) -> bool {
        let mut inner = locked(&self.0);
        let Some(entry) = inner.objects.get_mut(id).filter(|entry| entry.is_over(connection)) else { return false };
        let (since, new) = match &entry.health {
            Health::NotReady { since, fault: old, .. } => (*since, *old != fault),
            _ => (now, true),
        };
        entry.health = Health::NotReady { fault, message, since };
        new
    }

    /// Records the outcome of a verification that a pass has made over `connection`, never the first one of an object. A
    /// connection that has been replaced says nothing any more: the object may name another tenant now.
    pub fn verified(&self, id: &ProviderId, connection: &Connection, tenant: Tenant) {
        let mut inner = locked(&self.0);
        let Some(entry) = inner.objects.get_mut(id).filter(|entry| entry.is_over(connection)) else { return };
        entry.verified = Some((tenant.knowing(entry.verified.as_ref().map(|(before, _)| before)), Instant::now()));
    }

    /// The objects that name the same tenant as `id`, itself among them.
    pub fn same_tenant(&self, id: &ProviderId) -> Vec<ProviderId> {
        let inner = locked(&self.0);
        let tenant = inner.objects.get(id).and_then(|entry| entry.tenant_id.as_deref());
        let named = inner.objects.iter().filter(|(_, e)| tenant.is_some() && e.tenant_id.as_deref() == tenant);
        named.map(|(other, _)| other.clone()).filter(|other| other != id).chain([id.clone()]).collect()
    }

    /// The objects that name this tenant, as their last reconcile saw them.
    pub fn naming(&self, tenant: &str) -> Vec<ProviderId> {
        let inner = locked(&self.0);
        inner.objects.iter().filter(|(_, e)| e.tenant_id.as_deref() == Some(tenant)).map(|(id, _)| id.clone()).collect()
    }

    /// Whether an object was verified once, so that what it says counts for its tenant.
    pub fn counts(&self, id: &ProviderId) -> bool {
        locked(&self.0).objects.get(id).is_some_and(|entry| entry.verified_once)
    }

    /// What protects on a tenant: the union over `named`, every object that names the tenant as the API server has it
    /// now, as far as it was verified once. An object that was never verified does not count, else anybody could
    /// protect accounts of a tenant by naming it.
    pub fn protection(&self, named: &[&ProviderView]) -> Protection {
        let inner = locked(&self.0);
        let mut users = Vec::new();
        for ProviderView { id, spec, .. } in named {
            let Some(entry) = inner.objects.get(id).filter(|e| e.has_outcome || e.verified_once) else {
                return Protection::NotKnownYet;
            };
            if entry.verified_once {
                let object = match id {
                    ProviderId::Namespaced(namespace, name) => format!("IdentityProvider/{namespace}/{name}"),
                    ProviderId::Cluster(name) => format!("ClusterIdentityProvider/{name}"),
                };
                users.push((object, spec.protected_users.clone()));
            }
        }
        Protection::Known(users)
    }
}

impl Inner {
    /// The lowest limits of all objects of a tenant hold; a tenant that nobody names is forgotten. As soon as one was
    /// verified, only those that were count, else anybody could slow a tenant down by naming it.
    fn adjust(&mut self, tenant: &str) {
        let named = || self.objects.values().filter(|e| e.tenant_id.as_deref() == Some(tenant));
        let anybody_counts = !named().any(|e| e.verified_once);
        let limits = named().filter(|e| anybody_counts || e.verified_once).map(|e| &e.spec.rate_limit);
        let lowest = limits.cloned().reduce(|a, b| RateLimit {
            requests_per_second: a.requests_per_second.min(b.requests_per_second),
            burst: a.burst.min(b.burst),
            max_concurrent_requests: a.max_concurrent_requests.min(b.max_concurrent_requests),
        });
        match (lowest, self.tenants.get(tenant)) {
            (Some(limits), Some(shared)) => shared.limiter.set_limits((&limits).into()),
            (None, Some(_)) => {
                self.tenants.remove(tenant);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(registry: &Registry, name: &str, limits: [i32; 3], verified_once: bool) {
        let [rate, burst, concurrent] = limits;
        let spec: IdentityProviderSpec = serde_json::from_value(serde_json::json!({
            "monoCloud": {"baseURL": "https://acme.example", "credentialsSecretRef": {"name": "key"}},
            "rateLimit": {"requestsPerSecond": rate, "burst": burst, "maxConcurrentRequests": concurrent},
        }))
        .unwrap();
        registry.tenant("acme", &spec);
        let entry = Entry {
            uid: String::new(),
            spec,
            allowed_namespaces: None,
            tenant_id: Some("acme".into()),
            connection: None,
            health: Health::Unverified,
            verified: None,
            verified_once,
            has_outcome: verified_once,
            fingerprint: 0,
            probes: Probes::default(),
        };
        registry.put(ProviderId::Namespaced("team".into(), name.into()), entry);
    }

    #[test]
    fn who_begins_to_count_for_a_tenant_is_noticed_by_whoever_has_read_its_members() {
        let registry = Registry::new(Instant::now(), Duration::from_secs(30));
        object(&registry, "first", [50, 20, 8], true);
        let members = locked(&registry.0).tenants["acme"].members();
        object(&registry, "first", [40, 20, 8], true);
        object(&registry, "stranger", [50, 20, 8], false);
        assert!(members.are_current(), "an edit and a stranger change nothing of who counts");
        object(&registry, "stranger", [50, 20, 8], true);
        assert!(!members.are_current(), "whom it protects, nobody knew");
    }

    #[test]
    fn the_lowest_limits_of_the_objects_that_were_verified_hold() {
        let registry = Registry::new(Instant::now(), Duration::from_secs(30));
        let limits = || {
            let limits = locked(&registry.0).tenants["acme"].limiter.limits();
            (limits.requests_per_second, limits.burst, limits.max_concurrent_requests)
        };
        object(&registry, "first", [50, 20, 8], false);
        assert_eq!(limits(), (50.0, 20, 8), "its own, while it is looked at for the first time");
        object(&registry, "first", [50, 20, 8], true);
        object(&registry, "stranger", [1, 1, 1], false);
        assert_eq!(limits(), (50.0, 20, 8), "naming a tenant is no reason to slow it down");
        object(&registry, "second", [80, 10, 9], true);
        assert_eq!(limits(), (50.0, 10, 8), "each of the limits is the lowest");
    }
}
