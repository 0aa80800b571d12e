//! How does PingOne show users and require a change?
//!
//! One environment, through the platform API, as a worker application. Rows of a listing tell nothing about passwords, so
//! each candidate costs one read of its password state. What JSON means is in `wire`, how requests are sent in
//! [`super::http`], facts and sources in this folder's README.
//!
//! | operation | requests |
//! |---|---|
//! | verify | 3 |
//! | list | one a page |
//! | find | 1 |
//! | complete | 1; 0 where the row says that another system keeps the password |
//! | read | 2 |
//! | read back | 1 |
//! | require a change | 1; its answer is the read-back where it shows the mark |
//! | end sessions | one a page of sessions, and one a session |

mod wire;

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use self::wire::{About, Collection, Identified, Named, Password, Refusal, Row, Rows, User};
use super::http::{Auth, Base, ClientAuth, Http, HttpSettings, Request, Response, TokenSource, Trail};
use super::{ClockReading, ErrorKind, Gate, Provider, ProviderError};
use crate::plan::capabilities::{Capabilities, Keys, Paging, Visibility};
use crate::plan::observed::{
    Account, AccountId, Credential, Cursor, Enforceable, Listing, Mark, Page, SetKind, Tenant, UserKey, matching,
};
use crate::plan::step::{Applied, Step};

/// What PingOne can show and do.
pub const CAPABILITIES: Capabilities = Capabilities {
    name: "PingOne",
    visibility: Visibility::MarkAndChangeTime,
    list_shows_mark: false,
    list_shows_change_time: false,
    paging: Paging::Cursor,
    keys: Keys { id: true, username: true, email: true, absence_is_proof: true },
    groups: true,
    populations: true,
    revoke_sessions: true,
    tenant_native: false,
    repeat_without_effect: false,
    calls_per_write: 1,
    batch: 200,
    page_size: 200,
    observe_period_seconds: 900,
    max_probe_period_seconds: 3600,
    side_effects: "each call also unlocks a password that failed attempts have locked, resets the counter of the MFA \
                   lockout and raises a USER.UNLOCKED event",
    limits: "one read per user; a locked-out password hides whether a change is required; a worker application with a \
             role on one population sees that population only; a requirement cannot be taken back",
    sources: &[
        "https://developer.pingidentity.com/pingone-api/platform/users/user-passwords/force-change-password.html",
        "https://developer.pingidentity.com/pingone-api/platform/users/user-passwords.html",
        "https://developer.pingidentity.com/pingone-api/platform/users/user-passwords/read-password-state.html",
        "https://developer.pingidentity.com/pingone-api/platform/reference/paging-ordering-filtering-collections.html",
        "https://developer.pingidentity.com/pingone-api/platform/reference/error-codes.html",
        "https://docs.pingidentity.com/pingone/directory/p1_searching_groups.html",
    ],
};

/// The media type that makes a POST to a password a forced change. Without `+json`, and with no body.
const FORCE_CHANGE: &str = "application/vnd.pingidentity.password.forceChange";
/// The largest page that the vendor's pages allow for users.
const LARGEST_PAGE: u32 = 200;
/// Empty pages in a row after which a listing is taken for endless.
const MOST_EMPTY_PAGES: u32 = 50;
/// Pages of groups, populations, hits or sessions that are read at most: more than anybody has.
const MOST_PAGES: usize = 1000;
/// Groups, populations, hits or sessions that are read at most.
const MOST_ROWS: usize = 10_000;

/// How long is paused where a limit is said to be reached by another status than 429, and without a time.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

const LIST: &str = "list users";
const GROUPS: &str = "list groups";
const POPULATIONS: &str = "list populations";
const FIND: &str = "find a user";
const READ: &str = "read a user";
const PASSWORD: &str = "read a password state";
const REQUIRE: &str = "require a password change";
const SESSIONS: &str = "end sessions";
const VERIFY: &str = "verify the environment";

