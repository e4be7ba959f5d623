//! DeleteRecords (21), versions 0–2: moves the log start of partitions up; the space is freed by the next retention run.
//!
//! Offset -1 means the high watermark. Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`,
//! `INVALID_TOPIC_EXCEPTION` (internal topics), `OFFSET_OUT_OF_RANGE` (negative or beyond the high watermark), `POLICY_VIOLATION`
//! (a topic that is only compacted), `KAFKA_STORAGE_ERROR`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use ottla_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use ottla_types::{LeaderEpoch, Offset};

use crate::broker::Broker;
use crate::errors;
use crate::internal_topics;
use crate::request::Request;

/// "Up to the high watermark".
const HIGH_WATERMARK: i64 = -1;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DeleteRecordsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let topics = message.topics.iter().map(|topic| DeleteRecordsTopicResult {
        name: topic.name.to_string().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| {
                let (error, low_watermark) =
                    match delete(broker, &topic.name, wanted.partition_index, wanted.offset) {
                        Ok(start) => (ErrorCode::None, start.value()),
                        Err(error) => (error, -1),
                    };
                DeleteRecordsPartitionResult {
                    partition_index: wanted.partition_index,
                    low_watermark,
                    error_code: error.code(),
                }
            })
            .collect(),
    });
    request.reply(&DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() })
}

fn delete(broker: &Broker, topic: &str, index: i32, offset: i64) -> Result<Offset, ErrorCode> {
    let image = broker.image();
    let id = image.topics().id(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    image.topics().partition(id, index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if internal_topics::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = broker.hosted_partition(id, index)?;
    let policy = partition.settings().log.cleanup_policy;
    if policy.compact && !policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let moved = partition.update(|replica| {
        if let Err(error) = replica.check_leader(LeaderEpoch::NONE) {
            return (Err(errors::of_replica(&error)), Vec::new());
        }
        let high_watermark = replica.high_watermark();
        let target = if offset == HIGH_WATERMARK { high_watermark } else { Offset(offset) };
        if target < Offset::ZERO || target > high_watermark {
            return (Err(ErrorCode::OffsetOutOfRange), Vec::new());
        }
        match replica.log_mut().advance_log_start(target) {
            Ok(_) => (Ok(replica.log().log_start_offset()), replica.advance()),
            Err(error) => (Err(errors::of_read(&error)), Vec::new()),
        }
    });
    moved.unwrap_or(Err(ErrorCode::NotLeaderOrFollower))
}
