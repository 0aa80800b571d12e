//! Are the shipped rights enough, and is none of them too much? One operator does everything that it can do to the API
//! server, and the audit log says what it took.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use simulators::{MonoCloud, Options};
use testbed::control_plane::audit::AuditEvent;
use testbed::control_plane::{self, ControlPlane};

use crate::bed::{Bed, SERVICE_ACCOUNT, cutoff, fast, install_crds, merge};
use crate::objects::ALLOWED_ORIGINS;
use crate::rights;

/// API group, resource with subresource, verb.
type Right = (String, String, String);

/// What the files of the chart grant, one by one.
fn granted(file: &str) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for rule in rights::rules(file) {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                all.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
            }
        }
    }
    all
}

fn right(event: &AuditEvent) -> Right {
    (event.group.clone(), event.resource_path(), event.verb.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_of_the_chart_is_used_and_nothing_else_is_asked_for() {
    let simulator = MonoCloud::start(Options::ordinary(3)).await.expect("a simulator");
    let shared = MonoCloud::start(Options::ordinary(4)).await.expect("a simulator");
    // Of its own: other operators would take the cluster-scoped object for theirs.
    let plane: &'static ControlPlane =
        Box::leak(Box::new(ControlPlane::start(control_plane::Options::default()).await.expect("a control plane")));
    install_crds(plane).await;
    let mut bed = Bed::on(plane, "rights", true).await;
    bed.set("LEDGER_RETENTION_DAYS", "0");
    // A Secret of the operator's namespace, granted by name, for the kind that lives in no namespace.
    let (url, key) = (shared.base_url(), shared.credentials().api_key);
    let name = bed.namespace.clone();
    bed.put_secret(&bed.operator_namespace, &name, Some((ALLOWED_ORIGINS, &url)), false, &[("apiKey", key.as_bytes())])
        .await;
    let secret = rights::Readable::Secret;
    rights::grant(&bed.client, &bed.operator_namespace, SERVICE_ACCOUNT, secret, &bed.operator_namespace, &name).await;
    let authority = std::fs::read_to_string(bed.plane.authority_path()).expect("a certificate");
    let bundle = ConfigMap {
        metadata: ObjectMeta { name: Some("authority".to_owned()), ..ObjectMeta::default() },
        data: Some([("ca.crt".to_owned(), authority)].into()),
        ..ConfigMap::default()
    };
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), &bed.operator_namespace);
    maps.create(&PostParams::default(), &bundle).await.expect("a CA bundle");
    bed.start().await;
    bed.monocloud("own", &simulator, fast()).await;
    let mut spec = json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": name}},
        "allowedNamespaces": [bed.namespace], "tls": {"caBundleConfigMapRef": {"name": "authority"}}});
    merge(&mut spec, fast());
    bed.apply(&json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "ClusterIdentityProvider",
        "metadata": {"name": name}, "spec": spec}))
        .await;
    let target = |kind: &str, name: &str| json!({"name": kind.to_lowercase(), "providerRef": {"kind": kind, "name": name}, "scope": "Tenant"});
    let targets = [target("IdentityProvider", "own"), target("ClusterIdentityProvider", &name)];
    let inc = |cutoff: String| json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff}, "targets": targets});
    bed.policy("inc", inc(cutoff())).await;
    bed.policy_says("inc", "Ready", "True Enforced", &[]).await;
    // The same is said twice: a new event, then the old one counted up.
    for _ in 0..2 {
        for (suspend, status) in [(true, "True Suspended"), (false, "")] {
            bed.patch_policy("inc", json!({"spec": {"suspend": suspend}})).await;
            bed.policy_until("inc", "suspended or not", |view| {
                view.is_current() && view.condition("Suspended") == status
            })
            .await;
        }
    }
    // Ledgers that no policy stands for any more are marked at one start, and are gone after the next: neither one that
    // was deleted, nor one of the same name with another cutoff. What that one sees is recorded in ledgers of its own.
    let old = bed.ledgers().await;
    assert_eq!(old.len(), 2, "{old:?}");
    bed.delete_policy("inc").await;
    let mut other = inc("2020-01-01T00:00:00Z".to_owned());
    merge(&mut other, json!({"suspend": true}));
    bed.policy("inc", other).await;
    bed.policy_says("inc", "Ready", "False Suspended", &[]).await;
    bed.kill();
    bed.start().await;
    let unmarked = || async {
        let maps = maps.list(&ListParams::default()).await?;
        let marked = |name: &String| {
            let is_marked = |map: &ConfigMap| map.annotations().contains_key("passwordreset.dev/policy-gone-since");
            maps.iter().any(|map| map.name_any() == *name && is_marked(map))
        };
        Ok(json!({"status": old.iter().filter(|name| !marked(name)).collect::<Vec<_>>()}))
    };
    bed.until("both ledgers are marked", |view| view.0["status"] == json!([]), unmarked).await;
    bed.kill();
    bed.start().await;
    let left = || async {
        let mut left = bed.ledgers().await;
        left.retain(|name| old.contains(name));
        Ok(json!({"status": left}))
    };
    bed.until("neither ledger is left", |view| view.0["status"] == json!([]), left).await;

    // One that acts, and one that stands by.
    rights::allow_election(&bed.client, &bed.operator_namespace, SERVICE_ACCOUNT).await;
    bed.set("LEADER_ELECT", "true");
    bed.kill();
    bed.start().await;
    let leases = |audit: &[AuditEvent]| -> BTreeSet<Right> {
        audit.iter().filter(|event| event.resource == "leases").map(right).collect()
    };
    let held =
        || async { Ok(json!({"status": leases(&bed.audit().await).iter().any(|(_, _, verb)| verb == "update")})) };
    bed.until("the lease is renewed", |view| view.0["status"] == true, held).await;
    let _standby = bed.replica("standby", &[]).await;
    let watched = || async { Ok(json!({"status": leases(&bed.audit().await) == granted("leader-election")})) };
    bed.until("the lease is watched too", |view| view.0["status"] == true, watched).await;

    let audit = bed.audit().await;
    let refused: Vec<_> = audit.iter().filter(|event| event.is_forbidden()).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let used = |within: &dyn Fn(&str) -> bool, names: &[&str]| -> BTreeSet<Right> {
        audit
            .iter()
            .filter(|event| within(&event.namespace) && names.contains(&event.resource.as_str()))
            .map(right)
            .collect()
    };
    let here = |namespace: &str| namespace == bed.namespace;
    let own = |namespace: &str| namespace == bed.operator_namespace;
    let nowhere = |namespace: &str| namespace.is_empty();
    let anywhere = |_: &str| true;
    assert_eq!(used(&here, &["identityproviders", "passwordresetpolicies"]), granted("namespaced"));
    assert_eq!(used(&nowhere, &["clusteridentityproviders"]), granted("cluster-providers"));
    assert_eq!(used(&anywhere, &["events"]), granted("events"));
    assert_eq!(used(&own, &["configmaps"]), granted("operator-namespace"));
    // What every account may ask about itself, and credentials by their names.
    let known = [
        "leases",
        "identityproviders",
        "passwordresetpolicies",
        "clusteridentityproviders",
        "events",
        "configmaps",
        "secrets",
        "selfsubjectreviews",
        "",
    ];
    let other: Vec<_> = audit.iter().filter(|event| !known.contains(&event.resource.as_str())).collect();
    assert!(other.is_empty(), "{other:?}");
    let secrets: Vec<_> = audit.iter().filter(|event| event.resource == "secrets").collect();
    let by_name = |uri: &str| uri.contains("fieldSelector=metadata.name%3D") || uri.contains("/secrets/");
    assert!(!secrets.is_empty() && secrets.iter().all(|event| by_name(&event.uri) && !event.is_write()), "{secrets:?}");
    assert!(secrets.iter().all(|event| !event.namespace.is_empty()), "never across namespaces: {secrets:?}");
}
