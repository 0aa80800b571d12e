//! Prometheus metrics: a handful of counters whose labels come from fixed vocabularies.

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What a reconcile was about and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// Kind of the object.
    pub kind: &'static str,
    /// `ok`, `error` or `panic`.
    pub outcome: &'static str,
}

/// A write to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// Name of the provider, for example `PingOne`.
    pub provider: &'static str,
    /// `require_change`, `revoke_sessions`, `require_everybody`.
    pub step: &'static str,
    /// `accepted`, `refused`, `unclear`, `not_sent`.
    pub outcome: &'static str,
}

/// A reason that a condition changed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// Kind of the object.
    pub kind: &'static str,
    /// The reason of the condition.
    pub reason: &'static str,
}

/// All metrics and the registry that prints them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// Writes that require a change or revoke sessions.
    pub provider_writes: Family<WriteLabels, Counter>,
    /// Changes of conditions that were worth an event.
    pub condition_changes: Family<ReasonLabels, Counter>,
    /// Events that could not be published.
    pub events_lost: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("password_reset_operator");
        let (reconciles, provider_writes, condition_changes, events_lost) =
            (Family::default(), Family::default(), Family::default(), Counter::default());
        registry.register("reconciles", "Reconciles by kind and outcome", reconciles.clone());
        registry.register(
            "provider_writes",
            "Writes to identity providers by step and outcome",
            provider_writes.clone(),
        );
        registry.register(
            "condition_changes",
            "Changes of conditions that are said in events, by reason",
            condition_changes.clone(),
        );
        registry.register("events_lost", "Events that could not be published", events_lost.clone());
        Self { registry, reconciles, provider_writes, condition_changes, events_lost }
    }
}

impl Metrics {
    /// The metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; an empty answer would be the honest one if it ever did.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}
