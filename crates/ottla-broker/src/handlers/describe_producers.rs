//! DescribeProducers (61), version 0: the producers that a partition knows, to find transactions that hang (KIP-664).
//!
//! Errors per partition: `INVALID_TOPIC_EXCEPTION`, `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use ottla_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use ottla_storage::log::ActiveProducer;
use ottla_types::{LeaderEpoch, TopicName};

use crate::broker::Broker;
use crate::errors;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeProducersRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let topics = message.topics.iter().map(|topic| describe(broker, topic)).collect();
    request.reply(&DescribeProducersResponse { topics, ..DescribeProducersResponse::default() })
}

fn describe(broker: &Broker, topic: &TopicRequest<'_>) -> TopicResponse<'static> {
    let refused = if TopicName::check(&topic.name).is_err() {
        Some(ErrorCode::InvalidTopicException)
    } else if broker.image().topics().by_name(&topic.name).is_none() {
        Some(ErrorCode::UnknownTopicOrPartition)
    } else {
        None
    };
    let partition = |index: &i32| match refused {
        Some(code) => PartitionResponse {
            partition_index: *index,
            error_code: code.code(),
            error_message: Some(Cow::Borrowed(code.message())),
            ..PartitionResponse::default()
        },
        None => {
            let (error_code, active_producers) = match producers(broker, &topic.name, *index) {
                Ok(producers) => (0, producers),
                Err(code) => (code.code(), Vec::new()),
            };
            PartitionResponse {
                partition_index: *index,
                error_code,
                active_producers,
                ..PartitionResponse::default()
            }
        }
    };
    TopicResponse {
        name: topic.name.to_string().into(),
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    }
}

fn producers(broker: &Broker, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = broker.partition_named(topic, index)?;
    let known = partition.with(|replica| {
        replica.check_leader(LeaderEpoch::NONE).map_err(|error| errors::of_replica(&error))?;
        Ok(replica.log().active_producers().map(shape).collect())
    });
    known.unwrap_or(Err(ErrorCode::NotLeaderOrFollower))
}

fn shape(producer: ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id.value(),
        producer_epoch: i32::from(producer.epoch.value()),
        last_sequence: producer.last_sequence.value(),
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.txn_first_offset.map_or(-1, |offset| offset.value()),
    }
}
