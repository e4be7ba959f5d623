//! Requests refused as a whole: by a shard that is loading or gone, by the runtime when it has no shard for the group
//! (NOT_COORDINATOR) or the caller is not allowed (GROUP_AUTHORIZATION_FAILED), and replies whose append failed.
//!
//! Errors sit in different places of the responses, by API and version; that is what this file knows.

use std::borrow::Cow;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponseTopics};
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, DeleteGroupsResponse,
    DescribeGroupsResponse, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::effect::{GroupResponse, append_error};
use super::fetch::absent;
use super::reply;

/// The first OffsetFetch version with an error for the whole group.
const FETCH_GROUP_ERROR: i16 = 2;

/// JoinGroup.
pub fn join_group(api_version: i16, member_id: &str, error: ErrorCode) -> GroupResponse {
    reply::join_refusal(api_version, member_id, error)
}

/// SyncGroup.
pub fn sync_group(error: ErrorCode) -> GroupResponse {
    reply::sync_refusal(error)
}

/// Heartbeat. While the shard loads, the heartbeat is taken on trust.
pub fn heartbeat(error: ErrorCode) -> GroupResponse {
    let loading = error == ErrorCode::CoordinatorLoadInProgress;
    reply::heartbeat_response(if loading { ErrorCode::None } else { error })
}

/// LeaveGroup.
pub fn leave_group(error: ErrorCode) -> GroupResponse {
    reply::leave_refusal(error)
}

/// OffsetCommit: every partition fails.
pub fn offset_commit(request: &OffsetCommitRequest<'_>, error: ErrorCode) -> GroupResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: Cow::Owned(topic.name.clone().into_owned()),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| OffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: error.code(),
            })
            .collect(),
    });
    GroupResponse::OffsetCommit(OffsetCommitResponse {
        topics: topics.collect(),
        ..OffsetCommitResponse::default()
    })
}

/// TxnOffsetCommit: every partition fails.
pub fn txn_offset_commit(request: &TxnOffsetCommitRequest<'_>, error: ErrorCode) -> GroupResponse {
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: Cow::Owned(topic.name.clone().into_owned()),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| TxnOffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: error.code(),
            })
            .collect(),
    });
    let response = TxnOffsetCommitResponse { topics: topics.collect(), ..TxnOffsetCommitResponse::default() };
    GroupResponse::TxnOffsetCommit(response)
}

/// One group of an OffsetFetch: an error of the group, in v1 of each partition.
pub fn offset_fetch(
    request: &OffsetFetchRequestGroup<'_>,
    api_version: i16,
    error: ErrorCode,
) -> GroupResponse {
    let group_id = Cow::Owned(request.group_id.clone().into_owned());
    if api_version >= FETCH_GROUP_ERROR {
        let group = OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code: error.code() };
        return GroupResponse::OffsetFetch(group);
    }
    let topics = request.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
        name: Cow::Owned(topic.name.clone().into_owned()),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|&partition| absent(partition, error)).collect(),
    });
    GroupResponse::OffsetFetch(OffsetFetchResponseGroup { group_id, topics: topics.collect(), error_code: 0 })
}

/// The part of a DescribeGroups with these groups.
pub fn describe_groups(group_ids: &[&str], error: ErrorCode) -> GroupResponse {
    let groups = group_ids.iter().map(|&id| DescribedGroup {
        error_code: error.code(),
        group_id: Cow::Owned(id.to_owned()),
        ..DescribedGroup::default()
    });
    let response = DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() };
    GroupResponse::DescribeGroups(response)
}

/// ListGroups.
pub fn list_groups(error: ErrorCode) -> GroupResponse {
    GroupResponse::ListGroups(ListGroupsResponse {
        error_code: error.code(),
        ..ListGroupsResponse::default()
    })
}

