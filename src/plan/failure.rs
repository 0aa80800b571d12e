//! What stopped, and does it pass by itself?
//!
//! Three classes: *transient* (tried again with back-off), *waiting* (ends at a known time) and *stalled* (a human must
//! act). Everything that keeps a target from going on is a [`Stop`]; what keeps a provider from being Ready is a
//! [`ProviderFault`]. Neither carries a user's name or address. What is said about them is in `status`; who may write
//! in spite of none is in [`super::guard`].

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::provider_error::{ErrorKind, ProviderError};
use crate::api::Reason;

/// How long a provider may fail before it is more than "in progress".
pub const BRIEF: SignedDuration = SignedDuration::from_secs(60);

/// How long a provider may fail in a passing way before a human is asked to look.
pub const WITHOUT_GOOD_ANSWER: SignedDuration = SignedDuration::from_mins(15);

/// Whether, and when, something passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass at any time; tried again with back-off.
    Transient,
    /// It passes at a known time.
    Waiting,
    /// A human must act. It is still looked at again, slowly.
    Stalled,
}

/// Why a target, or a whole policy, does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Whether it passes by itself.
    pub class: Class,
    /// The word for conditions and metrics.
    pub reason: Reason,
    /// The field or place, such as `spec.targets[0].groups[1]`; empty where no single place is to blame.
    pub path: String,
    /// What is wrong and what to do, as sentences.
    pub message: String,
    /// When it passes, or becomes another stop, by itself (our clock), where that is known.
    pub until: Option<Timestamp>,
}

impl Stop {
    /// A stop that a human must end, at `path`.
    pub fn stalled(reason: Reason, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: Class::Stalled, reason, path: path.into(), message: message.into(), until: None }
    }

    /// A stop that ends at `until`.
    pub fn waiting(reason: Reason, until: Timestamp, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: Class::Waiting, reason, path: path.into(), message: message.into(), until: Some(until) }
    }

    /// A stop that may end at any time.
    pub fn transient(reason: Reason, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: Class::Transient, reason, path: path.into(), message: message.into(), until: None }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// What keeps a provider object from being Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderFault {
    /// The spec names no provider that this version knows, or contradicts itself.
    InvalidSpec,
    /// The credentials Secret, or the ConfigMap with the certificate authority, is missing.
    SecretNotFound,
    /// The credentials Secret cannot be used.
    SecretInvalid,
    /// The credentials Secret may not be read.
    SecretForbidden,
    /// The credential is refused.
    AuthenticationFailed,
    /// The credential lacks a right on the tenant.
    PermissionDenied,
    /// The address may not be used.
    EndpointRefused,
    /// TLS verification failed.
    TlsFailed,
    /// No answer, or one that says "later".
    Unreachable,
    /// The tenant asks for fewer requests.
    Throttled,
    /// An answer that cannot be believed.
    ResponseInvalid,
}

impl ProviderFault {
    /// Every fault.
    pub const ALL: [Self; 11] = [
        Self::InvalidSpec,
        Self::SecretNotFound,
        Self::SecretInvalid,
        Self::SecretForbidden,
        Self::AuthenticationFailed,
        Self::PermissionDenied,
        Self::EndpointRefused,
        Self::TlsFailed,
        Self::Unreachable,
        Self::Throttled,
        Self::ResponseInvalid,
    ];

    /// The word for the provider's conditions.
    pub const fn reason(self) -> Reason {
        match self {
            Self::InvalidSpec => Reason::InvalidSpec,
            Self::SecretNotFound => Reason::SecretNotFound,
            Self::SecretInvalid => Reason::SecretInvalid,
            Self::SecretForbidden => Reason::SecretForbidden,
            Self::AuthenticationFailed => Reason::AuthenticationFailed,
            Self::PermissionDenied => Reason::PermissionDenied,
            Self::EndpointRefused => Reason::EndpointRefused,
            Self::TlsFailed => Reason::TLSFailed,
            Self::Unreachable => Reason::Unreachable,
            Self::Throttled => Reason::Throttled,
            Self::ResponseInvalid => Reason::ProviderResponseInvalid,
        }
    }

    /// The fault that an error of a call about the whole tenant (verification, a listing) means.
    pub fn of(error: &ProviderError) -> Self {
        match error.kind {
            ErrorKind::AuthenticationFailed => Self::AuthenticationFailed,
            ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Forbidden => Self::PermissionDenied,
            ErrorKind::Throttled => Self::Throttled,
            ErrorKind::Unreachable => Self::Unreachable,
            ErrorKind::TlsFailed => Self::TlsFailed,
            ErrorKind::EndpointRefused => Self::EndpointRefused,
            // A tenant or a path that is not there is never an empty list of users.
            ErrorKind::ResponseInvalid | ErrorKind::NotFound | ErrorKind::Rejected | ErrorKind::Stopped => {
                Self::ResponseInvalid
            }
        }
    }

    /// Whether it may pass by itself, which makes the provider Reconciling rather than Stalled.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Unreachable | Self::Throttled | Self::ResponseInvalid)
    }
}

