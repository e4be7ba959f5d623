//! JoinGroup v0-9: a member enters, or comes back for a rebalance.
//!
//! Versions: 1 adds the rebalance timeout; 4 hands an id to a dynamic member and has it join again (KIP-394); 5 adds
//! `group.instance.id` (KIP-345); 7 the protocol type in the response; 8 a reason; 9 lets a returning static leader keep
//! its assignment (KIP-814). Errors: INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT, MEMBER_ID_REQUIRED, UNKNOWN_MEMBER_ID,
//! FENCED_INSTANCE_ID, INCONSISTENT_GROUP_PROTOCOL, GROUP_MAX_SIZE_REACHED, COORDINATOR_NOT_AVAILABLE; and those of a
//! failed append.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::JoinGroupRequest;

use super::{ClassicGroup, ClassicState, Member, Protocol};
use crate::group::deadline::Deadline;
use crate::group::effect::{MemberId, RequestContext, Step};
use crate::group::reply::{self, Listing};

/// The first version in which a dynamic member without id is handed one and must join again.
const MEMBER_ID_REQUIRED: i16 = 4;

/// The longest text that a record can hold.
const MAX_TEXT_LENGTH: usize = i16::MAX as usize;

/// A JoinGroup on its way through the rules.
#[derive(Clone, Copy)]
pub(crate) struct Join<'a> {
    pub(crate) ctx: &'a RequestContext<'a>,
    pub(crate) request: &'a JoinGroupRequest<'a>,
    /// Makes the member id of a member that has none.
    pub(crate) random: [u8; 16],
}

impl Join<'_> {
    pub(crate) fn instance_id(&self) -> Option<&str> {
        self.request.group_instance_id.as_deref()
    }

    /// Rebalance and session timeout. Version 0 has only the latter.
    pub(crate) fn timeouts(&self) -> (i32, i32) {
        let session = self.request.session_timeout_ms;
        let rebalance = if self.ctx.api_version == 0 { session } else { self.request.rebalance_timeout_ms };
        (rebalance, session)
    }

    pub(crate) fn reason(&self) -> &str {
        self.request.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("not provided")
    }

    fn refuse(&self, step: &mut Step<'_>, member_id: &str, error: ErrorCode) {
        reply::join_error(step, self.ctx.parked(), member_id, error);
    }

    /// `<client or instance id>-<random UUID>`, as Kafka makes them.
    fn new_member_id(&self) -> MemberId {
        let prefix = self.instance_id().unwrap_or(self.ctx.client_id);
        format!("{prefix}-{}", java_uuid(self.random)).into()
    }
}

/// A version 4 UUID in the form that Java prints.
fn java_uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

impl ClassicGroup {
    /// Takes the member in, updates it, or refuses it; its reply is sent or parked.
    pub(crate) fn join(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        let member_id = join.request.member_id.as_ref();
        if !self.has_room_for(step, member_id) {
            self.remove(step, member_id);
            join.refuse(step, "", ErrorCode::GroupMaxSizeReached);
        } else if member_id.is_empty() {
            self.join_without_id(step, join);
        } else {
            self.join_with_id(step, join);
        }
    }

    /// While members join, those that wait are counted, not all: so a lowered `group.max.size` drops the last to rejoin.
    fn has_room_for(&self, step: &Step<'_>, member_id: &str) -> bool {
        let max_size = usize::try_from(step.config.max_size).unwrap_or(0);
        match self.state {
            ClassicState::Empty | ClassicState::Dead => true,
            ClassicState::PreparingRebalance => {
                let waits = self.members.get(member_id).is_some_and(|m| m.awaiting_join.is_some());
                waits || self.awaiting_join < max_size
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < max_size
            }
        }
    }

    fn join_without_id(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        if self.is(ClassicState::Dead) {
            return join.refuse(step, "", ErrorCode::CoordinatorNotAvailable);
        }
        if !self.supports(&join.request.protocol_type, &join.request.protocols) {
            return join.refuse(step, "", ErrorCode::InconsistentGroupProtocol);
        }
        let new_id = join.new_member_id();
        if new_id.len() > MAX_TEXT_LENGTH {
            return join.refuse(step, "", ErrorCode::UnknownServerError);
        }
        match join.instance_id().map(|instance_id| self.static_members.get(instance_id).cloned()) {
            Some(Some(old_id)) => {
                let text = format!("static member {new_id} replaces {old_id}");
                step.note(&self.id, text);
                self.rejoin_static(step, join, &old_id, &new_id);
            }
            None if join.ctx.api_version >= MEMBER_ID_REQUIRED => self.require_member_id(step, join, new_id),
            Some(None) | None => self.add_member(step, join, new_id),
        }
    }

