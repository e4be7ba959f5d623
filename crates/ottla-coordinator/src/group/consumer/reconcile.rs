//! The next step of a member towards its target (`CurrentAssignmentBuilder`): it gives up first, then takes what is free.

use std::collections::BTreeSet;

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_types::Uuid;

use super::member::ConsumerMember;
use super::record::{CurrentAssignment, MemberState, OwnedPartitions, Partitions};

/// What the step depends on.
pub(crate) struct Reconciliation<'a> {
    pub(crate) target_epoch: i32,
    pub(crate) target: &'a Partitions,
    /// The topics that the member subscribes to and that exist.
    pub(crate) subscribed: &'a BTreeSet<Uuid>,
    pub(crate) has_subscription_changed: bool,
    /// The epoch in which a partition is owned, by anyone.
    pub(crate) owner_epoch: &'a dyn Fn(Uuid, i32) -> Option<i32>,
    /// What the member says it has; `None` when it did not say.
    pub(crate) owned: Option<&'a [TopicPartitions]>,
}

/// A member in an unknown state that still has partitions: it must start over.
#[derive(Debug)]
pub(crate) struct Fenced;

impl Reconciliation<'_> {
    /// Where the member stands next.
    pub(crate) fn next(&self, member: &ConsumerMember) -> Result<CurrentAssignment, Fenced> {
        let current = &member.current;
        match current.state {
            MemberState::Stable if current.epoch != self.target_epoch => {
                Ok(self.advance(current, current.epoch))
            }
            MemberState::Stable if self.has_subscription_changed => Ok(self.drop_unsubscribed(current)),
            MemberState::Stable => Ok(current.clone()),
            MemberState::UnrevokedPartitions if self.still_owns(&current.pending_revocation) => {
                let changed = self.has_subscription_changed;
                Ok(if changed { self.drop_unsubscribed(current) } else { current.clone() })
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.advance(current, current.epoch))
            }
            MemberState::Unknown if self.owned.is_some_and(<[_]>::is_empty) => {
                Ok(self.advance(current, self.target_epoch))
            }
            MemberState::Unknown => Err(Fenced),
        }
    }

    fn still_owns(&self, revoked: &OwnedPartitions) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|topic| {
            let revoked = revoked.get(&topic.topic_id);
            revoked.is_some_and(|revoked| {
                topic.partitions.iter().any(|partition| revoked.contains_key(partition))
            })
        })
    }

    /// Takes away the topics that it does not subscribe to any more, within its epoch.
    fn drop_unsubscribed(&self, current: &CurrentAssignment) -> CurrentAssignment {
        let mut assigned = current.assigned.clone();
        let mut pending_revocation = current.pending_revocation.clone();
        assigned.retain(|topic, partitions| {
            let keep = self.subscribed.contains(topic);
            if !keep {
                pending_revocation.entry(*topic).or_default().append(partitions);
            }
            keep
        });
        if assigned.len() == current.assigned.len() {
            return current.clone();
        }
        let next = CurrentAssignment { previous_epoch: current.epoch, assigned, ..current.clone() };
        if !pending_revocation.is_empty() && self.still_owns(&pending_revocation) {
            return CurrentAssignment { state: MemberState::UnrevokedPartitions, pending_revocation, ..next };
        }
        next
    }

    fn advance(&self, current: &CurrentAssignment, epoch: i32) -> CurrentAssignment {
        let nothing = BTreeSet::new();
        let mut kept = OwnedPartitions::new();
        let mut revoked = OwnedPartitions::new();
        let mut taken = OwnedPartitions::new();
        let mut is_waiting = false;
        let topics: BTreeSet<&Uuid> = self.target.keys().chain(current.assigned.keys()).collect();
        for topic in topics {
            let is_subscribed = self.subscribed.contains(topic);
            let target = self.target.get(topic).filter(|_| is_subscribed).unwrap_or(&nothing);
            let assigned = current.assigned.get(topic);
            for (&partition, &since) in assigned.into_iter().flatten() {
                let list = if target.contains(&partition) { &mut kept } else { &mut revoked };
                list.entry(*topic).or_default().insert(partition, since);
            }
            for &partition in target {
                if assigned.is_some_and(|assigned| assigned.contains_key(&partition)) {
                    continue;
                }
                let was_mine =
                    current.pending_revocation.get(topic).is_some_and(|mine| mine.contains_key(&partition));
                if (self.owner_epoch)(*topic, partition).is_some() && !was_mine {
                    is_waiting = true;
                } else {
                    taken.entry(*topic).or_default().insert(partition, self.target_epoch);
                }
            }
        }
        if !revoked.is_empty() && self.still_owns(&revoked) {
            return CurrentAssignment {
                epoch,
                previous_epoch: current.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: kept,
                pending_revocation: revoked,
            };
        }
        for (topic, mut partitions) in taken {
            kept.entry(topic).or_default().append(&mut partitions);
        }
        CurrentAssignment {
            epoch: self.target_epoch,
            previous_epoch: current.epoch,
            state: if is_waiting { MemberState::UnreleasedPartitions } else { MemberState::Stable },
            assigned: kept,
            pending_revocation: OwnedPartitions::new(),
        }
    }
}
