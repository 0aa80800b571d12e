//! What may the operator do? Exactly the rules of the chart, installed without Helm.
//!
//! The rules are read from `charts/password-reset-operator/rules/`, which the chart's templates include as well, so that
//! a test that runs the operator under its ServiceAccount proves that the shipped rights suffice. Secrets are in none of
//! them: [`grant`] gives one, as whoever creates a provider or a list does.
//!
//! Each test program uses a part of this, so the rest looks unused to it.

#![allow(dead_code)]

use std::fmt::Debug;
use std::path::Path;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ObjectMeta, Patch, PatchParams, ValidationDirective};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of the ServiceAccount in the chart and in `examples/`.
pub const SERVICE_ACCOUNT: &str = "password-reset-operator";

/// The namespace of events about objects without one.
const EVENTS_OF_CLUSTER_OBJECTS: &str = "default";

/// What can be granted in a namespace by name.
#[derive(Clone, Copy, Debug)]
pub enum Readable {
    /// Credentials, or a list of users.
    Secret,
    /// A CA bundle, or a list of users.
    ConfigMap,
}

/// Creates the ServiceAccount and gives it what an operator needs that serves all namespaces, the cluster kind included:
/// the chart with its defaults. Namespaces must exist. Doing it again changes nothing.
pub async fn install(client: &Client, operator_namespace: &str, service_account: &str) {
    let who = Account { namespace: operator_namespace, name: service_account };
    who.create(client).await;
    let served = [rules("namespaced"), rules("events"), rules("cluster-providers")].concat();
    who.allow_everywhere(client, served).await;
    who.allow_in(client, operator_namespace, "own-namespace", rules("operator-namespace")).await;
}

/// The same for an operator that serves `namespaces` only: the chart with `watchNamespaces`, and with
/// `clusterProviders.enabled` where `cluster_providers`.
pub async fn install_for(
    client: &Client,
    operator_namespace: &str,
    service_account: &str,
    namespaces: &[&str],
    cluster_providers: bool,
) {
    let who = Account { namespace: operator_namespace, name: service_account };
    who.create(client).await;
    for namespace in namespaces {
        who.allow_in(client, namespace, "served", [rules("namespaced"), rules("events")].concat()).await;
    }
    if cluster_providers {
        who.allow_everywhere(client, rules("cluster-providers")).await;
        who.allow_in(client, EVENTS_OF_CLUSTER_OBJECTS, "cluster-events", rules("events")).await;
    }
    who.allow_in(client, operator_namespace, "own-namespace", rules("operator-namespace")).await;
}

/// Adds what several replicas need beside the rest: the chart with `replicas` above 1.
pub async fn allow_election(client: &Client, operator_namespace: &str, service_account: &str) {
    let who = Account { namespace: operator_namespace, name: service_account };
    who.allow_in(client, operator_namespace, "leader-election", rules("leader-election")).await;
}

/// Lets the operator read `namespace/name`, as whoever creates a provider or a list does beside it.
pub async fn grant(
    client: &Client,
    operator_namespace: &str,
    service_account: &str,
    what: Readable,
    namespace: &str,
    name: &str,
) {
    let who = Account { namespace: operator_namespace, name: service_account };
    let (resource, part) = match what {
        Readable::Secret => ("secrets", format!("secret-{name}")),
        Readable::ConfigMap => ("configmaps", format!("configmap-{name}")),
    };
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(vec![name.to_owned()]),
        verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    };
    who.allow_in(client, namespace, &part, vec![rule]).await;
}

/// The rules of one file of the chart.
pub fn rules(file: &str) -> Vec<PolicyRule> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("charts/password-reset-operator/rules/{file}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Which of these requests, lines of the API server's audit log, were refused for want of a right, but for those to Secrets
/// and to ConfigMaps of `served`: whether these may be read is for whoever creates a provider or a list to say.
pub fn refused(requests: &[&str], served: &str) -> Vec<String> {
    requests
        .iter()
        .filter(|line| line.contains("\"authorization.k8s.io/decision\":\"forbid\""))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON"))
        .filter(|event| {
            let object = &event["objectRef"];
            let list = object["resource"] == "configmaps" && object["namespace"] == served;
            !(list || object["resource"] == "secrets")
        })
        .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
        .collect()
}

/// A ServiceAccount that is given rights.
struct Account<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl Account<'_> {
    async fn create(&self, client: &Client) {
        let account = ServiceAccount { metadata: named(self.name), ..ServiceAccount::default() };
        apply_in(client, self.namespace, &account).await;
    }

    /// Operators of several tests share a cluster, so what has no namespace of its own carries the operator's.
    async fn allow_everywhere(&self, client: &Client, rules: Vec<PolicyRule>) {
        let metadata = named(&format!("{}-{}", self.name, self.namespace));
        let role_ref = role_ref("ClusterRole", metadata.name.as_deref().expect("a name"));
        let role = ClusterRole { metadata: metadata.clone(), rules: Some(rules), ..ClusterRole::default() };
        apply(&Api::all(client.clone()), &role).await;
        let binding = ClusterRoleBinding { metadata, role_ref, subjects: Some(vec![self.subject()]) };
        apply(&Api::all(client.clone()), &binding).await;
    }

    async fn allow_in(&self, client: &Client, namespace: &str, part: &str, rules: Vec<PolicyRule>) {
        let metadata = named(&format!("{}-{}-{part}", self.name, self.namespace));
        let role_ref = role_ref("Role", metadata.name.as_deref().expect("a name"));
        let role = Role { metadata: metadata.clone(), rules: Some(rules) };
        apply_in(client, namespace, &role).await;
        let binding = RoleBinding { metadata, role_ref, subjects: Some(vec![self.subject()]) };
        apply_in(client, namespace, &binding).await;
    }

    fn subject(&self) -> Subject {
        Subject {
            kind: "ServiceAccount".to_owned(),
            name: self.name.to_owned(),
            namespace: Some(self.namespace.to_owned()),
            api_group: None,
        }
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

async fn apply_in<K>(client: &Client, namespace: &str, object: &K)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    apply(&Api::namespaced(client.clone(), namespace), object).await;
}

async fn apply<K>(api: &Api<K>, object: &K)
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let parameters = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("password-reset-operator-tests").force()
    };
    let name = object.name_any();
    let applied = api.patch(&name, &parameters, &Patch::Apply(object)).await;
    applied.unwrap_or_else(|error| panic!("{} {name}: {error}", K::kind(&())));
}
