//! `UniformAssignor` for members with different subscriptions (`UniformHeterogeneousAssignmentBuilder`): what has no owner
//! goes to the subscribers with least, then topics are balanced one by one until nothing moves.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ottla_types::Uuid;

use super::{MemberSpec, Spec};
use crate::group::consumer::record::Partitions;
use crate::group::effect::MemberId;

/// How often all topics are balanced at most.
const MAX_ROUNDS: usize = 16;

pub(super) fn assign(spec: &Spec) -> BTreeMap<MemberId, Partitions> {
    let mut board = Board::new(spec);
    board.keep();
    board.hand_out();
    board.balance();
    board.finish()
}

/// Members by index, and who has which partition.
struct Board<'s> {
    members: Vec<(&'s MemberId, &'s MemberSpec)>,
    /// Per topic the members that subscribe to it, in order.
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    owners: BTreeMap<Uuid, Vec<Option<usize>>>,
    /// How many partitions each member has.
    sizes: Vec<usize>,
}

impl<'s> Board<'s> {
    fn new(spec: &'s Spec) -> Self {
        let members = spec.members_in_order();
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (index, (_, member)) in members.iter().enumerate() {
            for &topic in &member.topics {
                subscribers.entry(topic).or_default().push(index);
            }
        }
        let nobodys = |topic: &Uuid| vec![None; usize::try_from(spec.partition_count(*topic)).unwrap_or(0)];
        let owners = subscribers.keys().map(|topic| (*topic, nobodys(topic))).collect();
        let sizes = vec![0; members.len()];
        Self { members, subscribers, owners, sizes }
    }

    /// Everybody keeps what it was to have of the topics that it still subscribes to.
    fn keep(&mut self) {
        for (index, (_, member)) in self.members.iter().enumerate() {
            for (topic, partitions) in &member.target {
                if !member.topics.contains(topic) {
                    continue;
                }
                self.sizes[index] += partitions.len();
                let Some(owners) = self.owners.get_mut(topic) else { continue };
                for partition in partitions {
                    let owner = usize::try_from(*partition).ok().and_then(|index| owners.get_mut(index));
                    if let Some(owner) = owner {
                        *owner = Some(index);
                    }
                }
            }
        }
    }

    fn hand_out(&mut self) {
        let has_free = |(_, owners): &(&Uuid, &Vec<Option<usize>>)| owners.contains(&None);
        let topics: Vec<Uuid> = self.owners.iter().filter(has_free).map(|(topic, _)| *topic).collect();
        for topic in self.in_order(topics) {
            let mut scale = Scale::new(&self.subscribers[&topic], &self.sizes);
            for partition in 0..self.owners[&topic].len() {
                if self.owners[&topic][partition].is_none() {
                    let member = scale.next_least(&self.sizes);
                    self.give(topic, partition, member);
                }
            }
        }
    }

    /// The topics with most partitions per subscriber first.
    fn in_order(&self, mut topics: Vec<Uuid>) -> Vec<Uuid> {
        #[expect(clippy::cast_precision_loss, reason = "as Kafka compares, and counts are small")]
        let ratio = |topic: &Uuid| self.owners[topic].len() as f64 / self.subscribers[topic].len() as f64;
        topics.sort_by(|a, b| {
            let by_ratio = ratio(b).total_cmp(&ratio(a));
            let by_subscribers = self.subscribers[a].len().cmp(&self.subscribers[b].len());
            by_ratio.then(by_subscribers).then_with(|| compare_ids(a, b))
        });
        topics
    }

    fn balance(&mut self) {
        let shared = |(_, members): &(&Uuid, &Vec<usize>)| members.len() >= 2;
        let topics: Vec<Uuid> = self.subscribers.iter().filter(shared).map(|(topic, _)| *topic).collect();
        let topics = self.in_order(topics);
        let mut last_moved = None;
        for _ in 0..MAX_ROUNDS {
            for (index, &topic) in topics.iter().enumerate() {
                if last_moved == Some(index) {
                    return;
                }
                if self.balance_topic(topic) > 0 || last_moved.is_none() {
                    last_moved = Some(index);
                }
            }
        }
    }

