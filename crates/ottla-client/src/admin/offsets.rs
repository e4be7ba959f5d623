//! Offsets of partitions, and offsets committed by groups.

use std::collections::BTreeMap;

use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::{
    ListOffsetsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs, TopicName, TopicPartition};

use crate::consumer::Isolation;
use crate::error::check;
use crate::{Client, ClientError, Connection, Result};

/// By topic name, as most offset requests want the partitions. Versions beyond this name topics by id.
const BY_NAME_FETCH: VersionRange = VersionRange::new(8, 9);
const BY_NAME_COMMIT: VersionRange = VersionRange::new(2, 9);

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record there is.
    Earliest,
    /// The end.
    Latest,
    /// The first record of this time or later.
    Timestamp(TimestampMs),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
}

impl OffsetSpec {
    fn timestamp(self) -> TimestampMs {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Timestamp(ms) => ms,
        }
    }
}

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; `None` when no record is as young as the timestamp that was asked for.
    pub offset: Option<Offset>,
    /// Timestamp of that record, or -1.
    pub timestamp: TimestampMs,
    /// Epoch of that record, or -1.
    pub leader_epoch: LeaderEpoch,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// The next record to read.
    pub offset: Offset,
    /// Epoch of the record before, or -1.
    pub leader_epoch: LeaderEpoch,
    /// The committer's own note.
    pub metadata: String,
}

