//! The shard's part in the requests that reach consumer groups: finding or creating the group, carrying out what a turn
//! leads to, timers, changes of the metadata.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use ottla_protocol::messages::{
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use ottla_types::Uuid;

use super::group::{ConsumerGroup, hash_of};
use super::heartbeat::{self, Answer};
use super::member::{AWAY, LEAVING};
use super::record::{ConsumerRecord, ResolvedRegex};
use super::timers::{Timed, Wait};
use super::turn::{Refusal, Scene, Turn};
use super::{describe, migrate};
use crate::group::classic::{ClassicGroup, ClassicState};
use crate::group::effect::{
    Decision, Effect, GroupId, GroupResponse, MemberId, Parked, RequestContext, Step, TimerKey, Write,
};
use crate::group::pending::Completion;
use crate::group::record::GroupRecord;
use crate::group::shard::{Group, GroupShard};
use crate::group::topics::ClusterView;

/// When a removal that could not be logged is tried again.
pub(crate) const RETRY_MS: i64 = 500;

/// What a turn leads to, free of the group that it looked at.
pub(super) struct Outcome {
    records: Vec<GroupRecord>,
    resolve: Option<BTreeSet<Arc<str>>>,
    refresh: Option<(i64, i32)>,
    timers: Vec<(MemberId, Wait, Timed)>,
    notes: Vec<String>,
}

impl Turn<'_> {
    pub(super) fn finish(self) -> Outcome {
        let Self { records, resolve, refresh, timers, notes, .. } = self;
        Outcome { records, resolve, refresh, timers, notes }
    }
}

/// A group that a heartbeat may join.
enum Found {
    /// There is one.
    Consumer,
    /// A new one, maybe in place of an empty classic one.
    New { replaces: bool },
    /// What a classic group becomes.
    Upgraded(Vec<ConsumerRecord>, Box<ConsumerGroup>),
    /// A classic group that cannot become one, which shows only once its waiting members were sent away.
    Malformed(Refusal),
}

impl GroupShard {
    /// The shard with a view of the cluster. What it shows may change between calls; after a change comes
    /// [`cluster_changed`](Self::cluster_changed).
    #[must_use]
    pub fn with_cluster(mut self, cluster: Arc<dyn ClusterView>) -> Self {
        self.cluster = cluster;
        self
    }

    /// The cluster's metadata changed. Groups that read one of the changed topics look at them anew with their next heartbeat;
    /// new topics may match regular expressions.
    pub fn cluster_changed(&mut self, changed_topics: &[Arc<str>], has_new_topics: bool) {
        if has_new_topics {
            self.topics_created_at = self.cluster.version();
        }
        for group in self.groups.values_mut() {
            if let Group::Consumer(group) = group
                && changed_topics.iter().any(|topic| group.is_subscribed_to(topic))
            {
                group.refresh = (0, 0);
            }
        }
    }

