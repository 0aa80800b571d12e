//! What does Looker's JSON mean? Serde types and pure mappings, no calls.
//!
//! A member that is missing (`fields` left it out, or the server does not know it) is told apart from one that is null:
//! the first says nothing, the second says that there is none.

use http::HeaderMap;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer};

use crate::plan::observed::{Account, ChangeTime, Credential, Mark, SignIn};
use crate::provider::ErrorKind;
use crate::provider::http::{Listed, NextLink, next_link, short};

/// The members of a credential that are asked for. Never all of them: two of the others are live one-time secrets.
pub(super) const CREDENTIAL_FIELDS: &str =
    "user_id,email,created_at,logged_in_at,is_disabled,forced_password_reset_at_next_login";
/// The members of a user that are asked for.
pub(super) const USER_FIELDS: &str = "id,email,is_disabled,is_service_account,\
     credentials_email(user_id,email,created_at,logged_in_at,is_disabled,forced_password_reset_at_next_login),\
     credentials_saml(type),credentials_ldap(type),credentials_google(type),credentials_oidc(type),\
     credentials_looker_openid(type),credentials_embed(type)";

/// A member that can be missing, null, or given.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// An id: a string in API 4.0, a number in older ones.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    match Id::deserialize(deserializer)? {
        Id::Text(text) if text.is_empty() => Err(serde::de::Error::custom("an empty id")),
        // A number of 64 bits has at most 20 digits.
        Id::Text(text) if text.len() > 64 => Err(serde::de::Error::custom("an id that is too long")),
        Id::Text(text) => Ok(text),
        Id::Number(number) => Ok(number.to_string()),
    }
}

fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Wrapped(#[serde(deserialize_with = "id")] String);
    Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
}

/// The e-mail credential of a user, without its secrets.
#[derive(Deserialize)]
pub(super) struct EmailCredential {
    #[serde(default, deserialize_with = "optional_id")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "short")]
    email: Option<String>,
    created_at: Option<String>,
    #[serde(default, deserialize_with = "given")]
    logged_in_at: Option<Option<String>>,
    is_disabled: Option<bool>,
    forced_password_reset_at_next_login: Option<bool>,
}

/// Whose an e-mail credential is.
#[derive(Deserialize)]
pub(super) struct CredentialOwner {
    #[serde(deserialize_with = "id")]
    pub user_id: String,
    #[serde(default, deserialize_with = "short")]
    email: Option<String>,
}

impl CredentialOwner {
    /// Whether the owner signs in by this address, ignoring case.
    pub fn signs_in_by(&self, email: &str) -> bool {
        self.email.as_deref().is_some_and(|address| address.to_lowercase() == email.to_lowercase())
    }
}

/// Any other credential: that it is there is all that matters.
#[derive(Deserialize)]
struct OtherCredential {}

/// A user, as far as it is needed.
#[derive(Deserialize)]
pub(super) struct User {
    #[serde(deserialize_with = "id")]
    pub id: String,
    #[serde(default, deserialize_with = "short")]
    email: Option<String>,
    is_disabled: Option<bool>,
    is_service_account: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    credentials_email: Option<Option<EmailCredential>>,
    credentials_saml: Option<OtherCredential>,
    credentials_ldap: Option<OtherCredential>,
    credentials_google: Option<OtherCredential>,
    credentials_oidc: Option<OtherCredential>,
    credentials_looker_openid: Option<OtherCredential>,
    credentials_embed: Option<Listed<OtherCredential>>,
}

/// A group.
#[derive(Deserialize)]
pub(super) struct Group {
    #[serde(deserialize_with = "id")]
    pub id: String,
    #[serde(default, deserialize_with = "short")]
    pub name: Option<String>,
}

/// Anything that is only named by its id here.
#[derive(Deserialize)]
pub(super) struct Identified {
    #[serde(deserialize_with = "id")]
    pub id: String,
}

impl User {
    /// Whether the user has an e-mail credential; `None` where the answer does not tell.
    pub fn has_email_credential(&self) -> Option<bool> {
        self.credentials_email.as_ref().map(Option::is_some)
    }

    /// The account as this answer shows it.
    pub fn account(self, answered_at: Timestamp) -> Account {
        let single_sign_on = [
            &self.credentials_saml,
            &self.credentials_ldap,
            &self.credentials_google,
            &self.credentials_oidc,
            &self.credentials_looker_openid,
        ]
        .iter()
        .any(|credential| credential.is_some());
        let mut account = blank(self.id, answered_at);
        account.emails.extend(self.email.filter(|email| !email.is_empty()));
        account.disabled = self.is_disabled;
        match self.credentials_email {
            None => {}
            Some(None) if single_sign_on => account.credential = Credential::Federated,
            Some(None) => account.credential = Credential::NoPassword,
            Some(Some(credential)) => credential.fill(&mut account),
        }
        let is_embedded = self.credentials_embed.is_some_and(|embedded| !embedded.0.is_empty());
        // Who has an e-mail credential besides signs in by it too.
        if self.is_service_account == Some(true) || is_embedded && account.credential != Credential::Local {
            account.credential = Credential::Service;
        }
        account
    }
}

