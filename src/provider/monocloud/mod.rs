//! How does MonoCloud show users and require a change?
//!
//! One tenant, through the management API, with its API key. The mark is `force_password_reset`, and rows of a listing
//! carry everything. What JSON means is in `wire`, how requests are sent in [`super::http`], facts and sources in this
//! folder's README.
//!
//! | operation | requests |
//! |---|---|
//! | verify | 1 |
//! | list | one a page |
//! | find | 1 by id; by name or address 1, unless the search finds more than a page |
//! | complete | 0; 1 where a row lacks something |
//! | require a change | 1; its answer is the read-back where it shows the mark |
//! | end sessions | one a page of sessions, and one a session |

mod wire;

use async_trait::async_trait;
use http::{HeaderName, Method};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use self::wire::{About, Depth, Group, PageAt, Pagination, Row, Session, User};
use super::http::{Auth, Base, Http, HttpSettings, Listed, Request, Response, Trail};
use super::{ClockReading, ErrorKind, Gate, Provider, ProviderError};
use crate::plan::capabilities::{Capabilities, Keys, Paging, Visibility};
use crate::plan::observed::{
    Account, AccountId, ChangeTime, Credential, Cursor, Enforceable, Listing, Mark, Page, SetKind, Tenant, UserKey,
    matching,
};
use crate::plan::step::{Applied, Step};

/// What MonoCloud can show and do.
pub const CAPABILITIES: Capabilities = Capabilities {
    name: "MonoCloud",
    visibility: Visibility::MarkAndChangeTime,
    list_shows_mark: true,
    list_shows_change_time: true,
    paging: Paging::Offset,
    keys: Keys { id: true, username: true, email: true, absence_is_proof: false },
    groups: true,
    populations: false,
    revoke_sessions: true,
    tenant_native: false,
    repeat_without_effect: true,
    calls_per_write: 1,
    batch: 200,
    page_size: 50,
    observe_period_seconds: 900,
    max_probe_period_seconds: 3600,
    side_effects: "none documented",
    limits: "takes effect at the next sign-in with the password: passkeys, magic links and social sign-ins are not \
             gated; ending sessions needs the Pro plan, and tokens already issued live on unless the application ties \
             them to sessions",
    sources: &[
        "https://www.monocloud.com/docs/apis/identity/users/set_password_reset_required",
        "https://www.monocloud.com/docs/apis/identity/users/get_all_users",
        "https://github.com/monocloud/management-js/tree/main/packages/management/src",
    ],
};

/// How many pages of hits are looked through for one name or address. A search for an address finds one
/// user; what lies further back is found by a listing, since a search proves no absence anyway.
const MOST_SEARCH_PAGES: usize = 4;
/// How many pages of groups, or of one user's sessions, are read at most: more than anybody has.
const MOST_PAGES: usize = 1000;
/// How many of them are read at most.
const MOST_ROWS: usize = 10_000;
/// How listings of users are sorted: by a field that never changes, so that pages keep their places.
const BY_CREATION: (&str, &str) = ("sort", "creation_time:1");

const LIST: &str = "list users";
const MEMBERS: &str = "list members of a group";
const GROUPS: &str = "list groups";
const FIND: &str = "find a user";
const READ: &str = "read a user";
const REQUIRE: &str = "require a password change";
const SESSIONS: &str = "end sessions";
const VERIFY: &str = "verify the tenant";

/// How to reach one tenant.
pub struct MonoCloudConfig {
    /// The tenant's domain, with or without `/api`.
    pub base_url: Url,
    /// An API key of that tenant.
    pub api_key: SecretString,
    /// Rows asked for per page.
    pub page_size: u32,
}

/// One MonoCloud tenant.
pub struct MonoCloud {
    http: Http,
    base: Base,
    page_size: u32,
}

/// Rows of one page of anything, and where it goes on.
struct Rows<T> {
    rows: Vec<T>,
    next: Option<(Trail, PageAt)>,
    total: Option<u64>,
    response: Response,
}

impl MonoCloud {
    /// Prepares a client; no request is sent.
    ///
    /// *Errors*: those of [`Base::new`] and [`Http::new`].
    pub fn connect(config: MonoCloudConfig, settings: HttpSettings) -> Result<Self, ProviderError> {
        let base = Base::new(config.base_url, &["api"])?;
        let http = Http::new(settings, Auth::Header(HeaderName::from_static("x-api-key"), config.api_key))?;
        Ok(Self { http, base, page_size: config.page_size.max(1) })
    }

    async fn send(&self, request: Request, about: About) -> Result<Response, ProviderError> {
        let response = self.http.send(request).await?;
        if response.status.is_success() {
            return Ok(response);
        }
        Err(match wire::refusal(about, response.status.as_u16(), response.body()) {
            Some((kind, message)) => response.error(kind, message),
            None => response.unclassified(),
        })
    }

