//! A real API server with our CRDs, spoken to in plain JSON, so that objects can be wrong in every way.
//!
//! Each test program uses a part of this, so the rest looks unused to it.

#![allow(dead_code)]

use std::collections::BTreeSet;
use std::fmt;

use kube::Client;
use password_reset_operator::api;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How a kind is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub api: &'static str,
    pub name: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

pub const PROVIDER: Kind = ours("IdentityProvider", "identityproviders", true);
pub const CLUSTER_PROVIDER: Kind = ours("ClusterIdentityProvider", "clusteridentityproviders", false);
pub const POLICY: Kind = ours("PasswordResetPolicy", "passwordresetpolicies", true);

const fn ours(name: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind { api: "apis/passwordreset.dev/v1alpha1", name, plural, namespaced }
}

/// Why the API server refused an object.
#[derive(Debug)]
pub struct Refusal {
    /// Each with the field's path, where the refusal is about one.
    pub causes: Vec<Cause>,
    message: String,
}

/// One reason of a refusal.
#[derive(Debug)]
pub struct Cause {
    pub field: String,
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n- {}: {}", cause.field, cause.message))
    }
}

/// A real API server with our CRDs, and a namespace of the test's own in it.
pub struct ApiServer {
    pub client: Client,
    pub namespace: String,
}

impl ApiServer {
    /// Starts the server, unless this process has it already, and installs the CRDs.
    pub async fn with_crds() -> Self {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let plane = testbed::control_plane::shared().await.expect("a control plane");
        let client = plane.client().await.expect("a client");
        INSTALLED.get_or_init(|| install(client.clone())).await;
        let namespace = testbed::control_plane::create_namespace(&client, "crds").await.expect("a namespace");
        Self { client, namespace }
    }

    /// Whether an object with this spec would be accepted; nothing is stored. Returns it with its defaults.
    pub async fn try_create(&self, kind: Kind, spec: &Value) -> Result<Value, Refusal> {
        self.try_create_object(kind, &object(kind, spec)).await
    }

    /// Whether this object would be accepted, with strict validation; nothing is stored.
    pub async fn try_create_object(&self, kind: Kind, object: &Value) -> Result<Value, Refusal> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&self.namespace);
        let uri = format!("{}?dryRun=All&fieldValidation=Strict", path(kind, namespace));
        self.send("POST", &uri, "application/json", object).await
    }

    /// Stores an object with this spec and returns its name.
    pub async fn create(&self, kind: Kind, spec: &Value) -> String {
        let uri = path(kind, &self.namespace);
        let created = self.send("POST", &uri, "application/json", &object(kind, spec)).await;
        let created = created.unwrap_or_else(|refusal| panic!("{spec}\nwas refused: {refusal}"));
        created["metadata"]["name"].as_str().expect("a name").to_owned()
    }

    /// Whether the stored object could have this spec instead; nothing is stored.
    pub async fn try_replace_spec(&self, kind: Kind, name: &str, spec: &Value) -> Result<Value, Refusal> {
        let uri = format!("{}/{name}?dryRun=All&fieldValidation=Strict", path(kind, &self.namespace));
        let spec = &object(kind, spec)["spec"];
        let patch = json!([{ "op": "replace", "path": "/spec", "value": spec }]);
        self.send("PATCH", &uri, "application/json-patch+json", &patch).await
    }

    /// Reads a stored object.
    pub async fn read(&self, kind: Kind, name: &str) -> Value {
        let uri = format!("{}/{name}", path(kind, &self.namespace));
        self.send("GET", &uri, "application/json", &Value::Null).await.expect("the object")
    }

    /// Writes the status of a stored object.
    pub async fn set_status(&self, kind: Kind, name: &str, status: Value) {
        let uri = format!("{}/{name}/status", path(kind, &self.namespace));
        let patch = json!({ "status": status });
        self.send("PATCH", &uri, "application/merge-patch+json", &patch).await.expect("the status is accepted");
    }

    /// The names of the stored objects that a field selector selects.
    pub async fn select(&self, kind: Kind, selector: &str) -> BTreeSet<String> {
        let uri = format!("{}?fieldSelector={selector}", path(kind, &self.namespace));
        let list = self.send("GET", &uri, "application/json", &Value::Null).await.expect("the selector is supported");
        let items = list["items"].as_array().expect("a list");
        items.iter().filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned).collect()
    }

    /// The columns of `kubectl get`: those always shown, and those of `-o wide`.
    pub async fn columns(&self, kind: Kind) -> (Vec<String>, Vec<String>) {
        let request = http::Request::get(path(kind, &self.namespace))
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .expect("a request");
        let table: Value = self.client.request(request).await.expect("a table");
        let columns = table["columnDefinitions"].as_array().expect("columns");
        let (always, wide): (Vec<&Value>, Vec<&Value>) =
            columns.iter().partition(|column| column["priority"].as_i64() == Some(0));
        let names = |columns: Vec<&Value>| {
            columns.iter().map(|column| column["name"].as_str().expect("a name").to_owned()).collect()
        };
        (names(always), names(wide))
    }

    async fn send(&self, method: &str, uri: &str, content_type: &str, body: &Value) -> Result<Value, Refusal> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("JSON") };
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", content_type)
            .body(body)
            .expect("a request");
        match self.client.request(request).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                Err(Refusal {
                    causes: causes
                        .map(|cause| Cause { field: cause.field.clone(), message: cause.message.clone() })
                        .collect(),
                    message: status.message.clone(),
                })
            }
            Err(error) => panic!("{method} {uri}: {error}"),
        }
    }
}

/// An object with a generated name. What the cluster-scoped kind requires beside a provider's fields is added.
fn object(kind: Kind, spec: &Value) -> Value {
    let mut spec = spec.clone();
    if kind == CLUSTER_PROVIDER && spec.get("allowedNamespaces").is_none() {
        spec["allowedNamespaces"] = json!(["security"]);
    }
    json!({
        "apiVersion": "passwordreset.dev/v1alpha1",
        "kind": kind.name,
        "metadata": { "generateName": "case-" },
        "spec": spec,
    })
}

fn path(kind: Kind, namespace: &str) -> String {
    let namespace = if kind.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
    format!("/{}{namespace}/{}", kind.api, kind.plural)
}

/// Installs the CRDs. An API server refuses a CRD whose rules could cost too much, so this is a test as well.
async fn install(client: Client) {
    for crd in api::crds() {
        let yaml = serde_json::to_string(&crd).expect("JSON");
        testbed::control_plane::manifests::apply(&client, "default", &yaml).await.expect("the CRD is accepted");
    }
}
