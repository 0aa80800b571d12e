//! How many accounts of a pass are what: those named by key once, those listed anew in each round.

use std::collections::HashSet;

use crate::api::FailureCategory;
use crate::api::password_reset_policy::MissingUsers;
use crate::plan::decide::{SkipReason, Verdict, nobody};
use crate::plan::desired::Place;
use crate::plan::ledger::AccountKey;
use crate::plan::tally::Tally;

/// Where an account was found, which decides whether the next round counts it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By a key.
    Key,
    /// In a listing.
    Listing,
}

/// The counts of a pass.
pub struct Counts {
    missing: MissingUsers,
    by_key: Tally,
    listed: Tally,
    keyed: HashSet<AccountKey>,
    seen: HashSet<AccountKey>,
    seen_before: HashSet<AccountKey>,
    /// What the round before found, shown until the running one has found as much.
    shown: Option<Tally>,
    new_in_round: bool,
    /// Accounts of the records that a complete listing does not show any more.
    gone: u64,
}

impl Counts {
    /// Nobody yet, but for entries that can name nobody.
    pub fn new(missing: MissingUsers, malformed: &[Place]) -> Self {
        let mut counts = Self {
            missing,
            by_key: Tally::default(),
            listed: Tally::default(),
            keyed: HashSet::new(),
            seen: HashSet::new(),
            seen_before: HashSet::new(),
            shown: None,
            new_in_round: false,
            gone: 0,
        };
        for place in malformed {
            counts.nobody(place, false);
        }
        counts
    }

    /// Whether the account has not been counted in this round; it is from now on.
    pub fn is_new(&mut self, key: AccountKey, origin: Origin) -> bool {
        if self.keyed.contains(&key) {
            return false;
        }
        match origin {
            Origin::Key => self.keyed.insert(key),
            Origin::Listing => self.seen.insert(key),
        }
    }

    /// Takes back that an account was seen, where it could not be read and comes again.
    pub fn forget(&mut self, key: AccountKey, origin: Origin) {
        match origin {
            Origin::Key => self.keyed.remove(&key),
            Origin::Listing => self.seen.remove(&key),
        };
    }

    /// Counts an account. `subject` is its id.
    pub fn add(&mut self, origin: Origin, subject: &str, verdict: Verdict) {
        let tally = match origin {
            Origin::Key => &mut self.by_key,
            Origin::Listing => &mut self.listed,
        };
        match verdict {
            Verdict::Failed(category) => tally.add_failure(subject, category),
            other => tally.add(other),
        }
    }

    /// Turns an account that was counted as pending into what became of it.
    pub fn settle(&mut self, origin: Origin, subject: &str, verdict: Verdict) {
        match origin {
            Origin::Key => self.by_key.remove(Verdict::Require),
            Origin::Listing => self.listed.remove(Verdict::Require),
        }
        self.add(origin, subject, verdict);
    }

    /// Counts a listed user who does not exist. `known_before`: there was an account once.
    pub fn nobody(&mut self, place: &Place, known_before: bool) {
        match nobody(known_before, self.missing == MissingUsers::Skip) {
            Verdict::Failed(category) => self.by_key.add_failure(place.to_string(), category),
            verdict => self.by_key.add(verdict),
        }
    }

    /// Whether the account was seen in this round, by key or in a listing.
    pub fn has_seen(&self, key: AccountKey) -> bool {
        self.keyed.contains(&key) || self.seen.contains(&key)
    }

    /// Sets how many accounts a complete listing does not show any more.
    pub fn gone(&mut self, accounts: u64) {
        self.gone = accounts;
    }

    /// Counts an entry of which no account is known, and why.
    pub fn failed(&mut self, place: &Place, category: FailureCategory) {
        self.by_key.add_failure(place.to_string(), category);
    }

    /// Counts an entry whose account is known to have changed, without a call.
    pub fn known(&mut self, key: AccountKey, verdict: Verdict) {
        if self.is_new(key, Origin::Key) {
            self.by_key.add(verdict);
        }
    }

    /// Begins another round of the listings. Whom the last one showed is kept only where it is compared with: it is the
    /// largest thing that a pass holds.
    pub fn next_round(&mut self, compare: bool) {
        self.shown = Some(std::mem::take(&mut self.listed));
        if compare {
            self.seen_before = std::mem::take(&mut self.seen);
        } else {
            self.seen.clear();
        }
        self.new_in_round = false;
    }

    /// Takes in that an account is due.
    pub fn due(&mut self, key: AccountKey) {
        self.new_in_round |= !self.seen_before.contains(&key);
    }

    /// Whether the running round has shown nobody who is due and whom the round before did not show.
    pub fn nobody_new(&self) -> bool {
        !self.new_in_round
    }

    /// What there is to report.
    pub fn tally(&self) -> Tally {
        let mut listed = self.listed.clone();
        if self.gone > 0 {
            *listed.skipped.entry(SkipReason::Gone).or_default() += self.gone;
        }
        let mut tally = self.by_key.clone();
        tally.merge(match &self.shown {
            Some(before) if listed.targeted() < before.targeted() => before,
            _ => &listed,
        });
        tally
    }
}
