//! Why did no answer come?
//!
//! Reads transport failures. Their own texts are never shown, since they may hold the address.

use url::Url;

use super::address::{Refusal, SETTING};
use super::client::CONNECT_TIMEOUT;
use super::request::Request;
use crate::provider::{ErrorKind, ProviderError};

/// Reads a transport failure. A write that never had a connection was not sent; any other may have taken effect.
pub(super) fn not_answered(request: &Request, error: &reqwest::Error) -> ProviderError {
    let host = request.url.host_str().unwrap_or_default();
    if let Some(refusal) = cause::<Refusal>(error) {
        return address_refused(request.operation, &request.url, *refusal);
    }
    let mut failure = match cause::<rustls::Error>(error) {
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

/// A connection that was not made because of where it would have led. Nothing was sent.
pub(super) fn address_refused(operation: &'static str, url: &Url, refusal: Refusal) -> ProviderError {
    let host = url.host_str().unwrap_or_default();
    let message = format!(
        "{host} leads to {refusal}, where nothing is sent; if it is right, list it in the operator's {SETTING}"
    );
    ProviderError::new(ErrorKind::EndpointRefused, operation, message)
}

/// The first error of this type in the chain of causes.
fn cause<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|w| cause(w)) {
            return Some(found);
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
