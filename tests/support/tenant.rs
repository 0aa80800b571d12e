//! One tenant of any of the four providers, with its truth at hand, so that one test says the same of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::{Value, json};
use simulators::{
    Class, Group, Handle, Looker, MonoCloud, Options, PingOne, Population, Share, User, looker, monocloud, pingone,
};
use testbed::keycloak::options::Beginning;
use testbed::keycloak::realm::{Realm, RealmOptions, UPDATE_PASSWORD};

use crate::bed::Bed;

/// Which provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    MonoCloud,
    Looker,
    PingOne,
    Keycloak,
}

/// A running tenant, and the cutoff that parts its people into those who are due and those who are not.
pub struct Tenant {
    pub vendor: Vendor,
    pub side: Side,
    /// In the form of `passwordChangedAfter`.
    pub cutoff: Timestamp,
}

/// Where the truth is.
pub enum Side {
    Simulator(Box<Handle>),
    Keycloak(Arc<Realm>),
}

impl Tenant {
    /// Starts a tenant of `users` people: some marked already, some who changed lately, some disabled, some without a
    /// password (a twentieth of each), and the rest due.
    pub async fn mixed(vendor: Vendor, users: u32) -> Self {
        let some = Share::Count((users / 20).max(1));
        let classes = [Class::AlreadyMarked, Class::RecentlyChanged, Class::Disabled, Class::NoPassword];
        let population = Population::with(users, &classes.map(|class| (class, some)));
        match vendor {
            Vendor::Keycloak => Self::realm(users as usize).await,
            _ => Self::simulated(vendor, Options::new(population)).await,
        }
    }

    /// Starts a simulator.
    pub async fn simulated(vendor: Vendor, options: Options) -> Self {
        let handle = match vendor {
            Vendor::MonoCloud => MonoCloud::start(options).await,
            Vendor::Looker => Looker::start(options).await,
            Vendor::PingOne => PingOne::start(options).await,
            Vendor::Keycloak => panic!("Keycloak is real"),
        };
        Self { vendor, side: Side::Simulator(Box::new(handle.expect("a simulator"))), cutoff: hours_ago(2) }
    }

    /// Everybody is due but for the usual exceptions. Keycloak dates a password by its creation, so the cutoff lies
    /// after that, and those who have changed do so after the cutoff.
    async fn realm(users: usize) -> Self {
        let some = (users / 20).max(1);
        let named = |what: &str, n: usize| format!("{what}-{n:03}");
        let mut options = RealmOptions::default().users(users - 4 * some);
        for n in 0..some {
            options = options
                .user(&named("marked", n), Beginning::Marked)
                .user(&named("recent", n), Beginning::Enabled)
                .user(&named("disabled", n), Beginning::Disabled)
                .user(&named("passwordless", n), Beginning::WithoutPassword);
        }
        let tenant = Self::keycloak(options).await;
        let Side::Keycloak(realm) = &tenant.side else { unreachable!("it is a realm") };
        for n in 0..some {
            realm.admin_resets_password(&named("recent", n)).await.expect("a new password");
        }
        tenant
    }

    /// A realm whose people are all due at first. Returns when the cutoff has come.
    pub async fn keycloak(options: RealmOptions) -> Self {
        let keycloak = testbed::keycloak::shared().await.expect("Keycloak");
        let name = format!("r{:x}", Timestamp::now().as_nanosecond());
        Self::in_realm(Arc::new(keycloak.create_realm(&name, options).await.expect("a realm"))).await
    }

    /// A realm in which nothing is required of anybody yet: all who have a password are due. Returns when the cutoff has
    /// come.
    pub async fn in_realm(realm: Arc<Realm>) -> Self {
        let cutoff = whole(Timestamp::now() + SignedDuration::from_millis(999));
        let rest = cutoff.duration_since(Timestamp::now()).max(SignedDuration::ZERO).unsigned_abs();
        tokio::time::sleep(rest).await;
        Self { vendor: Vendor::Keycloak, side: Side::Keycloak(realm), cutoff }
    }

    /// The simulator behind it.
    pub fn simulator(&self) -> &Handle {
        match &self.side {
            Side::Simulator(handle) => handle,
            Side::Keycloak(_) => panic!("Keycloak is real"),
        }
    }

    /// The realm behind it.
    pub fn realm_of(&self) -> &Realm {
        match &self.side {
            Side::Keycloak(realm) => realm,
            Side::Simulator(_) => panic!("it is simulated"),
        }
    }

