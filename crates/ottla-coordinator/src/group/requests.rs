//! The requests of the classic protocol, up to the point where they reach their group.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};

use super::classic::{ClassicGroup, ClassicState, Join};
use super::effect::{Decision, Effect, GroupId, RequestContext, Step, Write};
use super::pending::Completion;
use super::record::GroupRecord;
use super::refusal;
use super::reply;
use super::shard::{Group, GroupShard};

/// The first LeaveGroup version with a list of members.
const BATCHED_LEAVE: i16 = 3;
/// The first SyncGroup version that must name protocol type and protocol.
const PROTOCOL_REQUIRED: i16 = 5;

impl GroupShard {
    /// Handles JoinGroup. `random` makes the id of a member that joins without one.
    ///
    /// Unless it is refused, the reply waits until the join phase ends: until all members are there, the initial delay is
    /// over, or the rebalance timeout has removed those that are not.
    pub fn join_group(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        random: [u8; 16],
        request: &JoinGroupRequest<'_>,
    ) -> Decision {
        let member_id = request.member_id.as_ref();
        let session = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if request.group_id.is_empty() {
            return self.refuse_join(ctx.parked(), member_id, ErrorCode::InvalidGroupId);
        }
        if !session.contains(&request.session_timeout_ms) {
            return self.refuse_join(ctx.parked(), member_id, ErrorCode::InvalidSessionTimeout);
        }
        if let Some(error) = self.unavailable() {
            return self.refuse_join(ctx.parked(), "", error);
        }
        let id = GroupId::from(request.group_id.as_ref());
        let mut tombstones = Vec::new();
        let replaced = match self.groups.get(&id) {
            Some(Group::Consumer(group)) if !group.is_empty() => {
                let mut request = request.clone();
                if ctx.api_version == 0 {
                    request.rebalance_timeout_ms = request.session_timeout_ms;
                }
                return self.join_consumer_group(now_ms, ctx, random, &id, &request);
            }
            Some(Group::Consumer(group)) => {
                tombstones.extend(group.tombstones(None).into_iter().map(GroupRecord::Consumer));
                self.groups.get(&id).cloned()
            }
            Some(Group::Foreign(group)) if group.can_become_classic() => {
                tombstones.extend(group.tombstones());
                self.groups.get(&id).cloned()
            }
            _ => None,
        };
        let is_new = replaced.is_some() || !self.groups.contains_key(&id);
        if is_new && !member_id.is_empty() {
            if tombstones.is_empty() {
                return self.refuse_join(ctx.parked(), member_id, ErrorCode::UnknownMemberId);
            }
            // An empty group of another kind goes even so.
            let response = super::refusal::join_group(ctx.api_version, member_id, ErrorCode::UnknownMemberId);
            let completion = Completion::Reply { parked: ctx.parked(), response };
            let write = Write { records: tombstones, atomic: true, producer: None, completion };
            return self.conclude(Vec::new(), Some(write));
        }
        if replaced.is_some() {
            self.groups.remove(&id);
        }
        let mut step = Step::new(now_ms, &self.config);
        let group = self.groups.entry(id.clone()).or_insert_with(|| {
            let created = ClassicGroup::new(id.clone(), Some(now_ms));
            Group::Classic(Box::new(created))
        });
        let Group::Classic(group) = group else {
            return self.refuse_join(ctx.parked(), "", ErrorCode::InconsistentGroupProtocol);
        };
        group.join(&mut step, Join { ctx, request, random });
        if is_new {
            // A new group's first rebalance waits, so nothing else is to be appended yet.
            let mut records = tombstones;
            records.push(group.creation_record());
            step.append(records, Completion::Creation { group: id, replaced: replaced.map(Box::new) });
        }
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    /// Handles SyncGroup. The reply waits for the leader's assignment to be committed.
    pub fn sync_group(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        request: &SyncGroupRequest<'_>,
    ) -> Decision {
        let mut step = Step::new(now_ms, &self.config);
        let incomplete = request.protocol_type.is_none() || request.protocol_name.is_none();
        let refused = if ctx.api_version >= PROTOCOL_REQUIRED && incomplete {
            Some(ErrorCode::InconsistentGroupProtocol)
        } else if request.group_id.is_empty() {
            Some(ErrorCode::InvalidGroupId)
        } else {
            self.unavailable()
        };
        if let Some(error) = refused {
            reply::sync_error(&mut step, ctx.parked(), error);
            return self.conclude_effects(step.effects);
        }
        let is_consumer = |group: &Group| matches!(group, Group::Consumer(group) if !group.is_empty());
        if let Some((id, _)) =
            self.groups.get_key_value(request.group_id.as_ref()).filter(|(_, group)| is_consumer(group))
        {
            let id = GroupId::clone(id);
            return self.sync_consumer_group(now_ms, ctx, &id, request);
        }
        match self.groups.get_mut(request.group_id.as_ref()) {
            Some(Group::Classic(group)) if !group.is(ClassicState::Empty) => {
                group.sync(&mut step, ctx.parked(), request);
            }
            _ => reply::sync_error(&mut step, ctx.parked(), ErrorCode::UnknownMemberId),
        }
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    /// Handles Heartbeat. Always answered at once.
    pub fn heartbeat(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        request: &HeartbeatRequest<'_>,
    ) -> Decision {
        let mut step = Step::new(now_ms, &self.config);
        let refused =
            if request.group_id.is_empty() { Some(ErrorCode::InvalidGroupId) } else { self.unavailable() };
        if let (None, Some((id, Group::Consumer(_)))) =
            (refused, self.groups.get_key_value(request.group_id.as_ref()))
        {
            let id = GroupId::clone(id);
            return self.beat_consumer_group(now_ms, ctx, &id, request);
        }
        let error = match (refused, self.groups.get_mut(request.group_id.as_ref())) {
            (Some(error), _) => error,
            (None, Some(Group::Classic(group))) => group.heartbeat(&mut step, request),
            (None, _) => ErrorCode::UnknownMemberId,
        };
        step.reply(ctx.token, refusal::heartbeat(error));
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    /// Handles LeaveGroup.
    pub fn leave_group(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        request: &LeaveGroupRequest<'_>,
    ) -> Decision {
        let refused =
            if request.group_id.is_empty() { Some(ErrorCode::InvalidGroupId) } else { self.unavailable() };
        if let Some(error) = refused {
            let response = refusal::leave_group(error);
            return self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }]);
        }
        let single;
        let members: &[MemberIdentity<'_>] = if ctx.api_version >= BATCHED_LEAVE {
            &request.members
        } else {
            single = [MemberIdentity { member_id: request.member_id.clone(), ..MemberIdentity::default() }];
            &single
        };
        if let Some((id, Group::Consumer(_))) = self.groups.get_key_value(request.group_id.as_ref()) {
            let id = GroupId::clone(id);
            return self.leave_as_classic(now_ms, ctx, &id, request, members);
        }
        let mut step = Step::new(now_ms, &self.config);
        let responses = match self.groups.get_mut(request.group_id.as_ref()) {
            Some(Group::Classic(group)) => group.leave(&mut step, members),
            _ => members.iter().map(unknown_member).collect(),
        };
        let response = reply::leave_response(ctx.api_version, responses);
        // If the group is empty now, the reply waits for its record.
        match &mut step.write {
            Some(write) => write.completion = Completion::Reply { parked: ctx.parked(), response },
            None => step.reply(ctx.token, response),
        }
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }
}

fn unknown_member(member: &MemberIdentity<'_>) -> MemberResponse<'static> {
    MemberResponse {
        member_id: member.member_id.clone().into_owned().into(),
        group_instance_id: reply::owned(member.group_instance_id.as_deref()),
        error_code: ErrorCode::UnknownMemberId.code(),
    }
}
