//! Directories of brokers: what is in them (KIP-113), and moving it.

use ottla_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use ottla_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use ottla_protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{NodeId, TopicPartition};

use super::offsets::by_topic;
use crate::error::check;
use crate::{Client, Result};

/// A log directory of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirDescription {
    /// Its path.
    pub path: String,
    /// Why it cannot be used; [`ErrorCode::None`] if it can.
    pub error: ErrorCode,
    /// Size of its file system in bytes, if the broker says.
    pub total_bytes: Option<i64>,
    /// Free bytes of its file system, if the broker says.
    pub usable_bytes: Option<i64>,
    /// Whether it takes no new partitions (KIP-1066).
    pub is_cordoned: bool,
    /// The replicas in it.
    pub replicas: Vec<LogDirReplica>,
}

/// A replica in a log directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogDirReplica {
    /// Of this partition.
    pub partition: TopicPartition,
    /// Bytes of its segments.
    pub size_bytes: i64,
    /// How far it is behind the high watermark, or a future one behind the current one.
    pub offset_lag: i64,
    /// Whether it is about to replace the one in another directory.
    pub is_future: bool,
}

impl Client {
    /// The directories of a broker with the replicas of these partitions, or of all.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn describe_log_dirs(
        &self,
        broker: NodeId,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<LogDirDescription>> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions).into_iter();
            topics
                .map(|(topic, partitions)| DescribableLogDirTopic {
                    topic: topic.to_string().into(),
                    partitions,
                })
                .collect()
        });
        let connection = self.node(broker).await?;
        let request = DescribeLogDirsRequest { topics };
        let response = connection.call_with(VersionRange::new(1, 5), |_| request).await?;
        check(response.error_code, None, || format!("describing the log directories of broker {broker}"))?;
        let mut dirs: Vec<_> = response.results.into_iter().map(LogDirDescription::from_wire).collect();
        dirs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(dirs)
    }

    /// Moves replicas of a broker into another of its directories; comes back when the move has begun.
    ///
    /// # Errors
    /// The broker has no such directory or replica, or does not answer.
    pub async fn move_replicas(
        &self,
        broker: NodeId,
        partitions: &[TopicPartition],
        path: &str,
    ) -> Result<()> {
        let topic = |(name, partitions): (ottla_types::TopicName, Vec<i32>)| AlterReplicaLogDirTopic {
            name: name.to_string().into(),
            partitions,
        };
        let topics = by_topic(partitions).into_iter().map(topic).collect();
        let request =
            AlterReplicaLogDirsRequest { dirs: vec![AlterReplicaLogDir { path: path.into(), topics }] };
        let connection = self.node(broker).await?;
        let response = connection.call_with(VersionRange::new(1, 2), |_| request).await?;
        for topic in &response.results {
            for partition in &topic.partitions {
                check(partition.error_code, None, || {
                    format!(
                        "moving {}-{} to {path} on broker {broker}",
                        topic.topic_name, partition.partition_index
                    )
                })?;
            }
        }
        Ok(())
    }
}

impl LogDirDescription {
    fn from_wire(dir: DescribeLogDirsResult<'_>) -> Self {
        let bytes = |bytes: i64| (bytes >= 0).then_some(bytes);
        let mut replicas = Vec::new();
        for topic in &dir.topics {
            replicas.extend(topic.partitions.iter().map(|partition| LogDirReplica {
                partition: TopicPartition::new(&topic.name, partition.partition_index),
                size_bytes: partition.partition_size,
                offset_lag: partition.offset_lag,
                is_future: partition.is_future_key,
            }));
        }
        replicas.sort();
        Self {
            path: dir.log_dir.into_owned(),
            error: ErrorCode::from_code(dir.error_code),
            total_bytes: bytes(dir.total_bytes),
            usable_bytes: bytes(dir.usable_bytes),
            is_cordoned: dir.is_cordoned,
            replicas,
        }
    }
}
