//! How does MonoCloud write users, pages and problems, and what does that mean in the terms of `plan`?
//!
//! Pure: no request is made here. The calls are in the module above, the facts and their sources in the folder's README.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::plan::observed::{Account, ChangeTime, Credential, Mark, SignIn};
use crate::provider::ErrorKind;
use crate::provider::http::{parse, short, short_id, vendor_code};

/// `User` and `UserSummary`, as far as they are read. `private_data`, claims and addresses are never even parsed.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct User {
    #[serde(deserialize_with = "short_id")]
    pub user_id: String,
    pub username: Option<Username>,
    #[serde(default, deserialize_with = "null_is_none")]
    pub emails: Vec<Email>,
    pub has_password: Option<bool>,
    pub force_password_reset: Option<bool>,
    /// Seconds since the epoch. Missing and `null` are kept apart.
    #[serde(default, deserialize_with = "present")]
    pub password_updated_at: Option<Option<i64>>,
    pub disabled: Option<bool>,
    /// Seconds since the epoch; optional in the vendor's type, so missing means "not blocked".
    pub block_until: Option<i64>,
    /// Only whether there are any.
    #[serde(default, deserialize_with = "null_is_none")]
    pub external_providers: Vec<serde::de::IgnoredAny>,
    pub creation_time: Option<i64>,
}

/// The user name of a user.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Username {
    #[serde(default, deserialize_with = "short")]
    pub username: Option<String>,
}

/// One e-mail address of a user.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Email {
    #[serde(default, deserialize_with = "short")]
    pub email: Option<String>,
}

/// `Group`, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Group {
    #[serde(deserialize_with = "short_id")]
    pub group_id: String,
    #[serde(default, deserialize_with = "short")]
    pub name: Option<String>,
}

/// `UserSession`, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Session {
    #[serde(deserialize_with = "short_id")]
    pub session_id: String,
}

/// Something that lists have rows of.
pub(super) trait Row {
    /// The vendor's id.
    fn id(&self) -> &str;
}

impl Row for User {
    fn id(&self) -> &str {
        &self.user_id
    }
}

impl Row for Group {
    fn id(&self) -> &str {
        &self.group_id
    }
}

impl Row for Session {
    fn id(&self) -> &str {
        &self.session_id
    }
}

/// The JSON in the header `x-pagination`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Pagination {
    pub page_size: Option<u32>,
    pub current_page: Option<u64>,
    pub total_count: Option<u64>,
    pub has_next: Option<bool>,
}

/// How many empty pages in a row that announce more are sat out before the listing is not believed any more.
const MOST_EMPTY_PAGES: u32 = 8;

/// One page to ask for. Pages are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageAt {
    pub page: u64,
    pub size: u32,
    /// Empty pages right before this one.
    empty: u32,
}

/// `null` becomes `Some(None)`; with `default`, a missing field becomes `None`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::<i64>::deserialize(deserializer).map(Some)
}

/// `null` in place of a list says what an empty one says.
fn null_is_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Whether an answer is about one user, so that what it leaves out does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// A row of a list: what it leaves out is unknown.
    Row,
    /// The single read of a user, or the answer to a write.
    Whole,
}

impl User {
    /// The account as `plan` sees it. *Errors*: a time that is no time, as a sentence.
    pub(super) fn account(&self, depth: Depth, answered_at: Timestamp) -> Result<Account, String> {
        Ok(Account {
            username: self.username.as_ref().and_then(|u| u.username.clone()).filter(|n| !n.is_empty()),
            emails: self.emails.iter().filter_map(|e| e.email.clone()).filter(|e| !e.is_empty()).collect(),
            credential: match self.has_password {
                Some(true) => Credential::Local,
                Some(false) if self.external_providers.is_empty() => Credential::NoPassword,
                Some(false) => Credential::Federated,
                None => Credential::NotGiven,
            },
            mark: match self.force_password_reset {
                Some(true) => Mark::Marked,
                Some(false) => Mark::Unmarked,
                None => Mark::NotGiven,
            },
            changed: match (self.password_updated_at, depth) {
                (Some(Some(seconds)), depth) if seconds > 0 => match (Timestamp::from_second(seconds), depth) {
                    (Ok(at), _) => ChangeTime::At(at),
                    // One bad row must not cost a whole page: the account is read by itself.
                    (Err(_), Depth::Row) => ChangeTime::NotGiven,
                    (Err(_), Depth::Whole) => return Err("password_updated_at is not a time".to_owned()),
                },
                (Some(_), _) | (None, Depth::Whole) => ChangeTime::Absent,
                (None, Depth::Row) => ChangeTime::NotGiven,
            },
            locked: Some(self.block_until.is_some_and(|until| until > answered_at.as_second())),
            disabled: self.disabled,
            sign_in: SignIn::NotGiven,
            sort_key: self.creation_time.map(|t| format!("{t:020}")).unwrap_or_default(),
            ..Account::unknown(self.user_id.clone(), answered_at)
        })
    }
}

impl Pagination {
    /// Reads the header. *Errors*: a header that is not the documented JSON, as a sentence.
    pub(super) fn parse(header: &str) -> Result<Self, String> {
        parse(header.as_bytes()).map_err(|_| "the header x-pagination is not the documented JSON".to_owned())
    }
}

impl PageAt {
    /// The first page, with this many rows.
    pub(super) fn first(size: u32) -> Self {
        Self { page: 1, size: size.max(1), empty: 0 }
    }

