//! `UniformAssignor` for members that all subscribe to the same topics (`UniformHomogeneousAssignmentBuilder`): everybody
//! keeps what its share allows, and what is left goes to those with less.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;

use super::{MemberSpec, Spec, java_order};
use crate::group::consumer::record::Partitions;
use crate::group::effect::MemberId;

pub(super) fn assign(spec: &Spec) -> BTreeMap<MemberId, Partitions> {
    let members = spec.members_in_order();
    let Some((_, first)) = members.first() else { return BTreeMap::new() };
    let capacity = java_order::copied_capacity(first.subscribed);
    let topics = java_order::sort(first.topics.iter().copied(), capacity, java_order::hash_of_id);
    if topics.is_empty() {
        return BTreeMap::new();
    }
    let owned: BTreeSet<(Uuid, i32)> = spec
        .members
        .values()
        .flat_map(|member| &member.target)
        .flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
        .collect();
    let mut free = Vec::new();
    let mut total = 0_usize;
    for &topic in &topics {
        let count = spec.partition_count(topic);
        free.extend((0..count).map(|partition| (topic, partition)).filter(|place| !owned.contains(place)));
        total += usize::try_from(count).unwrap_or(0);
    }
    let shares = Shares { least: total / members.len(), extra: total % members.len() };
    revoke_and_fill(&members, &topics.into_iter().collect(), shares, free)
}

/// How many partitions everybody gets, and how many members get one more.
struct Shares {
    least: usize,
    extra: usize,
}

fn revoke_and_fill(
    members: &[(&MemberId, &MemberSpec)],
    topics: &BTreeSet<Uuid>,
    mut shares: Shares,
    mut free: Vec<(Uuid, i32)>,
) -> BTreeMap<MemberId, Partitions> {
    let mut assignment = BTreeMap::new();
    let mut unfilled = Vec::new();
    for (index, &(id, member)) in members.iter().enumerate() {
        let mut has_extra = shares.extra > 0;
        let mut quota = shares.least + usize::from(has_extra);
        let mut kept = Partitions::new();
        for (topic, partitions) in targets_in_order(member) {
            if !topics.contains(&topic) {
                continue;
            }
            for partition in java_order::sort_numbers(partitions.iter().copied()) {
                if quota > 0 {
                    quota -= 1;
                    kept.entry(topic).or_default().insert(partition);
                } else {
                    free.push((topic, partition));
                }
            }
        }
        if quota > 0 && has_extra && members.len() - index > shares.extra {
            // Others can have the extra partition: moving one here would be for nothing.
            quota -= 1;
            has_extra = false;
        }
        if quota > 0 {
            unfilled.push((id, quota));
        }
        shares.extra -= usize::from(has_extra);
        assignment.insert(MemberId::clone(id), kept);
    }
    let mut free = free.into_iter();
    for (id, quota) in unfilled {
        let Some(partitions) = assignment.get_mut(id) else { continue };
        for (topic, partition) in free.by_ref().take(quota) {
            partitions.entry(topic).or_default().insert(partition);
        }
    }
    assignment
}

fn targets_in_order(member: &MemberSpec) -> Vec<(Uuid, &BTreeSet<i32>)> {
    let capacity = java_order::grown_capacity(member.target.len());
    let targets = member.target.iter().map(|(topic, partitions)| (*topic, partitions));
    java_order::sort(targets, capacity, |(topic, _)| java_order::hash_of_id(topic))
}
