//! A sorted map that is cheap to clone, and cheap to change after it was cloned.
//!
//! Entries live in chunks of a bounded size, each behind an `Arc`; a clone shares all chunks, and a change copies one chunk
//! and the list of chunks. With 10,000 entries that is some 150 pointers instead of 10,000 entries: what lets the cluster's
//! image be published after every committed record. Where nobody else holds the map, changes happen in place.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Most entries of one chunk.
const MAX_CHUNK: usize = 64;

/// A chunk is joined with its successor when the two together are no larger than this.
const JOIN_BELOW: usize = MAX_CHUNK / 2;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A persistent map sorted by key.
pub struct SharedMap<K, V> {
    /// Never holds an empty chunk.
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self { chunks: Arc::new(Vec::new()), len: 0 }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `key`.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        Some(&chunk[at].1)
    }

    /// Whether `key` has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value of `key` for changing; copies what is shared with other clones.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let at = self.chunks.get(index)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[index]);
        Some(&mut chunk[at].1)
    }

    /// Sets the value of `key` and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let index = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => chunk.insert(at, (key, value)),
        }
        self.len += 1;
        if chunk.len() > MAX_CHUNK {
            // Appending in key order leaves full chunks behind instead of half empty ones.
            let keep = if index + 1 == chunks.len() { MAX_CHUNK } else { MAX_CHUNK / 2 };
            let rest = Arc::make_mut(&mut chunks[index]).split_off(keep);
            chunks.insert(index + 1, Arc::new(rest));
        }
        None
    }

    /// Removes `key` and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let at = self.chunks.get(index)?.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[index]);
        let (_, value) = chunk.remove(at);
        let left = chunk.len();
        self.len -= 1;
        if left == 0 {
            chunks.remove(index);
        } else if chunks.get(index + 1).is_some_and(|next| next.len() + left <= JOIN_BELOW) {
            let next = chunks.remove(index + 1);
            Arc::make_mut(&mut chunks[index]).extend(next.iter().cloned());
        }
        Some(value)
    }

    /// All entries in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// All entries with a key of at least `from`, in key order.
    pub fn iter_from<'a, Q: Ord + ?Sized>(&'a self, from: &'a Q) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: Borrow<Q>,
    {
        let start = self.chunk_of(from).min(self.chunks.len());
        self.chunks[start..]
            .iter()
            .flat_map(|chunk| chunk.iter())
            .map(|(key, value)| (key, value))
            .skip_while(move |(key, _)| (*key).borrow() < from)
    }

    /// All keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values in key order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Index of the chunk that holds `key`, or would; the last one for a key above all.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let below = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|(k, _)| k.borrow() < key));
        below.min(self.chunks.len().saturating_sub(1))
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K: Ord + Clone, V: Clone> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks) || (self.len == other.len && self.iter().eq(other.iter()))
    }
}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u16, u32),
        Remove(u16),
        Change(u16, u32),
        Snapshot,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            6 => (0..600u16, any::<u32>()).prop_map(|(k, v)| Op::Insert(k, v)),
            4 => (0..600u16).prop_map(Op::Remove),
            2 => (0..600u16, any::<u32>()).prop_map(|(k, v)| Op::Change(k, v)),
            1 => Just(Op::Snapshot),
        ];
        proptest::collection::vec(op, 0..1500)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn behaves_like_a_btree_map_and_keeps_older_clones_unchanged(ops in ops()) {
            let (mut map, mut model) = (SharedMap::new(), BTreeMap::new());
            let mut snapshots: Vec<(SharedMap<u16, u32>, BTreeMap<u16, u32>)> = Vec::new();
            for op in ops {
                match op {
                    Op::Insert(k, v) => prop_assert_eq!(map.insert(k, v), model.insert(k, v)),
                    Op::Remove(k) => prop_assert_eq!(map.remove(&k), model.remove(&k)),
                    Op::Change(k, v) => {
                        prop_assert_eq!(map.get(&k), model.get(&k));
                        if let Some(value) = map.get_mut(&k) {
                            *value = v;
                            model.insert(k, v);
                        }
                    }
                    Op::Snapshot => snapshots.push((map.clone(), model.clone())),
                }
                prop_assert_eq!(map.len(), model.len());
            }
            snapshots.push((map, model));
            for (map, model) in snapshots {
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.iter_from(&300).eq(model.range(300..)));
                prop_assert!(map.chunks.iter().all(|c| !c.is_empty() && c.len() <= MAX_CHUNK));
            }
        }
    }

    #[test]
    fn a_change_after_a_clone_copies_one_chunk() {
        let mut map: SharedMap<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        let before = map.clone();
        map.insert(5_000, 1);
        let shared = map.chunks.iter().zip(before.chunks.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, map.chunks.len() - 1);
        assert_eq!(before.get(&5_000), Some(&5_000));
    }
}
