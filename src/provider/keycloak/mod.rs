//! How does Keycloak show users and require a change?
//!
//! One realm, through the admin REST API, as a service account. The mark is the required action `UPDATE_PASSWORD`.
//! What JSON means is in `wire`, how requests are sent in [`super::http`], facts and sources in this folder's README.
//!
//! | operation | requests |
//! |---|---|
//! | verify | token, realm, required action, count, own account |
//! | list | one a page, and one that finds the end |
//! | find | 1 |
//! | complete | 1 for an unmarked row, else 0 |
//! | require a change | 2: read the list of required actions, write it back with the mark |
//! | read back | 1 |
//! | end sessions | 1 |

mod wire;

use async_trait::async_trait;
use http::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use self::wire::{About, CredentialEntry, Group, Realm, RequiredAction, SERVICE_ACCOUNT_PREFIX, UPDATE_PASSWORD, User};
use super::http::{
    Auth, Base, ClientAuth, Http, HttpSettings, Listed, Request, Response, TokenSource, Trail, is_unauthorized,
};
use super::{ClockReading, ErrorKind, Gate, Provider, ProviderError};
use crate::plan::capabilities::{Capabilities, Keys, Paging, Visibility};
use crate::plan::observed::{
    Account, AccountId, Credential, Cursor, Enforceable, Listing, Mark, Page, SetKind, Tenant, UserKey,
};
use crate::plan::step::{Applied, Step};

/// What Keycloak can show and do.
pub const CAPABILITIES: Capabilities = Capabilities {
    name: "Keycloak",
    visibility: Visibility::MarkAndChangeTime,
    list_shows_mark: true,
    list_shows_change_time: false,
    paging: Paging::Offset,
    keys: Keys { id: true, username: true, email: true, absence_is_proof: true },
    groups: true,
    populations: false,
    revoke_sessions: true,
    tenant_native: false,
    repeat_without_effect: true,
    calls_per_write: 3,
    batch: 200,
    page_size: 100,
    observe_period_seconds: 900,
    max_probe_period_seconds: 3600,
    side_effects: "none",
    limits: "a user whose stored profile does not satisfy the realm's user profile cannot be required; a required \
             action that somebody adds between our read and our write is lost, and one that is done meanwhile is asked for \
             again; users whom the realm's permissions hide from the client are not seen; lockout by failed sign-ins is not seen; \
             users of LDAP or another user storage are skipped",
    sources: &[
        "https://www.keycloak.org/docs-api/26.7.3/rest-api/index.html",
        "https://github.com/keycloak/keycloak/blob/main/services/src/main/java/org/keycloak/services/resources/admin/UserResource.java",
        "run against Keycloak 26.7.3",
    ],
};

/// Groups asked for at once. The search is for an exact name, so that hits are few; servers that do not know `exact` yet
/// search for a part of it.
const MOST_GROUPS: usize = 1000;

const LIST: &str = "list users";
const MEMBERS: &str = "list members of a group";
const GROUPS: &str = "find groups";
const FIND: &str = "find a user";
const READ: &str = "read a user";
const CREDENTIALS: &str = "read the age of a password";
const REQUIRE: &str = "require a password change";
const LOGOUT: &str = "end sessions";
const VERIFY: &str = "verify the realm";

/// How to reach one realm.
pub struct KeycloakConfig {
    /// Where Keycloak answers, with its relative path if it has one (`/auth` in old installations).
    pub base_url: Url,
    /// The realm whose users are meant.
    pub realm: String,
    /// The realm that the client belongs to, if it is another one (`master`).
    pub auth_realm: Option<String>,
    /// The client with a service account.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Rows asked for per page.
    pub page_size: u32,
}

/// One realm of a Keycloak server.
pub struct Keycloak {
    http: Http,
    base: Base,
    realm: String,
    /// The user name of the own service account, where it lives in this realm.
    own_username: Option<String>,
    page_size: u32,
}

