//! C1: whatever a base URL looks like, it is refused or it means one origin, which everything agrees on.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Api;
use kube::api::PostParams;
use password_reset_operator::api::{ALLOWED_ORIGINS_ANNOTATION, IdentityProvider};
use password_reset_operator::controller::provider::connect::{Material, connect, tenant_id};
use password_reset_operator::controller::references::Content;
use password_reset_operator::provider::http::{Base, Limiter, Limits, Network, Origin};
use serde_json::json;
use url::Url;

use crate::bed::Bed;

/// The address, and the only origin that it may mean; `""` where it has to be refused.
const TABLE: &[(&str, &str)] = &[
    // Plain.
    ("https://idp.example", "https://idp.example"),
    ("https://idp.example/", "https://idp.example"),
    ("https://idp.example//", "https://idp.example"),
    ("https://idp.example/api", "https://idp.example"),
    ("https://idp.example/api/", "https://idp.example"),
    ("https://idp.example:443", "https://idp.example"),
    ("https://idp.example:0443", "https://idp.example"),
    ("https://idp.example:", "https://idp.example"),
    ("https://idp.example:8443", "https://idp.example:8443"),
    ("https://idp.example:08443/x", "https://idp.example:8443"),
    ("https://idp.example:65535", "https://idp.example:65535"),
    ("https://idp.example:0", "https://idp.example:0"),
    ("https://idp.example:80", "https://idp.example:80"),
    ("http://idp.example", "http://idp.example"),
    ("http://idp.example:80", "http://idp.example"),
    ("http://idp.example:443", "http://idp.example:443"),
    ("https://idp-example", "https://idp-example"),
    ("https://idp_example", "https://idp_example"),
    ("https://sub.idp.example.", "https://sub.idp.example"),
    ("https://idp.example.:8443/", "https://idp.example:8443"),
    ("https://idp.example..", "https://idp.example"),
    // Case and blanks.
    ("HTTPS://IDP.EXAMPLE/Api", "https://idp.example"),
    ("hTtPs://iDp.ExAmPlE:443", "https://idp.example"),
    (" https://idp.example ", "https://idp.example"),
    ("https://idp.example\n", "https://idp.example"),
    ("https://idp.\texample", "https://idp.example"),
    ("ht\ntps://idp.example", "https://idp.example"),
    ("https://idp example", ""),
    ("https://idp.example /", ""),
    ("https://idp.example\u{0}", "https://idp.example"),
    ("https://idp.exam\u{0}ple", ""),
    ("https://idp.example/\u{0}", "https://idp.example"),
    ("https://idp.example\u{7f}", ""),
    // User names.
    ("https://user@idp.example", ""),
    ("https://user:password@idp.example", ""),
    ("https://:password@idp.example", ""),
    ("https://@idp.example", "https://idp.example"),
    ("https://idp.example@evil.example", ""),
    ("https://idp.example:443@evil.example", ""),
    ("https://idp.example%40evil.example", ""),
    ("https://evil.example\u{ff20}idp.example", ""),
    ("https://a@b@evil.example", ""),
    ("https://idp.example%2f@evil.example", ""),
    ("https://idp.example%00@evil.example", ""),
    // Queries and fragments.
    ("https://idp.example?x=1", ""),
    ("https://idp.example/?x=1", ""),
    ("https://idp.example?", ""),
    ("https://idp.example#", ""),
    ("https://idp.example#@evil.example", ""),
    ("https://evil.example#@idp.example", ""),
    ("https://evil.example?@idp.example", ""),
    ("https://idp.example/#x", ""),
    ("https://evil.example;@idp.example", ""),
    // Backslashes and slashes.
    ("https:\\\\idp.example", "https://idp.example"),
    ("https:/\\idp.example", "https://idp.example"),
    ("https://evil.example\\@idp.example", "https://evil.example"),
    ("https://evil.example\\.idp.example", "https://evil.example"),
    ("https://idp.example\\..\\evil", "https://idp.example"),
    ("https:idp.example", "https://idp.example"),
    ("https:/idp.example", "https://idp.example"),
    ("https:///idp.example", "https://idp.example"),
    ("https:////evil.example/idp.example", "https://evil.example"),
    ("//idp.example", ""),
    ("/idp.example", ""),
    ("idp.example", ""),
    ("idp.example:443", ""),
    // Dots and percent signs.
    ("https://idp.example/%2e%2e/x", "https://idp.example"),
    ("https://idp.example/..%2f..%2fx", "https://idp.example"),
    ("https://idp.example/../x", "https://idp.example"),
    ("https://idp.example/./x/../y", "https://idp.example"),
    ("https://idp.example/%", "https://idp.example"),
    ("https://idp.example/%0d%0ax-evil:1", "https://idp.example"),
    ("https://idp.example/\r\nx-evil:1", "https://idp.example"),
    ("https://%69dp.example", "https://idp.example"),
    ("https://idp%2eexample", "https://idp.example"),
    ("https://idp%2fexample", ""),
    ("https://idp%3aexample", ""),
    ("https://idp%00.example", ""),
    ("https://idp%.example", ""),
    ("https://idp%zz.example", ""),
    // Names in other letters.
    ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
    ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ("https://B\u{dc}CHER.example", "https://xn--bcher-kva.example"),
    ("https://\u{456}dp.example", "https://xn--dp-goc.example"),
    ("https://idp\u{3002}example", "https://idp.example"),
    ("https://idp\u{ff0e}example", "https://idp.example"),
    ("https://\u{ff49}\u{ff44}\u{ff50}.example", "https://idp.example"),
    ("https://idp\u{ad}.example", "https://idp.example"),
    ("https://idp\u{200b}.example", "https://idp.example"),
    ("https://idp\u{202e}.example", ""),
    ("https://xn--a.example", ""),
    ("https://evil.example\u{ff0f}idp.example", ""),
    ("https://evil.example\u{2044}idp.example", "https://evil.xn--exampleidp-896e.example"),
    ("https://idp.example\u{ff1a}8443", ""),
    // Numbers.
    ("https://127.0.0.1", "https://127.0.0.1"),
    ("https://2130706433", "https://127.0.0.1"),
    ("https://0x7f000001", "https://127.0.0.1"),
    ("https://017700000001", "https://127.0.0.1"),
    ("https://0x7f.0.0.0x1", "https://127.0.0.1"),
    ("https://0177.0.0.01", "https://127.0.0.1"),
    ("https://127.1", "https://127.0.0.1"),
    ("https://127.0.1", "https://127.0.0.1"),
    ("https://127.0.0.1.", "https://127.0.0.1"),
    ("https://\u{2460}\u{2461}\u{2466}.0.0.1", "https://127.0.0.1"),
    ("https://0", "https://0.0.0.0"),
    ("https://0xa9fea9fe", "https://169.254.169.254"),
    ("https://256.0.0.1", ""),
    ("https://127.0.0.1.1", ""),
    ("https://4294967296", ""),
    ("https://1.2.3.08", ""),
    ("https://127.0.0.1.example", "https://127.0.0.1.example"),
    ("https://0x7f.example", "https://0x7f.example"),
    ("https://[::1]", "https://[::1]"),
    ("https://[0:0:0:0:0:0:0:1]:443", "https://[::1]"),
    ("https://[::FFFF:127.0.0.1]", "https://[::ffff:7f00:1]"),
    ("https://[2001:DB8::0001]:8443", "https://[2001:db8::1]:8443"),
    ("https://[fe80::1%25eth0]", ""),
    ("https://[fe80::1%eth0]", ""),
    ("https://[::1", ""),
    ("https://::1", ""),
    ("https://[127.0.0.1]", ""),
    ("https://[::1]evil.example", ""),
    ("https://[::1]@evil.example", ""),
    ("https://[v1.x]", ""),
    // No address at all.
    ("", ""),
    ("https://", ""),
    ("https://.", ""),
    ("https:///", ""),
    ("https://:443", ""),
    ("https://idp.example:99999", ""),
    ("https://idp.example:-1", ""),
    ("https://idp.example:port", ""),
    ("https://idp.example:443:443", ""),
    ("ftp://idp.example", ""),
    ("file:///etc/passwd", ""),
    ("file://idp.example/etc/passwd", ""),
    ("javascript:alert(1)", ""),
    ("data:text/plain,x", ""),
    ("unix:///var/run/docker.sock", ""),
    ("ws://idp.example", ""),
    ("blob:https://idp.example/x", ""),
    ("https+unix://idp.example", ""),
];

