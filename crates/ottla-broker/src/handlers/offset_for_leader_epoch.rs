//! OffsetForLeaderEpoch (23), versions 2–4: where an epoch ends in the leader's log, so that a consumer can notice that what
//! it read was truncated (KIP-320).
//!
//! Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`, `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`,
//! `KAFKA_STORAGE_ERROR`. An epoch that the log does not know is answered with -1.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ottla_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use ottla_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use ottla_storage::log::EpochEnd;
use ottla_types::LeaderEpoch;

use crate::broker::Broker;
use crate::errors;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: OffsetForLeaderEpochRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let topics = message.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.to_string().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| {
                let (error, end) = match end_of(broker, &topic.topic, wanted) {
                    Ok(end) => (ErrorCode::None, end),
                    Err(error) => (error, None),
                };
                EpochEndOffset {
                    error_code: error.code(),
                    partition: wanted.partition,
                    leader_epoch: end.map_or(-1, |end| end.epoch.value()),
                    end_offset: end.map_or(-1, |end| end.end.value()),
                }
            })
            .collect(),
    });
    request.reply(&OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    })
}

fn end_of(
    broker: &Broker,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<EpochEnd>, ErrorCode> {
    let partition = broker.partition_named(topic, wanted.partition)?;
    let end = partition.with(|replica| {
        replica.check_leader(LeaderEpoch(wanted.current_leader_epoch))?;
        Ok(replica.log().end_offset_for_epoch(LeaderEpoch(wanted.leader_epoch)))
    });
    end.ok_or(ErrorCode::NotLeaderOrFollower)?.map_err(|error| errors::of_replica(&error))
}
