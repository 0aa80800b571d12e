//! How does Looker show users and require a change?
//!
//! One instance, through API 4.0, as a Looker user with an API key. Looker shows the mark and the last sign-in with the
//! password, never when the password changed. What JSON means is in `wire`, how requests are sent in [`super::http`],
//! facts and sources in this folder's README.
//!
//! | operation | requests |
//! |---|---|
//! | verify | 3; 1 more where the own user shows no credential |
//! | list | one a page |
//! | find | 1 |
//! | complete | 0; 1 where a row says nothing about the e-mail credential |
//! | read, read back | 1 |
//! | require a change | 1; its answer is the read-back where it shows the mark |
//! | require a change of everybody | 1 |
//! | end sessions | 1, and one a session |

mod wire;

use async_trait::async_trait;
use http::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use self::wire::{
    About, CREDENTIAL_FIELDS, CredentialOwner, EmailCredential, Group, Identified, Next, USER_FIELDS, User,
};
use super::http::{Auth, Base, Http, HttpSettings, Listed, Request, Response, TokenSource, Trail, is_unauthorized};
use super::{ClockReading, ErrorKind, Gate, Provider, ProviderError};
use crate::plan::capabilities::{Capabilities, Keys, Paging, Visibility};
use crate::plan::observed::{
    Account, AccountId, Credential, Cursor, Enforceable, Listing, Mark, Page, SetKind, Tenant, UserKey, matching,
};
use crate::plan::step::{Applied, Step};

/// What Looker can show and do.
pub const CAPABILITIES: Capabilities = Capabilities {
    name: "Looker",
    visibility: Visibility::MarkAndSignIn,
    list_shows_mark: true,
    list_shows_change_time: false,
    paging: Paging::Offset,
    keys: Keys { id: true, username: false, email: true, absence_is_proof: true },
    groups: true,
    populations: false,
    revoke_sessions: true,
    tenant_native: true,
    repeat_without_effect: true,
    calls_per_write: 1,
    batch: 25,
    page_size: 100,
    observe_period_seconds: 86_400,
    max_probe_period_seconds: 21_600,
    side_effects: "none documented; the call for everybody also marks people who have already complied, and the API user \
                   if it has an e-mail credential",
    limits: "no time of the last change: whoever changed the password before the first look is asked again, and a change \
             is inferred from a sign-in after the mark is gone; calls count against a monthly allowance; Looker (Google \
             Cloud core) may deny password calls",
    sources: &[
        "https://cloud.google.com/looker/docs/reference/looker-api/latest/methods/Auth/force_password_reset_at_next_login_for_all_users",
        "https://github.com/looker-open-source/sdk-codegen/blob/main/spec/Looker.4.0.oas.json",
        "https://github.com/looker-open-source/sdk-codegen/blob/main/docs/paging.md",
        "https://cloud.google.com/looker/docs/api-troubleshooting",
        "https://cloud.google.com/terms/looker/legal/customers/licensing",
    ],
};

/// Pages of groups or hits that are read at most: more than anybody has.
const MOST_PAGES: usize = 1000;
/// Groups or hits that are read at most.
const MOST_HITS: usize = 10_000;

const LIST: &str = "list users";
const GROUPS: &str = "list groups";
const FIND: &str = "find a user";
const READ: &str = "read a user";
const REQUIRE: &str = "require a password change";
const REQUIRE_ALL: &str = "require a password change of everybody";
const SESSIONS: &str = "end sessions";
const VERIFY: &str = "verify the instance";

/// How to reach one instance.
pub struct LookerConfig {
    /// The API host with its port, with or without `/api/4.0`.
    pub base_url: Url,
    /// Client id of the API key.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Rows asked for per page.
    pub page_size: u32,
}

/// One Looker instance.
pub struct Looker {
    http: Http,
    base: Base,
    page_size: u64,
}

/// A place in a listing: the offset that the next page begins at, the trail of the pages so far, and the next page's
/// address where an answer gave one.
struct Place {
    offset: u64,
    trail: Trail,
    link: Option<Url>,
}

