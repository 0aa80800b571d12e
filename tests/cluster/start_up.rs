//! What the operator says while something that it needs is missing, which settings it obeys, and the kind that lives in no
//! namespace.

use std::process::Command;

use serde_json::json;
use simulators::{MonoCloud, Options, monocloud};
use testbed::control_plane::{self, ControlPlane};

use crate::bed::{Bed, SERVICE_ACCOUNT, cutoff, fast, install_crds, merge};
use crate::objects::ALLOWED_ORIGINS;
use crate::rights;

fn times(text: &str, sentence: &str) -> usize {
    text.matches(sentence).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_crds_the_operator_says_so_and_waits_and_then_serves_the_cluster_scoped_kind_too() {
    // Of its own: elsewhere the CRDs are there, and other operators would take cluster-scoped objects for theirs.
    let plane: &'static ControlPlane =
        Box::leak(Box::new(ControlPlane::start(control_plane::Options::default()).await.expect("a control plane")));
    let simulator = MonoCloud::start(Options::ordinary(5)).await.expect("a simulator");
    let mut bed = Bed::on(plane, "fresh", true).await;
    bed.start().await;
    let sentence = "does not know identityproviders; install the CRDs: kubectl apply --server-side -f crds/";
    bed.log_says(sentence).await;
    install_crds(plane).await;
    bed.log_says("\"ready\"").await;
    assert_eq!(times(&bed.log_text(), sentence), 1, "a sentence, not a stream");

    let url = simulator.base_url();
    let mut spec = fast();
    merge(
        &mut spec,
        json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": "shared"}}, "allowedNamespaces": ["elsewhere"]}),
    );
    let provider = |spec: serde_json::Value| json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "ClusterIdentityProvider", "metadata": {"name": "shared"}, "spec": spec});
    let key = simulator.credentials().api_key;
    let data: [(&str, &[u8]); 1] = [("apiKey", key.as_bytes())];
    // A Secret of this name beside the policy is not the one that is meant.
    bed.put_secret(&bed.namespace, "shared", Some((ALLOWED_ORIGINS, &url)), false, &data).await;
    bed.policy(
        "inc",
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()}, "targets": [
        {"name": "all", "providerRef": {"kind": "ClusterIdentityProvider", "name": "shared"}, "scope": "Tenant"}]}),
    )
    .await;
    let path = "spec.targets[0].providerRef: ClusterIdentityProvider/shared ";
    bed.policy_says("inc", "Ready", "False ProviderNotFound", &[path, "does not exist"]).await;
    bed.apply(&provider(spec.clone())).await;
    let view = bed
        .policy_says("inc", "Ready", "False ProviderNotAllowed", &[path, &bed.namespace, "spec.allowedNamespaces"])
        .await;
    assert_eq!(
        (view.condition("Stalled"), view.condition("ProviderReady")),
        ("True ProviderNotAllowed".to_owned(), "False ProviderNotAllowed".to_owned())
    );
    let lines =
        format!("-n {} --verb=get,list,watch --resource=secrets --resource-name=shared", bed.operator_namespace);
    bed.cluster_provider_until("shared", "the Secret may not be read", |view| {
        view.condition("Ready") == "False SecretForbidden" && view.message("Ready").contains(&lines)
    })
    .await;
    rights::grant(
        &bed.client,
        &bed.operator_namespace,
        SERVICE_ACCOUNT,
        rights::Readable::Secret,
        &bed.operator_namespace,
        "shared",
    )
    .await;
    spec["allowedNamespaces"] = json!(["elsewhere", bed.namespace]);
    bed.apply(&provider(spec.clone())).await;
    bed.policy_says("inc", "Ready", "False ProviderNotReady", &["ClusterIdentityProvider/shared is not Ready"]).await;
    bed.put_secret(&bed.operator_namespace, "shared", Some((ALLOWED_ORIGINS, &url)), false, &data).await;
    let view = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!(view.count("enforced"), 5);
    // Taken back, it ends at once.
    spec["allowedNamespaces"] = json!(["elsewhere"]);
    bed.apply(&provider(spec)).await;
    bed.policy_says("inc", "Ready", "False ProviderNotAllowed", &[path]).await;
    let secrets: Vec<_> = bed.audit().await.into_iter().filter(|event| event.resource == "secrets").collect();
    assert!(
        !secrets.is_empty() && secrets.iter().all(|event| event.namespace == bed.operator_namespace),
        "{secrets:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_forbidden_is_a_sentence_and_waited_for() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::with_rights("no-rights", false).await;
    let unserved = control_plane::create_namespace(&bed.client, "unserved").await.expect("a namespace");
    let [port] = testbed::ports::free().expect("a free port");
    bed.set("LISTEN", &format!("127.0.0.1:{port}"));
    bed.set("WATCH_NAMESPACES", &format!(" {unserved}, {}", bed.namespace));
    bed.start().await;
    let sentence = format!("the operator may not list identityproviders in namespace {unserved}");
    bed.log_says(&sentence).await;
    assert_eq!(get(port, "/livez").await, 200);
    assert_eq!(get(port, "/readyz").await, 503);
    rights::install_for(&bed.client, &bed.operator_namespace, SERVICE_ACCOUNT, &[&unserved], false).await;
    bed.log_says("\"ready\"").await;
    assert_eq!(get(port, "/readyz").await, 200);
    assert_eq!(times(&bed.log_text(), &sentence), 1);

    // Without the right to list it, the cluster-scoped kind is off, with one sentence, and the rest works.
    assert_eq!(times(&bed.log_text(), "ClusterIdentityProviders are off"), 1);
    bed.policy(
        "cluster",
        json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()}, "targets": [
        {"name": "all", "providerRef": {"kind": "ClusterIdentityProvider", "name": "shared"}, "scope": "Tenant"}]}),
    )
    .await;
    bed.policy_says(
        "cluster",
        "Ready",
        "False ProviderNotFound",
        &["spec.targets[0].providerRef: ", "ClusterIdentityProviders are off"],
    )
    .await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.enforce("inc", "mc", json!({"scope": "Tenant"})).await;
    bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
}