    /// Moves partitions of the topic from its most loaded subscribers to the least loaded ones. Returns how many.
    fn balance_topic(&mut self, topic: Uuid) -> usize {
        let mut scale = Scale::new(&self.subscribers[&topic], &self.sizes);
        if scale.imbalance(&self.sizes) <= 1 {
            return 0;
        }
        // What each member can give, the highest partition first.
        let mut stock: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in self.owners[&topic].iter().enumerate() {
            if let Some(owner) = owner {
                stock.entry(*owner).or_default().push(partition);
            }
        }
        let mut moved = 0;
        while !scale.is_balanced() {
            let Some(most) = scale.next_most(&self.sizes) else { return moved };
            let Some(partition) = stock.get_mut(&most).and_then(Vec::pop) else {
                scale.exclude_most();
                continue;
            };
            let least = scale.next_least(&self.sizes);
            if scale.is_balanced() {
                return moved;
            }
            self.give(topic, partition, least);
            moved += 1;
        }
        moved
    }

    fn give(&mut self, topic: Uuid, partition: usize, member: usize) {
        let Some(owner) = self.owners.get_mut(&topic).and_then(|owners| owners.get_mut(partition)) else {
            return;
        };
        if let Some(old) = owner.replace(member) {
            self.sizes[old] -= 1;
        }
        self.sizes[member] += 1;
    }

    fn finish(self) -> BTreeMap<MemberId, Partitions> {
        let ids: Vec<MemberId> = self.members.iter().map(|(id, _)| MemberId::clone(id)).collect();
        let mut assignment: BTreeMap<MemberId, Partitions> =
            ids.iter().map(|id| (id.clone(), Partitions::new())).collect();
        for (topic, owners) in self.owners {
            for (partition, owner) in owners.into_iter().enumerate() {
                let Some(partitions) = owner.and_then(|owner| assignment.get_mut(&ids[owner])) else {
                    continue;
                };
                partitions.entry(topic).or_default().extend(i32::try_from(partition).ok());
            }
        }
        assignment
    }
}

/// `Uuid.compareTo`: the halves as signed numbers.
fn compare_ids(a: &Uuid, b: &Uuid) -> Ordering {
    let halves = |id: &Uuid| {
        let bits = u128::from_be_bytes(*id.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the id")]
        [((bits >> 64) as u64).cast_signed(), (bits as u64).cast_signed()]
    };
    halves(a).cmp(&halves(b))
}

/// Finds the least and most loaded members of a topic while partitions move between them.
struct Scale {
    sorted: Vec<usize>,
    least_end: usize,
    least_count: i64,
    next_least: usize,
    most_start: usize,
    most_end: usize,
    most_count: i64,
    /// One above the index of the next most loaded member.
    above_next_most: usize,
}

impl Scale {
    fn new(members: &[usize], sizes: &[usize]) -> Self {
        let mut sorted = members.to_vec();
        sorted.sort_by_key(|&member| (sizes[member], member));
        let size = |member: Option<&usize>| member.map_or(0, |&member| count(sizes[member]));
        Self {
            least_end: 0,
            least_count: size(sorted.first()) - 1,
            next_least: 0,
            most_start: sorted.len(),
            most_end: sorted.len(),
            most_count: size(sorted.last()) + 1,
            above_next_most: sorted.len(),
            sorted,
        }
    }

    fn imbalance(&self, sizes: &[usize]) -> usize {
        let size = |member: Option<&usize>| member.map_or(0, |&member| sizes[member]);
        size(self.sorted.last()) - size(self.sorted.first())
    }

    fn next_least(&mut self, sizes: &[usize]) -> usize {
        if self.next_least >= self.least_end {
            self.least_count += 1;
            while self.sorted.get(self.least_end).is_some_and(|&m| count(sizes[m]) == self.least_count) {
                self.least_end += 1;
            }
            self.next_least = 0;
        }
        self.next_least += 1;
        self.sorted[self.next_least - 1]
    }

    fn next_most(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.above_next_most < self.most_start + 1 {
            if self.most_end <= self.most_start && self.most_start > 0 {
                self.most_count = count(sizes[self.sorted[self.most_start - 1]]);
            } else {
                self.most_count -= 1;
            }
            while self.most_start > 0 && count(sizes[self.sorted[self.most_start - 1]]) == self.most_count {
                self.most_start -= 1;
            }
            self.above_next_most = self.most_end;
        }
        self.above_next_most = self.above_next_most.checked_sub(1)?;
        Some(self.sorted[self.above_next_most])
    }

    /// The member that [`next_most`](Self::next_most) returned last has nothing to give.
    fn exclude_most(&mut self) {
        self.most_end -= 1;
        self.sorted.swap(self.above_next_most, self.most_end);
    }

    fn is_balanced(&self) -> bool {
        self.most_count - self.least_count <= 1
    }
}

fn count(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
