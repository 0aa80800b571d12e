//! Everything that one simulator knows, behind one lock.
//!
//! Vendors read and change the world synchronously: what a call sees and what it does are one step, as in a provider with a
//! transactional store. Waiting happens in `server.rs`, outside the lock.

use std::collections::HashMap;
use std::sync::Arc;

use crate::call::{Answer, Call};
use crate::clock::{Clock, Millis, SECOND};
use crate::directory::{Directory, State};
use crate::faults::ActiveFaults;
use crate::ledger::{Actor, Counters, Effect, Entry, Ledger, SideEffects};
use crate::population::{Kind, SECRET_CANARY, mix};

/// What the caller of the API needs to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// PingOne and Looker: client id.
    pub client_id: String,
    /// PingOne and Looker: client secret.
    pub client_secret: String,
    /// MonoCloud: API key.
    pub api_key: String,
}

impl Credentials {
    pub(crate) fn generate(seed: u64, generation: u64) -> Credentials {
        let part = |purpose: u64| format!("{:016x}", mix(seed ^ mix(generation ^ (purpose << 40))));
        Credentials {
            client_id: format!("client-{}", part(1)),
            client_secret: format!("{SECRET_CANARY}-secret-{}{}", part(2), part(3)),
            api_key: format!("{SECRET_CANARY}-key-{}{}", part(4), part(5)),
        }
    }
}

/// The vendor's side of a simulator: routes, wire formats, rules.
pub(crate) trait Vendor: Send + Sync {
    fn kind(&self) -> Kind;
    /// Templates of the API host, in the order in which they are tried.
    fn routes(&self) -> &'static [&'static str];
    /// Templates of the authorization host.
    fn auth_routes(&self) -> &'static [&'static str] {
        &[]
    }
    /// Answers a call that was matched to one of the routes.
    fn answer(&self, world: &mut World, call: &Call) -> Answer;
    /// The vendor's usual body for an error status.
    fn error(&self, status: u16) -> Answer;
    /// The id of a user.
    fn id(&self, world: &World, index: u32) -> String;
    /// The index behind an id, if it is one that [`Vendor::id`] gives.
    fn index(&self, world: &World, id: &str) -> Option<u32>;
    /// The id of the group at this position of the tenant's groups.
    fn group_id(&self, world: &World, position: usize) -> String;
}

/// In which order a list comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    /// By index, which is also the order of creation.
    Index,
    /// The reverse.
    IndexDescending,
    /// An order without meaning, for lists whose order the vendor does not promise.
    Unspecified,
}

pub(crate) struct World {
    pub clock: Clock,
    pub directory: Directory,
    pub ledger: Ledger,
    pub counters: Counters,
    pub active: ActiveFaults,
    pub credentials: Credentials,
    tokens: HashMap<String, Millis>,
    secret: u64,
    listings: HashMap<(String, Order), Arc<Vec<u32>>>,
    listings_version: u64,
}

impl World {
    pub fn new(clock: Clock, directory: Directory, credentials: Credentials) -> World {
        let secret = mix(directory.people.seed ^ Clock::default().millis() as u64);
        World {
            clock,
            directory,
            ledger: Ledger::default(),
            counters: Counters::default(),
            active: ActiveFaults::default(),
            credentials,
            tokens: HashMap::new(),
            secret,
            listings: HashMap::new(),
            listings_version: 0,
        }
    }

    /// Makes an access token that lives as long as the vendor says, or as the switch says; returns it with its lifetime in seconds.
    pub fn issue_token(&mut self, usual_seconds: u32, render: impl Fn(&str) -> String) -> (String, u32) {
        let lifetime = self.active.faults.token_lifetime_seconds.unwrap_or(usual_seconds);
        self.counters.tokens_issued += 1;
        let number = self.counters.tokens_issued;
        let part = |purpose: u64| mix(self.secret ^ number ^ (purpose << 56));
        let token = render(&format!("{SECRET_CANARY}{:016x}{:016x}", part(1), part(2)));
        let now = self.clock.millis();
        self.tokens.retain(|_, expiry| *expiry > now);
        self.tokens.insert(token.clone(), now + Millis::from(lifetime) * SECOND);
        (token, lifetime)
    }

    pub fn token_is_valid(&self, token: &str) -> bool {
        self.tokens.get(token).is_some_and(|expiry| *expiry > self.clock.millis())
    }

    pub fn revoke_token(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    pub fn revoke_all_tokens(&mut self) {
        self.tokens.clear();
    }

    /// The users that `keep` chooses, in `order`. `key` names the choice: with an unchanged set of users the same key gives the
    /// remembered answer.
    pub fn listing(&mut self, key: &str, order: Order, keep: impl Fn(&Directory, u32) -> bool) -> Arc<Vec<u32>> {
        const REMEMBERED: usize = 8;
        if self.listings_version != self.directory.version || self.listings.len() > REMEMBERED {
            self.listings.clear();
            self.listings_version = self.directory.version;
        }
        let directory = &self.directory;
        let make = || {
            let mut rows: Vec<u32> =
                (0..directory.end()).filter(|index| directory.exists(*index) && keep(directory, *index)).collect();
            match order {
                Order::Index => {}
                Order::IndexDescending => rows.reverse(),
                Order::Unspecified => rows.sort_by_key(|index| (directory.people.rank(*index), *index)),
            }
            Arc::new(rows)
        };
        Arc::clone(self.listings.entry((key.to_owned(), order)).or_insert_with(make))
    }

    /// Writes an effect on one user into the ledger.
    pub fn record(
        &mut self,
        call: &Call,
        user: Option<u32>,
        effect: Effect,
        states: Option<(State, State)>,
        status: u16,
    ) {
        self.record_with(call, user, effect, states, status, SideEffects::default());
    }

    /// The same, with side effects.
    pub fn record_with(
        &mut self,
        call: &Call,
        user: Option<u32>,
        effect: Effect,
        states: Option<(State, State)>,
        status: u16,
        side_effects: SideEffects,
    ) {
        self.ledger.append(Entry {
            time: self.clock.millis(),
            actor: Actor::Api(call.fingerprint()),
            call: call.template,
            user,
            effect,
            side_effects,
            before: states.map(|(before, _)| before.into()),
            after: states.map(|(_, after)| after.into()),
            status,
            fault: None,
        });
    }
}

/// The effect of setting the mark on a user who was in `before`.
pub(crate) fn marking(before: State) -> Effect {
    if before.marked { Effect::MarkedAgain } else { Effect::Marked }
}
