//! Where may a credential go, and how is an address built?
//!
//! Addresses are built from encoded segments, never by joining strings: an id such as `a/../b?x` stays one segment.

use url::Url;

use crate::provider::{ErrorKind, ProviderError};

/// Scheme, host and port: what a credential is bound to (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an `http` or `https` address; `None` for any other.
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: Some(plain_host(url.host_str()?)).filter(|host| !host.is_empty())?,
            port: url.port_or_known_default()?,
        })
    }

    /// The host, without a trailing dot.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// A host in the one spelling that origins are compared in.
pub(super) fn plain_host(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        let default = if self.scheme == "https" { 443 } else { 80 };
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// The address that all paths of an API stand under. Ends without a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    url: Url,
    origin: Origin,
}

impl Base {
    /// Takes an address and puts `segments` behind its path, less those that the path already ends with.
    ///
    /// *Errors*: `EndpointRefused` for anything but `http` and `https`, and for user names, queries and fragments.
    pub fn new(mut url: Url, segments: &[&str]) -> Result<Self, ProviderError> {
        let refuse = |why: &str| ProviderError::new(ErrorKind::EndpointRefused, "read base URL", why);
        let origin = Origin::of(&url).ok_or_else(|| refuse("the base URL must start with https:// (or http://)"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("the base URL must not hold a user name or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("the base URL must end with its path, without ? or #"));
        }
        let trimmed = url.path().trim_end_matches('/').to_owned();
        url.set_path(&trimmed);
        let present: Vec<&str> = trimmed.split('/').collect();
        let there = (0..=segments.len()).rev().find(|n| present.ends_with(&segments[..*n])).unwrap_or(0);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&segments[there..]);
        }
        Ok(Self { url, origin })
    }

    /// The origin of the address.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The address of a resource below the base, each segment encoded.
    ///
    /// *Errors*: `NotFound` for a segment that no resource can have: empty, `.` or `..` (which addresses drop), or one
    /// with control characters.
    pub fn url(&self, operation: &'static str, segments: &[&str]) -> Result<Url, ProviderError> {
        let impossible =
            |s: &&str| s.is_empty() || *s == "." || *s == ".." || s.chars().any(char::is_control) || s.len() > 512;
        if segments.iter().any(impossible) {
            return Err(ProviderError::new(ErrorKind::NotFound, operation, "an id of this form cannot exist"));
        }
        let mut url = self.url.clone();
        let base = url.path().len();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        // Left alone by the rules for paths, but some servers cut a segment off there (RFC 3986 §3.3, parameters).
        if let Some((base, added)) = url.path().split_at_checked(base).filter(|(_, added)| added.contains(';')) {
            url.set_path(&format!("{base}{}", added.replace(';', "%3B")));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text| Origin::of(&url(text)).unwrap();
        assert_eq!(origin("https://api.example/a"), origin("https://API.example:443/b?c"));
        assert_eq!(origin("https://api.example"), origin("https://api.example./"));
        assert_ne!(origin("https://api.example"), origin("http://api.example"));
        assert_ne!(origin("https://api.example"), origin("https://api.example:8443"));
        assert_ne!(origin("https://api.example"), origin("https://api.example.evil.example"));
        assert_eq!(Origin::of(&url("file:///etc/passwd")), None);
        assert_eq!(origin("http://127.0.0.1:8080/x").to_string(), "http://127.0.0.1:8080");
        assert_eq!(origin("https://api.example/x").to_string(), "https://api.example");
    }

    #[test]
    fn the_api_path_is_added_exactly_once() {
        for given in ["https://a.example", "https://a.example/", "https://a.example/v1", "https://a.example/v1/"] {
            let base = Base::new(url(given), &["v1"]).unwrap();
            assert_eq!(base.url("test", &["users"]).unwrap().as_str(), "https://a.example/v1/users", "{given}");
        }
        let deep = Base::new(url("https://proxy.example/ping"), &["v1"]).unwrap();
        assert_eq!(deep.url("test", &["users"]).unwrap().as_str(), "https://proxy.example/ping/v1/users");
        for given in ["https://l.example", "https://l.example/api/", "https://l.example/api/4.0"] {
            let base = Base::new(url(given), &["api", "4.0"]).unwrap();
            assert_eq!(base.url("test", &["users"]).unwrap().as_str(), "https://l.example/api/4.0/users", "{given}");
        }
    }

    #[test]
    fn a_segment_stays_one_segment() {
        let base = Base::new(url("https://a.example"), &[]).unwrap();
        let built = base.url("test", &["users", "a/../b?x#y%2f", "password"]).unwrap();
        assert_eq!(built.as_str(), "https://a.example/users/a%2F..%2Fb%3Fx%23y%252f/password");
        let built = base.url("test", &["users", "a;b"]).unwrap();
        assert_eq!(built.as_str(), "https://a.example/users/a%3Bb");
        let below = Base::new(url("https://a.example/x;v=1"), &[]).unwrap();
        assert_eq!(below.url("test", &["u;1"]).unwrap().as_str(), "https://a.example/x;v=1/u%3B1");
        for bad in ["", ".", "..", "a\nb"] {
            assert_eq!(base.url("test", &["users", bad]).unwrap_err().kind, ErrorKind::NotFound, "{bad:?}");
        }
    }

    #[test]
    fn a_base_with_credentials_or_a_query_is_refused() {
        for bad in ["ftp://a.example", "https://user@a.example", "https://a.example/?x=1", "https://a.example/#x"] {
            let error = Base::new(url(bad), &[]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::EndpointRefused, "{bad}");
        }
    }
}
