//! The join phase: waiting for members, and the step into the next generation.

use bytes::Bytes;
use ottla_protocol::ErrorCode;

use super::group::InitialDelay;
use super::{ClassicGroup, ClassicState};
use crate::group::deadline::Fired;
use crate::group::effect::{MemberId, Step};
use crate::group::pending::Completion;
use crate::group::reply::{self, Listing};

impl ClassicGroup {
    /// Starts a rebalance if none is running, else ends it if nobody is waited for any more.
    pub(crate) fn rebalance_or_complete(&mut self, step: &mut Step<'_>, reason: &str) {
        if self.state.can_rebalance() {
            self.prepare_rebalance(step, reason);
        } else {
            self.maybe_complete_join(step);
        }
    }

    /// Asks everybody to join again. An empty group waits for `group.initial.rebalance.delay.ms` first, so that a
    /// deployment of many members starts with one generation instead of many.
    pub(crate) fn prepare_rebalance(&mut self, step: &mut Step<'_>, reason: &str) {
        if self.is(ClassicState::CompletingRebalance) {
            self.reset_assignment(step, ErrorCode::RebalanceInProgress);
        }
        self.pending_sync.clear();
        if self.sync_deadline.clear() {
            step.cancel(self.sync_key());
        }
        let initial = self.is(ClassicState::Empty);
        if initial {
            let delay_ms = step.config.initial_rebalance_delay_ms;
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.wait_initially(step, InitialDelay { delay_ms, remaining_ms });
        }
        let (before, generation) = (self.state.name(), self.generation);
        self.transition(step, ClassicState::PreparingRebalance);
        step.note(&self.id, format!("rebalances from {before} with generation {generation}: {reason}"));
        if !initial {
            self.complete_join_or_wait(step);
        }
    }

    fn complete_join_or_wait(&mut self, step: &mut Step<'_>) {
        if self.has_all_members_joined() {
            self.complete_join(step);
        } else {
            self.wait_for_members(step);
        }
    }

    fn wait_for_members(&mut self, step: &mut Step<'_>) {
        self.initial_delay = None;
        self.set_join_timer(step, self.rebalance_timeout_ms());
    }

    fn wait_initially(&mut self, step: &mut Step<'_>, delay: InitialDelay) {
        self.initial_delay = Some(delay);
        self.set_join_timer(step, delay.delay_ms);
    }

    fn set_join_timer(&mut self, step: &mut Step<'_>, delay_ms: i32) {
        if let Some(at_ms) = self.join_deadline.set(step.now_ms + i64::from(delay_ms)) {
            step.schedule(self.join_key(), at_ms);
        }
    }

    /// Ends the join phase if everybody is there. Not during the initial delay, which is for members still unknown.
    pub(crate) fn maybe_complete_join(&mut self, step: &mut Step<'_>) {
        if self.is(ClassicState::PreparingRebalance)
            && self.previous_state != ClassicState::Empty
            && self.has_all_members_joined()
        {
            self.complete_join(step);
        }
    }

    /// The timer of the join phase fired.
    pub(crate) fn on_join_timer(&mut self, step: &mut Step<'_>) {
        match self.join_deadline.fire(step.now_ms) {
            Fired::Stale => return,
            Fired::Later(at_ms) => return step.schedule(self.join_key(), at_ms),
            Fired::Due => {}
        }
        match self.initial_delay {
            Some(delay) if self.new_member_added && delay.remaining_ms != 0 => {
                self.new_member_added = false;
                let next = InitialDelay {
                    delay_ms: step.config.initial_rebalance_delay_ms.min(delay.remaining_ms),
                    remaining_ms: (delay.remaining_ms - delay.delay_ms).max(0),
                };
                self.wait_initially(step, next);
            }
            _ => self.complete_join(step),
        }
    }

    /// Ends the join phase: drops dynamic members that did not come, chooses protocol and leader, and answers everybody's
    /// JoinGroup with the new generation. If nobody is left, the empty generation is logged.
    pub(crate) fn complete_join(&mut self, step: &mut Step<'_>) {
        self.initial_delay = None;
        if self.join_deadline.clear() {
            step.cancel(self.join_key());
        }
        self.remove_absent_members(step);
        if !self.is(ClassicState::PreparingRebalance) {
            return;
        }
        if !self.elect_joined_leader(step) && !self.members.is_empty() {
            // Only static members that are away: wait until their sessions end or one returns.
            step.note(&self.id, "cannot complete the rebalance: no member joined".to_owned());
            return self.wait_for_members(step);
        }
        self.start_generation(step);
        if self.is(ClassicState::Empty) {
            step.note(&self.id, format!("is empty with generation {}", self.generation));
            step.append(vec![self.record(|_| Bytes::new())], Completion::Nothing);
        } else {
            self.announce_generation(step);
        }
    }

    fn remove_absent_members(&mut self, step: &mut Step<'_>) {
        let is_absent = |m: &&super::Member| m.awaiting_join.is_none() && !m.is_static();
        let absent: Vec<MemberId> = self.members.values().filter(is_absent).map(|m| m.id.clone()).collect();
        for member_id in &absent {
            self.remove(step, member_id);
        }
        if !absent.is_empty() {
            step.note(&self.id, format!("removed members that did not join: {}", absent.join(", ")));
        }
    }

    /// Makes sure that a member that joined leads. False when there is none.
    fn elect_joined_leader(&mut self, step: &mut Step<'_>) -> bool {
        let has_joined = |m: &&super::Member| m.awaiting_join.is_some();
        let Some(leader) = self.leader.as_ref().and_then(|id| self.members.get(id)) else { return false };
        if has_joined(&leader) {
            return true;
        }
        let Some(next) = self.members.values().find(has_joined).map(|m| m.id.clone()) else { return false };
        step.note(&self.id, format!("leader {} did not join, {next} leads now", leader.id));
        self.leader = Some(next);
        true
    }

    fn start_generation(&mut self, step: &mut Step<'_>) {
        self.generation = self.generation.wrapping_add(1);
        self.protocol = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        let next =
            if self.members.is_empty() { ClassicState::Empty } else { ClassicState::CompletingRebalance };
        self.transition(step, next);
        self.pending_sync.clear();
    }

    fn announce_generation(&mut self, step: &mut Step<'_>) {
        step.note(
            &self.id,
            format!("stabilized generation {} with {} members", self.generation, self.members.len()),
        );
        let leader = self.leader.clone();
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            if let Some(parked) = self.take_join(&member_id) {
                let listing = if self.is_leader(&member_id) { Listing::Members } else { Listing::Nobody };
                reply::join_success(step, self, parked, &member_id, leader.as_deref(), listing);
            }
            self.restart_session(step, &member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
            }
            self.pending_sync.insert(member_id);
        }
        let at_ms = step.now_ms + i64::from(self.rebalance_timeout_ms());
        if let Some(at_ms) = self.sync_deadline.set(at_ms) {
            step.schedule(self.sync_key(), at_ms);
        }
    }

    /// Forgets all assignments and fails everybody who waits for one.
    pub(crate) fn reset_assignment(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            member.assignment = Bytes::new();
            if let Some(parked) = member.awaiting_sync.take() {
                reply::sync_error(step, parked, error);
                // The session may have ended, without consequence, while the member waited.
                self.restart_session(step, &member_id);
            }
        }
    }
}
