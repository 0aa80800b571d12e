//! How do YAML files get onto the API server, as with `kubectl apply`?

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition,
};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};
use kube::{Api, Client, ResourceExt};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const FIELD_MANAGER: &str = "testbed";

/// Applies every document of `yaml` in its order, by server-side apply with strict field validation. Objects without a
/// namespace go to `namespace`. CustomResourceDefinitions are waited for until they are served.
///
/// Errors name the object and carry the server's words.
pub async fn apply(client: &Client, namespace: &str, yaml: &str) -> Result<()> {
    let objects: Vec<Option<DynamicObject>> =
        serde_yaml::from_multiple(yaml).context("this is not YAML with Kubernetes objects")?;
    for object in objects.into_iter().flatten() {
        let types = object.types.as_ref().context("a document has no apiVersion and kind")?;
        let what = format!("{} {}", types.kind, object.name_any());
        let kind = GroupVersionKind::try_from(types)?;
        let (resource, scope) = resource(client, &kind)
            .await
            .with_context(|| format!("the API server does not know the kind of {what}"))?;
        let api: Api<DynamicObject> = match scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or(namespace);
                Api::namespaced_with(client.clone(), namespace, &resource)
            }
        };
        let parameters = PatchParams {
            field_validation: Some(kube::api::ValidationDirective::Strict),
            ..PatchParams::apply(FIELD_MANAGER).force()
        };
        api.patch(&object.name_any(), &parameters, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {what}"))?;
        if types.kind == "CustomResourceDefinition" {
            wait_until_served(client, &object.name_any()).await?;
        }
    }
    Ok(())
}

/// The resource of a kind. A kind is the same at every API server of this process, so each is asked for once.
async fn resource(client: &Client, kind: &GroupVersionKind) -> Result<(ApiResource, Scope)> {
    static KNOWN: Mutex<BTreeMap<String, (ApiResource, Scope)>> = Mutex::new(BTreeMap::new());
    let name = format!("{}/{}", kind.api_version(), kind.kind);
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let (resource, capabilities) = discovery::pinned_kind(client, kind).await?;
    let found = (resource, capabilities.scope);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(name, found.clone());
    Ok(found)
}

/// Waits until the API server serves the kinds of a CustomResourceDefinition: once it is established, their storage is
/// still being made for a moment, in which every call is answered with 429.
///
/// Errors carry the server's words.
async fn wait_until_served(client: &Client, name: &str) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let deadline = Instant::now() + DEADLINE;
    loop {
        let definition = definitions.get(name).await?;
        let conditions = definition.status.unwrap_or_default().conditions.unwrap_or_default();
        let established = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
        let said = if established {
            let (group, names) = (&definition.spec.group, &definition.spec.names);
            let version = definition.spec.versions.first().context("a definition without versions")?;
            let kind = GroupVersionKind::gvk(group, &version.name, &names.kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, &names.plural);
            let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            match objects.list(&ListParams::default().limit(1)).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 429 => status.message,
                Err(error) => return Err(error.into()),
            }
        } else {
            let said = |c: &CustomResourceDefinitionCondition| {
                format!("{}={} {}", c.type_, c.status, c.message.as_deref().unwrap_or_default())
            };
            conditions.iter().map(said).collect::<Vec<_>>().join("; ")
        };
        if Instant::now() > deadline {
            bail!("{name} is not served: {said}");
        }
        tokio::time::sleep(POLL).await;
    }
}
