//! MonoCloud: the management API under `/api`, with a static key.
//!
//! Sources: www.monocloud.com/docs/apis/identity/users ("Require user password reset", "Get all users", …) and the published
//! management SDKs. Choices where they are silent are marked "Undocumented" below and in the README.

mod listing;
mod password;
mod problem;
mod user;

use std::io;

use crate::call::{Answer, Call};
use crate::handle::{Handle, Options};
use crate::ids;
use crate::population::{Class, Kind};
use crate::world::{Vendor, World};

/// List of users.
pub const LIST_USERS: &str = "GET /api/users";
/// One user.
pub const READ_USER: &str = "GET /api/users/{user}";
/// Require a change.
pub const FORCE_RESET: &str = "POST /api/users/{user}/password/force_reset";
/// Take the requirement back.
pub const CLEAR_FORCE_RESET: &str = "DELETE /api/users/{user}/password/force_reset";
/// A user's sessions.
pub const LIST_SESSIONS: &str = "GET /api/users/{user}/sessions";
/// End of one session.
pub const DELETE_SESSION: &str = "DELETE /api/users/{user}/sessions/{session}";
/// A user's groups.
pub const USER_GROUPS: &str = "GET /api/users/{user}/groups";
/// Members of a group.
pub const GROUP_USERS: &str = "GET /api/users/groups/{group}/assigned";
/// List of groups.
pub const LIST_GROUPS: &str = "GET /api/groups";
/// One group.
pub const READ_GROUP: &str = "GET /api/groups/{group}";

const CONTENT_TYPE: &str = "application/json";

const USER: u64 = 1;
const GROUP: u64 = 2;
const SESSION: u64 = 6;

/// The MonoCloud simulator.
pub struct MonoCloud;

impl MonoCloud {
    /// Starts on 127.0.0.1. Fails when the port is taken or the population does not fit.
    pub async fn start(options: Options) -> io::Result<Handle> {
        Handle::start(Box::new(MonoCloud), options).await
    }
}

fn group_id(world: &World, position: usize) -> String {
    ids::short_id(world.directory.people.seed, GROUP, position as u32)
}

fn group_position(world: &World, id: &str) -> Option<usize> {
    (0..world.directory.groups.len()).find(|position| group_id(world, *position) == id)
}

fn forbidden(world: &World, index: u32, id: &str) -> bool {
    world.directory.class(index) == Class::Forbidden
        || world.active.faults.forbid_users.iter().any(|forbidden| forbidden == id)
}

/// Lets a call in, or answers with the refusal. The key is the whole tenant's administrator: there are no scopes.
fn admit(world: &World, call: &Call) -> Result<(), Answer> {
    let faults = &world.active.faults;
    if faults.refuse_credentials || call.header("x-api-key") != Some(world.credentials.api_key.as_str()) {
        return Err(problem::of_status(401));
    }
    if faults.forbid_everything || (faults.read_only && call.is_write()) {
        return Err(problem::of_status(403));
    }
    Ok(())
}

impl Vendor for MonoCloud {
    fn kind(&self) -> Kind {
        Kind::MonoCloud
    }

    fn routes(&self) -> &'static [&'static str] {
        &[
            FORCE_RESET,
            CLEAR_FORCE_RESET,
            LIST_USERS,
            READ_USER,
            LIST_SESSIONS,
            DELETE_SESSION,
            USER_GROUPS,
            GROUP_USERS,
            LIST_GROUPS,
            READ_GROUP,
        ]
    }

    fn answer(&self, world: &mut World, call: &Call) -> Answer {
        if let Err(refusal) = admit(world, call) {
            return refusal;
        }
        match call.template {
            LIST_USERS => listing::users(world, call),
            GROUP_USERS => listing::group_users(world, call),
            LIST_GROUPS => listing::groups(world, call),
            READ_GROUP => listing::group(world, call),
            _ => {
                let seed = world.directory.people.seed;
                let found = ids::short_id_index(seed, USER, call.parameter("user"));
                let Some(index) = found.filter(|index| world.directory.exists(*index)) else {
                    return problem::of_status(404);
                };
                match call.template {
                    READ_USER => user::read(world, index),
                    FORCE_RESET => password::force(world, call, index),
                    CLEAR_FORCE_RESET => password::clear(world, call, index),
                    LIST_SESSIONS => user::sessions(world, index),
                    USER_GROUPS => listing::groups_of(world, call, index),
                    _ => user::delete_session(world, call, index),
                }
            }
        }
    }

    fn error(&self, status: u16) -> Answer {
        problem::of_status(status)
    }

    fn id(&self, world: &World, index: u32) -> String {
        ids::short_id(world.directory.people.seed, USER, index)
    }

    fn index(&self, world: &World, id: &str) -> Option<u32> {
        ids::short_id_index(world.directory.people.seed, USER, id).filter(|index| *index < world.directory.end())
    }

    fn group_id(&self, world: &World, position: usize) -> String {
        group_id(world, position)
    }
}
