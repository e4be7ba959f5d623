//! LeaveGroup v0-5.
//!
//! Versions: 3 takes several members, static ones by `group.instance.id` (an administrator removes them without knowing
//! their member ids); 5 adds a reason. Errors: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID and FENCED_INSTANCE_ID per member,
//! COORDINATOR_NOT_AVAILABLE.

use std::borrow::Cow;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;

use super::{ClassicGroup, ClassicState};
use crate::group::effect::{MemberId, Step};
use crate::group::reply;

impl ClassicGroup {
    /// Removes the members that may be removed, and rebalances if any was.
    pub(crate) fn leave(
        &mut self,
        step: &mut Step<'_>,
        members: &[MemberIdentity<'_>],
    ) -> Vec<MemberResponse<'static>> {
        let mut responses = Vec::with_capacity(members.len());
        let mut left = Vec::new();
        for member in members {
            let error = match self.leave_one(step, member) {
                Ok(()) => {
                    left.push(member.member_id.as_ref());
                    ErrorCode::None
                }
                Err(error) => error,
            };
            responses.push(MemberResponse {
                member_id: Cow::Owned(member.member_id.clone().into_owned()),
                group_instance_id: reply::owned(member.group_instance_id.as_deref()),
                error_code: error.code(),
            });
        }
        if !left.is_empty() {
            let reason = format!("explicit `LeaveGroup` request for ({}) members", left.join(", "));
            match self.state {
                ClassicState::Stable | ClassicState::CompletingRebalance => {
                    self.rebalance_or_complete(step, &reason);
                }
                ClassicState::PreparingRebalance => self.maybe_complete_join(step),
                ClassicState::Empty | ClassicState::Dead => {}
            }
        }
        responses
    }

    fn leave_one(&mut self, step: &mut Step<'_>, member: &MemberIdentity<'_>) -> Result<(), ErrorCode> {
        let instance_id = member.group_instance_id.as_deref();
        let member_id = if member.member_id.is_empty() {
            let known = instance_id.and_then(|id| self.static_members.get(id));
            known.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            if !self.pending_join.contains_key(member.member_id.as_ref()) {
                self.validate_member(&member.member_id, instance_id)?;
            }
            MemberId::from(member.member_id.as_ref())
        };
        let reason = member.reason.as_deref().unwrap_or("not provided");
        step.note(&self.id, format!("member {member_id} left by request; client reason: {reason}"));
        self.remove(step, &member_id);
        Ok(())
    }
}
