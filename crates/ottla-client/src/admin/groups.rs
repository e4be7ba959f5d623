//! Listing, describing and deleting groups.

use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest, DescribeGroupsRequest,
    LeaveGroupRequest, ListGroupsRequest, consumer_group_describe_response, describe_groups_response,
};
use ottla_protocol::{ApiKey, ErrorCode, VersionRange};
use ottla_types::TopicPartition;

use crate::consumer::protocol;
use crate::error::check;
use crate::{Client, ClientError, Connection, Result};

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// What its members speak: `consumer`, `connect`, …; empty for a group that only stores offsets.
    pub protocol_type: String,
    /// Its state, such as `Stable` or `Empty`.
    pub state: String,
    /// `classic`, `consumer`, `share` or `streams`; empty from old brokers.
    pub kind: String,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// Its state, such as `Stable` or `Empty`.
    pub state: String,
    /// `classic` or `consumer`.
    pub kind: &'static str,
    /// How partitions are assigned, such as `range`.
    pub assignor: String,
    /// Address of its coordinator.
    pub coordinator: String,
    /// Epoch of the group and of its target assignment; only groups of type `consumer` have them.
    pub epochs: Option<(i32, i32)>,
    /// Its members by id.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Id given by the coordinator.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it is assigned.
    pub partitions: Vec<TopicPartition>,
    /// What it is to be assigned, and its epoch; only members of groups of type `consumer` have them.
    pub target: Option<(Vec<TopicPartition>, i32)>,
    /// Whether it speaks the classic protocol in a group of type `consumer`.
    pub is_upgraded: Option<bool>,
}

/// A member as an administrator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberRef {
    /// By the id given by the coordinator.
    Id(String),
    /// A static member, by `group.instance.id`.
    Instance(String),
}