    fn require_member_id(&mut self, step: &mut Step<'_>, join: Join<'_>, new_id: MemberId) {
        let mut deadline = Deadline::default();
        if let Some(at_ms) = deadline.set(step.now_ms + i64::from(join.request.session_timeout_ms)) {
            step.schedule(self.member_key(&new_id), at_ms);
        }
        join.refuse(step, &new_id, ErrorCode::MemberIdRequired);
        self.pending_join.insert(new_id, deadline);
    }

    fn join_with_id(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        let request = join.request;
        let member_id = request.member_id.as_ref();
        if self.is(ClassicState::Dead) {
            return join.refuse(step, member_id, ErrorCode::CoordinatorNotAvailable);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return join.refuse(step, member_id, ErrorCode::InconsistentGroupProtocol);
        }
        if self.pending_join.contains_key(member_id) {
            if join.instance_id().is_some() {
                // Ids are only handed out to dynamic members.
                return join.refuse(step, "", ErrorCode::UnknownServerError);
            }
            return self.add_member(step, join, MemberId::from(member_id));
        }
        if let Err(error) = self.validate_member(member_id, join.instance_id()) {
            return join.refuse(step, member_id, error);
        }
        self.rejoin(step, join);
    }

    /// A member joins again. A rebalance follows if something changed or if it leads: the leader may know of changes that
    /// the group's metadata does not show, such as new partitions.
    fn rejoin(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        let member_id = join.request.member_id.as_ref();
        let same = self.members.get(member_id).is_some_and(|m| m.matches(&join.request.protocols));
        let leads = self.is_leader(member_id);
        let what = match self.state {
            ClassicState::PreparingRebalance => "joining group",
            ClassicState::CompletingRebalance if same => {
                // It missed the response: the generation stands.
                let listing = if leads { Listing::Members } else { Listing::Nobody };
                return self.reply_current_generation(step, join, listing);
            }
            ClassicState::Stable if leads => "leader re-joining group",
            ClassicState::Stable if same => {
                return self.reply_current_generation(step, join, Listing::Nobody);
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => "updating metadata",
            ClassicState::Empty | ClassicState::Dead => {
                return join.refuse(step, member_id, ErrorCode::UnknownMemberId);
            }
        };
        let reason = format!(
            "{what} of member {member_id} during {}; client reason: {}",
            self.state.name(),
            join.reason()
        );
        let protocols = Protocol::list(&join.request.protocols);
        self.update_member(step, member_id, protocols, join.timeouts(), Some(join.ctx.parked()));
        self.rebalance_or_complete(step, &reason);
    }

    fn reply_current_generation(&self, step: &mut Step<'_>, join: Join<'_>, listing: Listing) {
        let leader = self.leader.as_deref();
        reply::join_success(step, self, join.ctx.parked(), &join.request.member_id, leader, listing);
    }

    fn add_member(&mut self, step: &mut Step<'_>, join: Join<'_>, member_id: MemberId) {
        let (rebalance_timeout_ms, session_timeout_ms) = join.timeouts();
        if self.is(ClassicState::PreparingRebalance) && self.previous_state == ClassicState::Empty {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.request.protocol_type.as_ref().into());
        }
        self.insert(Member {
            id: MemberId::clone(&member_id),
            instance_id: join.instance_id().map(Arc::from),
            client_id: join.ctx.client_id.into(),
            client_host: join.ctx.client_host.into(),
            rebalance_timeout_ms,
            session_timeout_ms,
            protocols: Protocol::list(&join.request.protocols),
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: Some(join.ctx.parked()),
            awaiting_sync: None,
            session: Deadline::default(),
        });
        // It cannot send heartbeats while its JoinGroup is parked, and we cannot see that it disconnects; without a limit,
        // clients that time out and retry would fill the group with members that are gone.
        self.expect_member_within(step, &member_id, step.config.new_member_join_timeout_ms);
        let reason = format!(
            "adding new member {member_id} with group instance id {}; client reason: {}",
            join.instance_id().unwrap_or("null"),
            join.reason()
        );
        self.rebalance_or_complete(step, &reason);
    }
}

#[cfg(test)]
mod tests {
    use super::java_uuid;

    #[test]
    fn random_bytes_print_as_a_java_uuid() {
        assert_eq!(java_uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(java_uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
