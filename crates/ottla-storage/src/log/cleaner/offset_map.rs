//! The newest offset of each key, in memory of a fixed size (`SkimpyOffsetMap`).
//!
//! A key is remembered as a hash of 128 bits, so that an entry takes 24 bytes whatever the key's length, and as many
//! fit as in Kafka. The hash is keyed: nobody can choose keys that collide.

use std::hash::Hasher as _;

use ottla_types::Offset;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// Bytes of an entry.
const ENTRY_BYTES: usize = 24;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct OffsetMap {
    /// Hash and offset + 1; all zeros where there is none.
    slots: Vec<[u64; 3]>,
    hash_key: (u64, u64),
    entries: usize,
    max_entries: usize,
    latest: Offset,
}

impl OffsetMap {
    /// A map in `memory_bytes` that is full when the part `load_factor` of it is. The memory is touched only where keys come
    /// to lie.
    pub(super) fn new(memory_bytes: usize, load_factor: f64, hash_key: (u64, u64)) -> Self {
        let slots = (memory_bytes / ENTRY_BYTES).max(2);
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let max_entries = (slots as f64 * load_factor) as usize;
        Self {
            slots: vec![[0; 3]; slots],
            hash_key,
            entries: 0,
            max_entries: max_entries.clamp(1, slots - 1),
            latest: Offset::NONE,
        }
    }

    /// Notes that `key` is at `offset`, which is above all offsets before. `false`: the map is full and nothing is noted.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        if self.entries >= self.max_entries {
            return false;
        }
        let (high, low) = self.hash(key);
        let at = self.find(high, low);
        let Some(slot) = self.slots.get_mut(at) else { return false };
        self.entries += usize::from(slot[2] == 0);
        *slot = [high, low, offset.next().value().cast_unsigned()];
        self.latest = offset;
        true
    }

    /// The newest offset noted for `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let (high, low) = self.hash(key);
        let slot = self.slots.get(self.find(high, low))?;
        (slot[2] != 0).then(|| Offset(slot[2].cast_signed()) - 1)
    }

    /// Everything up to here was offered to the map.
    pub(super) fn latest(&self) -> Offset {
        self.latest
    }

    /// See [`OffsetMap::latest`].
    pub(super) fn set_latest(&mut self, offset: Offset) {
        self.latest = offset;
    }

    /// How full it is, 0 to 1.
    #[expect(clippy::cast_precision_loss)]
    pub(super) fn utilization(&self) -> f64 {
        self.entries as f64 / self.slots.len() as f64
    }

    /// The slot of a hash, or the empty one where it belongs. There always is one: the map is never full.
    fn find(&self, high: u64, low: u64) -> usize {
        let len = self.slots.len();
        let mut at = usize::try_from(high % len as u64).unwrap_or(0);
        while let Some(slot) = self.slots.get(at) {
            if slot[2] == 0 || (slot[0] == high && slot[1] == low) {
                break;
            }
            at = (at + 1) % len;
        }
        at
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher24::new_with_keys(self.hash_key.0, self.hash_key.1);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_offset_and_says_when_it_is_full() {
        let mut map = OffsetMap::new(24 * 100, 0.9, (1, 2));
        // 89 keys and the one that comes over and over are the 90 that fit.
        for n in 0..89_i64 {
            assert!(map.put(&n.to_be_bytes(), Offset(n)));
            if n < 88 {
                assert!(map.put(b"again", Offset(n)));
            }
        }
        assert!(!map.put(b"one more", Offset(1000)));
        assert!(!map.put(b"again", Offset(1000)), "Kafka does not update a full map either");
        assert_eq!(map.get(&7_i64.to_be_bytes()), Some(Offset(7)));
        assert_eq!(map.get(b"again"), Some(Offset(87)));
        assert_eq!(map.get(b"never"), None);
        assert!((map.utilization() - 0.9).abs() < 0.001);
    }

    #[test]
    fn offset_zero_is_an_offset() {
        let mut map = OffsetMap::new(1000, 0.9, (0, 0));
        assert!(map.put(b"", Offset(0)));
        assert_eq!(map.get(b""), Some(Offset(0)));
        assert_eq!(map.latest(), Offset(0));
    }
}
