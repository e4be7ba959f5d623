//! Server-side assignors: who shall read which partition (KIP-848).
//!
//! Assignments are those of Kafka's own assignors, down to the order in which members and topics are visited: that of Java's
//! hash tables ([`java_order`]). Of keys that share a bucket of such a table Kafka visits the one first that came first; here
//! it is the lower one.

pub(crate) mod java_order;
mod range;
mod uniform;
mod uniform_mixed;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::Uuid;

use super::record::Partitions;
use crate::group::effect::MemberId;

/// An assignor of this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Spreads partitions evenly and moves few (`UniformAssignor`).
    Uniform,
    /// Gives the same partitions of all topics to the same member (`RangeAssignor`).
    Range,
}

impl Assignor {
    /// The assignor with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Gives every partition of the subscribed topics to one of its subscribers.
    pub fn assign(self, spec: &Spec) -> BTreeMap<MemberId, Partitions> {
        if spec.members.is_empty() {
            return BTreeMap::new();
        }
        match (self, spec.is_homogeneous) {
            (Self::Range, is_homogeneous) => range::assign(spec, is_homogeneous),
            (Self::Uniform, true) => uniform::assign(spec),
            (Self::Uniform, false) => uniform_mixed::assign(spec),
        }
    }
}

/// A member with what it subscribes to and what it was to have.
#[derive(Clone, Debug, Default)]
pub struct MemberSpec {
    pub(crate) instance_id: Option<Arc<str>>,
    /// The topics that exist, in the order in which Kafka visits them.
    pub(crate) topics: Vec<Uuid>,
    /// How many topics it subscribes to, existing or not.
    pub(crate) subscribed: usize,
    pub(crate) target: Partitions,
}

impl MemberSpec {
    /// A member that subscribes to these topics, in the order of their names, and was to have `target`.
    pub fn new<'n>(
        instance_id: Option<Arc<str>>,
        names: impl ExactSizeIterator<Item = &'n str>,
        id_of: impl FnMut(&str) -> Option<Uuid>,
        target: Partitions,
    ) -> Self {
        let subscribed = names.len();
        let capacity = java_order::copied_capacity(subscribed);
        let names = java_order::sort(names, capacity, |name| java_order::hash_of_text(name));
        Self { instance_id, topics: names.into_iter().filter_map(id_of).collect(), subscribed, target }
    }
}

/// What is to be assigned.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The members.
    pub members: BTreeMap<MemberId, MemberSpec>,
    /// Whether all members subscribe to the same topics.
    pub is_homogeneous: bool,
    /// How many partitions each topic has.
    pub partitions: BTreeMap<Uuid, i32>,
}

impl Spec {
    fn partition_count(&self, topic: Uuid) -> i32 {
        self.partitions.get(&topic).copied().unwrap_or(0)
    }

    /// The members in the order in which Kafka visits them.
    fn members_in_order(&self) -> Vec<(&MemberId, &MemberSpec)> {
        let capacity = java_order::grown_capacity(self.members.len());
        java_order::sort(self.members.iter(), capacity, |(id, _)| java_order::hash_of_text(id))
    }
}