impl EmailCredential {
    /// Whether the answer shows, for this very user, that a change is required.
    pub fn shows_requirement(&self, id: &str) -> bool {
        self.user_id.as_deref() == Some(id) && self.forced_password_reset_at_next_login == Some(true)
    }

    /// The account as an answer about the credential alone shows it.
    pub fn account(self, id: &str, answered_at: Timestamp) -> Account {
        let mut account = blank(id.to_owned(), answered_at);
        self.fill(&mut account);
        account
    }

    /// Whether the answer says that it is about another user than `id`.
    pub fn is_about_another(&self, id: &str) -> bool {
        self.user_id.as_deref().is_some_and(|user| user != id)
    }

    /// Fills in what the credential tells.
    pub fn fill(self, account: &mut Account) {
        account.credential = Credential::Local;
        account.mark = match self.forced_password_reset_at_next_login {
            Some(true) => Mark::Marked,
            Some(false) => Mark::Unmarked,
            None => Mark::NotGiven,
        };
        account.sign_in = match self.logged_in_at {
            None => SignIn::NotGiven,
            Some(None) => SignIn::Never,
            Some(Some(text)) if text.trim().is_empty() => SignIn::Never,
            Some(Some(text)) => time(&text).map_or(SignIn::NotGiven, SignIn::At),
        };
        account.credential_created = self.created_at.as_deref().and_then(time);
        account.disabled = match (account.disabled, self.is_disabled) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
        if let Some(email) = self.email.filter(|email| !email.is_empty() && !account.emails.contains(email)) {
            account.emails.push(email);
        }
    }
}

/// What holds for every account: Looker shows no time of a change, and it locks nobody.
fn blank(id: String, answered_at: Timestamp) -> Account {
    let mut account = Account::unknown(id, answered_at);
    account.sort_key = sort_key(&account.id.0);
    account.changed = ChangeTime::Absent;
    account.locked = Some(false);
    account
}

/// Ids are numbers written as text, and listings are sorted by the number.
fn sort_key(id: &str) -> String {
    format!("{id:0>20}")
}

/// A time as Looker writes it. One without a zone is UTC.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let local: DateTime = text.trim_end_matches(" UTC").parse().ok()?;
        Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })
}

/// Where a listing goes on after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The listing ends here.
    End,
    /// At this address, as the answer's `Link` header writes it.
    Link(String),
    /// At this offset.
    Offset(u64),
}

/// The number of rows that the answer announces for the whole listing.
pub(super) fn total(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-total-count")?.to_str().ok()?.trim().parse().ok()
}

/// Reads where a listing goes on after `rows` rows at `offset`, `limit` being asked for. It ends at an empty page, at a
/// `Link` header without a next page, or, where there is no `Link`, at the announced total: never because a page is short.
pub(super) fn next(headers: &HeaderMap, rows: u64, offset: u64, limit: u64) -> Next {
    if rows == 0 {
        return Next::End;
    }
    // A page with more rows than asked for repeats some; going on after all of them could skip others.
    let after = offset.saturating_add(rows.min(limit));
    match next_link(headers) {
        NextLink::End => Next::End,
        NextLink::At(link) => Next::Link(link),
        NextLink::Unsaid => match total(headers) {
            Some(total) if after >= total => Next::End,
            _ => Next::Offset(after),
        },
    }
}

/// What a call is about, which decides what a refusal of it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The instance; what is needed for it, as a few words.
    Instance(&'static str),
    /// A user, group or session that is read and may be gone.
    Read,
    /// A write on one user.
    Write,
}

/// What a refusal means, and a sentence about it. `None` where the status says it all. Looker's messages may quote input
/// and are not read.
pub(super) fn classify(about: About, status: u16) -> Option<(ErrorKind, String)> {
    const CORE: &str = "Looker (Google Cloud core) denies these calls altogether";
    let say = |kind, text: String| Some((kind, format!("{text} (HTTP {status})")));
    match (status, about) {
        (401, _) => say(ErrorKind::AuthenticationFailed, "the access token is refused, a fresh one too".into()),
        (403 | 404, About::Instance(needed)) => say(
            ErrorKind::PermissionDenied,
            format!("the API user may not {needed}; it needs the Admin role, and {CORE}; check baseURL too"),
        ),
        (403, About::Read | About::Write) => say(
            ErrorKind::Forbidden,
            format!("the API user has no right on this user; it needs the Admin role, and {CORE}"),
        ),
        (404, About::Read) => say(ErrorKind::NotFound, "no such user, or the API user may not see it".into()),
        // Looker says "not found" where others say "forbidden", so that this alone does not prove anybody gone.
        (404, About::Write) => say(
            ErrorKind::Forbidden,
            "Looker says not found, which may mean forbidden: the user is gone, has no e-mail credential, or may not be \
             changed by the API user"
                .into(),
        ),
        (400 | 422, About::Instance(_)) => say(ErrorKind::ResponseInvalid, "the request is refused".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