impl Client {
    /// Offsets of partitions, asked of their leaders.
    ///
    /// # Errors
    /// A partition does not exist, or its leader does not answer.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>> {
        let mut found = BTreeMap::new();
        let mut retry = self.retry();
        loop {
            let left: Vec<_> = wanted.iter().filter(|(it, _)| !found.contains_key(it)).cloned().collect();
            if left.is_empty() {
                return Ok(found);
            }
            if let Err(error) = self.list_some_offsets(&left, isolation, &mut found).await {
                for (partition, _) in &left {
                    self.forget_topic(&partition.topic);
                }
                retry.pause(error).await?;
            }
        }
    }

    /// One round over the leaders; stops at the first error and keeps what it has found.
    async fn list_some_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
        found: &mut BTreeMap<TopicPartition, ListedOffset>,
    ) -> Result<()> {
        let mut by_leader = BTreeMap::<NodeId, Vec<&(TopicPartition, OffsetSpec)>>::new();
        for entry in wanted {
            let (_, partition) = self.partition(&entry.0.topic, entry.0.partition).await?;
            if partition.leader == NodeId::NONE {
                return Err(ClientError::broker(
                    format!("partition {}", entry.0),
                    ErrorCode::LeaderNotAvailable,
                ));
            }
            by_leader.entry(partition.leader).or_default().push(entry);
        }
        for (leader, entries) in by_leader {
            let connection = self.node(leader).await?;
            let request = list_request(&entries, isolation);
            // Version 7 brought the largest timestamp; the later ones only concern tiers.
            let response = connection.call_with(VersionRange::new(2, 9), |_| request).await?;
            for topic in response.topics {
                for answer in topic.partitions {
                    let partition = TopicPartition::new(&topic.name, answer.partition_index);
                    check(answer.error_code, None, || format!("finding offsets of {partition}"))?;
                    let offset = (answer.offset >= 0).then_some(Offset(answer.offset));
                    let leader_epoch = LeaderEpoch(answer.leader_epoch);
                    found.insert(
                        partition,
                        ListedOffset { offset, timestamp: answer.timestamp, leader_epoch },
                    );
                }
            }
        }
        Ok(())
    }

    /// What a group has committed: for these partitions, or all.
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    pub async fn group_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, GroupOffset>> {
        self.with_coordinator(group, |connection| {
            Box::pin(async move { fetch_offsets(&connection, group, partitions).await })
        })
        .await
    }

    /// Sets what a group has committed. The group must have no members.
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    pub async fn set_group_offsets(&self, group: &str, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        self.with_coordinator(group, |connection| {
            Box::pin(async move {
                let offsets: Vec<_> =
                    offsets.iter().map(|(it, at)| (it.clone(), *at, LeaderEpoch::NONE)).collect();
                commit_offsets(&connection, Committer::admin(group), &offsets).await
            })
        })
        .await
    }

    /// Removes what a group has committed for partitions that none of its members reads.
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    pub async fn delete_group_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<()> {
        let what = || format!("deleting offsets of group '{group}'");
        self.with_coordinator(group, |connection| {
            Box::pin(async move {
                let topics =
                    by_topic(partitions).into_iter().map(|(name, indexes)| OffsetDeleteRequestTopic {
                        name: name.to_string().into(),
                        partitions: indexes
                            .into_iter()
                            .map(|partition_index| OffsetDeleteRequestPartition { partition_index })
                            .collect(),
                    });
                let request = OffsetDeleteRequest { group_id: group.into(), topics: topics.collect() };
                let response = connection.call(&request).await?;
                check(response.error_code, None, what)?;
                for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                    check(partition.error_code, None, what)?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Who commits: a member of a group, or nobody in particular.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committer<'a> {
    pub(crate) group: &'a str,
    pub(crate) member_id: &'a str,
    pub(crate) generation: i32,
}

impl<'a> Committer<'a> {
    pub(crate) fn admin(group: &'a str) -> Self {
        Self { group, member_id: "", generation: -1 }
    }
}

/// Commits offsets in one request.
pub(crate) async fn commit_offsets(
    connection: &Connection,
    committer: Committer<'_>,
    offsets: &[(TopicPartition, Offset, LeaderEpoch)],
) -> Result<()> {
    let version = connection.version_in(ottla_protocol::ApiKey::OffsetCommit, BY_NAME_COMMIT)?;
    let mut topics = BTreeMap::<&TopicName, Vec<OffsetCommitRequestPartition<'_>>>::new();
    for (partition, offset, epoch) in offsets {
        topics.entry(&partition.topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: partition.partition,
            committed_offset: offset.0,
            committed_leader_epoch: if version >= 6 { epoch.0 } else { -1 },
            committed_metadata: Some("".into()),
        });
    }
    let topic = |(name, partitions): (&TopicName, _)| OffsetCommitRequestTopic {
        name: name.to_string().into(),
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: committer.group.into(),
        generation_id_or_member_epoch: committer.generation,
        member_id: committer.member_id.into(),
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    };
    let response = connection.call_at(&request, version).await?;
    for topic in response.topics {
        for partition in topic.partitions {
            check(partition.error_code, None, || {
                format!(
                    "committing {}-{} for group '{}'",
                    topic.name, partition.partition_index, committer.group
                )
            })?;
        }
    }
    Ok(())
}

/// Fetches committed offsets in one request.
pub(crate) async fn fetch_offsets(
    connection: &Connection,
    group: &str,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, GroupOffset>> {
    let topics = partitions.map(|partitions| {
        let topic = |(name, partition_indexes): (TopicName, _)| OffsetFetchRequestTopics {
            name: name.to_string().into(),
            partition_indexes,
            ..OffsetFetchRequestTopics::default()
        };
        by_topic(partitions).into_iter().map(topic).collect()
    });
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics,
            ..OffsetFetchRequestGroup::default()
        }],
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let response = connection.call_with(BY_NAME_FETCH, |_| request).await?;
    let what = || format!("fetching offsets of group '{group}'");
    let mut offsets = BTreeMap::new();
    for answer in response.groups {
        check(answer.error_code, None, what)?;
        for topic in answer.topics {
            for partition in topic.partitions {
                check(partition.error_code, None, what)?;
                if partition.committed_offset >= 0 {
                    let offset = GroupOffset {
                        offset: Offset(partition.committed_offset),
                        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                        metadata: partition.metadata.unwrap_or_default().into_owned(),
                    };
                    offsets.insert(TopicPartition::new(&topic.name, partition.partition_index), offset);
                }
            }
        }
    }
    Ok(offsets)
}

pub(crate) fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<TopicName, Vec<PartitionIndex>> {
    let mut topics = BTreeMap::<TopicName, Vec<PartitionIndex>>::new();
    for partition in partitions {
        topics.entry(partition.topic.clone()).or_default().push(partition.partition);
    }
    topics
}

fn list_request<'a>(
    entries: &[&(TopicPartition, OffsetSpec)],
    isolation: Isolation,
) -> ListOffsetsRequest<'a> {
    let mut topics = BTreeMap::<&TopicName, Vec<ListOffsetsPartition>>::new();
    for (partition, spec) in entries {
        topics.entry(&partition.topic).or_default().push(ListOffsetsPartition {
            partition_index: partition.partition,
            timestamp: spec.timestamp(),
            ..ListOffsetsPartition::default()
        });
    }
    let topic =
        |(name, partitions): (&TopicName, _)| ListOffsetsTopic { name: name.to_string().into(), partitions };
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation as i8,
        topics: topics.into_iter().map(topic).collect(),
        ..ListOffsetsRequest::default()
    }
}
