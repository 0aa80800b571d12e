//! In which state is each user now, and in which state does a read show them?
//!
//! Only users who were changed are stored. Everything else comes from [`People`]. With a read-after-write lag a changed user also
//! keeps the state that reads go on showing. No wire format and no HTTP here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock::{DAY, Millis};
use crate::groups::Group;
use crate::population::{Class, Kind, People};

/// What can change about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub marked: bool,
    pub locked_out: bool,
    pub expired: bool,
    pub disabled: bool,
    pub deleted: bool,
    /// One bit for each open session.
    pub sessions: u8,
    pub created_at: Millis,
    pub changed_at: Option<Millis>,
    pub signed_in_at: Option<Millis>,
}

/// Delay until a read shows what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lag {
    /// For so many milliseconds of real time.
    Milliseconds(u64),
    /// For the next so many reads of that user; a row in a list is a read.
    Reads(u32),
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Instant(Instant),
    Reads(u32),
}

#[derive(Debug)]
struct Entry {
    state: State,
    shown: Option<(State, Until)>,
}

/// All users of a tenant.
#[derive(Debug)]
pub(crate) struct Directory {
    pub people: People,
    pub groups: Vec<Group>,
    pub lag: Option<Lag>,
    /// Grows when the set of users, or what lists filter on, changes: what was computed before is stale.
    pub version: u64,
    /// Looker's API user owns an e-mail credential.
    pub api_user_has_credential: bool,
    hired: u32,
    forced_all: bool,
    changed: HashMap<u32, Entry>,
}

impl Directory {
    pub fn new(people: People, groups: Vec<Group>, api_user_has_credential: bool) -> Directory {
        Directory {
            people,
            groups,
            lag: None,
            version: 0,
            api_user_has_credential,
            hired: 0,
            forced_all: false,
            changed: HashMap::new(),
        }
    }

    /// Indexes below this exist or existed.
    pub fn end(&self) -> u32 {
        self.people.users + u32::from(self.people.kind == Kind::Looker) + self.hired
    }

    pub fn class(&self, index: u32) -> Class {
        self.people.class(index)
    }

    /// Whether the user has a password of this provider's own: what a forced change is about.
    pub fn has_password(&self, index: u32) -> bool {
        match (self.people.kind, self.class(index)) {
            (_, Class::NoPassword | Class::Gateway | Class::Embed | Class::ServiceAccount) => false,
            (_, Class::ApiUser) => self.api_user_has_credential,
            (Kind::Looker, Class::Federated) => true,
            // A federated PingOne user may have kept a password from before; both kinds exist.
            (Kind::PingOne, Class::Federated) => index.is_multiple_of(2),
            (Kind::MonoCloud, Class::Federated) => false,
            _ => true,
        }
    }

    /// Whether the user is a direct member of the group. Looker's API user is in none.
    pub fn is_member(&self, group: &Group, index: u32) -> bool {
        group.has(index) && self.class(index) != Class::ApiUser
    }

    fn pristine(&self, index: u32) -> State {
        let people = &self.people;
        let class = people.class(index);
        let has_password = self.has_password(index);
        let old = has_password.then(|| people.old_change(index));
        let mut created_at = people.created_at(index);
        let mut changed_at = old;
        match class {
            Class::RecentlyChanged => {
                changed_at = Some(people.recent_change(index));
                if people.kind == Kind::Looker {
                    created_at = people.recent_change(index);
                }
            }
            Class::ChangeTimeUnknown => changed_at = None,
            Class::Expired => changed_at = old.map(|at| at - 400 * DAY).map(|at| at.max(created_at)),
            _ => {}
        }
        let signs_in = !matches!(class, Class::NeverSignedIn | Class::ServiceAccount | Class::ApiUser);
        let new_credential = class == Class::RecentlyChanged;
        let signed_in_at =
            signs_in.then(|| if new_credential { people.recent_change(index) } else { people.old_sign_in(index) });
        State {
            marked: class == Class::AlreadyMarked || (self.forced_all && has_password),
            locked_out: class == Class::LockedOut,
            expired: class == Class::Expired,
            disabled: class == Class::Disabled,
            deleted: false,
            sessions: if signs_in { (people.bits(index, 5) % 4) as u8 } else { 0 },
            created_at,
            changed_at,
            signed_in_at,
        }
    }

    /// The true state.
    pub fn state(&self, index: u32) -> State {
        self.changed.get(&index).map_or_else(|| self.pristine(index), |entry| entry.state)
    }