impl Place {
    fn start() -> Self {
        Self { offset: 0, trail: Trail::start(), link: None }
    }

    fn to_cursor(&self) -> Cursor {
        let link = self.link.as_ref().map_or("", |link| link.as_str());
        Cursor(format!("{} {}", self.offset, self.trail.join(link)))
    }

    fn of(cursor: &Cursor) -> Option<Self> {
        let (offset, rest) = cursor.0.split_once(' ')?;
        let (trail, link) = Trail::split(rest)?;
        let link = if link.is_empty() { None } else { Some(link.parse().ok()?) };
        Some(Self { offset: offset.parse().ok()?, trail, link })
    }
}

/// Rows of a listing by their ids.
trait Row: DeserializeOwned {
    /// The field that pages are sorted by, which is the id.
    const ID: &'static str = "id";

    fn id(&self) -> &str;
}

impl Row for User {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Row for CredentialOwner {
    const ID: &'static str = "user_id";

    fn id(&self) -> &str {
        &self.user_id
    }
}

impl Row for Group {
    fn id(&self) -> &str {
        &self.id
    }
}

/// One page of a listing.
struct Rows<T> {
    rows: Vec<T>,
    next: Option<Place>,
    response: Response,
}

impl Looker {
    /// Prepares a client; no request is sent.
    ///
    /// *Errors*: those of [`Base::new`] and [`Http::new`].
    pub fn connect(config: LookerConfig, settings: HttpSettings) -> Result<Self, ProviderError> {
        let base = Base::new(config.base_url, &["api", "4.0"])?;
        let source = TokenSource::login(
            base.url("fetch token", &["login"])?,
            &config.client_id,
            config.client_secret,
            "check clientID and clientSecret (an API key of a Looker user) and the API host and port in baseURL",
        );
        let http = Http::new(settings, Auth::bearer(source, is_unauthorized))?;
        Ok(Self { http, base, page_size: config.page_size.max(1).into() })
    }

    async fn send(&self, request: Request, about: About) -> Result<Response, ProviderError> {
        let response = self.http.send(request).await?;
        if response.status.is_success() {
            return Ok(response);
        }
        Err(match wire::classify(about, response.status.as_u16()) {
            Some((kind, message)) => response.error(kind, message),
            None => response.unclassified(),
        })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        about: About,
        segments: &[&str],
        fields: &str,
    ) -> Result<(T, Response), ProviderError> {
        let request = Request::get(operation, self.base.url(operation, segments)?).query(&[("fields", fields)]);
        let response = self.send(request, about).await?;
        Ok((response.json()?, response))
    }

    /// One page of a listing that is sorted by id.
    async fn page<T: Row>(
        &self,
        operation: &'static str,
        segments: &[&str],
        query: &[(&str, &str)],
        place: Place,
    ) -> Result<Rows<T>, ProviderError> {
        let url = self.base.url(operation, segments)?;
        let request = match &place.link {
            Some(link) => Request::get(operation, link.clone()),
            None => Request::get(operation, url.clone()).query(query).query(&[
                ("sorts", T::ID),
                ("limit", &self.page_size.to_string()),
                ("offset", &place.offset.to_string()),
            ]),
        };
        let response = self.send(request, About::Instance(operation)).await?;
        let Listed(rows): Listed<T> = response.json()?;
        let count = rows.len() as u64;
        let next = match wire::next(&response.headers, count, place.offset, self.page_size) {
            Next::End => None,
            Next::Link(link) => Some(Some(self.http.same_origin(operation, &url, &link)?)),
            Next::Offset(_) => Some(None),
        };
        // Offsets always rise, so that only the rows show a listing that repeats itself.
        let ids: Vec<&str> = rows.iter().map(Row::id).collect();
        let trail = place.trail.step(&ids.join(" ")).ok_or_else(|| {
            response.error(ErrorKind::ResponseInvalid, "a page of the listing has come before: it goes in circles")
        })?;
        let offset = place.offset + count.min(self.page_size);
        Ok(Rows { rows, next: next.map(|link| Place { offset, trail, link }), response })
    }

