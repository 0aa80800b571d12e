//! Where a credential must never go: another origin than its own, and addresses that the operator's owner has not allowed.

use serde_json::{Value, json};
use simulators::{
    Action, CallFault, Faults, Handle, Looker, MonoCloud, Options, Paging, PingOne, When, looker, monocloud, pingone,
};

use crate::bed::{Bed, fast, merge};
use crate::listener::Listener;

const USERS: u32 = 12;

fn pages() -> Value {
    let mut spec = fast();
    merge(&mut spec, json!({"pageSize": 5}));
    spec
}

fn at(call: &str, action: Action) -> Faults {
    Faults { calls: vec![CallFault::always(call, When::After, action)], ..Faults::default() }
}

/// The other origins that a link or redirect may name, beside the simulator's own `http://127.0.0.1:port`.
fn elsewhere(simulator: &Handle, listener: &Listener) -> Vec<(&'static str, String)> {
    let own = simulator.base_url();
    let authority = own.trim_start_matches("http://");
    let port = authority.rsplit(':').next().expect("a port");
    vec![
        ("port", listener.origin()),
        ("host", format!("http://localhost:{port}")),
        ("another-loopback", format!("http://127.0.0.2:{port}")),
        ("scheme", format!("https://{authority}")),
        ("user", format!("http://user@{}", listener.address)),
        ("suffix", format!("http://{}@{}", authority.replace(':', "%3A"), listener.address)),
    ]
}

/// I28, R9.
#[tokio::test(flavor = "multi_thread")]
async fn no_byte_follows_a_link_to_another_host_port_or_scheme() {
    let listener = Listener::start().await;
    let mut bed = Bed::new("links").await;
    bed.start().await;
    let mut tenants = Vec::new();
    for place in 0..6 {
        let simulators = [
            PingOne::start(Options::ordinary(USERS)).await.expect("a simulator"),
            Looker::start(Options::ordinary(USERS)).await.expect("a simulator"),
        ];
        for (vendor, simulator) in ["p1", "lo"].into_iter().zip(simulators) {
            let (what, origin) = elsewhere(&simulator, &listener).swap_remove(place);
            let name = format!("{vendor}-{what}");
            match vendor {
                "p1" => bed.pingone(&name, &simulator, pages()).await,
                _ => bed.looker(&name, &simulator, pages()).await,
            }
            bed.provider_says(&name, "Ready", "True Verified", &[]).await;
            simulator
                .set(Faults { paging: Paging { next_origin: Some(origin), ..Paging::default() }, ..Faults::default() });
            tenants.push((name, simulator));
        }
    }
    for (name, _) in &tenants {
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
    }
    for (name, simulator) in &tenants {
        let view = bed.provider_says(name, "Ready", "False EndpointRefused", &["another origin"]).await;
        assert_eq!(view.condition("Stalled"), "True EndpointRefused", "{name}");
        let listings = simulator.count(pingone::LIST_USERS) + simulator.count(looker::LIST_USERS);
        assert!(listings <= 4, "{name}: the same server under another name is another origin too: {listings} listings");
    }
    listener.assert_untouched();
}

/// I28, R9.
#[tokio::test(flavor = "multi_thread")]
async fn no_byte_follows_a_redirect_to_another_host_port_or_scheme() {
    let listener = Listener::start().await;
    let mut bed = Bed::new("redirects").await;
    bed.start().await;
    let mut tenants = Vec::new();
    let cases = [301, 302, 307, 308].into_iter().flat_map(|status| (0..4).map(move |place| (status, place)));
    for (status, place) in cases {
        let simulator = MonoCloud::start(Options::ordinary(USERS)).await.expect("a simulator");
        let (what, origin) = elsewhere(&simulator, &listener).swap_remove(place);
        let name = format!("mc-{status}-{what}");
        bed.monocloud(&name, &simulator, pages()).await;
        bed.provider_says(&name, "Ready", "True Verified", &[]).await;
        let location = format!("{origin}/api/users?page=1");
        simulator.set(at(monocloud::LIST_USERS, Action::Redirect { status, location }));
        tenants.push((name, simulator));
    }
    for (name, simulator) in &tenants {
        let before = simulator.counters().total();
        bed.enforce(name, name, json!({"scope": "Tenant"})).await;
        bed.provider_says(name, "Ready", "False EndpointRefused", &["redirect"]).await;
        let calls = simulator.counters().total() - before;
        assert!(calls <= 4, "{name}: {calls} calls");
    }
    listener.assert_untouched();
}

