//! What does the policy's status say? Read as any other program would read it, as JSON.

use std::collections::BTreeSet;

use serde_json::Value;

/// The counters of a target, in the order of the table. `cleared` and `unknown` are shown where somebody is counted.
pub const COUNTS: [&str; 9] =
    ["targeted", "compliant", "enforced", "changed", "pending", "cleared", "skipped", "failed", "unknown"];

/// A policy or a provider, read at one moment.
#[derive(Clone, Debug)]
pub struct Seen(pub Value);

impl Seen {
    /// Whether status speaks about the newest spec.
    pub fn is_current(&self) -> bool {
        self.0["status"]["observedGeneration"] == self.0["metadata"]["generation"]
    }

    /// Status and reason of a condition, such as `True Enforced`; empty where it is absent.
    pub fn condition(&self, type_: &str) -> String {
        self.find(type_).map_or_else(String::new, |c| {
            format!("{} {}", c["status"].as_str().unwrap_or_default(), c["reason"].as_str().unwrap_or_default())
        })
    }

    /// All conditions, each with its reason, such as `Ready=True Enforced`.
    pub fn conditions(&self) -> Vec<String> {
        let all = self.0["status"]["conditions"].as_array().into_iter().flatten();
        let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        all.map(|c| format!("{}={} {}", text(c, "type"), text(c, "status"), text(c, "reason"))).collect()
    }

    /// The message of a condition; empty where it is absent.
    pub fn message(&self, type_: &str) -> String {
        self.find(type_).and_then(|c| c["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// A counter of the whole policy.
    pub fn count(&self, counter: &str) -> usize {
        number(&self.0["status"]["counts"][counter])
    }

    /// A counter of one target.
    pub fn count_of(&self, target: &str, counter: &str) -> usize {
        self.target(target).map_or(0, |found| number(&found["counts"][counter]))
    }

    /// The samples of what failed: target, category, subject.
    pub fn failures(&self) -> BTreeSet<(String, String, String)> {
        let samples = self.0["status"]["failures"].as_array().into_iter().flatten();
        let text = |sample: &Value, key: &str| sample[key].as_str().unwrap_or_default().to_owned();
        samples.map(|s| (text(s, "target"), text(s, "category"), text(s, "subject"))).collect()
    }

    /// The value of the annotation `passwordreset.dev/reconcile` that was obeyed last.
    pub fn handled_reconcile(&self) -> &str {
        self.0["status"]["lastHandledReconcile"].as_str().unwrap_or_default()
    }

    fn target(&self, name: &str) -> Option<&Value> {
        self.0["status"]["targets"].as_array()?.iter().find(|target| target["name"] == name)
    }

    fn find(&self, type_: &str) -> Option<&Value> {
        self.0["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}
