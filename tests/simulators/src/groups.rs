//! Which groups does a tenant have, and who is a direct member?
//!
//! Membership is a rule on the index, so that it costs no memory. Group names are not unique: two groups may share one.

use serde::{Deserialize, Serialize};

/// A group whose direct members are the users with `index % every == offset`; nobody when `every` is 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The name as shown.
    pub name: String,
    /// Every how-manieth user is a member; 0 for an empty group.
    pub every: u32,
    /// The first member.
    pub offset: u32,
    /// Name of the group that this one is a subgroup of. Its members are not direct members there.
    pub parent: Option<String>,
}

impl Group {
    /// A group with a member every `every` users, beginning at `offset`.
    pub fn new(name: &str, every: u32, offset: u32) -> Group {
        Group { name: name.to_owned(), every, offset, parent: None }
    }

    /// Whether user `index` is a direct member.
    pub fn has(&self, index: u32) -> bool {
        index.checked_rem(self.every) == Some(self.offset)
    }

    /// The usual groups: `contractors` (each fifth), `contractors-kiosk` (part of those), `contractors-night` (its subgroup),
    /// `sales`, `nobody`, and two called `twins`.
    pub fn usual() -> Vec<Group> {
        vec![
            Group::new("contractors", 5, 1),
            Group::new("contractors-kiosk", 20, 1),
            Group { parent: Some("contractors".to_owned()), ..Group::new("contractors-night", 50, 2) },
            Group::new("sales", 3, 0),
            Group::new("nobody", 0, 0),
            Group::new("twins", 10, 3),
            Group::new("twins", 10, 4),
        ]
    }
}
