//! Writing what a report says: one status patch when it differs, and its events.

use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::json;

use super::context::Context;
use crate::status::EventNote;
use crate::telemetry::metrics::ReasonLabels;

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "password-reset-operator";

/// Writes `status` of `object` by server-side apply and returns the object's new resource version, `None` where it was
/// deleted in the meantime and there is nobody to tell. Nothing but status is sent, and an object of the same name that was
/// created anew is left alone (its UID is another: 409).
pub async fn status<K, S>(api: &Api<K>, object: &K, status: &S) -> Result<Option<String>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    S: Serialize,
{
    let name = object.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": object.uid()},
        "status": status,
    });
    match api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body)).await {
        Ok(patched) => Ok(Some(patched.resource_version().unwrap_or_default())),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Publishes events about `object` and counts their reasons. One that is refused is counted as lost and never fails
/// anything.
pub async fn events<K>(context: &Context, kind: &'static str, object: &K, notes: &[EventNote])
where
    K: Resource<DynamicType = ()>,
{
    let metrics = &context.metrics;
    for note in notes {
        let labels = ReasonLabels { kind, reason: note.reason.as_str() };
        metrics.condition_changes.get_or_create(&labels).inc();
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.to_string(),
            action: note.action.to_string(),
            note: Some(note.note.clone()),
            secondary: None,
        };
        if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
            metrics.events_lost.inc();
            tracing::debug!(%error, "an event could not be published");
        }
    }
}

/// The API for the namespaced kind `K` in `namespace`.
pub fn namespaced<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), namespace)
}
