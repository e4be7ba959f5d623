//! The shard: what it holds, how it is loaded, and how appends come back to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_types::{Offset, ProducerId};

use super::GroupConfig;
use super::classic::{ClassicGroup, ClassicState};
use super::consumer::{ConsumerGroup, ConsumerRecord, ConsumerTimers, RETRY_MS, Timed, Wait};
use super::deadline::Deadline;
use super::effect::{
    Append, AppendId, Decision, Effect, GroupId, GroupResponse, MemberId, Parked, Step, TimerKey, Write,
};
use super::foreign::{ForeignGroup, GroupKind};
use super::offsets::{Offsets, StoredOffset};
use super::pending::{Completion, PendingAppend};
use super::record::{GroupMetadata, GroupRecord};
use super::topics::{ClusterView, NoTopics};
use super::{refusal, reply};

/// The coordinator of the groups whose ids belong to one partition of `__consumer_offsets`. Exists where that partition
/// has its leader.
///
/// # How the runtime drives it
/// One call at a time; no call blocks. `now_ms` is a clock of milliseconds since the epoch that does not go back.
///
/// **Loading.** [`new`](Self::new); then for each batch of the partition from its start to its end, in order:
/// [`GroupRecord::decode`] and [`replay`](Self::replay) for each record of a data batch,
/// [`replay_marker`](Self::replay_marker) for each COMMIT or ABORT of a control batch. A record that cannot be decoded
/// fails the load, an unknown type is reported and skipped. Then [`finish_load`](Self::finish_load), which starts the
/// sessions of the members found. Requests before that are answered COORDINATOR_LOAD_IN_PROGRESS.
///
/// **A request** is one call of the method named like its API, with a token that the runtime chooses. It returns a
/// [`Decision`], as does every other call:
/// 1. Carry out `effects` in order. A token is answered exactly once, maybe by a later call: a JoinGroup or SyncGroup
///    waits in the shard for other members.
/// 2. If there is an `append`, append its records to the partition's log, before any other call into the shard. Each record's
///    key and value are [`GroupRecord::encode_key`] and [`GroupRecord::encode_value`].
///    - When the local append succeeded: [`replay`](Self::replay) each record with the offset it got and, for a
///      transactional append, the producer id. Still before any other call.
///    - When it failed: [`append_failed`](Self::append_failed), and no replay. The shard goes on: nothing durable changed.
/// 3. When the high watermark has passed the last record: [`committed`](Self::committed). Appends commit in order. If that
///    takes longer than `offsets.commit.timeout.ms`: [`append_failed`](Self::append_failed) with REQUEST_TIMED_OUT. What was
///    replayed stays (it is in the log, and may well commit); only whoever waits is told. Exactly one of the two is called per
///    append, and its decision is handled like any other: a failed assignment starts a rebalance.
///
/// To gather the records of several decisions in one batch, replay them with the offsets they are going to get before the
/// next call; then a failed append leaves the shard ahead of its log: drop it (see below) and load it again.
///
/// **Timers.** [`Effect::Schedule`] and [`Effect::Cancel`] name a key; when its time has come, call
/// [`on_timer`](Self::on_timer). Late, early or stale calls do no harm. Heartbeats do not move timers: a timer that fires
/// early is set again.
///
/// **Transactions.** Markers that are appended to the partition after the load are replayed with
/// [`replay_marker`](Self::replay_marker).
///
/// **Losing the leadership.** [`unload`](Self::unload) answers everybody who waits with NOT_COORDINATOR; then drop the shard,
/// and with it what is known of its appends and timers: their names mean something to this shard only.
///
/// # What is durable
/// Offsets and the existence of groups change in `replay` only. A classic group's members and generation live in memory
/// while it rebalances, as in Kafka; a generation is logged with the leader's assignment, or when it is empty, and replaying
/// that record on a live shard only notes that the group is in the log. After a restart the last logged generation counts, and
/// members of a later one find out by UNKNOWN_MEMBER_ID or ILLEGAL_GENERATION and join again.
#[derive(Debug)]
pub struct GroupShard {
    pub(crate) config: GroupConfig,
    phase: Phase,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) offsets: Offsets,
    pub(crate) expiry: Deadline,
    /// The cluster's metadata.
    pub(crate) cluster: Arc<dyn ClusterView>,
    /// The version of the metadata in which topics were last created.
    pub(crate) topics_created_at: i64,
    pub(crate) consumer_timers: ConsumerTimers,
    /// The groups whose regular expressions are being resolved.
    pub(crate) resolving: BTreeSet<GroupId>,
    next_append: u64,
    pub(crate) pending: BTreeMap<AppendId, PendingAppend>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Unloaded,
}