/// How to reach one environment.
pub struct PingOneConfig {
    /// The environment whose users are looked at.
    pub environment_id: String,
    /// The environment of the worker application, where it is another one.
    pub worker_environment_id: Option<String>,
    /// The platform API, with or without `/v1`, for example `https://api.pingone.eu/v1`.
    pub api_base: Url,
    /// Where tokens come from, for example `https://auth.pingone.eu`.
    pub auth_base: Url,
    /// Client id of the worker application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// How the worker application sends it.
    pub client_auth: ClientAuth,
    /// Rows asked for per page; at most 200 are.
    pub page_size: u32,
}

/// One PingOne environment.
pub struct PingOne {
    http: Http,
    base: Base,
    environment_id: String,
    page_size: String,
}

impl PingOne {
    /// Prepares a client; no request is sent.
    ///
    /// *Errors*: those of [`Base::new`] and [`Http::new`].
    pub fn connect(config: PingOneConfig, settings: HttpSettings) -> Result<Self, ProviderError> {
        let base = Base::new(config.api_base, &["v1"])?;
        let worker = config.worker_environment_id.as_deref().unwrap_or(&config.environment_id);
        let token_url = Base::new(config.auth_base, &[])?.url("fetch token", &[worker, "as", "token"])?;
        let source = TokenSource::client_credentials(
            token_url,
            &config.client_id,
            config.client_secret,
            config.client_auth,
            "check clientID, clientSecret, workerEnvironmentID and tokenEndpointAuthMethod, and that the worker \
             application is enabled",
        );
        let http = Http::new(settings, Auth::bearer(source, token_is_refused))?;
        let page_size = config.page_size.clamp(1, LARGEST_PAGE).to_string();
        Ok(Self { http, base, environment_id: config.environment_id.to_ascii_lowercase(), page_size })
    }

    fn url(&self, operation: &'static str, segments: &[&str]) -> Result<Url, ProviderError> {
        self.base.url(operation, &[&["environments", &self.environment_id], segments].concat())
    }

    async fn send(&self, request: Request, about: About) -> Result<Response, ProviderError> {
        let response = self.http.send(request).await?;
        let status = response.status.as_u16();
        if response.status.is_success() {
            return Ok(response);
        }
        let refusal = Refusal::parse(response.body());
        let mut error = match refusal.classify(about, status) {
            Some((kind, message)) => response.error(kind, message),
            None => response.unclassified(),
        };
        if error.kind == ErrorKind::Throttled {
            let named = error.retry_after;
            error.retry_after = named.or(refusal.retry_after());
            // The limiter takes in a 429 and its header by itself, but neither a body nor another status.
            match error.retry_after {
                Some(pause) if named.is_none() || status != 429 => self.http.limiter().block_for(pause),
                None if status != 429 => self.http.limiter().block_for(SHORT_PAUSE),
                _ => {}
            }
        }
        Err(error)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        about: About,
        segments: &[&str],
    ) -> Result<(T, Response), ProviderError> {
        let response = self.send(Request::get(operation, self.url(operation, segments)?), about).await?;
        Ok((response.json()?, response))
    }

