//! DescribeTopicPartitions (75), version 0: topics with their partitions and eligible leader replicas, page by page
//! (KIP-966).
//!
//! No topics in the request means all. A page ends after `max.request.partition.size.limit` partitions, or fewer if asked;
//! the cursor says where the next begins. Errors per topic: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`; per
//! partition: `LEADER_NOT_AVAILABLE`, `LISTENER_NOT_FOUND`; `INVALID_REQUEST` for a cursor with a negative partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_metadata::image::{MetadataImage, Partition};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use ottla_types::TopicName;

use super::metadata::{leader_of, offline_replicas};
use crate::authorized_operations as operations;
use crate::broker::Broker;
use crate::internal_topics;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeTopicPartitionsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let image = broker.image();
    let (first_topic, first_partition) = match &message.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), cursor.partition_index),
        None => (String::new(), 0),
    };
    let mut names: BTreeSet<String> = message.topics.iter().map(|topic| topic.name.to_string()).collect();
    let is_elsewhere = message.cursor.is_some() && !names.is_empty() && !names.contains(&first_topic);
    if is_elsewhere || first_partition < 0 {
        return request.reply(&refusal(&message));
    }
    if names.is_empty() {
        names = image.topics().iter().map(|topic| topic.name.to_string()).collect();
    }
    let limit = message.response_partition_limit.min(broker.max_described_partitions()).max(1);
    let mut page = Page {
        broker,
        image: &image,
        listener: &request.session.connection.listener,
        left: usize::try_from(limit).unwrap_or(1),
        next: None,
    };
    let mut topics = Vec::new();
    for name in names.range(first_topic.clone()..) {
        if page.next.is_some() {
            break;
        }
        let from = if *name == first_topic { first_partition } else { 0 };
        topics.extend(page.topic(name, from));
    }
    request.reply(&DescribeTopicPartitionsResponse {
        topics,
        next_cursor: page.next,
        ..DescribeTopicPartitionsResponse::default()
    })
}

/// A cursor that points at none of the topics asked for, or at no partition.
fn refusal(message: &DescribeTopicPartitionsRequest<'_>) -> DescribeTopicPartitionsResponse<'static> {
    let topics = message.topics.iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.to_string().into()),
        ..DescribeTopicPartitionsResponseTopic::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() }
}

/// A response page while it fills.
struct Page<'a> {
    broker: &'a Broker,
    image: &'a MetadataImage,
    listener: &'a str,
    left: usize,
    next: Option<Cursor<'static>>,
}

impl Page<'_> {
    fn topic(&mut self, name: &str, from: i32) -> Option<DescribeTopicPartitionsResponseTopic<'static>> {
        // Whether there is such a topic is for the next page.
        if self.left == 0 {
            self.next = Some(Cursor { topic_name: name.to_owned().into(), partition_index: from });
            return None;
        }
        let base = DescribeTopicPartitionsResponseTopic {
            name: Some(name.to_owned().into()),
            is_internal: internal_topics::is_internal(name),
            topic_authorized_operations: operations::TOPIC,
            ..DescribeTopicPartitionsResponseTopic::default()
        };
        let Some(topic) = self.image.topics().by_name(name) else {
            let error = match TopicName::check(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            return Some(DescribeTopicPartitionsResponseTopic { error_code: error.code(), ..base });
        };
        let mut partitions = Vec::new();
        for (index, state) in topic.partitions.iter().skip_while(|(index, _)| **index < from) {
            if self.left == 0 {
                self.next = Some(Cursor { topic_name: name.to_owned().into(), partition_index: *index });
                break;
            }
            self.left -= 1;
            partitions.push(self.partition(*index, state));
        }
        Some(DescribeTopicPartitionsResponseTopic { topic_id: topic.id, partitions, ..base })
    }

    fn partition(&self, index: i32, state: &Partition) -> DescribeTopicPartitionsResponsePartition {
        let (error, leader) = leader_of(self.broker, self.image, state, self.listener);
        let ids = |nodes: &[ottla_types::NodeId]| nodes.iter().map(|id| id.value()).collect::<Vec<_>>();
        DescribeTopicPartitionsResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: leader,
            leader_epoch: state.leader_epoch.value(),
            replica_nodes: ids(&state.replicas),
            isr_nodes: ids(&state.isr),
            eligible_leader_replicas: Some(ids(&state.elr)),
            last_known_elr: Some(ids(&state.last_known_elr)),
            offline_replicas: offline_replicas(self.image, state),
        }
    }
}
