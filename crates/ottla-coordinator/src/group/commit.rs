//! OffsetCommit v2-10, TxnOffsetCommit v0-6, OffsetDelete v0, and the removal of a deleted topic's offsets.
//!
//! The caller has checked authorization and that topics and partitions exist, has resolved topic ids and names both ways,
//! and adds what it refused to the response.
//!
//! OffsetCommit versions: 2-4 may carry a retention time; 6 adds the leader epoch; 7 `group.instance.id`; 9 answers an
//! unknown group with GROUP_ID_NOT_FOUND instead of ILLEGAL_GENERATION, as does TxnOffsetCommit 6; 10 names topics by id. Errors of all partitions:
//! UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, GROUP_ID_NOT_FOUND,
//! COORDINATOR_NOT_AVAILABLE; of members of consumer groups also STALE_MEMBER_EPOCH and, before v9, UNSUPPORTED_VERSION; of one:
//! OFFSET_METADATA_TOO_LARGE.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use ottla_types::{ProducerEpoch, ProducerId, TopicName, Uuid};

use super::classic::ClassicState;
use super::effect::{Decision, GroupId, GroupResponse, RequestContext, Step, Write};
use super::record::{GroupRecord, OffsetValue};
use super::refusal;
use super::shard::{Group, GroupShard};

/// The first OffsetCommit version that answers an unknown group with GROUP_ID_NOT_FOUND.
const COMMIT_GROUP_ID_NOT_FOUND: i16 = 9;
/// The first such TxnOffsetCommit version.
const TXN_COMMIT_GROUP_ID_NOT_FOUND: i16 = 6;
/// The first TxnOffsetCommit version that knows STALE_MEMBER_EPOCH.
const TXN_COMMIT_STALE_MEMBER_EPOCH: i16 = 6;

/// Who commits, as the request says.
struct Committer<'a> {
    group_id: &'a str,
    member_id: &'a str,
    instance_id: Option<&'a str>,
    generation: i32,
    transactional: bool,
    api_version: i16,
}

/// A partition's offset in an OffsetCommit or TxnOffsetCommit.
struct Commit<'a> {
    topic: &'a TopicName,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: &'a str,
}

