//! What has to be there before the first watch, and who are we?

use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::run::NAME;
use super::streams::Guarded;
use crate::api::{ClusterIdentityProvider, IdentityProvider, PasswordResetPolicy};
use crate::settings::Settings;

/// How long the API server or a missing CRD is waited for before it is looked for again.
const RETRY: Duration = Duration::from_secs(5);

/// Waits until the API server answers and our kinds can be listed, saying what is missing. Returns who we are and whether
/// the cluster-scoped kind can be served.
pub async fn prepare(client: &Client, settings: &Settings) -> (String, bool) {
    let namespaces = settings.namespaces();
    let mut said = String::new();
    let cluster_kind = loop {
        let missing = async {
            let served: Vec<Option<&str>> =
                if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(|n| Some(n.as_str())).collect() };
            for namespace in served {
                listable::<IdentityProvider>(client, namespace).await?;
                listable::<PasswordResetPolicy>(client, namespace).await?;
            }
            serves_cluster_kind(client).await
        };
        match missing.await {
            Ok(cluster_kind) => break cluster_kind,
            Err(sentence) => {
                if said != sentence {
                    tracing::error!("{sentence}");
                    said = sentence;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    (who_am_i(client, settings).await, cluster_kind)
}

/// Whether the cluster-scoped kind can be listed. Only a refusal turns it off: an API server that is not itself for a
/// moment must not, since nobody would turn it on again.
async fn serves_cluster_kind(client: &Client) -> Result<bool, String> {
    let api = Api::<ClusterIdentityProvider>::all(client.clone());
    match api.list(&ListParams::default().limit(1)).await {
        // An object that does not decode is there all the same.
        Ok(_) | Err(kube::Error::SerdeError(_)) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() || status.code == 404 => {
            tracing::warn!(
                "ClusterIdentityProviders are off: they cannot be listed ({status}); grant it by a ClusterRole and restart"
            );
            Ok(false)
        }
        Err(error) => Err(format!("the API server does not answer: {error}")),
    }
}

async fn listable<K>(client: &Client, namespace: Option<&str>) -> Result<(), String>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<Guarded<K>> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let place = namespace.map_or_else(|| "in all namespaces".to_owned(), |n| format!("in namespace {n}"));
    match api.list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        // Where not even the group is known, the answer is plain text without a reason.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.code == 404 => Err(format!(
            "the API server does not know {}; install the CRDs: kubectl apply --server-side -f crds/, or from the chart: helm show crds CHART | kubectl apply --server-side -f -",
            K::plural(&())
        )),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Err(format!(
            "the operator may not list {} {place}; grant it, or set WATCH_NAMESPACES to namespaces where it may",
            K::plural(&())
        )),
        Err(error) => Err(format!("the API server does not answer: {error}")),
    }
}

/// `namespace:name` of our ServiceAccount, as the API server knows us; a placeholder for other users.
async fn who_am_i(client: &Client, settings: &Settings) -> String {
    let api = Api::<SelfSubjectReview>::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let user = review.ok().and_then(|r| r.status?.user_info?.username);
    let account = user.as_deref().and_then(|u| u.strip_prefix("system:serviceaccount:")).map(str::to_owned);
    account.unwrap_or_else(|| format!("{}:{NAME}", settings.operator_namespace))
}
