//! What is to be carried out at a provider, as data.

use super::observed::{Account, AccountId};

/// One effect on a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Require a password change of one account.
    RequireChange(AccountId),
    /// End the sessions of one account.
    RevokeSessions(AccountId),
    /// Require a change of everybody, in one call.
    RequireEverybody,
}

/// What carrying out a step showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whether a write was sent. False where a read just before it showed that nothing is left to do.
    pub written: bool,
    /// The account as the answer shows it, where the answer is about the same id and shows the mark. `None` asks for
    /// a read-back.
    pub seen: Option<Account>,
}