impl GroupShard {
    /// Handles OffsetCommit. Topics carry both name and id (zero if it has none).
    pub fn offset_commit(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        request: &OffsetCommitRequest<'_>,
    ) -> Decision {
        let mut step = Step::new(now_ms, &self.config);
        if let Some(error) = self.unavailable() {
            step.reply(ctx.token, refusal::offset_commit(request, error));
            return self.conclude_effects(step.effects);
        }
        let committer = Committer {
            group_id: &request.group_id,
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
            transactional: false,
            api_version: ctx.api_version,
        };
        let missing = missing_group(ctx.api_version >= COMMIT_GROUP_ID_NOT_FOUND);
        let places = request.topics.iter().flat_map(|topic| {
            let id = (topic.topic_id, topic.name.as_ref());
            topic.partitions.iter().map(move |p| (id, p.partition_index, p.committed_metadata.as_deref()))
        });
        let valid = validate(&self.groups, &committer, missing)
            .and_then(|()| self.validate_places(&committer, places));
        if let Err(error) = valid {
            step.reply(ctx.token, refusal::offset_commit(request, error));
            return self.conclude_effects(step.effects);
        }
        // Committing keeps a session alive, as a heartbeat does.
        if let Some(Group::Classic(group)) = self.groups.get_mut(request.group_id.as_ref())
            && matches!(group.state, ClassicState::Stable | ClassicState::PreparingRebalance)
        {
            group.restart_session(&mut step, &request.member_id);
        }
        let group = GroupId::from(request.group_id.as_ref());
        let expire_at_ms =
            (request.retention_time_ms != -1).then(|| now_ms.saturating_add(request.retention_time_ms));
        let mut records = Vec::new();
        let topics =
            request.topics.iter().map(|t| commit_topic(&step, &group, t, expire_at_ms, &mut records));
        let response = OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() };
        let response = GroupResponse::OffsetCommit(response);
        step.reply_after(records, ctx, response);
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    /// Handles TxnOffsetCommit. The caller has made sure that the transaction is open and includes this partition of
    /// `__consumer_offsets`; the append is transactional.
    pub fn txn_offset_commit(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        request: &TxnOffsetCommitRequest<'_>,
    ) -> Decision {
        let mut step = Step::new(now_ms, &self.config);
        let committer = Committer {
            group_id: &request.group_id,
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
            transactional: true,
            api_version: ctx.api_version,
        };
        let missing = missing_group(ctx.api_version >= TXN_COMMIT_GROUP_ID_NOT_FOUND);
        let refused =
            if request.group_id.is_empty() { Some(ErrorCode::InvalidGroupId) } else { self.unavailable() }
                .or_else(|| validate(&self.groups, &committer, missing).err())
                .or_else(|| {
                    let places = request.topics.iter().flat_map(|topic| {
                        let id = (topic.topic_id, topic.name.as_ref());
                        topic
                            .partitions
                            .iter()
                            .map(move |p| (id, p.partition_index, p.committed_metadata.as_deref()))
                    });
                    self.validate_places(&committer, places).err()
                })
                .map(|error| match error {
                    ErrorCode::StaleMemberEpoch if ctx.api_version < TXN_COMMIT_STALE_MEMBER_EPOCH => {
                        ErrorCode::IllegalGeneration
                    }
                    other => other,
                });
        if let Some(error) = refused {
            step.reply(ctx.token, refusal::txn_offset_commit(request, error));
            return self.conclude_effects(step.effects);
        }
        let group = GroupId::from(request.group_id.as_ref());
        let mut records = Vec::new();
        let topics = request.topics.iter().map(|topic| {
            let name = TopicName::new(&topic.name);
            let partitions = topic.partitions.iter().map(|partition| {
                let commit = Commit {
                    topic: &name,
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.as_deref().unwrap_or(""),
                };
                let error_code =
                    commit_partition(&step, &group, &commit, topic.topic_id, None, &mut records).code();
                TxnOffsetCommitResponsePartition { partition_index: partition.partition_index, error_code }
            });
            TxnOffsetCommitResponseTopic {
                name: Cow::Owned(topic.name.clone().into_owned()),
                topic_id: topic.topic_id,
                partitions: partitions.collect(),
            }
        });
        let response =
            TxnOffsetCommitResponse { topics: topics.collect(), ..TxnOffsetCommitResponse::default() };
        let response = GroupResponse::TxnOffsetCommit(response);
        step.reply_after(records, ctx, response);
        let producer = Some((ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch)));
        let Step { effects, write, .. } = step;
        self.conclude(effects, write.map(|write| Write { producer, ..write }))
    }

    /// Handles OffsetDelete: offsets of topics that the group is not subscribed to.
    ///
    /// Errors: INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP (other protocols than the consumer's);
    /// GROUP_SUBSCRIBED_TO_TOPIC per partition.
    pub fn offset_delete(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        request: &OffsetDeleteRequest<'_>,
    ) -> Decision {
        let mut step = Step::new(now_ms, &self.config);
        let refused =
            if request.group_id.is_empty() { Some(ErrorCode::InvalidGroupId) } else { self.unavailable() }
                .or_else(|| self.validate_offset_delete(&request.group_id).err());
        if let Some(error) = refused {
            step.reply(ctx.token, refusal::offset_delete(error));
            return self.conclude_effects(step.effects);
        }
        let group = GroupId::from(request.group_id.as_ref());
        let mut records = Vec::new();
        let topics = request.topics.iter().map(|topic| {
            let name = TopicName::new(&topic.name);
            let subscribed = self.is_subscribed_to(&group, &name);
            let partitions = topic.partitions.iter().map(|partition| {
                let partition = partition.partition_index;
                let known = self.offsets.get(&group, &name, partition).is_some()
                    || self.offsets.is_open(&group, &name, partition);
                if !subscribed && known {
                    records.push(tombstone(&group, &name, partition));
                }
                let error = if subscribed { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
                OffsetDeleteResponsePartition { partition_index: partition, error_code: error.code() }
            });
            OffsetDeleteResponseTopic {
                name: Cow::Owned(topic.name.clone().into_owned()),
                partitions: partitions.collect(),
            }
        });
        let response = OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() };
        let response = GroupResponse::OffsetDelete(response);
        step.reply_after(records, ctx, response);
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    fn validate_offset_delete(&self, group_id: &str) -> Result<(), ErrorCode> {
        match self.groups.get(group_id) {
            None => Err(ErrorCode::GroupIdNotFound),
            Some(Group::Consumer(_) | Group::Foreign(_)) => Ok(()),
            Some(Group::Classic(group)) => match group.state {
                ClassicState::Dead => Err(ErrorCode::GroupIdNotFound),
                ClassicState::Empty => Ok(()),
                _ if group.uses_consumer_protocol() => Ok(()),
                _ => Err(ErrorCode::NonEmptyGroup),
            },
        }
    }

    /// A foreign group with members may be subscribed to anything.
    fn is_subscribed_to(&self, group_id: &str, topic: &str) -> bool {
        match self.groups.get(group_id) {
            None => false,
            Some(Group::Classic(group)) => group.is_subscribed_to(topic),
            Some(Group::Consumer(group)) => group.is_subscribed_to(topic),
            Some(Group::Foreign(group)) => !group.is_empty(),
        }
    }

    /// Checks that a member that missed its newest epoch had these partitions in the one that it knows (KIP-1251).
    fn validate_places<'p>(
        &self,
        committer: &Committer<'_>,
        places: impl Iterator<Item = ((Uuid, &'p str), i32, Option<&'p str>)>,
    ) -> Result<(), ErrorCode> {
        let Some(Group::Consumer(group)) = self.groups.get(committer.group_id) else { return Ok(()) };
        let limit = usize::try_from(self.config.offset_metadata_max_bytes).unwrap_or(0);
        for ((id, name), partition, metadata) in places {
            if is_too_long(metadata.unwrap_or(""), limit) {
                continue;
            }
            let id = if id.is_zero() { self.cluster.by_name(name).map_or(id, |topic| topic.id) } else { id };
            group.validate_place(committer.member_id, committer.generation, id, partition)?;
        }
        Ok(())
    }

    /// Removes the offsets of deleted topics, given by name and id. An offset of another id under the same name belongs to
    /// a topic that was created later and stays.
    pub fn topics_deleted(&mut self, topics: &[(TopicName, Uuid)]) -> Decision {
        if self.unavailable().is_some() {
            return Decision::default();
        }
        let is_gone = |topic: &TopicName, id: Uuid| {
            topics.iter().any(|(name, deleted_id)| name == topic && (id.is_zero() || id == *deleted_id))
        };
        let gone: BTreeSet<(&GroupId, &TopicName, i32)> = self
            .offsets
            .all()
            .filter(|(_, topic, _, stored)| is_gone(topic, stored.value.topic_id))
            .map(|(group, topic, partition, _)| (group, topic, partition))
            .collect();
        let records: Vec<GroupRecord> = gone.into_iter().map(|(g, t, p)| tombstone(g, t, p)).collect();
        self.conclude_cleanup(Vec::new(), records)
    }
}

