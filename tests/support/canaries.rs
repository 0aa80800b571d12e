//! Does anything that the operator says or writes hold a credential, a name or an address?
//!
//! All test data carry canaries: credentials of every kind one, names and addresses of people another. The operator's
//! output and everything that it ever asked the API server to store (the audit log has it) are searched for them, by every
//! test that runs an operator, at its end.

use k8s_openapi::ByteString;
use simulators::{PERSONAL_CANARY, SECRET_CANARY};

/// An address that messages give as an example of how to write one.
const EXAMPLE: &str = "alice@corp.example";
/// How Keycloak's users are called, whose names Keycloak writes in lower case.
const KEYCLOAK_USERS: &str = "user-0";
/// How every token of Keycloak begins, and Kubernetes's too: a JWT's head is JSON, and says first by what it is signed.
const TOKENS: &str = "eyjhbgci";
/// In every address, whoever has made it up, and in no other word that the operator says.
const ADDRESS: &str = "@";

/// The places of `text` that hold a canary or one of `secrets`, each with what is around it.
pub fn found(what: &str, text: &str, secrets: &[String]) -> Vec<String> {
    let text = text.to_lowercase().replace(EXAMPLE, "");
    let mut wanted: Vec<String> =
        [PERSONAL_CANARY, SECRET_CANARY, KEYCLOAK_USERS, TOKENS, ADDRESS].map(str::to_owned).to_vec();
    wanted.extend(secrets.iter().map(|secret| secret.to_lowercase()));
    wanted
        .into_iter()
        .filter_map(|canary| {
            let at = text.find(&canary)?;
            let around = &text.as_bytes()[at.saturating_sub(300)..text.len().min(at + 200)];
            Some(format!("{what}: …{}…", String::from_utf8_lossy(around)))
        })
        .collect()
}

/// The same for requests to the API server, lines of its audit log, in plain text and in base64.
pub fn found_in_requests(requests: &[&str], secrets: &[String]) -> Vec<String> {
    let hidden: Vec<String> = [PERSONAL_CANARY, SECRET_CANARY].iter().flat_map(|canary| base64_forms(canary)).collect();
    let mut leaks = Vec::new();
    for line in requests {
        leaks.extend(found("the API server was sent", line, secrets));
        let base64 = hidden.iter().find(|form| line.contains(*form));
        leaks.extend(base64.map(|form| format!("the API server was sent, in base64, {form}: {line}")));
    }
    leaks
}

/// What a word looks like within base64, by where it begins.
fn base64_forms(word: &str) -> [String; 3] {
    [0, 1, 2].map(|shift| {
        let bytes = [&vec![0; shift], word.as_bytes()].concat();
        let text = serde_json::to_string(&ByteString(bytes)).expect("JSON").replace(['"', '='], "");
        // The first and the last letter depend on the neighbours.
        let from = (shift * 8).div_ceil(6);
        let to = (shift + word.len()) * 8 / 6;
        text[from..to].to_owned()
    })
}

#[cfg(test)]
mod tests {
    // In each test: a program without a harness has none of them, and an import would be left over there.
    #[test]
    fn a_canary_is_found_wherever_it_sits() {
        use super::found;
        for leak in [
            "a Quokka-7",
            "WOMBAT-key",
            "user-0001",
            "bob@left.example",
            "the token t0ken",
            "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
        ] {
            assert_eq!(found("log", leak, &["T0ken".to_owned()]).len(), 1, "{leak}");
        }
        assert_eq!(found("log", "write {email: alice@corp.example}", &[]), Vec::<String>::new());
    }

    #[test]
    fn a_canary_is_found_in_base64() {
        use super::{ByteString, PERSONAL_CANARY, base64_forms};
        for before in ["", "a", "ab", "abc"] {
            let bytes = format!("{before}{PERSONAL_CANARY}-1").into_bytes();
            let text = serde_json::to_string(&ByteString(bytes)).expect("JSON");
            assert!(base64_forms(PERSONAL_CANARY).iter().any(|form| text.contains(form.as_str())), "{text}");
        }
    }
}
