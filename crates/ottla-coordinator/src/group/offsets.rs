//! Committed offsets, and those of open transactions (the state of Kafka's `OffsetMetadataManager`).

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{ProducerId, TopicName};

use super::effect::GroupId;
use super::record::OffsetValue;

/// A committed offset with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredOffset {
    /// The offset of the record in `__consumer_offsets`: of two commits the later one holds, even if the earlier one
    /// becomes visible later because its transaction ends later.
    pub(crate) record_offset: i64,
    pub(crate) value: OffsetValue,
}

type PartitionOffsets = BTreeMap<i32, StoredOffset>;
type TopicOffsets = BTreeMap<TopicName, PartitionOffsets>;

/// The offsets of all groups of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    committed: BTreeMap<GroupId, TopicOffsets>,
    /// Offsets of transactions without a marker yet.
    uncommitted: BTreeMap<ProducerId, BTreeMap<(GroupId, TopicName, i32), StoredOffset>>,
    /// The producers with an open transaction, by what they committed in it.
    open: BTreeMap<GroupId, BTreeMap<(TopicName, i32), BTreeSet<ProducerId>>>,
}

impl Offsets {
    pub(crate) fn put(
        &mut self,
        group: &GroupId,
        topic: &TopicName,
        partition: i32,
        producer: Option<ProducerId>,
        stored: StoredOffset,
    ) {
        let Some(producer) = producer else {
            let topics = self.committed.entry(group.clone()).or_default();
            topics.entry(topic.clone()).or_default().insert(partition, stored);
            return;
        };
        let place = (group.clone(), topic.clone(), partition);
        self.uncommitted.entry(producer).or_default().insert(place, stored);
        let open = self.open.entry(group.clone()).or_default();
        open.entry((topic.clone(), partition)).or_default().insert(producer);
    }

    /// Removes an offset, committed or in an open transaction.
    pub(crate) fn remove(&mut self, group: &GroupId, topic: &TopicName, partition: i32) {
        if let Some(topics) = self.committed.get_mut(group) {
            if let Some(partitions) = topics.get_mut(topic) {
                partitions.remove(&partition);
                if partitions.is_empty() {
                    topics.remove(topic);
                }
            }
            if topics.is_empty() {
                self.committed.remove(group);
            }
        }
        let Some(open) = self.open.get_mut(group) else { return };
        let place = (topic.clone(), partition);
        let producers = open.remove(&place).unwrap_or_default();
        if open.is_empty() {
            self.open.remove(group);
        }
        let place = (group.clone(), place.0, partition);
        for producer in producers {
            if let Some(offsets) = self.uncommitted.get_mut(&producer) {
                offsets.remove(&place);
            }
        }
    }

    /// Ends a transaction: its offsets become visible, or vanish.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, commit: bool) {
        for ((group, topic, partition), stored) in self.uncommitted.remove(&producer).unwrap_or_default() {
            self.close(&group, &topic, partition, producer);
            if !commit {
                continue;
            }
            let topics = self.committed.entry(group).or_default();
            let partitions = topics.entry(topic).or_default();
            match partitions.get(&partition) {
                Some(current) if current.record_offset >= stored.record_offset => {}
                _ => {
                    partitions.insert(partition, stored);
                }
            }
        }
    }

    fn close(&mut self, group: &GroupId, topic: &TopicName, partition: i32, producer: ProducerId) {
        let Some(open) = self.open.get_mut(group) else { return };
        let place = (topic.clone(), partition);
        if let Some(producers) = open.get_mut(&place) {
            producers.remove(&producer);
            if producers.is_empty() {
                open.remove(&place);
            }
        }
        if open.is_empty() {
            self.open.remove(group);
        }
    }

    /// The committed offsets of a group, by topic.
    pub(crate) fn of_group(&self, group: &str) -> Option<&TopicOffsets> {
        self.committed.get(group)
    }

    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&StoredOffset> {
        self.committed.get(group)?.get(topic)?.get(&partition)
    }

    /// Whether an open transaction committed an offset for the partition.
    pub(crate) fn is_open(&self, group: &str, topic: &TopicName, partition: i32) -> bool {
        let Some(open) = self.open.get(group) else { return false };
        open.contains_key(&(topic.clone(), partition))
    }

    /// Whether an open transaction committed any offset of the group.
    pub(crate) fn has_open(&self, group: &str) -> bool {
        self.open.contains_key(group)
    }

    /// What open transactions committed for the group.
    pub(crate) fn open_of_group(&self, group: &str) -> impl Iterator<Item = (&TopicName, i32)> {
        self.open.get(group).into_iter().flatten().map(|((topic, partition), _)| (topic, *partition))
    }

    /// Every stored offset, committed or in an open transaction.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&GroupId, &TopicName, i32, &StoredOffset)> {
        let committed = self.committed.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions.iter().map(move |(partition, stored)| (group, topic, *partition, stored))
            })
        });
        let uncommitted = self.uncommitted.values().flatten();
        committed.chain(uncommitted.map(|((group, topic, partition), s)| (group, topic, *partition, s)))
    }

    /// How many offsets are committed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&GroupId, &TopicName, i32, i64)> {
        let topics = self.committed.iter().flat_map(|(group, topics)| topics.iter().map(move |t| (group, t)));
        topics.flat_map(|(group, (topic, partitions))| {
            let offsets = partitions.iter();
            offsets.map(move |(partition, stored)| (group, topic, *partition, stored.value.offset))
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.committed.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum()
    }
}