/// A group of any protocol.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    /// JoinGroup and friends, or offsets without membership.
    Classic(Box<ClassicGroup>),
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer(Box<ConsumerGroup>),
    /// A protocol that this shard does not coordinate yet.
    Foreign(ForeignGroup),
}

impl Group {
    pub(crate) fn kind(&self) -> GroupKind {
        match self {
            Self::Classic(_) => GroupKind::Classic,
            Self::Consumer(_) => GroupKind::Consumer,
            Self::Foreign(group) => group.kind,
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state.name(),
            Self::Consumer(group) => group.state_name(),
            Self::Foreign(group) => group.state_name(),
        }
    }

    pub(crate) fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.protocol_type.as_deref().unwrap_or_default(),
            Self::Consumer(_) => GroupKind::Consumer.name(),
            Self::Foreign(group) => group.kind.name(),
        }
    }
}

impl GroupShard {
    /// An empty shard, to be loaded.
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            phase: Phase::Loading,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            expiry: Deadline::default(),
            cluster: Arc::new(NoTopics),
            topics_created_at: 0,
            consumer_timers: ConsumerTimers::default(),
            resolving: BTreeSet::new(),
            next_append: 0,
            pending: BTreeMap::new(),
        }
    }

    /// Applies a record that is in the log at `offset`, in a batch of `producer_id`
    /// ([`ProducerId::NONE`] unless the batch is transactional).
    pub fn replay(&mut self, offset: Offset, producer_id: ProducerId, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetCommit { group, topic, partition, value } => {
                let Some(value) = value else { return self.offsets.remove(group, topic, *partition) };
                // Offsets of a group that has no record: of consumers without membership.
                self.groups.entry(group.clone()).or_insert_with(|| {
                    let created = ClassicGroup::new(group.clone(), Some(value.commit_timestamp_ms));
                    Group::Classic(Box::new(created))
                });
                let stored = StoredOffset { record_offset: offset.value(), value: value.clone() };
                let producer = producer_id.is_some().then_some(producer_id);
                self.offsets.put(group, topic, *partition, producer, stored);
            }
            GroupRecord::GroupMetadata { group, value: None } => {
                self.groups.remove(group);
            }
            GroupRecord::GroupMetadata { group, value: Some(value) } => self.replay_generation(group, value),
            GroupRecord::Consumer(record) => self.replay_consumer(record),
            GroupRecord::Foreign { key, value } => {
                if value.is_none() {
                    if let Some(Group::Foreign(group)) = self.groups.get_mut(key.group()) {
                        group.keys.remove(key);
                        if group.keys.is_empty() {
                            self.groups.remove(key.group());
                        }
                    }
                    return;
                }
                let group = self.groups.entry(key.group().clone());
                let group = group.or_insert_with(|| Group::Foreign(ForeignGroup::new(key.kind())));
                if group.kind() != key.kind() {
                    *group = Group::Foreign(ForeignGroup::new(key.kind()));
                }
                if let Group::Foreign(group) = group {
                    group.keys.insert(key.clone());
                }
            }
        }
    }

    fn replay_consumer(&mut self, record: &ConsumerRecord) {
        if let ConsumerRecord::Epoch { group, value: None } = record {
            if matches!(self.groups.get(group), Some(Group::Consumer(_))) {
                self.groups.remove(group);
            }
            return;
        }
        let id = record.group();
        let is_live = self.phase != Phase::Loading;
        match self.groups.get_mut(id) {
            Some(Group::Consumer(group)) => return group.replay(record),
            // A group that became classic in memory: what is left of its log is tombstones.
            Some(Group::Classic(_)) if is_live => return,
            _ if record.is_tombstone() => return,
            _ => {}
        }
        // New, or in place of offsets of consumers without membership.
        let mut group = ConsumerGroup::new(GroupId::clone(id));
        group.replay(record);
        self.groups.insert(GroupId::clone(id), Group::Consumer(Box::new(group)));
    }

    fn replay_generation(&mut self, id: &GroupId, value: &GroupMetadata) {
        match self.groups.get_mut(id) {
            Some(Group::Classic(group)) if self.phase != Phase::Loading => group.logged = true,
            _ => {
                let group = ClassicGroup::from_record(id.clone(), value);
                self.groups.insert(id.clone(), Group::Classic(Box::new(group)));
            }
        }
    }

    /// Applies the marker that ends a transaction of `producer_id` in this partition.
    pub fn replay_marker(&mut self, producer_id: ProducerId, commit: bool) {
        self.offsets.end_transaction(producer_id, commit);
    }

    /// The log is replayed: members' sessions start, and requests are served from now on.
    pub fn finish_load(&mut self, now_ms: i64) -> Decision {
        self.phase = Phase::Active;
        self.topics_created_at = self.cluster.version();
        let mut step = Step::new(now_ms, &self.config);
        let max_size = usize::try_from(self.config.max_size).unwrap_or(0);
        for group in self.groups.values_mut() {
            let Group::Classic(group) = group else { continue };
            let member_ids: Vec<_> = group.members.keys().cloned().collect();
            for member_id in &member_ids {
                group.restart_session(&mut step, member_id);
            }
            if group.members.len() > max_size {
                let reason =
                    format!("loaded with {} members, above the limit {max_size}", group.members.len());
                group.prepare_rebalance(&mut step, &reason);
            }
        }
        let Step { mut effects, write, .. } = step;
        self.start_consumer_timers(now_ms, &mut effects);
        effects.extend(self.schedule_expiry(now_ms));
        self.conclude(effects, write)
    }

    /// A timer's time has come.
    pub fn on_timer(&mut self, now_ms: i64, key: &TimerKey) -> Decision {
        if self.phase != Phase::Active {
            return Decision::default();
        }
        let group_id = match key {
            TimerKey::Expiry => return self.on_expiry_timer(now_ms),
            TimerKey::Consumer { group, member, wait } => {
                return self.on_consumer_timer(now_ms, group, member, *wait);
            }
            TimerKey::Member { group, .. } | TimerKey::Join { group } | TimerKey::Sync { group } => group,
        };
        let mut step = Step::new(now_ms, &self.config);
        if let Some(Group::Classic(group)) = self.groups.get_mut(group_id) {
            match key {
                TimerKey::Member { member, .. } => group.on_member_timer(&mut step, member),
                TimerKey::Join { .. } => group.on_join_timer(&mut step),
                TimerKey::Sync { .. } => group.on_sync_timer(&mut step),
                TimerKey::Expiry | TimerKey::Consumer { .. } => {}
            }
        }
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    /// An append is committed.
    pub fn committed(&mut self, now_ms: i64, id: AppendId) -> Decision {
        let Some(pending) = self.pending.remove(&id) else { return Decision::default() };
        let mut step = Step::new(now_ms, &self.config);
        match &pending.completion {
            Completion::Nothing | Completion::Creation { .. } => {}
            Completion::Reply { parked, response } | Completion::Upgrade { parked, response, .. } => {
                step.reply(parked.token, response.clone());
            }
            Completion::Downgrade { waiting, .. } | Completion::Fence { waiting, .. } => {
                if let Some((parked, response)) = waiting {
                    step.reply(parked.token, response.clone());
                }
            }
            Completion::Assignment { group, generation, assignments, .. } => {
                if let Some(Group::Classic(group)) = self.groups.get_mut(group) {
                    group.assignment_committed(&mut step, *generation, assignments);
                }
            }
            Completion::StaticRejoin(rejoin) => {
                if let Some(Group::Classic(group)) = self.groups.get_mut(&rejoin.group) {
                    group.static_rejoin_committed(&mut step, rejoin);
                }
            }
        }
        for (parked, response) in pending.readers {
            step.reply(parked.token, response);
        }
        let Step { effects, write, .. } = step;
        self.conclude(effects, write)
    }

    /// An append was refused by the log, or did not commit in time. `error` is the log's; clients are told
    /// [`append_error`](super::append_error) of it.
    pub fn append_failed(&mut self, now_ms: i64, id: AppendId, error: ErrorCode) -> Decision {
        let Some(pending) = self.pending.remove(&id) else { return Decision::default() };
        let mut step = Step::new(now_ms, &self.config);
        let told = super::append_error(error);
        let mut restored = None;
        let mut retried: Vec<(GroupId, MemberId)> = Vec::new();
        match pending.completion {
            Completion::Nothing => {}
            Completion::Reply { parked, response } => refuse(&mut step, Some((parked, response)), error),
            Completion::Creation { group, replaced } => {
                if let Some(Group::Classic(created)) = self.groups.get_mut(&group)
                    && !created.logged
                {
                    created.discard(&mut step, told);
                    self.groups.remove(&group);
                    if let Some(replaced) = replaced {
                        self.groups.insert(group, *replaced);
                    }
                }
            }
            Completion::Upgrade { parked, response, group } => {
                refuse(&mut step, Some((parked, response)), error);
                if let Some(Group::Classic(group)) = self.groups.get_mut(&group) {
                    let member_ids: Vec<_> = group.members.keys().cloned().collect();
                    member_ids.iter().for_each(|member| group.restart_session(&mut step, member));
                }
            }
            Completion::Downgrade { group, replaced, waiting } => {
                refuse(&mut step, waiting, error);
                if let Some(Group::Classic(classic)) = self.groups.get_mut(&group)
                    && !classic.logged
                    && let Some(replaced) = replaced
                {
                    classic.discard(&mut step, told);
                    restored = Some(group.clone());
                    self.groups.insert(group, *replaced);
                }
            }
            Completion::Fence { group, members, waiting } => {
                refuse(&mut step, waiting, error);
                retried = members.into_iter().map(|member| (group.clone(), member)).collect();
            }
            Completion::Assignment { group, generation, leader, .. } => {
                if let Some(Group::Classic(group)) = self.groups.get_mut(&group) {
                    group.assignment_failed(&mut step, generation, &leader, told);
                }
            }
            Completion::StaticRejoin(rejoin) => {
                if let Some(Group::Classic(group)) = self.groups.get_mut(&rejoin.group) {
                    group.static_rejoin_failed(&mut step, &rejoin, told);
                }
            }
        }
        pending.readers.into_iter().for_each(|reader| refuse(&mut step, Some(reader), error));
        let Step { mut effects, write, .. } = step;
        if restored.is_some() {
            self.start_consumer_timers(now_ms, &mut effects);
        }
        for (group, member) in retried {
            let timed = Timed::At { at_ms: now_ms + RETRY_MS, epoch: 0 };
            self.consumer_timers.apply(&group, &member, Wait::Session, timed, &mut effects);
        }
        self.conclude(effects, write)
    }

    /// The partition's leader is elsewhere: everybody who waits is told. The shard is of no use afterwards.
    pub fn unload(&mut self) -> Vec<Effect> {
        self.phase = Phase::Unloaded;
        let mut step = Step::new(0, &self.config);
        for pending in std::mem::take(&mut self.pending).into_values() {
            let waiting = match pending.completion {
                Completion::Reply { parked, response } | Completion::Upgrade { parked, response, .. } => {
                    Some((parked, response))
                }
                Completion::Downgrade { waiting, .. } | Completion::Fence { waiting, .. } => waiting,
                _ => None,
            };
            for waiting in waiting.into_iter().chain(pending.readers) {
                refuse(&mut step, Some(waiting), ErrorCode::NotCoordinator);
            }
        }
        for group in self.groups.values_mut() {
            let Group::Classic(group) = group else { continue };
            group.discard(&mut step, ErrorCode::NotCoordinator);
            group.transition(&step, ClassicState::Dead);
        }
        if self.expiry.clear() {
            step.cancel(TimerKey::Expiry);
        }
        step.effects
    }

    /// The error for every request, while the shard loads or after it was unloaded.
    pub(crate) fn unavailable(&self) -> Option<ErrorCode> {
        match self.phase {
            Phase::Loading => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Active => None,
            Phase::Unloaded => Some(ErrorCode::NotCoordinator),
        }
    }

    pub(crate) fn conclude_effects(&self, effects: Vec<Effect>) -> Decision {
        Decision { effects, append: None }
    }

    /// Ends a step: an append is numbered and remembered.
    pub(crate) fn conclude(&mut self, effects: Vec<Effect>, write: Option<Write>) -> Decision {
        let Some(Write { records, atomic, producer, completion }) = write else {
            return self.conclude_effects(effects);
        };
        let id = AppendId(self.next_append);
        self.next_append += 1;
        let mut changes: Vec<GroupId> = Vec::new();
        for record in &records {
            if matches!(record, GroupRecord::OffsetCommit { .. } | GroupRecord::Consumer(_))
                && changes.last() != Some(record.group())
            {
                changes.push(record.group().clone());
            }
        }
        self.pending.insert(id, PendingAppend { completion, changes, readers: Vec::new() });
        Decision { effects, append: Some(Append { id, records, atomic, producer }) }
    }

    /// Ends a step that only removes what is not needed any more.
    pub(crate) fn conclude_cleanup(&mut self, effects: Vec<Effect>, records: Vec<GroupRecord>) -> Decision {
        let completion = Completion::Nothing;
        let write = Write { records, atomic: false, producer: None, completion };
        self.conclude(effects, Some(write).filter(|write| !write.records.is_empty()))
    }

    /// Ends a read of a group's offsets or of a consumer group: the answer waits for appends that change them.
    pub(crate) fn conclude_read(
        &mut self,
        group_id: &str,
        parked: Parked,
        response: GroupResponse,
    ) -> Decision {
        let changes = |pending: &PendingAppend| pending.changes.iter().any(|id| id.as_ref() == group_id);
        match self.pending.values_mut().rev().find(|pending| changes(pending)) {
            Some(pending) => {
                pending.readers.push((parked, response));
                Decision::default()
            }
            None => self.conclude_effects(vec![Effect::Reply { token: parked.token, response }]),
        }
    }

    /// Answers a JoinGroup and leaves the reason for the refusal to the caller.
    pub(crate) fn refuse_join(&self, parked: Parked, member_id: &str, error: ErrorCode) -> Decision {
        let response = reply::join_refusal(parked.api_version, member_id, error);
        self.conclude_effects(vec![Effect::Reply { token: parked.token, response }])
    }
}

/// Answers a request whose append failed.
fn refuse(step: &mut Step<'_>, waiting: Option<(Parked, GroupResponse)>, error: ErrorCode) {
    if let Some((parked, response)) = waiting {
        step.reply(parked.token, refusal::after_failed_append(response, parked.api_version, error));
    }
}
