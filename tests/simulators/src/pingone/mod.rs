//! PingOne: the platform API under `/v1` and, on another origin, the token endpoint.
//!
//! Sources: developer.pingidentity.com, "Password Force Change", "User Passwords", "Read Password State", "Read All Users",
//! "Paging, ordering, and filtering collections", "Error codes", "Rate limiting". Choices where they are silent are marked
//! "Undocumented" below and in the README.

mod auth;
mod error;
mod filter;
mod listing;
mod password;
mod user;

use std::io;

use crate::call::{Answer, Call, Host};
use crate::directory::Directory;
use crate::handle::{Handle, Options};
use crate::ids;
use crate::population::{Class, Kind};
use crate::world::{Vendor, World};

/// `POST /{environment}/as/token`, on the authorization host.
pub const TOKEN: &str = "POST /{environment}/as/token";
/// The environment resource.
pub const ENVIRONMENT: &str = "GET /v1/environments/{environment}";
/// List of users.
pub const LIST_USERS: &str = "GET /v1/environments/{environment}/users";
/// One user.
pub const READ_USER: &str = "GET /v1/environments/{environment}/users/{user}";
/// Password state.
pub const READ_PASSWORD: &str = "GET /v1/environments/{environment}/users/{user}/password";
/// Force change, by media type.
pub const FORCE_CHANGE: &str = "POST /v1/environments/{environment}/users/{user}/password";
/// Sessions of a user.
pub const LIST_SESSIONS: &str = "GET /v1/environments/{environment}/users/{user}/sessions";
/// End of one session.
pub const DELETE_SESSION: &str = "DELETE /v1/environments/{environment}/users/{user}/sessions/{session}";
/// List of groups.
pub const LIST_GROUPS: &str = "GET /v1/environments/{environment}/groups";
/// One group.
pub const READ_GROUP: &str = "GET /v1/environments/{environment}/groups/{group}";
/// List of populations.
pub const LIST_POPULATIONS: &str = "GET /v1/environments/{environment}/populations";
/// One population.
pub const READ_POPULATION: &str = "GET /v1/environments/{environment}/populations/{population}";

/// The populations of the environment: everybody else is in the first. The name of one begins with that of another.
pub const POPULATIONS: [&str; 3] = ["Default", "Partners", "Partners Asia"];

const CONTENT_TYPE: &str = "application/hal+json;charset=UTF-8";

const USER: u64 = 1;
const GROUP: u64 = 2;
const POPULATION: u64 = 3;
const ENVIRONMENT_ID: u64 = 4;
const POLICY: u64 = 5;
const SESSION: u64 = 6;

/// The PingOne simulator.
pub struct PingOne {
    separate_worker_environment: bool,
}

impl PingOne {
    /// Starts on 127.0.0.1. Fails when a port is taken or the population does not fit.
    pub async fn start(options: Options) -> io::Result<Handle> {
        let vendor = PingOne { separate_worker_environment: options.separate_worker_environment };
        Handle::start(Box::new(vendor), options).await
    }

    fn worker_environment(&self, seed: u64) -> String {
        ids::uuid(seed, ENVIRONMENT_ID, u32::from(self.separate_worker_environment))
    }
}

fn environment_id(world: &World) -> String {
    ids::uuid(world.directory.people.seed, ENVIRONMENT_ID, 0)
}

/// Position in [`POPULATIONS`] of the population that user `index` is in.
pub(crate) fn population_of(index: u32) -> usize {
    match index {
        _ if index % 40 == 3 => 2,
        _ if index % 4 == 2 => 1,
        _ => 0,
    }
}

/// Whether the worker's role covers the user.
fn in_scope(world: &World, index: u32) -> bool {
    match &world.active.faults.population_scope {
        Some(scope) => POPULATIONS[population_of(index)] == scope,
        None => true,
    }
}

/// Whether writes on this user are forbidden to the caller.
fn forbidden(directory: &Directory, forbid_users: &[String], index: u32, id: &str) -> bool {
    directory.class(index) == Class::Forbidden || forbid_users.iter().any(|forbidden| forbidden == id)
}

impl Vendor for PingOne {
    fn kind(&self) -> Kind {
        Kind::PingOne
    }

    fn routes(&self) -> &'static [&'static str] {
        &[
            LIST_USERS,
            READ_PASSWORD,
            FORCE_CHANGE,
            READ_USER,
            LIST_SESSIONS,
            DELETE_SESSION,
            LIST_GROUPS,
            READ_GROUP,
            LIST_POPULATIONS,
            READ_POPULATION,
            ENVIRONMENT,
        ]
    }

    fn auth_routes(&self) -> &'static [&'static str] {
        &[TOKEN]
    }

    fn answer(&self, world: &mut World, call: &Call) -> Answer {
        if call.host == Host::Auth {
            return auth::token(world, call, &self.worker_environment(world.directory.people.seed));
        }
        if let Err(refusal) = auth::admit(world, call) {
            return refusal;
        }
        match call.template {
            ENVIRONMENT => user::environment(world, call),
            LIST_USERS => listing::users(world, call),
            LIST_GROUPS => listing::groups(world, call),
            READ_GROUP => listing::group(world, call),
            LIST_POPULATIONS => listing::populations(world, call),
            READ_POPULATION => listing::population(world, call),
            _ => {
                let seed = world.directory.people.seed;
                let found = ids::uuid_index(seed, USER, call.parameter("user"));
                let Some(index) = found.filter(|index| world.directory.exists(*index)) else {
                    return error::not_found("The requested resource object was not found.");
                };
                if !in_scope(world, index) {
                    return error::no_permission(world);
                }
                match call.template {
                    READ_USER => user::read(world, call, index),
                    READ_PASSWORD => password::read(world, call, index),
                    FORCE_CHANGE => password::post(world, call, index),
                    LIST_SESSIONS => user::sessions(world, call, index),
                    _ => user::delete_session(world, call, index),
                }
            }
        }
    }

    fn error(&self, status: u16) -> Answer {
        error::of_status(status)
    }

    fn id(&self, world: &World, index: u32) -> String {
        ids::uuid(world.directory.people.seed, USER, index)
    }

    fn index(&self, world: &World, id: &str) -> Option<u32> {
        ids::uuid_index(world.directory.people.seed, USER, id).filter(|index| *index < world.directory.end())
    }

    fn group_id(&self, world: &World, position: usize) -> String {
        ids::uuid(world.directory.people.seed, GROUP, position as u32)
    }
}

impl Handle {
    /// PingOne: the environment's id.
    pub fn environment_id(&self) -> String {
        self.with_world(environment_id)
    }

    /// PingOne: the id of the environment in which the worker application lives; it is part of the token URL.
    pub fn worker_environment_id(&self) -> String {
        let separate = self.separate_worker_environment();
        self.with_world(|world| ids::uuid(world.directory.people.seed, ENVIRONMENT_ID, u32::from(separate)))
    }

    /// PingOne: the name of the population that the user at this position is in.
    pub fn population_at(&self, index: u32) -> &'static str {
        POPULATIONS[population_of(index)]
    }
}
