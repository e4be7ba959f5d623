//! SyncGroup v0-5: the leader hands in the assignment, everybody gets theirs.
//!
//! Versions: 3 adds `group.instance.id`; 5 adds protocol type and name, which it requires. Errors: INVALID_GROUP_ID,
//! UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS,
//! COORDINATOR_NOT_AVAILABLE; and those of a failed append, which make the group rebalance.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::SyncGroupRequest;

use super::{ClassicGroup, ClassicState};
use crate::group::deadline::Fired;
use crate::group::effect::{MemberId, Parked, Step};
use crate::group::pending::Completion;
use crate::group::reply;

impl ClassicGroup {
    /// Parks the request until the leader's assignment is committed, or answers from the current one.
    pub(crate) fn sync(&mut self, step: &mut Step<'_>, parked: Parked, request: &SyncGroupRequest<'_>) {
        if let Err(error) = self.validate_sync(request) {
            return reply::sync_error(step, parked, error);
        }
        let member_id = request.member_id.as_ref();
        match self.state {
            ClassicState::PreparingRebalance => {
                reply::sync_error(step, parked, ErrorCode::RebalanceInProgress);
            }
            ClassicState::CompletingRebalance => {
                let member = self.members.get_mut(member_id).expect("validated to be a member");
                if let Some(replaced) = member.awaiting_sync.replace(parked) {
                    // The client gave the earlier request up; Kafka lets it dangle until the connection closes.
                    reply::sync_error(step, replaced, ErrorCode::RebalanceInProgress);
                }
                self.received_sync(step, member_id);
                if self.is_leader(member_id) && self.assigning != Some(self.generation) {
                    self.assigning = Some(self.generation);
                    self.log_assignment(step, request);
                }
            }
            ClassicState::Stable => {
                self.received_sync(step, member_id);
                let assignment =
                    self.members.get(member_id).map(|m| m.assignment.clone()).unwrap_or_default();
                reply::sync_success(step, self, parked, &assignment);
            }
            ClassicState::Empty | ClassicState::Dead => {
                reply::sync_error(step, parked, ErrorCode::UnknownMemberId);
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest<'_>) -> Result<(), ErrorCode> {
        if self.is(ClassicState::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs =
            |theirs: Option<&str>, ours: Option<&str>| theirs.is_some() && ours.is_some() && theirs != ours;
        if differs(request.protocol_type.as_deref(), self.protocol_type.as_deref())
            || differs(request.protocol_name.as_deref(), self.protocol.as_deref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn received_sync(&mut self, step: &mut Step<'_>, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() && self.sync_deadline.clear() {
            step.cancel(self.sync_key());
        }
    }

    fn log_assignment(&self, step: &mut Step<'_>, request: &SyncGroupRequest<'_>) {
        let given: BTreeMap<&str, &[u8]> =
            request.assignments.iter().map(|a| (a.member_id.as_ref(), a.assignment.as_ref())).collect();
        let assignments: BTreeMap<MemberId, Bytes> = self
            .members
            .keys()
            .map(|id| {
                let assignment = given.get(id.as_ref()).copied().unwrap_or_default();
                (MemberId::clone(id), Bytes::copy_from_slice(assignment))
            })
            .collect();
        step.note(&self.id, format!("assignment received from leader for generation {}", self.generation));
        let record = self.record(|member| assignments.get(&member.id).cloned().unwrap_or_default());
        let completion = Completion::Assignment {
            group: self.id.clone(),
            generation: self.generation,
            leader: MemberId::from(request.member_id.as_ref()),
            assignments,
        };
        step.append(vec![record], completion);
    }

    /// The assignment of a generation is committed: hand it out, unless the group has moved on.
    pub(crate) fn assignment_committed(
        &mut self,
        step: &mut Step<'_>,
        generation: i32,
        assignments: &BTreeMap<MemberId, Bytes>,
    ) {
        self.assigning.take_if(|assigning| *assigning == generation);
        if !self.is(ClassicState::CompletingRebalance) || self.generation != generation {
            return;
        }
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            member.assignment = assignments.get(&member_id).cloned().unwrap_or_default();
            let assignment = member.assignment.clone();
            if let Some(parked) = member.awaiting_sync.take() {
                reply::sync_success(step, self, parked, &assignment);
                // The session may have ended, without consequence, while the member waited.
                self.restart_session(step, &member_id);
            }
        }
        self.transition(step, ClassicState::Stable);
    }

    /// The assignment of a generation could not be logged: everybody starts over, unless the group has moved on.
    pub(crate) fn assignment_failed(
        &mut self,
        step: &mut Step<'_>,
        generation: i32,
        leader: &MemberId,
        error: ErrorCode,
    ) {
        self.assigning.take_if(|assigning| *assigning == generation);
        if !self.is(ClassicState::CompletingRebalance) || self.generation != generation {
            return;
        }
        self.reset_assignment(step, error);
        let reason =
            format!("error {error:?} when storing group assignment during SyncGroup (member: {leader})");
        self.rebalance_or_complete(step, &reason);
    }

    /// The timer of the sync phase fired: members that did not send SyncGroup are removed.
    pub(crate) fn on_sync_timer(&mut self, step: &mut Step<'_>) {
        match self.sync_deadline.fire(step.now_ms) {
            Fired::Stale => return,
            Fired::Later(at_ms) => return step.schedule(self.sync_key(), at_ms),
            Fired::Due => {}
        }
        let syncing = matches!(self.state, ClassicState::CompletingRebalance | ClassicState::Stable);
        if !syncing || self.pending_sync.is_empty() {
            return;
        }
        let late: Vec<MemberId> = std::mem::take(&mut self.pending_sync).into_iter().collect();
        for member_id in &late {
            self.remove(step, member_id);
        }
        let reason = format!("removing {} on pending sync request expiration", late.join(", "));
        self.prepare_rebalance(step, &reason);
    }
}
