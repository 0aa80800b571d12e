//! What was really done to whom, by whom, and how many requests did it take?
//!
//! The ledger is append-only and holds writes: each call that tries to change something, and what people and admins did. Reads are
//! only counted. Tests take their truth from here, never from the counters of the program under test.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::{Millis, timestamp};
use crate::directory::State;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A caller of the vendor's API, by the fingerprint of its token or key.
    Api(u32),
    /// The user.
    Person,
    /// A human administrator in the vendor's console.
    Admin,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Refused, or answered by a fault before it reached the state.
    Nothing,
    /// Accepted with a success status, yet without the effect it claims.
    WithoutEffect,
    /// A change of password is now required; it was not before.
    Marked,
    /// A change was required already and is required again.
    MarkedAgain,
    /// A change is no longer required; the password is the same.
    Unmarked,
    /// A change is required of everybody with an e-mail credential (Looker).
    MarkedEverybody,
    /// A session ended.
    SessionEnded,
    /// The user changed the password.
    PasswordChanged,
    /// The user signed in.
    SignedIn,
    /// The user was asked for a new password and left.
    Abandoned,
    /// The account was changed in another way by an admin, or was locked by failed attempts.
    Altered,
    /// An API token was given up.
    LoggedOut,
}

/// What a successful call does besides its purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideEffects {
    pub password_unlocked: bool,
    pub user_unlocked_event: bool,
    pub mfa_counter_reset: bool,
}

impl SideEffects {
    fn names(self) -> Vec<&'static str> {
        [
            (self.password_unlocked, "password_unlocked"),
            (self.user_unlocked_event, "USER.UNLOCKED"),
            (self.mfa_counter_reset, "mfa_counter_reset"),
        ]
        .into_iter()
        .filter_map(|(happened, name)| happened.then_some(name))
        .collect()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub time: Millis,
    pub actor: Actor,
    pub call: &'static str,
    pub user: Option<u32>,
    pub effect: Effect,
    pub side_effects: SideEffects,
    pub before: Option<Snapshot>,
    pub after: Option<Snapshot>,
    pub status: u16,
    pub fault: Option<&'static str>,
}

/// The part of a user's state that a campaign is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// A change of password is required.
    pub marked: bool,
    /// Locked out after failed attempts.
    pub locked_out: bool,
    /// Last change of the password, milliseconds since 1970.
    pub changed_at: Option<i64>,
    /// Last sign-in, milliseconds since 1970.
    pub signed_in_at: Option<i64>,
}

impl From<State> for Snapshot {
    fn from(state: State) -> Snapshot {
        Snapshot {
            marked: state.marked,
            locked_out: state.locked_out,
            changed_at: state.changed_at,
            signed_in_at: state.signed_in_at,
        }
    }
}

/// One line of the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Position, from 1.
    pub seq: u64,
    /// When, on the provider's clock.
    pub time: Timestamp,
    /// `person`, `admin`, or `api:` with the fingerprint of the token or key.
    pub caller: String,
    /// Method and path template, or the name of what a person or admin did.
    pub call: &'static str,
    /// The user's id.
    pub user: Option<String>,
    /// What it did.
    pub effect: Effect,
    /// What it did besides: `password_unlocked`, `USER.UNLOCKED`, `mfa_counter_reset`.
    pub side_effects: Vec<&'static str>,
    /// State before, where one user is concerned.
    pub before: Option<Snapshot>,
    /// State after.
    pub after: Option<Snapshot>,
    /// The status that the vendor's code gave; 0 for people and admins.
    pub status: u16,
    /// The injected fault that took the place of the answer, if any.
    pub fault: Option<&'static str>,
}

impl Record {
    /// Whether it came through the vendor's API.
    pub fn by_api(&self) -> bool {
        self.caller.starts_with("api:")
    }

    /// Whether an API call really required a change of this user.
    pub fn requires_change(&self) -> bool {
        self.by_api() && matches!(self.effect, Effect::Marked | Effect::MarkedAgain)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    length: watch::Sender<usize>,
}

impl Ledger {
    pub fn append(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.length.send_replace(self.entries.len());
    }

    /// Follows the length as it grows.
    pub fn follow(&self) -> watch::Receiver<usize> {
        self.length.subscribe()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Notes the fault that the last entry's caller met in place of the answer.
    pub fn note_fault(&mut self, fault: &'static str) {
        if let Some(entry) = self.entries.last_mut() {
            entry.fault = Some(fault);
        }
    }

    /// The records after position `since`, at most `limit`.
    pub fn records(&self, since: u64, limit: usize, id_of: impl Fn(u32) -> String) -> Vec<Record> {
        let entries = self.entries.iter().enumerate().skip(usize::try_from(since).unwrap_or(usize::MAX)).take(limit);
        entries
            .map(|(position, entry)| Record {
                seq: position as u64 + 1,
                time: timestamp(entry.time),
                caller: match entry.actor {
                    Actor::Api(fingerprint) => format!("api:{fingerprint:08x}"),
                    Actor::Person => "person".to_owned(),
                    Actor::Admin => "admin".to_owned(),
                },
                call: entry.call,
                user: entry.user.map(&id_of),
                effect: entry.effect,
                side_effects: entry.side_effects.names(),
                before: entry.before,
                after: entry.after,
                status: entry.status,
                fault: entry.fault,
            })
            .collect()
    }
}

/// Requests of one template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All that arrived.
    pub requests: u64,
    /// By the status of the vendor's code; an injected fault without a status counts as 0.
    pub by_status: BTreeMap<u16, u64>,
}

/// Counters over all requests to the vendor's API; control calls are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// By method and path template.
    pub by_call: BTreeMap<&'static str, Count>,
    /// Requests being answered at this moment.
    pub in_flight: u32,
    /// The most that ever were.
    pub peak_in_flight: u32,
    /// Access tokens handed out.
    pub tokens_issued: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Looker: bodies that carried a one-time secret link.
    pub secrets_shown: u64,
    /// Looker: calls that count towards the monthly allowance of administrative calls.
    pub administrative_calls: u64,
}

impl Counters {
    /// Requests of one template, for example `GET /api/users`.
    pub fn requests(&self, call: &str) -> u64 {
        self.by_call.get(call).map_or(0, |count| count.requests)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_call.values().map(|count| count.requests).sum()
    }

    /// Requests that the vendor's code answered with `status`.
    pub fn with_status(&self, status: u16) -> u64 {
        self.by_call.values().filter_map(|count| count.by_status.get(&status)).sum()
    }

    pub(crate) fn arrived(&mut self, call: &'static str) {
        self.by_call.entry(call).or_default().requests += 1;
        self.in_flight += 1;
        self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
    }

    pub(crate) fn answered(&mut self, call: &'static str, status: u16) {
        *self.by_call.entry(call).or_default().by_status.entry(status).or_default() += 1;
    }
}
