//! What may the operator do? The ServiceAccount and the rules that the chart ships, for one namespace and its own.
//!
//! Secrets are in none of the rules: the examples bring a Role for each one beside it.

use anyhow::Result;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::{Cluster, SERVICE_ACCOUNT};
use crate::repository;

/// Creates the ServiceAccount and gives it the chart's rules.
pub async fn install(cluster: &Cluster) -> Result<()> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": SERVICE_ACCOUNT, "namespace": cluster.operator_namespace}});
    cluster.apply(account).await?;
    allow(cluster, &cluster.namespace, "served", [rules("namespaced")?, rules("events")?].concat()).await?;
    allow(cluster, &cluster.operator_namespace, "own-namespace", rules("operator-namespace")?).await
}

async fn allow(cluster: &Cluster, namespace: &str, part: &str, rules: Vec<Value>) -> Result<()> {
    let rbac = "rbac.authorization.k8s.io";
    let name = format!("{SERVICE_ACCOUNT}-{part}");
    let metadata = json!({"name": name, "namespace": namespace});
    let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata, "rules": rules});
    let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": cluster.operator_namespace}]});
    cluster.apply(role).await?;
    cluster.apply(binding).await
}

fn rules(file: &str) -> Result<Vec<Value>> {
    let path = format!("charts/password-reset-operator/rules/{file}.yaml");
    Ok(repository::documents(&path)?
        .into_iter()
        .flat_map(|list| list.as_array().cloned().unwrap_or_default())
        .collect())
}

/// Whether the caller of `client` may do `verb` on the Secret `name` (or on all Secrets) of `namespace`.
pub async fn may(client: &Client, verb: &str, namespace: &str, resource: &str, name: Option<&str>) -> Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                resource: Some(resource.to_owned()),
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
