//! Static members (KIP-345): one that restarts joins without member id and takes its old place under a new one, in most
//! cases without a rebalance.

use std::sync::Arc;

use ottla_protocol::ErrorCode;

use super::join::Join;
use super::{ClassicGroup, ClassicState, Member, Protocol};
use crate::group::deadline::Deadline;
use crate::group::effect::{GroupId, MemberId, Parked, Step};
use crate::group::pending::Completion;
use crate::group::reply::{self, Listing};

/// The first JoinGroup version that can tell a leader to keep the assignment (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

/// A static member's return to a stable group, while its new member id is being logged.
#[derive(Clone, Debug)]
pub(crate) struct StaticRejoin {
    pub(crate) group: GroupId,
    instance_id: Arc<str>,
    old_id: MemberId,
    new_id: MemberId,
    /// The group's leader by its id before the return.
    old_leader: Option<MemberId>,
    old_protocols: Vec<Protocol>,
    old_timeouts: (i32, i32),
    parked: Parked,
}

impl ClassicGroup {
    /// Puts the returning member in the place of its predecessor.
    pub(crate) fn rejoin_static(
        &mut self,
        step: &mut Step<'_>,
        join: Join<'_>,
        old_id: &MemberId,
        new_id: &MemberId,
    ) {
        let Some(instance_id) = join.instance_id().map(Arc::from) else { return };
        let old_leader = self.leader.clone();
        self.replace_static(step, &instance_id, old_id, new_id);
        let Some(member) = self.members.get(new_id) else { return };
        let old_timeouts = (member.rebalance_timeout_ms, member.session_timeout_ms);
        let old_protocols = member.protocols.clone();
        self.restart_session(step, new_id);
        let parked = join.ctx.parked();
        self.update_member(
            step,
            new_id,
            Protocol::list(&join.request.protocols),
            join.timeouts(),
            Some(parked),
        );
        match self.state {
            ClassicState::Stable if self.select_protocol() == self.protocol => {
                let record = self.record(|member| member.assignment.clone());
                let (old_id, new_id) = (old_id.clone(), new_id.clone());
                let group = self.id.clone();
                step.append(
                    vec![record],
                    Completion::StaticRejoin(StaticRejoin {
                        group,
                        instance_id,
                        old_id,
                        new_id,
                        old_leader,
                        old_protocols,
                        old_timeouts,
                        parked,
                    }),
                );
            }
            ClassicState::Stable => {
                let reason = format!(
                    "static member {new_id} with instance id {instance_id} changes the selected protocol; client \
                     reason: {}",
                    join.reason()
                );
                self.rebalance_or_complete(step, &reason);
            }
            ClassicState::CompletingRebalance => {
                // The leader may be assigning to the old id already.
                let reason = format!(
                    "updating metadata for static member {new_id} with instance id {instance_id}; client reason: {}",
                    join.reason()
                );
                self.prepare_rebalance(step, &reason);
            }
            _ => self.maybe_complete_join(step),
        }
    }

    /// Gives the member `old_id` the id `new_id`. Whoever still waits under the old one is fenced.
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        instance_id: &Arc<str>,
        old_id: &MemberId,
        new_id: &MemberId,
    ) {
        if let Some(parked) = self.take_join(old_id) {
            reply::join_error(step, parked, old_id, ErrorCode::FencedInstanceId);
        }
        let Some(mut old) = self.members.remove(old_id) else { return };
        if let Some(parked) = old.awaiting_sync.take() {
            reply::sync_error(step, parked, ErrorCode::FencedInstanceId);
        }
        if old.session.clear() {
            step.cancel(self.member_key(old_id));
        }
        let new = Member { id: new_id.clone(), session: Deadline::default(), is_new: false, ..old };
        self.members.insert(new_id.clone(), new);
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        self.static_members.insert(Arc::clone(instance_id), new_id.clone());
    }

    /// Whether the group is still as the append left it: stable, and the member waits for this very reply. If not, a
    /// rebalance has begun and will answer the member, or it was replaced once more.
    fn still_waits(&self, rejoin: &StaticRejoin) -> bool {
        let waiting = self.members.get(&rejoin.new_id).and_then(|member| member.awaiting_join);
        self.is(ClassicState::Stable) && waiting == Some(rejoin.parked)
    }

    /// The new member id is committed: the member continues in the current generation.
    pub(crate) fn static_rejoin_committed(&mut self, step: &mut Step<'_>, rejoin: &StaticRejoin) {
        if !self.still_waits(rejoin) {
            return;
        }
        let _ = self.take_join(&rejoin.new_id);
        let can_skip = rejoin.parked.api_version >= SKIP_ASSIGNMENT;
        let (leader, listing) = if !can_skip {
            // An older leader would assign again; under its old id it takes itself for a follower.
            (rejoin.old_leader.clone(), Listing::Nobody)
        } else if self.is_leader(&rejoin.new_id) {
            (self.leader.clone(), Listing::MembersAlreadyAssigned)
        } else {
            (self.leader.clone(), Listing::Nobody)
        };
        reply::join_success(step, self, rejoin.parked, &rejoin.new_id, leader.as_deref(), listing);
    }

    /// The new member id could not be logged: the old one is in force again.
    pub(crate) fn static_rejoin_failed(
        &mut self,
        step: &mut Step<'_>,
        rejoin: &StaticRejoin,
        error: ErrorCode,
    ) {
        if !self.still_waits(rejoin) {
            return;
        }
        let _ = self.take_join(&rejoin.new_id);
        self.update_member(step, &rejoin.new_id, rejoin.old_protocols.clone(), rejoin.old_timeouts, None);
        self.replace_static(step, &rejoin.instance_id, &rejoin.new_id, &rejoin.old_id);
        self.restart_session(step, &rejoin.old_id);
        reply::static_rejoin_error(step, self, rejoin.parked, rejoin.old_leader.as_deref(), error);
    }
}
