//! How does Keycloak write users, credentials, groups and errors, and what does that mean in the terms of `plan`?
//!
//! Pure: no request is made here. The calls are in the module above, the facts and their sources in the folder's README.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::observed::{Account, ChangeTime, Credential, Mark, SignIn};
use crate::provider::ErrorKind;
use crate::provider::http::{parse, short, short_id, vendor_code};

/// The required action that is the mark.
pub(super) const UPDATE_PASSWORD: &str = "UPDATE_PASSWORD";

/// User names of service accounts start with this. A person may choose such a name too, so it proves nothing alone.
pub(super) const SERVICE_ACCOUNT_PREFIX: &str = "service-account-";

/// `UserRepresentation`, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(deserialize_with = "short_id")]
    pub id: String,
    #[serde(default, deserialize_with = "short")]
    pub username: Option<String>,
    #[serde(default, deserialize_with = "short")]
    pub email: Option<String>,
    pub enabled: Option<bool>,
    /// Left out by the brief representation.
    pub required_actions: Option<Vec<String>>,
    /// The user storage (LDAP, Active Directory) that an imported user belongs to.
    pub federation_link: Option<String>,
    /// Shown by some versions only (not by 26.7).
    pub service_account_client_id: Option<String>,
    pub access: Option<Access>,
}

/// What the caller may do with one user.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Access {
    pub manage: Option<bool>,
}

/// `CredentialRepresentation`, as far as it is read: never the data of the credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CredentialEntry {
    #[serde(rename = "type")]
    pub kind: String,
    /// Milliseconds since the epoch.
    pub created_date: Option<i64>,
}

/// `GroupRepresentation`, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    #[serde(deserialize_with = "short_id")]
    pub id: String,
    #[serde(default, deserialize_with = "short")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "short")]
    pub path: Option<String>,
    pub sub_groups: Option<Vec<Group>>,
}

/// `RealmRepresentation`, as far as it is read. Callers without `view-realm` are shown the names only.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Realm {
    pub realm: Option<String>,
    #[serde(default, deserialize_with = "short")]
    pub display_name: Option<String>,
}

/// `RequiredActionProviderRepresentation`, as far as it is read.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct RequiredAction {
    pub enabled: Option<bool>,
}

/// The body of the write: nothing but the list, so that nothing else of the user is touched.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequiredActions {
    pub required_actions: Vec<String>,
}

/// An error body. Only static codes are read out of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    error: Option<String>,
    error_message: Option<String>,
}

impl ErrorBody {
    /// Whether a 404 says that what is asked for is not there, in whatever words (they change between versions), rather
    /// than that the address is none of Keycloak's admin API.
    fn is_about_a_resource(&self) -> bool {
        let said = self.error.as_deref().or(self.error_message.as_deref());
        // A realm that is gone, and what other servers than Keycloak say to an address that they do not know.
        let elsewhere = ["matching target resource", "realm", "Realm", "HTTP 404"];
        said.is_some_and(|said| said != "Not Found" && !elsewhere.iter().any(|words| said.contains(words)))
    }
}

impl User {
    /// Whether the list of required actions has the mark; `None` where the answer has no list.
    pub(super) fn marked(&self) -> Option<bool> {
        self.required_actions.as_ref().map(|actions| actions.iter().any(|a| a == UPDATE_PASSWORD))
    }

    /// The list to write: what is there, in its order, and the mark. Keycloak *replaces* the list, so everything that
    /// others required has to be sent again. `None` where this answer has no list: nothing may be written then.
    pub(super) fn with_mark(&self) -> Option<RequiredActions> {
        let mut required_actions = self.required_actions.clone()?;
        if !required_actions.iter().any(|a| a == UPDATE_PASSWORD) {
            required_actions.push(UPDATE_PASSWORD.to_owned());
        }
        Some(RequiredActions { required_actions })
    }

    /// The row as `plan` sees it. Credentials are another call, so a local password is never known from this alone.
    pub(super) fn account(&self, answered_at: Timestamp) -> Account {
        let federated =
            self.federation_link.as_deref().is_some_and(|link| !link.is_empty()) || self.id.starts_with("f:");
        let service = self.service_account_client_id.as_deref().is_some_and(|client| !client.is_empty());
        Account {
            username: self.username.clone(),
            emails: self.email.iter().filter(|e| !e.is_empty()).cloned().collect(),
            credential: match (federated, service) {
                (_, true) => Credential::Service,
                (true, _) => Credential::Federated,
                _ => Credential::NotGiven,
            },
            mark: match self.marked() {
                Some(true) => Mark::Marked,
                Some(false) => Mark::Unmarked,
                None => Mark::NotGiven,
            },
            changed: ChangeTime::NotGiven,
            // Lockout by failed sign-ins is a call per user and passes by itself: not observed.
            locked: Some(false),
            disabled: self.enabled.map(|enabled| !enabled),
            sign_in: SignIn::NotGiven,
            sort_key: self.username.clone().unwrap_or_default(),
            ..Account::unknown(self.id.clone(), answered_at)
        }
    }
}

/// Fills in what the list of credentials tells: whether there is a password of Keycloak's own, and how old it is.
///
/// *Errors*: a `createdDate` that is no time, as a sentence.
pub(super) fn with_credentials(mut account: Account, credentials: &[CredentialEntry]) -> Result<Account, String> {
    let passwords: Vec<_> = credentials.iter().filter(|c| c.kind == "password").collect();
    if passwords.is_empty() {
        // Real service accounts have no credentials. Without this check a person who calls himself
        // `service-account-x` would be spared.
        let service = account.username.as_deref().is_some_and(|n| n.to_lowercase().starts_with(SERVICE_ACCOUNT_PREFIX));
        account.changed = ChangeTime::Absent;
        if !matches!(account.credential, Credential::Federated | Credential::Service) {
            account.credential = if service { Credential::Service } else { Credential::NoPassword };
        }
        return Ok(account);
    }
    if account.credential == Credential::NotGiven {
        account.credential = Credential::Local;
    }
    account.changed = match passwords.iter().filter_map(|c| c.created_date).max() {
        Some(ms) if ms > 0 => ChangeTime::At(
            Timestamp::from_millisecond(ms).map_err(|_| "the createdDate of a password is not a time".to_owned())?,
        ),
        _ => ChangeTime::Absent,
    };
    Ok(account)
}

