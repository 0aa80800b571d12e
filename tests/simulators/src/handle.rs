//! How does a test hold a simulator?
//!
//! [`Options`] say what it starts with; [`Handle`] reads its truth and lets things happen. The same over HTTP is `control.rs`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use crate::call::Host;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::faults::Faults;
use crate::groups::Group;
use crate::ledger::{Counters, Record};
use crate::play::{Play, User};
use crate::population::{People, Population};
use crate::server::Simulation;
use crate::socket::Server;
use crate::world::{Credentials, Vendor, World};

/// What a simulator starts with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The users.
    pub population: Population,
    /// The groups.
    pub groups: Vec<Group>,
    /// The moment that all generated times are relative to; `None`: the start.
    pub epoch: Option<Timestamp>,
    /// Port on 127.0.0.1; 0: a free one.
    pub port: u16,
    /// PingOne: port of the token endpoint; 0: a free one.
    pub auth_port: u16,
    /// Switches that are on from the start.
    pub faults: Faults,
    /// Looker: the API user has an e-mail credential of its own.
    pub api_user_has_credential: bool,
    /// PingOne: the worker application lives in an environment of its own.
    pub separate_worker_environment: bool,
}

impl Options {
    /// This population, the usual groups, free ports, no faults.
    pub fn new(population: Population) -> Options {
        Options {
            population,
            groups: Group::usual(),
            epoch: None,
            port: 0,
            auth_port: 0,
            faults: Faults::default(),
            api_user_has_credential: false,
            separate_worker_environment: false,
        }
    }

    /// [`Population::ordinary`].
    pub fn ordinary(users: u32) -> Options {
        Options::new(Population::ordinary(users))
    }

    /// [`Population::awkward`].
    pub fn awkward(users: u32) -> Options {
        Options::new(Population::awkward(users))
    }

    /// The same with these switches on.
    pub fn faults(self, faults: Faults) -> Options {
        Options { faults, ..self }
    }
}

