//! What a provider's answer says about an account, with *unknown* kept apart from *false*.
//!
//! Providers map their wire types to these types and judge nothing; `decide` judges and knows no wire type.

use jiff::Timestamp;

/// The provider's own id of an account, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub String);

/// The mark: must the owner change the password before going on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// This answer does not carry the mark; a read would.
    NotGiven,
    /// The provider says that no change is required.
    Unmarked,
    /// The provider says that a change is required (or that the password expired, which gates just the same).
    Marked,
    /// The provider's single status value shows something else (PingOne `PASSWORD_LOCKED_OUT`) and hides the mark.
    Hidden,
}

/// The time of the last password change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeTime {
    /// This answer does not carry it; a read might.
    NotGiven,
    /// An authoritative answer has none: never changed since import, or the provider shows none at all.
    Absent,
    /// Changed at this time of the provider's clock.
    At(Timestamp),
}

/// What kind of password an account has, as far as this answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// This answer does not tell; a read would.
    NotGiven,
    /// A password kept by this provider.
    Local,
    /// No password (passkey, magic link, never set).
    NoPassword,
    /// The password is kept by another system (external identity provider, LDAP gateway, SSO).
    Federated,
    /// A service or API-only account, which no person signs in to.
    Service,
}

/// The last sign-in with the password, where the provider shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// This answer does not carry it.
    NotGiven,
    /// The provider says: never.
    Never,
    /// Signed in at this time of the provider's clock.
    At(Timestamp),
}

/// One account as one answer of a provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The provider's id.
    pub id: AccountId,
    /// User name, where the provider has one. Personal data: never logged or put into status.
    pub username: Option<String>,
    /// E-mail addresses that identify the account. Personal data.
    pub emails: Vec<String>,
    /// What kind of password it has.
    pub credential: Credential,
    /// The must-change mark.
    pub mark: Mark,
    /// The last change.
    pub changed: ChangeTime,
    /// Locked (by an admin or by failed attempts); `None` where the answer does not tell.
    pub locked: Option<bool>,
    /// Disabled by an admin; `None` where the answer does not tell.
    pub disabled: Option<bool>,
    /// The last sign-in with the password.
    pub sign_in: SignIn,
    /// When the password credential was created, only where that proves a password as new as the credential (Looker).
    pub credential_created: Option<Timestamp>,
    /// The value that the listing is sorted by, to tell distinct rows of an offset listing apart in constant memory.
    pub sort_key: String,
    /// The provider's `Date` of the answer, else our clock when it came.
    pub answered_at: Timestamp,
}

impl Account {
    /// An account of which an answer tells nothing but the id, to be filled in by a mapping.
    pub fn unknown(id: impl Into<String>, answered_at: Timestamp) -> Self {
        Self {
            id: AccountId(id.into()),
            username: None,
            emails: Vec::new(),
            credential: Credential::NotGiven,
            mark: Mark::NotGiven,
            changed: ChangeTime::NotGiven,
            locked: None,
            disabled: None,
            sign_in: SignIn::NotGiven,
            credential_created: None,
            sort_key: String::new(),
            answered_at,
        }
    }

    /// Whether `key` names this account: e-mail and user name ignoring case, the id exactly.
    pub fn matches(&self, key: &UserKey) -> bool {
        let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        match key {
            UserKey::Id(id) => &self.id.0 == id,
            UserKey::Username(name) => self.username.as_deref().is_some_and(|n| same(n, name)),
            UserKey::Email(email) => self.emails.iter().any(|e| same(e, email)),
        }
    }
}

/// Those of `accounts` that `key` names, each once, in their order: a provider's search may find more and find one twice.
pub fn matching(key: &UserKey, accounts: impl IntoIterator<Item = Account>) -> Vec<Account> {
    let mut named: Vec<Account> = Vec::new();
    for account in accounts {
        if account.matches(key) && named.iter().all(|known| known.id != account.id) {
            named.push(account);
        }
    }
    named
}

