//! A tenant behind proxies: who is marked, who has changed, what was written, and what people do meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::Value;
use simulators::{Effect, Options, Play};
use testbed::keycloak::options::OPERATOR_CLIENT;
use testbed::keycloak::realm::{Realm, RealmOptions, UPDATE_PASSWORD};
use testbed::proxy::{Call, Proxy, Upstream};

use crate::bed::Bed;
use crate::tenant::{self, Side, Tenant, Vendor};

/// Three pages of five.
pub const USERS: usize = 15;
pub const PAGE: usize = 5;

/// How an account really stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    pub marked: bool,
    /// The password was changed at or after the cutoff.
    pub changed: bool,
}

/// What somebody did to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its owner changed the password.
    Complies,
    /// Its owner signed in and kept the password, or tried to.
    SignsIn,
    /// An administrator took the mark away.
    Clears,
}

/// An act, to whom, and when.
#[derive(Clone, Debug)]
pub struct Acted {
    pub account: String,
    pub act: Act,
    pub at: Timestamp,
    /// The same among the moments of the proxies' records.
    pub moment: u64,
}

/// A write that took effect at the provider. At PingOne each has its side effects, so that no write may be repeated
/// for their sake either.
#[derive(Clone, Debug)]
pub struct Write {
    pub account: String,
    /// The account's password had been changed since the cutoff.
    pub after_change: bool,
    /// The account was marked already.
    pub again: bool,
}

/// Realms that no campaign uses, by the number of their people.
static REALMS: Mutex<Vec<(usize, Arc<Realm>)>> = Mutex::new(Vec::new());

fn take_realm(users: usize) -> Option<Arc<Realm>> {
    let mut realms = REALMS.lock().expect("no panic while locked");
    let at = realms.iter().position(|(size, _)| *size == users)?;
    Some(realms.swap_remove(at).1)
}

/// A tenant with its proxies.
pub struct Site {
    pub tenant: Tenant,
    /// Who is due at the beginning, by id (Keycloak: by name).
    pub due: BTreeSet<String>,
    /// Two of them, whom an administrator marked before there was an operator: at any time a mark can be taken away, and
    /// somebody can comply.
    marked_before: BTreeSet<String>,
    proxies: Vec<(&'static str, Proxy)>,
    /// Provider ids of accounts, for their names.
    ids: BTreeMap<String, String>,
    acts: Mutex<Vec<Acted>>,
}

impl Site {
    /// A tenant of so many people who are all due; two of them are marked already.
    pub async fn open(vendor: Vendor, users: usize) -> Self {
        let tenant = match vendor {
            Vendor::Keycloak => match take_realm(users) {
                Some(realm) => Tenant::in_realm(realm).await,
                None => Tenant::keycloak(RealmOptions::default().users(users)).await,
            },
            _ => Tenant::simulated(vendor, Options::ordinary(users as u32)).await,
        };
        let mut upstreams = Vec::new();
        let mut ids = BTreeMap::new();
        match &tenant.side {
            Side::Simulator(handle) => {
                upstreams.push(("api", handle.base_url()));
                if vendor == Vendor::PingOne {
                    upstreams.push(("auth", handle.auth_url()));
                }
                ids.extend(handle.users().into_iter().map(|user| (user.id.clone(), user.id)));
            }
            Side::Keycloak(realm) => {
                upstreams.push(("api", realm.server().to_owned()));
                let users = realm.users().await.expect("the realm's users");
                ids.extend(users.into_iter().map(|user| (user.username, user.id)));
            }
        }
        let mut proxies = Vec::new();
        for (name, url) in upstreams {
            proxies.push((name, Proxy::start(Upstream::plain(&url)).await.expect("a proxy")));
        }
        let due = tenant.due().await;
        assert_eq!(due.len(), users, "everybody is due");
        let marked_before: BTreeSet<String> = due.iter().take(2).cloned().collect();
        for account in &marked_before {
            match &tenant.side {
                Side::Simulator(handle) => handle.play(account, Play::Marks).expect("it is possible"),
                Side::Keycloak(realm) => realm.admin_marks(account).await.expect("an administrator may"),
            }
        }
        Self { tenant, due, marked_before, proxies, ids, acts: Mutex::default() }
    }

