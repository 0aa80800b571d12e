//! What people and automation do in a bed's namespace: create, change and delete policies, providers and Secrets.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use password_reset_operator::api::{IdentityProvider, PasswordResetPolicy};
use serde_json::{Value, json};
use simulators::Handle;

use super::{Bed, SERVICE_ACCOUNT};

impl Bed {
    /// Lets the operator read one object of the test's namespace, as whoever creates a provider or a list would.
    pub async fn grant(&self, resource: &str, name: &str) {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": format!("read-{resource}-{name}")},
            "rules": [{"apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["get", "list", "watch"]}]});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("read-{resource}-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": format!("read-{resource}-{name}")},
            "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": self.operator_namespace}]});
        for object in [role, binding] {
            self.apply(&object).await;
        }
    }

    /// Applies any object to the test's namespace.
    pub async fn apply(&self, object: &Value) {
        let yaml = serde_json::to_string(object).expect("JSON");
        testbed::control_plane::manifests::apply(&self.client, &self.namespace, &yaml).await.expect("it is accepted");
    }

    /// Creates or replaces a Secret and grants the operator to read it.
    pub async fn secret(&self, name: &str, annotations: Value, labels: Value, data: Value) {
        self.apply(&json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "annotations": annotations, "labels": labels}, "stringData": data}))
            .await;
        self.grant("secrets", name).await;
    }

    /// Creates a provider with its Secret. `extra` is merged into the spec.
    pub async fn provider(&self, name: &str, origins: &[&str], secret: Value, block: Value, extra: Value) {
        let annotations = json!({"passwordreset.dev/allowed-origins": origins.join(" ")});
        self.secret(name, annotations, json!({}), secret).await;
        let mut spec = block;
        merge(&mut spec, extra);
        self.apply(&json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "IdentityProvider",
            "metadata": {"name": name}, "spec": spec}))
            .await;
    }

    /// A MonoCloud provider for a simulator.
    pub async fn monocloud(&self, name: &str, simulator: &Handle, extra: Value) {
        self.monocloud_at(name, simulator, &simulator.base_url(), extra).await;
    }

    /// The same, reached at `url`.
    pub async fn monocloud_at(&self, name: &str, simulator: &Handle, url: &str, extra: Value) {
        let block = json!({"monoCloud": {"baseURL": url, "credentialsSecretRef": {"name": name}}});
        self.provider(name, &[url], json!({"apiKey": simulator.credentials().api_key}), block, extra).await;
    }

    /// A Looker provider for a simulator.
    pub async fn looker(&self, name: &str, simulator: &Handle, extra: Value) {
        self.looker_at(name, simulator, &simulator.base_url(), extra).await;
    }

    /// The same, reached at `url`.
    pub async fn looker_at(&self, name: &str, simulator: &Handle, url: &str, extra: Value) {
        let credentials = simulator.credentials();
        let block = json!({"looker": {"baseURL": url, "credentialsSecretRef": {"name": name}}});
        let secret = json!({"clientID": credentials.client_id, "clientSecret": credentials.client_secret});
        self.provider(name, &[url], secret, block, extra).await;
    }

    /// A PingOne provider for a simulator.
    pub async fn pingone(&self, name: &str, simulator: &Handle, extra: Value) {
        self.pingone_at(name, simulator, &simulator.base_url(), &simulator.auth_url(), extra).await;
    }

    /// The same, reached at `api` and, for tokens, at `auth`.
    pub async fn pingone_at(&self, name: &str, simulator: &Handle, api: &str, auth: &str, extra: Value) {
        let credentials = simulator.credentials();
        let block = json!({"pingOne": {"environmentID": simulator.environment_id(), "baseURL": api, "authURL": auth,
            "workerEnvironmentID": simulator.worker_environment_id(), "credentialsSecretRef": {"name": name}}});
        let secret = json!({"clientID": credentials.client_id, "clientSecret": credentials.client_secret});
        self.provider(name, &[api, auth], secret, block, extra).await;
    }

    /// Creates a policy.
    pub async fn policy(&self, name: &str, spec: Value) {
        self.apply(&json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "PasswordResetPolicy",
            "metadata": {"name": name}, "spec": spec}))
            .await;
    }

    /// Changes a policy by a merge patch.
    pub async fn patch_policy(&self, name: &str, patch: Value) {
        let api: Api<PasswordResetPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the policy is patched");
    }

    /// Changes a provider by a merge patch.
    pub async fn patch_provider(&self, name: &str, patch: Value) {
        let api: Api<IdentityProvider> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the provider is patched");
    }

    /// Deletes a policy.
    pub async fn delete_policy(&self, name: &str) {
        let api: Api<PasswordResetPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.expect("the policy is deleted");
    }

    /// Deletes a provider.
    pub async fn delete_provider(&self, name: &str) {
        let api: Api<IdentityProvider> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.expect("the provider is deleted");
    }

    /// Deletes a Secret.
    pub async fn delete_secret(&self, name: &str) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default()).await.expect("the Secret is deleted");
    }
}

/// Merges `extra` into `spec`, object by object.
pub fn merge(spec: &mut Value, extra: Value) {
    match (spec, extra) {
        (Value::Object(spec), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(spec.entry(key).or_insert(Value::Null), value);
            }
        }
        (spec, extra) => *spec = extra,
    }
}

/// A rate limit that never holds a test up.
pub fn fast() -> Value {
    json!({"rateLimit": {"requestsPerSecond": 1000, "burst": 1000, "maxConcurrentRequests": 8}})
}

/// A cutoff of a minute ago.
pub fn cutoff() -> String {
    let now = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60);
    now.round(jiff::Unit::Second).expect("a whole second").to_string()
}
