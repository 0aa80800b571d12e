//! Every version of an object's status, as a watch brings it, so that what must never be said can be told never to have been.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, Patch, PatchParams, WatchEvent, WatchParams};
use password_reset_operator::api::PasswordResetPolicy;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::bed::{Bed, View};

/// How long a version is awaited.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The versions of one policy from a moment on.
pub struct History {
    seen: Arc<Mutex<Vec<View>>>,
    task: JoinHandle<()>,
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl History {
    /// Watches the policy `name`, which may not exist yet.
    pub async fn of(bed: &Bed, name: &str) -> Self {
        let api: Api<PasswordResetPolicy> = Api::namespaced(bed.client.clone(), &bed.namespace);
        let parameters = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(290);
        let version =
            api.list(&Default::default()).await.expect("a list").metadata.resource_version.expect("a version");
        let mut stream = Box::pin(api.watch(&parameters, &version).await.expect("a watch"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let versions = seen.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                if let Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) = event {
                    let value = serde_json::to_value(object).expect("JSON");
                    versions.lock().expect("no panic while locked").push(View(value));
                }
            }
        });
        Self { seen, task }
    }

    /// What was seen so far.
    pub fn versions(&self) -> Vec<View> {
        self.seen.lock().expect("no panic while locked").clone()
    }

    /// Status and reason of a condition in every version, each once in a row: the story it told until `last`. A watch may
    /// bring what was read elsewhere a little later.
    pub async fn story(&self, type_: &str, last: &View) -> Vec<String> {
        let version = |view: &View| view.0["metadata"]["resourceVersion"].clone();
        let told = async {
            while !self.versions().iter().any(|seen| version(seen) == version(last)) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, told).await.expect("the watch brings the last version");
        let mut story: Vec<String> = self.versions().iter().map(|version| version.condition(type_)).collect();
        story.dedup();
        story
    }

    /// Checks what holds of every version, whatever happens.
    pub fn assert_sound(&self) {
        let versions = self.versions();
        assert!(!versions.is_empty(), "the watch has brought nothing");
        for version in &versions {
            assert_sound(version);
        }
    }
}

/// Checks one version.
pub fn assert_sound(view: &View) {
    let status = &view.0["status"];
    let Some(conditions) = status["conditions"].as_array() else { return };
    let types: Vec<&str> = conditions.iter().filter_map(|c| c["type"].as_str()).collect();
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len(), "each type once: {status:#}");
    assert!(types.contains(&"Ready"), "Ready always: {status:#}");
    assert!(!(types.contains(&"Reconciling") && types.contains(&"Stalled")), "never both: {status:#}");
    for condition in conditions {
        let (type_, state) =
            (condition["type"].as_str().unwrap_or_default(), condition["status"].as_str().unwrap_or_default());
        if ["Reconciling", "Stalled", "Suspended", "DriftDetected"].contains(&type_) {
            assert_eq!(state, "True", "{type_} is absent unless true: {status:#}");
        }
        assert!(condition["observedGeneration"].as_i64() >= Some(1), "{type_} says of which generation: {status:#}");
        assert!(condition["message"].as_str().is_some_and(|m| !m.is_empty()), "{type_} has a message: {status:#}");
        if type_ == "Ready" && state == "True" {
            assert!(!types.contains(&"Reconciling") && !types.contains(&"Stalled"), "Ready is at rest: {status:#}");
        }
    }
    let counts = |counts: &Value| -> i64 {
        ["compliant", "enforced", "changed", "pending", "cleared", "skipped", "failed", "unknown"]
            .iter()
            .filter_map(|name| counts[name].as_i64())
            .sum()
    };
    if status["counts"].is_object() {
        assert_eq!(
            status["counts"]["targeted"].as_i64(),
            Some(counts(&status["counts"])),
            "the counts add up: {status:#}"
        );
    }
    assert!(!status.to_string().contains(simulators::PERSONAL_CANARY), "no names, no addresses: {status:#}");
    assert!(!status.to_string().contains(simulators::SECRET_CANARY), "no credentials: {status:#}");
}

/// Asks for a look by the annotation and waits for the token in status, which comes with the first slice of the look.
pub async fn look_again(bed: &Bed, policy: &str, token: &str) -> View {
    bed.patch_policy(policy, json!({"metadata": {"annotations": {"passwordreset.dev/reconcile": token}}})).await;
    bed.policy_until(policy, "the token is echoed", |p| p.0["status"]["lastHandledReconcile"] == token).await
}

/// Takes a policy's status away, as a restore from a backup does.
pub async fn lose_status(bed: &Bed, policy: &str) {
    let api: Api<PasswordResetPolicy> = Api::namespaced(bed.client.clone(), &bed.namespace);
    let nothing = json!({"status": null});
    api.patch_status(policy, &PatchParams::default(), &Patch::Merge(nothing)).await.expect("the status is gone");
}
