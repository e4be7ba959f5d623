//! Which partitions a broker, a directory or a condition concerns, so that fencing a broker does not look at every partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::messages::MetadataRecord;
use ottla_types::{NodeId, PartitionIndex, Uuid};

use crate::image::{Changes, NO_LEADER, Partition, Topic, TopicsImage};

/// A partition by topic id.
pub(super) type PartitionKey = (Uuid, PartitionIndex);

type Sets<K> = BTreeMap<K, BTreeSet<PartitionKey>>;

/// The index; derived from the topics of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    isr: Sets<NodeId>,
    elr: Sets<NodeId>,
    led: Sets<NodeId>,
    directories: Sets<Uuid>,
    leaderless: BTreeSet<PartitionKey>,
    /// Not led by the first replica.
    imbalanced: BTreeSet<PartitionKey>,
    reassigning: BTreeSet<PartitionKey>,
    /// Topics whose names hold `.` or `_`, by the name with `_` for both (`Topic.unifyCollisionChars`).
    colliding: BTreeMap<String, BTreeSet<String>>,
}

/// The states of the partitions that a record is about to change.
pub(super) type Before = Vec<(PartitionKey, Arc<Partition>)>;

impl Index {
    /// Of all topics.
    pub(super) fn of(topics: &TopicsImage) -> Self {
        let mut index = Self::default();
        for topic in topics.iter() {
            index.add_name(topic.name.as_str());
            for (number, partition) in topic.partitions.iter() {
                index.update((topic.id, *number), None, Some(partition));
            }
        }
        index
    }

    /// Partitions with `broker` in their ISR.
    pub(super) fn in_isr(&self, broker: NodeId) -> impl Iterator<Item = PartitionKey> {
        self.isr.get(&broker).into_iter().flatten().copied()
    }

    /// Partitions with `broker` among their eligible leaders.
    pub(super) fn in_elr(&self, broker: NodeId) -> impl Iterator<Item = PartitionKey> {
        self.elr.get(&broker).into_iter().flatten().copied()
    }

    /// Whether `broker` leads anything.
    pub(super) fn leads(&self, broker: NodeId) -> bool {
        self.led.get(&broker).is_some_and(|set| !set.is_empty())
    }

    /// Partitions with a replica recorded in `directory`.
    pub(super) fn in_directory(&self, directory: Uuid) -> impl Iterator<Item = PartitionKey> {
        self.directories.get(&directory).into_iter().flatten().copied()
    }

    /// Partitions without a leader.
    pub(super) fn leaderless(&self) -> impl Iterator<Item = PartitionKey> {
        self.leaderless.iter().copied()
    }

    /// Partitions that are not led by their first replica.
    pub(super) fn imbalanced(&self) -> impl Iterator<Item = PartitionKey> {
        self.imbalanced.iter().copied()
    }

    /// A topic whose name differs from `name` in `.` and `_` only, or is `name`.
    pub(super) fn colliding(&self, name: &str) -> Option<&str> {
        if !has_collision_chars(name) {
            return None;
        }
        self.colliding.get(&unified(name))?.first().map(String::as_str)
    }

    /// Remembers what `record` is about to change; for [`Index::after`].
    pub(super) fn before(&self, record: &MetadataRecord<'_>, topics: &TopicsImage) -> Before {
        let one = |id, index| {
            topics
                .partition(id, index)
                .map(|partition| ((id, index), Arc::clone(partition)))
                .into_iter()
                .collect()
        };
        match record {
            MetadataRecord::Partition(r) => one(r.topic_id, r.partition_id),
            MetadataRecord::PartitionChange(r) => one(r.topic_id, r.partition_id),
            MetadataRecord::ClearElr(_) => {
                let keys: BTreeSet<_> = self.elr.values().flatten().copied().collect();
                let state = |key: PartitionKey| Some((key, Arc::clone(topics.partition(key.0, key.1)?)));
                keys.into_iter().filter_map(state).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Takes the changes of a replayed record over.
    pub(super) fn after(&mut self, before: Before, changes: &Changes, topics: &TopicsImage) {
        let before: BTreeMap<_, _> = before.into_iter().collect();
        for (id, change) in &changes.topics {
            if change.created
                && let Some(topic) = topics.by_id(*id)
            {
                self.add_name(topic.name.as_str());
            }
            for index in &change.partitions {
                let key = (*id, *index);
                self.update(key, before.get(&key), topics.partition(*id, *index));
            }
        }
    }

    /// Forgets a topic that is about to be removed.
    pub(super) fn remove_topic(&mut self, topic: &Topic) {
        for (index, partition) in topic.partitions.iter() {
            self.update((topic.id, *index), Some(partition), None);
        }
        let name = topic.name.as_str();
        if has_collision_chars(name)
            && let Some(names) = self.colliding.get_mut(&unified(name))
        {
            names.remove(name);
            if names.is_empty() {
                self.colliding.remove(&unified(name));
            }
        }
    }

    fn add_name(&mut self, name: &str) {
        if has_collision_chars(name) {
            self.colliding.entry(unified(name)).or_default().insert(name.to_owned());
        }
    }

    fn update(&mut self, key: PartitionKey, old: Option<&Arc<Partition>>, new: Option<&Arc<Partition>>) {
        if let Some(old) = old {
            take(&mut self.isr, &old.isr, key);
            take(&mut self.elr, &old.elr, key);
            take(&mut self.led, &[old.leader], key);
            take(&mut self.directories, &old.directories, key);
        }
        if let Some(new) = new {
            put(&mut self.isr, &new.isr, key);
            put(&mut self.elr, &new.elr, key);
            let directories: Vec<_> =
                new.directories.iter().filter(|id| !id.is_reserved()).copied().collect();
            put(&mut self.directories, &directories, key);
            if new.leader != NO_LEADER {
                put(&mut self.led, &[new.leader], key);
            }
        }
        set(&mut self.leaderless, key, new.is_some_and(|partition| !partition.has_leader()));
        set(&mut self.imbalanced, key, new.is_some_and(|partition| !partition.has_preferred_leader()));
        set(&mut self.reassigning, key, new.is_some_and(|partition| partition.is_reassigning()));
    }
}

fn take<K: Ord + Copy>(sets: &mut Sets<K>, members: &[K], key: PartitionKey) {
    for member in members {
        if let Some(set) = sets.get_mut(member) {
            set.remove(&key);
            if set.is_empty() {
                sets.remove(member);
            }
        }
    }
}

fn put<K: Ord + Copy>(sets: &mut Sets<K>, members: &[K], key: PartitionKey) {
    for member in members {
        sets.entry(*member).or_default().insert(key);
    }
}

fn set(set: &mut BTreeSet<PartitionKey>, key: PartitionKey, member: bool) {
    if member {
        set.insert(key);
    } else {
        set.remove(&key);
    }
}

fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn unified(name: &str) -> String {
    name.replace('.', "_")
}
