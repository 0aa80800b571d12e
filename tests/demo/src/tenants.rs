//! Who are the people, and what is true about them?
//!
//! Four tenants behind one face: three simulators and a real Keycloak. Whatever the operator says is compared with what
//! is asked here: the providers' own ledgers and user tables, and the login form.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use simulators::{
    Class, Effect, Handle, Kind, Looker, MonoCloud, Options, PingOne, Population, Share, User, looker, monocloud,
    pingone,
};
use testbed::keycloak::Keycloak;
use testbed::keycloak::person::SignIn;
use testbed::keycloak::realm::{Beginning, Realm, RealmOptions};

/// Users of each simulated tenant.
pub const SIMULATED_USERS: u32 = 300;
/// Users of the Keycloak realm.
pub const KEYCLOAK_USERS: usize = 200;
/// The realm's name, as in the example.
const REALM: &str = "staff";
/// What nobody can require of these accounts, and how many there are; every other awkward state makes up 2 %.
const CANNOT_BE_REQUIRED: [(Class, u32); 3] = [(Class::Forbidden, 2), (Class::WithoutEffect, 2), (Class::Refused, 3)];
/// People who sign in at the same time.
const AT_ONCE: usize = 4;

/// One tenant.
pub struct Tenant {
    /// The name of its IdentityProvider, its Secret and its target in `examples/`.
    pub name: &'static str,
    /// What speaks for it.
    pub service: Service,
}

/// What speaks for a tenant.
pub enum Service {
    /// A simulator, by the vendor that it plays.
    Simulated(Kind, Handle),
    /// A realm of a Keycloak, which it keeps running.
    Keycloak(Realm, Keycloak),
}

/// What the provider's ledger says about the operator's writes.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// By account: how often a change was really required.
    pub required: BTreeMap<String, usize>,
    /// Accounts on which a write was tried without effect. Keycloak's events do not tell of those.
    pub in_vain: BTreeSet<String>,
}

/// The accounts of a tenant at the beginning, by what should become of them.
#[derive(Clone, Debug, Default)]
pub struct Beginnings {
    /// Accounts that are due and that no write can mark.
    pub cannot_be_required: BTreeSet<String>,
    /// Accounts that nobody may ask: disabled, locked, or without a password here.
    pub untouchable: BTreeSet<String>,
}

impl Tenant {
    /// The three simulators.
    pub async fn simulated() -> Result<Vec<Self>> {
        let start = "a simulator did not start";
        let pingone = PingOne::start(options(Kind::PingOne)).await.context(start)?;
        let looker = Looker::start(options(Kind::Looker)).await.context(start)?;
        let monocloud = MonoCloud::start(options(Kind::MonoCloud)).await.context(start)?;
        Ok(vec![
            Self { name: "pingone-demo", service: Service::Simulated(Kind::PingOne, pingone) },
            Self { name: "looker-demo", service: Service::Simulated(Kind::Looker, looker) },
            Self { name: "monocloud-demo", service: Service::Simulated(Kind::MonoCloud, monocloud) },
        ])
    }

    /// A realm on this Keycloak, with users in every awkward state.
    pub async fn keycloak(keycloak: Keycloak) -> Result<Self> {
        let awkward: Vec<(String, Beginning)> = [
            (Beginning::Disabled, "disabled"),
            (Beginning::Marked, "marked"),
            (Beginning::MustConfigureTotp, "totp"),
            (Beginning::WithoutPassword, "brokered"),
            (Beginning::ProfileInvalid, "incomplete"),
        ]
        .into_iter()
        .flat_map(|(beginning, name)| (1..=2).map(move |n| (format!("{name}-{n}"), beginning)))
        .collect();
        let options = RealmOptions::default().users(KEYCLOAK_USERS - awkward.len());
        let options = awkward.iter().fold(options, |options, (name, beginning)| options.user(name, *beginning));
        let realm = keycloak.create_realm(REALM, options).await?;
        Ok(Self { name: "keycloak-demo", service: Service::Keycloak(realm, keycloak) })
    }