impl Keycloak {
    /// Prepares a client; no request is sent.
    ///
    /// *Errors*: those of [`Base::new`] and [`Http::new`].
    pub fn connect(config: KeycloakConfig, settings: HttpSettings) -> Result<Self, ProviderError> {
        let base = Base::new(config.base_url, &[])?;
        let auth_realm = config.auth_realm.as_deref().unwrap_or(&config.realm);
        let token_url = base.url("fetch token", &["realms", auth_realm, "protocol", "openid-connect", "token"])?;
        let own_username =
            (auth_realm == config.realm).then(|| format!("{SERVICE_ACCOUNT_PREFIX}{}", config.client_id));
        let source = TokenSource::client_credentials(
            token_url,
            &config.client_id,
            config.client_secret,
            ClientAuth::Body,
            "check clientID, clientSecret, realm and authRealm, and that the client has client authentication and \
             service account roles switched on",
        );
        let http = Http::new(settings, Auth::Bearer { source: Box::new(source), refused: is_unauthorized })?;
        Ok(Self { http, base, realm: config.realm, own_username, page_size: config.page_size.max(1) })
    }

    fn url(&self, operation: &'static str, segments: &[&str]) -> Result<Url, ProviderError> {
        self.base.url(operation, &[&["admin", "realms", &self.realm], segments].concat())
    }

    async fn send(&self, request: Request, about: About) -> Result<Response, ProviderError> {
        let response = self.http.send(request).await?;
        if response.status.is_success() {
            return Ok(response);
        }
        Err(match wire::refusal(about, &self.realm, response.status.as_u16(), response.body()) {
            Some((kind, message)) => response.error(kind, message),
            None => response.unclassified(),
        })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        about: About,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<(T, Response), ProviderError> {
        let request = Request::get(operation, self.url(operation, segments)?).query(query);
        let response = self.send(request, about).await?;
        Ok((response.json()?, response))
    }

    /// The user with this id, and never another one.
    async fn user(&self, operation: &'static str, id: &str) -> Result<(User, Account), ProviderError> {
        let (user, response): (User, _) = self.get(operation, About::Account, &["users", id], &[]).await?;
        if user.id != id {
            return Err(response.error(ErrorKind::ResponseInvalid, "the answer is about another user"));
        }
        let account = user.account(response.answered_at);
        Ok((user, account))
    }

    async fn with_credentials(&self, account: Account) -> Result<Account, ProviderError> {
        let id = account.id.0.clone();
        let (Listed(entries), response): (Listed<CredentialEntry>, _) =
            self.get(CREDENTIALS, About::Account, &["users", &id, "credentials"], &[]).await?;
        wire::with_credentials(account, &entries).map_err(|message| response.error(ErrorKind::ResponseInvalid, message))
    }

    /// Whether the realm will act on the mark.
    async fn enforceable(&self) -> Result<Enforceable, ProviderError> {
        let segments = ["authentication", "required-actions", UPDATE_PASSWORD];
        let enabled = match self.get::<RequiredAction>(VERIFY, About::RequiredAction, &segments, &[]).await {
            Ok((action, _)) => action.enabled,
            Err(error) if error.kind == ErrorKind::NotFound => Some(false),
            Err(error) if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Forbidden) => {
                let message = "whether the required action UPDATE_PASSWORD is switched on cannot be read: ".to_owned();
                return Ok(Enforceable::Unknown(message + &error.message));
            }
            Err(error) => return Err(error),
        };
        Ok(match enabled {
            Some(true) => Enforceable::Yes,
            Some(false) => Enforceable::No(
                "the required action UPDATE_PASSWORD is switched off in this realm, so nobody would be asked: switch \
                 on Update Password under Authentication, Required actions"
                    .to_owned(),
            ),
            None => Enforceable::Unknown("Keycloak does not say whether UPDATE_PASSWORD is switched on".to_owned()),
        })
    }

