//! What one request does to a consumer group: the steps that joining, heartbeats and classic JoinGroups share
//! (`GroupMetadataManager`): regular expressions, group epoch, target assignment, reconciliation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_types::Uuid;

use super::assignor::{MemberSpec, Spec};
use super::group::{self, ConsumerGroup};
use super::member::ConsumerMember;
use super::reconcile::Reconciliation;
use super::record::{ConsumerRecord, MemberState, Partitions};
use super::regex;
use super::timers::{Timed, Wait};
use crate::group::GroupConfig;
use crate::group::effect::{GroupId, MemberId};
use crate::group::record::GroupRecord;
use crate::group::topics::{ClusterView, ConsumerSettings};

/// How long a metadata hash is taken to be current unless topics change: Kafka's constant.
const METADATA_REFRESH_MS: i64 = i32::MAX as i64;
/// The shortest time between two resolutions of a group's regular expressions.
const REGEX_MIN_INTERVAL_MS: i64 = 10_000;

/// Why a request is refused, with the text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(error: ErrorCode, text: impl Into<String>) -> Self {
        Self { error, text: text.into() }
    }
}

/// What is known beside the group.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) now_ms: i64,
    pub(crate) config: &'a GroupConfig,
    pub(crate) cluster: &'a dyn ClusterView,
    pub(crate) settings: ConsumerSettings,
    /// The version of the metadata in which topics were last created.
    pub(crate) topics_created_at: i64,
    /// Regular expressions of the group are being resolved.
    pub(crate) is_resolving: bool,
}

/// How a member's regular expression changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegexChange {
    None,
    /// To one whose topics are not known yet.
    Unresolved,
    /// To one whose topics are known, or to none.
    Resolved,
}

/// A request on its way through a group: what it leads to.
pub(crate) struct Turn<'a> {
    pub(crate) scene: Scene<'a>,
    pub(crate) group: &'a ConsumerGroup,
    pub(crate) records: Vec<GroupRecord>,
    /// Regular expressions to be resolved.
    pub(crate) resolve: Option<BTreeSet<Arc<str>>>,
    /// Until when, and from which epoch on, the group's metadata is current.
    pub(crate) refresh: Option<(i64, i32)>,
    pub(crate) timers: Vec<(MemberId, Wait, Timed)>,
    pub(crate) notes: Vec<String>,
}

/// The group's epoch and whether all its members subscribe to the same topics, with the changes of this turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) epoch: i32,
    pub(crate) is_homogeneous: bool,
}

