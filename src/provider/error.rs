//! What went wrong at a provider, classified once by whoever knows the vendor's codes.

use std::time::Duration;

/// What kind of failure, which is all that a caller may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The credential is refused (also after one fresh token).
    AuthenticationFailed,
    /// The credential is accepted but lacks a right on the tenant.
    PermissionDenied,
    /// This one account may not be read or written by us.
    Forbidden,
    /// This one account, group or population does not exist (or may not be seen).
    NotFound,
    /// This one account's write is refused for good (validation, no password, state).
    Rejected,
    /// The tenant asks for fewer requests.
    Throttled,
    /// No answer, or an answer that says "later": connection, timeout, DNS, 5xx.
    Unreachable,
    /// TLS verification failed.
    TlsFailed,
    /// An answer that cannot be believed: garbage, truncated, HTML, too large, looping.
    ResponseInvalid,
    /// A redirect or link to another origin, or an address that is not allowed; nothing was sent there.
    EndpointRefused,
    /// This instance does not offer the operation at all.
    Unsupported,
    /// The gate closed before the write was sent.
    Stopped,
}

/// A failed call. Its text is ours: no part of an answer's body, no credential, no user name or address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct ProviderError {
    /// The class.
    pub kind: ErrorKind,
    /// What was being done, as a few static words such as `list users`.
    pub operation: &'static str,
    /// What was seen and what to do about it. The vendor's static error *code* may be in it, never free text.
    pub message: String,
    /// How long the provider asked us to wait, already bounded.
    pub retry_after: Option<Duration>,
    /// A write was sent and nobody knows whether it took effect: read, then decide.
    pub effect_unknown: bool,
    /// Nothing was sent, since it is known that the tenant asks for a pause or does not answer: no new trouble, and none
    /// of the account that it was about.
    pub held_back: bool,
}

impl ProviderError {
    /// An error that says nothing about waiting and leaves no write in doubt.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self { kind, operation, message: message.into(), retry_after: None, effect_unknown: false, held_back: false }
    }
}