    /// The own service account; `None` where it belongs to another realm, or searches do not show service accounts, as it
    /// depends on the version. Keycloak shows an empty list, no refusal, to whoever may search users but not view them;
    /// that neither the own account nor any of `users` people is seen tells the two apart.
    async fn own_account(&self, users: u64) -> Result<Option<User>, ProviderError> {
        if let Some(username) = self.own_username.as_deref() {
            let query = [("username", username), ("exact", "true"), ("briefRepresentation", "false")];
            let (Listed(users), _): (Listed<User>, _) = self.get(VERIFY, About::Realm, &["users"], &query).await?;
            let is_own = |user: &User| user.username.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(username));
            if let Some(own) = users.into_iter().find(is_own) {
                return Ok(Some(own));
            }
        } else if users == 0 {
            return Ok(None);
        }
        let query = [("first", "0"), ("max", "1")];
        let (Listed(anybody), response): (Listed<User>, _) = self.get(VERIFY, About::Realm, &["users"], &query).await?;
        if anybody.is_empty() {
            let message = wire::missing_roles(&self.realm, "view-users and manage-users");
            return Err(response.error(ErrorKind::PermissionDenied, message));
        }
        Ok(None)
    }

    async fn require_change(&self, id: &AccountId, gate: &Gate) -> Result<Applied, ProviderError> {
        let (user, account) = self.user(REQUIRE, &id.0).await?;
        if account.mark == Mark::Marked {
            return Ok(Applied { written: false, seen: Some(account) });
        }
        let Some(actions) = user.with_mark() else {
            let message = "the answer has no requiredActions, so writing the list would drop what is in it";
            return Err(ProviderError::new(ErrorKind::ResponseInvalid, REQUIRE, message));
        };
        let url = self.url(REQUIRE, &["users", &id.0])?;
        self.send(Request::write(REQUIRE, Method::PUT, url, gate).json(&actions)?, About::Write).await?;
        Ok(Applied { written: true, seen: None })
    }
}

#[async_trait]
impl Provider for Keycloak {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    async fn verify(&self, fresh_token: bool) -> Result<Tenant, ProviderError> {
        if fresh_token {
            self.http.forget_token().await;
        }
        let name = match self.get::<Realm>(VERIFY, About::RealmName, &[], &[]).await {
            Ok((realm, _)) => realm.display_name.filter(|name| !name.is_empty()).or(realm.realm),
            Err(error) if error.kind == ErrorKind::Forbidden => None,
            Err(error) => return Err(error),
        };
        let (users, _): (u64, _) = self.get(VERIFY, About::Realm, &["users", "count"], &[]).await?;
        let own = self.own_account(users).await?;
        let mut enforceable = self.enforceable().await?;
        let may_write = own.as_ref().and_then(|own| own.access).and_then(|access| access.manage);
        if may_write == Some(false) && enforceable == Enforceable::Yes {
            // Not a plain No: fine-grained permissions may allow writes to others than ourselves.
            enforceable = Enforceable::Unknown(wire::missing_roles(&self.realm, "manage-users"));
        }
        Ok(Tenant {
            id: format!("{}/realms/{}", self.base.origin(), self.realm),
            name,
            users: Some(users),
            own_account_has_password: own.is_some().then_some(false),
            own_account: own.map(|own| AccountId(own.id)),
            enforceable,
        })
    }

    async fn list(&self, listing: &Listing, cursor: Option<&Cursor>) -> Result<Page, ProviderError> {
        let (operation, about, segments) = match listing {
            Listing::Tenant => (LIST, About::Realm, vec!["users"]),
            Listing::Group(id) => (MEMBERS, About::Groups, vec!["groups", id.as_str(), "members"]),
            Listing::Population(_) => return Err(unsupported(LIST, "Keycloak has no populations: name a group")),
        };
        let start = || ProviderError::new(ErrorKind::ResponseInvalid, operation, "the listing was continued wrongly");
        let (trail, first) = match cursor {
            None => (Trail::start(), 0),
            Some(cursor) => {
                let (trail, first) = Trail::split(&cursor.0).ok_or_else(start)?;
                (trail, first.parse::<u64>().map_err(|_| start())?)
            }
        };
        let (position, size) = (first.to_string(), self.page_size.to_string());
        let query = [("first", position.as_str()), ("max", &size), ("briefRepresentation", "false")];
        let (Listed(users), response): (Listed<User>, _) = self.get(operation, about, &segments, &query).await?;
        // Keycloak announces no end: only an empty page is one.
        let next = if users.is_empty() {
            None
        } else {
            let ids: Vec<&str> = users.iter().map(|u| u.id.as_str()).collect();
            let trail = trail.step(&ids.join(" ")).ok_or_else(|| {
                response.error(ErrorKind::ResponseInvalid, "the listing repeats a page instead of going on")
            })?;
            Some(Cursor(trail.join(&(first + users.len() as u64).to_string())))
        };
        let accounts = users.iter().map(|user| user.account(response.answered_at)).collect();
        Ok(Page { accounts, next, total: None })
    }