    async fn user(&self, operation: &'static str, id: &str) -> Result<Account, ProviderError> {
        if id == "search" {
            // That address is another resource.
            return Err(ProviderError::new(ErrorKind::NotFound, operation, "an id of this form cannot exist"));
        }
        let (user, response) = self.get::<User>(operation, About::Read, &["users", id], USER_FIELDS).await?;
        if user.id != id {
            return Err(response.error(ErrorKind::ResponseInvalid, "the answer is about another user"));
        }
        Ok(user.account(response.answered_at))
    }

    /// Fills in the e-mail credential from its own resource. That a user shows it when asked for with nested fields is
    /// what instances do, and nowhere documented.
    async fn with_credential(&self, mut account: Account) -> Result<Account, ProviderError> {
        let segments = ["users", account.id.0.as_str(), "credentials_email"];
        match self.get::<EmailCredential>(READ, About::Read, &segments, CREDENTIAL_FIELDS).await {
            Ok((credential, response)) => {
                if credential.is_about_another(&account.id.0) {
                    return Err(response.error(ErrorKind::ResponseInvalid, "the answer is about another user"));
                }
                credential.fill(&mut account);
                account.answered_at = response.answered_at;
            }
            Err(error) if error.kind == ErrorKind::NotFound => account.credential = Credential::NoPassword,
            Err(error) => return Err(error),
        }
        Ok(account)
    }

    /// The API user, and whether it has an e-mail credential as far as that is told. `None` where Looker does not show it.
    async fn own_account(&self) -> Result<Option<(AccountId, Option<bool>)>, ProviderError> {
        let about = About::Instance("read its own user");
        let (own, response) = match self.get::<User>(VERIFY, about, &["user"], "id,credentials_email(user_id)").await {
            Ok(answer) => answer,
            // Who may do nothing at all is refused the next call of a verification as well.
            Err(error) if error.is_refusal() => return Ok(None),
            Err(error) => return Err(error),
        };
        let (id, told) = (AccountId(own.id.clone()), own.has_email_credential());
        let has_password = match told {
            Some(_) => told,
            None => match self.with_credential(own.account(response.answered_at)).await {
                Ok(account) => Some(account.credential == Credential::Local),
                Err(error) if error.is_refusal() => None,
                Err(error) => return Err(error),
            },
        };
        Ok(Some((id, has_password)))
    }

    async fn require_change(&self, id: &AccountId, gate: &Gate) -> Result<Applied, ProviderError> {
        let url = self.base.url(REQUIRE, &["users", &id.0, "credentials_email"])?;
        let request = Request::write(REQUIRE, Method::PATCH, url, gate)
            .query(&[("fields", CREDENTIAL_FIELDS)])
            .json(&json!({"forced_password_reset_at_next_login": true}))?;
        let response = self.send(request, About::Write).await?;
        if response.body().is_empty() {
            return Ok(Applied { written: true, seen: None });
        }
        let credential: EmailCredential = response.json()?;
        let seen = credential.shows_requirement(&id.0).then(|| credential.account(&id.0, response.answered_at));
        Ok(Applied { written: true, seen })
    }

    /// The answer is a bare string whose content nobody documents: it is not read, the marks are.
    async fn require_everybody(&self, gate: &Gate) -> Result<Applied, ProviderError> {
        let segments = ["password_config", "force_password_reset_at_next_login_for_all_users"];
        let request = Request::write(REQUIRE_ALL, Method::PUT, self.base.url(REQUIRE_ALL, &segments)?, gate);
        self.send(request, About::Instance(REQUIRE_ALL)).await?;
        Ok(Applied { written: true, seen: None })
    }