    /// One page of the collection at `segments` and, where there is a next one, its address.
    async fn page<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        about: About,
        segments: &[&str],
        request: Request,
    ) -> Result<(Rows<T>, Option<Url>, Response), ProviderError> {
        let name = segments.last().copied().unwrap_or_default();
        let response = self.send(request, about).await?;
        let missing = || response.error(ErrorKind::ResponseInvalid, "the answer holds no such list");
        let rows = response.json::<Collection<T>>()?.rows(name).ok_or_else(missing)?;
        let here = self.url(operation, segments)?;
        let next = match &rows.next {
            Some(link) => Some(self.http.same_origin(operation, &here, link)?),
            None => None,
        };
        Ok((rows, next, response))
    }

    /// Every row of a small collection, with the time of the answer that it stood in.
    async fn all<T: DeserializeOwned + Row>(
        &self,
        operation: &'static str,
        about: About,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<(T, Timestamp)>, ProviderError> {
        let mut request = Request::get(operation, self.url(operation, segments)?).query(query);
        let (mut all, mut past) = (Vec::new(), Past::start());
        for _ in 0..MOST_PAGES {
            let (page, next, response) = self.page::<T>(operation, about, segments, request).await?;
            let step = past.step(&page.rows);
            all.extend(page.rows.into_iter().map(|row| (row, response.answered_at)));
            if all.len() > MOST_ROWS {
                break;
            }
            let Some(next) = next else { return Ok(all) };
            past = step.ok_or_else(|| circles(operation))?;
            request = Request::get(operation, next);
        }
        Err(circles(operation))
    }

    async fn password(&self, id: &AccountId, account: &mut Account) -> Result<(), ProviderError> {
        let (password, response) = self.get::<Password>(PASSWORD, About::User, &["users", &id.0, "password"]).await?;
        if password.is_about_another(id) {
            return Err(response.error(ErrorKind::ResponseInvalid, "the answer is about another user"));
        }
        if !password.is_state() {
            return Err(response.error(ErrorKind::ResponseInvalid, "the answer is no password state"));
        }
        password.fill(account, response.answered_at);
        Ok(())
    }

    async fn user(&self, operation: &'static str, id: &AccountId) -> Result<Account, ProviderError> {
        let (user, response) = self.get::<User>(operation, About::User, &["users", &id.0]).await?;
        if user.id != id.0 {
            return Err(response.error(ErrorKind::ResponseInvalid, "the answer is about another user"));
        }
        Ok(user.account(response.answered_at))
    }

    async fn require_change(&self, id: &AccountId, gate: &Gate) -> Result<Applied, ProviderError> {
        let url = self.url(REQUIRE, &["users", &id.0, "password"])?;
        let request = Request::write(REQUIRE, Method::POST, url, gate).header(CONTENT_TYPE, FORCE_CHANGE);
        let response = self.send(request, About::User).await?;
        if response.body().is_empty() {
            return Ok(Applied { written: true, seen: None });
        }
        let password: Password = response.json()?;
        let seen = password.shows_requirement(id).then(|| {
            let mut account = Account::unknown(id.0.clone(), response.answered_at);
            password.fill(&mut account, response.answered_at);
            account
        });
        Ok(Applied { written: true, seen })
    }

    async fn revoke_sessions(&self, id: &AccountId, gate: &Gate) -> Result<Applied, ProviderError> {
        let sessions: Vec<(Identified, _)> =
            self.all(SESSIONS, About::Sessions, &["users", &id.0, "sessions"], &[]).await?;
        let mut written = false;
        for (session, _) in sessions {
            let url = self.url(SESSIONS, &["users", &id.0, "sessions", &session.id])?;
            match self.send(Request::write(SESSIONS, Method::DELETE, url, gate), About::Sessions).await {
                // Ended meanwhile, which is all that was wanted.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                other => {
                    other?;
                }
            }
            written = true;
        }
        Ok(Applied { written, seen: None })
    }

    /// Rows whose name is exactly `name`, and the one whose id is.
    async fn named(
        &self,
        operation: &'static str,
        collection: &str,
        operator: &str,
        name: &str,
    ) -> Result<Vec<String>, ProviderError> {
        let about = About::Tenant(operation);
        let mut ids = Vec::new();
        if let Some(filter) = wire::comparison("name", operator, name) {
            let query = [("limit", self.page_size.as_str()), ("filter", filter.as_str())];
            let found: Vec<(Named, _)> = self.all(operation, about, &[collection], &query).await?;
            for (set, _) in found {
                if set.name.as_deref() == Some(name) && !ids.contains(&set.id) {
                    ids.push(set.id);
                }
            }
        }
        if wire::is_uuid(name) {
            match self.get::<Named>(operation, About::Member(operation), &[collection, name]).await {
                Ok((set, _)) if set.id.eq_ignore_ascii_case(name) && !ids.contains(&set.id) => ids.push(set.id),
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ids)
    }
}

fn circles(operation: &'static str) -> ProviderError {
    let message = "the listing goes in circles or never ends";
    ProviderError::new(ErrorKind::ResponseInvalid, operation, message)
}

