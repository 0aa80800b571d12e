//! Does the chart give the operator what it needs, and nothing else?

#[path = "support/rights.rs"]
mod rights;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use password_reset_operator::generate::generated_files;
use password_reset_operator::settings::Settings;
use rights::{Readable, SERVICE_ACCOUNT, allow_election, grant, install, install_for, rules};

const OURS: &str = "passwordreset.dev";
const EVENTS: &str = "events.k8s.io";

fn chart(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/password-reset-operator").join(file)
}

/// Asks the API server what one ServiceAccount may do.
struct Asking {
    client: Client,
    user: String,
}

impl Asking {
    fn new(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), user: format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}") }
    }

    /// Which of `verbs` are allowed on `resource` (`plural` or `plural/subresource`) in `namespace` ("" is all), or on
    /// the one object with this `name`.
    async fn allowed<'v>(
        &self,
        (group, resource): (&str, &str),
        namespace: &str,
        name: Option<&str>,
        verbs: &[&'v str],
    ) -> Vec<&'v str> {
        let (plural, subresource) = match resource.split_once('/') {
            Some((plural, subresource)) => (plural, Some(subresource.to_owned())),
            None => (resource, None),
        };
        let mut allowed = Vec::new();
        for &verb in verbs {
            let attributes = ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(plural.to_owned()),
                subresource: subresource.clone(),
                namespace: Some(namespace.to_owned()),
                name: name.map(str::to_owned),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            };
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: Some(self.user.clone()),
                    resource_attributes: Some(attributes),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
            let answer = reviews.create(&PostParams::default(), &review).await.expect("an answer");
            if answer.status.expect("a status").allowed {
                allowed.push(verb);
            }
        }
        allowed
    }

    /// Checks that of all verbs exactly `verbs` are allowed. The API server's authorizer learns of a new role by a watch
    /// of its own, so that is awaited.
    async fn is_granted(&self, what: (&str, &str), namespace: &str, name: Option<&str>, verbs: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let allowed = self.allowed(what, namespace, name, &VERBS).await;
            if allowed == verbs {
                return;
            }
            assert!(Instant::now() < deadline, "{what:?} {name:?} in {namespace:?}: {allowed:?}, not {verbs:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const READ: [&str; 3] = ["get", "list", "watch"];
const NONE: [&str; 0] = [];

#[tokio::test]
async fn by_default_every_namespace_is_served_and_only_status_is_written() {
    let client = testbed::control_plane::shared().await.expect("a control plane").client().await.expect("a client");
    let own = testbed::control_plane::create_namespace(&client, "operator").await.expect("a namespace");
    let other = testbed::control_plane::create_namespace(&client, "other").await.expect("a namespace");
    install(&client, &own, SERVICE_ACCOUNT).await;
    let may = Asking::new(&client, &own);
    for kind in ["identityproviders", "passwordresetpolicies", "clusteridentityproviders"] {
        may.is_granted((OURS, kind), "", None, &READ).await;
        let status = format!("{kind}/status");
        may.is_granted((OURS, &status), "", None, &["patch"]).await;
    }
    may.is_granted((EVENTS, "events"), "", None, &["create", "patch"]).await;
    let ledgers = ["list", "watch", "create", "update", "patch", "delete"];
    may.is_granted(("", "configmaps"), &own, None, &ledgers).await;
    assert_eq!(may.allowed(("", "configmaps"), &other, None, &VERBS).await, NONE);
    for (group, resource) in [("", "secrets"), ("", "pods"), ("coordination.k8s.io", "leases")] {
        assert_eq!(may.allowed((group, resource), &own, None, &VERBS).await, NONE, "{resource}");
    }
    for (group, resource) in
        [("", "secrets"), ("", "namespaces"), ("rbac.authorization.k8s.io", "roles"), ("", "serviceaccounts/token")]
    {
        assert_eq!(may.allowed((group, resource), "", None, &VERBS).await, NONE, "{resource}");
    }
}

#[tokio::test]
async fn with_named_namespaces_nothing_is_granted_in_others() {
    let client = testbed::control_plane::shared().await.expect("a control plane").client().await.expect("a client");
    let own = testbed::control_plane::create_namespace(&client, "operator").await.expect("a namespace");
    let served = testbed::control_plane::create_namespace(&client, "served").await.expect("a namespace");
    let other = testbed::control_plane::create_namespace(&client, "other").await.expect("a namespace");
    let may = Asking::new(&client, &own);

    install_for(&client, &own, SERVICE_ACCOUNT, &[&served], false).await;
    for kind in ["identityproviders", "passwordresetpolicies"] {
        may.is_granted((OURS, kind), &served, None, &READ).await;
        assert_eq!(may.allowed((OURS, kind), &other, None, &VERBS).await, NONE, "{kind}");
    }
    may.is_granted((EVENTS, "events"), &served, None, &["create", "patch"]).await;
    assert_eq!(may.allowed((EVENTS, "events"), &other, None, &VERBS).await, NONE);
    assert_eq!(may.allowed((EVENTS, "events"), "default", None, &VERBS).await, NONE);
    assert_eq!(may.allowed((OURS, "clusteridentityproviders"), "", None, &VERBS).await, NONE);

    install_for(&client, &own, SERVICE_ACCOUNT, &[&served], true).await;
    may.is_granted((OURS, "clusteridentityproviders"), "", None, &READ).await;
    may.is_granted((OURS, "clusteridentityproviders/status"), "", None, &["patch"]).await;
    may.is_granted((EVENTS, "events"), "default", None, &["create", "patch"]).await;
    assert_eq!(may.allowed((OURS, "identityproviders"), "", None, &VERBS).await, NONE);
}

#[tokio::test]
async fn several_replicas_may_use_one_lease_and_no_other() {
    let client = testbed::control_plane::shared().await.expect("a control plane").client().await.expect("a client");
    let own = testbed::control_plane::create_namespace(&client, "operator").await.expect("a namespace");
    let other = testbed::control_plane::create_namespace(&client, "other").await.expect("a namespace");
    install(&client, &own, SERVICE_ACCOUNT).await;
    let may = Asking::new(&client, &own);
    let leases = ("coordination.k8s.io", "leases");
    assert_eq!(
        may.allowed(leases, &own, Some("password-reset-operator"), &VERBS).await,
        NONE,
        "one replica needs none"
    );
    allow_election(&client, &own, SERVICE_ACCOUNT).await;
    may.is_granted(leases, &own, Some("password-reset-operator"), &["get", "watch", "create", "update"]).await;
    assert_eq!(may.allowed(leases, &own, Some("another"), &VERBS).await, ["create"]);
    assert_eq!(may.allowed(leases, &other, Some("password-reset-operator"), &VERBS).await, NONE);
}

#[tokio::test]
async fn a_grant_is_for_one_secret_and_for_reading() {
    let client = testbed::control_plane::shared().await.expect("a control plane").client().await.expect("a client");
    let own = testbed::control_plane::create_namespace(&client, "operator").await.expect("a namespace");
    let other = testbed::control_plane::create_namespace(&client, "other").await.expect("a namespace");
    install(&client, &own, SERVICE_ACCOUNT).await;
    grant(&client, &own, SERVICE_ACCOUNT, Readable::Secret, &other, "leak").await;
    let may = Asking::new(&client, &own);
    may.is_granted(("", "secrets"), &other, Some("leak"), &READ).await;
    assert_eq!(may.allowed(("", "secrets"), &other, Some("another"), &VERBS).await, NONE);
    assert_eq!(may.allowed(("", "secrets"), &own, Some("leak"), &VERBS).await, NONE);
    assert_eq!(may.allowed(("", "configmaps"), &other, Some("leak"), &VERBS).await, NONE);
}

#[test]
fn no_rule_has_a_wildcard_or_names_a_secret() {
    let files: BTreeSet<String> = fs::read_dir(chart("rules"))
        .expect("rules/")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().trim_end_matches(".yaml").to_owned())
        .collect();
    assert_eq!(
        files.iter().map(String::as_str).collect::<Vec<_>>(),
        ["cluster-providers", "events", "leader-election", "namespaced", "operator-namespace"]
    );
    for file in files {
        for rule in rules(&file) {
            let words = [rule.api_groups, rule.resources, Some(rule.verbs)].into_iter().flatten().flatten();
            for word in words {
                assert!(!word.contains('*') && word != "secrets", "{file}: {word}");
            }
        }
    }
}

#[test]
fn every_setting_of_the_operator_can_be_set_by_the_chart() {
    let deployment = fs::read_to_string(chart("templates/deployment.yaml")).expect("the template");
    let offered: BTreeSet<&str> =
        deployment.lines().filter_map(|line| line.trim_start().strip_prefix("- name: ")).collect();
    let command = Settings::command();
    let known: BTreeSet<&str> = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    assert!(!known.is_empty());
    let missing: Vec<_> = known.difference(&offered).collect();
    assert!(missing.is_empty(), "templates/deployment.yaml does not set {missing:?}");
    let unknown: Vec<_> =
        offered.difference(&known).filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect();
    assert!(unknown.is_empty(), "the operator does not know {unknown:?}");
}

#[test]
fn the_chart_installs_the_version_it_is_part_of() {
    let text = fs::read_to_string(chart("Chart.yaml")).expect("Chart.yaml");
    let about: serde_json::Value = serde_yaml::from_str(&text).expect("YAML");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_chart_holds_every_crd_and_no_other() {
    let generated: BTreeSet<String> = generated_files()
        .into_iter()
        .filter_map(|(path, _)| path.strip_prefix("charts/password-reset-operator/crds/").map(str::to_owned))
        .collect();
    let held: BTreeSet<String> = fs::read_dir(chart("crds"))
        .expect("crds/")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(held, generated);
    assert_eq!(held.len(), 3);
}