    async fn revoke_sessions(&self, id: &AccountId, gate: &Gate) -> Result<Applied, ProviderError> {
        let segments = ["users", id.0.as_str(), "sessions"];
        let (Listed(sessions), _) = self.get::<Listed<Identified>>(SESSIONS, About::Write, &segments, "id").await?;
        let mut written = false;
        for session in sessions {
            let url = self.base.url(SESSIONS, &["users", &id.0, "sessions", &session.id])?;
            match self.send(Request::write(SESSIONS, Method::DELETE, url, gate), About::Read).await {
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

    /// Every row of a search. A search for one name brings few rows, so that a short page without any word about a next
    /// one is its end: asking for an empty page would double the price of every key.
    async fn search<T: Row>(
        &self,
        operation: &'static str,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<(T, jiff::Timestamp)>, ProviderError> {
        let (mut all, mut place) = (Vec::new(), Place::start());
        for _ in 0..MOST_PAGES {
            let page = self.page::<T>(operation, segments, query, place).await?;
            let short = (page.rows.len() as u64) < self.page_size;
            all.extend(page.rows.into_iter().map(|row| (row, page.response.answered_at)));
            if all.len() > MOST_HITS {
                break;
            }
            match page.next {
                Some(next) if next.link.is_some() || !short => place = next,
                _ => return Ok(all),
            }
        }
        Err(ProviderError::new(ErrorKind::ResponseInvalid, operation, "the listing never ends"))
    }
}

#[async_trait]
impl Provider for Looker {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    async fn verify(&self, fresh_token: bool) -> Result<Tenant, ProviderError> {
        if fresh_token {
            self.http.forget_token().await;
        }
        let own = self.own_account().await?;
        let request = Request::get(VERIFY, self.base.url(VERIFY, &["users"])?).query(&[
            ("fields", "id"),
            ("sorts", "id"),
            ("limit", "1"),
        ]);
        let users = self.send(request, About::Instance("list users")).await?;
        users.json::<Listed<Identified>>()?;
        // Where password calls are denied altogether, users look as if nobody had a password.
        let request = Request::get(VERIFY, self.base.url(VERIFY, &["credentials_email", "search"])?)
            .query(&[("fields", "user_id"), ("limit", "1")]);
        self.send(request, About::Instance("read e-mail credentials")).await?.json::<Listed<EmailCredential>>()?;
        Ok(Tenant {
            id: self.base.origin().to_string(),
            name: None,
            users: wire::total(&users.headers),
            own_account_has_password: own.as_ref().and_then(|(_, has_password)| *has_password),
            enforceable: match own {
                Some(_) => Enforceable::Yes,
                None => Enforceable::Unknown(
                    "Looker does not show the API user to itself, so that it is not left out by itself: exclude it where \
                     it has an e-mail credential"
                        .to_owned(),
                ),
            },
            own_account: own.map(|(id, _)| id),
        })
    }

    async fn list(&self, listing: &Listing, cursor: Option<&Cursor>) -> Result<Page, ProviderError> {
        let place = match cursor {
            None => Place::start(),
            Some(cursor) => Place::of(cursor).ok_or_else(|| {
                ProviderError::new(ErrorKind::ResponseInvalid, LIST, "the place in the listing is unreadable")
            })?,
        };
        let page: Rows<User> = match listing {
            Listing::Tenant => self.page(LIST, &["users"], &[("fields", USER_FIELDS)], place).await?,
            Listing::Group(id) => {
                let query = [("fields", USER_FIELDS), ("group_id", id.as_str())];
                self.page(LIST, &["users", "search"], &query, place).await?
            }
            Listing::Population(_) => {
                return Err(ProviderError::new(ErrorKind::Unsupported, LIST, "Looker has no populations; use groups"));
            }
        };
        let total = wire::total(&page.response.headers);
        let answered_at = page.response.answered_at;
        let accounts = page.rows.into_iter().map(|user| user.account(answered_at)).collect();
        Ok(Page { accounts, next: page.next.map(|next| next.to_cursor()), total })
    }

    /// Not every instance announces a total.
    async fn has_more_than(&self, accounts: u64) -> Result<Option<bool>, ProviderError> {
        let request = Request::get(LIST, self.base.url(LIST, &["users"])?).query(&[
            ("fields", "id"),
            ("sorts", "id"),
            ("limit", "1"),
            ("offset", &accounts.to_string()),
        ]);
        let Listed(beyond): Listed<Identified> = self.send(request, About::Instance(LIST)).await?.json()?;
        Ok(Some(!beyond.is_empty()))
    }

    async fn sets(&self, kind: SetKind, name: &str) -> Result<Vec<String>, ProviderError> {
        if kind == SetKind::Population {
            return Err(ProviderError::new(ErrorKind::Unsupported, GROUPS, "Looker has no populations; use groups"));
        }
        let query = [("fields", "id,name"), ("name", name)];
        let found: Vec<(Group, _)> = self.search(GROUPS, &["groups", "search"], &query).await?;
        // The search knows wildcards and ignores case.
        let mut ids: Vec<String> = Vec::new();
        for (group, _) in found {
            if group.name.as_deref() == Some(name) && !ids.contains(&group.id) {
                ids.push(group.id);
            }
        }
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            match self.get::<Group>(GROUPS, About::Read, &["groups", name], "id,name").await {
                Ok((group, _)) if group.id == name && !ids.contains(&group.id) => ids.push(group.id),
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ids)
    }

    async fn find(&self, key: &UserKey) -> Result<Vec<Account>, ProviderError> {
        match key {
            UserKey::Id(id) => match self.user(FIND, id).await {
                Ok(account) => Ok(vec![account]),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            },
            UserKey::Email(email) => {
                let query = [("fields", USER_FIELDS), ("email", email.as_str())];
                let found: Vec<(User, _)> = self.search(FIND, &["users", "search"], &query).await?;
                // `_` and `%` are wildcards there, and `_` is common in addresses.
                let mut accounts = matching(key, found.into_iter().map(|(user, at)| user.account(at)));
                // People sign in by the address of the credential, which the search for users does not look at. It is
                // unique, so that nobody else has it where it is all that the user has.
                let signs_in_by_it =
                    |account: &Account| account.credential == Credential::Local && account.emails.len() == 1;
                if accounts.iter().any(signs_in_by_it) {
                    return Ok(accounts);
                }
                let query = [("fields", "user_id,email"), ("email", email.as_str())];
                let found: Vec<(CredentialOwner, _)> =
                    self.search(FIND, &["credentials_email", "search"], &query).await?;
                for (owner, _) in found.into_iter().filter(|(owner, _)| owner.signs_in_by(email)) {
                    match self.user(FIND, &owner.user_id).await {
                        Ok(account) if accounts.iter().all(|known| known.id != account.id) => accounts.push(account),
                        Ok(_) => {}
                        Err(error) if error.kind == ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(accounts)
            }
            UserKey::Username(_) => Err(ProviderError::new(
                ErrorKind::Unsupported,
                FIND,
                "Looker has no user names; name users by id or email",
            )),
        }
    }

    async fn complete(&self, row: Account) -> Result<Account, ProviderError> {
        match row.credential {
            Credential::NotGiven | Credential::Local if row.disabled.is_none() => self.read(&row.id).await,
            Credential::NotGiven => self.with_credential(row).await,
            Credential::Local if row.mark == Mark::NotGiven => self.with_credential(row).await,
            _ => Ok(row),
        }
    }

    async fn read(&self, id: &AccountId) -> Result<Account, ProviderError> {
        let account = self.user(READ, &id.0).await?;
        let lacks = match account.credential {
            Credential::NotGiven => true,
            Credential::Local => account.mark == Mark::NotGiven,
            Credential::NoPassword | Credential::Federated | Credential::Service => false,
        };
        if lacks { self.with_credential(account).await } else { Ok(account) }
    }

    async fn read_back(&self, id: &AccountId) -> Result<Account, ProviderError> {
        self.read(id).await
    }

    async fn apply(&self, step: &Step, gate: &Gate) -> Result<Applied, ProviderError> {
        match step {
            Step::RequireChange(id) => self.require_change(id, gate).await,
            Step::RevokeSessions(id) => self.revoke_sessions(id, gate).await,
            Step::RequireEverybody => self.require_everybody(gate).await,
        }
    }

    fn clock(&self) -> Option<ClockReading> {
        self.http.clock()
    }
}
