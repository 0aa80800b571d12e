//! One shard as bytes: a header, entries, links, and a checksum over all of it.
//!
//! Read with suspicion: a restore, another version or a hand may have put anything there. Whatever cannot be understood
//! completely is an error with a reason, never a panic and never half a shard.

use sha2::{Digest, Sha256};

use super::entry::Entry;
use super::key::{AccountKey, EntryKey};
use super::{Everybody, EverybodyStage};

const MAGIC: &[u8; 4] = b"PRLG";
const VERSION: u8 = 1;
const HEADER: usize = 4 + 1 + 1 + 2 + 8 + 4 + 4;
const HEAD: usize = 2 + 1 + 4;
const CHECKSUM: usize = 8;
const ENTRY: usize = 8 + Entry::BYTES;
const LINK: usize = 16;

/// What only the head shard carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How many sealed shards there are.
    pub sealed: u16,
    /// The one call for everybody.
    pub everybody: Option<Everybody>,
}

/// A shard's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub index: u16,
    pub fingerprint: u64,
    /// Of the head (index 0) only.
    pub head: Option<Head>,
    pub entries: Vec<(AccountKey, Entry)>,
    pub links: Vec<(EntryKey, AccountKey)>,
}

/// How many bytes a shard with so many entries and links has, at most.
pub(super) fn size(entries: usize, links: usize) -> usize {
    HEADER + HEAD + entries * ENTRY + links * LINK + CHECKSUM
}

pub(super) fn encode(shard: &Shard) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size(shard.entries.len(), shard.links.len()));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[VERSION, u8::from(shard.head.is_some())]);
    bytes.extend_from_slice(&shard.index.to_be_bytes());
    bytes.extend_from_slice(&shard.fingerprint.to_be_bytes());
    bytes.extend_from_slice(&(shard.entries.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&(shard.links.len() as u32).to_be_bytes());
    if let Some(head) = &shard.head {
        bytes.extend_from_slice(&head.sealed.to_be_bytes());
        let (stage, at) = match head.everybody {
            None => (0, 0),
            Some(Everybody { stage: EverybodyStage::Open, at }) => (1, at),
            Some(Everybody { stage: EverybodyStage::Arrived, at }) => (2, at),
            Some(Everybody { stage: EverybodyStage::Closed, at }) => (3, at),
        };
        bytes.push(stage);
        bytes.extend_from_slice(&u32::to_be_bytes(at));
    }
    for (key, entry) in &shard.entries {
        bytes.extend_from_slice(&key.0.to_be_bytes());
        bytes.extend_from_slice(&entry.encode());
    }
    for (entry, account) in &shard.links {
        bytes.extend_from_slice(&entry.0.to_be_bytes());
        bytes.extend_from_slice(&account.0.to_be_bytes());
    }
    seal(&mut bytes);
    bytes
}

/// Appends the checksum.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let sum = checksum(bytes);
    bytes.extend_from_slice(&sum);
}

/// *Errors*: what is wrong, in a few words.
pub(super) fn decode(bytes: &[u8]) -> Result<Shard, &'static str> {
    let Some((content, sum)) = bytes.split_last_chunk::<CHECKSUM>() else {
        return Err("it is shorter than its checksum");
    };
    let mut rest = Reader(content);
    if rest.take::<4>()? != *MAGIC {
        return Err("it is not a ledger shard");
    }
    if rest.take::<1>()? != [VERSION] {
        return Err("another version of the operator wrote it");
    }
    if checksum(content) != *sum {
        return Err("its checksum is wrong");
    }
    let has_head = match rest.take::<1>()? {
        [0] => false,
        [1] => true,
        _ => return Err("its kind is unknown"),
    };
    let index = u16::from_be_bytes(rest.take()?);
    let fingerprint = u64::from_be_bytes(rest.take()?);
    let entries = u32::from_be_bytes(rest.take()?) as usize;
    let links = u32::from_be_bytes(rest.take()?) as usize;
    let head = if has_head {
        let sealed = u16::from_be_bytes(rest.take()?);
        let [stage] = rest.take()?;
        let at = u32::from_be_bytes(rest.take()?);
        let everybody = match stage {
            0 => None,
            1 => Some(Everybody { stage: EverybodyStage::Open, at }),
            2 => Some(Everybody { stage: EverybodyStage::Arrived, at }),
            3 => Some(Everybody { stage: EverybodyStage::Closed, at }),
            _ => return Err("its stage of the call for everybody is unknown"),
        };
        Some(Head { sealed, everybody })
    } else {
        None
    };
    // Counts are checked against the length before anything is allocated by them.
    let expected = entries.checked_mul(ENTRY).and_then(|e| links.checked_mul(LINK).and_then(|l| e.checked_add(l)));
    if expected != Some(rest.0.len()) {
        return Err("its length does not fit its counts");
    }
    let mut shard =
        Shard { index, fingerprint, head, entries: Vec::with_capacity(entries), links: Vec::with_capacity(links) };
    for _ in 0..entries {
        let key = AccountKey(u64::from_be_bytes(rest.take()?));
        shard.entries.push((key, Entry::decode(&rest.take()?).ok_or("it has an entry of an unknown kind")?));
    }
    for _ in 0..links {
        shard.links.push((EntryKey(u64::from_be_bytes(rest.take()?)), AccountKey(u64::from_be_bytes(rest.take()?))));
    }
    Ok(shard)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::digest(bytes);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest[..CHECKSUM]);
    sum
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or("it is cut short")?;
        self.0 = rest;
        Ok(*taken)
    }
}
