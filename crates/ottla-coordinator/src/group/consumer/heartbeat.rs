//! ConsumerGroupHeartbeat v0-1: a member joins, tells what it reads and has, is told what to have, or leaves.
//!
//! Versions: 1 adds regular expressions, and the member chooses its own id. Errors: INVALID_REQUEST, UNSUPPORTED_ASSIGNOR,
//! GROUP_ID_NOT_FOUND, GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, UNRELEASED_INSTANCE_ID,
//! FENCED_INSTANCE_ID, INVALID_REGULAR_EXPRESSION.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::assignor::Assignor;
use super::group::ConsumerGroup;
use super::member::{AWAY, ConsumerMember, LEAVING};
use super::record::{ConsumerRecord, OwnedPartitions};
use super::timers::{Timed, Wait};
use super::turn::{Refusal, RegexChange, Turn};
use crate::group::GroupConfig;
use crate::group::effect::{MemberId, RequestContext};

/// The first version in which members choose their ids.
const CLIENT_IDS: i16 = 1;

/// Checks what can be checked without a group (`GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid`).
pub(crate) fn check(
    config: &GroupConfig,
    api_version: i16,
    request: &ConsumerGroupHeartbeatRequest<'_>,
) -> Result<(), Refusal> {
    let invalid = |text: &str| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    let is_blank = |text: &str| text.trim_matches(|c: char| c <= ' ').is_empty();
    let epoch = request.member_epoch;
    if (api_version >= CLIENT_IDS || epoch > 0 || epoch == LEAVING) && is_blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance_id.as_deref().is_some_and(is_blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack_id.as_deref().is_some_and(is_blank) {
        return invalid("RackId can't be empty.");
    }
    match epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if !request.topic_partitions.as_ref().is_some_and(Vec::is_empty) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
        AWAY if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        ..AWAY => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if let Some(name) = request.server_assignor.as_deref()
        && !config.consumer_assignors.iter().any(|known| known == name)
    {
        let known = config.consumer_assignors.join(", ");
        let text = format!("ServerAssignor {name} is not supported. Supported assignors: {known}.");
        return Err(Refusal::new(ErrorCode::UnsupportedAssignor, text));
    }
    Ok(())
}

/// What a heartbeat is answered.
pub(crate) struct Answer {
    pub(crate) member_id: MemberId,
    pub(crate) epoch: i32,
    /// What the member shall have, when it needs to be told.
    pub(crate) assignment: Option<OwnedPartitions>,
}

impl Turn<'_> {
    /// Handles a heartbeat of a member that does not leave. `member_id` is never empty.
    pub(crate) fn heartbeat(
        &mut self,
        ctx: &RequestContext<'_>,
        request: &ConsumerGroupHeartbeatRequest<'_>,
        member_id: MemberId,
    ) -> Result<Answer, Refusal> {
        let owned = request.topic_partitions.as_deref();
        let epoch = request.member_epoch;
        let member = match request.instance_id.as_deref() {
            None => self.dynamic_member(&member_id, epoch == 0, Some((epoch, owned)))?,
            Some(instance) => self.static_member(&member_id, instance, epoch == 0, Some((epoch, owned)))?,
        };
        let updated = updated_member(&member, ctx, request);
        let names_changed = self.update_metadata(&member, &updated);
        let regex_change = self.update_regex(&member, &updated)?;
        let assignor_changed = self.has_assignor_changed(&member, &updated);
        let subscription_changed = names_changed || regex_change != RegexChange::None;
        let is_bumped = names_changed || regex_change == RegexChange::Resolved || assignor_changed;
        let standing = self.update_epoch(is_bumped, &member, &updated);
        let target = self.update_target(standing, &member, &updated);
        let updated = self.reconcile(updated, &target, subscription_changed, owned)?;
        self.expect_within(&member_id, Wait::Session, self.scene.settings.session_timeout_ms);
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && owned.is_some();
        let must_know = epoch == 0 || is_full || member.current.assigned != updated.current.assigned;
        Ok(Answer {
            member_id: updated.id,
            epoch: updated.current.epoch,
            assignment: must_know.then_some(updated.current.assigned),
        })
    }

    /// Sets a timer of a member.
    pub(crate) fn expect_within(&mut self, member: &MemberId, wait: Wait, timeout_ms: i32) {
        let at_ms = self.scene.now_ms + i64::from(timeout_ms);
        self.timers.push((MemberId::clone(member), wait, Timed::At { at_ms, epoch: 0 }));
    }

    fn has_assignor_changed(&self, old: &ConsumerMember, new: &ConsumerMember) -> bool {
        let default = self.scene.config.default_assignor();
        let before = self.group.preferred_assignor().map_or(default, AsRef::as_ref);
        let after = self.group.preferred_assignor_with(Some(old), Some(new));
        before != after.as_deref().unwrap_or(default)
    }

    /// Finds a dynamic member, or begins one. `claim` is the epoch that it claims with what it says it has; members that speak
    /// the classic protocol claim none.
    pub(crate) fn dynamic_member(
        &mut self,
        id: &MemberId,
        create: bool,
        claim: Option<(i32, Option<&[TopicPartitions]>)>,
    ) -> Result<ConsumerMember, Refusal> {
        let member = match self.group.members.get(id) {
            Some(member) => member.clone(),
            None if create => ConsumerMember::new(MemberId::clone(id)),
            None => return Err(not_a_member(self.group, id)),
        };
        if let Some((epoch, owned)) = claim {
            check_epoch(&member, epoch, owned)?;
        }
        if create {
            self.notes.push(format!("member {id} joins"));
        }
        Ok(member)
    }

    /// Finds a static member, begins one, or puts it in the place of the one that it was.
    pub(crate) fn static_member(
        &mut self,
        id: &MemberId,
        instance: &str,
        create: bool,
        claim: Option<(i32, Option<&[TopicPartitions]>)>,
    ) -> Result<ConsumerMember, Refusal> {
        let group = self.group;
        let existing = group.static_member(instance);
        if !create {
            let existing = existing.ok_or_else(|| unknown_instance(instance))?;
            check_instance(existing, id, instance)?;
            if let Some((epoch, owned)) = claim {
                check_epoch(existing, epoch, owned)?;
            }
            return Ok(existing.clone());
        }
        let Some(existing) = existing else {
            self.notes.push(format!("static member {id} with instance id {instance} joins"));
            let known = group.members.get(id).cloned();
            return Ok(known.unwrap_or_else(|| ConsumerMember::new(MemberId::clone(id))));
        };
        if claim.is_some() && !existing.uses_classic_protocol() && existing.current.epoch != AWAY {
            let text = format!(
                "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by \
                 {} member.",
                existing.id
            );
            return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, text));
        }
        let reborn = existing.reborn(MemberId::clone(id));
        self.replace(existing, &reborn);
        self.notes.push(format!("static member {id} replaces {} of instance id {instance}", existing.id));
        Ok(reborn)
    }

    /// Handles the heartbeat of a member that leaves: for good, or a static one for a while. The members to be removed.
    pub(crate) fn leave(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Result<BTreeSet<MemberId>, Refusal> {
        let group = self.group;
        let id = request.member_id.as_ref();
        let Some(instance) = request.instance_id.as_deref() else {
            let (id, _) = group.members.get_key_value(id).ok_or_else(|| not_a_member(group, id))?;
            self.notes.push(format!("member {id} left"));
            return Ok(BTreeSet::from([MemberId::clone(id)]));
        };
        let member = group.static_member(instance).ok_or_else(|| unknown_instance(instance))?;
        check_instance(member, id, instance)?;
        if request.member_epoch != AWAY {
            self.notes.push(format!("static member {id} with instance id {instance} left"));
            return Ok(BTreeSet::from([MemberId::clone(&member.id)]));
        }
        self.notes.push(format!("static member {id} with instance id {instance} left for a while"));
        let mut current = member.current.clone();
        current.epoch = AWAY;
        current.pending_revocation.clear();
        current
            .assigned
            .values_mut()
            .flat_map(|partitions| partitions.values_mut())
            .for_each(|since| *since = 0);
        let record = ConsumerRecord::Current {
            group: self.group_id(),
            member: MemberId::clone(&member.id),
            value: Some(current),
        };
        self.write(record);
        Ok(BTreeSet::new())
    }
}

