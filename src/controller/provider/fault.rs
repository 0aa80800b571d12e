//! From a provider's error to the fault that its object shows.

use crate::plan::failure::ProviderFault;
use crate::provider::{ErrorKind, ProviderError};

/// The fault that an error of a call about the whole tenant (verification, a listing) means.
pub fn of_listing(error: &ProviderError) -> ProviderFault {
    match error.kind {
        ErrorKind::AuthenticationFailed => ProviderFault::AuthenticationFailed,
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Forbidden => ProviderFault::PermissionDenied,
        ErrorKind::Throttled => ProviderFault::Throttled,
        ErrorKind::Unreachable => ProviderFault::Unreachable,
        ErrorKind::TlsFailed => ProviderFault::TlsFailed,
        ErrorKind::EndpointRefused => ProviderFault::EndpointRefused,
        // A tenant or a path that is not there is never an empty list of users.
        ErrorKind::ResponseInvalid | ErrorKind::NotFound | ErrorKind::Rejected | ErrorKind::Stopped => {
            ProviderFault::ResponseInvalid
        }
    }
}
