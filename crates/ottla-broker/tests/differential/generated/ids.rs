//! The ids that a server draws for members of the classic protocol, and what hangs on them.
//!
//! In a group with members of both protocols an assignor visits members by the hashes of their ids (`uniform`, Java's hash
//! tables) or in the order of their ids (`range`). The ids of classic members are drawn at random by each server, so who is given
//! which partition, and how many, is a draw too. Two plays can be compared when their ids have the same order in both ways.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::world::World;

/// Ids of a server's members that matter for assignments, by group.
#[derive(Clone, Debug, Default)]
pub(super) struct DrawnIds {
    /// Drawn by the server, in the order in which they were.
    drawn: BTreeMap<u8, Vec<String>>,
    /// Numbers of the members that chose theirs.
    chosen: BTreeMap<u8, BTreeSet<u8>>,
}

impl DrawnIds {
    /// A classic member was handed this id.
    pub(super) fn note_drawn(&mut self, group: u8, id: &str) {
        let ids = self.drawn.entry(group).or_default();
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }

    /// A member of the newer protocol joins.
    pub(super) fn note_chosen(&mut self, group: u8, member: u8) {
        self.chosen.entry(group).or_default().insert(member);
    }
}

/// Whether the servers drew ids that have the same order; of ids that nobody compares any order will do.
pub(super) fn are_alike(ours: &World, theirs: &World) -> bool {
    ours.ids.chosen.iter().all(|(group, members)| {
        let ids = |world: &World| -> (Vec<String>, usize) {
            let chosen: Vec<String> = members.iter().map(|member| world.consumer_id(*member)).collect();
            let count = chosen.len();
            let drawn = world.ids.drawn.get(group).into_iter().flatten().cloned();
            (chosen.into_iter().chain(drawn).collect(), count)
        };
        let ((ours, chosen), (theirs, _)) = (ids(ours), ids(theirs));
        have_same_order(&ours, &theirs, chosen)
    })
}

/// Whether all pairs have the same order, but for those of the first `chosen`, which are the same on both sides.
fn have_same_order(ours: &[String], theirs: &[String], chosen: usize) -> bool {
    // Servers that did not draw as often differ for another reason.
    ours.len() != theirs.len()
        || (chosen..ours.len()).all(|later| {
            (0..later).all(|earlier| {
                let in_text = |ids: &[String]| ids[earlier].cmp(&ids[later]);
                let in_table = |ids: &[String]| bucket(&ids[earlier]).cmp(&bucket(&ids[later]));
                let order = in_table(ours);
                // Of two in one bucket Kafka visits the one first that came first.
                order != Ordering::Equal && order == in_table(theirs) && in_text(ours) == in_text(theirs)
            })
        })
}

/// The place of a text in a Java hash table of the usual size.
fn bucket(text: &str) -> u32 {
    let hash =
        text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    (hash ^ (hash >> 16)) & 15
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn only_ids_in_the_same_order_can_be_compared() {
        // Single characters are their own hashes: `a` is in bucket 1, `b` in 2, `q` in 1.
        assert_eq!(["a", "b", "q"].map(bucket), [1, 2, 1]);
        assert!(have_same_order(&texts(&["b", "a"]), &texts(&["b", "a"]), 1));
        assert!(have_same_order(&texts(&["b", "c"]), &texts(&["b", "d"]), 1));
        assert!(!have_same_order(&texts(&["b", "a"]), &texts(&["b", "c"]), 1), "the other way round");
        assert!(!have_same_order(&texts(&["b", "a"]), &texts(&["b", "q"]), 1), "in the order of texts");
        assert!(!have_same_order(&texts(&["a", "q"]), &texts(&["a", "q"]), 1), "in one bucket");
        assert!(have_same_order(&texts(&["a", "q"]), &texts(&["a", "q"]), 2), "chosen both");
        assert!(have_same_order(&texts(&["a", "b"]), &texts(&["a"]), 1), "not drawn as often");
    }
}
