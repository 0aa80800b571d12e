//! Which validation rules do several fields share?
//!
//! Each is a CEL expression and the sentence a user reads when it fails. A sentence says what to write instead.

/// Only what an address needs. `url()` accepts more: user information before `@`, queries, fragments, and
/// backslashes, which other parsers read as slashes; every one of them is a way to send a request elsewhere. Path
/// segments that begin with a dot are refused with them, because `..` leads out of the path.
pub(super) const URL_CHARACTERS: (&str, &str) = (
    r"self.matches('^[A-Za-z]+://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$') && isURL(self) && (url(self).getPort() == '' || int(url(self).getPort()) <= 65535)",
    r"must be scheme, host, port and path only, for example https://login.corp.example:8443/auth; the characters @ ? # \ % and blanks are not accepted, and credentials belong in the Secret",
);

/// https, or plain http to this machine.
pub(super) const HTTPS: (&str, &str) = (
    "isURL(self) && (url(self).getScheme() == 'https' || url(self).getScheme() == 'http' && url(self).getHostname() in ['127.0.0.1', 'localhost', '::1'])",
    "must begin with https://; plain http:// is accepted for 127.0.0.1, localhost and [::1] only",
);

/// https or http; whether http is right is decided beside another field.
pub(super) const HTTP_OR_HTTPS: (&str, &str) =
    ("isURL(self) && url(self).getScheme() in ['https', 'http']", "must begin with https://");

/// A UUID in its usual form.
pub(super) const UUID: (&str, &str) = (
    "self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')",
    "must be the environment's UUID, for example 3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11",
);

/// For a field that says which tenant the object is about.
pub(super) const IDENTIFIES_THE_TENANT: (&str, &str) = (
    "self == oldSelf",
    "identifies the tenant and cannot be changed: create a new object for another tenant, then point the policies at it",
);
