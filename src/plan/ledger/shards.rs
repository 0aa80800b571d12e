//! What has to be stored when: the images of shards, in an order in which a crash between any two loses nothing.
//!
//! What the head has dropped must be stored elsewhere before the head is; everything else may wait for the end of a pass.

use std::collections::BTreeMap;

use super::Ledger;
use super::codec::{self, Head, Shard};

/// One shard as it has to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardImage {
    /// Its index; 0 is the head. See [`super::CampaignKey::shard_name`].
    pub index: u16,
    /// Which state of the shard this is, for [`Ledger::written`].
    pub revision: u64,
    /// Its bytes, at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// Whether a shard is stored as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Storage {
    /// Goes up with every change.
    revision: u64,
    /// The revision that was stored last.
    stored: u64,
    /// The revision that has to be stored before the head, since the head has dropped what it says.
    before_head: u64,
}

impl Storage {
    fn is_dirty(&self) -> bool {
        self.revision != self.stored
    }
}

impl Ledger {
    /// What has to be stored before a batch is sent, in this order, the head last. Stop at the first that fails.
    ///
    /// Sealed shards in which only states moved on can wait for [`Ledger::dirty_shards`].
    pub fn dirty_for_batch(&self) -> Vec<ShardImage> {
        self.images(|storage| storage.stored < storage.before_head)
    }

    /// Everything that is not stored as it is, in the order in which it has to be, the head last. Stop at the first
    /// that fails. A campaign that fills shards before its head was ever stored has an empty head in front, too.
    pub fn dirty_shards(&self) -> Vec<ShardImage> {
        self.images(Storage::is_dirty)
    }

    /// Says that this image was stored. What changed since it was made stays to be stored.
    pub fn written(&mut self, image: &ShardImage) {
        if let Some(storage) = self.storage.get_mut(usize::from(image.index)) {
            storage.stored = storage.stored.max(image.revision);
            self.has_head |= image.index == 0;
        }
    }

    fn images(&self, due: impl Fn(&Storage) -> bool) -> Vec<ShardImage> {
        let mut images: Vec<ShardImage> = Vec::new();
        for (index, storage) in self.storage.iter().enumerate().skip(1).filter(|(_, storage)| due(storage)) {
            if !self.has_head && images.is_empty() {
                // Sealed shards without a head would look like damage after a crash.
                images.push(self.head_image(0, Head { sealed: 0, everybody: None }, false));
            }
            let shard = self.sealed.shard(index as u16, self.fingerprint);
            let (index, revision) = (index as u16, storage.revision);
            images.push(ShardImage { index, revision, bytes: codec::encode(&shard) });
        }
        if self.storage[0].is_dirty() {
            let head = Head { sealed: self.sealed_shards(), everybody: self.everybody };
            images.push(self.head_image(self.storage[0].revision, head, true));
        }
        images
    }

    fn head_image(&self, revision: u64, head: Head, filled: bool) -> ShardImage {
        let mut shard =
            Shard { index: 0, fingerprint: self.fingerprint, head: Some(head), entries: Vec::new(), links: Vec::new() };
        if filled {
            shard.entries.extend(self.head.iter().map(|(key, entry)| (*key, *entry)));
            shard.links.extend(self.head_links.iter().map(|(entry, account)| (*entry, *account)));
        }
        ShardImage { index: 0, revision, bytes: codec::encode(&shard) }
    }

    fn sealed_shards(&self) -> u16 {
        (self.storage.len() - 1) as u16
    }

    pub(super) fn touch(&mut self, shard: u16) {
        self.storage[usize::from(shard)].revision += 1;
    }

    /// Seals the head where it cannot take so many more entries and links.
    pub(super) fn make_room(&mut self, entries: usize, links: usize) {
        let full = codec::size(self.head.len() + entries, self.head_links.len() + links) > self.shard_bytes;
        let last = self.sealed_shards() == u16::MAX;
        if full && !last {
            self.seal();
        }
    }

    /// Moves everything but the open batch out of the head: to where a sealed shard has it already, else to a new one.
    fn seal(&mut self) {
        let shard = self.sealed_shards() + 1;
        let mut new = Vec::new();
        let (batch, closed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.head).into_iter().partition(|(key, _)| self.batch.contains_key(key));
        self.head = batch;
        for (key, entry) in closed {
            match self.sealed.replace(&key, &entry) {
                Some(shard) => self.touch_before_head(shard),
                None => new.push((key, entry)),
            }
        }
        let links = std::mem::take(&mut self.head_links);
        if !new.is_empty() || !links.is_empty() {
            self.storage.push(Storage::default());
            self.sealed.add(shard, &new);
            self.sealed.add_links(shard, links);
            self.touch_before_head(shard);
        }
        self.touch(0);
    }

    pub(super) fn touch_before_head(&mut self, shard: u16) {
        self.touch(shard);
        let storage = &mut self.storage[usize::from(shard)];
        storage.before_head = storage.revision;
    }
}
