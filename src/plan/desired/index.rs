//! Which of many keys name an account? A listing of a whole tenant asks that once a row, so it must not cost a walk over
//! the keys.

use std::collections::HashMap;

use super::SelectedKey;
use crate::plan::observed::{Account, UserKey};
use crate::plan::userlist::folded;

/// Keys by what they say; agrees with [`Account::matches`].
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    positions: HashMap<UserKey, usize>,
}

impl KeyIndex {
    /// An index over `keys`; where two are equal, the first counts.
    pub fn new(keys: &[SelectedKey]) -> Self {
        let mut positions = HashMap::with_capacity(keys.len());
        for (position, selected) in keys.iter().enumerate() {
            positions.entry(folded(&selected.key)).or_insert(position);
        }
        Self { positions }
    }

    /// The positions of the keys that name `account`, in ascending order, each once. Several may: one person can stand in
    /// a list by id and by address.
    pub fn find(&self, account: &Account) -> Vec<usize> {
        if self.positions.is_empty() {
            return Vec::new();
        }
        let id = UserKey::Id(account.id.0.clone());
        let username = account.username.as_deref().map(|name| UserKey::Username(name.to_lowercase()));
        let emails = account.emails.iter().map(|email| UserKey::Email(email.to_lowercase()));
        let mut found: Vec<usize> = std::iter::once(id)
            .chain(username)
            .chain(emails)
            .filter_map(|key| self.positions.get(&key).copied())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::plan::desired::Place;

    fn any_key() -> impl Strategy<Value = UserKey> {
        ("[abAB]{1,2}", 0..3).prop_map(|(text, kind)| match kind {
            0 => UserKey::Id(text),
            1 => UserKey::Username(text),
            _ => UserKey::Email(text),
        })
    }

    proptest! {
        #[test]
        fn an_index_finds_what_a_walk_over_the_keys_finds(
            keys in proptest::collection::vec(any_key(), 0..12),
            id in "[abAB]{1,2}",
            username in proptest::option::of("[abAB]{1,2}"),
            emails in proptest::collection::vec("[abAB]{1,2}", 0..3),
        ) {
            let mut account = Account::unknown(id, Timestamp::UNIX_EPOCH);
            account.username = username;
            account.emails = emails;
            let mut seen = std::collections::HashSet::new();
            let keys: Vec<SelectedKey> = keys
                .into_iter()
                .filter(|key| seen.insert(folded(key)))
                .map(|key| SelectedKey { key, place: Place::Entry { field: "spec.users".into(), index: 0 } })
                .collect();
            let walked: Vec<usize> = (0..keys.len()).filter(|position| account.matches(&keys[*position].key)).collect();
            prop_assert_eq!(KeyIndex::new(&keys).find(&account), walked);
        }
    }
}
