//! C7: what the author of a policy or a provider tries, who may not read Secrets: somebody else's Secret or tenant, a
//! credential sent to a place of their own, headers and log lines of their own making, metrics without end.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use simulators::{MonoCloud, Options};

use crate::bed::{Bed, SERVICE_ACCOUNT, cutoff, fast};
use crate::listener::Listener;
use crate::objects::ALLOWED_ORIGINS;
use crate::rights::{self, Readable};
use crate::support::create;

/// The operator may even read it there: a name still means the author's own namespace.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_list_or_provider_of_another_namespace_can_be_named() {
    let listener = Listener::start().await;
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("authors").await;
    let foreign = testbed::control_plane::create_namespace(&bed.client, "foreign").await.expect("a namespace");
    rights::install_for(&bed.client, &bed.operator_namespace, SERVICE_ACCOUNT, &[&foreign], false).await;
    rights::grant(&bed.client, &bed.operator_namespace, SERVICE_ACCOUNT, Readable::Secret, &foreign, "treasure").await;
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "treasure", "annotations": {ALLOWED_ORIGINS: listener.origin()},
            "labels": {"passwordreset.dev/user-list": "true"}},
        "stringData": {"apiKey": "canary-of-the-treasure", "users.txt": "canary@treasure.example"}}))
    .expect("a Secret");
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), &foreign);
    secrets.create(&PostParams::default(), &secret).await.expect("it is created");
    bed.set("WATCH_NAMESPACES", &format!("{},{foreign}", bed.namespace));
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.grant("secrets", "treasure").await;

    let mono =
        |reference: Value| json!({"monoCloud": {"baseURL": listener.origin(), "credentialsSecretRef": reference}});
    assert!(create(&bed, "IdentityProvider", "plain", mono(json!({"name": "treasure"}))).await);
    assert!(create(&bed, "IdentityProvider", "field", mono(json!({"name": "treasure", "namespace": foreign}))).await);
    for name in [format!("{foreign}/treasure"), format!("../{foreign}/secrets/treasure"), "treasure\n".to_owned()] {
        assert!(!create(&bed, "IdentityProvider", "path", mono(json!({"name": name}))).await, "{name:?}");
    }
    for name in ["plain", "field"] {
        bed.provider_says(name, "Ready", "False SecretNotFound", &["Secret treasure", &bed.namespace]).await;
    }
    let policy = |target: Value| json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()}, "targets": [target]});
    let of = |reference: Value| policy(json!({"name": "t", "providerRef": reference, "scope": "Tenant"}));
    assert!(create(&bed, "PasswordResetPolicy", "theirs", of(json!({"name": "theirs", "namespace": foreign}))).await);
    assert!(!create(&bed, "PasswordResetPolicy", "path", of(json!({"name": format!("{foreign}/theirs")}))).await);
    let list = json!({"name": "t", "providerRef": {"name": "mc"}, "scope": "Selected", "usersFrom": [{"format": "Email",
        "secretRef": {"name": "treasure", "key": "users.txt", "namespace": foreign}}]});
    assert!(create(&bed, "PasswordResetPolicy", "list", policy(list)).await);
    bed.policy_says("theirs", "Ready", "False ProviderNotFound", &["IdentityProvider/theirs does not exist"]).await;
    bed.policy_says(
        "list",
        "Ready",
        "False UserListNotFound",
        &["Secret treasure does not exist in namespace", &bed.namespace],
    )
    .await;
    listener.assert_untouched();
    let public = bed.everything_public().await;
    assert!(!public.contains("canary-of-the-treasure") && !public.contains("treasure.example"));
    assert_eq!(simulator.requirements().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_does_not_follow_an_endpoint_that_its_secret_does_not_name() {
    let listener = Listener::start().await;
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("override").await;
    bed.start().await;
    // The owner's own object, which works, and its Secret.
    bed.monocloud("mc", &simulator, fast()).await;
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    let at = |url: &str| json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": "mc"}}});
    let port = listener.address.port();
    for (name, url) in [
        ("other", listener.origin()),
        ("other-name", format!("http://localhost:{port}")),
        ("other-scheme", simulator.base_url().replace("http://", "https://")),
    ] {
        assert!(create(&bed, "IdentityProvider", name, at(&url)).await, "{name}");
        bed.provider_says(name, "Ready", "False SecretInvalid", &["does not allow", "allowed-origins"]).await;
    }
    let user = format!("{}@{}", simulator.base_url(), listener.address);
    assert!(!create(&bed, "IdentityProvider", "user", at(&user)).await);
    let both = json!({"pingOne": {"environmentID": "3f0c1f7e-7a52-4c5a-9a36-6d7c7c3b0a11", "region": "EU",
        "authURL": listener.origin(), "credentialsSecretRef": {"name": "mc"}}});
    assert!(!create(&bed, "IdentityProvider", "region", both).await, "a region's endpoint cannot be replaced");
    let proxied = json!({"monoCloud": {"baseURL": simulator.base_url(), "credentialsSecretRef": {"name": "mc"}},
        "proxyURL": listener.origin(), "tls": {"caBundleConfigMapRef": {"name": "ca"}, "insecureSkipVerify": true}});
    create(&bed, "IdentityProvider", "proxied", proxied).await;
    // The working object cannot be turned round either.
    let api: Api<password_reset_operator::api::IdentityProvider> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let patch = kube::api::Patch::Merge(json!({"spec": {"monoCloud": {"baseURL": listener.origin()}}}));
    assert!(api.patch("mc", &Default::default(), &patch).await.is_err());
    let note = json!({"metadata": {"annotations": {ALLOWED_ORIGINS: listener.origin()}}});
    bed.patch_provider("other", note).await;
    bed.provider_says("other", "Ready", "False SecretInvalid", &[]).await;
    listener.assert_untouched();
}

/// The author's own server sees what is sent with the author's own credential: no header of the author's making is in it.
#[tokio::test(flavor = "multi_thread")]
async fn no_field_becomes_a_header_a_path_or_a_log_line_of_its_own() {
    let listener = Listener::start().await;
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("injection").await;
    bed.set("LOG", "trace");
    bed.start().await;
    let line = "\r\nX-Evil: 1\r\n\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[31m\u{202e}";
    let secret = json!({"clientID": "id", "clientSecret": "secret"});
    for (name, realm) in [
        ("realm", format!("r{line}")),
        ("path", "../../admin?x=1#".to_owned()),
        ("encoded", "%2e%2e%2fadmin%0d%0aX-Evil:1".to_owned()),
    ] {
        let block =
            json!({"keycloak": {"baseURL": listener.origin(), "realm": realm, "credentialsSecretRef": {"name": name}}});
        bed.provider(name, &[&listener.origin()], secret.clone(), block, fast()).await;
        bed.provider_until(name, "it is looked at", |view| view.condition("Ready").starts_with("False")).await;
    }
    for (name, id) in [("header", format!("id{line}")), ("basic", "id:\u{e9}\u{202e}\"".to_owned())] {
        let block =
            json!({"keycloak": {"baseURL": listener.origin(), "realm": "r", "credentialsSecretRef": {"name": name}}});
        bed.provider(name, &[&listener.origin()], json!({"clientID": id, "clientSecret": "s"}), block, fast()).await;
        bed.provider_until(name, "it is looked at", |view| view.condition("Ready").starts_with("False")).await;
    }
    let seen = listener.seen().text;
    assert!(!seen.is_empty(), "the other realms are asked for");
    let lines: Vec<&str> = seen.lines().filter(|line| line.to_lowercase().starts_with("x-evil")).collect();
    assert_eq!(lines, Vec::<&str>::new(), "{seen}");
    for request in seen.lines().filter(|line| line.ends_with("HTTP/1.1")) {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let segments: Vec<&str> = path.split('/').collect();
        assert!(matches!(segments[..], ["", "realms", _, "protocol", "openid-connect", "token"]), "{request}");
        assert!(!path.contains('?'), "{request}");
    }

    bed.monocloud("mc", &simulator, fast()).await;
    let target = json!({"name": "t", "providerRef": {"name": "mc"}, "scope": "Selected", "groups": [format!("g{line}")],
        "users": [{"username": format!("u{line}")}, {"id": format!("i{line}")}]});
    let spec = json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
        "reason": {"type": "Compromise", "reference": format!("INC{line}")}, "targets": [target]});
    assert!(create(&bed, "PasswordResetPolicy", "inc", spec).await);
    let paused = json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": format!("now{line}")}}});
    bed.patch_policy("inc", paused).await;
    bed.policy_says("inc", "Ready", "False SelectionNotFound", &[]).await;
    let paused = json!({"metadata": {"annotations": {"passwordreset.dev/paused": format!("why{line}")}}});
    bed.patch_policy("inc", paused).await;
    bed.policy_until("inc", "paused", |view| view.condition("Suspended").starts_with("True")).await;
    for line in bed.log_text().lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not a line of the log's own: {line}"));
        assert!(entry["timestamp"].is_string() && entry["message"] != "forged", "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains('\u{202e}'), "{line}");
    }
    assert_eq!(simulator.requirements().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_objects_names_or_reasons_makes_the_metrics_grow() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let [port] = testbed::ports::free().expect("a free port");
    let mut bed = Bed::new("labels").await;
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    let many = 60;
    for n in 0..many {
        bed.policy(
            &format!("somebody-{n}"),
            json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()},
            "reason": {"type": "Compromise", "reference": format!("somebody-{n}")},
            "targets": [{"name": format!("somebody-{n}"), "providerRef": {"name": format!("somebody-{n}")}, "scope": "Tenant"},
                        {"name": "mc", "providerRef": {"name": "mc"}, "scope": "Selected", "users": [{"username": format!("somebody-{n}")}]}]}),
        )
        .await;
    }
    for n in 0..many {
        bed.policy_says(&format!("somebody-{n}"), "Ready", "False ProviderNotFound", &[]).await;
    }
    let metrics = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("kind=\"PasswordResetPolicy\""), "{metrics}");
    assert!(!metrics.contains("somebody") && !metrics.contains(&bed.namespace), "{metrics}");
    let series = metrics.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 60, "{series} series:\n{metrics}");
}
