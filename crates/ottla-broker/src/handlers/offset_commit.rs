//! OffsetCommit (8), versions 2–10: a group's offsets.
//!
//! Version 5 dropped the retention time, 6 added leader epochs, 7 static members, 8 flexible fields, 9 members of the newer
//! protocol, 10 topic ids. Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`,
//! `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID`, `REBALANCE_IN_PROGRESS`,
//! `FENCED_INSTANCE_ID`, `OFFSET_METADATA_TOO_LARGE`, `INVALID_GROUP_ID`, `GROUP_ID_NOT_FOUND`, `STALE_MEMBER_EPOCH`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_metadata::image::MetadataImage;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_types::Uuid;

use super::group_reply;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (answer, refused, on_error, group) = {
        let mut message: OffsetCommitRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let image = broker.image();
        let mut refused = Vec::new();
        let topics = std::mem::take(&mut message.topics);
        message.topics =
            topics.into_iter().filter_map(|t| known(&image, request.api_version, t, &mut refused)).collect();
        if message.topics.is_empty() {
            let response = OffsetCommitResponse { topics: refused, ..OffsetCommitResponse::default() };
            return request.reply(&response);
        }
        let answer = broker.groups.call(broker, &message.group_id, &request, |shard, now_ms, context| {
            shard.offset_commit(now_ms, context, &message)
        });
        let on_error = refusal::offset_commit(&message, ErrorCode::NotCoordinator);
        (answer, refused, on_error, message.group_id.to_string())
    };
    let broker = Arc::clone(broker);
    group_reply(
        request,
        answer,
        move |_| on_error,
        move |request, response| match response {
            GroupResponse::OffsetCommit(mut response) => {
                let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                let taken = partitions.filter(|partition| partition.error_code == 0).count();
                broker.groups.commits().note(&group, taken);
                join(&mut response.topics, refused, request.api_version >= 10);
                Some(request.reply(&response))
            }
            _ => None,
        },
    )
}

/// Puts what was refused here before the coordinator's answers, topic by topic.
fn join<'a>(
    answered: &mut Vec<OffsetCommitResponseTopic<'a>>,
    refused: Vec<OffsetCommitResponseTopic<'a>>,
    by_id: bool,
) {
    let mut fresh = Vec::new();
    for mut topic in refused {
        let is_it = |other: &&mut OffsetCommitResponseTopic<'_>| {
            if by_id { other.topic_id == topic.topic_id } else { other.name == topic.name }
        };
        match answered.iter_mut().find(is_it) {
            Some(other) => {
                topic.partitions.append(&mut other.partitions);
                other.partitions = topic.partitions;
            }
            None => fresh.push(topic),
        }
    }
    answered.splice(0..0, fresh);
}

/// The part of a topic that exists, with name and id; what does not is answered at once.
fn known<'a>(
    image: &MetadataImage,
    version: i16,
    mut topic: OffsetCommitRequestTopic<'a>,
    refused: &mut Vec<OffsetCommitResponseTopic<'static>>,
) -> Option<OffsetCommitRequestTopic<'a>> {
    let by_id = version >= 10;
    let found =
        if by_id { image.topics().by_id(topic.topic_id) } else { image.topics().by_name(&topic.name) };
    let mut missing = |topic: &OffsetCommitRequestTopic<'_>, indexes: Vec<i32>, error: ErrorCode| {
        if !indexes.is_empty() {
            refused.push(OffsetCommitResponseTopic {
                name: if by_id { "".into() } else { topic.name.to_string().into() },
                topic_id: if by_id { topic.topic_id } else { Uuid::ZERO },
                partitions: indexes
                    .into_iter()
                    .map(|partition_index| OffsetCommitResponsePartition {
                        partition_index,
                        error_code: error.code(),
                    })
                    .collect(),
            });
        }
    };
    let Some(found) = found else {
        let error = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        let all = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        missing(&topic, all, error);
        return None;
    };
    let is_known = |index: i32| found.partitions.contains_key(&index);
    let unknown: Vec<i32> =
        topic.partitions.iter().map(|p| p.partition_index).filter(|index| !is_known(*index)).collect();
    missing(&topic, unknown, ErrorCode::UnknownTopicOrPartition);
    topic.partitions.retain(|partition| is_known(partition.partition_index));
    topic.topic_id = found.id;
    topic.name = found.name.to_string().into();
    (!topic.partitions.is_empty()).then_some(topic)
}
