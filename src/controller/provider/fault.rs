//! From a provider's error to the fault that its object shows.

use crate::plan::failure::ProviderFault;
use crate::provider::{ErrorKind, ProviderError};

/// The fault of the whole tenant that `error` means, or `None` where it is about one account or about us.
pub fn of_tenant(error: &ProviderError) -> Option<ProviderFault> {
    match error.kind {
        ErrorKind::AuthenticationFailed => Some(ProviderFault::AuthenticationFailed),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported => Some(ProviderFault::PermissionDenied),
        ErrorKind::Throttled => Some(ProviderFault::Throttled),
        ErrorKind::Unreachable => Some(ProviderFault::Unreachable),
        ErrorKind::TlsFailed => Some(ProviderFault::TlsFailed),
        ErrorKind::ResponseInvalid => Some(ProviderFault::ResponseInvalid),
        ErrorKind::EndpointRefused => Some(ProviderFault::EndpointRefused),
        ErrorKind::Forbidden | ErrorKind::NotFound | ErrorKind::Rejected | ErrorKind::Stopped => None,
    }
}

/// The same for a call about the whole tenant (verification, a listing), where every error is one of the tenant.
pub fn of_listing(error: &ProviderError) -> ProviderFault {
    of_tenant(error).unwrap_or(match error.kind {
        ErrorKind::Forbidden => ProviderFault::PermissionDenied,
        // A tenant or a path that is not there is never an empty list of users.
        _ => ProviderFault::ResponseInvalid,
    })
}
