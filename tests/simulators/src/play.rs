//! What do people and admins do, outside the API?
//!
//! Each act obeys the rules of a real tenant: a disabled user cannot sign in, a marked one cannot sign in without changing the password.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::timestamp;
use crate::directory::State;
use crate::ledger::{Actor, Effect, Entry};
use crate::population::{Class, Kind};
use crate::world::{Vendor, World};

/// An act of a user or of a human administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Play {
    /// The user signs in and changes the password: the mark goes, the change time and the last sign-in are now.
    Complies,
    /// The user signs in with the password and keeps it. Not possible while marked.
    SignsIn,
    /// The user signs in by passkey, social login or SSO, which a mark does not gate. On Looker the e-mail credential's last login
    /// stays as it is.
    SignsInWithoutPassword,
    /// The user is asked for a new password and leaves. Nothing changes.
    Abandons,
    /// Failed attempts lock the password (PingOne), which hides the mark.
    LocksOut,
    /// The password grows too old (PingOne `PASSWORD_EXPIRED`), which hides the mark.
    Expires,
    /// An admin takes the mark away; the password stays.
    Clears,
    /// An admin sets the mark.
    Marks,
    /// An admin sets a temporary password: marked, and changed now.
    SetsTemporaryPassword,
    /// An admin disables the user.
    Disables,
    /// An admin enables the user.
    Enables,
    /// An admin deletes the user.
    Deletes,
}

impl Play {
    fn name(self) -> &'static str {
        match self {
            Play::Complies => "complies",
            Play::SignsIn => "signs_in",
            Play::SignsInWithoutPassword => "signs_in_without_password",
            Play::Abandons => "abandons",
            Play::LocksOut => "locks_out",
            Play::Expires => "expires",
            Play::Clears => "clears",
            Play::Marks => "marks",
            Play::SetsTemporaryPassword => "sets_temporary_password",
            Play::Disables => "disables",
            Play::Enables => "enables",
            Play::Deletes => "deletes",
        }
    }
}

impl World {
    /// Why user `index` cannot sign in with a password, if so.
    fn barrier(&self, index: u32, state: State) -> Option<&'static str> {
        let class = self.directory.class(index);
        match class {
            _ if !self.directory.has_password(index) => Some("has no password here"),
            _ if state.disabled => Some("is disabled"),
            _ if state.locked_out => Some("is locked out"),
            Class::AccountLocked | Class::Blocked | Class::CredentialDisabled => {
                Some("is locked, blocked or has a disabled credential")
            }
            _ => None,
        }
    }

    /// Lets it happen; an error says why it cannot.
    pub fn play(&mut self, index: u32, play: Play) -> Result<(), String> {
        if !self.directory.exists(index) {
            return Err("there is no such user".to_owned());
        }
        let state = self.directory.state(index);
        let needs_password = matches!(play, Play::Complies | Play::SignsIn | Play::Abandons);
        if let Some(barrier) = self.barrier(index, state).filter(|_| needs_password) {
            return Err(format!("the user {barrier}"));
        }
        if play == Play::SignsIn && (state.marked || state.expired) {
            return Err("the user cannot sign in without changing the password".to_owned());
        }
        let now = self.clock.millis();
        let credential_only = self.directory.people.kind == Kind::Looker;
        let (before, after) = self.directory.change(index, false, |state| match play {
            Play::Complies => {
                (state.marked, state.expired) = (false, false);
                (state.changed_at, state.signed_in_at) = (Some(now), Some(now));
                state.sessions |= 1;
            }
            Play::SignsIn => {
                state.signed_in_at = Some(now);
                state.sessions |= 1;
            }
            Play::SignsInWithoutPassword => {
                if !credential_only {
                    state.signed_in_at = Some(now);
                }
                state.sessions |= 1;
            }
            Play::Abandons => {}
            Play::LocksOut => state.locked_out = true,
            Play::Expires => state.expired = true,
            Play::Clears => state.marked = false,
            Play::Marks => state.marked = true,
            Play::SetsTemporaryPassword => {
                state.marked = true;
                state.changed_at = Some(now);
            }
            Play::Disables => state.disabled = true,
            Play::Enables => state.disabled = false,
            Play::Deletes => state.deleted = true,
        });
        let (actor, effect) = match play {
            Play::Complies => (Actor::Person, Effect::PasswordChanged),
            Play::SignsIn | Play::SignsInWithoutPassword => (Actor::Person, Effect::SignedIn),
            Play::Abandons => (Actor::Person, Effect::Abandoned),
            Play::LocksOut | Play::Expires => (Actor::Person, Effect::Altered),
            Play::Clears => (Actor::Admin, Effect::Unmarked),
            Play::Marks => (Actor::Admin, crate::world::marking(before)),
            Play::SetsTemporaryPassword | Play::Disables | Play::Enables | Play::Deletes => {
                (Actor::Admin, Effect::Altered)
            }
        };
        self.ledger.append(Entry {
            time: now,
            actor,
            call: play.name(),
            user: Some(index),
            effect,
            side_effects: Default::default(),
            before: Some(before.into()),
            after: Some(after.into()),
            status: 0,
            fault: None,
        });
        Ok(())
    }

    /// The truth about a user, whatever reads show.
    pub fn view(&self, vendor: &dyn Vendor, index: u32) -> User {
        let directory = &self.directory;
        let state = directory.state(index);
        User {
            id: vendor.id(self, index),
            index,
            username: directory.people.username(index),
            email: directory.people.email(index),
            class: directory.class(index),
            groups: directory
                .groups
                .iter()
                .filter(|group| directory.is_member(group, index))
                .map(|group| group.name.clone())
                .collect(),
            has_password: directory.has_password(index),
            marked: state.marked,
            locked_out: state.locked_out,
            disabled: state.disabled,
            deleted: state.deleted,
            sessions: state.sessions.count_ones(),
            created_at: timestamp(state.created_at),
            changed_at: state.changed_at.map(timestamp),
            signed_in_at: state.signed_in_at.map(timestamp),
        }
    }
}

/// A row of the user table: what is true, which may differ from what the API shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The id in the vendor's form.
    pub id: String,
    /// Position in the population.
    pub index: u32,
    /// Username.
    pub username: String,
    /// E-mail address.
    pub email: String,
    /// What kind of account it is.
    pub class: Class,
    /// Names of the groups that it is a direct member of.
    pub groups: Vec<String>,
    /// Whether a forced change means anything for it.
    pub has_password: bool,
    /// A change of password is required.
    pub marked: bool,
    /// Locked out after failed attempts.
    pub locked_out: bool,
    /// Disabled.
    pub disabled: bool,
    /// Deleted.
    pub deleted: bool,
    /// Open sessions.
    pub sessions: u32,
    /// Creation time.
    pub created_at: Timestamp,
    /// Last change of the password, also where the vendor's API does not tell.
    pub changed_at: Option<Timestamp>,
    /// Last sign-in.
    pub signed_in_at: Option<Timestamp>,
}