    /// One page of a list.
    async fn page<T: DeserializeOwned + Row>(
        &self,
        operation: &'static str,
        about: About,
        segments: &[&str],
        (trail, at): (Trail, PageAt),
        query: &[(&str, &str)],
    ) -> Result<Rows<T>, ProviderError> {
        let (page, size) = (at.page.to_string(), at.size.to_string());
        let request = Request::get(operation, self.base.url(operation, segments)?)
            .query(&[("page", page.as_str()), ("size", &size)])
            .query(query);
        let response = self.send(request, about).await?;
        let Listed(rows): Listed<T> = response.json()?;
        let invalid = |message: String| response.error(ErrorKind::ResponseInvalid, message);
        let header = match response.headers.get("x-pagination") {
            Some(value) => Some(Pagination::parse(value.to_str().unwrap_or_default()).map_err(invalid)?),
            None => None,
        };
        let next = match at.next(rows.len(), header.as_ref()).map_err(invalid)? {
            None => None,
            Some(next) => {
                let ids: Vec<&str> = rows.iter().map(Row::id).collect();
                // Empty pages all look alike without going in circles; `PageAt` counts them.
                let here = if ids.is_empty() { next.to_cursor() } else { ids.join(" ") };
                let circle = || invalid("the list repeats a page instead of going on".to_owned());
                Some((trail.step(&here).ok_or_else(circle)?, next))
            }
        };
        Ok(Rows { rows, next, total: header.and_then(|h| h.total_count), response })
    }

    /// A list to its end, or its first `pages` pages, each row with the time of its answer; and whether that is all.
    async fn rows<T: DeserializeOwned + Row>(
        &self,
        operation: &'static str,
        about: About,
        segments: &[&str],
        query: &[(&str, &str)],
        pages: usize,
    ) -> Result<(Vec<(T, Timestamp)>, bool), ProviderError> {
        let mut rows = Vec::new();
        let mut next = Some(self.first(self.page_size));
        for _ in 0..pages {
            let Some(position) = next else { break };
            let page: Rows<T> = self.page(operation, about, segments, position, query).await?;
            rows.extend(page.rows.into_iter().map(|row| (row, page.response.answered_at)));
            next = page.next;
            if rows.len() > MOST_ROWS {
                break;
            }
        }
        Ok((rows, next.is_none()))
    }

    fn first(&self, size: u32) -> (Trail, PageAt) {
        (Trail::start(), PageAt::first(size))
    }

    async fn user(&self, operation: &'static str, id: &str) -> Result<Account, ProviderError> {
        let request = Request::get(operation, self.base.url(operation, &["users", id])?);
        let response = self.send(request, About::Account).await?;
        let user: User = response.json()?;
        if user.user_id != id {
            return Err(response.error(ErrorKind::ResponseInvalid, "the answer is about another user"));
        }
        user.account(Depth::Whole, response.answered_at).map_err(|m| response.error(ErrorKind::ResponseInvalid, m))
    }

    async fn require_change(&self, id: &AccountId, gate: &Gate) -> Result<Applied, ProviderError> {
        let url = self.base.url(REQUIRE, &["users", &id.0, "password", "force_reset"])?;
        let response = self.send(Request::write(REQUIRE, Method::POST, url, gate), About::Account).await?;
        if response.body().is_empty() {
            return Ok(Applied { written: true, seen: None });
        }
        let user: User = response.json()?;
        // A success without the mark, or about somebody else, proves nothing: the caller reads the account then.
        let seen = user.account(Depth::Whole, response.answered_at).ok();
        let seen = seen.filter(|account| account.id == *id && account.mark == Mark::Marked);
        Ok(Applied { written: true, seen })
    }

