//! One request to a vendor's API and its answer, free of sockets.
//!
//! Routes are templates such as `GET /api/users/{user}`: the same text names a call in counters, ledger and faults.

use axum::body::Bytes;
use axum::extract::Query;
use axum::http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;

use crate::population::mix;

/// Which of a simulator's hosts was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Api,
    /// PingOne's authorization server.
    Auth,
}

/// A request that was matched to a template.
#[derive(Debug)]
pub(crate) struct Call {
    pub host: Host,
    pub template: &'static str,
    pub parameters: Vec<(&'static str, String)>,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Scheme and authority under which the caller reached the simulator, for absolute links.
    pub origin: String,
    /// Path and query as they were sent.
    pub target: String,
}

impl Call {
    /// The decoded path parameter, empty when the template has none of that name.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The first query parameter of that name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The fields of a form body; empty when it is no form.
    pub fn form(&self) -> Vec<(String, String)> {
        std::str::from_utf8(&self.body).map(parse_pairs).unwrap_or_default()
    }

    /// What tells callers apart in the ledger without showing their credential.
    pub fn fingerprint(&self) -> u32 {
        let credential = self.header("x-api-key").or_else(|| self.header("authorization")).unwrap_or_default();
        credential.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))) as u32
    }

    /// Whether the call tries to change something and belongs into the ledger. Getting a token does not.
    pub fn is_write(&self) -> bool {
        self.host == Host::Api && !self.template.starts_with("GET ") && self.template != crate::looker::LOGIN
    }
}

/// Decodes `a=b&c=d`; empty when it is malformed.
pub(crate) fn parse_pairs(text: &str) -> Vec<(String, String)> {
    let uri = format!("/?{text}").parse::<Uri>().ok();
    uri.and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok())
        .map(|Query(pairs)| pairs)
        .unwrap_or_default()
}

/// How a path was matched.
pub(crate) enum Match {
    Found(&'static str, Vec<(&'static str, String)>),
    /// The path exists with another method.
    WrongMethod,
    Unknown,
}

/// Finds the first of `templates` that `method` and `path` match. Segments are decoded after the split, so that an encoded slash
/// stays inside its segment.
pub(crate) fn find(templates: &[&'static str], method: &Method, path: &str) -> Match {
    let mut wrong_method = false;
    for template in templates {
        let (wanted, pattern) = template.split_once(' ').unwrap_or(("", template));
        let Some(parameters) = captures(pattern, path) else { continue };
        if wanted == method.as_str() {
            return Match::Found(template, parameters);
        }
        wrong_method = true;
    }
    if wrong_method { Match::WrongMethod } else { Match::Unknown }
}

fn captures(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut parameters = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => {
                parameters.push((name, percent_decode_str(segment).decode_utf8_lossy().into_owned()));
            }
            None if segment == expected => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(parameters)
}

/// What the vendor's code answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, content_type: &'static str, body: &impl Serialize) -> Answer {
        Answer { status, content_type, headers: Vec::new(), body: serde_json::to_vec(body).unwrap_or_default() }
    }

    /// 204.
    pub fn no_content() -> Answer {
        Answer { status: 204, content_type: "", headers: Vec::new(), body: Vec::new() }
    }

    /// The same answer with one more header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

/// Keeps only the members of `value` that a sparse-field list names, for example `id,credentials_email(email,user_id)`.
pub(crate) fn sparse(value: Value, fields: &str) -> Value {
    let Value::Object(object) = value else { return value };
    let wanted = split_fields(fields);
    let kept = object.into_iter().filter_map(|(name, member)| {
        let (_, nested) = wanted.iter().find(|(wanted, _)| *wanted == name)?;
        Some((name, nested.map_or(member.clone(), |nested| sparse(member, nested))))
    });
    Value::Object(kept.collect())
}

fn split_fields(fields: &str) -> Vec<(&str, Option<&str>)> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (position, character) in fields.char_indices().chain([(fields.len(), ',')]) {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth <= 0 || position == fields.len() => {
                let part = fields[start..position].trim();
                parts.push(match part.split_once('(') {
                    Some((name, nested)) => (name.trim(), Some(nested.trim_end_matches(')'))),
                    None => (part, None),
                });
                start = position + 1;
            }
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEMPLATES: &[&str] = &["GET /users/search", "GET /users/{user}", "POST /users/{user}/password"];

    #[test]
    fn a_path_finds_its_template_and_its_decoded_parameters() {
        let Match::Found(template, parameters) = find(TEMPLATES, &Method::GET, "/users/a%2Fb") else {
            panic!("not found")
        };
        assert_eq!((template, parameters), ("GET /users/{user}", vec![("user", "a/b".to_owned())]));
        assert!(matches!(find(TEMPLATES, &Method::GET, "/users/search"), Match::Found("GET /users/search", _)));
        assert!(matches!(find(TEMPLATES, &Method::PUT, "/users/1/password"), Match::WrongMethod));
        assert!(matches!(find(TEMPLATES, &Method::GET, "/users/"), Match::Unknown));
        assert!(matches!(find(TEMPLATES, &Method::GET, "/users/1/"), Match::Unknown));
    }

    #[test]
    fn sparse_fields_keep_what_was_named_also_inside_objects() {
        let value =
            json!({"id": "1", "email": "e", "credentials_email": {"email": "e", "password_reset_url": "secret"}});
        assert_eq!(
            sparse(value, "id, credentials_email(email)"),
            json!({"id": "1", "credentials_email": {"email": "e"}})
        );
    }

    #[test]
    fn a_form_is_decoded() {
        assert_eq!(parse_pairs("a=b+c&d=%26"), [("a".to_owned(), "b c".to_owned()), ("d".to_owned(), "&".to_owned())]);
    }
}
