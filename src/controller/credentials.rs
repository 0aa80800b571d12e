//! From the content of a credentials Secret to a credential that is bound to an origin.
//!
//! Pure: what the Secret holds comes in, a credential or a sentence about what is wrong goes out. The sentence names the
//! Secret, the key and what to do; it never holds a value.

use secrecy::SecretString;
use url::Url;

use crate::api::ALLOWED_ORIGINS_ANNOTATION;
use crate::controller::references::Content;
use crate::provider::http::Origin;

/// The largest credential that is taken, in bytes. Keys and client secrets are far shorter; a certificate bundle or a
/// user list put there by mistake is not.
const MAX_BYTES: usize = 8 * 1024;

/// One value of a Secret as a credential. `secret` is its name, for messages.
///
/// A trailing newline (left by `echo` and by editors) is cut. *Errors*: the key is missing, its value is empty, not UTF-8,
/// too large, or holds control characters, which no HTTP header or form can carry.
pub fn value(content: &Content, secret: &str, key: &str) -> Result<SecretString, String> {
    let Some(bytes) = content.data.get(key) else {
        let mut keys: Vec<&str> = content.data.keys().map(String::as_str).collect();
        keys.truncate(8);
        return Err(format!("Secret {secret} has no key `{key}` (it has: {}); add it", list(&keys)));
    };
    if bytes.len() > MAX_BYTES {
        return Err(format!(
            "key `{key}` of Secret {secret} holds {} bytes, more than the {MAX_BYTES} that a credential may have",
            bytes.len()
        ));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(format!("key `{key}` of Secret {secret} is not UTF-8 text; store the credential as plain text"));
    };
    let text = text.trim_end_matches(['\n', '\r']);
    if text.trim().is_empty() {
        return Err(format!("key `{key}` of Secret {secret} is empty; store the credential there"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!(
            "key `{key}` of Secret {secret} holds a line break or another control character; store one line"
        ));
    }
    Ok(SecretString::from(text.to_owned()))
}

fn list(keys: &[&str]) -> String {
    if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
}

/// Whether the Secret says that its credential may be sent to every origin of `urls`.
///
/// Without it anyone who may create providers, but not read Secrets, could have any Secret sent anywhere. *Errors*: the
/// sentence with the line to add.
pub fn bound_to(content: &Content, secret: &str, urls: &[&Url]) -> Result<(), String> {
    let Some(wanted) = urls.iter().map(|url| Origin::of(url)).collect::<Option<Vec<Origin>>>() else {
        return Err("the URL in the provider block must start with https://".to_owned());
    };
    let stated = content.annotations.get(ALLOWED_ORIGINS_ANNOTATION).map(String::as_str).unwrap_or_default();
    let allowed: Vec<Origin> =
        stated.split_ascii_whitespace().filter_map(|o| Origin::of(&Url::parse(o).ok()?)).collect();
    if wanted.iter().all(|w| allowed.contains(w)) {
        return Ok(());
    }
    let mut line: Vec<String> = wanted.iter().map(Origin::to_string).collect();
    line.dedup();
    let state = if stated.is_empty() { "does not say" } else { "does not allow" };
    Err(format!(
        "Secret {secret} {state} where its credential may be sent; if that is right, annotate it: \
         {ALLOWED_ORIGINS_ANNOTATION}: \"{}\"",
        line.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn content(key: &str, value: &[u8], origins: Option<&str>) -> Content {
        Content {
            labels: Default::default(),
            annotations: origins.map(|o| (ALLOWED_ORIGINS_ANNOTATION.to_owned(), o.to_owned())).into_iter().collect(),
            data: [(key.to_owned(), value.to_vec())].into(),
        }
    }

    #[test]
    fn a_trailing_newline_is_cut_and_the_rest_kept() {
        let secret = value(&content("apiKey", b"k-1\r\n", None), "s", "apiKey").unwrap();
        assert_eq!(secret.expose_secret(), "k-1");
    }

    #[test]
    fn what_is_wrong_with_a_value_is_said_without_the_value() {
        let big = vec![b'x'; 1024 * 1024];
        let cases: [(&str, &[u8], &str); 6] = [
            ("other", b"v", "has no key `apiKey` (it has: other)"),
            ("apiKey", b"", "is empty"),
            ("apiKey", b" \n", "is empty"),
            ("apiKey", b"\xff\xfe", "not UTF-8"),
            ("apiKey", b"CANARY\nb", "line break"),
            ("apiKey", &big, "1048576 bytes"),
        ];
        for (key, bytes, expected) in cases {
            let error = value(&content(key, bytes, None), "idp", "apiKey").unwrap_err();
            assert!(error.contains(expected) && error.contains("idp") && error.contains("apiKey"), "{error}");
            assert!(!error.contains("CANARY"));
        }
    }

    #[test]
    fn a_credential_goes_only_to_origins_that_its_secret_names() {
        let url = Url::parse("https://idp.example:8443/api").unwrap();
        let check = |origins| bound_to(&content("k", b"v", origins), "s", &[&url]);
        assert_eq!(check(Some("https://other.example https://idp.example:8443")), Ok(()));
        assert_eq!(check(Some("https://IDP.example.:8443/")), Ok(()));
        for wrong in [None, Some(""), Some("https://idp.example"), Some("http://idp.example:8443"), Some("*")] {
            let error = check(wrong).unwrap_err();
            assert!(error.ends_with("passwordreset.dev/allowed-origins: \"https://idp.example:8443\""), "{error}");
        }
    }
}
