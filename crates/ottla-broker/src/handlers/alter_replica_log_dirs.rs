//! AlterReplicaLogDirs (34), versions 1–2: moves replicas of this broker to other log directories (KIP-113). The answer says that
//! the move has begun; DescribeLogDirs shows how far it is.
//!
//! Version 2 has flexible fields. Errors per partition, in the order of the checks: `INVALID_TOPIC_EXCEPTION` (a name too long for a
//! directory of a move), `LOG_DIR_NOT_FOUND`, `KAFKA_STORAGE_ERROR`, `INVALID_REPLICA_ASSIGNMENT` (a cordoned directory),
//! `UNKNOWN_TOPIC_OR_PARTITION`, `REPLICA_NOT_AVAILABLE`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use ottla_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use crate::broker::Broker;
use crate::request::Request;

/// Longest name of a directory.
const MAX_NAME: usize = 255;
/// What follows a topic's name in that of a move's directory, besides the digits of the partition.
const FUTURE_TAIL: usize = "-.".len() + 32 + "-future".len();

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let wanted = {
        let message: AlterReplicaLogDirsRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let mut wanted: BTreeMap<(String, i32), String> = BTreeMap::new();
        for dir in &message.dirs {
            for topic in &dir.topics {
                for index in &topic.partitions {
                    wanted.insert((topic.name.to_string(), *index), dir.path.to_string());
                }
            }
        }
        wanted
    };
    let broker = Arc::clone(broker);
    // Beginning a move makes a directory.
    Outcome::later(async move {
        let begun = tokio::task::spawn_blocking(move || {
            let mut topics: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
            for ((topic, partition_index), path) in wanted {
                let error = begin(&broker, &topic, partition_index, &path).err().unwrap_or(ErrorCode::None);
                let result = AlterReplicaLogDirPartitionResult { partition_index, error_code: error.code() };
                topics.entry(topic).or_default().push(result);
            }
            topics
        });
        let topics = match begun.await {
            Ok(topics) => topics,
            Err(failure) => return Outcome::close(failure.to_string()),
        };
        let results = topics
            .into_iter()
            .map(|(name, partitions)| AlterReplicaLogDirTopicResult { topic_name: name.into(), partitions });
        request.reply(&AlterReplicaLogDirsResponse {
            results: results.collect(),
            ..AlterReplicaLogDirsResponse::default()
        })
    })
}

fn begin(broker: &Arc<Broker>, topic: &str, index: i32, path: &str) -> Result<(), ErrorCode> {
    if topic.len() + index.to_string().len() + FUTURE_TAIL > MAX_NAME {
        return Err(ErrorCode::InvalidTopicException);
    }
    let dirs = broker.replicas.dirs().dirs();
    let is_it = |dir: &Path| std::path::absolute(dir).is_ok_and(|dir| dir == Path::new(path));
    let target = dirs.iter().find(|dir| is_it(dir.path())).ok_or(ErrorCode::LogDirNotFound)?;
    if !target.is_online() {
        return Err(ErrorCode::KafkaStorageError);
    }
    if broker.is_cordoned(target.path()) {
        return Err(ErrorCode::InvalidReplicaAssignment);
    }
    let image = broker.image();
    let id = image.topics().id(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    image.topics().partition(id, index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = broker.hosted_partition(id, index).map_err(|error| match error {
        ErrorCode::NotLeaderOrFollower => ErrorCode::ReplicaNotAvailable,
        other => other,
    })?;
    broker.moves.begin(broker, &partition, target)
}