impl Client {
    /// All groups of all brokers, by id; with filters, those in one of the states and of one of the types.
    ///
    /// # Errors
    /// A broker does not answer.
    pub async fn list_groups(&self, states: &[String], types: &[String]) -> Result<Vec<GroupListing>> {
        self.fetch_metadata(Some(&[])).await?;
        let mut groups = Vec::new();
        for id in self.broker_ids() {
            let mut retry = self.retry();
            let listed = loop {
                match self.list_groups_of(id, states, types).await {
                    Ok(listed) => break listed,
                    Err(error) => retry.pause(error).await?,
                }
            };
            groups.extend(listed);
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    async fn list_groups_of(
        &self,
        id: ottla_types::NodeId,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<GroupListing>> {
        let connection = self.node(id).await?;
        let lowest = match (types.is_empty(), states.is_empty()) {
            (false, _) => 5,
            (true, false) => 4,
            (true, true) => 0,
        };
        let make = |_| ListGroupsRequest {
            states_filter: states.iter().map(|state| state.as_str().into()).collect(),
            types_filter: types.iter().map(|kind| kind.as_str().into()).collect(),
        };
        let response = connection.call_with(VersionRange::new(lowest, 5), make).await?;
        check(response.error_code, None, || format!("listing the groups of broker {id}"))?;
        let listing = |group: ottla_protocol::messages::list_groups_response::ListedGroup<'_>| GroupListing {
            group: group.group_id.into_owned(),
            protocol_type: group.protocol_type.into_owned(),
            state: group.group_state.into_owned(),
            kind: group.group_type.into_owned(),
        };
        Ok(response.groups.into_iter().map(listing).collect())
    }

    /// A group with its members.
    ///
    /// # Errors
    /// The group does not exist, or its coordinator does not answer.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        self.with_coordinator(group, |connection| {
            Box::pin(async move {
                if connection.versions(ApiKey::ConsumerGroupDescribe).is_some() {
                    match describe_consumer(&connection, group).await {
                        // It may be a classic group.
                        Err(error) if is_no_consumer_group(&error) => {}
                        result => return result,
                    }
                }
                describe_classic(&connection, group).await
            })
        })
        .await
    }

    /// Takes members out of a group of type `classic`, or all of them with an empty list.
    ///
    /// # Errors
    /// There is no such member, or the coordinator does not answer.
    pub async fn remove_members(&self, group: &str, members: &[MemberRef]) -> Result<()> {
        let what = || format!("removing members of group '{group}'");
        self.with_coordinator(group, |connection| {
            Box::pin(async move {
                let identity = |member: &MemberRef| {
                    let (member_id, instance) = match member {
                        MemberRef::Id(id) => (id.clone(), None),
                        MemberRef::Instance(id) => (String::new(), Some(id.clone().into())),
                    };
                    MemberIdentity {
                        member_id: member_id.into(),
                        group_instance_id: instance,
                        reason: Some("removed by an administrator".into()),
                    }
                };
                let request = LeaveGroupRequest {
                    group_id: group.into(),
                    members: members.iter().map(identity).collect(),
                    ..LeaveGroupRequest::default()
                };
                // Version 3 brought several members, with their instance ids.
                let response = connection.call_with(VersionRange::new(3, 5), |_| request).await?;
                check(response.error_code, None, what)?;
                for member in &response.members {
                    check(member.error_code, None, || {
                        let name = member.group_instance_id.as_deref().unwrap_or(&member.member_id);
                        format!("removing member '{name}' of group '{group}'")
                    })?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Deletes a group with its offsets. The group must have no members.
    ///
    /// # Errors
    /// The group does not exist or has members, or its coordinator does not answer.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let what = || format!("deleting group '{group}'");
        self.with_coordinator(group, |connection| {
            Box::pin(async move {
                let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
                let response = connection.call(&request).await?;
                let result = response.results.first();
                let result =
                    result.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
                check(result.error_code, result.error_message.as_deref(), what)
            })
        })
        .await
    }
}

fn is_no_consumer_group(error: &ClientError) -> bool {
    matches!(error.code(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion))
        || matches!(error, ClientError::Unsupported { .. })
}

async fn describe_consumer(connection: &Connection, group: &str) -> Result<GroupDescription> {
    let request =
        ConsumerGroupDescribeRequest { group_ids: vec![group.into()], include_authorized_operations: false };
    let response = connection.call(&request).await?;
    let what = || format!("describing group '{group}'");
    let found = response.groups.into_iter().next();
    let found = found.ok_or_else(|| ClientError::broker(what(), ErrorCode::GroupIdNotFound))?;
    check(found.error_code, found.error_message.as_deref(), what)?;
    let mut members: Vec<_> = found.members.into_iter().map(consumer_member).collect();
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    Ok(GroupDescription {
        group: group.to_owned(),
        state: found.group_state.into_owned(),
        kind: "consumer",
        assignor: found.assignor_name.into_owned(),
        coordinator: connection.address().to_owned(),
        epochs: Some((found.group_epoch, found.assignment_epoch)),
        members,
    })
}

fn consumer_member(member: consumer_group_describe_response::Member<'_>) -> GroupMember {
    let partitions = |assignment: &consumer_group_describe_response::Assignment<'_>| {
        let topics = assignment.topic_partitions.iter();
        let partitions = topics.flat_map(|topic| {
            topic.partitions.iter().map(|index| TopicPartition::new(&topic.topic_name, *index))
        });
        let mut partitions: Vec<_> = partitions.collect();
        partitions.sort();
        partitions
    };
    GroupMember {
        partitions: partitions(&member.assignment),
        target: Some((partitions(&member.target_assignment), member.member_epoch)),
        // Version 0 does not say: -1.
        is_upgraded: (member.member_type >= 0).then_some(member.member_type == 0),
        member_id: member.member_id.into_owned(),
        instance_id: member.instance_id.map(|id| id.into_owned()),
        client_id: member.client_id.into_owned(),
        host: member.client_host.into_owned(),
    }
}

async fn describe_classic(connection: &Connection, group: &str) -> Result<GroupDescription> {
    let request = DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations: false };
    let response = connection.call_with(VersionRange::new(0, 6), |_| request).await?;
    let what = || format!("describing group '{group}'");
    let found = response.groups.into_iter().next();
    let found = found.ok_or_else(|| ClientError::broker(what(), ErrorCode::GroupIdNotFound))?;
    check(found.error_code, found.error_message.as_deref(), what)?;
    if found.group_state == "Dead" {
        // How brokers before DescribeGroups version 6 say that there is no such group.
        return Err(ClientError::broker(what(), ErrorCode::GroupIdNotFound));
    }
    let mut members = found.members.into_iter().map(classic_member).collect::<Result<Vec<_>>>()?;
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    Ok(GroupDescription {
        group: group.to_owned(),
        state: found.group_state.into_owned(),
        kind: "classic",
        assignor: found.protocol_data.into_owned(),
        coordinator: connection.address().to_owned(),
        epochs: None,
        members,
    })
}

fn classic_member(member: describe_groups_response::DescribedGroupMember<'_>) -> Result<GroupMember> {
    let partitions = if member.member_assignment.is_empty() {
        Vec::new()
    } else {
        let assignment: ConsumerProtocolAssignment<'_> = protocol::decode(&member.member_assignment)?;
        protocol::partitions(&assignment)
    };
    Ok(GroupMember {
        member_id: member.member_id.into_owned(),
        instance_id: member.group_instance_id.map(|id| id.into_owned()),
        client_id: member.client_id.into_owned(),
        host: member.client_host.into_owned(),
        partitions,
        target: None,
        is_upgraded: None,
    })
}