    async fn sets(&self, kind: SetKind, name: &str) -> Result<Vec<String>, ProviderError> {
        if kind != SetKind::Group {
            return Err(unsupported(GROUPS, "Keycloak has no populations: name a group"));
        }
        let search = wire::group_search(name);
        if search.is_empty() || search.contains('\0') {
            return Ok(Vec::new());
        }
        // In one piece: Keycloak sorts hits by name only, so that with pages one of two groups of the same name came
        // twice and the other one never (seen with 26.7.3).
        let max = MOST_GROUPS.to_string();
        let query = [("search", search.as_str()), ("exact", "true"), ("first", "0"), ("max", &max)];
        let (Listed(groups), response): (Listed<Group>, _) =
            self.get(GROUPS, About::Groups, &["groups"], &query).await?;
        if groups.len() >= MOST_GROUPS {
            let message = format!("more than {MOST_GROUPS} groups match: name the group by its id");
            return Err(response.error(ErrorKind::ResponseInvalid, message));
        }
        let found = wire::matching_groups(&groups, name);
        if found.is_empty() && is_uuid(name) {
            return match self.get::<Group>(GROUPS, About::Groups, &["groups", name], &[]).await {
                Ok((group, _)) => Ok(wire::matching_groups(&[group], name)),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        Ok(found)
    }

    async fn find(&self, key: &UserKey) -> Result<Vec<Account>, ProviderError> {
        let (name, value) = match key {
            // Other parts of the API have these addresses.
            UserKey::Id(id) if ["count", "profile"].contains(&id.as_str()) => return Ok(Vec::new()),
            UserKey::Id(id) => {
                return match self.user(FIND, id).await {
                    Ok((_, account)) => Ok(vec![account]),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                };
            }
            UserKey::Username(username) => ("username", username),
            UserKey::Email(email) => ("email", email),
        };
        // An empty value is no criterion to Keycloak: it would answer everybody. Its database holds no NUL, and a search
        // for one is answered by a 400 (seen with 26.7.3).
        if value.trim().is_empty() || value.contains('\0') {
            return Ok(Vec::new());
        }
        let query = [(name, value.as_str()), ("exact", "true"), ("briefRepresentation", "false")];
        let (Listed(users), response): (Listed<User>, _) = self.get(FIND, About::Realm, &["users"], &query).await?;
        let mut accounts: Vec<Account> = users.iter().map(|user| user.account(response.answered_at)).collect();
        accounts.retain(|account| account.matches(key));
        Ok(accounts)
    }

    async fn complete(&self, row: Account) -> Result<Account, ProviderError> {
        if matches!(row.credential, Credential::Federated | Credential::Service) {
            return Ok(row);
        }
        let row = if row.mark == Mark::NotGiven || row.disabled.is_none() {
            self.user(READ, &row.id.0).await?.1
        } else {
            row
        };
        if row.mark == Mark::Unmarked && row.credential == Credential::NotGiven {
            return self.with_credentials(row).await;
        }
        Ok(row)
    }

    async fn read(&self, id: &AccountId) -> Result<Account, ProviderError> {
        // Of somebody who is marked no age is read: a password that is changed between the two calls would seem to be as
        // old as the mark, and the mark to have gone without a change.
        let (_, account) = self.user(READ, &id.0).await?;
        self.complete(account).await
    }

    async fn read_back(&self, id: &AccountId) -> Result<Account, ProviderError> {
        Ok(self.user(READ, &id.0).await?.1)
    }

    async fn apply(&self, step: &Step, gate: &Gate) -> Result<Applied, ProviderError> {
        match step {
            Step::RequireChange(id) => self.require_change(id, gate).await,
            Step::RevokeSessions(id) => {
                let url = self.url(LOGOUT, &["users", &id.0, "logout"])?;
                self.send(Request::write(LOGOUT, Method::POST, url, gate), About::Write).await?;
                Ok(Applied { written: true, seen: None })
            }
            Step::RequireEverybody => Err(unsupported(
                REQUIRE,
                "Keycloak has no call that requires a change of everybody: use strategy PerUser",
            )),
        }
    }

    fn clock(&self) -> Option<ClockReading> {
        self.http.clock()
    }
}

fn unsupported(operation: &'static str, message: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, operation, message)
}

/// Whether the text has the form of Keycloak's group ids.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .char_indices()
            .all(|(at, c)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() })
}