    /// The accounts by what should become of them.
    pub async fn beginnings(&self) -> Result<Beginnings> {
        let mut found = Beginnings::default();
        match &self.service {
            Service::Simulated(_, handle) => {
                for user in handle.users() {
                    if CANNOT_BE_REQUIRED.iter().any(|(class, _)| *class == user.class) {
                        found.cannot_be_required.insert(user.id);
                    } else if user.disabled || user.locked_out || !user.has_password {
                        found.untouchable.insert(user.id);
                    }
                }
            }
            Service::Keycloak(realm, _) => {
                for user in realm.users().await? {
                    if user.username.starts_with("incomplete-") {
                        found.cannot_be_required.insert(user.id);
                    } else if !user.enabled || user.username.starts_with("brokered-") {
                        found.untouchable.insert(user.id);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Accounts whose owner has to choose a new password already: somebody required it, or the old one has expired.
    pub async fn marked(&self) -> Result<BTreeSet<String>> {
        match &self.service {
            Service::Simulated(_, handle) => {
                let bound = |user: &User| user.marked || user.class == Class::Expired;
                Ok(handle.users().into_iter().filter(bound).map(|user| user.id).collect())
            }
            Service::Keycloak(realm, _) => {
                let names: BTreeSet<String> = realm.marked_users().await?.into_iter().collect();
                let users = realm.users().await?.into_iter();
                Ok(users.filter(|user| user.enabled && names.contains(&user.username)).map(|user| user.id).collect())
            }
        }
    }

    /// Some people change their passwords by themselves, unasked; returns their ids. Looker does not show when somebody
    /// changed a password, so there people are hired instead: a credential that new counts as changed.
    pub async fn people_hurry(&self, count: usize) -> Result<BTreeSet<String>> {
        match &self.service {
            Service::Simulated(Kind::Looker, handle) => Ok((0..count).map(|_| handle.hire()).collect()),
            Service::Simulated(_, handle) => {
                let ordinary = handle.users().into_iter().filter(|user| user.class == Class::Ordinary);
                let ids: Vec<String> = ordinary.map(|user| user.id).step_by(7).take(count).collect();
                for id in &ids {
                    handle.complies(id).map_err(|why| anyhow!("{}: {why}", self.name))?;
                }
                Ok(ids.into_iter().collect())
            }
            Service::Keycloak(realm, _) => {
                let users = realm.users().await?.into_iter().filter(|user| user.username.starts_with("user-"));
                change(realm, users.map(|user| user.username).step_by(7).take(count).collect()).await
            }
        }
    }

    /// Some of the people whom the operator has asked change their passwords; returns their ids.
    pub async fn people_comply(&self, count: usize) -> Result<BTreeSet<String>> {
        let asked = self.writes().await?.required;
        match &self.service {
            Service::Simulated(_, handle) => {
                let able = asked.into_keys().filter(|id| handle.complies(id).is_ok());
                Ok(able.take(count).collect())
            }
            Service::Keycloak(realm, _) => {
                let users = realm.users().await?.into_iter();
                let asked = users.filter(|user| asked.contains_key(&user.id) && user.username.starts_with("user-"));
                change(realm, asked.map(|user| user.username).take(count).collect()).await
            }
        }
    }

    /// Everybody whose password is older than `cutoff` tries to sign in with it. Returns how many tried, and the ids of
    /// those who got in.
    pub async fn old_passwords(&self, cutoff: Timestamp) -> Result<(usize, BTreeSet<String>)> {
        match &self.service {
            Service::Simulated(kind, handle) => {
                // PingOne sends who belongs to an external identity provider there, whatever password was kept from before.
                let elsewhere = |user: &User| *kind == Kind::PingOne && user.class == Class::Federated;
                let old =
                    |user: &User| user.has_password && !elsewhere(user) && user.changed_at.is_none_or(|at| at < cutoff);
                let users: Vec<String> = handle.users().into_iter().filter(old).map(|user| user.id).collect();
                let inside = users.iter().filter(|id| handle.signs_in(id).is_ok()).cloned().collect();
                Ok((users.len(), inside))
            }
            Service::Keycloak(realm, _) => {
                let users = realm.users().await?.into_iter().filter(|user| !user.username.starts_with("brokered-"));
                let tries = stream::iter(users.map(|user| async move {
                    if realm.password_created(&user.username).await?.is_some_and(|at| at >= cutoff) {
                        return Ok(None);
                    }
                    let inside = realm.user_signs_in(&user.username).await? == SignIn::Granted;
                    Ok::<_, anyhow::Error>(Some((user.id, inside)))
                }));
                let tried: Vec<Option<(String, bool)>> = tries.buffer_unordered(AT_ONCE).try_collect().await?;
                let tried: Vec<(String, bool)> = tried.into_iter().flatten().collect();
                Ok((tried.len(), tried.into_iter().filter(|(_, inside)| *inside).map(|(id, _)| id).collect()))
            }
        }
    }

    /// What the ledger says about the operator's writes.
    pub async fn writes(&self) -> Result<Writes> {
        let mut writes = Writes::default();
        match &self.service {
            Service::Simulated(_, handle) => {
                for record in handle.ledger().into_iter().filter(|record| record.by_api()) {
                    let Some(user) = record.user.clone() else { continue };
                    if record.requires_change() {
                        *writes.required.entry(user).or_default() += 1;
                    } else if matches!(record.effect, Effect::Nothing | Effect::WithoutEffect) {
                        writes.in_vain.insert(user);
                    }
                }
            }
            Service::Keycloak(realm, _) => {
                let ids: BTreeMap<String, String> =
                    realm.users().await?.into_iter().map(|user| (user.username, user.id)).collect();
                for (name, count) in realm.updates_by_operator().await? {
                    writes.required.insert(ids.get(&name).cloned().unwrap_or(name), count);
                }
            }
        }
        Ok(writes)
    }

    /// Pages of users that were asked for; `None` for Keycloak, which does not count them.
    pub fn listings(&self) -> Option<u64> {
        match &self.service {
            Service::Simulated(Kind::PingOne, handle) => Some(handle.count(pingone::LIST_USERS)),
            Service::Simulated(Kind::Looker, handle) => Some(handle.count(looker::LIST_USERS)),
            Service::Simulated(Kind::MonoCloud, handle) => Some(handle.count(monocloud::LIST_USERS)),
            Service::Keycloak(..) => None,
        }
    }

    /// Words that must never appear in anything that the operator says.
    pub fn secrets(&self) -> Vec<String> {
        match &self.service {
            Service::Simulated(..) => {
                vec![simulators::PERSONAL_CANARY.to_owned(), simulators::SECRET_CANARY.to_owned()]
            }
            Service::Keycloak(realm, _) => vec![realm.client_secret(), "user-0".to_owned(), "@example.org".to_owned()],
        }
    }
}

fn options(kind: Kind) -> Options {
    let share = |class: Class| {
        let few = CANNOT_BE_REQUIRED.iter().find(|(other, _)| *other == class);
        (class, few.map_or(Share::PerMille(20), |(_, count)| Share::Count(*count)))
    };
    let classes: Vec<(Class, Share)> = Class::of(kind).into_iter().skip(1).map(share).collect();
    Options::new(Population::with(SIMULATED_USERS, &classes))
}

/// These people change their passwords in Keycloak's login form.
async fn change(realm: &Realm, names: Vec<String>) -> Result<BTreeSet<String>> {
    let changes = stream::iter(names.into_iter().map(|name| async move {
        realm.user_changes_password(&name).await?;
        Ok(realm.user(&name).await?.id)
    }));
    changes.buffer_unordered(AT_ONCE).try_collect().await
}
