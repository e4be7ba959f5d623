//! What a delta means for the replicas of one broker.

use std::sync::Arc;

use ottla_types::{NodeId, PartitionIndex, TopicName, Uuid};

use super::{MetadataDelta, Partition};

/// A partition with its names, as one broker is told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalPartition {
    /// Name of the topic.
    pub topic: TopicName,
    /// Id of the topic.
    pub topic_id: Uuid,
    /// Which partition of it.
    pub index: PartitionIndex,
    /// Its state in the new image; for a deleted one the state before.
    pub partition: Arc<Partition>,
}

/// What a broker has to do, in the order of the fields: stop and delete, then lead, then follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalChanges {
    /// Replicas that it holds no more.
    pub deleted: Vec<LocalPartition>,
    /// Partitions that it leads and whose partition epoch changed.
    pub leaders: Vec<LocalPartition>,
    /// Those of [`LocalChanges::leaders`] whose leader epoch changed too: leadership starts anew.
    pub elected: Vec<LocalPartition>,
    /// Partitions that it follows and whose partition epoch changed; the leader may be none.
    pub followers: Vec<LocalPartition>,
    /// Replicas whose recorded log directory changed, with that directory.
    pub directories: Vec<(LocalPartition, Uuid)>,
}

impl MetadataDelta {
    /// The changes that concern the replicas of `broker`.
    pub fn local_changes(&self, broker: NodeId) -> LocalChanges {
        let mut local = LocalChanges::default();
        for (id, change) in &self.changes().topics {
            if change.deleted {
                let Some(topic) = self.base().topics().by_id(*id) else { continue };
                for (index, partition) in topic.partitions.iter() {
                    if partition.replicas.contains(&broker) {
                        local.deleted.push(named(&topic.name, *id, *index, partition));
                    }
                }
                continue;
            }
            let Some(topic) = self.image().topics().by_id(*id) else { continue };
            let before = self.base().topics().by_id(*id);
            for index in &change.partitions {
                let Some(partition) = topic.partitions.get(index) else { continue };
                let before = before.and_then(|topic| topic.partitions.get(index));
                local.add(broker, named(&topic.name, *id, *index, partition), before);
            }
        }
        local
    }
}

fn named(
    topic: &TopicName,
    topic_id: Uuid,
    index: PartitionIndex,
    partition: &Arc<Partition>,
) -> LocalPartition {
    LocalPartition { topic: topic.clone(), topic_id, index, partition: Arc::clone(partition) }
}

impl LocalChanges {
    fn add(&mut self, broker: NodeId, now: LocalPartition, before: Option<&Arc<Partition>>) {
        let partition = &now.partition;
        let Some(directory) = partition.directory(broker) else {
            if let Some(before) = before.filter(|before| before.replicas.contains(&broker)) {
                self.deleted.push(LocalPartition { partition: Arc::clone(before), ..now });
            }
            return;
        };
        if before.and_then(|before| before.directory(broker)) != Some(directory) {
            self.directories.push((now.clone(), directory));
        }
        if before.is_some_and(|before| before.partition_epoch == partition.partition_epoch) {
            return;
        }
        if partition.leader == broker {
            if before.is_none_or(|before| before.leader_epoch != partition.leader_epoch) {
                self.elected.push(now.clone());
            }
            self.leaders.push(now);
        } else {
            self.followers.push(now);
        }
    }
}