fn spec(url: &str) -> serde_json::Value {
    json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": "s"}}})
}

/// Whether the operator connects with a credential that may go to `allowed`.
fn connects(url: &str, allowed: &str) -> bool {
    let material = Material {
        secret_name: "s".to_owned(),
        secret: Arc::new(Content {
            labels: BTreeMap::new(),
            annotations: [(ALLOWED_ORIGINS_ANNOTATION.to_owned(), allowed.to_owned())].into(),
            data: [("apiKey".to_owned(), b"key".to_vec())].into(),
        }),
        ca_bundle: None,
    };
    let limits = Limits { requests_per_second: 10.0, burst: 10, max_concurrent_requests: 4 };
    let spec = serde_json::from_value(spec(url)).expect("a spec");
    connect(&spec, &material, Limiter::new(limits), Network::default()).is_ok()
}

#[test]
fn a_url_is_refused_or_means_one_origin_for_identity_credential_and_request() {
    assert!(TABLE.len() >= 100);
    let mut wrong = Vec::new();
    for (url, origin) in TABLE {
        let tenant = tenant_id(&serde_json::from_value(spec(url)).expect("a spec"));
        // A credential that is bound to whatever this may have been meant to look like.
        let intended =
            ["https://idp.example", "https://evil.example", "https://idp.example:8443", "http://idp.example"];
        let tried: Vec<&str> = intended.into_iter().chain([*origin, *url]).collect();
        for allowed in tried {
            let right = !origin.is_empty() && allowed_means(allowed, origin);
            if connects(url, allowed) != right {
                wrong.push(format!("{url:?} with a credential for {allowed:?}: connects is {}", !right));
            }
        }
        if origin.is_empty() {
            continue;
        }
        if tenant.as_deref() != Ok(*origin) {
            wrong.push(format!("{url:?} names the tenant {tenant:?}"));
        }
        // What is asked, read once more by the parser that the connection is made with.
        let asked =
            Base::new(Url::parse(url).expect("an address"), &["api"]).and_then(|base| base.url("x", &["users"]));
        let asked = asked.map(|url| (Origin::of(&url).map(|o| o.to_string()), url.as_str().parse::<http::Uri>()));
        match asked {
            Ok((Some(of), Ok(uri))) if of == *origin => {
                let host = uri.host().unwrap_or_default().trim_end_matches('.');
                let expected = Url::parse(origin).expect("an origin");
                if Some(host) != expected.host_str() || uri.path().split('/').any(|segment| segment == "..") {
                    wrong.push(format!("{url:?} is read as {uri} when it is asked"));
                }
            }
            other => wrong.push(format!("{url:?} is asked as {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether an entry of the annotation is this origin.
fn allowed_means(allowed: &str, origin: &str) -> bool {
    allowed
        .split_ascii_whitespace()
        .any(|entry| Url::parse(entry).ok().and_then(|url| Origin::of(&url)).is_some_and(|of| of.to_string() == origin))
}

/// What the API server takes is a part of what the operator takes, and reads as it is written.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_accepts_no_url_that_the_operator_reads_as_another_name() {
    let bed = Bed::new("urls").await;
    let api: Api<IdentityProvider> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut accepted = 0;
    for (url, origin) in TABLE {
        let object = serde_json::from_value(
            json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "IdentityProvider",
            "metadata": {"name": "case"}, "spec": {"keycloak": {"baseURL": url, "realm": "r", "allowPlainHTTP": true, "credentialsSecretRef": {"name": "s"}}}}),
        );
        match api.create(&dry_run, &object.expect("an object")).await {
            Ok(_) => {
                accepted += 1;
                if origin.is_empty() {
                    continue; // the operator refuses it, and says so in status
                }
                let host = Url::parse(origin).expect("an origin").host_str().expect("a host").to_owned();
                let is_number = host.parse::<std::net::Ipv4Addr>().is_ok() || host.starts_with('[');
                let written = url.to_lowercase().contains(&format!("://{host}"));
                assert!(written || is_number, "{url:?} is accepted, and means {origin}");
            }
            Err(kube::Error::Api(status)) => assert_eq!(status.code, 422, "{url:?}: {status:?}"),
            Err(error) => panic!("{url:?}: {error}"),
        }
    }
    assert!((20..60).contains(&accepted), "{accepted} accepted");
}
