//! `RangeAssignor`: each topic is cut into ranges, one for each of its subscribers, static members first.

use std::collections::BTreeMap;

use ottla_types::Uuid;

use super::{MemberSpec, Spec};
use crate::group::consumer::record::Partitions;
use crate::group::effect::MemberId;

/// A topic that is being handed out.
#[derive(Debug, Default)]
struct Topic {
    partitions: i32,
    subscribers: i32,
    next: i32,
    /// How many members still get one partition more than the others; `None` before the first.
    extra: Option<i32>,
}

impl Topic {
    /// The range of the next subscriber.
    fn take(&mut self) -> std::ops::Range<i32> {
        let extra = self.extra.get_or_insert(self.partitions % self.subscribers);
        let mut quota = self.partitions / self.subscribers;
        if *extra > 0 {
            *extra -= 1;
            quota += 1;
        }
        let start = self.next;
        self.next = (start + quota).min(self.partitions);
        start..self.next
    }
}

/// Static members by their instance ids, then the others by their member ids.
fn rank<'a>(&(id, member): &(&'a MemberId, &'a MemberSpec)) -> (bool, &'a str) {
    match &member.instance_id {
        Some(instance) => (false, instance.as_ref()),
        None => (true, id.as_ref()),
    }
}

pub(super) fn assign(spec: &Spec, is_homogeneous: bool) -> BTreeMap<MemberId, Partitions> {
    let mut members: Vec<(&MemberId, &MemberSpec)> = spec.members.iter().collect();
    members.sort_by(|a, b| rank(a).cmp(&rank(b)));
    let first: &[Uuid] = members.first().map_or(&[], |(_, member)| &member.topics);
    let topics_of = |member: &MemberSpec| if is_homogeneous { first.to_vec() } else { member.topics.clone() };
    let mut topics: BTreeMap<Uuid, Topic> = BTreeMap::new();
    for (_, member) in &members {
        for id in topics_of(member) {
            let topic = topics.entry(id).or_default();
            topic.partitions = spec.partition_count(id);
            topic.subscribers += 1;
        }
    }
    let mut assignment = BTreeMap::new();
    for (id, member) in members {
        let mut partitions = Partitions::new();
        for topic_id in topics_of(member) {
            let range = topics.entry(topic_id).or_default().take();
            if !range.is_empty() {
                partitions.insert(topic_id, range.collect());
            }
        }
        assignment.insert(MemberId::clone(id), partitions);
    }
    assignment
}
