//! Listing, describing and deleting groups.

use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest, DescribeGroupsRequest,
    ListGroupsRequest, consumer_group_describe_response, describe_groups_response,
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
}

impl Client {
    /// All groups of all brokers, by id.
    ///
    /// # Errors
    /// A broker does not answer.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        self.fetch_metadata(Some(&[])).await?;
        let mut groups = Vec::new();
        for id in self.broker_ids() {
            let mut retry = self.retry();
            let listed = loop {
                match self.list_groups_of(id).await {
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

    async fn list_groups_of(&self, id: ottla_types::NodeId) -> Result<Vec<GroupListing>> {
        let connection = self.node(id).await?;
        let response =
            connection.call_with(VersionRange::new(0, 5), |_| ListGroupsRequest::default()).await?;
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
        members,
    })
}

fn consumer_member(member: consumer_group_describe_response::Member<'_>) -> GroupMember {
    let topics = member.assignment.topic_partitions;
    let partitions = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|index| TopicPartition::new(&topic.topic_name, *index))
    });
    let mut partitions: Vec<_> = partitions.collect();
    partitions.sort();
    GroupMember {
        member_id: member.member_id.into_owned(),
        instance_id: member.instance_id.map(|id| id.into_owned()),
        client_id: member.client_id.into_owned(),
        host: member.client_host.into_owned(),
        partitions,
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
    })
}
