//! An object as a program sees it that knows the API but not our types.

use serde_json::Value;

/// An object as JSON, with its conditions at hand.
#[derive(Clone, Debug)]
pub struct View(pub Value);

impl View {
    /// Status and reason of a condition, such as `True Enforced`; empty where it is absent.
    pub fn condition(&self, type_: &str) -> String {
        let conditions = self.0["status"]["conditions"].as_array();
        let found = conditions.into_iter().flatten().find(|c| c["type"] == type_);
        found.map_or_else(String::new, |c| {
            format!("{} {}", c["status"].as_str().unwrap_or_default(), c["reason"].as_str().unwrap_or_default())
        })
    }

    /// The message of a condition.
    pub fn message(&self, type_: &str) -> String {
        let conditions = self.0["status"]["conditions"].as_array();
        let found = conditions.into_iter().flatten().find(|c| c["type"] == type_);
        found.and_then(|c| c["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// A counter of the whole policy.
    pub fn count(&self, name: &str) -> i64 {
        self.0["status"]["counts"][name].as_i64().unwrap_or_default()
    }

    /// Whether status speaks about the newest spec.
    pub fn is_current(&self) -> bool {
        self.0["status"]["observedGeneration"] == self.0["metadata"]["generation"]
    }
}
