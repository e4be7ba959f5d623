//! A consumer group (`ConsumerGroup`, KIP-848): members, target assignment, and what follows from them. Changed by replay only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_types::Uuid;

use super::assignor::{Assignor, java_order};
use super::member::ConsumerMember;
use super::record::{ConsumerRecord, OwnedPartitions, Partitions, ResolvedRegex};
use crate::group::effect::{GroupId, MemberId};
use crate::group::topics::{ClusterView, metadata_hash};

/// The first epoch of a group, before anything happened.
const FIRST_EPOCH: i32 = 1;

/// How often something is used: by members naming it, by regular expressions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscribers {
    pub(crate) by_name: usize,
    pub(crate) by_regex: usize,
}

/// The topics of a group with their subscribers.
pub(crate) type Topics = BTreeMap<Arc<str>, Subscribers>;

/// A consumer group.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: i32,
    /// What the group last knew of its topics.
    pub(crate) metadata_hash: i64,
    pub(crate) members: BTreeMap<MemberId, ConsumerMember>,
    pub(crate) target_epoch: i32,
    pub(crate) target_at_ms: i64,
    pub(crate) target: BTreeMap<MemberId, Partitions>,
    pub(crate) regexes: BTreeMap<Arc<str>, ResolvedRegex>,
    /// The log has a record of the kind that Kafka wrote until 4.0; it goes with the next new epoch.
    pub(crate) has_partition_metadata: bool,
    pub(crate) static_members: BTreeMap<Arc<str>, MemberId>,
    pub(crate) topics: Topics,
    pub(crate) regex_members: BTreeMap<Arc<str>, usize>,
    assignors: BTreeMap<Arc<str>, usize>,
    pub(crate) classic_members: usize,
    supported_classic: BTreeMap<Arc<str>, usize>,
    owner_epochs: BTreeMap<Uuid, BTreeMap<i32, i32>>,
    /// Until when, and from which epoch on, the metadata hash is taken to be current. Not in the log.
    pub(crate) refresh: (i64, i32),
}

fn count_up(counts: &mut BTreeMap<Arc<str>, usize>, key: &Arc<str>) {
    *counts.entry(Arc::clone(key)).or_default() += 1;
}

fn count_down(counts: &mut BTreeMap<Arc<str>, usize>, key: &Arc<str>) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

pub(crate) fn subscribe(topics: &mut Topics, topic: &Arc<str>, change: impl FnOnce(&mut Subscribers)) {
    let subscribers = topics.entry(Arc::clone(topic)).or_default();
    change(subscribers);
    if *subscribers == Subscribers::default() {
        topics.remove(topic);
    }
}

