//! What is sent, and is it a write?
//!
//! A request is data until [`super::Http::send`] sends it. Its `Debug` names the operation only: addresses, headers and
//! bodies hold personal data and credentials.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method};
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use crate::provider::{ErrorKind, Gate, ProviderError};

/// Whether something changes at the provider.
pub(super) enum Kind {
    Read,
    Write(Gate),
}

/// What a request carries.
pub(super) enum Body {
    Empty,
    Bytes(&'static str, Bytes),
}

/// One request. Its address is built by [`super::Base::url`].
pub struct Request {
    pub(super) operation: &'static str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) kind: Kind,
    pub(super) basic: Option<(String, SecretString)>,
}

impl Request {
    /// A GET.
    pub fn get(operation: &'static str, url: Url) -> Self {
        Self::read(operation, Method::GET, url)
    }

    /// A request that changes nothing at the provider, whatever its method.
    pub fn read(operation: &'static str, method: Method, url: Url) -> Self {
        let headers = HeaderMap::new();
        Self { operation, method, url, headers, body: Body::Empty, kind: Kind::Read, basic: None }
    }

    /// A request that changes something. `gate` is asked after all waiting, right before it is sent.
    pub fn write(operation: &'static str, method: Method, url: Url, gate: &Gate) -> Self {
        Self { kind: Kind::Write(gate.clone()), ..Self::read(operation, method, url) }
    }

    /// Adds encoded query parameters. A space is `%20`, which every server reads as one; `+` is one in forms only
    /// (RFC 3986 section 2.2).
    pub fn query(mut self, parameters: &[(&str, &str)]) -> Self {
        if !parameters.is_empty() {
            let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
            let text = text.replace('+', "%20");
            let query = match self.url.query() {
                Some(before) => format!("{before}&{text}"),
                None => text,
            };
            self.url.set_query(Some(&query));
        }
        self
    }

    /// Sets a header. A `Content-Type` set here goes before that of the body.
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// A body of form fields.
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body = Body::Bytes("application/x-www-form-urlencoded", text.into());
        self
    }

    /// A JSON body.
    pub fn json(mut self, value: &impl Serialize) -> Result<Self, ProviderError> {
        let bytes = serde_json::to_vec(value).map_err(|_| {
            ProviderError::new(ErrorKind::Rejected, self.operation, "the request cannot be written as JSON")
        })?;
        self.body = Body::Bytes("application/json", bytes.into());
        Ok(self)
    }

    pub(super) fn basic(mut self, user: String, password: SecretString) -> Self {
        self.basic = Some((user, password));
        self
    }

    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError::new(kind, self.operation, message)
    }

    pub(super) fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write(_))
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("operation", &self.operation).finish_non_exhaustive()
    }
}