/// The status of a GET of the operator's own endpoints.
async fn get(port: u16, path: &str) -> u16 {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_own_switch_stops_everything_but_probes() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let mut bed = Bed::new("suspended").await;
    bed.set("SUSPEND", "true");
    bed.start().await;
    bed.monocloud("mc", &simulator, fast()).await;
    bed.enforce("inc", "mc", json!({"scope": "Tenant"})).await;
    let view = bed.policy_says("inc", "Ready", "False Suspended", &["SUSPEND"]).await;
    assert_eq!(view.condition("Suspended"), "True Suspended");
    assert_eq!((view.condition("Stalled"), view.condition("Reconciling")), (String::new(), String::new()));
    bed.provider_says("mc", "Ready", "True Verified", &[]).await;
    assert_eq!(simulator.count(monocloud::FORCE_RESET), 0);
    bed.kill();
    bed.set("SUSPEND", "no");
    bed.start().await;
    let view = bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    assert_eq!((view.count("enforced"), view.condition("Suspended")), (3, String::new()));
}

#[test]
fn a_setting_that_cannot_be_used_is_named_and_help_explains_each() {
    let operator = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_password-reset-operator"));
        command.env_clear();
        command
    };
    let said = |output: std::process::Output| {
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (ok, help) = said(operator().arg("--help").output().expect("it runs"));
    assert!(ok);
    for name in [
        "OPERATOR_NAMESPACE",
        "WATCH_NAMESPACES",
        "LISTEN",
        "LOG",
        "SUSPEND",
        "ALLOWED_ADDRESSES",
        "PROXY_URL",
        "LEDGER_RETENTION_DAYS",
        "MAX_WATCHED_LISTS",
        "CONCURRENCY",
        "KUBECONFIG",
    ] {
        assert!(help.contains(name), "{name} is not in --help:\n{help}");
    }
    let kubeconfig = std::env::temp_dir().join(format!("nobody-{}.kubeconfig", std::process::id()));
    let nobody = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [{"name": "u", "user": {}}]});
    std::fs::write(&kubeconfig, nobody.to_string()).expect("a kubeconfig");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for (name, value, word) in [
        ("LISTEN", "nowhere", "LISTEN"),
        ("LISTEN", taken.as_str(), "LISTEN"),
        ("SUSPEND", "perhaps", "SUSPEND"),
        ("LOG", "=loud=", "LOG"),
        ("CONCURRENCY", "0", "CONCURRENCY"),
        ("KUBECONFIG", "/nowhere/kubeconfig", "KUBECONFIG"),
        ("ALLOWED_ADDRESSES", "10.0.0.0/8,localhost", "ALLOWED_ADDRESSES: \"localhost\" is neither"),
        ("PROXY_URL", "socks5://user:hunter2@proxy.example", "PROXY_URL is no address such as"),
    ] {
        let mut command = operator();
        if name != "LISTEN" {
            command.env("LISTEN", "127.0.0.1:0");
        }
        if matches!(name, "ALLOWED_ADDRESSES" | "PROXY_URL") {
            command.env("KUBECONFIG", &kubeconfig);
        }
        let (ok, text) = said(command.env(name, value).output().expect("it runs"));
        println!("{name}={value}: {text}");
        assert!(!ok && text.contains(word), "{name}={value}: {text}");
        assert!(!text.contains("panicked") && !text.contains("hunter2"), "{text}");
    }
}
