//! The records of all sealed shards in memory: one sorted vector, 21 bytes an account.
//!
//! A hash map would cost several times as much, and a million accounts have to fit beside everything else.

use super::codec::Shard;
use super::entry::Entry;
use super::key::{AccountKey, EntryKey};

/// One account's entry and the shard that it is stored in. Bytes without alignment; big-endian, so that they sort.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: [u8; 8],
    shard: [u8; 2],
    /// All zero where the account was forgotten.
    entry: [u8; Entry::BYTES],
}

impl Slot {
    fn key(&self) -> AccountKey {
        AccountKey(u64::from_be_bytes(self.key))
    }

    fn shard(&self) -> u16 {
        u16::from_be_bytes(self.shard)
    }

    fn entry(&self) -> Option<Entry> {
        Entry::decode(&self.entry)
    }
}

/// Entries and links of all sealed shards.
#[derive(Clone, Debug, Default)]
pub(super) struct Sealed {
    slots: Vec<Slot>,
    links: Vec<(EntryKey, AccountKey, u16)>,
}

impl Sealed {
    /// What was loaded, in any order. Where two shards have one key, the higher index is right.
    pub fn load(entries: &[(u16, Vec<(AccountKey, Entry)>)], links: Vec<(EntryKey, AccountKey, u16)>) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        slots.reserve_exact(entries.iter().map(|(_, entries)| entries.len()).sum());
        for (shard, entries) in entries {
            slots.extend(entries.iter().map(|(key, entry)| slot(*key, *shard, entry)));
        }
        slots.sort_unstable_by(|a, b| a.key.cmp(&b.key).then(b.shard.cmp(&a.shard)));
        slots.dedup_by_key(|slot| slot.key);
        let mut links = links;
        links.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.2.cmp(&a.2)));
        links.dedup_by_key(|link| link.0);
        Self { slots, links }
    }

    fn position(&self, key: &AccountKey) -> Option<usize> {
        self.slots.binary_search_by_key(&key.0.to_be_bytes(), |slot| slot.key).ok()
    }

    pub fn entry(&self, key: &AccountKey) -> Option<Entry> {
        self.position(key).and_then(|at| self.slots[at].entry())
    }

    /// Replaces an entry where it is stored, or was before it was forgotten, and tells in which shard that is. `None`
    /// where no sealed shard has it.
    pub fn replace(&mut self, key: &AccountKey, entry: &Entry) -> Option<u16> {
        let at = self.position(key)?;
        self.slots[at].entry = entry.encode();
        Some(self.slots[at].shard())
    }

    /// Drops an entry, and tells of which shard.
    pub fn forget(&mut self, key: &AccountKey) -> Option<u16> {
        let at = self.position(key).filter(|at| self.slots[*at].entry().is_some())?;
        self.slots[at].entry = [0; Entry::BYTES];
        Some(self.slots[at].shard())
    }

    /// Adds the entries of a new shard, none of which another shard has, in ascending order.
    pub fn add(&mut self, shard: u16, new: &[(AccountKey, Entry)]) {
        self.slots.retain(|slot| slot.entry().is_some());
        // Merged from the back within one vector: a second one would double the memory for a moment.
        let mut left = self.slots.len();
        let mut incoming = new.iter().map(|(key, entry)| slot(*key, shard, entry)).rev().peekable();
        self.slots.reserve_exact(new.len());
        self.slots.extend(new.iter().map(|(key, entry)| slot(*key, shard, entry)));
        for to in (0..self.slots.len()).rev() {
            let Some(next) = incoming.peek() else { break };
            if left > 0 && self.slots[left - 1].key > next.key {
                left -= 1;
                self.slots[to] = self.slots[left];
            } else {
                self.slots[to] = *next;
                incoming.next();
            }
        }
    }

    pub fn link(&self, entry: &EntryKey) -> Option<AccountKey> {
        self.links.binary_search_by_key(entry, |link| link.0).ok().map(|at| self.links[at].1)
    }

    /// Replaces a link where it is stored, and tells in which shard that is.
    pub fn relink(&mut self, entry: &EntryKey, account: AccountKey) -> Option<u16> {
        let at = self.links.binary_search_by_key(entry, |link| link.0).ok()?;
        self.links[at].1 = account;
        Some(self.links[at].2)
    }

    /// Adds the links of a new shard, none of which another shard has.
    pub fn add_links(&mut self, shard: u16, new: impl IntoIterator<Item = (EntryKey, AccountKey)>) {
        self.links.extend(new.into_iter().map(|(entry, account)| (entry, account, shard)));
        self.links.sort_unstable_by_key(|link| link.0);
    }

    /// All entries, in ascending order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (AccountKey, Entry)> + '_ {
        self.slots.iter().filter_map(|slot| Some((slot.key(), slot.entry()?)))
    }

    /// What one shard has to be stored as.
    pub fn shard(&self, index: u16, fingerprint: u64) -> Shard {
        let slots = self.slots.iter().filter(|slot| slot.shard() == index);
        let links = self.links.iter().filter(|link| link.2 == index);
        Shard {
            index,
            fingerprint,
            head: None,
            entries: slots.filter_map(|slot| Some((slot.key(), slot.entry()?))).collect(),
            links: links.map(|link| (link.0, link.1)).collect(),
        }
    }

    /// Keeps the entries that `keep` says to, in memory; what is stored changes when a shard is written next.
    pub fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        self.slots.retain(|slot| slot.entry().is_some_and(|entry| keep(&entry)));
        self.slots.shrink_to_fit();
    }

    /// The memory that entries take, in bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}

fn slot(key: AccountKey, shard: u16, entry: &Entry) -> Slot {
    Slot { key: key.0.to_be_bytes(), shard: shard.to_be_bytes(), entry: entry.encode() }
}
