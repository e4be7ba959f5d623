//! Sessions of brokers, and what their heartbeats told (`BrokerHeartbeatManager`, `BrokerHeartbeatTracker`). Nothing here
//! is in the log: a new active controller starts with every session fresh.

use std::collections::BTreeMap;

use ottla_types::{BrokerEpoch, NodeId, Offset, TimestampMs};

#[derive(Clone, Copy, Debug)]
struct Broker {
    fenced: bool,
    /// How far it has applied the log; -1 unknown.
    metadata_offset: Offset,
    /// End of the batch that its controlled shutdown waits for others to apply.
    controlled_shutdown: Option<Offset>,
}

/// The brokers' sessions.
#[derive(Clone, Debug)]
pub(super) struct Heartbeats {
    session_timeout_ms: i64,
    brokers: BTreeMap<NodeId, Broker>,
    /// Last contact, per registration.
    contacts: BTreeMap<(NodeId, BrokerEpoch), TimestampMs>,
}

impl Heartbeats {
    pub(super) fn new(session_timeout_ms: i64) -> Self {
        Self { session_timeout_ms, brokers: BTreeMap::new(), contacts: BTreeMap::new() }
    }

    /// Notes that a broker was heard of.
    pub(super) fn contact(&mut self, broker: NodeId, epoch: BrokerEpoch, now_ms: TimestampMs) {
        self.contacts.insert((broker, epoch), now_ms);
    }

    /// Whether that registration's session has not run out.
    pub(super) fn has_session(&self, broker: NodeId, epoch: BrokerEpoch, now_ms: TimestampMs) -> bool {
        self.contacts.get(&(broker, epoch)).is_some_and(|contact| !self.has_expired(*contact, now_ms))
    }

    fn has_expired(&self, contact: TimestampMs, now_ms: TimestampMs) -> bool {
        contact.saturating_add(self.session_timeout_ms) < now_ms
    }

    /// A session that has run out: the oldest.
    pub(super) fn expired(&self, now_ms: TimestampMs) -> Option<(NodeId, BrokerEpoch)> {
        let expired = self.contacts.iter().filter(|(_, contact)| self.has_expired(**contact, now_ms));
        expired.min_by_key(|(_, contact)| **contact).map(|(registration, _)| *registration)
    }

    pub(super) fn expire(&mut self, broker: NodeId, epoch: BrokerEpoch) {
        self.contacts.remove(&(broker, epoch));
    }

    /// Takes a broker over from a record about it.
    pub(super) fn register(&mut self, id: NodeId, fenced: bool) {
        let known = self.brokers.get(&id);
        let metadata_offset =
            known.filter(|b| b.fenced != fenced).map_or(Offset::NONE, |b| b.metadata_offset);
        self.brokers.entry(id).or_insert(Broker { fenced, metadata_offset, controlled_shutdown: None });
        self.touch(id, fenced, metadata_offset);
    }

    /// Takes a heartbeat over.
    pub(super) fn touch(&mut self, id: NodeId, fenced: bool, metadata_offset: Offset) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.fenced = fenced;
            broker.metadata_offset = metadata_offset;
            if fenced {
                broker.controlled_shutdown = None;
            }
        }
    }

    pub(super) fn fence(&mut self, id: NodeId) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.fenced = true;
        }
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        self.brokers.remove(&id);
    }

    /// The first batch of a controlled shutdown ends at `offset`.
    pub(super) fn note_controlled_shutdown(&mut self, id: NodeId, offset: Offset) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.controlled_shutdown.get_or_insert(offset);
        }
    }

    pub(super) fn is_fenced(&self, id: NodeId) -> bool {
        self.brokers.get(&id).is_none_or(|broker| broker.fenced)
    }

    /// End of the batch that a broker's controlled shutdown waits for.
    pub(super) fn controlled_shutdown(&self, id: NodeId) -> Option<Offset> {
        self.brokers.get(&id)?.controlled_shutdown
    }

    /// What all brokers that stay up have applied at least; the largest offset when there are none.
    pub(super) fn lowest_active_offset(&self) -> Offset {
        let active = self.brokers.values().filter(|b| !b.fenced && b.controlled_shutdown.is_none());
        active.map(|broker| broker.metadata_offset).min().unwrap_or(Offset::MAX)
    }
}