/// The member with what the request says about it.
fn updated_member(
    member: &ConsumerMember,
    ctx: &RequestContext<'_>,
    request: &ConsumerGroupHeartbeatRequest<'_>,
) -> ConsumerMember {
    let shared = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(Arc::<str>::from);
    let mut updated = member.clone();
    let said = &mut updated.metadata;
    said.instance_id = shared(&request.instance_id).or(said.instance_id.take());
    said.rack_id = shared(&request.rack_id).or(said.rack_id.take());
    if request.rebalance_timeout_ms != -1 {
        said.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    said.assignor = shared(&request.server_assignor).or(said.assignor.take());
    if let Some(names) = &request.subscribed_topic_names {
        said.topic_names = names.iter().map(|name| Arc::from(name.as_ref())).collect();
    }
    said.topic_regex = shared(&request.subscribed_topic_regex).or(said.topic_regex.take());
    said.client_id = ctx.client_id.into();
    said.client_host = ctx.client_host.into();
    said.classic = None;
    updated
}

pub(crate) fn not_a_member(group: &ConsumerGroup, id: &str) -> Refusal {
    let text = format!("Member {id} is not a member of group {}.", group.id);
    Refusal::new(ErrorCode::UnknownMemberId, text)
}

fn unknown_instance(instance: &str) -> Refusal {
    Refusal::new(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."))
}

pub(crate) fn check_instance(member: &ConsumerMember, id: &str, instance: &str) -> Result<(), Refusal> {
    if member.id.as_ref() == id {
        return Ok(());
    }
    let text = format!("Static member {id} with instance id {instance} was fenced by member {}.", member.id);
    Err(Refusal::new(ErrorCode::FencedInstanceId, text))
}

/// Checks that the member knows its epoch: or the one before, if it missed the answer that moved it on.
fn check_epoch(
    member: &ConsumerMember,
    epoch: i32,
    owned: Option<&[TopicPartitions]>,
) -> Result<(), Refusal> {
    let known = member.current.epoch;
    if epoch == 0 || epoch == known {
        return Ok(());
    }
    let missed = epoch < known
        && epoch == member.current.previous_epoch
        && owned.is_some_and(|owned| is_subset(owned, &member.current.assigned));
    if missed {
        return Ok(());
    }
    let comparison = if epoch > known { "greater" } else { "smaller" };
    let text = format!(
        "The consumer group member has a {comparison} member epoch ({epoch}) than the one known by the group coordinator \
         ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, text))
}

fn is_subset(owned: &[TopicPartitions], assigned: &OwnedPartitions) -> bool {
    owned.iter().all(|topic| {
        let assigned = assigned.get(&topic.topic_id);
        let has = |partition| assigned.is_some_and(|assigned| assigned.contains_key(partition));
        assigned.is_some() && topic.partitions.iter().all(has)
    })
}

impl GroupConfig {
    /// The assignor of members that prefer none: the first of `group.consumer.assignors`.
    pub(crate) fn default_assignor(&self) -> &str {
        self.consumer_assignors.first().map_or("uniform", String::as_str)
    }

    /// Whether the broker has the assignor.
    pub fn knows_assignor(name: &str) -> bool {
        Assignor::named(name).is_some()
    }
}
