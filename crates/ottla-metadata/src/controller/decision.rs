//! What a request leads to.

use ottla_types::{BrokerEpoch, NodeId, Offset, TimestampMs};

use super::Controller;
use crate::record::VersionedRecord;

/// What the shell knows when it hands over a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The time.
    pub now_ms: TimestampMs,
    /// Offset of the next record that is appended to the metadata log.
    pub next_offset: Offset,
    /// Version of the request.
    pub api_version: i16,
    /// The quorum's `kraft.version`.
    pub kraft_version: i16,
}

/// Records to append, and the reply for when they are committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<R> {
    /// To append, in order.
    pub records: Vec<VersionedRecord>,
    /// To send once [`Controller::accept`]'s offset is committed.
    pub reply: R,
    /// The records must be one batch. Otherwise they may be split, at most
    /// [`MAX_RECORDS_PER_BATCH`](super::MAX_RECORDS_PER_BATCH) per batch.
    pub atomic: bool,
    /// What else changes, and is not in the log.
    pub effect: Effect,
}

/// A change of volatile state: sessions and what brokers have told about themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// None.
    #[default]
    None,
    /// A broker's heartbeat was answered.
    Heartbeat {
        /// The broker.
        broker: NodeId,
        /// Whether it is fenced from now on.
        fenced: bool,
        /// How far it has applied the metadata log.
        metadata_offset: Offset,
        /// Whether it is in controlled shutdown from now on.
        in_controlled_shutdown: bool,
        /// Whether it was told to stop: its session is over, so that its next incarnation need not wait for that.
        told_to_stop: bool,
    },
    /// A broker's session has ended.
    SessionExpired {
        /// The broker.
        broker: NodeId,
        /// Epoch of the registration that the session was of.
        epoch: BrokerEpoch,
    },
}

impl<R> Decision<R> {
    /// Records that may be split into batches.
    pub fn of(records: Vec<VersionedRecord>, reply: R) -> Self {
        Self { records, reply, atomic: false, effect: Effect::None }
    }

    /// Records that must stay in one batch.
    pub fn atomic(records: Vec<VersionedRecord>, reply: R) -> Self {
        Self { records, reply, atomic: true, effect: Effect::None }
    }

    /// A reply without records.
    pub fn reply(reply: R) -> Self {
        Self::of(Vec::new(), reply)
    }

    /// The same decision without its records, for requests that only validate.
    #[must_use]
    pub fn without_records(mut self) -> Self {
        self.records.clear();
        self
    }

    /// The same decision with another reply.
    pub fn map<T>(self, f: impl FnOnce(R) -> T) -> Decision<T> {
        Decision { records: self.records, reply: f(self.reply), atomic: self.atomic, effect: self.effect }
    }
}

impl Controller {
    pub(super) fn apply_effect(&mut self, effect: &Effect, last_offset: Offset) {
        match *effect {
            Effect::None => {}
            Effect::Heartbeat { broker, fenced, metadata_offset, in_controlled_shutdown, told_to_stop } => {
                self.heartbeats.touch(broker, fenced, metadata_offset);
                if told_to_stop && let Some(registered) = self.image.cluster().broker(broker) {
                    self.heartbeats.expire(broker, registered.epoch);
                }
                if in_controlled_shutdown {
                    self.heartbeats.note_controlled_shutdown(broker, last_offset);
                }
            }
            Effect::SessionExpired { broker, epoch } => {
                self.heartbeats.expire(broker, epoch);
                match self.image.cluster().broker(broker) {
                    Some(registered) if registered.epoch == epoch => self.heartbeats.fence(broker),
                    Some(_) => {}
                    None => self.heartbeats.remove(broker),
                }
            }
        }
    }
}