/// What a member of a group that does not exist is told; older clients know no better error.
fn missing_group(has_own_error: bool) -> ErrorCode {
    if has_own_error { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration }
}

fn validate(
    groups: &BTreeMap<GroupId, Group>,
    committer: &Committer<'_>,
    missing: ErrorCode,
) -> Result<(), ErrorCode> {
    let standalone = committer.generation < 0;
    let group = match groups.get(committer.group_id) {
        None if standalone => return Ok(()),
        None => return Err(missing),
        Some(Group::Foreign(group)) if standalone && group.is_empty() => return Ok(()),
        Some(Group::Foreign(_)) => return Err(ErrorCode::UnknownMemberId),
        Some(Group::Consumer(group)) => {
            let who = (committer.member_id, committer.instance_id);
            return group.validate_commit(
                who,
                committer.generation,
                committer.transactional,
                committer.api_version,
            );
        }
        Some(Group::Classic(group)) => group,
    };
    if group.is(ClassicState::Dead) {
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    if standalone && group.is(ClassicState::Empty) {
        return Ok(());
    }
    if !standalone || !committer.member_id.is_empty() || committer.instance_id.is_some() {
        group.validate_member(committer.member_id, committer.instance_id)?;
        if committer.generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
    } else if !committer.transactional {
        return Err(ErrorCode::UnknownMemberId);
    }
    if !committer.transactional && group.is(ClassicState::CompletingRebalance) {
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

fn commit_topic(
    step: &Step<'_>,
    group: &GroupId,
    topic: &OffsetCommitRequestTopic<'_>,
    expire_at_ms: Option<i64>,
    records: &mut Vec<GroupRecord>,
) -> OffsetCommitResponseTopic<'static> {
    let name = TopicName::new(&topic.name);
    let partitions = topic.partitions.iter().map(|partition| {
        let commit = Commit {
            topic: &name,
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.as_deref().unwrap_or(""),
        };
        let error_code = commit_partition(step, group, &commit, topic.topic_id, expire_at_ms, records).code();
        OffsetCommitResponsePartition { partition_index: partition.partition_index, error_code }
    });
    OffsetCommitResponseTopic {
        partitions: partitions.collect(),
        name: Cow::Owned(topic.name.clone().into_owned()),
        topic_id: topic.topic_id,
    }
}

fn commit_partition(
    step: &Step<'_>,
    group: &GroupId,
    commit: &Commit<'_>,
    topic_id: Uuid,
    expire_at_ms: Option<i64>,
    records: &mut Vec<GroupRecord>,
) -> ErrorCode {
    let limit = usize::try_from(step.config.offset_metadata_max_bytes).unwrap_or(0);
    if is_too_long(commit.metadata, limit) {
        return ErrorCode::OffsetMetadataTooLarge;
    }
    // The value version with an expire timestamp has neither leader epoch nor topic id.
    let plain = expire_at_ms.is_none();
    records.push(GroupRecord::OffsetCommit {
        group: group.clone(),
        topic: commit.topic.clone(),
        partition: commit.partition,
        value: Some(OffsetValue {
            offset: commit.offset,
            leader_epoch: if plain { commit.leader_epoch } else { -1 },
            metadata: commit.metadata.into(),
            commit_timestamp_ms: step.now_ms,
            expire_timestamp_ms: expire_at_ms,
            topic_id: if plain { topic_id } else { Uuid::ZERO },
        }),
    });
    ErrorCode::None
}

fn is_too_long(metadata: &str, limit: usize) -> bool {
    metadata.len() > limit && metadata.encode_utf16().count() > limit
}

pub(crate) fn tombstone(group: &GroupId, topic: &TopicName, partition: i32) -> GroupRecord {
    GroupRecord::OffsetCommit { group: group.clone(), topic: topic.clone(), partition, value: None }
}