/// A running simulator. Dropping it closes its listeners and connections.
pub struct Handle {
    simulation: Arc<Simulation>,
    server: Server,
    auth: Option<Server>,
    separate_worker_environment: bool,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Handle").field("base_url", &self.base_url()).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) async fn start(vendor: Box<dyn Vendor>, options: Options) -> io::Result<Handle> {
        let clock = Clock::default();
        let epoch = options.epoch.unwrap_or_else(|| clock.now()).as_millisecond();
        let people = People::new(&options.population, vendor.kind(), epoch)
            .map_err(|sentence| io::Error::new(io::ErrorKind::InvalidInput, sentence))?;
        let directory = Directory::new(people, options.groups, options.api_user_has_credential);
        let credentials = Credentials::generate(options.population.seed, 0);
        let separate_worker_environment = options.separate_worker_environment;
        let has_auth = !vendor.auth_routes().is_empty();
        let simulation = Arc::new(Simulation::new(vendor, World::new(clock, directory, credentials)));
        let server = listen(&simulation, Host::Api, options.port).await?;
        let auth = if has_auth { Some(listen(&simulation, Host::Auth, options.auth_port).await?) } else { None };
        let handle = Handle { simulation, server, auth, separate_worker_environment };
        handle.set(options.faults);
        Ok(handle)
    }

    pub(crate) fn with_world<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        read(&self.simulation.world())
    }

    pub(crate) fn separate_worker_environment(&self) -> bool {
        self.separate_worker_environment
    }

    /// Scheme and authority of the API, for example `http://127.0.0.1:40123`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// PingOne: scheme and authority of the token endpoint, another origin than [`Handle::base_url`]. Others: the base URL.
    pub fn auth_url(&self) -> String {
        format!("http://{}", self.auth.as_ref().unwrap_or(&self.server).address)
    }

    /// What callers have to present.
    pub fn credentials(&self) -> Credentials {
        self.simulation.world().credentials.clone()
    }

    /// Makes new credentials; the old ones are refused from now on, their tokens too.
    pub fn rotate_credentials(&self) -> Credentials {
        let mut world = self.simulation.world();
        let generation = world.clock.millis() as u64;
        world.credentials = Credentials::generate(world.directory.people.seed, generation);
        world.revoke_all_tokens();
        world.credentials.clone()
    }

    /// Makes every access token invalid.
    pub fn revoke_tokens(&self) {
        self.simulation.world().revoke_all_tokens();
    }

    /// The provider's clock; the handle of it can be moved.
    pub fn clock(&self) -> Clock {
        self.simulation.world().clock.clone()
    }

    /// Replaces all switches; counting for call faults starts anew.
    pub fn set(&self, faults: Faults) {
        let mut world = self.simulation.world();
        world.directory.lag = faults.lag;
        world.active.set(faults);
    }

    /// The switches as they are.
    pub fn faults(&self) -> Faults {
        self.simulation.world().active.faults.clone()
    }

    /// The whole ledger.
    pub fn ledger(&self) -> Vec<Record> {
        self.ledger_since(0, usize::MAX)
    }

    /// The records after position `since`, at most `limit`.
    pub fn ledger_since(&self, since: u64, limit: usize) -> Vec<Record> {
        self.simulation.ledger(since, limit)
    }

    /// Waits until the ledger holds at least `length` records.
    pub async fn recorded(&self, length: usize) {
        let mut growing = self.simulation.world().ledger.follow();
        // The sender lives as long as the simulation, which `self` holds.
        let _ = growing.wait_for(|now| *now >= length).await;
    }

    /// How often API calls really required a change, by user id. Looker's call for everybody is not in it.
    pub fn requirements(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for record in self.ledger() {
            if let (true, Some(user)) = (record.requires_change(), record.user) {
                *counts.entry(user).or_default() += 1;
            }
        }
        counts
    }

    /// The counters of all requests.
    pub fn counters(&self) -> Counters {
        self.simulation.world().counters.clone()
    }

    /// Requests of one method and path template.
    pub fn count(&self, call: &str) -> u64 {
        self.simulation.world().counters.requests(call)
    }

    /// The user table: what is true. Looker's API user is in it.
    pub fn users(&self) -> Vec<User> {
        self.simulation.users(0, u32::MAX)
    }

    /// The user with this id, deleted ones included.
    pub fn user(&self, id: &str) -> Option<User> {
        let world = self.simulation.world();
        let vendor = &*self.simulation.vendor;
        vendor.index(&world, id).map(|index| world.view(vendor, index))
    }

    /// The user at this position of the population.
    pub fn user_at(&self, index: u32) -> User {
        let world = self.simulation.world();
        world.view(&*self.simulation.vendor, index)
    }

    /// Lets the user or an admin do something; an error says why it cannot be.
    pub fn play(&self, id: &str, play: Play) -> Result<(), String> {
        self.simulation.play(id, play)
    }

    /// [`Play::Complies`].
    pub fn complies(&self, id: &str) -> Result<(), String> {
        self.play(id, Play::Complies)
    }

    /// [`Play::SignsIn`].
    pub fn signs_in(&self, id: &str) -> Result<(), String> {
        self.play(id, Play::SignsIn)
    }

    /// [`Play::Abandons`].
    pub fn abandons(&self, id: &str) -> Result<(), String> {
        self.play(id, Play::Abandons)
    }

    /// [`Play::Clears`].
    pub fn clears(&self, id: &str) -> Result<(), String> {
        self.play(id, Play::Clears)
    }

    /// Lets the first `count` marked users who are able to do it `play`; returns their ids.
    pub fn play_marked(&self, count: usize, play: Play) -> Vec<String> {
        self.simulation.play_marked(count, play)
    }

    /// Somebody joins now, with a password of now; returns the id.
    pub fn hire(&self) -> String {
        self.simulation.hire()
    }

    /// Ids of the groups with this name.
    pub fn group_ids(&self, name: &str) -> Vec<String> {
        let world = self.simulation.world();
        let groups = world.directory.groups.iter().enumerate().filter(|(_, group)| group.name == name);
        groups.map(|(position, _)| self.simulation.vendor.group_id(&world, position)).collect()
    }
}

impl Simulation {
    pub(crate) fn ledger(&self, since: u64, limit: usize) -> Vec<Record> {
        let world = self.world();
        world.ledger.records(since, limit, |index| self.vendor.id(&world, index))
    }

    pub(crate) fn users(&self, offset: u32, limit: u32) -> Vec<User> {
        let world = self.world();
        let end = world.directory.end().min(offset.saturating_add(limit));
        (offset..end).map(|index| world.view(&*self.vendor, index)).collect()
    }

    pub(crate) fn play(&self, id: &str, play: Play) -> Result<(), String> {
        let mut world = self.world();
        let index = self.vendor.index(&world, id).ok_or_else(|| format!("there is no user {id}"))?;
        world.play(index, play)
    }

    pub(crate) fn play_marked(&self, count: usize, play: Play) -> Vec<String> {
        let mut world = self.world();
        let mut done = Vec::new();
        for index in 0..world.directory.end() {
            if done.len() == count {
                break;
            }
            if world.directory.exists(index) && world.directory.state(index).marked && world.play(index, play).is_ok() {
                done.push(self.vendor.id(&world, index));
            }
        }
        done
    }

    pub(crate) fn hire(&self) -> String {
        let mut world = self.world();
        let now = world.clock.millis();
        let index = world.directory.hire(now);
        self.vendor.id(&world, index)
    }
}

async fn listen(simulation: &Arc<Simulation>, host: Host, port: u16) -> io::Result<Server> {
    let counting = Arc::clone(simulation);
    let simulation = Arc::clone(simulation);
    Server::start(
        port,
        move || counting.world().counters.connections += 1,
        move |request, breaker| Arc::clone(&simulation).respond(host, request, breaker),
    )
    .await
}
