//! How is one request sent, and what counts as an answer?
//!
//! Sends a request at most once (but for one repeat with a fresh token, or with a key that was taken before), only to the
//! origins that the credential is bound to, within a deadline and a size. Statuses are the provider's to judge; only
//! redirects end here. Nothing of a body, query, header or token enters a message, log or `Debug`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::failure::{address_refused, not_answered};
use super::limiter::{Limiter, Outcome, Permit, Purpose, Refusal};
use super::network::Network;
use super::origin::Origin;
use super::quota;
use super::request::{Body, Kind, Request};
use super::response::{Response, is_unauthorized};
use super::retry_after::{date, retry_after};
use super::token::{Token, TokenSource, secret_value};
use crate::plan::clocks::BELIEVABLE;
use crate::provider::{ClockReading, ErrorKind, ProviderError};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A pooled connection is given up before the usual server does, so that few writes meet a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest link that is followed, in bytes: what servers take as the first line of a request (RFC 9112 §3).
const LONGEST_LINK: usize = 8_000;

/// What a client needs besides its credential.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The tenant's limiter, shared by every client of that tenant.
    pub limiter: Arc<Limiter>,
    /// Where the credential may go. A request, link or token address elsewhere is refused and nothing is sent.
    pub allowed_origins: Vec<Origin>,
    /// Which addresses may be connected to, and by which proxy; by default no special ones and by none.
    pub network: Network,
    /// PEM certificates that replace the system's roots.
    pub ca_bundle: Option<Vec<u8>>,
    /// From sending to the last byte of the answer; 30 s by default.
    pub deadline: Duration,
    /// The longest pause of the tenant that a request sits out; above it the request ends with `Throttled` at once.
    /// 10 s by default.
    pub patience: Duration,
    /// The largest answer that is read, in bytes; 4 MiB by default.
    pub body_cap: usize,
}

impl HttpSettings {
    /// Settings with the defaults.
    pub fn new(limiter: Arc<Limiter>, allowed_origins: Vec<Origin>) -> Self {
        Self {
            limiter,
            allowed_origins,
            network: Network::default(),
            ca_bundle: None,
            deadline: Duration::from_secs(30),
            patience: Duration::from_secs(10),
            body_cap: 4 << 20,
        }
    }
}

/// How requests prove who sends them.
#[derive(Debug)]
pub enum Auth {
    /// `Authorization: Bearer` with a token that is fetched and renewed.
    Bearer {
        /// Where tokens come from.
        source: Box<TokenSource>,
        /// Whether an answer says that the *token* is bad, so that a fresh one may help.
        refused: fn(&Response) -> bool,
    },
    /// A fixed header such as `X-API-KEY`.
    Header(HeaderName, SecretString),
}

impl Auth {
    /// Tokens from `source`; `refused` says which answers mean that the *token* is bad ([`super::is_unauthorized`] usually).
    pub fn bearer(source: TokenSource, refused: fn(&Response) -> bool) -> Self {
        Self::Bearer { source: Box::new(source), refused }
    }
}

