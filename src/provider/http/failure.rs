//! Why did no answer come?
//!
//! Reads transport failures. Their own texts are never shown, since they may hold the address.

use super::client::CONNECT_TIMEOUT;
use super::request::Request;
use crate::provider::{ErrorKind, ProviderError};

/// Reads a transport failure. A write that never had a connection was not sent; any other may have taken effect.
pub(super) fn not_answered(request: &Request, error: &reqwest::Error) -> ProviderError {
    let host = request.url.host_str().unwrap_or_default();
    let mut failure = match tls_error(error) {
        Some(tls) => request.error(ErrorKind::TlsFailed, format!("{host}: {}", tls_message(tls))),
        None if error.is_connect() && error.is_timeout() => request
            .error(ErrorKind::Unreachable, format!("{host}: no connection within {} s", CONNECT_TIMEOUT.as_secs())),
        None if error.is_connect() => {
            request.error(ErrorKind::Unreachable, format!("{host}: no connection (name, port, network or proxy)"))
        }
        None => request.error(ErrorKind::Unreachable, format!("{host}: the connection broke before the answer came")),
    };
    failure.effect_unknown = request.is_write() && !error.is_connect();
    failure
}

fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // An I/O error hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = wrapped.and_then(|w| tls_error(w)) {
            return Some(tls);
        }
        next = error.source();
    }
    None
}

fn tls_message(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Bad;
    match error {
        // The signature is wrong where an authority was renewed under its old name.
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "its certificate is signed by an unknown authority; give its CA certificate with tls.caBundleConfigMapRef"
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => "its certificate has expired",
        rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet"
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another name"
        }
        rustls::Error::InvalidCertificate(_) => "its certificate is refused",
        _ => "the TLS handshake failed",
    }
}
