//! What came back, and what does its status usually mean?
//!
//! An answer is read to its end before anybody sees it. Vendors' codes are the provider's to read;
//! [`Response::unclassified`] is for where they say nothing better.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::bounds::parse;
use crate::provider::{ErrorKind, ProviderError};

/// An answer, read to its end. `Debug` prints the status only.
pub struct Response {
    /// The status; never a redirect.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The answer's `Date`, else our clock when it came.
    pub answered_at: Timestamp,
    /// The bounded pause that the answer asks for.
    pub retry_after: Option<Duration>,
    pub(super) body: Bytes,
    pub(super) operation: &'static str,
    pub(super) write: bool,
}

impl Response {
    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Reads the body as JSON.
    ///
    /// *Errors*: `ResponseInvalid` for HTML and for anything that is not the expected JSON or is too much of it; after a write its effect is
    /// unknown then.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if content_type.to_ascii_lowercase().contains("html") {
            return Err(self.unclear(
                ErrorKind::ResponseInvalid,
                "the answer is an HTML page, not the API's JSON: check the base URL and proxies",
            ));
        }
        parse(&self.body).map_err(|why| self.unclear(ErrorKind::ResponseInvalid, format!("the answer {why}")))
    }

    /// An error about an answer that leaves open whether the write it is about took effect.
    pub fn unclear(&self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        ProviderError { effect_unknown: self.write, ..self.error(kind, message) }
    }

    /// The answer itself where its status says success, else the usual reading of its status.
    pub fn ok(self) -> Result<Self, ProviderError> {
        if self.status.is_success() { Ok(self) } else { Err(self.unclassified()) }
    }

    /// An error of this kind about this answer, with the pause it asks for. A 5xx or 408 to a write leaves its effect
    /// unknown, and so does a conflict with another change that is under way (409 as `Unreachable`).
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> ProviderError {
        let conflict = self.status == StatusCode::CONFLICT && kind == ErrorKind::Unreachable;
        let unclear = self.status.is_server_error() || self.status == StatusCode::REQUEST_TIMEOUT || conflict;
        ProviderError {
            kind,
            operation: self.operation,
            message: message.into(),
            retry_after: self.retry_after,
            effect_unknown: self.write && unclear,
            held_back: false,
            before_the_call: false,
        }
    }

    /// The usual reading of a status that is no success, for where the vendor's codes say nothing better.
    pub fn unclassified(&self) -> ProviderError {
        let status = self.status.as_u16();
        let (kind, what) = match status {
            401 => (ErrorKind::AuthenticationFailed, "the credential is refused"),
            403 => (ErrorKind::PermissionDenied, "the credential lacks a right"),
            404 | 410 => (ErrorKind::NotFound, "not found"),
            408 | 425 => (ErrorKind::Unreachable, "the server gave up waiting"),
            409 => (ErrorKind::Unreachable, "another change is under way"),
            429 => (ErrorKind::Throttled, "too many requests"),
            400..=499 => (ErrorKind::Rejected, "the request is refused"),
            500..=599 => (ErrorKind::Unreachable, "the server failed"),
            _ => (ErrorKind::ResponseInvalid, "an unexpected status"),
        };
        self.error(kind, format!("{what} (HTTP {status})"))
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status.as_u16()).finish_non_exhaustive()
    }
}

/// Whether the answer is a 401.
pub fn is_unauthorized(response: &Response) -> bool {
    response.status == StatusCode::UNAUTHORIZED
}