    pub fn exists(&self, index: u32) -> bool {
        index < self.end() && !self.changed.get(&index).is_some_and(|entry| entry.state.deleted)
    }

    /// The state that a read shows, which counts as one read of this user.
    pub fn read(&mut self, index: u32) -> State {
        let Some(entry) = self.changed.get_mut(&index) else { return self.pristine(index) };
        match &mut entry.shown {
            Some((shown, Until::Instant(until))) if Instant::now() < *until => *shown,
            Some((shown, Until::Reads(left))) if *left > 0 => {
                *left -= 1;
                *shown
            }
            _ => {
                entry.shown = None;
                entry.state
            }
        }
    }

    /// Changes a user and returns the true state before and after. A `false` return of `delayed` makes it visible at once, as for
    /// what people and admins do in a test.
    pub fn change(&mut self, index: u32, delayed: bool, alter: impl FnOnce(&mut State)) -> (State, State) {
        let before = self.state(index);
        let mut after = before;
        alter(&mut after);
        if (before.deleted, before.disabled) != (after.deleted, after.disabled) {
            self.version += 1;
        }
        if before == after {
            return (before, after);
        }
        let until = match self.lag.filter(|_| delayed) {
            Some(Lag::Milliseconds(millis)) => Some(Until::Instant(Instant::now() + Duration::from_millis(millis))),
            Some(Lag::Reads(reads)) => Some(Until::Reads(reads)),
            None => None,
        };
        let entry = self.changed.entry(index).or_insert(Entry { state: before, shown: None });
        entry.state = after;
        match (until, &entry.shown) {
            (Some(until), None) => entry.shown = Some((before, until)),
            (Some(_), Some(_)) => {} // reads go on showing the oldest state until its delay is over
            (None, _) => entry.shown = None,
        }
        (before, after)
    }

    /// Looker's one call for everybody: marks every user with an e-mail credential, again those who complied before.
    pub fn force_all(&mut self) {
        self.forced_all = true;
        let stored: Vec<u32> = self.changed.keys().copied().collect();
        for index in stored {
            if self.has_password(index) {
                self.change(index, true, |state| state.marked = true);
            }
        }
    }

    /// Adds a user who joins at `now` with a password set at that moment; returns the index.
    pub fn hire(&mut self, now: Millis) -> u32 {
        let index = self.end();
        self.hired += 1;
        self.version += 1;
        self.change(index, false, |state| {
            state.created_at = now;
            state.changed_at = Some(now);
            state.signed_in_at = None;
            state.sessions = 0;
            state.marked = false;
        });
        index
    }

    /// Users that are stored because something changed about them.
    pub fn stored(&self) -> usize {
        self.changed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::{Population, Share};

    fn directory(population: &Population, kind: Kind) -> Directory {
        Directory::new(People::new(population, kind, 1_760_000_000_000).expect("fits"), Vec::new(), false)
    }

    #[test]
    fn a_million_users_cost_nothing_until_they_change() {
        let mut directory = directory(&Population::awkward(1_000_000), Kind::MonoCloud);
        assert!(!directory.state(999_998).deleted);
        assert_eq!(directory.stored(), 0);
        directory.change(999_998, true, |state| state.marked = true);
        assert_eq!(directory.stored(), 1);
    }

    #[test]
    fn with_a_lag_the_next_reads_show_the_state_before_the_write() {
        let mut directory = directory(&Population::ordinary(3), Kind::PingOne);
        directory.lag = Some(Lag::Reads(2));
        directory.change(1, true, |state| state.marked = true);
        assert!(directory.state(1).marked);
        assert_eq!([1, 1, 1].map(|index| directory.read(index).marked), [false, false, true]);
    }

    #[test]
    fn forcing_everybody_marks_those_who_had_complied_as_well() {
        let population = Population::with(10, &[(Class::Embed, Share::Count(2))]);
        let mut directory = directory(&population, Kind::Looker);
        directory.force_all();
        directory.change(0, false, |state| state.marked = false);
        directory.force_all();
        let marked = (0..directory.end()).filter(|index| directory.state(*index).marked).count();
        assert_eq!(marked, 8, "all but the two embed users and the API user");
    }

    #[test]
    fn someone_hired_later_is_there_with_a_password_of_today() {
        let mut directory = directory(&Population::ordinary(3), Kind::Looker);
        let now = directory.people.epoch + DAY;
        let index = directory.hire(now);
        assert_eq!(index, 4, "after three users and the API user");
        assert_eq!(directory.state(index).changed_at, Some(now));
        assert!(directory.exists(index) && !directory.exists(index + 1));
    }
}