/// A client of one tenant with one credential.
pub struct Http {
    client: reqwest::Client,
    settings: HttpSettings,
    auth: Auth,
    fixed: Option<(HeaderName, HeaderValue)>,
    /// Whether the last answer took a fixed credential.
    fixed_is_taken: AtomicBool,
    clock: Mutex<Option<ClockReading>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    /// A client that follows no redirect, repeats nothing, and takes no proxy from the environment.
    ///
    /// *Errors*: `TlsFailed` for a CA bundle without a certificate or a machine without roots, `AuthenticationFailed`
    /// for a credential that no header can hold, `EndpointRefused` for a token address outside the allowed origins
    /// or at an address that may not be connected to.
    pub fn new(settings: HttpSettings, auth: Auth) -> Result<Self, ProviderError> {
        let fail = |kind, message: &str| ProviderError::new(kind, "set up client", message);
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("password-reset-operator/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &settings.ca_bundle {
            let bad = || fail(ErrorKind::TlsFailed, "the CA bundle holds no readable PEM certificate");
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| bad())?;
            if certificates.is_empty() {
                return Err(bad());
            }
            builder = builder.tls_certs_only(certificates);
        }
        builder = settings.network.set_up(builder, &settings.allowed_origins);
        let client = builder.build().map_err(|_| {
            fail(
                ErrorKind::TlsFailed,
                "TLS cannot be set up: the CA bundle is refused, or the system has no root certificates",
            )
        })?;
        let mut fixed = None;
        if let Auth::Header(name, secret) = &auth {
            let value = secret_value(secret).ok_or_else(|| {
                fail(ErrorKind::AuthenticationFailed, "the credential holds characters that no header can carry")
            })?;
            fixed = Some((name.clone(), value));
        }
        let fixed_is_taken = AtomicBool::new(false);
        let http = Self { client, settings, auth, fixed, fixed_is_taken, clock: Mutex::default() };
        if let Auth::Bearer { source, .. } = &http.auth {
            http.check_origin("set up client", source.url())?;
        }
        Ok(http)
    }

    /// The tenant's limiter.
    pub fn limiter(&self) -> &Arc<Limiter> {
        &self.settings.limiter
    }

    /// The provider's clock at the last answer that carried a `Date`.
    pub fn clock(&self) -> Option<ClockReading> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the token and a remembered refusal, so that the next request tries the credential anew.
    pub async fn forget_token(&self) {
        if let Auth::Bearer { source, .. } = &self.auth {
            source.forget().await;
        }
    }

    /// Resolves a link of an answer against `base`.
    ///
    /// *Errors*: `EndpointRefused` where it leads out of the origin of `base`, `ResponseInvalid` where it is no address.
    pub fn same_origin(&self, operation: &'static str, base: &Url, link: &str) -> Result<Url, ProviderError> {
        let invalid =
            || ProviderError::new(ErrorKind::ResponseInvalid, operation, "a link in the answer is no address");
        if link.len() > LONGEST_LINK {
            return Err(invalid());
        }
        let url = base.join(link).map_err(|_| invalid())?;
        let (here, there) = (Origin::of(base), Origin::of(&url));
        if here.is_some() && here == there && url.username().is_empty() && url.password().is_none() {
            return Ok(url);
        }
        let message = "a link in the answer leads to another origin; nothing was sent there";
        Err(ProviderError::new(ErrorKind::EndpointRefused, operation, message))
    }

    /// Sends a request with the credential and waits for the whole answer.
    ///
    /// *Behaviour*: waits for the limiter; then asks the gate of a write; sends once. Where the answer says that the
    /// token is bad, fetches a fresh one and sends once more, and so it does with a fixed credential that was taken before:
    /// such an answer comes before anything takes effect. Every status but redirects is an answer. *Errors*: as
    /// [`ErrorKind`] says; `effect_unknown` for a write that was sent and has no readable answer.
    pub async fn send(&self, request: Request) -> Result<Response, ProviderError> {
        self.check_origin(request.operation, &request.url)?;
        let Auth::Bearer { source, refused } = &self.auth else {
            return self.send_with_fixed(&request).await;
        };
        let (permit, token) = self.admit(&request, source).await?;
        let response = self.exchange(&request, Some(&token), permit).await?;
        if !refused(&response) {
            source.accepted(&token).await;
            return Ok(response);
        }
        if source.replace(self, &token).await?.is_none() {
            return Ok(response);
        }
        let (permit, token) = self.admit(&request, source).await?;
        let response = self.exchange(&request, Some(&token), permit).await?;
        if !refused(&response) {
            source.accepted(&token).await;
        }
        Ok(response)
    }

    /// Sends with a fixed credential. One that was taken a moment ago is shown once more where it is refused: for what one
    /// odd answer says, no tenant has to rest for a probe's period.
    async fn send_with_fixed(&self, request: &Request) -> Result<Response, ProviderError> {
        let permit = self.permit(request, Purpose::Work).await?;
        let response = self.exchange(request, None, permit).await?;
        let is_taken = !is_unauthorized(&response);
        let was_taken = self.fixed_is_taken.swap(is_taken, Ordering::SeqCst);
        if is_taken || !was_taken {
            return Ok(response);
        }
        let permit = self.permit(request, Purpose::Work).await?;
        let response = self.exchange(request, None, permit).await?;
        self.fixed_is_taken.fetch_or(!is_unauthorized(&response), Ordering::SeqCst);
        Ok(response)
    }

    /// A token and a permit. The token comes first, since fetching it takes a permit of its own; if it runs out while
    /// the request waits for the limiter, both are asked for again.
    async fn admit(&self, request: &Request, source: &TokenSource) -> Result<(Permit, Token), ProviderError> {
        loop {
            let token = source.token(self).await?;
            let permit = self.permit(request, Purpose::Work).await?;
            if token.is_current() {
                return Ok((permit, token));
            }
            permit.finish(Outcome::NotSent);
        }
    }

    /// Sends a request for a token.
    pub(super) async fn fetch_token(&self, request: Request) -> Result<Response, ProviderError> {
        self.check_origin(request.operation, &request.url)?;
        let permit = self.permit(&request, Purpose::Token).await?;
        self.exchange(&request, None, permit).await
    }

    async fn permit(&self, request: &Request, purpose: Purpose) -> Result<Permit, ProviderError> {
        self.settings.limiter.acquire(purpose, self.settings.patience).await.map_err(|refusal| match refusal {
            Refusal::Paused(rest) => ProviderError {
                retry_after: Some(rest),
                held_back: true,
                ..request.error(ErrorKind::Throttled, "the tenant has asked for a pause; nothing was sent")
            },
            // The words of the failure that is the reason: what is known of the tenant is no news.
            Refusal::Absent(rest, cause) => {
                ProviderError { retry_after: Some(rest), held_back: true, effect_unknown: false, ..cause }
            }
        })
    }

    fn check_origin(&self, operation: &'static str, url: &Url) -> Result<(), ProviderError> {
        let Some(origin) = Origin::of(url) else {
            let message = "only http and https addresses are asked; nothing was sent";
            return Err(ProviderError::new(ErrorKind::EndpointRefused, operation, message));
        };
        if self.settings.allowed_origins.contains(&origin) {
            let checked = self.settings.network.check_literal(url);
            return checked.map_err(|refusal| address_refused(operation, url, refusal));
        }
        let message = format!("the credential may not be sent to {origin}; nothing was sent there");
        Err(ProviderError::new(ErrorKind::EndpointRefused, operation, message))
    }

    async fn exchange(
        &self,
        request: &Request,
        token: Option<&Token>,
        permit: Permit,
    ) -> Result<Response, ProviderError> {
        let prepared = self.prepare(request, token)?;
        if let Kind::Write(gate) = &request.kind
            && !gate()
        {
            permit.finish(Outcome::NotSent);
            return Err(request.error(ErrorKind::Stopped, "writing was stopped before this request was sent"));
        }
        let started = tokio::time::Instant::now();
        let result = match tokio::time::timeout(self.settings.deadline, self.execute(request, prepared)).await {
            Ok(result) => result,
            Err(_) => {
                let seconds = self.settings.deadline.as_secs();
                let mut error = request.error(ErrorKind::Unreachable, format!("no complete answer within {seconds} s"));
                error.effect_unknown = request.is_write();
                Err(error)
            }
        };
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = result.as_ref().map_or(0, |r| r.status.as_u16());
        tracing::debug!(operation = request.operation, status, milliseconds, "request");
        let exhausted = result.as_ref().ok().and_then(|r| quota::exhausted(&r.headers, r.answered_at.as_second()));
        if let Some(pause) = exhausted {
            self.settings.limiter.block_for(pause);
        }
        permit.finish(match &result {
            Ok(r) if r.status == StatusCode::TOO_MANY_REQUESTS => Outcome::Throttled(r.retry_after.or(exhausted)),
            Ok(r) if r.status.is_server_error() => {
                let busy = r.status == StatusCode::SERVICE_UNAVAILABLE;
                Outcome::Failed(r.unclassified(), r.retry_after.filter(|_| busy))
            }
            Ok(_) => Outcome::Answered,
            Err(error) => Outcome::Failed(error.clone(), None),
        });
        let response = result?;
        if response.status.is_redirection() {
            let host = request.url.host_str().unwrap_or_default();
            let message =
                format!("{host} answers with a redirect; redirects are not followed, so use the final base URL");
            return Err(response.error(ErrorKind::EndpointRefused, message));
        }
        Ok(response)
    }

    fn prepare(&self, request: &Request, token: Option<&Token>) -> Result<reqwest::Request, ProviderError> {
        let mut builder = self.client.request(request.method.clone(), request.url.clone());
        let mut headers = request.headers.clone();
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        match &request.body {
            Body::Bytes(content_type, bytes) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
                builder = builder.body(bytes.clone());
            }
            // Some servers refuse a POST that does not say how long its body is (RFC 9110 §8.6).
            Body::Empty if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            Body::Empty => {}
        }
        if let Some((name, value)) = &self.fixed {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(token) = token {
            headers.insert(http::header::AUTHORIZATION, token.header.clone());
        }
        builder = builder.headers(headers);
        if let Some((user, password)) = &request.basic {
            builder = builder.basic_auth(user, Some(password.expose_secret()));
        }
        builder.build().map_err(|_| request.error(ErrorKind::Rejected, "the request cannot be built"))
    }

    async fn execute(&self, request: &Request, prepared: reqwest::Request) -> Result<Response, ProviderError> {
        let mut answer = self.client.execute(prepared).await.map_err(|error| not_answered(request, &error))?;
        let now = Timestamp::now();
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        let invalid = |message: String| {
            let mut error = request.error(ErrorKind::ResponseInvalid, message);
            error.effect_unknown = request.is_write();
            error
        };
        let too_large = || invalid(format!("the answer is larger than {} bytes", self.settings.body_cap));
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.settings.body_cap as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| invalid("the answer ends early".to_owned()))? {
            if body.len() + chunk.len() > self.settings.body_cap {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let theirs = date(&headers);
        if let Some(theirs) = theirs {
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(ClockReading { theirs, ours: now });
        }
        Ok(Response {
            status,
            retry_after: retry_after(&headers, now),
            headers,
            answered_at: believed(theirs, now),
            body: body.into(),
            operation: request.operation,
            write: request.is_write(),
        })
    }
}

/// When an answer was made: by the server's clock, unless it is so far off that it is no clock, be it for one answer of one
/// of its nodes.
fn believed(theirs: Option<Timestamp>, ours: Timestamp) -> Timestamp {
    theirs.filter(|theirs| theirs.duration_since(ours).abs() <= BELIEVABLE).unwrap_or(ours)
}

#[cfg(test)]
mod tests;
