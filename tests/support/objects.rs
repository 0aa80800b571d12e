//! Secrets, lists and cluster-scoped providers that can be wrong in every way, and what became of them.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, ObjectMeta, PostParams};
use password_reset_operator::api::ClusterIdentityProvider;
use serde_json::{Value, json};
use simulators::Handle;

use crate::bed::{Bed, View, cutoff};

/// The annotation that binds a credential to origins.
pub const ALLOWED_ORIGINS: &str = "passwordreset.dev/allowed-origins";
/// The label of a Secret that is a list of users.
pub const USER_LIST: &str = "passwordreset.dev/user-list";

impl Bed {
    /// Creates or replaces a whole Secret, whatever it held before. Grants nothing.
    pub async fn put_secret(
        &self,
        namespace: &str,
        name: &str,
        annotation: Option<(&str, &str)>,
        label: bool,
        data: &[(&str, &[u8])],
    ) {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: annotation.map(|(key, value)| [(key.to_owned(), value.to_owned())].into()),
                labels: label.then(|| [(USER_LIST.to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect()),
            ..Secret::default()
        };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        if api.get_opt(name).await.expect("Secrets can be read").is_some() {
            api.replace(name, &PostParams::default(), &secret).await.expect("the Secret is replaced");
        } else {
            api.create(&PostParams::default(), &secret).await.expect("the Secret is created");
        }
    }

    /// Creates or replaces the credentials of provider `name` at `simulator`, bound to its origin.
    pub async fn put_key(&self, name: &str, simulator: &Handle, key: &str, value: &[u8]) {
        let annotation = Some((ALLOWED_ORIGINS, simulator.base_url()));
        let annotation = annotation.as_ref().map(|(name, value)| (*name, value.as_str()));
        self.put_secret(&self.namespace, name, annotation, false, &[(key, value)]).await;
    }

    /// Creates a MonoCloud provider without its Secret, and no right to read one.
    pub async fn bare_monocloud(&self, name: &str, simulator: &Handle) {
        self.apply(
            &json!({"apiVersion": "passwordreset.dev/v1alpha1", "kind": "IdentityProvider", "metadata": {"name": name},
            "spec": {"monoCloud": {"baseURL": simulator.base_url(), "credentialsSecretRef": {"name": name}}}}),
        )
        .await;
    }

    /// Creates or replaces a list of users in a ConfigMap that the operator may read.
    pub async fn list_in_config_map(&self, name: &str, key: &str, text: &str) {
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            data: Some([(key.to_owned(), text.to_owned())].into()),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        if api.get_opt(name).await.expect("ConfigMaps can be read").is_some() {
            api.replace(name, &PostParams::default(), &map).await.expect("the ConfigMap is replaced");
        } else {
            api.create(&PostParams::default(), &map).await.expect("the ConfigMap is created");
            self.grant("configmaps", name).await;
        }
    }

    /// A policy in mode Enforce with one target, named `target`.
    pub async fn enforce(&self, name: &str, provider: &str, target: Value) {
        let mut whole = json!({"name": "target", "providerRef": {"name": provider}});
        crate::bed::merge(&mut whole, target);
        self.policy(
            name,
            json!({"mode": "Enforce", "requirement": {"passwordChangedAfter": cutoff()}, "targets": [whole]}),
        )
        .await;
    }

    /// Waits until a condition of a provider is `said`, such as `False SecretInvalid`, in a message that holds all `words`.
    pub async fn provider_says(&self, name: &str, type_: &str, said: &str, words: &[&str]) -> View {
        let what = format!("{name}: {type_}={said} with {words:?}");
        self.provider_until(name, &what, |view| says(view, type_, said, words)).await
    }

    /// The same for a policy.
    pub async fn policy_says(&self, name: &str, type_: &str, said: &str, words: &[&str]) -> View {
        let what = format!("{name}: {type_}={said} with {words:?}");
        self.policy_until(name, &what, |view| says(view, type_, said, words)).await
    }

    /// Waits until a cluster-scoped provider is as `wanted` says.
    pub async fn cluster_provider_until(&self, name: &str, what: &str, wanted: impl Fn(&View) -> bool) -> View {
        let api: Api<ClusterIdentityProvider> = Api::all(self.client.clone());
        self.until(what, wanted, || async { api.get(name).await.map(|o| serde_json::to_value(o).expect("JSON")) }).await
    }

    /// Waits until the operator's log holds `text`.
    pub async fn log_says(&self, text: &str) {
        let read = || async { Ok(json!({"status": self.log_text().contains(text)})) };
        self.until(&format!("in the log: {text}"), |view| view.0["status"] == true, read).await;
    }

    /// Everything that anybody can read of the operator's work on this namespace: objects, events, ledgers, log.
    pub async fn everything_public(&self) -> String {
        let mut all = self.log_text();
        for plural in ["identityproviders", "passwordresetpolicies"] {
            let uri = format!("/apis/passwordreset.dev/v1alpha1/namespaces/{}/{plural}", self.namespace);
            let request = http::Request::get(uri).body(Vec::new()).expect("a request");
            let list: Value = self.client.request(request).await.expect("a list");
            let statuses = list["items"].as_array().into_iter().flatten().map(|item| item["status"].to_string());
            all.extend(statuses);
        }
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = events.list(&ListParams::default()).await.expect("events");
        all += &serde_json::to_string(&events.items).expect("JSON");
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.operator_namespace);
        for map in maps.list(&ListParams::default()).await.expect("ConfigMaps").items {
            all += &serde_json::to_string(&map).expect("JSON");
            let bytes = map.binary_data.into_iter().flatten().map(|(_, ByteString(bytes))| bytes);
            all.extend(bytes.map(|bytes| texts(&bytes)));
        }
        all
    }
}

/// What in these bytes could be read as text: four characters or more. Numbers may hold the byte of any single one.
fn texts(bytes: &[u8]) -> String {
    let runs = bytes.split(|byte| !byte.is_ascii_graphic()).filter(|run| run.len() >= 4);
    runs.map(|run| String::from_utf8_lossy(run).into_owned() + "\n").collect()
}

fn says(view: &View, type_: &str, said: &str, words: &[&str]) -> bool {
    let message = view.message(type_);
    view.condition(type_) == said && words.iter().all(|word| message.contains(word))
}
