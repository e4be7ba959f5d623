//! OffsetDelete (47), version 0: removes committed offsets of topics that the group does not read (KIP-496).
//!
//! Errors: `INVALID_GROUP_ID`, `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP` (a
//! group with members that do not speak the consumer protocol); per partition `UNKNOWN_TOPIC_OR_PARTITION`,
//! `GROUP_SUBSCRIBED_TO_TOPIC`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_metadata::image::MetadataImage;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::group_reply;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (answer, refused) = {
        let mut message: OffsetDeleteRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let image = broker.image();
        let mut refused = Vec::new();
        message.topics.retain_mut(|topic| keep_known(&image, topic, &mut refused));
        let answer = broker.groups.call(broker, &message.group_id, &request, |shard, now_ms, context| {
            shard.offset_delete(now_ms, context, &message)
        });
        (answer, refused)
    };
    group_reply(request, answer, refusal::offset_delete, |request, response| match response {
        GroupResponse::OffsetDelete(mut response) => {
            if response.error_code == ErrorCode::None.code() {
                join(&mut response.topics, refused);
            }
            Some(request.reply(&response))
        }
        _ => None,
    })
}

/// Leaves the partitions that exist; the others are answered at once.
fn keep_known(
    image: &MetadataImage,
    topic: &mut OffsetDeleteRequestTopic<'_>,
    refused: &mut Vec<OffsetDeleteResponseTopic<'static>>,
) -> bool {
    let found = image.topics().by_name(&topic.name);
    let mut unknown = Vec::new();
    topic.partitions.retain(|partition| {
        let index = partition.partition_index;
        let is_known = found.is_some_and(|topic| topic.partitions.contains_key(&index));
        if !is_known {
            let error_code = ErrorCode::UnknownTopicOrPartition.code();
            unknown.push(OffsetDeleteResponsePartition { partition_index: index, error_code });
        }
        is_known
    });
    if !unknown.is_empty() || found.is_none() {
        // A topic that is named twice is answered once, if anything of it is refused.
        match refused.iter_mut().find(|other| other.name == topic.name) {
            Some(other) => other.partitions.extend(unknown),
            None => {
                let name = topic.name.to_string().into();
                refused.push(OffsetDeleteResponseTopic { name, partitions: unknown });
            }
        }
    }
    !topic.partitions.is_empty()
}

/// Puts what was refused here before the coordinator's answers, topic by topic; those stay as they are if nothing was.
fn join<'a>(
    answered: &mut Vec<OffsetDeleteResponseTopic<'a>>,
    mut refused: Vec<OffsetDeleteResponseTopic<'a>>,
) {
    if refused.is_empty() {
        return;
    }
    for topic in std::mem::take(answered) {
        match refused.iter_mut().find(|other| other.name == topic.name) {
            Some(other) => other.partitions.extend(topic.partitions),
            None => refused.push(topic),
        }
    }
    *answered = refused;
}