/// The part of a DeleteGroups with these groups.
pub fn delete_groups(group_ids: &[&str], error: ErrorCode) -> GroupResponse {
    let results = group_ids.iter().map(|&id| DeletableGroupResult {
        group_id: Cow::Owned(id.to_owned()),
        error_code: error.code(),
        error_message: None,
    });
    let response = DeleteGroupsResponse { results: results.collect(), ..DeleteGroupsResponse::default() };
    GroupResponse::DeleteGroups(response)
}

/// OffsetDelete.
pub fn offset_delete(error: ErrorCode) -> GroupResponse {
    GroupResponse::OffsetDelete(OffsetDeleteResponse {
        error_code: error.code(),
        ..OffsetDeleteResponse::default()
    })
}

/// ConsumerGroupHeartbeat.
pub fn consumer_group_heartbeat(error: ErrorCode, text: Option<String>) -> GroupResponse {
    GroupResponse::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: text.map(Cow::Owned),
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

/// The part of a ConsumerGroupDescribe with this group.
pub fn consumer_group_describe(group_id: &str, error: ErrorCode) -> GroupResponse {
    let group = consumer_group_describe_response::DescribedGroup {
        error_code: error.code(),
        group_id: Cow::Owned(group_id.to_owned()),
        ..Default::default()
    };
    let response = ConsumerGroupDescribeResponse { groups: vec![group], ..Default::default() };
    GroupResponse::ConsumerGroupDescribe(response)
}

/// What becomes of a reply whose append failed with `error`, an error of the log.
pub(crate) fn after_failed_append(
    response: GroupResponse,
    api_version: i16,
    error: ErrorCode,
) -> GroupResponse {
    let code = append_error(error).code();
    match response {
        GroupResponse::JoinGroup(_) => reply::join_refusal(api_version, "", append_error(error)),
        GroupResponse::SyncGroup(_) => reply::sync_refusal(append_error(error)),
        GroupResponse::Heartbeat(_) => reply::heartbeat_response(append_error(error)),
        GroupResponse::LeaveGroup(_) => reply::leave_refusal(append_error(error)),
        GroupResponse::OffsetDelete(_) => offset_delete(append_error(error)),
        GroupResponse::ListGroups(_) => list_groups(append_error(error)),
        GroupResponse::OffsetCommit(mut response) => {
            let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.error_code = code);
            GroupResponse::OffsetCommit(response)
        }
        GroupResponse::TxnOffsetCommit(mut response) => {
            let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.error_code = code);
            GroupResponse::TxnOffsetCommit(response)
        }
        GroupResponse::DeleteGroups(mut response) => {
            response.results.iter_mut().for_each(|result| result.error_code = code);
            GroupResponse::DeleteGroups(response)
        }
        GroupResponse::DescribeGroups(mut response) => {
            response.groups.iter_mut().for_each(|group| group.error_code = code);
            GroupResponse::DescribeGroups(response)
        }
        GroupResponse::ConsumerGroupHeartbeat(_) => consumer_group_heartbeat(append_error(error), None),
        GroupResponse::ConsumerGroupDescribe(response) => {
            let id = response.groups.first().map_or("", |group| group.group_id.as_ref());
            consumer_group_describe(id, append_error(error))
        }
        GroupResponse::OffsetFetch(group) => fetch_after_failed_append(group, api_version, error),
    }
}

/// Consumers before Kafka 3.9 do not expect COORDINATOR_NOT_AVAILABLE here, and NOT_COORDINATOR makes all look again.
fn fetch_after_failed_append(
    mut group: OffsetFetchResponseGroup<'static>,
    api_version: i16,
    error: ErrorCode,
) -> GroupResponse {
    let error = match append_error(error) {
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotCoordinator,
        other => other,
    };
    if api_version >= FETCH_GROUP_ERROR {
        group.topics.clear();
        group.error_code = error.code();
    } else {
        for partition in group.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            *partition = absent(partition.partition_index, error);
        }
    }
    GroupResponse::OffsetFetch(group)
}
