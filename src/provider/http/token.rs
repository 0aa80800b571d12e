//! Which token is sent, and when is a new one fetched?
//!
//! One fetch at a time, whoever asks. A token is used until shortly before it expires (by the monotonic clock, which no
//! clock change moves). A refused credential is answered from memory until a probe asks for a fresh token, so that a
//! wrong Secret never becomes a stream of failed logins.

use std::time::Duration;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::bounds::parse;
use super::client::Http;
use super::request::Request;
use super::response::Response;
use crate::provider::{ErrorKind, ProviderError};

/// Lifetime of a token whose answer names none that can be believed.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// Bounds of a lifetime. Below the lower one every request would fetch a token.
const SHORTEST: u64 = 5;
const LONGEST: u64 = 24 * 60 * 60;
/// A token is not used for the last tenth of its life, at most this long.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// The longest token that is believed; a header must hold it.
const LONGEST_TOKEN: usize = 16 * 1024;

/// How a client proves itself to an OAuth token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`: in the `Authorization` header.
    Basic,
    /// `client_secret_post`: in the body.
    Body,
}

/// Where tokens come from.
pub struct TokenSource {
    url: Url,
    form: Vec<(&'static str, SecretString)>,
    basic: Option<(String, SecretString)>,
    /// What to check when the credential is refused: a sentence for people.
    advice: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    refused: Option<ProviderError>,
    failed: Option<(Instant, ProviderError)>,
    serial: u64,
}

/// A token as it is sent.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: http::HeaderValue,
    serial: u64,
    expires: Instant,
    /// Fetched since another one was refused: refused itself without ever being accepted, it is not replaced again.
    replacement: bool,
    accepted: bool,
}

impl Token {
    pub(super) fn is_current(&self) -> bool {
        Instant::now() < self.expires
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "secret")]
    access_token: SecretString,
    expires_in: Option<serde_json::Value>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
}

impl TokenSource {
    /// An OAuth 2 client-credentials grant. `advice` is added to the message when the credential is refused.
    pub fn client_credentials(
        url: Url,
        client_id: &str,
        client_secret: SecretString,
        auth: ClientAuth,
        advice: &'static str,
    ) -> Self {
        let mut form = vec![("grant_type", SecretString::from("client_credentials"))];
        let basic = match auth {
            ClientAuth::Basic => Some((encoded(client_id), SecretString::from(encoded(client_secret.expose_secret())))),
            ClientAuth::Body => {
                form.push(("client_id", SecretString::from(client_id)));
                form.push(("client_secret", client_secret));
                None
            }
        };
        Self { url, form, basic, advice, state: Mutex::default() }
    }

    /// Looker's login: the credential in the body of a form, the answer like OAuth's.
    pub fn login(url: Url, client_id: &str, client_secret: SecretString, advice: &'static str) -> Self {
        let form = vec![("client_id", SecretString::from(client_id)), ("client_secret", client_secret)];
        Self { url, form, basic: None, advice, state: Mutex::default() }
    }

