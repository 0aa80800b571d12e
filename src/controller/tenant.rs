//! What do all objects that name one tenant share? Its limiter, and the memory of who was written to a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::controller::locked;
use crate::plan::ledger::AccountKey;
use crate::provider::http::Limiter;

/// For how long a row may decide a write at most, and so for how long a write is remembered after it must show.
const ROW_DECIDES_FOR: Duration = Duration::from_secs(30);
/// By how much less than the policy that wrote another one waits for the write to show, so that it finds it read back.
const SOONER: Duration = Duration::from_secs(2);

/// How long an accepted write speaks against a tenant that refuses them all. Rights may be taken away at any time, and
/// whoever is refused before that shows stays so until the policy is edited.
const ACCEPTED_FOR: Duration = Duration::from_secs(60);

/// What all objects that name one tenant share.
pub struct SharedTenant {
    /// The tenant's identity.
    pub id: String,
    /// The one limiter.
    pub limiter: Arc<Limiter>,
    /// How long a write may take to show in a row.
    shows_after: Duration,
    written: Mutex<Written>,
    accepted_at: Mutex<Option<Instant>>,
}

impl SharedTenant {
    /// A tenant of which nothing is known yet but its limits. `settle`: how long a write may take to show.
    pub fn new(id: &str, limiter: Arc<Limiter>, settle: Duration) -> Self {
        let written = Mutex::new(Written::begin(Instant::now(), settle + ROW_DECIDES_FOR));
        let shows_after = settle.saturating_sub(SOONER);
        Self { id: id.to_owned(), limiter, shows_after, written, accepted_at: Mutex::new(None) }
    }

    /// Claims the right to write to `account` by a row that was received at `row`. `false` where that row may not show
    /// an earlier write of any policy yet: it must not decide.
    pub fn claim(&self, account: AccountKey, row: Instant) -> bool {
        let now = Instant::now();
        let mut written = locked(&self.written);
        written.turn(now);
        if written.at(&account).is_some_and(|at| at + self.shows_after > row) {
            return false;
        }
        written.add(account, now);
        true
    }

    /// A write was accepted now, whoever sent it.
    pub fn accepts(&self) {
        *locked(&self.accepted_at) = Some(Instant::now());
    }

    /// Whether a write was accepted not long ago, so that the tenant does not refuse them all.
    pub fn has_accepted(&self) -> bool {
        locked(&self.accepted_at).is_some_and(|at| at.elapsed() < ACCEPTED_FOR)
    }

    /// Gives back a claim whose write was not sent.
    pub fn release(&self, account: &AccountKey) {
        locked(&self.written).remove(account);
    }
}

/// Who was written to since when, in two generations: forgetting costs nothing per account, and an account takes a few
/// bytes.
struct Written {
    kept_for: Duration,
    new: Generation,
    old: Generation,
}

struct Generation {
    begun: Instant,
    /// Milliseconds since `begun`.
    accounts: HashMap<AccountKey, u32>,
}

impl Generation {
    fn begin(now: Instant) -> Self {
        Self { begun: now, accounts: HashMap::new() }
    }
}

impl Written {
    fn begin(now: Instant, kept_for: Duration) -> Self {
        Self { kept_for, new: Generation::begin(now), old: Generation::begin(now) }
    }

    /// Forgets what is older than `kept_for`, at the latest when it is twice as old.
    fn turn(&mut self, now: Instant) {
        if now.duration_since(self.new.begun) >= self.kept_for {
            self.old = std::mem::replace(&mut self.new, Generation::begin(now));
        }
    }

    fn at(&self, account: &AccountKey) -> Option<Instant> {
        [&self.new, &self.old].into_iter().find_map(|generation| {
            let at = generation.accounts.get(account)?;
            Some(generation.begun + Duration::from_millis(u64::from(*at)))
        })
    }

    fn add(&mut self, account: AccountKey, now: Instant) {
        let at = now.duration_since(self.new.begun).as_millis();
        self.new.accounts.insert(account, u32::try_from(at).unwrap_or(u32::MAX));
    }

    fn remove(&mut self, account: &AccountKey) {
        if self.new.accounts.remove(account).is_none() {
            self.old.accounts.remove(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        // One start for all, so that differences are exact.
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_write_is_remembered_for_a_minute_at_least_and_two_at_most() {
        let (alice, bob) = (AccountKey(1), AccountKey(2));
        let mut written = Written::begin(at(0), Duration::from_secs(60));
        written.add(alice, at(50));
        written.turn(at(70));
        written.add(bob, at(70));
        assert_eq!(written.at(&alice), Some(at(50)), "twenty seconds ago, in the generation before");
        assert_eq!(written.at(&bob), Some(at(70)));
        written.turn(at(131));
        assert_eq!(written.at(&alice), None);
        assert_eq!(written.at(&bob), Some(at(70)));
        written.remove(&bob);
        assert_eq!(written.at(&bob), None, "a claim that was given back");
    }
}
