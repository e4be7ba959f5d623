//! ConsumerGroupDescribe v0-1, for the groups of one shard.
//!
//! Versions: 1 adds the members' protocol. Errors per group: GROUP_ID_NOT_FOUND, also of groups of another kind.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use ottla_types::Uuid;

use super::group::ConsumerGroup;
use super::member::ConsumerMember;
use crate::group::reply::owned;
use crate::group::topics::ClusterView;

/// Members that speak the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
/// Members that speak the newer one.
const CONSUMER_MEMBER: i8 = 1;

/// A group that there is not.
pub(crate) fn missing(id: &str, error: ErrorCode, text: Option<String>) -> DescribedGroup<'static> {
    DescribedGroup {
        error_code: error.code(),
        error_message: text.map(Cow::Owned),
        group_id: Cow::Owned(id.to_owned()),
        ..DescribedGroup::default()
    }
}

/// A group with its members. Authorized operations are the caller's to fill in.
pub(crate) fn describe(
    group: &ConsumerGroup,
    default_assignor: &str,
    cluster: &dyn ClusterView,
) -> DescribedGroup<'static> {
    DescribedGroup {
        group_id: Cow::Owned(group.id.as_ref().to_owned()),
        group_state: Cow::Borrowed(group.state_name()),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: Cow::Owned(group.assignor_name(default_assignor)),
        members: group.members.values().map(|member| describe_member(group, member, cluster)).collect(),
        ..DescribedGroup::default()
    }
}

fn describe_member(
    group: &ConsumerGroup,
    member: &ConsumerMember,
    cluster: &dyn ClusterView,
) -> Member<'static> {
    let mut has: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partitions) in member.current.assigned.iter().chain(&member.current.pending_revocation) {
        has.entry(*topic).or_default().extend(partitions.keys());
    }
    let target = group.target_of(&member.id).into_iter().flatten();
    let target = target.map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()));
    let metadata = &member.metadata;
    Member {
        member_id: Cow::Owned(member.id.as_ref().to_owned()),
        instance_id: owned(metadata.instance_id.as_deref()),
        rack_id: owned(metadata.rack_id.as_deref()),
        member_epoch: member.current.epoch,
        client_id: Cow::Owned(metadata.client_id.as_ref().to_owned()),
        client_host: Cow::Owned(metadata.client_host.as_ref().to_owned()),
        subscribed_topic_names: metadata
            .topic_names
            .iter()
            .map(|name| Cow::Owned(name.as_ref().to_owned()))
            .collect(),
        subscribed_topic_regex: owned(metadata.topic_regex.as_deref()),
        assignment: named(has.into_iter(), cluster),
        target_assignment: named(target, cluster),
        member_type: if member.uses_classic_protocol() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

/// Partitions of the topics that exist, with their names.
fn named(
    partitions: impl Iterator<Item = (Uuid, Vec<i32>)>,
    cluster: &dyn ClusterView,
) -> Assignment<'static> {
    let named = partitions.filter_map(|(topic_id, partitions)| {
        let topic_name = Cow::Owned(cluster.by_id(topic_id)?.name.as_ref().to_owned());
        Some(TopicPartitions { topic_id, topic_name, partitions })
    });
    Assignment { topic_partitions: named.collect() }
}
