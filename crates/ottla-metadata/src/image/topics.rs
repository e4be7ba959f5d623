//! All topics, by id and by name.

use std::sync::Arc;

use ottla_protocol::messages::{PartitionChangeRecord, TopicRecord};
use ottla_types::{NodeId, PartitionIndex, TopicName, TopicPartition, Uuid};

use super::{Changes, Partition};
use crate::features::MetadataVersion;
use crate::record::VersionedRecord;
use crate::{ReplayError, SharedMap, UnwritableError};

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its id: another topic of the same name, made after this one was deleted, has another.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: SharedMap<PartitionIndex, Arc<Partition>>,
}

/// The topics of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicsImage {
    by_id: SharedMap<Uuid, Arc<Topic>>,
    by_name: SharedMap<TopicName, Uuid>,
}

impl TopicsImage {
    /// The topic of that id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// The topic of that name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// Id of the topic of that name.
    pub fn id(&self, name: &str) -> Option<Uuid> {
        self.by_name.get(name).copied()
    }

    /// A partition by topic id.
    pub fn partition(&self, id: Uuid, partition: PartitionIndex) -> Option<&Arc<Partition>> {
        self.by_id(id)?.partitions.get(&partition)
    }

    /// A partition by name.
    pub fn partition_named(&self, partition: &TopicPartition) -> Option<&Arc<Partition>> {
        self.by_name(partition.topic.as_str())?.partitions.get(&partition.partition)
    }

    /// Whether a node has a replica of a partition whose directory says that it is of topic `topic_id`. A directory of another
    /// replica is a stray one.
    pub fn has_replica(&self, id: &TopicPartition, topic_id: Option<Uuid>, node: NodeId) -> bool {
        let Some(found) = topic_id.filter(|found| self.id(id.topic.as_str()) == Some(*found)) else {
            return false;
        };
        self.partition(found, id.partition).is_some_and(|partition| partition.replicas.contains(&node))
    }

    /// All topics by rising id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.values()
    }

    /// All topics by rising name, from `from` on; the empty name gives all.
    pub fn iter_names<'a>(&'a self, from: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.by_name.iter_from(from).filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Number of topics.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn create(
        &mut self,
        record: &TopicRecord<'_>,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let (name, id) = (TopicName::new(&record.name), record.topic_id);
        if self.by_name.contains_key(name.as_str()) || self.by_id.contains_key(&id) {
            return Err(ReplayError::Contradiction(format!("topic {name} with id {id} exists already")));
        }
        let topic = Topic { name: name.clone(), id, partitions: SharedMap::new() };
        self.by_id.insert(id, Arc::new(topic));
        self.by_name.insert(name, id);
        changes.topic_created(id);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: Uuid, changes: &mut Changes) -> Result<Arc<Topic>, ReplayError> {
        let topic = self.by_id.remove(&id).ok_or(ReplayError::UnknownTopic(id))?;
        self.by_name.remove(topic.name.as_str());
        changes.topic_deleted(id);
        Ok(topic)
    }

    pub(super) fn set_partition(
        &mut self,
        id: Uuid,
        index: PartitionIndex,
        partition: Partition,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let topic = self.by_id.get_mut(&id).ok_or(ReplayError::UnknownTopic(id))?;
        Arc::make_mut(topic).partitions.insert(index, Arc::new(partition));
        changes.partition_changed(id, index);
        Ok(())
    }

    pub(super) fn change_partition(
        &mut self,
        record: &PartitionChangeRecord,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let (id, index) = (record.topic_id, record.partition_id);
        let old = self.partition(id, index).ok_or(ReplayError::UnknownPartition(id, index))?;
        let next = old.merge(record)?;
        self.set_partition(id, index, next, changes)
    }

    /// Empties the lists of eligible leaders of one topic, or of all for the empty name.
    pub(super) fn clear_elr(&mut self, name: &str, changes: &mut Changes) -> Result<(), ReplayError> {
        let topics: Vec<_> = if name.is_empty() {
            self.iter().cloned().collect()
        } else {
            let unknown =
                || ReplayError::Contradiction(format!("cannot clear the ELR of unknown topic {name}"));
            vec![Arc::clone(self.by_name(name).ok_or_else(unknown)?)]
        };
        for topic in topics {
            for (index, partition) in topic.partitions.iter() {
                if !partition.elr.is_empty() || !partition.last_known_elr.is_empty() {
                    let mut next = Partition::clone(partition);
                    next.elr.clear();
                    next.last_known_elr.clear();
                    next.partition_epoch = next.partition_epoch.wrapping_add(1);
                    self.set_partition(topic.id, *index, next, changes)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn write(
        &self,
        version: MetadataVersion,
        with_elr: bool,
        sink: &mut dyn FnMut(VersionedRecord),
    ) -> Result<(), UnwritableError> {
        for topic in self.iter() {
            let name = topic.name.as_str().to_owned().into();
            sink(VersionedRecord::new(TopicRecord { name, topic_id: topic.id }, 0));
            for (index, partition) in topic.partitions.iter() {
                sink(partition.to_record(topic.id, *index, version, with_elr)?);
            }
        }
        Ok(())
    }
}
