//! Which tenants are connected, how do they stand, and what do all objects that name a tenant share?
//!
//! Provider controllers write into it, policies read from it. An object is identified by its name; a tenant by what
//! its provider calls it, so that two objects of one tenant share one limiter, the union of their protected users and
//! the memory of who was written to a moment ago.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::api::identity_provider::{IdentityProviderSpec, ProviderType, RateLimit};
use crate::api::password_reset_policy::{ProviderKind, ProviderRef};
use crate::api::references::UserRef;
use crate::controller::context::ProviderView;
use crate::plan::failure::{Health, ProviderFault};
use crate::plan::ledger::AccountKey;
use crate::plan::observed::Tenant;
use crate::provider::Provider;
use crate::provider::http::Limiter;

/// How long a written account is remembered: longer than the 30 s for which a row may decide a write.
const WRITTEN_FOR: Duration = Duration::from_secs(60);

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

/// How long a write may take to show in a row; a little less than what the policy that wrote waits for its own.
const SHOWS_AFTER: Duration = Duration::from_secs(28);

/// How long an accepted write speaks against a tenant that refuses them all. Rights may be taken away at any time, and
/// whoever is refused before that shows stays so until the policy is edited.
const ACCEPTED_FOR: Duration = Duration::from_secs(60);

/// What all objects that name one tenant share.
pub struct SharedTenant {
    /// The tenant's identity.
    pub id: String,
    /// The one limiter.
    pub limiter: Arc<Limiter>,
    written: Mutex<Written>,
    accepted_at: Mutex<Option<Instant>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every change under these locks is a single insert, remove or assignment, so a panic leaves no half change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedTenant {
    /// Claims the right to write to `account` by a row that was received at `row`. `false` where that row may not show
    /// an earlier write of any policy yet: it must not decide.
    pub fn claim(&self, account: AccountKey, row: Instant) -> bool {
        let now = Instant::now();
        let mut written = locked(&self.written);
        written.turn(now);
        if written.at(&account).is_some_and(|at| at + SHOWS_AFTER > row) {
            return false;
        }
        written.add(account, now);
        true
    }

    /// A write was accepted now, whoever sent it.
    pub fn accepts(&self) {
        *locked(&self.accepted_at) = Some(Instant::now());
    }

    /// Whether a write was accepted not long ago, so that the tenant does not refuse them all.
    pub fn has_accepted(&self) -> bool {
        locked(&self.accepted_at).is_some_and(|at| at.elapsed() < ACCEPTED_FOR)
    }

    /// Gives back a claim whose write was not sent.
    pub fn release(&self, account: &AccountKey) {
        locked(&self.written).remove(account);
    }
}

/// Who was written to since when, in two generations: forgetting costs nothing per account, and an account takes a few
/// bytes.
struct Written {
    new: Generation,
    old: Generation,
}

struct Generation {
    begun: Instant,
    /// Milliseconds since `begun`.
    accounts: HashMap<AccountKey, u32>,
}

impl Generation {
    fn begin(now: Instant) -> Self {
        Self { begun: now, accounts: HashMap::new() }
    }
}

impl Written {
    fn begin(now: Instant) -> Self {
        Self { new: Generation::begin(now), old: Generation::begin(now) }
    }

    /// Forgets what is older than [`WRITTEN_FOR`], at the latest when it is twice as old.
    fn turn(&mut self, now: Instant) {
        if now.duration_since(self.new.begun) >= WRITTEN_FOR {
            self.old = std::mem::replace(&mut self.new, Generation::begin(now));
        }
    }

    fn at(&self, account: &AccountKey) -> Option<Instant> {
        [&self.new, &self.old].into_iter().find_map(|generation| {
            let at = generation.accounts.get(account)?;
            Some(generation.begun + Duration::from_millis(u64::from(*at)))
        })
    }

    fn add(&mut self, account: AccountKey, now: Instant) {
        let at = now.duration_since(self.new.begun).as_millis();
        self.new.accounts.insert(account, u32::try_from(at).unwrap_or(u32::MAX));
    }

    fn remove(&mut self, account: &AccountKey) {
        if self.new.accounts.remove(account).is_none() {
            self.old.accounts.remove(account);
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
    objects: BTreeMap<ProviderId, Entry>,
    tenants: HashMap<String, Arc<SharedTenant>>,
}

/// All provider objects and tenants of this process.
pub struct Registry(Mutex<Inner>);

impl Registry {
    /// Nothing is known yet. `started` is when the process began.
    pub fn new(started: Instant) -> Self {
        Self(Mutex::new(Inner { started, objects: BTreeMap::new(), tenants: HashMap::new() }))
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
        let before = inner.objects.insert(id, entry);
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
        let started = inner.started;
        let tenant = inner.tenants.entry(id.to_owned()).or_insert_with(|| {
            let limits = &spec.rate_limit;
            Arc::new(SharedTenant {
                id: id.to_owned(),
                limiter: Limiter::starting(limits.into(), id, started),
                written: Mutex::new(Written::begin(Instant::now())),
                accepted_at: Mutex::new(None),
            })
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

    /// Records the outcome of a verification that a pass has made.
    pub fn verified(&self, id: &ProviderId, tenant: Tenant) {
        let mut inner = locked(&self.0);
        let Some(entry) = inner.objects.get_mut(id) else { return };
        entry.verified = Some((tenant, Instant::now()));
        let counts_now = !std::mem::replace(&mut entry.verified_once, true);
        entry.has_outcome = true;
        if let Some(tenant) = entry.tenant_id.clone().filter(|_| counts_now) {
            inner.adjust(&tenant);
        }
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

    fn at(seconds: u64) -> Instant {
        // One start for all, so that differences are exact.
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

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
    fn the_lowest_limits_of_the_objects_that_were_verified_hold() {
        let registry = Registry::new(Instant::now());
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

    #[test]
    fn a_write_is_remembered_for_a_minute_at_least_and_two_at_most() {
        let (alice, bob) = (AccountKey(1), AccountKey(2));
        let mut written = Written::begin(at(0));
        written.add(alice, at(50));
        written.turn(at(70));
        written.add(bob, at(70));
        assert_eq!(written.at(&alice), Some(at(50)), "twenty seconds ago, in the generation before");
        assert_eq!(written.at(&bob), Some(at(70)));
        written.turn(at(131));
        assert_eq!(written.at(&alice), None);
        assert_eq!(written.at(&bob), Some(at(70)));
        written.remove(&bob);
        assert_eq!(written.at(&bob), None, "a claim that was given back");
    }
}
