//! Members of a consumer group that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup as steps of the
//! reconciliation (KIP-848, online migration).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::leave_group_response::MemberResponse;
use ottla_protocol::messages::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest};

use super::embedded;
use super::group::ConsumerGroup;
use super::heartbeat::{check_instance, not_a_member};
use super::member::ConsumerMember;
use super::record::{ClassicMetadata, MemberState, Partitions};
use super::timers::{Timed, Wait};
use super::turn::{Refusal, RegexChange, Target, Turn};
use crate::group::effect::{MemberId, RequestContext};
use crate::group::reply;

/// The first version in which a dynamic member without id is handed one and must join again.
const MEMBER_ID_REQUIRED: i16 = 4;

/// What a JoinGroup leads to.
pub(crate) enum Joined {
    /// The member must join again with this id.
    IdRequired(MemberId),
    /// It is in the group.
    Member(ConsumerMember),
    /// It is, and with it the group speaks the classic protocol only: the group becomes a classic one. The flag tells
    /// whether that group must rebalance.
    Downgrade(ConsumerMember, bool),
}

impl Turn<'_> {
    /// Handles a JoinGroup. `fresh_id` is for a member without one.
    pub(crate) fn join(
        &mut self,
        ctx: &RequestContext<'_>,
        request: &JoinGroupRequest<'_>,
        fresh_id: MemberId,
    ) -> Result<Joined, Refusal> {
        let is_unknown = request.member_id.is_empty();
        let id = if is_unknown { fresh_id } else { MemberId::from(request.member_id.as_ref()) };
        let instance = request.group_instance_id.as_deref();
        self.check_room(&id, instance)?;
        let names = request.protocols.iter().map(|protocol| protocol.name.as_ref());
        if !self.group.supports_classic(&request.protocol_type, names) {
            let text = format!("Member {id}'s protocols are not supported.");
            return Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, text));
        }
        if is_unknown && instance.is_none() && ctx.api_version >= MEMBER_ID_REQUIRED {
            return Ok(Joined::IdRequired(id));
        }
        let member = match instance {
            None => self.dynamic_member(&id, true, None)?,
            Some(instance) => self.static_member(&id, instance, is_unknown, None)?,
        };
        let existing = instance.and_then(|instance| self.group.static_member(instance));
        let is_downgrade = existing.is_some_and(|existing| self.may_downgrade_without(existing));
        let said = request.protocols.first().map_or(&[][..], |protocol| &protocol.metadata);
        let said = embedded::subscription(said).map_err(|_| {
            let text = "Malformed embedded consumer protocol in subscription deserialization.";
            Refusal::new(ErrorCode::InconsistentGroupProtocol, text)
        })?;
        let updated = joining_member(&member, ctx, request, &said);
        let names_changed = self.update_metadata(&member, &updated);
        let regex_change = self.update_regex(&member, &updated)?;
        let is_bumped = names_changed || regex_change != RegexChange::None;
        let standing = self.update_epoch(is_bumped, &member, &updated);
        let owned = said.owned(self.scene.cluster);
        if is_downgrade {
            let must_rebalance = self.group.target_epoch < standing.epoch;
            if must_rebalance {
                return Ok(Joined::Downgrade(updated, true));
            }
            let target = self.last_target(existing, &updated);
            let updated = self.reconcile(updated, &target, is_bumped, Some(&owned))?;
            return Ok(Joined::Downgrade(updated, false));
        }
        let target = self.update_target(standing, &member, &updated);
        let updated = self.reconcile(updated, &target, is_bumped, Some(&owned))?;
        self.timers.push((MemberId::clone(&updated.id), Wait::Join, Timed::Cancelled));
        self.expect_within(&updated.id, Wait::Session, request.session_timeout_ms);
        self.expect_within(&updated.id, Wait::Sync, request.rebalance_timeout_ms);
        Ok(Joined::Member(updated))
    }

    fn last_target(&self, existing: Option<&ConsumerMember>, member: &ConsumerMember) -> Target {
        let id = existing.map_or(&member.id, |existing| &existing.id);
        let partitions = self.group.target_of(id).cloned().unwrap_or_default();
        Target { epoch: self.group.target_epoch, partitions }
    }

    /// Refuses a new member when there are `group.consumer.max.size` already.
    pub(crate) fn check_room(&self, id: &str, instance: Option<&str>) -> Result<(), Refusal> {
        if instance.is_some_and(|instance| self.group.static_members.contains_key(instance)) {
            return Ok(());
        }
        let max_size = usize::try_from(self.scene.config.consumer_max_size).unwrap_or(0);
        if self.group.members.len() >= max_size && !self.group.members.contains_key(id) {
            let text = format!("The consumer group has reached its maximum capacity of {max_size} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, text));
        }
        Ok(())
    }

    fn may_downgrade_without(&self, replaced: &ConsumerMember) -> bool {
        let group = self.group;
        let config = self.scene.config;
        let max_size = usize::try_from(config.max_size).unwrap_or(0);
        !replaced.uses_classic_protocol()
            && group.classic_members == group.members.len() - 1
            && config.consumer_migration.allows_downgrade()
            && group.members.len() <= max_size
    }

    /// Whether the group speaks the classic protocol only once these members are gone, and may become a classic one.
    pub(crate) fn may_downgrade_without_all(&self, leaving: &BTreeSet<MemberId>) -> bool {
        let group = self.group;
        let config = self.scene.config;
        let leaving_members = leaving.iter().filter_map(|id| group.members.get(id));
        let leaving_classic = leaving_members.filter(|member| member.uses_classic_protocol()).count();
        let left = group.members.len() - leaving.len();
        left > 0
            && group.classic_members - leaving_classic == left
            && config.consumer_migration.allows_downgrade()
            && left <= usize::try_from(config.max_size).unwrap_or(0)
    }

    fn classic_member(&self, id: &str, instance: Option<&str>) -> Result<&ConsumerMember, Refusal> {
        let group = self.group;
        let member = match instance {
            None => group.members.get(id).ok_or_else(|| not_a_member(group, id))?,
            Some(instance) => {
                let member = group.static_member(instance).ok_or_else(|| not_a_member(group, instance))?;
                check_instance(member, id, instance)?;
                member
            }
        };
        if !member.uses_classic_protocol() {
            let text = format!("Member {id} does not use the classic protocol.");
            return Err(Refusal::new(ErrorCode::UnknownMemberId, text));
        }
        Ok(member)
    }

    fn check_generation(member: &ConsumerMember, generation: i32) -> Result<(), Refusal> {
        if member.current.epoch == generation {
            return Ok(());
        }
        let text = format!(
            "The request generation id {generation} is not equal to the member epoch {} of member {}.",
            member.current.epoch, member.id
        );
        Err(Refusal::new(ErrorCode::IllegalGeneration, text))
    }

    /// Handles a SyncGroup: the assignment of the member's epoch.
    pub(crate) fn sync(&mut self, request: &SyncGroupRequest<'_>) -> Result<Bytes, Refusal> {
        let member = self.classic_member(&request.member_id, request.group_instance_id.as_deref())?.clone();
        Self::check_generation(&member, request.generation_id)?;
        let (name, metadata) = member.classic_protocol().cloned().unwrap_or_default();
        let differs = |theirs: Option<&str>, ours: &str| theirs.is_some_and(|theirs| theirs != ours);
        if differs(request.protocol_type.as_deref(), "consumer")
            || differs(request.protocol_name.as_deref(), &name)
        {
            let text = format!("Member {} joined with another protocol.", member.id);
            return Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, text));
        }
        let must_rejoin = self.group.target_epoch > member.current.epoch
            && member.current.state != MemberState::UnrevokedPartitions;
        if must_rejoin {
            self.expect_rejoin(&member);
            let text = format!("A new rebalance is triggered and member {} should rejoin.", member.id);
            return Err(Refusal::new(ErrorCode::RebalanceInProgress, text));
        }
        let has = member.current.assigned.iter();
        let has: Partitions =
            has.map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect();
        let assignment = embedded::assignment(&has, &metadata, self.scene.cluster).map_err(|_| {
            Refusal::new(ErrorCode::UnknownServerError, "Malformed embedded consumer protocol.")
        })?;
        self.timers.push((MemberId::clone(&member.id), Wait::Sync, Timed::Cancelled));
        if let Some(timeout_ms) = member.classic_session_timeout_ms() {
            self.expect_within(&member.id, Wait::Session, timeout_ms);
        }
        Ok(assignment)
    }

    fn expect_rejoin(&mut self, member: &ConsumerMember) {
        let at_ms = self.scene.now_ms + i64::from(member.metadata.rebalance_timeout_ms);
        self.timers.push((MemberId::clone(&member.id), Wait::Join, Timed::IfAbsent { at_ms }));
    }

    /// Handles a Heartbeat: REBALANCE_IN_PROGRESS tells the member to join again.
    pub(crate) fn classic_heartbeat(&mut self, request: &HeartbeatRequest<'_>) -> Result<ErrorCode, Refusal> {
        let member = self.classic_member(&request.member_id, request.group_instance_id.as_deref())?.clone();
        Self::check_generation(&member, request.generation_id)?;
        if let Some(timeout_ms) = member.classic_session_timeout_ms() {
            self.expect_within(&member.id, Wait::Session, timeout_ms);
        }
        let must_rejoin = member.current.epoch < self.group.target_epoch
            || member.current.state == MemberState::UnrevokedPartitions
            || member.current.state == MemberState::UnreleasedPartitions
                && !self.group.waits_for_release(&member);
        if must_rejoin {
            self.expect_rejoin(&member);
            return Ok(ErrorCode::RebalanceInProgress);
        }
        Ok(ErrorCode::None)
    }
}

