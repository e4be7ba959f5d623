//! Leaders and replicas of partitions: elections and reassignments (KIP-460, KIP-455).

use std::collections::BTreeMap;

use ottla_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::messages::elect_leaders_request::TopicPartitions;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{NodeId, TopicName, TopicPartition};

use super::offsets::by_topic;
use crate::error::check;
use crate::{Client, Result};

/// Who may become leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ElectionType {
    /// The first replica, if it is in sync.
    Preferred = 0,
    /// The first replica that lives, even if it lacks records.
    Unclean = 1,
}

/// A reassignment under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// Of this partition.
    pub partition: TopicPartition,
    /// All its replicas now.
    pub replicas: Vec<NodeId>,
    /// Those that come.
    pub adding: Vec<NodeId>,
    /// Those that go.
    pub removing: Vec<NodeId>,
}

impl Client {
    /// Elects leaders of these partitions, or of all. Returns what came of each: [`ErrorCode::None`] is a new leader,
    /// [`ErrorCode::ElectionNotNeeded`] means that it has the right one. Partitions of all that need none are left out.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn elect_leaders(
        &self,
        kind: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, (ErrorCode, Option<String>)>> {
        let response = self
            .with_any(|connection| {
                Box::pin(async move {
                    let topic_partitions = partitions.map(|partitions| {
                        let topic = |(topic, partitions): (TopicName, Vec<i32>)| TopicPartitions {
                            topic: topic.to_string().into(),
                            partitions,
                        };
                        by_topic(partitions).into_iter().map(topic).collect()
                    });
                    let timeout_ms = self.timeout_ms();
                    let request =
                        ElectLeadersRequest { election_type: kind as i8, topic_partitions, timeout_ms };
                    let response = connection.call_with(VersionRange::new(1, 2), |_| request).await?;
                    check(response.error_code, None, || "electing leaders".to_owned())?;
                    Ok(response)
                })
            })
            .await?;
        let mut results = BTreeMap::new();
        for topic in response.replica_election_results {
            for result in topic.partition_result {
                let partition = TopicPartition::new(&topic.topic, result.partition_id);
                let message = result.error_message.map(|message| message.into_owned());
                results.insert(partition, (ErrorCode::from_code(result.error_code), message));
            }
        }
        Ok(results)
    }

    /// Gives partitions other replicas; `None` cancels a reassignment.
    ///
    /// # Errors
    /// A partition or replica does not exist, or no broker answers.
    pub async fn reassign(&self, changes: &BTreeMap<TopicPartition, Option<Vec<NodeId>>>) -> Result<()> {
        self.with_any(|connection| {
            Box::pin(async move {
                let mut topics = BTreeMap::<&TopicName, Vec<ReassignablePartition>>::new();
                for (partition, replicas) in changes {
                    topics.entry(&partition.topic).or_default().push(ReassignablePartition {
                        partition_index: partition.partition,
                        replicas: replicas.as_ref().map(|ids| ids.iter().map(|id| id.0).collect()),
                    });
                }
                let topic = |(name, partitions): (&TopicName, _)| ReassignableTopic {
                    name: name.to_string().into(),
                    partitions,
                };
                let request = AlterPartitionReassignmentsRequest {
                    timeout_ms: self.timeout_ms(),
                    topics: topics.into_iter().map(topic).collect(),
                    ..AlterPartitionReassignmentsRequest::default()
                };
                let response = connection.call_with(VersionRange::new(0, 1), |_| request).await?;
                let message = response.error_message.as_deref();
                check(response.error_code, message, || "reassigning partitions".to_owned())?;
                for topic in &response.responses {
                    for result in &topic.partitions {
                        let what = || format!("reassigning {}-{}", topic.name, result.partition_index);
                        check(result.error_code, result.error_message.as_deref(), what)?;
                    }
                }
                Ok(())
            })
        })
        .await
    }

    /// The reassignments under way.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn list_reassignments(&self) -> Result<Vec<Reassignment>> {
        let response = self
            .with_any(|connection| {
                Box::pin(async move {
                    let timeout_ms = self.timeout_ms();
                    let request = ListPartitionReassignmentsRequest { timeout_ms, topics: None };
                    let response = connection.call(&request).await?;
                    let message = response.error_message.as_deref();
                    check(response.error_code, message, || "listing reassignments".to_owned())?;
                    Ok(response)
                })
            })
            .await?;
        let ids = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
        let mut found = Vec::new();
        for topic in response.topics {
            for partition in topic.partitions {
                found.push(Reassignment {
                    partition: TopicPartition::new(&topic.name, partition.partition_index),
                    replicas: ids(partition.replicas),
                    adding: ids(partition.adding_replicas),
                    removing: ids(partition.removing_replicas),
                });
            }
        }
        Ok(found)
    }
}
