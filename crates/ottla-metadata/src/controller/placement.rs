//! Where the replicas of new partitions go: striped over racks and brokers (`StripedReplicaPlacer`).
//!
//! The first replica of a partition lands on an unfenced broker; the others walk the racks round robin, unfenced brokers of
//! a rack first. From partition to partition the rack and the broker inside it move on by one, and after as many partitions
//! as there are unfenced brokers the order is shuffled anew.

use ottla_types::NodeId;

use crate::random::Random;

/// A broker that may hold new replicas: not in controlled shutdown, and with a log directory that is not cordoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableBroker {
    /// The broker.
    pub id: NodeId,
    /// Its rack; brokers without one share a rack of their own.
    pub rack: Option<String>,
    /// Whether it is fenced: it may hold replicas, but not lead.
    pub fenced: bool,
}

/// Places `partitions` × `replication_factor` replicas on `brokers`.
///
/// # Errors
/// Kafka's text when there are too few brokers, or none that could lead.
pub fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replication_factor: i16,
    random: &mut Random,
) -> Result<Vec<Vec<NodeId>>, String> {
    let replicas = usize::try_from(replication_factor).unwrap_or(0);
    if replicas == 0 {
        return Err(format!(
            "Invalid replication factor {replication_factor}: the replication factor must be positive."
        ));
    }
    let unfenced = brokers.iter().filter(|broker| !broker.fenced).count();
    if unfenced == 0 {
        return Err(
            "All brokers are currently fenced, or have all their log directories cordoned.".to_owned()
        );
    }
    if replicas > brokers.len() {
        return Err(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {} broker(s) are \
             registered or some brokers have all their log directories cordoned.",
            brokers.len()
        ));
    }
    let mut racks = Racks::new(brokers, unfenced, random);
    Ok((0..partitions).map(|_| racks.place(replicas, random)).collect())
}

/// Brokers in an order that starts one further with each partition.
struct Ring {
    brokers: Vec<NodeId>,
    offset: usize,
    /// How many of them the current partition has taken.
    taken: usize,
}

impl Ring {
    fn new(mut brokers: Vec<NodeId>, random: &mut Random) -> Self {
        brokers.sort_unstable();
        let offset = if brokers.is_empty() { 0 } else { random.below(brokers.len()) };
        Self { brokers, offset, taken: 0 }
    }

    fn next(&mut self) -> Option<NodeId> {
        if self.taken >= self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.offset + self.taken) % self.brokers.len()];
        self.taken += 1;
        Some(broker)
    }

    fn next_partition(&mut self) {
        self.taken = 0;
        if !self.brokers.is_empty() {
            self.offset = (self.offset + 1) % self.brokers.len();
        }
    }
}

struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

struct Racks {
    racks: Vec<Rack>,
    offset: usize,
    unfenced: usize,
    /// Partitions placed since the last shuffle.
    placed: usize,
}

impl Racks {
    fn new(brokers: &[UsableBroker], unfenced: usize, random: &mut Random) -> Self {
        let mut names: Vec<_> = brokers.iter().map(|broker| &broker.rack).collect();
        names.sort_unstable();
        names.dedup();
        let ids = |rack: &Option<String>, fenced: bool| {
            let of_rack = brokers.iter().filter(|b| b.rack == *rack && b.fenced == fenced);
            of_rack.map(|broker| broker.id).collect()
        };
        let racks: Vec<_> = names
            .into_iter()
            .map(|rack| Rack {
                unfenced: Ring::new(ids(rack, false), random),
                fenced: Ring::new(ids(rack, true), random),
            })
            .collect();
        let offset = random.below(racks.len());
        Self { racks, offset, unfenced, placed: 0 }
    }

    fn place(&mut self, replicas: usize, random: &mut Random) -> Vec<NodeId> {
        if self.placed == self.unfenced && self.unfenced > 1 {
            self.shuffle(random);
        }
        let count = self.racks.len();
        let mut chosen = Vec::with_capacity(replicas);
        let mut first = self.offset;
        loop {
            if let Some(broker) = self.racks[first].unfenced.next() {
                chosen.push(broker);
                break;
            }
            first = (first + 1) % count;
        }
        // The leader's rack is passed over once: it has given its broker of the first round.
        let mut skip = Some(first);
        let mut at = self.offset;
        while chosen.len() < replicas {
            if skip == Some(at) {
                skip = None;
            } else {
                let rack = &mut self.racks[at];
                chosen.extend(rack.unfenced.next().or_else(|| rack.fenced.next()));
            }
            at = (at + 1) % count;
        }
        self.placed += 1;
        self.offset = (self.offset + 1) % count;
        for rack in &mut self.racks {
            rack.unfenced.next_partition();
            rack.fenced.next_partition();
        }
        chosen
    }

    fn shuffle(&mut self, random: &mut Random) {
        random.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            random.shuffle(&mut rack.unfenced.brokers);
            random.shuffle(&mut rack.fenced.brokers);
        }
        self.placed = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn broker(id: i32, rack: Option<&str>, fenced: bool) -> UsableBroker {
        UsableBroker { id: NodeId(id), rack: rack.map(str::to_owned), fenced }
    }

    #[test]
    fn one_broker_takes_everything() {
        let placed = place(&[broker(1, None, false)], 3, 1, &mut Random::from_u64(1)).unwrap();
        assert_eq!(placed, vec![vec![NodeId(1)]; 3]);
    }

    #[test]
    fn replicas_are_distinct_and_spread_over_racks_and_leaders_are_even() {
        let brokers: Vec<_> =
            (0..6).map(|id| broker(id, Some(["a", "b", "c"][id as usize % 3]), false)).collect();
        for seed in 0..50 {
            let placed = place(&brokers, 60, 3, &mut Random::from_u64(seed)).unwrap();
            let mut leaders = BTreeMap::new();
            for replicas in placed {
                *leaders.entry(replicas[0]).or_insert(0) += 1;
                let racks: BTreeSet<_> = replicas.iter().map(|id| id.0 % 3).collect();
                assert_eq!(racks.len(), 3, "{replicas:?}");
            }
            assert!(leaders.len() == 6 && leaders.values().all(|n| *n == 10), "{leaders:?}");
        }
    }

    #[test]
    fn fenced_brokers_never_lead_but_fill_up_the_replicas() {
        let brokers = [broker(1, None, true), broker(2, None, false), broker(3, None, true)];
        for replicas in place(&brokers, 20, 3, &mut Random::from_u64(3)).unwrap() {
            assert_eq!(replicas[0], NodeId(2));
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
        }
    }

    #[test]
    fn refuses_with_kafkas_texts() {
        let mut random = Random::from_u64(1);
        let one = [broker(1, None, false)];
        assert_eq!(
            place(&one, 1, 3, &mut random).unwrap_err(),
            "The target replication factor of 3 cannot be reached because only 1 broker(s) are registered or some \
             brokers have all their log directories cordoned."
        );
        assert_eq!(
            place(&[broker(1, None, true)], 1, 1, &mut random).unwrap_err(),
            "All brokers are currently fenced, or have all their log directories cordoned."
        );
        assert!(place(&one, 1, 0, &mut random).is_err());
    }
}
