//! Writing what a report says: one status patch when it differs, and its events.

use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::json;

use crate::status::EventNote;
use crate::telemetry::metrics::Metrics;

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "password-reset-operator";

/// The longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;

/// Writes `status` by server-side apply and returns the object's new resource version. Nothing but status is sent.
pub async fn status<K, S>(api: &Api<K>, name: &str, status: &S) -> Result<String, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    S: Serialize,
{
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    let patched = api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body)).await?;
    Ok(patched.resource_version().unwrap_or_default())
}

/// Publishes events about `object`. An event that is refused is counted and never fails anything.
pub async fn events<K>(recorder: &Recorder, metrics: &Metrics, object: &K, notes: &[EventNote])
where
    K: Resource<DynamicType = ()>,
{
    for note in notes {
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.to_string(),
            action: note.action.to_string(),
            note: Some(truncated(&note.note, MAX_NOTE).to_owned()),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &object.object_ref(&())).await {
            metrics.events_lost.inc();
            tracing::debug!(%error, "an event could not be published");
        }
    }
}

/// The longest start of `text` that has at most `max` bytes and ends between characters.
fn truncated(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The API for the namespaced kind `K` in `namespace`.
pub fn namespaced<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), namespace)
}

#[cfg(test)]
mod tests {
    use super::truncated;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(truncated("aäb", 2), "a");
        assert_eq!(truncated("aäb", 3), "aä");
        assert_eq!(truncated("abc", 10), "abc");
    }
}