impl ConsumerGroup {
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            members: BTreeMap::new(),
            target_epoch: FIRST_EPOCH,
            target_at_ms: 0,
            target: BTreeMap::new(),
            regexes: BTreeMap::new(),
            has_partition_metadata: false,
            static_members: BTreeMap::new(),
            topics: Topics::new(),
            regex_members: BTreeMap::new(),
            assignors: BTreeMap::new(),
            classic_members: 0,
            supported_classic: BTreeMap::new(),
            owner_epochs: BTreeMap::new(),
            refresh: (0, 0),
        }
    }

    /// Applies a record of the group. The tombstone of the group itself is the shard's to apply.
    pub(crate) fn replay(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch { value, .. } => {
                if let Some((epoch, hash)) = value {
                    (self.epoch, self.metadata_hash) = (*epoch, *hash);
                }
            }
            ConsumerRecord::PartitionMetadata { value, .. } => self.has_partition_metadata = value.is_some(),
            ConsumerRecord::Member { member, value: Some(metadata), .. } => {
                let known = self.members.get(member).cloned();
                let known = known.unwrap_or_else(|| ConsumerMember::new(MemberId::clone(member)));
                self.put(ConsumerMember { metadata: metadata.clone(), ..known });
            }
            ConsumerRecord::Member { member, value: None, .. } => self.remove(member),
            ConsumerRecord::TargetMetadata { value, .. } => {
                (self.target_epoch, self.target_at_ms) = value.unwrap_or((-1, 0));
            }
            ConsumerRecord::Target { member, value: Some(partitions), .. } => {
                self.target.insert(MemberId::clone(member), partitions.clone());
            }
            ConsumerRecord::Target { member, value: None, .. } => {
                self.target.remove(member);
            }
            ConsumerRecord::Current { member, value: Some(current), .. } => {
                let known = self.members.get(member).cloned();
                let known = known.unwrap_or_else(|| ConsumerMember::new(MemberId::clone(member)));
                self.put(ConsumerMember { current: current.clone(), ..known });
            }
            ConsumerRecord::Current { member, value: None, .. } => {
                let Some(mut known) = self.members.get(member).cloned() else { return };
                (known.current.epoch, known.current.previous_epoch) = (-1, -1);
                known.current.assigned.clear();
                known.current.pending_revocation.clear();
                self.put(known);
            }
            ConsumerRecord::Regex { regex, value, .. } => self.put_regex(regex, value.as_ref()),
        }
    }

    fn put_regex(&mut self, regex: &Arc<str>, value: Option<&ResolvedRegex>) {
        if let Some(old) = self.regexes.remove(regex) {
            for topic in &old.topics {
                subscribe(&mut self.topics, topic, |count| count.by_regex -= 1);
            }
        }
        if let Some(new) = value {
            for topic in &new.topics {
                subscribe(&mut self.topics, topic, |count| count.by_regex += 1);
            }
            self.regexes.insert(Arc::clone(regex), new.clone());
        }
    }

    /// Takes a member in, or puts it in place of what it was.
    fn put(&mut self, member: ConsumerMember) {
        if let Some(old) = self.members.remove(&member.id) {
            self.forget(&old);
        }
        for topic in &member.metadata.topic_names {
            subscribe(&mut self.topics, topic, |count| count.by_name += 1);
        }
        if let Some(assignor) = &member.metadata.assignor {
            count_up(&mut self.assignors, assignor);
        }
        if let Some(regex) = member.regex() {
            count_up(&mut self.regex_members, regex);
        }
        if let Some(instance) = member.instance_id() {
            self.static_members.insert(Arc::clone(instance), MemberId::clone(&member.id));
        }
        if let Some(classic) = &member.metadata.classic {
            self.classic_members += 1;
            classic.protocols.iter().for_each(|(name, _)| count_up(&mut self.supported_classic, name));
        }
        for owned in [&member.current.assigned, &member.current.pending_revocation] {
            for (topic, partitions) in owned {
                let epochs = self.owner_epochs.entry(*topic).or_default();
                epochs.extend(partitions.keys().map(|partition| (*partition, member.current.epoch)));
            }
        }
        self.members.insert(MemberId::clone(&member.id), member);
    }

    fn remove(&mut self, member: &str) {
        if let Some(old) = self.members.remove(member) {
            self.forget(&old);
        }
    }

    /// Takes back what [`put`](Self::put) counted.
    fn forget(&mut self, member: &ConsumerMember) {
        for topic in &member.metadata.topic_names {
            subscribe(&mut self.topics, topic, |count| count.by_name -= 1);
        }
        if let Some(assignor) = &member.metadata.assignor {
            count_down(&mut self.assignors, assignor);
        }
        if let Some(regex) = member.regex() {
            count_down(&mut self.regex_members, regex);
        }
        if let Some(instance) = member.instance_id()
            && self.static_members.get(instance) == Some(&member.id)
        {
            self.static_members.remove(instance);
        }
        if let Some(classic) = &member.metadata.classic {
            self.classic_members -= 1;
            classic.protocols.iter().for_each(|(name, _)| count_down(&mut self.supported_classic, name));
        }
        for owned in [&member.current.assigned, &member.current.pending_revocation] {
            self.release(owned, member.current.epoch);
        }
    }

    /// A partition that somebody else owns by now stays theirs.
    fn release(&mut self, owned: &OwnedPartitions, epoch: i32) {
        for (topic, partitions) in owned {
            let Some(epochs) = self.owner_epochs.get_mut(topic) else { continue };
            for partition in partitions.keys() {
                if epochs.get(partition) == Some(&epoch) {
                    epochs.remove(partition);
                }
            }
            if epochs.is_empty() {
                self.owner_epochs.remove(topic);
            }
        }
    }

    /// The epoch of the member that owns the partition.
    pub(crate) fn owner_epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        self.owner_epochs.get(&topic)?.get(&partition).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(crate) fn static_member(&self, instance: &str) -> Option<&ConsumerMember> {
        self.members.get(self.static_members.get(instance)?)
    }

    pub(crate) fn target_of(&self, member: &str) -> Option<&Partitions> {
        self.target.get(member)
    }

    /// Whether the metadata hash must be computed anew.
    pub(crate) fn has_stale_metadata(&self, now_ms: i64) -> bool {
        let (until_ms, epoch) = self.refresh;
        now_ms >= until_ms || self.epoch < epoch
    }

    /// The assignor that most members prefer now.
    pub(crate) fn preferred_assignor(&self) -> Option<&Arc<str>> {
        let most = self.assignors.values().max()?;
        let best = self.assignors.iter().filter(|(_, count)| *count == most).map(|(name, _)| name);
        best.min_by_key(|name| timeline_bucket(name))
    }

    /// The assignor that most members would prefer if `new` took the place of `old`.
    pub(crate) fn preferred_assignor_with(
        &self,
        old: Option<&ConsumerMember>,
        new: Option<&ConsumerMember>,
    ) -> Option<Arc<str>> {
        // Kafka copies its table of these names into a `HashMap` so small that they share a bucket, and a name that is added to
        // it comes first there. So the only member that prefers an assignor breaks a tie with each of its heartbeats.
        let mut counts = self.assignors.clone();
        let mut order: Vec<Arc<str>> = counts.keys().cloned().collect();
        order.sort_by_key(timeline_bucket);
        if let Some(assignor) = old.and_then(|old| old.metadata.assignor.as_ref()) {
            count_down(&mut counts, assignor);
            order.retain(|name| counts.contains_key(name));
        }
        if let Some(assignor) = new.and_then(|new| new.metadata.assignor.as_ref()) {
            if !counts.contains_key(assignor) {
                order.insert(0, Arc::clone(assignor));
            }
            count_up(&mut counts, assignor);
        }
        let most = counts.values().max()?;
        order.into_iter().find(|name| counts.get(name) == Some(most))
    }

    /// The topics with their subscribers if `new` took the place of `old`.
    pub(crate) fn topics_with(&self, old: &ConsumerMember, new: Option<&ConsumerMember>) -> Topics {
        let mut topics = self.topics.clone();
        for topic in &old.metadata.topic_names {
            subscribe(&mut topics, topic, |count| count.by_name = count.by_name.saturating_sub(1));
        }
        for topic in new.into_iter().flat_map(|new| &new.metadata.topic_names) {
            subscribe(&mut topics, topic, |count| count.by_name += 1);
        }
        if let Some(regex) = old.regex()
            && new.and_then(ConsumerMember::regex) != Some(regex)
            && self.regex_members.get(regex) == Some(&1)
        {
            self.drop_regex(&mut topics, regex);
        }
        topics
    }

    /// Takes the topics of a regular expression out.
    pub(crate) fn drop_regex(&self, topics: &mut Topics, regex: &str) {
        for topic in self.regexes.get(regex).into_iter().flat_map(|resolved| &resolved.topics) {
            subscribe(topics, topic, |count| count.by_regex = count.by_regex.saturating_sub(1));
        }
    }

    /// How many members use each regular expression if `new` took the place of `old`.
    pub(crate) fn regex_members_with(
        &self,
        old: &ConsumerMember,
        new: &ConsumerMember,
    ) -> BTreeMap<Arc<str>, usize> {
        let mut counts = self.regex_members.clone();
        if old.regex() != new.regex() {
            if let Some(regex) = old.regex() {
                count_down(&mut counts, regex);
            }
            if let Some(regex) = new.regex() {
                count_up(&mut counts, regex);
            }
        }
        counts
    }

    /// Whether all members subscribe to the same topics now.
    pub(crate) fn is_homogeneous(&self) -> bool {
        is_homogeneous(&self.regex_members, &self.topics, self.members.len())
    }

    /// What a member subscribes to, by name and by regular expression.
    pub(crate) fn subscription_of<'a>(&'a self, member: &'a ConsumerMember) -> BTreeSet<&'a Arc<str>> {
        let by_regex = member.regex().and_then(|regex| self.regexes.get(regex));
        let by_regex = by_regex.into_iter().flat_map(|resolved| &resolved.topics);
        member.metadata.topic_names.iter().chain(by_regex).collect()
    }

    /// The topics that a member subscribes to and that exist.
    pub(crate) fn topic_ids_of(&self, member: &ConsumerMember, cluster: &dyn ClusterView) -> BTreeSet<Uuid> {
        let names = self.subscription_of(member);
        names.into_iter().filter_map(|name| cluster.by_name(name)).map(|topic| topic.id).collect()
    }

    /// Whether a JoinGroup with this protocol type and these protocols fits in.
    pub(crate) fn supports_classic<'a>(
        &self,
        protocol_type: &str,
        mut protocols: impl Iterator<Item = &'a str>,
    ) -> bool {
        protocol_type == "consumer"
            && protocols
                .any(|name| self.supported_classic.get(name).copied().unwrap_or(0) == self.classic_members)
    }

    /// Whether a member still waits for partitions of its target that others have.
    pub(crate) fn waits_for_release(&self, member: &ConsumerMember) -> bool {
        use super::record::MemberState;
        if member.current.state != MemberState::UnreleasedPartitions {
            return false;
        }
        self.target_of(&member.id).into_iter().flatten().any(|(topic, partitions)| {
            let assigned = member.current.assigned.get(topic);
            partitions.iter().any(|partition| {
                !assigned.is_some_and(|assigned| assigned.contains_key(partition))
                    && self.owner_epoch(*topic, *partition).is_some()
            })
        })
    }

    /// The assignor in force.
    pub(crate) fn assignor_name(&self, default: &str) -> String {
        self.preferred_assignor().map_or_else(|| default.to_owned(), |name| name.as_ref().to_owned())
    }

    /// Tombstones for everything, the group's own last. `renamed` stands in for a member's id.
    pub(crate) fn tombstones(&self, renamed: Option<(&str, &MemberId)>) -> Vec<ConsumerRecord> {
        let group = || GroupId::clone(&self.id);
        let ids: Vec<MemberId> = self
            .members
            .keys()
            .map(|id| match renamed {
                Some((old, new)) if old == id.as_ref() => MemberId::clone(new),
                _ => MemberId::clone(id),
            })
            .collect();
        let mut records = Vec::new();
        let each = ids.iter().cloned();
        records.extend(each.map(|member| ConsumerRecord::Current { group: group(), member, value: None }));
        let each = ids.iter().cloned();
        records.extend(each.map(|member| ConsumerRecord::Target { group: group(), member, value: None }));
        records.push(ConsumerRecord::TargetMetadata { group: group(), value: None });
        records.extend(ids.into_iter().map(|member| ConsumerRecord::Member {
            group: group(),
            member,
            value: None,
        }));
        let regexes = self.regexes.keys().cloned();
        records.extend(regexes.map(|regex| ConsumerRecord::Regex { group: group(), regex, value: None }));
        records.push(ConsumerRecord::PartitionMetadata { group: group(), value: None });
        records.push(ConsumerRecord::Epoch { group: group(), value: None });
        records
    }
}