    pub(super) fn scene(&self, now_ms: i64, group: &str) -> Scene<'_> {
        Scene {
            now_ms,
            config: &self.config,
            cluster: self.cluster.as_ref(),
            settings: self.cluster.consumer_settings(group),
            topics_created_at: self.topics_created_at,
            is_resolving: self.resolving.contains(group),
        }
    }

    /// Handles ConsumerGroupHeartbeat. `random` makes the id of a member that joins without one.
    pub fn consumer_group_heartbeat(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        random: [u8; 16],
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Decision {
        if let Err(refusal) = heartbeat::check(&self.config, ctx.api_version, request) {
            return self.refuse_heartbeat(ctx, &refusal);
        }
        if let Some(error) = self.unavailable() {
            let response = crate::group::refusal::consumer_group_heartbeat(error, None);
            return self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }]);
        }
        let id = GroupId::from(request.group_id.as_ref());
        let decided = if matches!(request.member_epoch, LEAVING | AWAY) {
            self.leave_consumer_group(now_ms, ctx, &id, request)
        } else {
            self.join_or_beat(now_ms, ctx, &id, random, request)
        };
        decided.unwrap_or_else(|refusal| self.refuse_heartbeat(ctx, &refusal))
    }

    fn refuse_heartbeat(&self, ctx: &RequestContext<'_>, refusal: &Refusal) -> Decision {
        let text = Some(refusal.text.clone()).filter(|_| refusal.error != ErrorCode::UnknownServerError);
        let response = crate::group::refusal::consumer_group_heartbeat(refusal.error, text);
        self.conclude_effects(vec![Effect::Reply { token: ctx.token, response }])
    }

    fn find_or_create(&self, id: &GroupId, create: bool) -> Result<Found, Refusal> {
        let refuse = |text: String| Err(Refusal::new(ErrorCode::GroupIdNotFound, text));
        match self.groups.get(id) {
            None if create => Ok(Found::New { replaces: false }),
            None => refuse(format!("Consumer group {id} not found.")),
            Some(Group::Consumer(_)) => Ok(Found::Consumer),
            Some(Group::Classic(classic)) if create && classic.is(ClassicState::Empty) => {
                Ok(Found::New { replaces: true })
            }
            Some(Group::Classic(classic)) if create => {
                migrate::check_upgrade(classic, &self.config)?;
                Ok(match migrate::upgraded(classic, self.cluster.as_ref()) {
                    Ok((records, group)) => Found::Upgraded(records, Box::new(group)),
                    Err(refusal) => Found::Malformed(refusal),
                })
            }
            Some(_) => refuse(format!("Group {id} is not a consumer group.")),
        }
    }

    fn join_or_beat(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        id: &GroupId,
        random: [u8; 16],
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Result<Decision, Refusal> {
        let found = self.find_or_create(id, request.member_epoch == 0)?;
        let (mut prelude, fresh, is_upgrade) = match found {
            Found::Consumer => (Vec::new(), None, false),
            Found::New { replaces } => {
                let gone = GroupRecord::GroupMetadata { group: GroupId::clone(id), value: None };
                let records = if replaces { vec![gone] } else { Vec::new() };
                (records, Some(Box::new(ConsumerGroup::new(GroupId::clone(id)))), false)
            }
            Found::Upgraded(records, group) => {
                let gone = GroupRecord::GroupMetadata { group: GroupId::clone(id), value: None };
                let records = records.into_iter().map(GroupRecord::Consumer);
                (std::iter::once(gone).chain(records).collect(), Some(group), true)
            }
            Found::Malformed(refusal) => {
                let mut step = Step::new(now_ms, &self.config);
                if let Some(Group::Classic(classic)) = self.groups.get_mut(id) {
                    classic.wake(&mut step, ErrorCode::RebalanceInProgress);
                }
                let woken = step.effects;
                let mut decision = self.refuse_heartbeat(ctx, &refusal);
                decision.effects.extend(woken);
                return Ok(decision);
            }
        };
        let group = match (&fresh, self.groups.get(id)) {
            (Some(fresh), _) => fresh.as_ref(),
            (None, Some(Group::Consumer(group))) => group.as_ref(),
            (None, _) => return Err(Refusal::new(ErrorCode::GroupIdNotFound, "no such group")),
        };
        let mut turn = Turn::new(self.scene(now_ms, id), group);
        turn.records.append(&mut prelude);
        turn.check_room(&request.member_id, request.instance_id.as_deref())?;
        let member_id = match request.member_id.as_ref() {
            "" => fresh_member_id(random),
            given => MemberId::from(given),
        };
        let answer = turn.heartbeat(ctx, request, member_id)?;
        if is_upgrade {
            let sessions = group.members.values().filter(|member| member.id != answer.member_id);
            for member in sessions {
                let timeout_ms = member.classic_session_timeout_ms().unwrap_or(0);
                turn.expect_within(&member.id, Wait::Session, timeout_ms);
            }
        }
        let interval_ms = turn.scene.settings.heartbeat_interval_ms;
        let mut outcome = turn.finish();
        let response = heartbeat_response(answer, interval_ms);
        let mut effects = Vec::new();
        if let (Some(_), Some(Group::Classic(classic))) = (&fresh, self.groups.get_mut(id)) {
            let mut step = Step::new(now_ms, &self.config);
            classic.discard(&mut step, ErrorCode::RebalanceInProgress);
            effects = step.effects;
            outcome.notes.insert(0, "the classic group becomes a consumer group".to_owned());
        }
        let completion = if is_upgrade {
            Completion::Upgrade {
                parked: ctx.parked(),
                response: response.clone(),
                group: GroupId::clone(id),
            }
        } else {
            Completion::Reply { parked: ctx.parked(), response: response.clone() }
        };
        Ok(self.settle(effects, id, outcome, ctx.parked(), response, completion))
    }

    /// Carries out what a turn led to: its reply waits for its records, or for those of the group that are under way.
    pub(super) fn settle(
        &mut self,
        effects: Vec<Effect>,
        id: &GroupId,
        outcome: Outcome,
        parked: Parked,
        response: GroupResponse,
        completion: Completion,
    ) -> Decision {
        let (effects, records) = self.apply(effects, id, outcome);
        if records.is_empty() {
            let mut decision = self.conclude_read(id, parked, response);
            decision.effects.splice(0..0, effects);
            return decision;
        }
        self.conclude(effects, Some(Write { records, atomic: true, producer: None, completion }))
    }

    /// Changes what is not in the log: timers, the group's refresh, what is being resolved.
    fn apply(
        &mut self,
        mut effects: Vec<Effect>,
        id: &GroupId,
        outcome: Outcome,
    ) -> (Vec<Effect>, Vec<GroupRecord>) {
        let group = || GroupId::clone(id);
        effects.extend(outcome.notes.into_iter().map(|text| Effect::Note { group: group(), text }));
        for (member, wait, timed) in outcome.timers {
            self.consumer_timers.apply(id, &member, wait, timed, &mut effects);
        }
        if let (Some(refresh), Some(Group::Consumer(known))) = (outcome.refresh, self.groups.get_mut(id)) {
            known.refresh = refresh;
        }
        if let Some(regexes) = outcome.resolve {
            self.resolving.insert(group());
            effects.push(Effect::ResolveRegexes { group: group(), regexes });
        }
        (effects, outcome.records)
    }

    pub(super) fn consumer_group(&self, id: &str) -> Result<&ConsumerGroup, Refusal> {
        match self.groups.get(id) {
            Some(Group::Consumer(group)) => Ok(group),
            Some(_) => {
                let text = format!("Group {id} is not a consumer group.");
                Err(Refusal::new(ErrorCode::GroupIdNotFound, text))
            }
            None => Err(Refusal::new(ErrorCode::GroupIdNotFound, format!("Group {id} not found."))),
        }
    }

    fn leave_consumer_group(
        &mut self,
        now_ms: i64,
        ctx: &RequestContext<'_>,
        id: &GroupId,
        request: &ConsumerGroupHeartbeatRequest<'_>,
    ) -> Result<Decision, Refusal> {
        let group = self.consumer_group(id)?;
        let mut turn = Turn::new(self.scene(now_ms, id), group);
        let leaving = turn.leave(request)?;
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(Cow::Owned(request.member_id.as_ref().to_owned())),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        let response = GroupResponse::ConsumerGroupHeartbeat(response);
        let completion = Completion::Reply { parked: ctx.parked(), response: response.clone() };
        if leaving.is_empty() {
            let outcome = turn.finish();
            return Ok(self.settle(Vec::new(), id, outcome, ctx.parked(), response, completion));
        }
        let notes = turn.finish().notes;
        self.fence(now_ms, id, &leaving, notes, Some((ctx.parked(), response)))
    }

    /// Removes members; the group becomes a classic one if all that stay speak the classic protocol.
    pub(super) fn fence(
        &mut self,
        now_ms: i64,
        id: &GroupId,
        ids: &BTreeSet<MemberId>,
        notes: Vec<String>,
        waiting: Option<(Parked, GroupResponse)>,
    ) -> Result<Decision, Refusal> {
        let group = self.consumer_group(id)?;
        let mut turn = Turn::new(self.scene(now_ms, id), group);
        turn.notes = notes;
        if turn.may_downgrade_without_all(ids) {
            let classic = migrate::downgraded(group, ids, None, now_ms, self.cluster.as_ref())?;
            turn.records.extend(group.tombstones(None).into_iter().map(GroupRecord::Consumer));
            let outcome = turn.finish();
            let reason = format!("downgrade of group {id} from consumer to classic for a member leaving");
            return Ok(self.become_classic(now_ms, id, outcome, classic, Some(&reason), waiting));
        }
        turn.fence(ids);
        let outcome = turn.finish();
        let members = ids.iter().cloned().collect();
        let completion = Completion::Fence { group: GroupId::clone(id), members, waiting };
        let (effects, records) = self.apply(Vec::new(), id, outcome);
        Ok(self.conclude(effects, Some(Write { records, atomic: true, producer: None, completion })))
    }

    /// Puts a classic group in the place of a consumer group.
    pub(super) fn become_classic(
        &mut self,
        now_ms: i64,
        id: &GroupId,
        outcome: Outcome,
        mut classic: ClassicGroup,
        rebalance: Option<&str>,
        waiting: Option<(Parked, GroupResponse)>,
    ) -> Decision {
        let record = classic.record(|member| member.assignment.clone());
        let members: Vec<MemberId> = match self.groups.get(id) {
            Some(Group::Consumer(group)) => group.members.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let (mut effects, mut records) = self.apply(Vec::new(), id, outcome);
        records.push(record);
        for member in &members {
            for wait in [Wait::Session, Wait::Rebalance, Wait::Join, Wait::Sync] {
                self.consumer_timers.apply(id, member, wait, Timed::Cancelled, &mut effects);
            }
        }
        let mut step = Step::new(now_ms, &self.config);
        step.note(id, "the consumer group becomes a classic group".to_owned());
        let ids: Vec<MemberId> = classic.members.keys().cloned().collect();
        for member in &ids {
            classic.restart_session(&mut step, member);
        }
        if let Some(reason) = rebalance {
            classic.prepare_rebalance(&mut step, reason);
        }
        effects.append(&mut step.effects);
        let replaced = self.groups.insert(GroupId::clone(id), Group::Classic(Box::new(classic)));
        let completion =
            Completion::Downgrade { group: GroupId::clone(id), replaced: replaced.map(Box::new), waiting };
        self.conclude(effects, Some(Write { records, atomic: true, producer: None, completion }))
    }

    /// The timer of a member of a consumer group fired.
    pub(crate) fn on_consumer_timer(
        &mut self,
        now_ms: i64,
        id: &GroupId,
        member: &MemberId,
        wait: Wait,
    ) -> Decision {
        let epoch = match self.consumer_timers.fire(now_ms, id, member, wait) {
            Ok(epoch) => epoch,
            Err(None) => return Decision::default(),
            Err(Some(at_ms)) => {
                let (group, member) = (GroupId::clone(id), MemberId::clone(member));
                let key = TimerKey::Consumer { group, member, wait };
                return self.conclude_effects(vec![Effect::Schedule { key, at_ms }]);
            }
        };
        let Some(Group::Consumer(group)) = self.groups.get(id) else { return Decision::default() };
        let Some(known) = group.members.get(member) else { return Decision::default() };
        if wait == Wait::Rebalance && known.current.epoch != epoch {
            return Decision::default();
        }
        let why = match wait {
            Wait::Session => "its session expired",
            Wait::Rebalance => "it did not give up its partitions in time",
            Wait::Join => "it did not join again within the rebalance timeout",
            Wait::Sync => "it did not sync in time",
        };
        let notes = vec![format!("member {member} is fenced: {why}")];
        let ids = BTreeSet::from([MemberId::clone(member)]);
        self.fence(now_ms, id, &ids, notes, None).unwrap_or_default()
    }

    /// Starts the timers of the members that were loaded.
    pub(crate) fn start_consumer_timers(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        let cluster = Arc::clone(&self.cluster);
        let mut timers = Vec::new();
        for (id, group) in &self.groups {
            let Group::Consumer(group) = group else { continue };
            let session_ms = i64::from(cluster.consumer_settings(id).session_timeout_ms);
            for member in group.members.values() {
                let place = |wait, delay_ms: i64| {
                    let timed = Timed::At { at_ms: now_ms + delay_ms, epoch: member.current.epoch };
                    (GroupId::clone(id), MemberId::clone(&member.id), wait, timed)
                };
                timers.push(place(Wait::Session, session_ms));
                if member.current.state == super::MemberState::UnrevokedPartitions {
                    timers.push(place(Wait::Rebalance, i64::from(member.metadata.rebalance_timeout_ms)));
                }
            }
        }
        for (group, member, wait, timed) in timers {
            self.consumer_timers.apply(&group, &member, wait, timed, effects);
        }
    }

    /// The topics of regular expressions are found: see [`Effect::ResolveRegexes`].
    pub fn regexes_resolved(
        &mut self,
        now_ms: i64,
        id: &GroupId,
        resolved: &BTreeMap<Arc<str>, ResolvedRegex>,
    ) -> Decision {
        self.resolving.remove(id);
        if self.unavailable().is_some() {
            return Decision::default();
        }
        let Ok(group) = self.consumer_group(id) else { return Decision::default() };
        let mut turn = Turn::new(self.scene(now_ms, id), group);
        let mut topics = group.topics.clone();
        let mut is_bumped = false;
        for (regex, found) in resolved {
            if !group.regex_members.contains_key(regex) {
                continue;
            }
            let is_same = match group.regexes.get(regex) {
                Some(known) => known.topics == found.topics,
                None => found.topics.is_empty(),
            };
            if !is_same {
                is_bumped = true;
                group.drop_regex(&mut topics, regex);
                for topic in &found.topics {
                    super::group::subscribe(&mut topics, topic, |count| count.by_regex += 1);
                }
            }
            let (group, regex) = (GroupId::clone(id), Arc::clone(regex));
            turn.write(ConsumerRecord::Regex { group, regex, value: Some(found.clone()) });
        }
        let hash = hash_of(&topics, self.cluster.as_ref());
        if is_bumped || hash != group.metadata_hash {
            let epoch = group.epoch.wrapping_add(1);
            turn.bump(epoch, hash);
            turn.refreshed(epoch);
        }
        let outcome = turn.finish();
        let (effects, records) = self.apply(Vec::new(), id, outcome);
        self.conclude_cleanup(effects, records)
    }

    /// Describes consumer groups.
    pub fn consumer_group_describe(&mut self, ctx: &RequestContext<'_>, id: &str) -> Decision {
        let described = match self.unavailable() {
            Some(error) => describe::missing(id, error, None),
            None => match self.consumer_group(id) {
                Ok(group) => describe::describe(group, self.config.default_assignor(), self.cluster.as_ref()),
                Err(refusal) => describe::missing(id, refusal.error, Some(refusal.text)),
            },
        };
        let response = ConsumerGroupDescribeResponse { groups: vec![described], ..Default::default() };
        self.conclude_read(id, ctx.parked(), GroupResponse::ConsumerGroupDescribe(response))
    }
}

fn heartbeat_response(answer: Answer, heartbeat_interval_ms: i32) -> GroupResponse {
    let topics = |(topic_id, partitions): (Uuid, BTreeMap<i32, i32>)| TopicPartitions {
        topic_id,
        partitions: partitions.into_keys().collect(),
    };
    let assignment = answer
        .assignment
        .map(|assigned| Assignment { topic_partitions: assigned.into_iter().map(topics).collect() });
    GroupResponse::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
        member_id: Some(Cow::Owned(answer.member_id.as_ref().to_owned())),
        member_epoch: answer.epoch,
        heartbeat_interval_ms,
        assignment,
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

/// An id as Kafka's `Uuid` prints it.
pub(super) fn fresh_member_id(random: [u8; 16]) -> MemberId {
    Uuid::from_random(random).unwrap_or(Uuid::from_bytes(random)).to_string().into()
}
