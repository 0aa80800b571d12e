//! Looker: API 4.0 under `/api/4.0`.
//!
//! Sources: cloud.google.com, "Force password reset"; the published OpenAPI document (`Looker.4.0.oas.json`); docs/paging.md of
//! the SDK repository; the pages on authentication and troubleshooting. Choices where they are silent are marked "Undocumented"
//! below and in the README.

mod auth;
mod credential;
mod error;
mod group;
mod listing;
mod user;

use std::io;

use crate::call::{Answer, Call};
use crate::directory::Directory;
use crate::handle::{Handle, Options};
use crate::population::{Class, Kind};
use crate::world::{Vendor, World};

/// Liveness, no credential needed.
pub const ALIVE: &str = "GET /alive";
/// Login with client id and secret in a form.
pub const LOGIN: &str = "POST /api/4.0/login";
/// End of a token.
pub const LOGOUT: &str = "DELETE /api/4.0/logout";
/// The user whose key the token belongs to.
pub const ME: &str = "GET /api/4.0/user";
/// All users.
pub const LIST_USERS: &str = "GET /api/4.0/users";
/// Users by filter.
pub const SEARCH_USERS: &str = "GET /api/4.0/users/search";
/// One user.
pub const READ_USER: &str = "GET /api/4.0/users/{user}";
/// A user's e-mail credential.
pub const READ_CREDENTIAL: &str = "GET /api/4.0/users/{user}/credentials_email";
/// Change of a user's e-mail credential.
pub const PATCH_CREDENTIAL: &str = "PATCH /api/4.0/users/{user}/credentials_email";
/// E-mail credentials by filter.
pub const SEARCH_CREDENTIALS: &str = "GET /api/4.0/credentials_email/search";
/// The one call for everybody.
pub const FORCE_ALL: &str = "PUT /api/4.0/password_config/force_password_reset_at_next_login_for_all_users";
/// Password rules of the instance.
pub const PASSWORD_CONFIG: &str = "GET /api/4.0/password_config";
/// All groups.
pub const LIST_GROUPS: &str = "GET /api/4.0/groups";
/// Groups by filter.
pub const SEARCH_GROUPS: &str = "GET /api/4.0/groups/search";
/// One group.
pub const READ_GROUP: &str = "GET /api/4.0/groups/{group}";
/// Direct members of a group.
pub const GROUP_USERS: &str = "GET /api/4.0/groups/{group}/users";
/// Direct subgroups of a group.
pub const GROUP_GROUPS: &str = "GET /api/4.0/groups/{group}/groups";
/// A user's sessions.
pub const LIST_SESSIONS: &str = "GET /api/4.0/users/{user}/sessions";
/// End of one session.
pub const DELETE_SESSION: &str = "DELETE /api/4.0/users/{user}/sessions/{session}";

const CONTENT_TYPE: &str = "application/json";

/// The Looker simulator.
pub struct Looker;

impl Looker {
    /// Starts on 127.0.0.1. Besides the population there is the API user. Fails when the port is taken or the population does not fit.
    pub async fn start(options: Options) -> io::Result<Handle> {
        Handle::start(Box::new(Looker), options).await
    }
}

/// Ids are numbers with gaps, written as strings; they rise with the index.
fn number(directory: &Directory, index: u32) -> u64 {
    10 + 3 * u64::from(index) + directory.people.bits(index, 20) % 3
}

pub(crate) fn id(directory: &Directory, index: u32) -> String {
    number(directory, index).to_string()
}

fn index_of(directory: &Directory, id: &str) -> Option<u32> {
    let index = u32::try_from(id.parse::<u64>().ok()?.checked_sub(10)? / 3).ok()?;
    (self::id(directory, index) == id).then_some(index)
}

/// Whether the user has an e-mail credential: everybody but SSO-only, embed and service users.
fn has_credential(directory: &Directory, index: u32) -> bool {
    directory.has_password(index)
}

fn group_id(position: usize) -> String {
    (position + 1).to_string()
}

fn group_position(world: &World, id: &str) -> Option<usize> {
    (0..world.directory.groups.len()).find(|position| group_id(*position) == id)
}

/// Whether writes on this user are forbidden to the caller.
fn forbidden(world: &World, index: u32, id: &str) -> bool {
    world.directory.class(index) == Class::Forbidden
        || world.active.faults.forbid_users.iter().any(|forbidden| forbidden == id)
}

impl Vendor for Looker {
    fn kind(&self) -> Kind {
        Kind::Looker
    }

    fn routes(&self) -> &'static [&'static str] {
        &[
            SEARCH_CREDENTIALS,
            PATCH_CREDENTIAL,
            READ_CREDENTIAL,
            SEARCH_USERS,
            READ_USER,
            LIST_USERS,
            ME,
            LOGIN,
            LOGOUT,
            FORCE_ALL,
            PASSWORD_CONFIG,
            SEARCH_GROUPS,
            GROUP_USERS,
            GROUP_GROUPS,
            READ_GROUP,
            LIST_GROUPS,
            LIST_SESSIONS,
            DELETE_SESSION,
            ALIVE,
        ]
    }

    fn answer(&self, world: &mut World, call: &Call) -> Answer {
        match call.template {
            ALIVE => return Answer::json(200, CONTENT_TYPE, &"alive"),
            LOGIN => return auth::login(world, call),
            _ => {}
        }
        if let Err(refusal) = auth::admit(world, call) {
            return refusal;
        }
        match call.template {
            LOGOUT => auth::logout(world, call),
            ME => user::me(world, call),
            LIST_USERS => listing::users(world, call),
            SEARCH_USERS => listing::search_users(world, call),
            SEARCH_CREDENTIALS => listing::search_credentials(world, call),
            FORCE_ALL => credential::force_all(world, call),
            PASSWORD_CONFIG => credential::config(),
            LIST_GROUPS => group::list(world, call),
            SEARCH_GROUPS => group::search(world, call),
            READ_GROUP => group::read(world, call),
            GROUP_USERS => group::users(world, call),
            GROUP_GROUPS => group::subgroups(world, call),
            _ => {
                let found = index_of(&world.directory, call.parameter("user"));
                let Some(index) = found.filter(|index| world.directory.exists(*index)) else {
                    return error::not_found();
                };
                match call.template {
                    READ_USER => user::read(world, call, index),
                    READ_CREDENTIAL => credential::read(world, call, index),
                    PATCH_CREDENTIAL => credential::patch(world, call, index),
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
        id(&world.directory, index)
    }

    fn index(&self, world: &World, id: &str) -> Option<u32> {
        index_of(&world.directory, id).filter(|index| *index < world.directory.end())
    }

    fn group_id(&self, _: &World, position: usize) -> String {
        group_id(position)
    }
}

impl Handle {
    /// Looker: the id of the user whose key the API is called with.
    pub fn api_user_id(&self) -> String {
        self.with_world(|world| id(&world.directory, world.directory.people.users))
    }
}
