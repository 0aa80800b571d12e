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
    /// It came before the call itself, from the address that gives out tokens.
    pub before_the_call: bool,
}

impl ProviderError {
    /// An error that says nothing about waiting and leaves no write in doubt.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            message: message.into(),
            retry_after: None,
            effect_unknown: false,
            held_back: false,
            before_the_call: false,
        }
    }

    /// Whether the provider has answered this very call, with whatever.
    pub fn is_an_answer(&self) -> bool {
        !self.held_back && !self.before_the_call
    }

    /// Whether a failed call about one account, group or key concerns the whole tenant rather than what it was about.
    pub fn concerns_tenant(&self) -> bool {
        let about_one = matches!(
            self.kind,
            ErrorKind::Forbidden
                | ErrorKind::NotFound
                | ErrorKind::Rejected
                | ErrorKind::ResponseInvalid
                | ErrorKind::PermissionDenied
        );
        !self.is_an_answer() || !about_one
    }

    /// Whether the provider understands this very call and refuses it.
    pub fn is_refusal(&self) -> bool {
        self.is_an_answer()
            && matches!(
                self.kind,
                ErrorKind::Forbidden | ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::Rejected
            )
    }

    /// Whether this very call was answered by something that cannot be believed.
    pub fn is_unreadable(&self) -> bool {
        self.is_an_answer() && self.kind == ErrorKind::ResponseInvalid
    }

    /// Whether this very call was answered by "there is no such thing", or "you may not see it".
    pub fn is_not_found(&self) -> bool {
        self.is_an_answer() && self.kind == ErrorKind::NotFound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_asked_says_nothing_about_an_account_a_page_or_a_key() {
        let kinds = [
            ErrorKind::ResponseInvalid,
            ErrorKind::NotFound,
            ErrorKind::Forbidden,
            ErrorKind::Rejected,
            ErrorKind::PermissionDenied,
        ];
        for kind in kinds {
            let answer = ProviderError::new(kind, "read", "x");
            assert!(!answer.concerns_tenant(), "{kind:?}");
            assert!(answer.is_refusal() != answer.is_unreadable(), "{kind:?}");
            let held_back = ProviderError { held_back: true, ..answer.clone() };
            let no_token = ProviderError { before_the_call: true, ..answer };
            for error in [held_back, no_token] {
                assert!(error.concerns_tenant(), "{error:?}");
                assert!(!error.is_refusal() && !error.is_unreadable() && !error.is_not_found(), "{error:?}");
            }
        }
        assert!(ProviderError::new(ErrorKind::Unreachable, "read", "x").concerns_tenant());
    }
}