    /// Where the listing goes on after `rows` rows came for this page; `None` where the server said that it ends.
    ///
    /// Without the header, or without `has_next` in it, only an empty page is the end: the vendor's SDK would take a
    /// header that a proxy dropped for the end. *Errors*: what cannot be believed, as a sentence.
    pub(super) fn next(self, rows: usize, header: Option<&Pagination>) -> Result<Option<Self>, String> {
        let mut size = self.size;
        if let Some(header) = header {
            if header.current_page.is_some_and(|current| current != self.page) {
                return Err("another page than the one asked for was answered".to_owned());
            }
            if let Some(used) = header.page_size.filter(|used| (1..self.size).contains(used)) {
                // Positions are page times size: a size that shrinks later would repeat some rows and skip others.
                if self.page > 1 {
                    return Err("the page size changed in the middle of the listing".to_owned());
                }
                size = used;
            }
        }
        let empty = if rows == 0 { self.empty + 1 } else { 0 };
        match header.and_then(|h| h.has_next) {
            Some(false) => Ok(None),
            None if rows == 0 => Ok(None),
            _ if empty > MOST_EMPTY_PAGES => Err("one empty page after the other says that more follow".to_owned()),
            _ => Ok(Some(Self { page: self.page + 1, size, empty })),
        }
    }

    /// Writes the position as a cursor.
    pub(super) fn to_cursor(self) -> String {
        format!("{} {} {}", self.page, self.size, self.empty)
    }

    /// Reads what [`PageAt::to_cursor`] wrote.
    pub(super) fn from_cursor(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let page = parts.next()?.parse().ok()?;
        let size = parts.next()?.parse().ok()?;
        Some(Self { page, size, empty: parts.next()?.parse().ok()? })
    }
}

/// A user name or address as a search term. Only characters that would make another query of it are escaped, since
/// which fields and what syntax the search knows is not documented.
pub(super) fn search_term(value: &str) -> String {
    let mut term = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let operator =
            matches!(c, '!' | '(' | ')' | '{' | '}' | '[' | ']' | '^' | '"' | '~' | '*' | '?' | ':' | '\\' | '/');
        if operator || c.is_whitespace() || (at == 0 && matches!(c, '+' | '-')) {
            term.push('\\');
        }
        term.push(c);
    }
    term
}

/// What a call was about, which decides what a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The tenant: lists and searches.
    Tenant,
    /// One group.
    Group,
    /// One user, read or written.
    Account,
    /// The sessions of one user.
    Sessions,
}

/// `application/problem+json`, as far as it is read.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: Option<String>,
    errors: Option<Errors>,
}

/// Two of the three shapes of a 422; the third has no `errors`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Errors {
    Identity(Vec<IdentityError>),
    Validation(BTreeMap<String, serde::de::IgnoredAny>),
    Other(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct IdentityError {
    code: Option<String>,
}

/// Says what an answer without success means. `None` for those that mean the same with every provider (429, 5xx, …).
pub(super) fn refusal(about: About, status: u16, body: &[u8]) -> Option<(ErrorKind, String)> {
    let error = |kind, message: String| Some((kind, message));
    match (status, about) {
        (401, _) => error(
            ErrorKind::AuthenticationFailed,
            "MonoCloud refuses the API key: check that apiKey is a key of this very tenant".to_owned(),
        ),
        (402, About::Sessions) => error(
            ErrorKind::Unsupported,
            "the plan of this MonoCloud tenant does not include session management (Pro does): set action.sessions to \
             Keep, or upgrade"
                .to_owned(),
        ),
        (402, _) => error(
            ErrorKind::PermissionDenied,
            "the plan of this MonoCloud tenant does not include this call: upgrade the plan".to_owned(),
        ),
        (403, About::Tenant | About::Group) => error(
            ErrorKind::PermissionDenied,
            "MonoCloud does not let this API key list users or groups: use a key with full access to the tenant"
                .to_owned(),
        ),
        (403, _) => error(ErrorKind::Forbidden, "MonoCloud does not let this API key touch this user".to_owned()),
        (404, About::Tenant) => error(
            ErrorKind::ResponseInvalid,
            "this address answers, but not as MonoCloud's API does: check baseURL, which is https://<tenant domain>"
                .to_owned(),
        ),
        (404, About::Group) => error(ErrorKind::NotFound, "MonoCloud has no such group".to_owned()),
        (404, _) => error(ErrorKind::NotFound, "MonoCloud has no such user".to_owned()),
        (400 | 422, About::Tenant | About::Group) => error(
            ErrorKind::ResponseInvalid,
            format!("MonoCloud refuses the listing{}: if pageSize is above 50, lower it", codes(body)),
        ),
        (400 | 422, _) => error(ErrorKind::Rejected, rejected(body)),
        _ => None,
    }
}

/// The three shapes of a refused write, told apart by `type`.
fn rejected(body: &[u8]) -> String {
    let problem: Problem = parse(body).unwrap_or_default();
    let what = match problem.kind.as_deref().and_then(|t| t.rsplit_once('#')).map(|(_, shape)| shape) {
        Some("identity-validation-error") => "MonoCloud's identity rules do not allow this for the user",
        Some("validation-error") => "MonoCloud finds the request invalid for this user",
        _ => "MonoCloud refuses this for the user",
    };
    format!("{what}{}: see the user in the MonoCloud dashboard, or exclude it", codes(body))
}

/// At most three static codes or field names in parentheses, never descriptions.
fn codes(body: &[u8]) -> String {
    let problem: Problem = parse(body).unwrap_or_default();
    let named: Vec<String> = match problem.errors {
        Some(Errors::Identity(errors)) => errors.into_iter().filter_map(|e| e.code).collect(),
        Some(Errors::Validation(fields)) => fields.into_keys().collect(),
        Some(Errors::Other(_)) | None => Vec::new(),
    };
    let named: Vec<&str> = named.iter().filter_map(|name| vendor_code(name)).take(3).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

#[cfg(test)]
mod tests;