/// How a provider object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not yet looked at in this process.
    Unverified,
    /// The last answer was a good one.
    Ready,
    /// It fails.
    NotReady {
        /// How.
        fault: ProviderFault,
        /// What was seen and what to do; no part of an answer, no credential.
        message: String,
        /// The first failure since the last good answer (our clock).
        since: Timestamp,
    },
}

/// How bad a provider's state is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is known yet.
    Unverified,
    /// Fine.
    Ready,
    /// Failing in a passing way for at most [`BRIEF`].
    Brief,
    /// Failing in a passing way for longer.
    Reconciling,
    /// A human should look: the fault does not pass, or lasts for [`WITHOUT_GOOD_ANSWER`].
    Stalled,
}

impl Health {
    /// How bad it is at `now`.
    pub fn severity(&self, now: Timestamp) -> Severity {
        match self {
            Self::Unverified => Severity::Unverified,
            Self::Ready => Severity::Ready,
            Self::NotReady { fault, .. } if !fault.passes() => Severity::Stalled,
            Self::NotReady { since, .. } => {
                let lasting = now.duration_since(*since);
                if lasting >= WITHOUT_GOOD_ANSWER {
                    Severity::Stalled
                } else if lasting > BRIEF {
                    Severity::Reconciling
                } else {
                    Severity::Brief
                }
            }
        }
    }

    /// Whether it is shown as not Ready. A short silence, or being asked to wait, is not; a bad answer is at once.
    pub fn shown(&self, now: Timestamp) -> bool {
        match self {
            Self::Unverified | Self::Ready => false,
            Self::NotReady { fault: ProviderFault::ResponseInvalid, .. } => true,
            Self::NotReady { .. } => self.severity(now) != Severity::Brief,
        }
    }

    /// When `severity` changes by itself next, if it does.
    pub fn worsens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let Self::NotReady { since, .. } = self else { return None };
        let after = match self.severity(now) {
            // Strictly longer than `BRIEF` counts as more than brief.
            Severity::Brief => BRIEF + SignedDuration::from_secs(1),
            Severity::Reconciling => WITHOUT_GOOD_ANSWER,
            _ => return None,
        };
        since.checked_add(after).ok()
    }
}

/// The lines that grant the operator to read one object, for the message of a refusal.
///
/// `resource` is `secrets` or `configmaps`; `service_account` is `namespace:name`. The Role carries the object's name, so
/// that the grant reaches nothing else.
pub fn grant_lines(resource: &str, namespace: &str, name: &str, service_account: &str) -> String {
    let grant = format!("password-reset-operator-{resource}-{name}");
    format!(
        "kubectl create role {grant} -n {namespace} --verb=get,list,watch --resource={resource} --resource-name={name}\n\
         kubectl create rolebinding {grant} -n {namespace} --role={grant} --serviceaccount={service_account}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn failing(fault: ProviderFault) -> Health {
        Health::NotReady { fault, message: "no answer".into(), since: at(0) }
    }

    #[test]
    fn only_what_may_pass_by_itself_is_reconciling() {
        for fault in ProviderFault::ALL {
            let passes = ["Unreachable", "Throttled", "ProviderResponseInvalid"].contains(&fault.reason().as_str());
            assert_eq!(fault.passes(), passes, "{fault:?}");
        }
    }

    #[test]
    fn an_outage_is_brief_for_a_minute_and_a_humans_after_a_quarter_of_an_hour() {
        let outage = failing(ProviderFault::Unreachable);
        assert_eq!(outage.severity(at(0)), Severity::Brief);
        assert_eq!(outage.severity(at(60)), Severity::Brief);
        assert_eq!(outage.severity(at(61)), Severity::Reconciling);
        assert_eq!(outage.severity(at(899)), Severity::Reconciling);
        assert_eq!(outage.severity(at(900)), Severity::Stalled);
    }

    #[test]
    fn a_refused_credential_is_a_humans_at_once() {
        assert_eq!(failing(ProviderFault::AuthenticationFailed).severity(at(0)), Severity::Stalled);
    }

    #[test]
    fn the_announced_change_of_severity_is_when_it_changes() {
        let outage = failing(ProviderFault::Throttled);
        for now in [0, 30, 60, 61, 500, 899] {
            let then = outage.worsens_at(at(now)).unwrap();
            let just_before = then.checked_sub(SignedDuration::from_secs(1)).unwrap();
            assert_ne!(outage.severity(then), outage.severity(at(now)), "after {now} s");
            assert_eq!(outage.severity(just_before), outage.severity(at(now)), "after {now} s");
        }
        assert_eq!(outage.worsens_at(at(900)), None);
        assert_eq!(Health::Ready.worsens_at(at(0)), None);
    }

    #[test]
    fn a_stop_names_its_place_first() {
        let stop = Stop::stalled(Reason::SelectionNotFound, "spec.targets[0].groups[1]", "no such group");
        assert_eq!(stop.to_string(), "spec.targets[0].groups[1]: no such group");
    }

    #[test]
    fn the_grant_reaches_one_object_only() {
        let lines = grant_lines("secrets", "security", "leak-4711", "operators:password-reset-operator");
        assert!(lines.contains("--resource=secrets --resource-name=leak-4711"));
        assert!(lines.contains("--serviceaccount=operators:password-reset-operator"));
        assert_eq!(lines.lines().count(), 2);
    }
}
