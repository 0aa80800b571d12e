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

use crate::plan::doubt::Opener;
use crate::plan::ledger::{CAMPAIGN_LABEL, CampaignKey, OPENER_ANNOTATION, ShardImage, TENANT_LABEL};

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
    pub shards: Vec<(u16, Vec<u8>)>,
    /// Resource versions by index, for the next write.
    pub versions: HashMap<u16, String>,
    /// Who opened the batch of the head.
    pub opener: Option<Opener>,
}

impl LedgerStore {
    /// Ledgers in `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }

    /// Every shard of a campaign.
    pub async fn load(&self, key: &CampaignKey) -> Result<Stored, kube::Error> {
        let mut stored = Stored::default();
        for map in self.list(&selector(key, CAMPAIGN_LABEL)).await? {
            if let Some(index) = index(key, &map) {
                stored.versions.insert(index, map.resource_version().unwrap_or_default());
                if index == 0 {
                    stored.opener = map.annotations().get(OPENER_ANNOTATION).and_then(|text| Opener::parse(text));
                }
                stored.shards.push((index, bytes(map)));
            }
        }
        Ok(stored)
    }

    /// The shards of all *other* campaigns of the same tenant.
    pub async fn siblings(&self, key: &CampaignKey) -> Result<BTreeMap<CampaignKey, Vec<(u16, Vec<u8>)>>, kube::Error> {
        let mut siblings: BTreeMap<CampaignKey, Vec<(u16, Vec<u8>)>> = BTreeMap::new();
        for map in self.list(&selector(key, TENANT_LABEL)).await? {
            if let Some(sibling) = CampaignKey::from_annotations(map.annotations()).filter(|sibling| sibling != key)
                && let Some(index) = index(&sibling, &map)
            {
                siblings.entry(sibling).or_default().push((index, bytes(map)));
            }
        }
        Ok(siblings)
    }

    /// Writes one shard: creates it where `version` is `None`, else replaces exactly that version. Returns the new one.
    /// `opener`: who opened the batch in it.
    pub async fn write(
        &self,
        key: &CampaignKey,
        image: &ShardImage,
        version: Option<&String>,
        opener: Option<&Opener>,
    ) -> Result<String, WriteError> {
        let name = key.shard_name(image.index);
        let mut annotations = key.annotations();
        annotations.extend(opener.map(|opener| (OPENER_ANNOTATION.to_owned(), opener.to_string())));
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(key.labels()),
                annotations: Some(annotations),
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
                if status.is_conflict()
                    || status.is_already_exists()
                    || (status.is_not_found() && version.is_some()) =>
            {
                Err(WriteError::Fenced)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The campaigns that have a ledger, each with its head's ConfigMap (without the bytes).
    pub async fn heads(&self) -> Result<Vec<(CampaignKey, ConfigMap)>, kube::Error> {
        let maps = self.list(CAMPAIGN_LABEL).await?;
        Ok(maps
            .into_iter()
            .filter_map(|mut map| {
                let key = CampaignKey::from_annotations(map.annotations())?;
                map.binary_data = None;
                (index(&key, &map) == Some(0)).then_some((key, map))
            })
            .collect())
    }

    /// Deletes all shards of a campaign.
    pub async fn delete(&self, key: &CampaignKey) -> Result<(), kube::Error> {
        for map in self.list(&selector(key, CAMPAIGN_LABEL)).await? {
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

/// Selects by one of the labels that `key` has.
fn selector(key: &CampaignKey, label: &str) -> String {
    format!("{label}={}", key.labels().get(label).map(String::as_str).unwrap_or_default())
}

/// Which shard of the campaign a ConfigMap is, by its name.
fn index(key: &CampaignKey, map: &ConfigMap) -> Option<u16> {
    let name = map.name_any();
    match name.strip_prefix(&key.name())? {
        "" => Some(0),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}

fn bytes(map: ConfigMap) -> Vec<u8> {
    map.binary_data.and_then(|mut data| data.remove(DATA_KEY)).map(|ByteString(bytes)| bytes).unwrap_or_default()
}
