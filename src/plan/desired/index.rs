//! Does one of many keys name an account? A listing of a whole tenant asks that once a row, so it must not cost a walk over
//! the keys.

use std::collections::HashSet;

use super::SelectedKey;
use crate::plan::observed::{Account, UserKey};
use crate::plan::userlist::folded;

/// Keys by what they say; agrees with [`Account::matches`].
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    keys: HashSet<UserKey>,
}

impl KeyIndex {
    /// An index over `keys`.
    pub fn new(keys: &[SelectedKey]) -> Self {
        Self { keys: keys.iter().map(|selected| folded(&selected.key)).collect() }
    }

    /// Whether one of the keys names `account`.
    pub fn names(&self, account: &Account) -> bool {
        if self.keys.is_empty() {
            return false;
        }
        let has = |key: UserKey| self.keys.contains(&folded(&key));
        has(UserKey::Id(account.id.0.clone()))
            || account.username.iter().any(|name| has(UserKey::Username(name.clone())))
            || account.emails.iter().any(|email| has(UserKey::Email(email.clone())))
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
            let keys: Vec<SelectedKey> = keys
                .into_iter()
                .map(|key| SelectedKey { key, place: Place::Entry { field: "spec.users".into(), index: 0 } })
                .collect();
            let walked = keys.iter().any(|selected| account.matches(&selected.key));
            prop_assert_eq!(KeyIndex::new(&keys).names(&account), walked);
        }
    }
}