    async fn revoke_sessions(&self, id: &AccountId, gate: &Gate) -> Result<Applied, ProviderError> {
        let mut written = false;
        let mut at = PageAt::first(self.page_size);
        let mut sessions: Vec<Session> = Vec::new();
        for _ in 0..MOST_PAGES {
            let segments = ["users", id.0.as_str(), "sessions"];
            let page: Rows<Session> =
                self.page(SESSIONS, About::Sessions, &segments, (Trail::start(), at), &[]).await?;
            let known = sessions.len();
            for session in page.rows {
                if sessions.iter().all(|other| other.session_id != session.session_id) {
                    sessions.push(session);
                }
            }
            if sessions.len() > MOST_ROWS {
                return Err(ProviderError::new(
                    ErrorKind::ResponseInvalid,
                    SESSIONS,
                    "the list of sessions does not end",
                ));
            }
            // Nothing new: a server that gives all sessions on every page.
            match page.next {
                Some((_, next)) if sessions.len() > known => at = next,
                _ => break,
            }
        }
        for session in sessions {
            let url = self.base.url(SESSIONS, &["users", &id.0, "sessions", &session.session_id])?;
            match self.send(Request::write(SESSIONS, Method::DELETE, url, gate), About::Sessions).await {
                Ok(_) => written = true,
                // Ended on its own meanwhile.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Applied { written, seen: None })
    }
}

#[async_trait]
impl Provider for MonoCloud {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    async fn verify(&self, _fresh_token: bool) -> Result<Tenant, ProviderError> {
        let page: Rows<User> = self.page(VERIFY, About::Tenant, &["users"], self.first(1), &[]).await?;
        Ok(Tenant {
            id: self.base.origin().to_string(),
            name: None,
            users: page.total,
            own_account: None,
            own_account_has_password: None,
            enforceable: Enforceable::Unknown(
                "MonoCloud has no setting to read: it asks at the next sign-in with the password".to_owned(),
            ),
        })
    }

    async fn list(&self, listing: &Listing, cursor: Option<&Cursor>) -> Result<Page, ProviderError> {
        let (operation, about, segments) = match listing {
            Listing::Tenant => (LIST, About::Tenant, vec!["users"]),
            Listing::Group(id) => (MEMBERS, About::Group, vec!["users", "groups", id.as_str(), "assigned"]),
            Listing::Population(_) => return Err(unsupported(LIST, "MonoCloud has no populations: name a group")),
        };
        let position = match cursor {
            None => self.first(self.page_size),
            Some(cursor) => Trail::split(&cursor.0)
                .and_then(|(trail, position)| Some((trail, PageAt::from_cursor(position)?)))
                .ok_or_else(|| {
                    ProviderError::new(ErrorKind::ResponseInvalid, operation, "the listing was continued wrongly")
                })?,
        };
        let page: Rows<User> = self.page(operation, about, &segments, position, &[BY_CREATION]).await?;
        let accounts = page.rows.iter().map(|user| user.account(Depth::Row, page.response.answered_at));
        let accounts = accounts
            .collect::<Result<_, _>>()
            .map_err(|message| page.response.error(ErrorKind::ResponseInvalid, message))?;
        let next = page.next.map(|(trail, at)| Cursor(trail.join(&at.to_cursor())));
        Ok(Page { accounts, next, total: page.total })
    }

    async fn sets(&self, kind: SetKind, name: &str) -> Result<Vec<String>, ProviderError> {
        if kind != SetKind::Group {
            return Err(unsupported(GROUPS, "MonoCloud has no populations: name a group"));
        }
        let sort = [("sort", "name:1")];
        let (groups, all) = self.rows::<Group>(GROUPS, About::Tenant, &["groups"], &sort, MOST_PAGES).await?;
        if !all {
            return Err(ProviderError::new(ErrorKind::ResponseInvalid, GROUPS, "the list of groups does not end"));
        }
        let named = groups.into_iter().map(|(group, _)| group);
        let named = named.filter(|group| group.group_id == name || group.name.as_deref() == Some(name));
        let mut ids: Vec<String> = named.map(|group| group.group_id).collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    async fn find(&self, key: &UserKey) -> Result<Vec<Account>, ProviderError> {
        let value = match key {
            UserKey::Id(id) => {
                return match self.user(FIND, id).await {
                    Ok(account) => Ok(vec![account]),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(error),
                };
            }
            UserKey::Username(value) | UserKey::Email(value) => value.trim(),
        };
        if value.is_empty() {
            return Ok(Vec::new());
        }
        let term = wire::search_term(value);
        let query = [("filter", term.as_str()), BY_CREATION];
        let (users, _) = self.rows::<User>(FIND, About::Tenant, &["users"], &query, MOST_SEARCH_PAGES).await?;
        let accounts = users.iter().map(|(user, answered_at)| user.account(Depth::Row, *answered_at));
        let accounts: Vec<Account> = accounts
            .collect::<Result<_, _>>()
            .map_err(|message| ProviderError::new(ErrorKind::ResponseInvalid, FIND, message))?;
        Ok(matching(key, accounts))
    }

    async fn complete(&self, row: Account) -> Result<Account, ProviderError> {
        // A missing password or a password elsewhere says all there is to say.
        let settled = matches!(row.credential, Credential::NoPassword | Credential::Federated | Credential::Service);
        let lacks = row.credential == Credential::NotGiven
            || row.mark == Mark::NotGiven
            || row.disabled.is_none()
            || (row.changed == ChangeTime::NotGiven && row.mark != Mark::Marked);
        if lacks && !settled { self.user(READ, &row.id.0).await } else { Ok(row) }
    }

    async fn read(&self, id: &AccountId) -> Result<Account, ProviderError> {
        self.user(READ, &id.0).await
    }

    async fn read_back(&self, id: &AccountId) -> Result<Account, ProviderError> {
        self.user(READ, &id.0).await
    }

    async fn apply(&self, step: &Step, gate: &Gate) -> Result<Applied, ProviderError> {
        match step {
            Step::RequireChange(id) => self.require_change(id, gate).await,
            Step::RevokeSessions(id) => self.revoke_sessions(id, gate).await,
            Step::RequireEverybody => Err(unsupported(
                REQUIRE,
                "MonoCloud has no call that requires a change of everybody: use strategy PerUser",
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
