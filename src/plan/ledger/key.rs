//! By which names a campaign, an account and a selection entry are remembered, without keeping who they are.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::plan::observed::{AccountId, UserKey};

/// The label whose value is the same on all campaigns of one tenant, see [`tenant_label`].
pub const TENANT_LABEL: &str = "passwordreset.dev/ledger-tenant";
/// The label whose value is the same on all shards of one campaign.
pub const CAMPAIGN_LABEL: &str = "passwordreset.dev/ledger-campaign";
/// The annotation of a head shard that says who opened its batch, see [`crate::plan::doubt::Opener`].
pub const OPENER_ANNOTATION: &str = "passwordreset.dev/ledger-opened-by";
const TENANT_ANNOTATION: &str = "passwordreset.dev/ledger-tenant-id";
const POLICY_ANNOTATION: &str = "passwordreset.dev/ledger-policy";
const EPOCH_ANNOTATION: &str = "passwordreset.dev/ledger-epoch";

/// Since when a password must be new, which makes a campaign another one when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Epoch {
    /// A fixed cutoff, in seconds since 1970.
    Cutoff(i64),
    /// A greatest age in days, so that the cutoff moves along.
    Age(u32),
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Epoch::Cutoff(seconds) => write!(f, "cutoff:{seconds}"),
            Epoch::Age(days) => write!(f, "age:{days}"),
        }
    }
}

impl Epoch {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("cutoff", seconds) => seconds.parse().ok().map(Epoch::Cutoff),
            ("age", days) => days.parse().ok().map(Epoch::Age),
            _ => None,
        }
    }
}

/// What a ledger belongs to. No UID and no generation: a policy that is deleted and applied again with the same cutoff
/// goes on where it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CampaignKey {
    /// The tenant's identity, which follows from the spec of the object that names it.
    pub tenant: String,
    /// The policy's namespace.
    pub namespace: String,
    /// The policy's name.
    pub policy: String,
    /// Since when a password must be new.
    pub epoch: Epoch,
}

impl CampaignKey {
    fn digest(&self) -> [u8; 32] {
        digest(&[
            b"campaign",
            self.tenant.as_bytes(),
            self.namespace.as_bytes(),
            self.policy.as_bytes(),
            self.epoch.to_string().as_bytes(),
        ])
    }

    /// The name of the ConfigMap that holds the head shard: a DNS label that only this campaign has.
    pub fn name(&self) -> String {
        format!("ledger-{}", hex(&self.digest()[..12]))
    }

    /// The name of the ConfigMap that holds the shard with this index; 0 is the head.
    pub fn shard_name(&self, index: u16) -> String {
        match index {
            0 => self.name(),
            _ => format!("{}-{index}", self.name()),
        }
    }

    /// The labels of every shard: one finds the campaigns of a tenant, the other the shards of a campaign.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/managed-by".to_owned(), "password-reset-operator".to_owned()),
            (TENANT_LABEL.to_owned(), tenant_label(&self.tenant)),
            (CAMPAIGN_LABEL.to_owned(), hex(&self.digest()[..12])),
        ])
    }

    /// What the hashes stand for: for people, and for [`CampaignKey::from_annotations`].
    pub fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (TENANT_ANNOTATION.to_owned(), self.tenant.clone()),
            (POLICY_ANNOTATION.to_owned(), format!("{}/{}", self.namespace, self.policy)),
            (EPOCH_ANNOTATION.to_owned(), self.epoch.to_string()),
        ])
    }

    /// The campaign that a ConfigMap with these annotations belongs to, so that a deleted policy's ledger can be read.
    /// `None` where they were not written by [`CampaignKey::annotations`].
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let (namespace, policy) = annotations.get(POLICY_ANNOTATION)?.split_once('/')?;
        Some(Self {
            tenant: annotations.get(TENANT_ANNOTATION)?.clone(),
            namespace: namespace.to_owned(),
            policy: policy.to_owned(),
            epoch: Epoch::parse(annotations.get(EPOCH_ANNOTATION)?)?,
        })
    }

    /// What every shard carries, so that another campaign's data is not taken for this one's.
    pub(super) fn fingerprint(&self) -> u64 {
        first_eight(self.digest())
    }
}

/// The value of [`TENANT_LABEL`] for this tenant.
pub fn tenant_label(tenant: &str) -> String {
    hex(&digest(&[b"tenant", tenant.as_bytes()])[..12])
}

/// An account of one tenant: the first eight bytes of a hash, so that a ledger names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey(pub u64);

impl AccountKey {
    /// The key of the account with this id in this tenant.
    pub fn new(tenant: &str, id: &AccountId) -> Self {
        Self(first_eight(digest(&[b"account", tenant.as_bytes(), id.0.as_bytes()])))
    }
}

/// One entry of a selection (an e-mail address, a user name): the first eight bytes of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey(pub u64);

impl EntryKey {
    /// The key of this entry; addresses and names that differ in case only are one entry.
    pub fn new(tenant: &str, key: &UserKey) -> Self {
        let (kind, value) = match key {
            UserKey::Id(id) => (&b"id"[..], id.clone()),
            UserKey::Username(name) => (&b"username"[..], name.to_lowercase()),
            UserKey::Email(email) => (&b"email"[..], email.to_lowercase()),
        };
        Self(first_eight(digest(&[b"entry", tenant.as_bytes(), kind, value.as_bytes()])))
    }
}

/// What a refusal is remembered with: as soon as the policy's generation or its reconcile token is another one, so is
/// the tag, and refused accounts are due again.
pub fn refusal_tag(generation: i64, token: Option<&str>) -> u32 {
    let all = digest(&[b"refusal", &generation.to_be_bytes(), token.unwrap_or_default().as_bytes()]);
    u32::from_be_bytes([all[0], all[1], all[2], all[3]])
}

/// SHA-256 over length-prefixed parts, so that no two lists of parts have the same input.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finalize().into()
}

fn first_eight(digest: [u8; 32]) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(eight)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
