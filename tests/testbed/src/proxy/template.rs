//! Which calls are of one kind?

use axum::http::{Method, Uri};

/// Names the kind of a call.
pub type Template = fn(&Method, &Uri) -> String;

/// Method and path, with `{id}` for every segment that is a number, a UUID or a long word with a digit or a capital in it.
pub fn by_ids(method: &Method, uri: &Uri) -> String {
    let segments: Vec<&str> =
        uri.path().split('/').map(|segment| if is_id(segment) { "{id}" } else { segment }).collect();
    format!("{method} {}", segments.join("/"))
}

/// Verb and resource as the API server's audit log has them, with the name of the resource's group: `update configmaps`,
/// `patch passwordreset.dev/passwordresetpolicies/status`, `watch secrets`. What is no resource keeps method and path.
pub fn kubernetes(method: &Method, uri: &Uri) -> String {
    let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let (group, rest) = match segments.as_slice() {
        ["api", _version, rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => ("", &[][..]),
    };
    let rest = match rest {
        ["namespaces", _namespace, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, false, ""),
        [resource, _name] => (*resource, true, ""),
        [resource, _name, subresource, ..] => (*resource, true, *subresource),
        [] => return format!("{method} {}", uri.path()),
    };
    let verb = match *method {
        Method::GET if is_watch(uri) => "watch",
        Method::GET if name => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name => "delete",
        Method::DELETE => "deletecollection",
        _ => method.as_str(),
    };
    let group = if group.is_empty() { String::new() } else { format!("{group}/") };
    let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    format!("{verb} {group}{resource}{subresource}")
}

/// Whether the answer is a stream of events.
pub(super) fn is_watch(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

fn is_id(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let uuid = segment.len() == 36 && segment.bytes().filter(|byte| *byte == b'-').count() == 4;
    let mixed = segment.bytes().any(|byte| byte.is_ascii_uppercase());
    digits > 0 && (digits == segment.len() || uuid) || segment.len() >= 16 && (digits > 0 || mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_vendor_are_left_out() {
        let of = |path: &str| by_ids(&Method::GET, &path.parse().unwrap());
        assert_eq!(of("/api/4.0/users/17/credentials_email?x=1"), "GET /api/4.0/users/{id}/credentials_email");
        assert_eq!(of("/users/8f4c2a10-3b1d-4f5e-9c77-2b6f5d0a9e21"), "GET /users/{id}");
        assert_eq!(of("/v1/environments"), "GET /v1/environments");
    }

    #[test]
    fn verbs_are_those_of_the_audit_log() {
        let of = |method: Method, path: &str| kubernetes(&method, &path.parse().unwrap());
        assert_eq!(of(Method::GET, "/api/v1/namespaces/a/secrets?fieldSelector=x&watch=true"), "watch secrets");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/a/secrets/b"), "get secrets");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/a"), "get namespaces");
        assert_eq!(of(Method::PUT, "/api/v1/namespaces/a/configmaps/b"), "update configmaps");
        let status = "/apis/passwordreset.dev/v1alpha1/namespaces/a/passwordresetpolicies/b/status";
        assert_eq!(of(Method::PATCH, status), "patch passwordreset.dev/passwordresetpolicies/status");
        assert_eq!(of(Method::GET, "/version"), "GET /version");
    }
}
