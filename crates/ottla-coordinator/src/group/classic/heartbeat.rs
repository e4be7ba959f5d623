//! Heartbeat v0-4, and what happens when heartbeats stop.
//!
//! Versions: 3 adds `group.instance.id`. Errors: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
//! ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::HeartbeatRequest;

use super::{ClassicGroup, ClassicState};
use crate::group::deadline::Fired;
use crate::group::effect::Step;
use crate::group::reply;

impl ClassicGroup {
    /// Keeps the member's session alive and tells it whether to join again.
    pub(crate) fn heartbeat(&mut self, step: &mut Step<'_>, request: &HeartbeatRequest<'_>) -> ErrorCode {
        if self.is(ClassicState::Dead) {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Err(error) = self.validate_member(&request.member_id, request.group_instance_id.as_deref()) {
            return error;
        }
        if request.generation_id != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            ClassicState::Empty | ClassicState::Dead => ErrorCode::UnknownMemberId,
            ClassicState::PreparingRebalance => {
                self.restart_session(step, &request.member_id);
                ErrorCode::RebalanceInProgress
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.restart_session(step, &request.member_id);
                ErrorCode::None
            }
        }
    }

    /// The session timer of a member, or the timer of a pending one, fired.
    pub(crate) fn on_member_timer(&mut self, step: &mut Step<'_>, member_id: &str) {
        let Some((id, fired)) = self.fire_member(step.now_ms, member_id) else { return };
        match fired {
            Fired::Stale => return,
            Fired::Later(at_ms) => return step.schedule(self.member_key(&id), at_ms),
            Fired::Due => {}
        }
        if self.is(ClassicState::Dead) {
            return;
        }
        let Some(member) = self.members.get(member_id) else {
            step.note(&self.id, format!("removed pending member {member_id}: it did not join in time"));
            self.remove(step, member_id);
            return self.complete_join_if_all_joined(step);
        };
        if !member.has_satisfied_heartbeat() {
            self.fail_member(step, member_id);
        }
    }

    fn fire_member(
        &mut self,
        now_ms: i64,
        member_id: &str,
    ) -> Option<(crate::group::effect::MemberId, Fired)> {
        if let Some((id, member)) = self.members.get_key_value(member_id) {
            let (id, mut session) = (id.clone(), member.session);
            let fired = session.fire(now_ms);
            if let Some(member) = self.members.get_mut(member_id) {
                member.session = session;
            }
            return Some((id, fired));
        }
        let id = self.pending_join.get_key_value(member_id)?.0.clone();
        let fired = self.pending_join.get_mut(member_id)?.fire(now_ms);
        Some((id, fired))
    }

    /// Removes a member that was not heard of in time. One that waits in its first JoinGroup is told to start over.
    fn fail_member(&mut self, step: &mut Step<'_>, member_id: &str) {
        if let Some(parked) = self.take_join(member_id) {
            reply::join_error(step, parked, "", ErrorCode::UnknownMemberId);
        }
        self.remove(step, member_id);
        match self.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => {
                let reason = format!("removing member {member_id} on heartbeat expiration");
                self.rebalance_or_complete(step, &reason);
            }
            _ => self.complete_join_if_all_joined(step),
        }
    }

    fn complete_join_if_all_joined(&mut self, step: &mut Step<'_>) {
        if self.is(ClassicState::PreparingRebalance) && self.has_all_members_joined() {
            self.complete_join(step);
        }
    }
}