    pub fn vendor(&self) -> Vendor {
        self.tenant.vendor
    }

    pub fn proxies(&self) -> &[(&'static str, Proxy)] {
        &self.proxies
    }

    pub fn proxy(&self, name: &str) -> &Proxy {
        &self.proxies.iter().find(|(other, _)| *other == name).expect("a proxy of that name").1
    }

    /// Creates the provider object.
    pub async fn connect(&self, bed: &Bed, name: &str, extra: Value) {
        let url = self.proxies[0].1.url();
        match (&self.tenant.side, self.vendor()) {
            (Side::Keycloak(realm), _) => tenant::keycloak(bed, name, realm, url, extra).await,
            (Side::Simulator(handle), Vendor::MonoCloud) => bed.monocloud_at(name, handle, url, extra).await,
            (Side::Simulator(handle), Vendor::Looker) => bed.looker_at(name, handle, url, extra).await,
            (Side::Simulator(handle), _) => {
                bed.pingone_at(name, handle, url, self.proxies[1].1.url(), extra).await;
            }
        }
    }

    /// How everybody who was due at the beginning stands now.
    pub async fn truth(&self) -> BTreeMap<String, Truth> {
        match &self.tenant.side {
            Side::Simulator(handle) => {
                let users = handle.users().into_iter().filter(|user| self.due.contains(&user.id));
                let changed = |at: Option<Timestamp>| at.is_some_and(|at| at >= self.tenant.cutoff);
                users.map(|user| (user.id, Truth { marked: user.marked, changed: changed(user.changed_at) })).collect()
            }
            Side::Keycloak(realm) => {
                let users = realm.users().await.expect("the realm's users");
                let complied = self.who(Act::Complies);
                let truth = |actions: &[String], name: &String| Truth {
                    marked: actions.iter().any(|action| action == UPDATE_PASSWORD),
                    changed: complied.contains(name),
                };
                users
                    .iter()
                    .map(|user| (user.username.clone(), truth(&user.required_actions, &user.username)))
                    .collect()
            }
        }
    }

    /// The writes of the operator that took effect, oldest first.
    pub async fn writes(&self) -> Vec<Write> {
        match &self.tenant.side {
            Side::Simulator(handle) => {
                let records = handle.ledger().into_iter().filter(|record| record.requires_change());
                records
                    .map(|record| Write {
                        account: record.user.clone().unwrap_or_default(),
                        after_change: record
                            .before
                            .and_then(|before| before.changed_at)
                            .is_some_and(|at| at >= self.tenant.cutoff.as_millisecond()),
                        again: record.effect == Effect::MarkedAgain,
                    })
                    .collect()
            }
            Side::Keycloak(realm) => {
                let updates = realm.user_updates().await.expect("the realm's events");
                let acts = self.acts.lock().expect("no panic while locked").clone();
                let mut writes: Vec<(Timestamp, Write)> = Vec::new();
                for update in updates.into_iter().filter(|update| update.client == OPERATOR_CLIENT) {
                    let acted = |wanted: &[Act], since: Option<Timestamp>| {
                        acts.iter().any(|Acted { account, act, at, .. }| {
                            *account == update.user
                                && wanted.contains(act)
                                && *at <= update.at
                                && since.is_none_or(|s| *at >= s)
                        })
                    };
                    let before = writes.iter().rfind(|(_, write)| write.account == update.user).map(|(at, _)| *at);
                    let was_marked = before.is_some() || self.marked_before.contains(&update.user);
                    let write = Write {
                        after_change: acted(&[Act::Complies], None),
                        again: was_marked && !acted(&[Act::Complies, Act::Clears], before),
                        account: update.user.clone(),
                    };
                    writes.push((update.at, write));
                }
                writes.into_iter().map(|(_, write)| write).collect()
            }
        }
    }

    /// Lets somebody act. What is not possible, such as a sign-in past a mark, does not happen.
    pub async fn act(&self, account: &str, act: Act) {
        // Who compares a status with the truth may find the mark gone before the administrator is told that it is.
        if act == Act::Clears {
            self.remember(account, act);
        }
        match &self.tenant.side {
            Side::Simulator(handle) => {
                let played = match act {
                    Act::Complies => handle.play(account, Play::Complies),
                    Act::Clears => handle.play(account, Play::Clears),
                    // The operator that lives may set the mark at this very moment.
                    Act::SignsIn => {
                        handle.play(account, Play::SignsIn).or_else(|_| handle.play(account, Play::Abandons))
                    }
                };
                played.expect("it is possible");
            }
            Side::Keycloak(realm) => match act {
                Act::Complies => realm.user_changes_password(account).await.expect("the login form"),
                Act::Clears => realm.admin_clears_mark(account).await.expect("an administrator may"),
                Act::SignsIn => realm.user_signs_in(account).await.map(drop).expect("Keycloak answers"),
            },
        }
        if act != Act::Clears {
            self.remember(account, act);
        }
    }

    fn remember(&self, account: &str, act: Act) {
        let acted = Acted { account: account.to_owned(), act, at: Timestamp::now(), moment: testbed::proxy::moment() };
        self.acts.lock().expect("no panic while locked").push(acted);
    }

    /// Gives the realm to the next campaign.
    pub async fn close(&self) {
        if let Side::Keycloak(realm) = &self.tenant.side {
            realm.start_over().await.expect("an administrator may");
            REALMS.lock().expect("no panic while locked").push((self.due.len(), realm.clone()));
        }
    }

    /// Who did that, or had it done to them.
    pub fn who(&self, act: Act) -> BTreeSet<String> {
        let acts = self.acts.lock().expect("no panic while locked");
        acts.iter().filter(|acted| acted.act == act).map(|acted| acted.account.clone()).collect()
    }

    /// Whether anything was done to or by an account.
    pub fn has_acted(&self, account: &str) -> bool {
        self.acts.lock().expect("no panic while locked").iter().any(|acted| acted.account == account)
    }

    /// When that first happened to an account.
    pub fn when(&self, account: &str, act: Act) -> Option<u64> {
        let acts = self.acts.lock().expect("no panic while locked");
        acts.iter().find(|acted| acted.account == account && acted.act == act).map(|acted| acted.moment)
    }

    /// Whom a call writes to.
    pub fn written_by(&self, call: &Call) -> Option<String> {
        if !is_write(self.vendor(), call) {
            return None;
        }
        let path = call.target.split('?').next().unwrap_or_default();
        let found = self.ids.iter().find(|(_, id)| path.split('/').any(|segment| segment == id.as_str()));
        found.map(|(account, _)| account.clone())
    }

    /// The ledger of the provider about one account, for a human.
    pub async fn story(&self, account: &str) -> String {
        match &self.tenant.side {
            Side::Simulator(handle) => {
                let lines = handle.ledger().into_iter().filter(|record| record.user.as_deref() == Some(account));
                lines.map(|record| format!("  {}\n", serde_json::to_string(&record).expect("JSON"))).collect()
            }
            Side::Keycloak(realm) => {
                let updates = realm.user_updates().await.expect("the realm's events");
                let updates = updates.into_iter().filter(|update| update.user == account);
                let lines: String =
                    updates.map(|update| format!("  {} updated by {}\n", update.at, update.client)).collect();
                let acts = self.acts.lock().expect("no panic while locked");
                let acts = acts.iter().filter(|acted| acted.account == account);
                lines + &acts.map(|acted| format!("  {} {:?}\n", acted.at, acted.act)).collect::<String>()
            }
        }
    }
}

/// Whether a call requires a change of one account.
pub fn is_write(vendor: Vendor, call: &Call) -> bool {
    let below_a_user = call.template.contains("/users/{id}");
    below_a_user
        && match vendor {
            Vendor::Keycloak => call.method == "PUT",
            Vendor::Looker => call.method == "PATCH",
            Vendor::MonoCloud | Vendor::PingOne => call.method == "POST",
        }
}