/// How a policy names one user. Its `Debug` prints the kind only, since values are personal data.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UserKey {
    /// The provider's id, compared exactly.
    Id(String),
    /// A user name, compared ignoring case.
    Username(String),
    /// An e-mail address, compared ignoring case.
    Email(String),
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            UserKey::Id(_) => "Id(…)",
            UserKey::Username(_) => "Username(…)",
            UserKey::Email(_) => "Email(…)",
        })
    }
}

/// What is listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listing {
    /// Every user of the tenant.
    Tenant,
    /// The direct members of the group with this id.
    Group(String),
    /// The users of the population with this id.
    Population(String),
}

/// Where a listing goes on; opaque to everybody but the provider that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub String);

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the order of the listing.
    pub accounts: Vec<Account>,
    /// Where the listing goes on; `None` only where the provider said that this is the end.
    pub next: Option<Cursor>,
    /// How many accounts the provider announces for the whole listing, where it does.
    pub total: Option<u64>,
}

/// A set of users that a policy can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetKind {
    /// A group.
    Group,
    /// A PingOne population.
    Population,
}

/// What a verification found out about a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The tenant's identity: objects with the same one share a limiter and their protected users.
    pub id: String,
    /// A name for people, where the provider has one.
    pub name: Option<String>,
    /// How many users it announces, where that costs no extra call.
    pub users: Option<u64>,
    /// The account that the operator itself acts as, where there is one: never written to.
    pub own_account: Option<AccountId>,
    /// Whether the operator's own account has a password that `TenantNative` would hit.
    pub own_account_has_password: Option<bool>,
    /// Will a requirement bite at all?
    pub enforceable: Enforceable,
}

impl Tenant {
    /// This reading, and of one that was made `before` with the same credential the own account, where this one does not
    /// show it: what was known to be ours stays ours.
    #[must_use]
    pub fn knowing(self, before: Option<&Self>) -> Self {
        match before.filter(|before| self.own_account.is_none() && before.own_account.is_some()) {
            None => self,
            Some(before) => Self {
                own_account: before.own_account.clone(),
                own_account_has_password: before.own_account_has_password,
                enforceable: before.enforceable.clone(),
                ..self
            },
        }
    }
}

/// Whether a requirement will be enforced at the next sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforceable {
    /// The provider says that it will.
    Yes,
    /// The provider says that it will not; what to do about it, as a sentence.
    No(String),
    /// We lack the right to look, or the provider has no such switch to read; why, as a sentence.
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_account_that_is_not_shown_any_more_stays_known() {
        let reading = |own: Option<&str>| Tenant {
            id: "t".to_owned(),
            name: None,
            users: None,
            own_account: own.map(|id| AccountId(id.to_owned())),
            own_account_has_password: own.map(|_| true),
            enforceable: if own.is_some() { Enforceable::Yes } else { Enforceable::Unknown("hidden".to_owned()) },
        };
        let (shown, other, hidden) = (reading(Some("7")), reading(Some("8")), reading(None));
        assert_eq!(hidden.clone().knowing(Some(&shown)), shown);
        assert_eq!(other.clone().knowing(Some(&shown)), other, "what is shown now counts");
        assert_eq!(hidden.clone().knowing(None), hidden);
    }

    #[test]
    fn whoever_a_key_names_is_found_once_ignoring_case_and_nobody_else_is() {
        let account = |id: &str, email: &str| Account {
            emails: vec![email.to_owned()],
            ..Account::unknown(id.to_owned(), Timestamp::UNIX_EPOCH)
        };
        let hits =
            [account("1", "Bob@corp.example"), account("2", "bobby@corp.example"), account("1", "bob@corp.example")];
        let named = matching(&UserKey::Email("bob@CORP.example".to_owned()), hits);
        assert_eq!(named.iter().map(|account| account.id.0.as_str()).collect::<Vec<_>>(), ["1"]);
    }
}