    /// Creates the provider object with its Secret.
    pub async fn connect(&self, bed: &Bed, name: &str, extra: Value) {
        match (&self.side, self.vendor) {
            (Side::Keycloak(realm), _) => keycloak(bed, name, realm, realm.server(), extra).await,
            (Side::Simulator(handle), Vendor::MonoCloud) => bed.monocloud(name, handle, extra).await,
            (Side::Simulator(handle), Vendor::Looker) => bed.looker(name, handle, extra).await,
            (Side::Simulator(handle), _) => bed.pingone(name, handle, extra).await,
        }
    }

    /// A policy over the whole tenant. `extra` is merged into the spec.
    pub fn policy(&self, provider: &str, extra: Value) -> Value {
        let mut spec = json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": self.cutoff.to_string()},
            "targets": [{"name": "all", "providerRef": {"name": provider}, "scope": "Tenant"}]});
        crate::bed::merge(&mut spec, extra);
        spec
    }

    /// How often each account was written to, by id (Keycloak: by name), from the provider's own ledger.
    pub async fn written(&self) -> BTreeMap<String, u64> {
        match &self.side {
            Side::Simulator(handle) => {
                let mut counts = BTreeMap::new();
                for record in handle.ledger().into_iter().filter(|record| record.by_api() && is_write(record.call)) {
                    *counts.entry(record.user.unwrap_or_default()).or_default() += 1;
                }
                counts
            }
            Side::Keycloak(realm) => {
                let updates = realm.updates_by_operator().await.expect("the realm's events");
                updates.into_iter().map(|(name, times)| (name, times as u64)).collect()
            }
        }
    }

    /// Who is due by the truth of the provider, before anything was done.
    pub async fn due(&self) -> BTreeSet<String> {
        match &self.side {
            Side::Simulator(handle) => {
                let due = |user: &User| {
                    let changed = if self.vendor == Vendor::Looker { Some(user.created_at) } else { user.changed_at };
                    let able = user.has_password && !user.disabled && user.class != Class::Federated;
                    able && !user.marked && changed.is_some_and(|at| at < self.cutoff)
                };
                handle.users().iter().filter(|user| due(user)).map(|user| user.id.clone()).collect()
            }
            Side::Keycloak(realm) => {
                let mut due = BTreeSet::new();
                for user in realm.users().await.expect("the realm's users") {
                    let marked = user.required_actions.iter().any(|action| action == UPDATE_PASSWORD);
                    let ours = user.username.starts_with("user-");
                    if user.enabled && !marked && ours {
                        due.insert(user.username);
                    }
                }
                due
            }
        }
    }

    /// Lets these people change their passwords, by id (Keycloak: by name).
    pub async fn comply<'a>(&self, people: impl IntoIterator<Item = &'a String>) {
        for person in people {
            match &self.side {
                Side::Simulator(handle) => handle.complies(person).expect("the person can comply"),
                Side::Keycloak(realm) => realm.user_changes_password(person).await.expect("the person signs in"),
            }
        }
    }
}

/// Whether a call requires changes of password.
pub fn is_write(call: &str) -> bool {
    [monocloud::FORCE_RESET, looker::PATCH_CREDENTIAL, looker::FORCE_ALL, pingone::FORCE_CHANGE].contains(&call)
}

/// Creates a Keycloak provider that is reached at `server`.
pub async fn keycloak(bed: &Bed, name: &str, realm: &Realm, server: &str, extra: Value) {
    let block = json!({"keycloak": {"baseURL": server, "realm": realm.name(), "credentialsSecretRef": {"name": name}}});
    let secret =
        json!({"clientID": testbed::keycloak::options::OPERATOR_CLIENT, "clientSecret": realm.client_secret()});
    bed.provider(name, &[server], secret, block, extra).await;
}

/// A whole second some hours ago.
pub fn hours_ago(hours: i64) -> Timestamp {
    whole(Timestamp::now() - SignedDuration::from_hours(hours))
}

/// The groups that a test names, with members at every `every`-th place from `offset` on.
pub fn groups(groups: &[(&str, u32, u32)]) -> Vec<Group> {
    groups.iter().map(|(name, every, offset)| Group::new(name, *every, *offset)).collect()
}

fn whole(at: Timestamp) -> Timestamp {
    at.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor)).expect("a whole second")
}
