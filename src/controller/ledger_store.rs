//! Where ledgers are kept: ConfigMaps in the operator's namespace, written with a resource-version precondition.
//!
//! The precondition makes a write the fence between two operators: who writes from an outdated view is refused, forgets
//! what it believed, and reads again. What the bytes mean is `plan::ledger`'s business.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};

use crate::plan::ledger::{CampaignKey, ShardImage};

/// The key of the shard's bytes within its ConfigMap.
const DATA_KEY: &str = "ledger";

/// Why a shard was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else has written it since it was read.
    #[error("the ledger was written by another operator")]
    Fenced,
    /// The API server did not take it; nothing is known of the outcome.
    #[error("the ledger could not be written: {0}")]
    Api(#[from] kube::Error),
}

/// The ledgers of all campaigns.
#[derive(Clone)]
pub struct LedgerStore {
    api: Api<ConfigMap>,
}

/// Shards of one campaign as they are stored: bytes and resource version by index.
#[derive(Debug, Default)]
pub struct Stored {
    /// Bytes by index.
    pub shards: Vec<(u32, Vec<u8>)>,
    /// Resource versions by index, for the next write.
    pub versions: HashMap<u32, String>,
}

impl LedgerStore {
    /// Ledgers in `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }

    /// Every shard of a campaign.
    pub async fn load(&self, key: &CampaignKey) -> Result<Stored, kube::Error> {
        let listed = self.list(&selector(&[(CampaignKey::CAMPAIGN_LABEL, key.name().as_str())])).await?;
        let mut stored = Stored::default();
        for map in listed {
            if let Some(index) = index(&map) {
                stored.versions.insert(index, map.resource_version().unwrap_or_default());
                stored.shards.push((index, bytes(map)));
            }
        }
        Ok(stored)
    }

    /// The shards of all *other* campaigns of the same tenant, by campaign name.
    pub async fn siblings(&self, key: &CampaignKey) -> Result<BTreeMap<String, Vec<(u32, Vec<u8>)>>, kube::Error> {
        let labels = key.labels();
        let tenant = labels.get(CampaignKey::TENANT_LABEL).map(String::as_str).unwrap_or_default();
        let mut siblings: BTreeMap<String, Vec<(u32, Vec<u8>)>> = BTreeMap::new();
        for map in self.list(&selector(&[(CampaignKey::TENANT_LABEL, tenant)])).await? {
            let campaign = map.labels().get(CampaignKey::CAMPAIGN_LABEL).cloned().unwrap_or_default();
            if campaign != key.name()
                && let Some(index) = index(&map)
            {
                siblings.entry(campaign).or_default().push((index, bytes(map)));
            }
        }
        Ok(siblings)
    }

    /// Writes one shard: creates it where `version` is `None`, else replaces exactly that version. Returns the new one.
    pub async fn write(
        &self,
        key: &CampaignKey,
        image: &ShardImage,
        version: Option<&String>,
    ) -> Result<String, WriteError> {
        let name = key.shard_name(image.index);
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(key.labels()),
                annotations: Some(key.annotations(image.index)),
                resource_version: version.cloned(),
                ..ObjectMeta::default()
            },
            binary_data: Some([(DATA_KEY.to_owned(), ByteString(image.bytes.clone()))].into()),
            ..ConfigMap::default()
        };
        let written = match version {
            None => self.api.create(&PostParams::default(), &map).await,
            Some(_) => self.api.replace(&name, &PostParams::default(), &map).await,
        };
        match written {
            Ok(map) => Ok(map.resource_version().unwrap_or_default()),
            Err(kube::Error::Api(status))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                Err(WriteError::Fenced)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Every ConfigMap that holds a ledger's head, for the retention of ledgers whose policy is gone.
    pub async fn heads(&self) -> Result<Vec<ConfigMap>, kube::Error> {
        Ok(self
            .list(CampaignKey::CAMPAIGN_LABEL)
            .await?
            .into_iter()
            .filter(|map| index(map) == Some(0))
            .map(|mut map| {
                map.binary_data = None;
                map
            })
            .collect())
    }

    /// Deletes all shards of the campaign with this name.
    pub async fn delete(&self, campaign: &str) -> Result<(), kube::Error> {
        for map in self.list(&selector(&[(CampaignKey::CAMPAIGN_LABEL, campaign)])).await? {
            match self.api.delete(&map.name_any(), &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The API of the ConfigMaps, for annotations of the retention.
    pub fn api(&self) -> &Api<ConfigMap> {
        &self.api
    }

    async fn list(&self, selector: &str) -> Result<Vec<ConfigMap>, kube::Error> {
        let mut all = Vec::new();
        let mut params = ListParams::default().labels(selector).limit(50);
        loop {
            let page = self.api.list(&params).await?;
            let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            all.extend(page.items);
            match next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }
}

fn selector(labels: &[(&str, &str)]) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn index(map: &ConfigMap) -> Option<u32> {
    map.annotations().get(CampaignKey::SHARD_ANNOTATION)?.parse().ok()
}

fn bytes(map: ConfigMap) -> Vec<u8> {
    map.binary_data.and_then(|mut data| data.remove(DATA_KEY)).map(|ByteString(bytes)| bytes).unwrap_or_default()
}
