//! What a shard would know after a restart, and how much it holds.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicName;

use super::classic::ClassicState;
use super::effect::GroupId;
use super::foreign::GroupKind;
use super::offsets::StoredOffset;
use super::record::{GroupMetadata, GroupRecord};
use super::shard::{Group, GroupShard};

/// What a shard would know after a restart; for tests, tools and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurableState {
    /// Classic groups in states that the log can express.
    pub groups: BTreeMap<GroupId, DurableGroup>,
    /// Classic groups in a rebalance: the log has their last generation, or only that they exist.
    pub rebalancing: BTreeSet<GroupId>,
    /// Consumer groups with all that is in the log of them.
    pub consumer_groups: BTreeMap<GroupId, String>,
    /// Committed offsets, and those of open transactions, one line each.
    pub offsets: Vec<String>,
}

/// A classic group, as its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableGroup {
    /// The state's name: Empty or Stable.
    pub state: &'static str,
    /// The generation as it would be logged now. The timestamp is -1 in state Stable, where memory and log differ.
    pub generation: GroupMetadata,
}

impl GroupShard {
    /// How many groups there are, of all types.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Type and state of each group.
    pub fn group_states(&self) -> impl Iterator<Item = (GroupKind, &'static str)> {
        self.groups.values().map(|group| (group.kind(), group.state_name()))
    }

    /// How many offsets are committed.
    pub fn offset_count(&self) -> usize {
        self.offsets.count()
    }

    /// Committed offsets by group, topic and partition.
    pub fn committed_offsets(&self) -> impl Iterator<Item = (&GroupId, &TopicName, i32, i64)> {
        self.offsets.iter()
    }

    /// How many appends are neither committed nor failed.
    pub fn pending_appends(&self) -> usize {
        self.pending.len()
    }

    /// What a shard loaded from the log of this one would know.
    pub fn durable_state(&self) -> DurableState {
        let mut state = DurableState::default();
        for (id, group) in &self.groups {
            if let Group::Consumer(group) = group {
                let mut known = group.as_ref().clone();
                known.refresh = (0, 0);
                state.consumer_groups.insert(id.clone(), format!("{known:?}"));
            }
            let Group::Classic(group) = group else { continue };
            let GroupRecord::GroupMetadata { value: Some(mut generation), .. } =
                group.record(|member| member.assignment.clone())
            else {
                continue;
            };
            match group.state {
                ClassicState::Empty => {}
                ClassicState::Stable => generation.state_timestamp_ms = -1,
                _ => {
                    state.rebalancing.insert(id.clone());
                    continue;
                }
            }
            state.groups.insert(id.clone(), DurableGroup { state: group.state.name(), generation });
        }
        let describe = |(group, topic, partition, stored): (&GroupId, _, i32, &StoredOffset)| {
            let open = self.offsets.is_open(group, topic, partition);
            format!("{group} {topic}-{partition} open={open} {stored:?}")
        };
        state.offsets = self.offsets.all().map(describe).collect();
        state
    }
}