/// I28, R9. The token request carries the credential itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_credential_goes_to_a_token_address_that_its_secret_does_not_name() {
    let listener = Listener::start().await;
    let simulator = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    let mut bed = Bed::new("token-address").await;
    bed.start().await;
    let credentials = simulator.credentials();
    let block = json!({"pingOne": {"environmentID": simulator.environment_id(), "baseURL": simulator.base_url(),
        "authURL": listener.origin(), "credentialsSecretRef": {"name": "p1"}}});
    let secret = json!({"clientID": credentials.client_id, "clientSecret": credentials.client_secret});
    bed.provider("p1", &[&simulator.base_url()], secret, block, fast()).await;
    bed.provider_says("p1", "Ready", "False SecretInvalid", &["does not allow", &listener.origin()]).await;
    // One whose token address redirects.
    let other = PingOne::start(Options::ordinary(USERS)).await.expect("a simulator");
    let location = format!("{}/token", listener.origin());
    other.set(at(pingone::TOKEN, Action::Redirect { status: 307, location }));
    bed.pingone("p2", &other, fast()).await;
    bed.provider_says("p2", "Ready", "False EndpointRefused", &["redirect"]).await;
    assert_eq!(simulator.counters().total(), 0, "not even to the address that is allowed");
    listener.assert_untouched();
}

/// I29, R9.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_made_to_the_machine_the_cloud_or_the_api_server_unless_it_is_allowed() {
    let listener = Listener::start().await;
    let port = listener.address.port();
    let mut bed = Bed::new("addresses").await;
    bed.set("ALLOWED_ADDRESSES", "");
    // As a pod is told; an address of the documentation's, so that nobody answers there.
    bed.set("KUBERNETES_SERVICE_HOST", "192.0.2.10");
    bed.set("KUBERNETES_SERVICE_PORT", "6443");
    bed.start().await;
    let mono = |url: String| json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": "key"}}});
    let loopback = "a loopback address";
    let metadata = "the address of a cloud's metadata service";
    let cases = [
        ("number", format!("http://127.0.0.1:{port}"), loopback),
        ("name", format!("http://localhost:{port}"), loopback),
        ("decimal", format!("https://2130706433:{port}"), loopback),
        ("hex", format!("https://0x7f000001:{port}"), loopback),
        ("octal", format!("https://0177.0.0.1:{port}"), loopback),
        ("short", format!("https://127.1:{port}"), loopback),
        ("dot", format!("https://127.0.0.1.:{port}"), loopback),
        ("v6", format!("http://[::1]:{port}"), loopback),
        ("mapped", format!("https://[::ffff:7f00:1]:{port}"), loopback),
        ("nat64", format!("https://[64:ff9b::7f00:1]:{port}"), loopback),
        ("zero", format!("https://0.0.0.0:{port}"), "an unspecified address"),
        ("aws", "https://169.254.169.254".to_owned(), metadata),
        ("aws-v6", "https://[fd00:ec2::254]".to_owned(), metadata),
        ("alibaba", "https://100.100.100.200".to_owned(), metadata),
        ("azure", "https://168.63.129.16".to_owned(), metadata),
        ("link", "https://169.254.1.1".to_owned(), "a link-local address"),
        ("many", "https://224.0.0.1".to_owned(), "a multicast or broadcast address"),
        ("api-server", "https://192.0.2.10:6443".to_owned(), "the address and port of the Kubernetes API server"),
    ];
    let origins: Vec<&str> = cases.iter().map(|(_, url, _)| url.as_str()).collect();
    bed.secret(
        "key",
        json!({"passwordreset.dev/allowed-origins": origins.join(" ")}),
        json!({}),
        json!({"apiKey": "k"}),
    )
    .await;
    for (name, url, _) in &cases {
        bed.apply(&json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "IdentityProvider",
            "metadata": {"name": name}, "spec": mono(url.clone())}))
            .await;
    }
    for (name, _, kind) in &cases {
        let words = [*kind, "nothing is sent", "ALLOWED_ADDRESSES"];
        let view = bed.provider_says(name, "Ready", "False EndpointRefused", &words).await;
        assert_eq!(view.condition("Stalled"), "True EndpointRefused", "{name}");
    }
    listener.assert_untouched();

    // What the operator's owner lists is connected to; what is not stays refused.
    bed.kill();
    bed.set("ALLOWED_ADDRESSES", "127.0.0.0/8");
    bed.start().await;
    for name in ["number", "name"] {
        let what = format!("{name} is connected to");
        bed.provider_until(name, &what, |view| {
            !matches!(view.condition("Ready").as_str(), "False EndpointRefused" | "False ProviderNotReady")
        })
        .await;
    }
    assert!(listener.seen().connections > 0);
    bed.provider_says("aws", "Ready", "False EndpointRefused", &[metadata]).await;
}