/// The first of the most frequent keys, in the order of a hash table.
/// Kafka keeps the names of assignors in a table of two buckets, chosen by the highest bit (`BaseHashTable.findSlot`).
fn timeline_bucket(name: &Arc<str>) -> u64 {
    let hash = i64::from(java_order::hash_of_text(name).cast_signed());
    hash.wrapping_mul(-7_046_029_254_386_353_131).cast_unsigned() >> 63
}

/// Whether all members subscribe to the same topics, as Kafka tells it: by the counts.
pub(crate) fn is_homogeneous(regexes: &BTreeMap<Arc<str>, usize>, topics: &Topics, members: usize) -> bool {
    match regexes.values().next() {
        None => topics.values().all(|count| count.by_name == members),
        Some(&count) => {
            count == members && topics.values().all(|count| count.by_regex == 1 && count.by_name == 0)
        }
    }
}

/// The hash of the metadata of these topics.
pub(crate) fn hash_of(topics: &Topics, cluster: &dyn ClusterView) -> i64 {
    metadata_hash(topics.keys().map(AsRef::as_ref), cluster)
}

/// The assignor with this name, or Kafka's default.
pub(crate) fn assignor(name: &str) -> Assignor {
    Assignor::named(name).unwrap_or(Assignor::Uniform)
}
