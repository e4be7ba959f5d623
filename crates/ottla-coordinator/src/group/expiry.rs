//! Expiry of offsets and groups (`GroupCoordinatorShard.cleanupGroupMetadata`, KIP-211).
//!
//! An offset expires `offsets.retention.minutes` after its group became empty, or, for a topic that a stable group of
//! consumers does not read and for consumers without membership, after its commit; one that was committed with its own
//! retention time, at that time. A group goes with its last offset.

use super::classic::{ClassicGroup, ClassicState};
use super::commit::tombstone;
use super::deadline::Fired;
use super::effect::{Decision, Effect, GroupId, TimerKey};
use super::offsets::{Offsets, StoredOffset};
use super::record::GroupRecord;
use super::shard::{Group, GroupShard};

/// From when the retention of an offset counts.
#[derive(Clone, Copy, Debug)]
enum RetentionStart {
    EmptySince(i64),
    Commit,
}

impl GroupShard {
    /// The expiry timer fired: removes what has expired and sets the timer again.
    pub(crate) fn on_expiry_timer(&mut self, now_ms: i64) -> Decision {
        match self.expiry.fire(now_ms) {
            Fired::Stale => return Decision::default(),
            Fired::Later(at_ms) => {
                return self.conclude_effects(vec![Effect::Schedule { key: TimerKey::Expiry, at_ms }]);
            }
            Fired::Due => {}
        }
        let effects = self.schedule_expiry(now_ms);
        let mut records = Vec::new();
        for (id, group) in &self.groups {
            match group {
                Group::Classic(group) => {
                    let start = retention_start(group);
                    let reads = |topic: &str| group.is_subscribed_to(topic);
                    if self.expire_offsets(now_ms, id, start, reads, &mut records)
                        && group.is(ClassicState::Empty)
                    {
                        records.push(GroupRecord::GroupMetadata { group: GroupId::clone(id), value: None });
                    }
                }
                Group::Consumer(group) => {
                    let start = Some(RetentionStart::Commit);
                    let reads = |topic: &str| group.is_subscribed_to(topic);
                    if self.expire_offsets(now_ms, id, start, reads, &mut records) && group.is_empty() {
                        records.extend(group.tombstones(None).into_iter().map(GroupRecord::Consumer));
                    }
                }
                Group::Foreign(_) => {}
            }
        }
        self.conclude_cleanup(effects, records)
    }

    pub(crate) fn schedule_expiry(&mut self, now_ms: i64) -> Vec<Effect> {
        let at_ms = self.expiry.set(now_ms + self.config.offsets_retention_check_interval_ms);
        at_ms.map(|at_ms| Effect::Schedule { key: TimerKey::Expiry, at_ms }).into_iter().collect()
    }

    /// Adds tombstones for what expired. True if the group has no offset left, committed or not.
    fn expire_offsets(
        &self,
        now_ms: i64,
        group: &GroupId,
        start: Option<RetentionStart>,
        reads: impl Fn(&str) -> bool,
        records: &mut Vec<GroupRecord>,
    ) -> bool {
        let Some(topics) = self.offsets.of_group(group) else { return !self.offsets.has_open(group) };
        let Some(start) = start else { return false };
        let mut nothing_left = true;
        for (topic, partitions) in topics {
            if reads(topic) {
                nothing_left = false;
                continue;
            }
            for (&partition, stored) in partitions {
                let expired = is_expired(stored, start, now_ms, self.config.retention_ms());
                if expired && !self.offsets.is_open(group, topic, partition) {
                    records.push(tombstone(group, topic, partition));
                } else {
                    nothing_left = false;
                }
            }
        }
        nothing_left && !self.offsets.has_open(group)
    }
}

fn retention_start(group: &ClassicGroup) -> Option<RetentionStart> {
    if group.protocol_type.is_none() {
        return Some(RetentionStart::Commit);
    }
    if group.is(ClassicState::Empty) {
        // Old value versions do not say since when.
        return Some(group.state_timestamp_ms.map_or(RetentionStart::Commit, RetentionStart::EmptySince));
    }
    let reads_known_topics = group.uses_consumer_protocol() && group.subscribed_topics.is_some();
    (reads_known_topics && group.is(ClassicState::Stable)).then_some(RetentionStart::Commit)
}

fn is_expired(stored: &StoredOffset, start: RetentionStart, now_ms: i64, retention_ms: i64) -> bool {
    if let Some(expire_at_ms) = stored.value.expire_timestamp_ms {
        return now_ms >= expire_at_ms;
    }
    let start_ms = match start {
        RetentionStart::EmptySince(at_ms) => at_ms,
        RetentionStart::Commit => stored.value.commit_timestamp_ms,
    };
    now_ms.saturating_sub(start_ms) >= retention_ms
}

/// Removes all offsets of a group, committed or in open transactions.
pub(crate) fn remove_all_offsets(offsets: &Offsets, group: &GroupId, records: &mut Vec<GroupRecord>) {
    for (topic, partitions) in offsets.of_group(group).into_iter().flatten() {
        records.extend(partitions.keys().map(|&partition| tombstone(group, topic, partition)));
    }
    for (topic, partition) in offsets.open_of_group(group) {
        if offsets.get(group, topic, partition).is_none() {
            records.push(tombstone(group, topic, partition));
        }
    }
}