/// The ids of all groups, at any depth, that `name` names: by id, by path when it starts with `/`, else by name.
pub(super) fn matching_groups(groups: &[Group], name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest: Vec<&Group> = groups.iter().collect();
    while let Some(group) = rest.pop() {
        let hit = group.id == name
            || if name.starts_with('/') {
                group.path.as_deref() == Some(name)
            } else {
                group.name.as_deref() == Some(name)
            };
        if hit {
            found.push(group.id.clone());
        }
        rest.extend(group.sub_groups.iter().flatten());
    }
    found.sort();
    found.dedup();
    found
}

/// What to search groups by: the name itself, or the last segment of a path with Keycloak's `~/` undone.
pub(super) fn group_search(name: &str) -> String {
    if !name.starts_with('/') {
        return name.to_owned();
    }
    let unescaped = name.replace("~/", "\u{0}");
    unescaped.rsplit('/').next().unwrap_or_default().replace('\u{0}', "/")
}

/// What a call was about, which decides what a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The realm as a whole: lists, searches, settings.
    Realm,
    /// The name of the realm, without which everything else works.
    RealmName,
    /// Groups, which need one role more.
    Groups,
    /// The settings of a required action, which need `view-realm`.
    RequiredAction,
    /// One account, read.
    Account,
    /// One account, written.
    Write,
}

/// Says what an answer without success means. `None` for those that mean the same with every provider (429, 5xx, …).
pub(super) fn refusal(about: About, realm: &str, status: u16, body: &[u8]) -> Option<(ErrorKind, String)> {
    let body: ErrorBody = parse(body).unwrap_or_default();
    let error = |kind, message: String| Some((kind, message));
    match (status, about) {
        (401, _) => error(
            ErrorKind::AuthenticationFailed,
            format!("Keycloak refuses a fresh token on realm {realm:?}: check that the client belongs to authRealm"),
        ),
        (403, About::Write) => error(
            ErrorKind::Forbidden,
            "Keycloak does not let us change this user: grant the service account the role manage-users of the client \
             realm-management"
                .to_owned(),
        ),
        (403, About::Account) => error(
            ErrorKind::Forbidden,
            "Keycloak does not let us read this user: grant the service account the role view-users of the client \
             realm-management"
                .to_owned(),
        ),
        (403, About::Realm) => error(ErrorKind::PermissionDenied, missing_roles(realm, "view-users and manage-users")),
        (403, About::RealmName) => error(ErrorKind::Forbidden, missing_roles(realm, "view-realm")),
        (403, About::Groups) => error(ErrorKind::PermissionDenied, missing_roles(realm, "query-groups and view-users")),
        (403, About::RequiredAction) => error(ErrorKind::PermissionDenied, missing_roles(realm, "view-realm")),
        (404, _) if body.error.as_deref() == Some("Realm not found.") => error(
            ErrorKind::PermissionDenied,
            format!("Keycloak has no realm {realm:?} at this base URL: check realm and baseURL"),
        ),
        (404, About::RequiredAction) if body.error.as_deref() == Some("Failed to find required action") => {
            error(ErrorKind::NotFound, "this realm has no such required action".to_owned())
        }
        // That the address is wrong is told by what cannot be done without.
        (404, About::RequiredAction | About::RealmName) => {
            error(ErrorKind::Forbidden, "Keycloak does not show it".to_owned())
        }
        (404, About::Account | About::Write) if body.is_about_a_resource() => {
            error(ErrorKind::NotFound, "Keycloak has no such user".to_owned())
        }
        (404, About::Groups) if body.is_about_a_resource() => {
            error(ErrorKind::NotFound, "Keycloak has no such group".to_owned())
        }
        (404, _) => error(
            ErrorKind::ResponseInvalid,
            "this address answers, but not as Keycloak's admin API does: check baseURL (with its path, such as /auth)"
                .to_owned(),
        ),
        // What Keycloak says to any failure of its database (UserResource.updateUser).
        (400, About::Write) if body.error_message.as_deref() == Some("Could not update user!") => {
            error(ErrorKind::Unreachable, "Keycloak could not store the update".to_owned())
        }
        (400, About::Write) => error(
            ErrorKind::Rejected,
            format!(
                "Keycloak refuses the update, since the stored profile of this user does not satisfy the realm's user \
                 profile{}: complete the profile, or exclude the user",
                code(body.error_message.as_deref())
            ),
        ),
        (409, About::Write) if body.error_message.as_deref().is_some_and(|said| said.starts_with("User exists")) => {
            error(
                ErrorKind::Rejected,
                "Keycloak refuses the update because it conflicts with another user: correct the user, or exclude it"
                    .to_owned(),
            )
        }
        _ => None,
    }
}

/// The sentence for roles that the service account lacks.
pub(super) fn missing_roles(realm: &str, roles: &str) -> String {
    format!(
        "the service account lacks a right on realm {realm:?}: grant it the roles {roles} of the client \
         realm-management (of {realm}-realm, if it signs in to the master realm)"
    )
}

/// A static code of the vendor in parentheses; nothing where the text is not one.
fn code(text: Option<&str>) -> String {
    text.and_then(vendor_code).map(|code| format!(" ({code})")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
