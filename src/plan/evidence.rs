//! What all campaigns of one tenant know about an account together, where the provider shows no change time.
//!
//! A mark belongs to the account, not to the policy that set it: a mark that one campaign saw and whose owner then
//! changed the password satisfies every policy of the tenant with a cutoff at or before the time it was seen. Feed it
//! with the *other* campaigns' ledgers (deleted policies' too); providers that show change times need none of this.

use std::collections::HashMap;

use super::ledger::{AccountKey, Baseline, Entry, Ledger, State};

/// The newest thing that any campaign saw of an account's mark. In doubt (the same second) the greater one holds, which
/// is the one that takes less for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sighting {
    /// The mark was there, with what was read together with it.
    Marked(Baseline),
    /// The mark had gone without a sign-in.
    Cleared,
}

/// What the campaigns of a tenant know about one account. Times are seconds since 1970 of the provider's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The newest sighting and its time.
    pub newest: Option<(u32, Sighting)>,
    /// The latest m at which a mark was seen whose owner then changed the password.
    pub changed: Option<u32>,
}

impl Evidence {
    /// Adds what one campaign's entry tells.
    pub fn add(&mut self, entry: &Entry) {
        let sighting = match entry.state {
            State::Marked { baseline } => Sighting::Marked(baseline),
            State::Cleared { .. } => Sighting::Cleared,
            State::Changed => {
                self.changed = self.changed.max(Some(entry.at));
                return;
            }
            _ => return,
        };
        self.newest = self.newest.max(Some((entry.at, sighting)));
    }

    /// What two sources tell together.
    pub fn join(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(a), Some(b)) = (one, other) else { return one.or(other) };
        Some(Self { newest: a.newest.max(b.newest), changed: a.changed.max(b.changed) })
    }
}

/// The evidence of a tenant's campaigns, by account.
#[derive(Clone, Debug, Default)]
pub struct TenantEvidence {
    accounts: HashMap<AccountKey, Evidence>,
}

impl TenantEvidence {
    /// The evidence of these ledgers.
    pub fn new<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>) -> Self {
        let mut all = Self::default();
        for ledger in ledgers {
            ledger.for_each(|key, entry| all.add(key, &entry));
        }
        all
    }

    /// Adds what one campaign has just recorded.
    pub fn add(&mut self, key: AccountKey, entry: &Entry) {
        if matches!(entry.state, State::Marked { .. } | State::Cleared { .. } | State::Changed) {
            self.accounts.entry(key).or_default().add(entry);
        }
    }

    /// What is known about this account; `None` where no campaign saw a mark.
    pub fn get(&self, key: &AccountKey) -> Option<Evidence> {
        self.accounts.get(key).copied()
    }
}

#[cfg(test)]
mod tests;