/// Who may leave, and what each is answered.
pub(crate) fn leaving(
    group: &ConsumerGroup,
    identities: &[MemberIdentity<'_>],
) -> (BTreeSet<MemberId>, Vec<MemberResponse<'static>>) {
    let mut ids = BTreeSet::new();
    let answer = |identity: &MemberIdentity<'_>| {
        let id = identity.member_id.as_ref();
        let found = match identity.group_instance_id.as_deref() {
            None => group.members.get(id).ok_or(ErrorCode::UnknownMemberId),
            Some(instance) => match group.static_member(instance) {
                None => Err(ErrorCode::UnknownMemberId),
                Some(member) if !id.is_empty() && member.id.as_ref() != id => {
                    Err(ErrorCode::FencedInstanceId)
                }
                Some(member) => Ok(member),
            },
        };
        let error = match found {
            Ok(member) => {
                ids.insert(MemberId::clone(&member.id));
                ErrorCode::None
            }
            Err(error) => error,
        };
        MemberResponse {
            member_id: Cow::Owned(id.to_owned()),
            group_instance_id: reply::owned(identity.group_instance_id.as_deref()),
            error_code: error.code(),
        }
    };
    let responses = identities.iter().map(answer).collect();
    (ids, responses)
}

fn joining_member(
    member: &ConsumerMember,
    ctx: &RequestContext<'_>,
    request: &JoinGroupRequest<'_>,
    said: &embedded::Subscription,
) -> ConsumerMember {
    let mut updated = member.clone();
    let metadata = &mut updated.metadata;
    let instance = request.group_instance_id.as_deref().map(Arc::<str>::from);
    metadata.instance_id = instance.or(metadata.instance_id.take());
    metadata.rack_id = said.rack_id.clone().or(metadata.rack_id.take());
    if request.rebalance_timeout_ms != -1 {
        metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    metadata.topic_names = said.topics.iter().cloned().collect();
    metadata.topic_regex = Some("".into());
    metadata.client_id = ctx.client_id.into();
    metadata.client_host = ctx.client_host.into();
    let protocols = request.protocols.iter();
    let protocols =
        protocols.map(|protocol| (protocol.name.as_ref().into(), Bytes::copy_from_slice(&protocol.metadata)));
    let session_timeout_ms = request.session_timeout_ms;
    metadata.classic = Some(ClassicMetadata { session_timeout_ms, protocols: protocols.collect() });
    updated
}