fn token_is_refused(response: &Response) -> bool {
    response.status.is_client_error() && Refusal::parse(response.body()).refuses_token(response.status.as_u16())
}

/// What the pages of a listing looked like so far, to notice one that never ends.
#[derive(Clone, Copy)]
struct Past {
    /// Empty pages in a row. They look alike without being a circle.
    empty: u32,
    /// The trail of the others.
    trail: Trail,
}

impl Past {
    fn start() -> Self {
        Self { empty: 0, trail: Trail::start() }
    }

    /// Goes on past a page with these rows. `None` means that the listing goes in circles or never ends. Links are no
    /// sign of that: each may carry a new cursor to the same page.
    fn step<T: Row>(self, rows: &[T]) -> Option<Self> {
        if rows.is_empty() {
            let empty = self.empty + 1;
            return (empty < MOST_EMPTY_PAGES).then_some(Self { empty, ..self });
        }
        let ids: Vec<&str> = rows.iter().map(Row::id).collect();
        Some(Self { empty: 0, trail: self.trail.step(&ids.join(" "))? })
    }

    fn cursor(self, next: &Url) -> Cursor {
        Cursor(format!("{} {}", self.empty, self.trail.join(next.as_str())))
    }

    fn of(cursor: &Cursor) -> Option<(Self, Url)> {
        let (empty, rest) = cursor.0.split_once(' ')?;
        let (trail, next) = Trail::split(rest)?;
        Some((Self { empty: empty.parse().ok()?, trail }, next.parse().ok()?))
    }
}

#[async_trait]
impl Provider for PingOne {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    async fn verify(&self, fresh_token: bool) -> Result<Tenant, ProviderError> {
        if fresh_token {
            self.http.forget_token().await;
        }
        let name = match self.get::<Named>(VERIFY, About::Tenant("read the environment"), &[]).await {
            Ok((environment, response)) if !environment.id.eq_ignore_ascii_case(&self.environment_id) => {
                return Err(response.error(ErrorKind::ResponseInvalid, "the answer is about another environment"));
            }
            Ok((environment, _)) => environment.name,
            // What only the name is lost to stops nobody; the list of users tells whether the environment is there.
            Err(error) if error.is_refusal() || error.is_unreadable() || error.kind == ErrorKind::Unsupported => None,
            Err(error) => return Err(error),
        };
        let request = Request::get(VERIFY, self.url(VERIFY, &["users"])?).query(&[("limit", "1")]);
        let (page, _, _) = self.page::<User>(VERIFY, About::Tenant("list users"), &["users"], request).await?;
        if let Some(user) = page.rows.first() {
            let about = About::Member("read password states");
            match self.get::<Password>(VERIFY, about, &["users", &user.id, "password"]).await {
                // Deleted between two calls, or refused for what this one user is: nothing is said of the others.
                Err(error) if error.kind != ErrorKind::PermissionDenied && !error.concerns_tenant() => {}
                other => {
                    other?;
                }
            }
        }
        Ok(Tenant {
            id: self.environment_id.clone(),
            name,
            users: page.total,
            own_account: None,
            own_account_has_password: None,
            enforceable: Enforceable::Yes,
        })
    }

