//! The shard's part in requests of the classic protocol that reach a consumer group: those of members that have yet to move
//! to the newer protocol.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};

use super::classic::{Joined, leaving};
use super::member::ConsumerMember;
use super::migrate;
use super::requests::fresh_member_id;
use super::turn::{Refusal, Turn};
use crate::group::effect::{Decision, Effect, GroupId, GroupResponse, RequestContext};
use crate::group::pending::Completion;
use crate::group::record::GroupRecord;
use crate::group::reply;
use crate::group::shard::GroupShard;

impl GroupShard {
    pub(crate) fn join_consumer_group(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        random: [u8; 16],
        id: &GroupId,
        request: &JoinGroupRequest<'_>,
    ) -> Decision {
        if self.config.consumer_migration == super::MigrationPolicy::Disabled {
            return self.refuse_join(ctx.parked(), "", ErrorCode::InconsistentGroupProtocol);
        }
        match self.try_join(now_ms, ctx, random, id, request) {
            Ok(decision) => decision,
            Err(refusal) => self.refuse_join(ctx.parked(), "", refusal.error),
        }
    }

    fn try_join(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        random: [u8; 16],
        id: &GroupId,
        request: &JoinGroupRequest<'_>,
    ) -> Result<Decision, Refusal> {
        let group = self.consumer_group(id)?;
        let mut turn = Turn::new(self.scene(now_ms, id), group);
        let (member, downgrade) = match turn.join(ctx, request, fresh_member_id(random))? {
            Joined::IdRequired(member_id) => {
                return Ok(self.refuse_join(ctx.parked(), &member_id, ErrorCode::MemberIdRequired));
            }
            Joined::Member(member) => (member, None),
            Joined::Downgrade(member, must_rebalance) => (member, Some(must_rebalance)),
        };
        let response = join_response(ctx.api_version, &member);
        let Some(must_rebalance) = downgrade else {
            let outcome = turn.finish();
            let completion = Completion::Reply { parked: ctx.parked(), response: response.clone() };
            return Ok(self.settle(Vec::new(), id, outcome, ctx.parked(), response, completion));
        };
        let instance = member.instance_id();
        let replaced = instance.and_then(|instance| group.static_members.get(instance));
        let renamed = replaced.map(|old| (old.as_ref(), &member.id));
        let nobody = BTreeSet::new();
        let classic = migrate::downgraded(group, &nobody, Some(&member), now_ms, self.cluster.as_ref())?;
        turn.records.extend(group.tombstones(renamed).into_iter().map(GroupRecord::Consumer));
        let outcome = turn.finish();
        let reason = format!("downgrade of group {id} from consumer to classic with a stale assignment");
        let reason = must_rebalance.then_some(reason.as_str());
        let waiting = Some((ctx.parked(), response));
        Ok(self.become_classic(now_ms, id, outcome, classic, reason, waiting))
    }

    pub(crate) fn sync_consumer_group(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        id: &GroupId,
        request: &SyncGroupRequest<'_>,
    ) -> Decision {
        let Ok(group) = self.consumer_group(id) else { return Decision::default() };
        let mut turn = Turn::new(self.scene(now_ms, id), group);
        let response = match turn.sync(request) {
            Ok(assignment) => GroupResponse::SyncGroup(SyncGroupResponse {
                protocol_type: reply::owned(request.protocol_type.as_deref()),
                protocol_name: reply::owned(request.protocol_name.as_deref()),
                assignment: Cow::Owned(assignment.to_vec()),
                ..SyncGroupResponse::default()
            }),
            Err(refusal) => reply::sync_refusal(refusal.error),
        };
        let outcome = turn.finish();
        let completion = Completion::Nothing;
        self.settle(Vec::new(), id, outcome, ctx.parked(), response, completion)
    }

    pub(crate) fn beat_consumer_group(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        id: &GroupId,
        request: &HeartbeatRequest<'_>,
    ) -> Decision {
        let Ok(group) = self.consumer_group(id) else { return Decision::default() };
        let mut turn = Turn::new(self.scene(now_ms, id), group);
        let error = turn.classic_heartbeat(request).unwrap_or_else(|refusal| refusal.error);
        let outcome = turn.finish();
        let response = reply::heartbeat_response(error);
        self.settle(Vec::new(), id, outcome, ctx.parked(), response, Completion::Nothing)
    }

    pub(crate) fn leave_as_classic(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        id: &GroupId,
        request: &LeaveGroupRequest<'_>,
        members: &[MemberIdentity<'_>],
    ) -> Decision {
        let Ok(group) = self.consumer_group(id) else { return Decision::default() };
        let (ids, responses) = leaving(group, members);
        let response = reply::leave_response(ctx.api_version, responses);
        if ids.is_empty() {
            return self.conclude_read(id, ctx.parked(), response);
        }
        let reason = request.members.iter().find_map(|member| member.reason.as_deref());
        let reason = reason.unwrap_or("not provided");
        let names: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let notes = vec![format!("{} left by LeaveGroup; client reason: {reason}", names.join(", "))];
        match self.fence(now_ms, id, &ids, notes, Some((ctx.parked(), response))) {
            Ok(decision) => decision,
            Err(refusal) => {
                let response = reply::leave_refusal(refusal.error);
                self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }])
            }
        }
    }
}

fn join_response(api_version: i16, member: &ConsumerMember) -> GroupResponse {
    let name = member.classic_protocol().map(|(name, _)| name.as_ref());
    let response = JoinGroupResponse {
        member_id: Cow::Owned(member.id.as_ref().to_owned()),
        generation_id: member.current.epoch,
        protocol_type: Some(Cow::Borrowed("consumer")),
        protocol_name: reply::owned(name),
        ..JoinGroupResponse::default()
    };
    reply::join_response(api_version, response)
}
