//! What do all objects that name one tenant share? Its limiter, the memory of who was written to a moment ago, and how
//! often an object has begun to count for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
    members: AtomicU64,
}

/// A reading of which objects count for a tenant, for asking later whether another one does since.
#[derive(Clone)]
pub struct Members {
    tenant: Arc<SharedTenant>,
    joined: u64,
}

impl Members {
    /// Whether nobody has joined.
    pub fn are_current(&self) -> bool {
        self.tenant.members.load(Ordering::SeqCst) == self.joined
    }
}

/// The right to write to an account, and what was remembered before it was claimed.
#[derive(Debug)]
pub struct Claim {
    account: AccountKey,
    before: Option<Instant>,
}

impl SharedTenant {
    /// A tenant of which nothing is known yet but its limits. `settle`: how long a write may take to show.
    pub fn new(id: &str, limiter: Arc<Limiter>, settle: Duration) -> Self {
        let written = Mutex::new(Written::begin(Instant::now(), settle + ROW_DECIDES_FOR));
        let shows_after = settle.saturating_sub(SOONER);
        let members = AtomicU64::new(0);
        Self { id: id.to_owned(), limiter, shows_after, written, accepted_at: Mutex::new(None), members }
    }

    /// Who counts now. Read before their protected users are.
    pub fn members(self: &Arc<Self>) -> Members {
        Members { tenant: self.clone(), joined: self.members.load(Ordering::SeqCst) }
    }

    /// One more object counts for this tenant: whom it protects, no running slice knows.
    pub fn joined(&self) {
        self.members.fetch_add(1, Ordering::SeqCst);
    }

    /// Claims the right to write to `account` by a row that was received at `row`. `None` where that row may not show
    /// an earlier write of any policy yet: it must not decide.
    pub fn claim(&self, account: AccountKey, row: Instant) -> Option<Claim> {
        let now = Instant::now();
        let mut written = locked(&self.written);
        written.turn(now);
        let before = written.at(&account);
        if before.is_some_and(|at| at + self.shows_after > row) {
            return None;
        }
        written.add(account, now);
        Some(Claim { account, before })
    }

    /// A write was accepted now, whoever sent it.
    pub fn accepts(&self) {
        *locked(&self.accepted_at) = Some(Instant::now());
    }

    /// Whether a write was accepted not long ago, so that the tenant does not refuse them all.
    pub fn has_accepted(&self) -> bool {
        locked(&self.accepted_at).is_some_and(|at| at.elapsed() < ACCEPTED_FOR)
    }

    /// Gives back a claim whose write was not sent: an earlier write is remembered again.
    pub fn release(&self, claim: Claim) {
        locked(&self.written).restore(claim);
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

    fn add(&mut self, account: AccountKey, at: Instant) {
        let since = at.duration_since(self.begun).as_millis();
        self.accounts.insert(account, u32::try_from(since).unwrap_or(u32::MAX));
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
        self.new.add(account, now);
    }

    fn restore(&mut self, Claim { account, before }: Claim) {
        self.old.accounts.remove(&account);
        self.new.accounts.remove(&account);
        if let Some(at) = before {
            let generation = if at >= self.new.begun { &mut self.new } else { &mut self.old };
            generation.add(account, at);
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
        written.restore(Claim { account: bob, before: None });
        assert_eq!(written.at(&bob), None, "a claim that was given back");
    }

    #[test]
    fn a_claim_that_is_given_back_leaves_what_was_remembered_before_it() {
        let alice = AccountKey(1);
        for first in [30, 75] {
            let mut written = Written::begin(at(0), Duration::from_secs(60));
            written.add(alice, at(30));
            written.turn(at(70));
            if first > 70 {
                written.add(alice, at(first));
            }
            let before = written.at(&alice);
            written.add(alice, at(80));
            written.restore(Claim { account: alice, before });
            assert_eq!(written.at(&alice), Some(at(first)));
        }
    }
}