    async fn list(&self, listing: &Listing, cursor: Option<&Cursor>) -> Result<Page, ProviderError> {
        let invalid = |message| ProviderError::new(ErrorKind::ResponseInvalid, LIST, message);
        let (past, request) = match cursor {
            Some(cursor) => {
                let (past, next) = Past::of(cursor).ok_or_else(|| invalid("the place in the listing is unreadable"))?;
                (past, Request::get(LIST, next))
            }
            None => {
                let filter = match listing {
                    Listing::Tenant => Some(None),
                    Listing::Group(id) => wire::members(id).map(Some),
                    Listing::Population(id) => wire::comparison("population.id", "eq", id).map(Some),
                };
                let filter = filter
                    .ok_or_else(|| ProviderError::new(ErrorKind::NotFound, LIST, "an id of this form cannot exist"))?;
                let mut query = vec![("limit", self.page_size.as_str())];
                query.extend(filter.as_deref().map(|filter| ("filter", filter)));
                (Past::start(), Request::get(LIST, self.url(LIST, &["users"])?).query(&query))
            }
        };
        let (page, next, response) = self.page::<User>(LIST, About::Tenant("list users"), &["users"], request).await?;
        let next = match next {
            None => None,
            Some(next) => Some(past.step(&page.rows).ok_or_else(|| circles(LIST))?.cursor(&next)),
        };
        if page.rows.iter().any(|user| user.id.is_empty()) {
            return Err(response.error(ErrorKind::ResponseInvalid, "a user in the list has no id"));
        }
        let accounts = page.rows.into_iter().map(|user| user.account(response.answered_at)).collect();
        Ok(Page { accounts, next, total: page.total })
    }

    async fn sets(&self, kind: SetKind, name: &str) -> Result<Vec<String>, ProviderError> {
        match kind {
            SetKind::Group => self.named(GROUPS, "groups", "eq", name).await,
            // Populations can be filtered by the beginning of their name only.
            SetKind::Population => self.named(POPULATIONS, "populations", "sw", name).await,
        }
    }

    async fn find(&self, key: &UserKey) -> Result<Vec<Account>, ProviderError> {
        let (attribute, value) = match key {
            UserKey::Id(id) if !wire::is_uuid(id) => return Ok(Vec::new()),
            // PingOne shows ids in lower case; a UUID is the same in either (RFC 9562 section 4). Who is excluded by one in
            // upper case must not be asked.
            UserKey::Id(id) => {
                return match self.user(FIND, &AccountId(id.to_ascii_lowercase())).await {
                    Ok(account) => Ok(vec![account]),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                };
            }
            UserKey::Username(name) => ("username", name),
            UserKey::Email(email) => ("email", email),
        };
        // The vendor's page on filters says "identical" of `eq`, not whether case matters.
        let lower = value.to_lowercase();
        let spellings = [value, &lower];
        let spellings = if lower == *value { &spellings[..1] } else { &spellings[..] };
        for spelling in spellings {
            let Some(filter) = wire::comparison(attribute, "eq", spelling) else { return Ok(Vec::new()) };
            let query = [("limit", self.page_size.as_str()), ("filter", filter.as_str())];
            let found: Vec<(User, _)> = self.all(FIND, About::Tenant("list users"), &["users"], &query).await?;
            let found = matching(key, found.into_iter().map(|(user, at)| user.account(at)));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    async fn complete(&self, mut row: Account) -> Result<Account, ProviderError> {
        if row.credential == Credential::Federated {
            return Ok(row);
        }
        if row.disabled.is_none() || row.locked.is_none() {
            return self.read(&row.id).await;
        }
        if row.mark == Mark::NotGiven {
            let id = row.id.clone();
            self.password(&id, &mut row).await?;
        }
        Ok(row)
    }

    async fn read(&self, id: &AccountId) -> Result<Account, ProviderError> {
        let mut account = self.user(READ, id).await?;
        self.password(id, &mut account).await?;
        Ok(account)
    }

    async fn read_back(&self, id: &AccountId) -> Result<Account, ProviderError> {
        let mut account = Account::unknown(id.0.clone(), Timestamp::UNIX_EPOCH);
        self.password(id, &mut account).await?;
        Ok(account)
    }

    async fn apply(&self, step: &Step, gate: &Gate) -> Result<Applied, ProviderError> {
        match step {
            Step::RequireChange(id) => self.require_change(id, gate).await,
            Step::RevokeSessions(id) => self.revoke_sessions(id, gate).await,
            Step::RequireEverybody => Err(ProviderError::new(
                ErrorKind::Unsupported,
                "require a change of everybody",
                "PingOne has no call for everybody; use the strategy PerUser",
            )),
        }
    }

    fn clock(&self) -> Option<ClockReading> {
        self.http.clock()
    }
}
