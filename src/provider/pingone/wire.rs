//! What does PingOne's JSON mean? Serde types and pure mappings, no calls.
//!
//! *Unknown is not false*: a member that is missing leaves its field unsaid. A value of an enumeration that is not in the
//! vendor's pages is never guessed at.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use crate::plan::observed::{Account, AccountId, ChangeTime, Credential, Mark};
use crate::provider::ErrorKind;
use crate::provider::http::{Listed, bounded, parse, short, short_id, vendor_code};

/// One page of a collection (HAL).
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Collection<T> {
    #[serde(rename = "_links")]
    links: Option<Links>,
    #[serde(rename = "_embedded")]
    embedded: Option<HashMap<String, Listed<T>>>,
    count: Option<i64>,
    size: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Links {
    next: Option<Link>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

/// Rows of a page, the address of the next one as written, and the total that is announced.
pub(super) struct Rows<T> {
    pub rows: Vec<T>,
    pub next: Option<String>,
    pub total: Option<u64>,
}

impl<T> Collection<T> {
    /// The rows under `name`; `None` where the page holds no such list, which is not the same as an empty one.
    pub fn rows(self, name: &str) -> Option<Rows<T>> {
        // Other writers of HAL leave out what holds nothing. Without links nobody knows that a listing ends here.
        let is_empty = self.size == Some(0) || self.count == Some(0);
        let rows = match self.embedded.and_then(|mut embedded| embedded.remove(name)) {
            Some(rows) => rows.0,
            None if is_empty => Vec::new(),
            None => return None,
        };
        let links = self.links.or_else(|| is_empty.then(Links::default))?;
        Some(Rows {
            rows,
            next: links.next.map(|link| link.href),
            total: self.count.and_then(|count| u64::try_from(count).ok()),
        })
    }
}

/// Rows of a listing by their ids.
pub(super) trait Row {
    /// The id.
    fn id(&self) -> &str;
}

impl Row for Named {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Row for Identified {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Row for User {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A group or population.
#[derive(Deserialize)]
pub(super) struct Named {
    #[serde(deserialize_with = "short_id")]
    pub id: String,
    #[serde(default, deserialize_with = "short")]
    pub name: Option<String>,
}

/// Anything that is only named by its id here.
#[derive(Deserialize)]
pub(super) struct Identified {
    #[serde(deserialize_with = "short_id")]
    pub id: String,
}

/// A user, as far as it is needed. The resource holds much personal data that is not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(deserialize_with = "short_id")]
    pub id: String,
    #[serde(default, deserialize_with = "short")]
    username: Option<String>,
    #[serde(default, deserialize_with = "short")]
    email: Option<String>,
    enabled: Option<bool>,
    account: Option<AccountState>,
    identity_provider: Option<IdentityProvider>,
}

#[derive(Deserialize)]
struct AccountState {
    status: Option<String>,
}

#[derive(Deserialize)]
struct IdentityProvider {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl User {
    /// The account as a row of a listing tells it: nothing about the password, except that another system keeps it.
    pub fn account(self, answered_at: Timestamp) -> Account {
        let mut account = Account::unknown(self.id.clone(), answered_at);
        account.sort_key = self.id;
        account.username = self.username.filter(|name| !name.is_empty());
        account.emails = self.email.into_iter().filter(|email| !email.is_empty()).collect();
        account.disabled = self.enabled.map(|enabled| !enabled);
        account.locked = match self.account.and_then(|state| state.status).as_deref() {
            Some("LOCKED") => Some(true),
            Some("OK") => Some(false),
            _ => None,
        };
        if self.identity_provider.and_then(|idp| idp.kind).is_some_and(|kind| kind != "PING_ONE") {
            account.credential = Credential::Federated;
        }
        account
    }
}

/// The password state of one user.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Password {
    status: Option<String>,
    last_changed_at: Option<String>,
    user: Option<Identified>,
}

impl Password {
    /// Whether the answer is about another user than `id`.
    pub fn is_about_another(&self, id: &AccountId) -> bool {
        self.user.as_ref().is_some_and(|user| user.id != id.0)
    }

    /// Whether the answer tells a state at all, be it one that is not known here.
    pub fn is_state(&self) -> bool {
        self.status.is_some()
    }

    /// Whether the answer shows, for this very user, that a change is required.
    pub fn shows_requirement(&self, id: &AccountId) -> bool {
        self.user.as_ref().is_some_and(|user| user.id == id.0) && self.status.as_deref() == Some("MUST_CHANGE_PASSWORD")
    }

    /// Fills in what the password state tells.
    pub fn fill(&self, account: &mut Account, answered_at: Timestamp) {
        let (credential, mark) = match self.status.as_deref() {
            Some("OK") => (Credential::Local, Mark::Unmarked),
            // An expired password has to be changed at the next sign-in just the same.
            Some("MUST_CHANGE_PASSWORD" | "PASSWORD_EXPIRED") => (Credential::Local, Mark::Marked),
            Some("PASSWORD_LOCKED_OUT") => {
                account.locked = Some(true);
                (Credential::Local, Mark::Hidden)
            }
            Some("NO_PASSWORD") => (Credential::NoPassword, Mark::Unmarked),
            Some("EXTERNAL") => (Credential::Federated, Mark::Unmarked),
            _ => (Credential::NotGiven, Mark::NotGiven),
        };
        // Who keeps the password is decided by the user's identity provider before it is by the password's state.
        if account.credential != Credential::Federated {
            account.credential = credential;
        }
        account.mark = mark;
        account.changed = match self.last_changed_at.as_deref() {
            None => ChangeTime::Absent,
            Some(text) => time(text).map_or(ChangeTime::NotGiven, ChangeTime::At),
        };
        account.answered_at = answered_at;
    }
}

/// A time as ISO 8601 writes it. One without a zone is UTC.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

/// A value in a SCIM filter, quoted. `None` for one with control characters, which no name or address has.
fn quoted(value: &str) -> Option<String> {
    if value.chars().any(char::is_control) {
        return None;
    }
    Some(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// `attribute operator "value"`.
pub(super) fn comparison(attribute: &str, operator: &str, value: &str) -> Option<String> {
    Some(format!("{attribute} {operator} {}", quoted(value)?))
}

/// The filter for the members of a group.
pub(super) fn members(group: &str) -> Option<String> {
    Some(format!("memberOfGroups[{}]", comparison("id", "eq", group)?))
}

/// Whether `text` has the form of a UUID, as all of PingOne's ids have.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// What a call is about, which decides what a refusal of it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The tenant; what is needed for it, as a few words.
    Tenant(&'static str),
    /// One thing of the tenant that may be gone; what is needed for it. Missing rights are the tenant's affair.
    Member(&'static str),
    /// One user.
    User,
    /// The sessions of one user.
    Sessions,
}

/// Details of an error that are read; PingOne gives one or two.
const MOST_DETAILS: usize = 8;

/// The body of an error. Its messages are the vendor's and may quote input: only codes are read.
#[derive(Default)]
pub(super) struct Refusal {
    codes: Vec<String>,
    retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct RawRefusal {
    code: Option<String>,
    #[serde(default)]
    details: Option<Vec<Detail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    code: Option<String>,
    inner_error: Option<Value>,
}

impl Refusal {
    /// Reads the body of an answer that is no success; one that is not the vendor's says nothing.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(raw) = parse::<RawRefusal>(body) else { return Self::default() };
        let mut refusal = Self::default();
        let mut note = |code: Option<String>| {
            if let Some(code) = code.as_deref().and_then(vendor_code) {
                refusal.codes.push(code.to_owned());
            }
        };
        note(raw.code);
        for detail in raw.details.into_iter().flatten().take(MOST_DETAILS) {
            note(detail.code);
            if let Some(inner) = detail.inner_error {
                refusal.retry_after = refusal.retry_after.or(pause(&inner));
            }
        }
        refusal
    }

    /// The pause that the body asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known == code)
    }

    /// Whether the answer says that the token is bad: by its code, whatever the status. A 401 may also mean a missing
    /// permission, and another token would not help then.
    pub fn refuses_token(&self, status: u16) -> bool {
        self.has("INVALID_TOKEN") || (status == 401 && !self.has("INSUFFICIENT_PERMISSIONS"))
    }

    /// What the refusal means, and a sentence about it. `None` where the status says it all.
    pub fn classify(&self, about: About, status: u16) -> Option<(ErrorKind, String)> {
        let codes =
            if self.codes.is_empty() { String::new() } else { format!(" ({}, HTTP {status})", self.codes.join(", ")) };
        let say = |kind, text: &str| Some((kind, format!("{text}{codes}")));
        let server_failed = status >= 500;
        if server_failed || status == 408 {
            return None;
        }
        if status == 429 || self.has("REQUEST_LIMITED") {
            return say(ErrorKind::Throttled, "too many requests");
        }
        if self.has("LICENSE_EXCEEDED") {
            let kind = if about == About::Sessions { ErrorKind::Unsupported } else { ErrorKind::PermissionDenied };
            return say(kind, "the PingOne licence does not cover this call");
        }
        if matches!(about, About::User | About::Sessions) {
            if self.has("NO_PASSWORD") {
                return say(ErrorKind::Rejected, "the user has no password");
            }
            if self.has("ACCOUNT_NOT_USABLE") {
                return say(
                    ErrorKind::Rejected,
                    "PingOne cannot require this: the account is kept elsewhere or not usable",
                );
            }
        }
        if self.has("INSUFFICIENT_PERMISSIONS")
            || (status == 403 && !self.has("INVALID_TOKEN") && !self.has("NOT_FOUND"))
        {
            return match about {
                About::Tenant(needed) | About::Member(needed) => say(
                    ErrorKind::PermissionDenied,
                    &format!(
                        "the worker application may not {needed}; give it the role Identity Data Admin on the environment"
                    ),
                ),
                About::User | About::Sessions => say(
                    ErrorKind::Forbidden,
                    "the worker application has no right on this user; its role may cover another population",
                ),
            };
        }
        if status == 401 || self.has("INVALID_TOKEN") {
            return say(ErrorKind::AuthenticationFailed, "the access token is refused, a fresh one too");
        }
        if status == 404 || (self.has("NOT_FOUND") && !matches!(about, About::Tenant(_))) {
            return match about {
                About::Tenant(needed) => say(
                    ErrorKind::PermissionDenied,
                    &format!(
                        "the worker application may not {needed}: the environment does not exist, or it has no role there"
                    ),
                ),
                About::Member(_) => say(ErrorKind::NotFound, "it does not exist"),
                About::User | About::Sessions => say(ErrorKind::NotFound, "no such user"),
            };
        }
        if status == 409 {
            return say(ErrorKind::Unreachable, "another change of this user is under way");
        }
        if status == 415 || status == 405 {
            return say(
                ErrorKind::Unsupported,
                "the operation is not known there; is the base URL that of the PingOne platform API?",
            );
        }
        match about {
            About::Tenant(_) | About::Member(_) => say(ErrorKind::ResponseInvalid, "the request is refused"),
            About::User | About::Sessions => say(ErrorKind::Rejected, "the request is refused for this user"),
        }
    }
}

/// `innerError.retryAfter`: seconds, as a number or a text; a part of one counts as a whole one.
fn pause(inner: &Value) -> Option<Duration> {
    let value = inner.get("retryAfter")?;
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|seconds| *seconds >= 0.0)?;
    Some(bounded(seconds.ceil() as u64))
}

#[cfg(test)]
mod tests;
