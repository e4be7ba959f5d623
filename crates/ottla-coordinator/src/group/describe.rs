//! DescribeGroups v0-6, ListGroups v0-5, DeleteGroups v0-3, each for the groups of one shard.
//!
//! Versions: DescribeGroups 6 answers an unknown group with GROUP_ID_NOT_FOUND, before it is a group in state Dead;
//! ListGroups 4 filters by state, 5 by type. Errors of DeleteGroups: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use ottla_protocol::messages::list_groups_response::ListedGroup;
use ottla_protocol::messages::{
    DeleteGroupsResponse, DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse,
};

use super::classic::{ClassicGroup, ClassicState, Member};
use super::effect::{Decision, Effect, GroupId, GroupResponse, RequestContext, Step};
use super::expiry::remove_all_offsets;
use super::foreign::GroupKind;
use super::record::GroupRecord;
use super::refusal;
use super::reply::owned;
use super::shard::{Group, GroupShard};

/// The first DescribeGroups version with an error for unknown groups.
const GROUP_ID_NOT_FOUND: i16 = 6;

impl GroupShard {
    /// Describes classic groups. Authorized operations are the caller's to fill in.
    pub fn describe_groups(&self, ctx: &RequestContext<'_>, group_ids: &[&str]) -> Decision {
        if let Some(error) = self.unavailable() {
            let response = refusal::describe_groups(group_ids, error);
            return self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }]);
        }
        let groups = group_ids.iter().map(|&id| match self.groups.get(id) {
            Some(Group::Classic(group)) => describe(group),
            Some(Group::Consumer(_) | Group::Foreign(_)) => {
                unknown(ctx, id, format!("Group {id} is not a classic group."))
            }
            None => unknown(ctx, id, format!("Group {id} not found.")),
        });
        let response =
            DescribeGroupsResponse { groups: groups.collect(), ..DescribeGroupsResponse::default() };
        let response = GroupResponse::DescribeGroups(response);
        self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }])
    }

    /// Lists groups, of all types. An unknown name in a filter matches nothing.
    pub fn list_groups(&self, ctx: &RequestContext<'_>, request: &ListGroupsRequest<'_>) -> Decision {
        if let Some(error) = self.unavailable() {
            let response = refusal::list_groups(error);
            return self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }]);
        }
        let states: BTreeSet<String> =
            request.states_filter.iter().map(|state| state.to_lowercase().trim().to_owned()).collect();
        let kinds: BTreeSet<Option<GroupKind>> =
            request.types_filter.iter().map(|kind| GroupKind::parse(kind)).collect();
        let is_wanted = |group: &Group| {
            let state = group.state_name().to_lowercase();
            (states.is_empty() || states.contains(&state))
                && (kinds.is_empty() || kinds.contains(&Some(group.kind())))
        };
        let listed =
            self.groups.iter().filter(|(_, group)| is_wanted(group)).map(|(id, group)| ListedGroup {
                group_id: Cow::Owned(id.as_ref().to_owned()),
                protocol_type: Cow::Owned(group.protocol_type().to_owned()),
                group_state: Cow::Borrowed(group.state_name()),
                group_type: Cow::Borrowed(group.kind().name()),
            });
        let response = ListGroupsResponse { groups: listed.collect(), ..ListGroupsResponse::default() };
        let response = GroupResponse::ListGroups(response);
        self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }])
    }

    /// Deletes empty groups with their offsets. The ids are distinct.
    pub fn delete_groups(&mut self, now_ms: i64, ctx: &RequestContext<'_>, group_ids: &[&str]) -> Decision {
        let mut step = Step::new(now_ms, &self.config);
        if let Some(error) = self.unavailable() {
            step.reply(ctx.token, refusal::delete_groups(group_ids, error));
            return self.conclude_effects(step.effects);
        }
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(group_ids.len());
        for &id in group_ids {
            let error = match self.delete_group(id, &mut records) {
                Ok(()) => ErrorCode::None,
                Err(error) => error,
            };
            results.push(DeletableGroupResult {
                group_id: Cow::Owned(id.to_owned()),
                error_code: error.code(),
                error_message: None,
            });
        }
        let response = DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() };
        let response = GroupResponse::DeleteGroups(response);
        step.reply_after(records, ctx, response);
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    fn delete_group(&self, id: &str, records: &mut Vec<GroupRecord>) -> Result<(), ErrorCode> {
        let (id, group) = self.groups.get_key_value(id).ok_or(ErrorCode::GroupIdNotFound)?;
        match group {
            Group::Classic(group) => match group.state {
                ClassicState::Dead => return Err(ErrorCode::GroupIdNotFound),
                ClassicState::Empty => {}
                _ => return Err(ErrorCode::NonEmptyGroup),
            },
            Group::Consumer(group) if !group.is_empty() => return Err(ErrorCode::NonEmptyGroup),
            Group::Foreign(group) if !group.is_empty() => return Err(ErrorCode::NonEmptyGroup),
            Group::Consumer(_) | Group::Foreign(_) => {}
        }
        remove_all_offsets(&self.offsets, id, records);
        match group {
            Group::Classic(_) => {
                records.push(GroupRecord::GroupMetadata { group: GroupId::clone(id), value: None });
            }
            Group::Consumer(group) => {
                records.extend(group.tombstones(None).into_iter().map(GroupRecord::Consumer));
            }
            Group::Foreign(group) => records.extend(group.tombstones()),
        }
        Ok(())
    }
}

fn describe(group: &ClassicGroup) -> DescribedGroup<'static> {
    let protocol = group.is(ClassicState::Stable).then_some(group.protocol.as_deref()).flatten();
    let describe_member = |member: &Member| DescribedGroupMember {
        member_id: Cow::Owned(member.id.as_ref().to_owned()),
        group_instance_id: owned(member.instance_id.as_deref()),
        client_id: Cow::Owned(member.client_id.as_ref().to_owned()),
        client_host: Cow::Owned(member.client_host.as_ref().to_owned()),
        member_metadata: Cow::Owned(protocol.map(|p| member.metadata(Some(p)).to_vec()).unwrap_or_default()),
        member_assignment: Cow::Owned(member.assignment.to_vec()),
    };
    DescribedGroup {
        group_id: Cow::Owned(group.id.as_ref().to_owned()),
        group_state: Cow::Borrowed(group.state.name()),
        protocol_type: owned(group.protocol_type.as_deref()).unwrap_or_default(),
        protocol_data: owned(protocol).unwrap_or_default(),
        members: group.members.values().map(describe_member).collect(),
        ..DescribedGroup::default()
    }
}

fn unknown(ctx: &RequestContext<'_>, id: &str, message: String) -> DescribedGroup<'static> {
    let with_error = ctx.api_version >= GROUP_ID_NOT_FOUND;
    let error = if with_error { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
    DescribedGroup {
        error_code: error.code(),
        error_message: with_error.then_some(Cow::Owned(message)),
        group_id: Cow::Owned(id.to_owned()),
        group_state: Cow::Borrowed(ClassicState::Dead.name()),
        ..DescribedGroup::default()
    }
}
