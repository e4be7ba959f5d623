//! OffsetFetch (9), versions 1–10: a group's committed offsets, of some partitions or all.
//!
//! Version 2 added "all topics" and an error for the group, 5 leader epochs, 7 waiting for open transactions, 8 several
//! groups, 9 members of the newer protocol, 10 topic ids. Errors: `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`,
//! `INVALID_GROUP_ID`, `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`; per partition `UNSTABLE_OFFSET_COMMIT`, `UNKNOWN_TOPIC_ID`.

use std::borrow::Cow;
use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, offset_fetch_groups, offset_fetch_response, refusal};
use ottla_metadata::image::MetadataImage;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::OffsetFetchRequest;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla_types::Uuid;

use crate::broker::Broker;
use crate::groups::Answer;
use crate::request::Request;

/// One group's part of the request on its way.
struct Asked {
    answer: Result<Answer, ErrorCode>,
    refusal: GroupResponse,
    unknown: Vec<OffsetFetchResponseTopics<'static>>,
}

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let version = request.api_version;
    let asked: Vec<Asked> = {
        let message: OffsetFetchRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let image = broker.image();
        let groups = offset_fetch_groups(&message, version);
        groups.into_iter().map(|group| ask(broker, &image, &request, group, message.require_stable)).collect()
    };
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for Asked { answer, refusal, unknown } in asked {
            let response = super::group_response(answer, |_| refusal).await;
            let GroupResponse::OffsetFetch(mut group) = response else { continue };
            if version >= 10 {
                name_by_id(&broker.image(), &mut group);
            }
            if group.error_code == 0 {
                group.topics.extend(unknown);
            }
            groups.push(group);
        }
        request.reply(&offset_fetch_response(groups, version))
    })
}

fn ask(
    broker: &Broker,
    image: &MetadataImage,
    request: &Request,
    mut group: OffsetFetchRequestGroup<'_>,
    require_stable: bool,
) -> Asked {
    let mut unknown = Vec::new();
    if request.api_version >= 10
        && let Some(topics) = &mut group.topics
    {
        topics.retain_mut(|topic| match image.topics().by_id(topic.topic_id) {
            Some(found) => {
                topic.name = Cow::Owned(found.name.to_string());
                true
            }
            None => {
                unknown.push(unknown_topic(topic.topic_id, &topic.partition_indexes));
                false
            }
        });
    }
    let answer = broker.groups.call(broker, &group.group_id, request, |shard, _, context| {
        shard.offset_fetch(context, &group, require_stable)
    });
    let error = *answer.as_ref().err().unwrap_or(&ErrorCode::NotCoordinator);
    Asked { answer, refusal: refusal::offset_fetch(&group, request.api_version, error), unknown }
}

fn unknown_topic(topic_id: Uuid, partitions: &[i32]) -> OffsetFetchResponseTopics<'static> {
    let absent = |&partition_index: &i32| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some("".into()),
        error_code: ErrorCode::UnknownTopicId.code(),
    };
    OffsetFetchResponseTopics {
        topic_id,
        partitions: partitions.iter().map(absent).collect(),
        ..OffsetFetchResponseTopics::default()
    }
}

/// Version 10 names topics by id; those that are gone cannot be named.
fn name_by_id(image: &MetadataImage, group: &mut OffsetFetchResponseGroup<'static>) {
    group.topics.retain_mut(|topic| {
        if topic.topic_id.is_zero() {
            topic.topic_id = image.topics().id(&topic.name).unwrap_or_default();
        }
        !topic.topic_id.is_zero()
    });
}
