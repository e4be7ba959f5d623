//! OffsetFetch v1-10, one group of it at a time: the groups of a request may belong to different shards.
//!
//! Versions: 2 fetches all topics when the list is null and has an error for the group; 5 adds leader epochs; 7
//! `require_stable`; 8 several groups; 9 member id and epoch, for consumer groups only; 10 topic ids. Errors:
//! UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH and ILLEGAL_GENERATION of a consumer group; UNSTABLE_OFFSET_COMMIT per partition, when an open transaction committed it; those of a failed append. An unknown group
//! has no offsets.

use std::borrow::Cow;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use ottla_types::{TopicName, Uuid};

use super::classic::ClassicState;
use super::effect::{Decision, Effect, GroupResponse, RequestContext};
use super::offsets::StoredOffset;
use super::refusal;
use super::shard::{Group, GroupShard};

/// The first version with several groups.
const BATCHED: i16 = 8;

/// The groups of a request in one form for all versions: before v8 there is one, at the top level.
pub fn offset_fetch_groups<'a>(
    request: &OffsetFetchRequest<'a>,
    api_version: i16,
) -> Vec<OffsetFetchRequestGroup<'a>> {
    use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
    if api_version >= BATCHED {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let lift = |topic: &ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic<'a>| {
            OffsetFetchRequestTopics {
                name: topic.name.clone(),
                partition_indexes: topic.partition_indexes.clone(),
                ..OffsetFetchRequestTopics::default()
            }
        };
        topics.iter().map(lift).collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id.clone(),
        topics,
        ..OffsetFetchRequestGroup::default()
    }]
}

/// The response of the groups' answers, in the form of the version. Before v8 exactly one group is expected.
pub fn offset_fetch_response(
    mut groups: Vec<OffsetFetchResponseGroup<'static>>,
    api_version: i16,
) -> OffsetFetchResponse<'static> {
    if api_version >= BATCHED {
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let lower_partition = |partition: OffsetFetchResponsePartitions<'static>| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let lower_topic = |topic: OffsetFetchResponseTopics<'static>| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(lower_partition).collect(),
    };
    OffsetFetchResponse {
        error_code: group.error_code,
        topics: group.topics.into_iter().map(lower_topic).collect(),
        ..OffsetFetchResponse::default()
    }
}

impl GroupShard {
    /// Reads committed offsets: of the given partitions, or all. Topics carry their name (the caller has resolved ids), and
    /// their id if the request had one: an offset committed for another topic of that name is not shown.
    ///
    /// The answer waits for appends of the group that are under way, so that it never shows what may yet be lost.
    pub fn offset_fetch(
        &mut self,
        ctx: &RequestContext<'_>,
        request: &OffsetFetchRequestGroup<'_>,
        require_stable: bool,
    ) -> Decision {
        if let Some(error) = self.unavailable() {
            let response = refusal::offset_fetch(request, ctx.api_version, error);
            return self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }]);
        }
        if let Some(Group::Consumer(group)) = self.groups.get(request.group_id.as_ref())
            && let Err(error) = group.validate_fetch(request.member_id.as_deref(), request.member_epoch)
        {
            let response = refusal::offset_fetch(request, ctx.api_version, error);
            return self.conclude_read(&request.group_id, ctx.parked(), response);
        }
        let topics = match &request.topics {
            Some(_) => self.requested_offsets(request, require_stable),
            None => self.all_offsets(request, require_stable),
        };
        let group_id = Cow::Owned(request.group_id.clone().into_owned());
        let response =
            GroupResponse::OffsetFetch(OffsetFetchResponseGroup { group_id, topics, error_code: 0 });
        self.conclude_read(&request.group_id, ctx.parked(), response)
    }

    fn is_readable(&self, group_id: &str) -> bool {
        match self.groups.get(group_id) {
            None => false,
            Some(Group::Classic(group)) => !group.is(ClassicState::Dead),
            Some(Group::Consumer(_) | Group::Foreign(_)) => true,
        }
    }

    fn requested_offsets(
        &self,
        request: &OffsetFetchRequestGroup<'_>,
        require_stable: bool,
    ) -> Vec<OffsetFetchResponseTopics<'static>> {
        let group_id = request.group_id.as_ref();
        let readable = self.is_readable(group_id);
        let answer =
            |topic: &ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics<'_>| {
                let name = TopicName::new(&topic.name);
                let partitions = topic.partition_indexes.iter().map(|&partition| {
                    if require_stable && self.offsets.is_open(group_id, &name, partition) {
                        return absent(partition, ErrorCode::UnstableOffsetCommit);
                    }
                    let stored = self.offsets.get(group_id, &name, partition).filter(|_| readable);
                    match stored.filter(|stored| is_same_topic(stored.value.topic_id, topic.topic_id)) {
                        Some(stored) => present(partition, stored),
                        None => absent(partition, ErrorCode::None),
                    }
                });
                OffsetFetchResponseTopics {
                    name: Cow::Owned(topic.name.clone().into_owned()),
                    topic_id: topic.topic_id,
                    partitions: partitions.collect(),
                }
            };
        request.topics.iter().flatten().map(answer).collect()
    }

    fn all_offsets(
        &self,
        request: &OffsetFetchRequestGroup<'_>,
        require_stable: bool,
    ) -> Vec<OffsetFetchResponseTopics<'static>> {
        let group_id = request.group_id.as_ref();
        let offsets = self.offsets.of_group(group_id).filter(|_| self.is_readable(group_id));
        let mut topics = Vec::new();
        for (topic, partitions) in offsets.into_iter().flatten() {
            let partitions = partitions.iter().map(|(&partition, stored)| {
                if require_stable && self.offsets.is_open(group_id, topic, partition) {
                    absent(partition, ErrorCode::UnstableOffsetCommit)
                } else {
                    present(partition, stored)
                }
            });
            topics.push(OffsetFetchResponseTopics {
                name: Cow::Owned(topic.as_str().to_owned()),
                topic_id: Uuid::ZERO,
                partitions: partitions.collect(),
            });
        }
        topics
    }
}

fn is_same_topic(committed: Uuid, requested: Uuid) -> bool {
    committed.is_zero() || requested.is_zero() || committed == requested
}

fn present(partition: i32, stored: &StoredOffset) -> OffsetFetchResponsePartitions<'static> {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: stored.value.offset,
        committed_leader_epoch: stored.value.leader_epoch,
        metadata: Some(Cow::Owned(stored.value.metadata.to_string())),
        error_code: ErrorCode::None.code(),
    }
}

pub(crate) fn absent(partition: i32, error: ErrorCode) -> OffsetFetchResponsePartitions<'static> {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Cow::Borrowed("")),
        error_code: error.code(),
    }
}