/// The target in force for a member.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) epoch: i32,
    pub(crate) partitions: Partitions,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(scene: Scene<'a>, group: &'a ConsumerGroup) -> Self {
        Self {
            scene,
            group,
            records: Vec::new(),
            resolve: None,
            refresh: None,
            timers: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, record: ConsumerRecord) {
        self.records.push(GroupRecord::Consumer(record));
    }

    pub(crate) fn group_id(&self) -> GroupId {
        GroupId::clone(&self.group.id)
    }

    /// Logs what the member says about itself if it changed. True if the topics that it names did.
    pub(crate) fn update_metadata(&mut self, old: &ConsumerMember, new: &ConsumerMember) -> bool {
        if old == new {
            return false;
        }
        let (group, member) = (self.group_id(), MemberId::clone(&new.id));
        self.write(ConsumerRecord::Member { group, member, value: Some(new.metadata.clone()) });
        old.metadata.topic_names != new.metadata.topic_names
    }

    /// Follows a change of the member's regular expression, and has the group's expressions resolved when it is time.
    ///
    /// # Errors
    /// INVALID_REGULAR_EXPRESSION, if it is new and cannot be read.
    pub(crate) fn update_regex(
        &mut self,
        old: &ConsumerMember,
        new: &ConsumerMember,
    ) -> Result<RegexChange, Refusal> {
        let mut change = RegexChange::None;
        let mut is_new = false;
        if old.metadata.topic_regex != new.metadata.topic_regex {
            change = RegexChange::Unresolved;
            if let Some(regex) = old.regex()
                && self.group.regex_members.get(regex) == Some(&1)
            {
                let (group, regex) = (self.group_id(), Arc::clone(regex));
                self.write(ConsumerRecord::Regex { group, regex, value: None });
            }
            match new.regex() {
                Some(regex) if !self.group.regex_members.contains_key(regex) => {
                    regex::check(regex).map_err(|why| {
                        let text = format!(
                            "SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}."
                        );
                        Refusal::new(ErrorCode::InvalidRegularExpression, text)
                    })?;
                    is_new = true;
                }
                Some(regex) if self.group.regexes.contains_key(regex) => change = RegexChange::Resolved,
                None if old.regex().is_some() => change = RegexChange::Resolved,
                _ => {}
            }
        }
        self.resolve_if_due(old, new, is_new);
        Ok(change)
    }

    fn resolve_if_due(&mut self, old: &ConsumerMember, new: &ConsumerMember, is_new: bool) {
        if (!is_new && self.group.regex_members.is_empty()) || self.scene.is_resolving {
            return;
        }
        let last = self.group.regexes.values().next();
        let last_at_ms = last.map(|resolved| resolved.resolved_at_ms);
        if last_at_ms.is_some_and(|at_ms| self.scene.now_ms <= at_ms + REGEX_MIN_INTERVAL_MS) {
            return;
        }
        let wanted = self.group.regex_members_with(old, new);
        let interval_ms = i64::from(self.scene.config.consumer_regex_refresh_interval_ms);
        let is_due = is_new
            || wanted.len() != self.group.regexes.len()
            || last.map_or(0, |resolved| resolved.version) < self.scene.topics_created_at
            || last_at_ms.is_none_or(|at_ms| self.scene.now_ms > at_ms + interval_ms);
        if is_due && !wanted.is_empty() {
            self.resolve = Some(wanted.into_keys().collect());
        }
    }

    /// Steps into a new epoch if something that members read changed, and looks whether topics did.
    pub(crate) fn update_epoch(
        &mut self,
        mut is_bumped: bool,
        old: &ConsumerMember,
        new: &ConsumerMember,
    ) -> Standing {
        let group = self.group;
        if !is_bumped && !group.has_stale_metadata(self.scene.now_ms) {
            return Standing { epoch: group.epoch, is_homogeneous: group.is_homogeneous() };
        }
        let topics = group.topics_with(old, Some(new));
        let hash = group::hash_of(&topics, self.scene.cluster);
        let is_known = group.members.contains_key(&new.id)
            || new.instance_id().is_some_and(|instance| group.static_members.contains_key(instance));
        let members = group.members.len() + usize::from(!is_known);
        let regexes = group.regex_members_with(old, new);
        let is_homogeneous = group::is_homogeneous(&regexes, &topics, members);
        is_bumped |= hash != group.metadata_hash;
        let mut epoch = group.epoch;
        if is_bumped {
            epoch = epoch.wrapping_add(1);
            self.bump(epoch, hash);
        }
        self.refresh = Some((self.scene.now_ms + METADATA_REFRESH_MS, epoch));
        if group.has_partition_metadata {
            let group = self.group_id();
            self.write(ConsumerRecord::PartitionMetadata { group, value: None });
        }
        Standing { epoch, is_homogeneous }
    }

    /// Logs a new epoch.
    pub(crate) fn bump(&mut self, epoch: i32, hash: i64) {
        let group = self.group_id();
        self.write(ConsumerRecord::Epoch { group, value: Some((epoch, hash)) });
        self.notes.push(format!("bumped the group epoch to {epoch} with metadata hash {hash}"));
    }

    /// Takes the group's metadata to be current from this epoch on.
    pub(crate) fn refreshed(&mut self, epoch: i32) {
        self.refresh = Some((self.scene.now_ms + METADATA_REFRESH_MS, epoch));
    }

    /// Assigns anew if the group is in a new epoch and `group.consumer.assignment.interval.ms` have passed. Returns the
    /// target of the member.
    pub(crate) fn update_target(
        &mut self,
        standing: Standing,
        old: &ConsumerMember,
        new: &ConsumerMember,
    ) -> Target {
        let group = self.group;
        let replaced = new.instance_id().and_then(|instance| group.static_members.get(instance));
        let interval_ms = i64::from(self.scene.settings.assignment_interval_ms);
        let is_due = group.target_at_ms == 0
            || interval_ms == 0
            || self.scene.now_ms >= group.target_at_ms + interval_ms;
        if group.target_epoch >= standing.epoch || !is_due {
            // A member with an instance id that is not known yet has none, even if it was there without one before.
            let target_of = if new.instance_id().is_some() { replaced } else { Some(&new.id) };
            let known = target_of.and_then(|id| group.target_of(id)).cloned();
            return Target { epoch: group.target_epoch, partitions: known.unwrap_or_default() };
        }
        let default = self.scene.config.default_assignor();
        let name = group.preferred_assignor_with(Some(old), Some(new));
        let name = name.as_deref().unwrap_or(default);
        let mut spec = self.spec(replaced, new);
        spec.is_homogeneous = standing.is_homogeneous;
        let mut assignment = group::assignor(name).assign(&spec);
        self.notes.push(format!("computed the target of epoch {} with assignor '{name}'", standing.epoch));
        for (id, member) in &spec.members {
            let partitions = assignment.get(id).cloned().unwrap_or_default();
            let is_logged = group.target.contains_key(id)
                || replaced.is_some_and(|old| id == &new.id && group.target.contains_key(old));
            if !is_logged || partitions != member.target {
                let (group, member) = (self.group_id(), MemberId::clone(id));
                self.write(ConsumerRecord::Target { group, member, value: Some(partitions) });
            }
        }
        let value = Some((standing.epoch, self.scene.now_ms));
        let group = self.group_id();
        self.write(ConsumerRecord::TargetMetadata { group, value });
        Target { epoch: standing.epoch, partitions: assignment.remove(&new.id).unwrap_or_default() }
    }

    /// The group with `new` in it, as an assignor sees it.
    fn spec(&self, replaced: Option<&MemberId>, new: &ConsumerMember) -> Spec {
        let mut spec = Spec::default();
        let others =
            self.group.members.values().filter(|member| {
                member.id != new.id && replaced.is_none_or(|replaced| *replaced != member.id)
            });
        let mut known: BTreeMap<Arc<str>, Option<(Uuid, i32)>> = BTreeMap::new();
        for member in others.chain([new]) {
            let names = self.group.subscription_of(member);
            let names = names.into_iter().map(AsRef::as_ref).collect::<Vec<&str>>().into_iter();
            let id_of = |name: &str| {
                let found = known.entry(name.into()).or_insert_with(|| {
                    let topic = self.scene.cluster.by_name(name)?;
                    Some((topic.id, topic.partitions))
                });
                let (id, count) = (*found)?;
                spec.partitions.insert(id, count);
                Some(id)
            };
            let target_id = if member.id == new.id { replaced.unwrap_or(&new.id) } else { &member.id };
            let target = self.group.target_of(target_id).cloned().unwrap_or_default();
            let member_spec = MemberSpec::new(member.instance_id().cloned(), names, id_of, target);
            spec.members.insert(MemberId::clone(&member.id), member_spec);
        }
        spec
    }

    /// Moves the member a step towards its target.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH, of a member in an unknown state.
    pub(crate) fn reconcile(
        &mut self,
        member: ConsumerMember,
        target: &Target,
        has_subscription_changed: bool,
        owned: Option<&[TopicPartitions]>,
    ) -> Result<ConsumerMember, Refusal> {
        if !has_subscription_changed && member.is_reconciled_to(target.epoch) {
            return Ok(member);
        }
        let subscribed = self.group.topic_ids_of(&member, self.scene.cluster);
        let step = Reconciliation {
            target_epoch: target.epoch,
            target: &target.partitions,
            subscribed: &subscribed,
            has_subscription_changed,
            owner_epoch: &|topic, partition| self.group.owner_epoch(topic, partition),
            owned,
        };
        let next = step.next(&member).map_err(|_| {
            let text = "The consumer group member is in a unknown state. The member must abandon all its partitions \
                        and rejoin.";
            Refusal::new(ErrorCode::FencedMemberEpoch, text)
        })?;
        if next == member.current {
            return Ok(member);
        }
        let member = ConsumerMember { current: next, ..member };
        let (group, id) = (self.group_id(), MemberId::clone(&member.id));
        self.write(ConsumerRecord::Current {
            group,
            member: id.clone(),
            value: Some(member.current.clone()),
        });
        if !member.uses_classic_protocol() {
            let timed = if member.current.state == MemberState::UnrevokedPartitions {
                let delay_ms = i64::from(member.metadata.rebalance_timeout_ms);
                Timed::At { at_ms: self.scene.now_ms + delay_ms, epoch: member.current.epoch }
            } else {
                Timed::Cancelled
            };
            self.timers.push((id, Wait::Rebalance, timed));
        }
        Ok(member)
    }

    /// Tombstones for one member.
    pub(crate) fn remove(&mut self, member: &MemberId) {
        let group = self.group_id();
        let id = || MemberId::clone(member);
        self.write(ConsumerRecord::Current { group: group.clone(), member: id(), value: None });
        self.write(ConsumerRecord::Target { group: group.clone(), member: id(), value: None });
        self.write(ConsumerRecord::Member { group, member: id(), value: None });
    }

    /// Puts a static member that came back in the place of the one that it was.
    pub(crate) fn replace(&mut self, old: &ConsumerMember, new: &ConsumerMember) {
        self.remove(&old.id);
        let group = self.group_id();
        let id = || MemberId::clone(&new.id);
        self.write(ConsumerRecord::Member {
            group: group.clone(),
            member: id(),
            value: Some(new.metadata.clone()),
        });
        let target = self.group.target_of(&old.id).cloned().unwrap_or_default();
        self.write(ConsumerRecord::Target { group: group.clone(), member: id(), value: Some(target) });
        self.write(ConsumerRecord::Current { group, member: id(), value: Some(new.current.clone()) });
    }

    /// Removes members that left, or were not heard of.
    pub(crate) fn fence(&mut self, ids: &BTreeSet<MemberId>) {
        for id in ids {
            self.remove(id);
        }
        let mut regexes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        let members = ids.iter().filter_map(|id| self.group.members.get(id));
        for regex in members.clone().filter_map(ConsumerMember::regex) {
            *regexes.entry(regex).or_default() += 1;
        }
        let mut topics = self.group.topics.clone();
        for topic in members.flat_map(|member| &member.metadata.topic_names) {
            group::subscribe(&mut topics, topic, |count| count.by_name = count.by_name.saturating_sub(1));
        }
        for (regex, count) in regexes {
            if self.group.regex_members.get(regex) == Some(&count) {
                let group = self.group_id();
                self.write(ConsumerRecord::Regex { group, regex: Arc::clone(regex), value: None });
                self.group.drop_regex(&mut topics, regex);
            }
        }
        let epoch = self.group.epoch.wrapping_add(1);
        self.bump(epoch, group::hash_of(&topics, self.scene.cluster));
        if ids.len() == self.group.members.len() {
            let group = self.group_id();
            self.write(ConsumerRecord::TargetMetadata { group, value: Some((epoch, 0)) });
        }
        for id in ids {
            let waits = [Wait::Session, Wait::Rebalance, Wait::Join, Wait::Sync];
            self.timers.extend(waits.map(|wait| (MemberId::clone(id), wait, Timed::Cancelled)));
        }
    }
}