    /// The address that tokens come from.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The token in use, fetched when there is none.
    pub(super) async fn token(&self, http: &Http) -> Result<Token, ProviderError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|t| t.is_current()) {
            return Ok(token.clone());
        }
        let replacement = state.token.take().is_some_and(|t| t.replacement && !t.accepted);
        self.fetch(&mut state, http, asked, replacement).await
    }

    /// The token that replaces `refused`; `None` where a new one would change nothing.
    pub(super) async fn replace(&self, http: &Http, refused: &Token) -> Result<Option<Token>, ProviderError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref() {
            if token.serial != refused.serial {
                return Ok(Some(token.clone()));
            }
            if token.replacement && !token.accepted {
                return Ok(None);
            }
            state.token = None;
        }
        self.fetch(&mut state, http, asked, true).await.map(Some)
    }

    /// Remembers that the tenant took this token.
    pub(super) async fn accepted(&self, token: &Token) {
        if token.accepted {
            return;
        }
        let mut state = self.state.lock().await;
        if let Some(current) = state.token.as_mut().filter(|t| t.serial == token.serial) {
            current.accepted = true;
        }
    }

    /// Forgets the token and every refusal: the next request fetches a token.
    pub(super) async fn forget(&self) {
        let mut state = self.state.lock().await;
        state.token = None;
        state.refused = None;
        state.failed = None;
    }

    async fn fetch(
        &self,
        state: &mut State,
        http: &Http,
        asked: Instant,
        replacement: bool,
    ) -> Result<Token, ProviderError> {
        if let Some(refused) = &state.refused {
            return Err(refused.clone());
        }
        // Whoever queued behind a fetch that failed meanwhile shares its failure instead of failing once more.
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        match self.request(http).await {
            Ok((header, lifetime)) => {
                state.serial += 1;
                state.failed = None;
                let margin = (lifetime / 10).min(LONGEST_MARGIN);
                let expires = Instant::now() + lifetime - margin;
                let token = Token { header, serial: state.serial, expires, replacement, accepted: false };
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                let error = ProviderError { before_the_call: true, ..error };
                if error.kind == ErrorKind::AuthenticationFailed {
                    state.refused = Some(error.clone());
                }
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn request(&self, http: &Http) -> Result<(http::HeaderValue, Duration), ProviderError> {
        let fields: Vec<(&str, &str)> = self.form.iter().map(|(k, v)| (*k, v.expose_secret())).collect();
        let mut request = Request::read("fetch token", Method::POST, self.url.clone()).form(&fields);
        if let Some((id, secret)) = &self.basic {
            request = request.basic(id.clone(), secret.clone());
        }
        let response = http.fetch_token(request).await?;
        if !response.status.is_success() {
            return Err(self.refusal(&response));
        }
        let answer: Answer = response.json()?;
        let token = answer.access_token.expose_secret();
        let believable =
            !token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(|b| b.is_ascii_graphic());
        let header = SecretString::from(format!("Bearer {token}"));
        match secret_value(&header) {
            Some(value) if believable => Ok((value, lifetime(answer.expires_in.as_ref()))),
            _ => Err(response.error(ErrorKind::ResponseInvalid, "the answer holds no usable access token")),
        }
    }

    fn refusal(&self, response: &Response) -> ProviderError {
        let status = response.status.as_u16();
        if !response.status.is_client_error() || matches!(status, 408 | 429) {
            return response.unclassified();
        }
        let code = parse::<Refusal>(response.body()).ok().and_then(|r| r.error);
        let code = code.as_deref().and_then(super::vendor_code).map(|c| format!(" ({c})")).unwrap_or_default();
        let what = match status {
            404 => "the login address does not exist, or the credential is wrong",
            _ => "the credential is refused",
        };
        response.error(ErrorKind::AuthenticationFailed, format!("{what}: HTTP {status}{code}; {}", self.advice))
    }
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").finish_non_exhaustive()
    }
}

/// A header value that is never printed. `None` where a header cannot hold the text.
pub(super) fn secret_value(text: &SecretString) -> Option<http::HeaderValue> {
    let mut value = http::HeaderValue::from_str(text.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `expires_in` as a bounded lifetime; some servers send the number as a string.
fn lifetime(expires_in: Option<&serde_json::Value>) -> Duration {
    let seconds = match expires_in {
        Some(serde_json::Value::Number(n)) => n.as_f64().map(|n| n as u64),
        Some(serde_json::Value::String(s)) => s.trim().parse().ok(),
        _ => None,
    };
    seconds.map_or(DEFAULT_LIFETIME, |s| Duration::from_secs(s.clamp(SHORTEST, LONGEST)))
}

/// A part of a Basic credential, form-encoded (RFC 6749 §2.3.1) with all unreserved characters (RFC 3986) left alone: a
/// server that does not decode still understands the usual ones.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace("%7E", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_bounded_and_read_leniently() {
        let read = |json: &str| lifetime(serde_json::from_str::<Option<serde_json::Value>>(json).unwrap().as_ref());
        assert_eq!(read("3600"), Duration::from_secs(3600));
        assert_eq!(read("\"3600\""), Duration::from_secs(3600));
        assert_eq!(read("0"), Duration::from_secs(SHORTEST));
        assert_eq!(read("-5"), Duration::from_secs(SHORTEST));
        assert_eq!(read("1e300"), Duration::from_secs(LONGEST));
        for odd in ["null", "\"soon\"", "[]", "{}"] {
            assert_eq!(read(odd), DEFAULT_LIFETIME, "{odd}");
        }
    }

    #[test]
    fn basic_credentials_are_encoded_but_for_unreserved_characters() {
        assert_eq!(encoded("a-b._~Z0"), "a-b._~Z0");
        assert_eq!(encoded("a:b c%"), "a%3Ab+c%25");
    }

    #[test]
    fn a_source_prints_nothing() {
        let url = Url::parse("https://a.example/token").unwrap();
        let secret = SecretString::from("hunter2");
        let source = TokenSource::client_credentials(url, "id", secret, ClientAuth::Body, "");
        assert_eq!(format!("{source:?}"), "TokenSource { .. }");
    }
}
