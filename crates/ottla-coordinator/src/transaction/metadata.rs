//! What is known of one transactional id, and how it may change (`TransactionMetadata`).

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_types::{ProducerEpoch, ProducerId, TopicName};

use super::EPOCH_BUMP;
use super::state::TransactionState;

/// The largest epoch that a producer may be told: the one above is kept for fencing it.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// A transactional id as the log has it, and the epoch before the current one, which only memory knows.
///
/// Transitions make the next value; it holds when its record counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The producer.
    pub producer_id: ProducerId,
    /// The producer id before the last change.
    pub previous_producer_id: ProducerId,
    /// The producer id that follows when the markers are written, if epochs are used up.
    pub next_producer_id: ProducerId,
    /// The producer's epoch; none until the first InitProducerId counts.
    pub epoch: ProducerEpoch,
    /// The epoch before it, to know a repeated InitProducerId by.
    pub last_epoch: ProducerEpoch,
    /// `transaction.timeout.ms` of the producer.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TransactionState,
    /// The partitions that were written to.
    pub partitions: BTreeSet<(TopicName, i32)>,
    /// When its first partition was added; -1 none.
    pub start_ms: i64,
    /// When it changed last.
    pub last_update_ms: i64,
    /// The protocol that the client spoke when it changed last: `transaction.version` 0 or 2.
    pub client_version: i16,
}

impl Transaction {
    /// A transactional id that was not known.
    pub(crate) fn new(producer_id: ProducerId, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            epoch: ProducerEpoch::NONE,
            last_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            last_update_ms: now_ms,
            client_version: 0,
        }
    }

    /// Whether a producer with this epoch needs a new id.
    pub(crate) fn is_exhausted(epoch: ProducerEpoch) -> bool {
        epoch.value() >= LAST_EPOCH
    }

    /// Whether each transaction has an epoch of its own.
    pub(crate) fn bumps_epochs(&self) -> bool {
        self.client_version >= EPOCH_BUMP
    }

    fn next(&self, state: TransactionState, now_ms: i64) -> Self {
        Self { state, previous_producer_id: self.producer_id, last_update_ms: now_ms, ..self.clone() }
    }

    /// The epoch above the current one; the largest stays.
    pub(crate) fn bumped(&self) -> ProducerEpoch {
        ProducerEpoch(self.epoch.value().saturating_add(1))
    }

    /// InitProducerId with a new producer id, when epochs are used up.
    pub(crate) fn rotated(&self, id: ProducerId, timeout_ms: i32, keep_last: bool, now_ms: i64) -> Self {
        Self {
            producer_id: id,
            epoch: ProducerEpoch(0),
            last_epoch: if keep_last { self.epoch } else { ProducerEpoch::NONE },
            timeout_ms,
            partitions: BTreeSet::new(),
            start_ms: -1,
            ..self.next(TransactionState::Empty, now_ms)
        }
    }

    /// InitProducerId with the next epoch. A client that says which epoch it had must be right (KIP-360), or repeat its last
    /// request.
    ///
    /// # Errors
    /// `PRODUCER_FENCED`.
    pub(crate) fn initialised(
        &self,
        expected: Option<ProducerEpoch>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Result<Self, ErrorCode> {
        let (epoch, last_epoch) = match expected {
            None => (self.bumped(), ProducerEpoch::NONE),
            Some(expected) if self.epoch == ProducerEpoch::NONE || expected == self.epoch => {
                (self.bumped(), self.epoch)
            }
            Some(expected) if expected == self.last_epoch => (self.epoch, self.last_epoch),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        Ok(Self {
            epoch,
            last_epoch,
            timeout_ms,
            partitions: BTreeSet::new(),
            start_ms: -1,
            ..self.next(TransactionState::Empty, now_ms)
        })
    }

    /// More partitions; the first ones start the transaction.
    pub(crate) fn with_partitions(
        &self,
        added: &BTreeSet<(TopicName, i32)>,
        client_version: i16,
        now_ms: i64,
    ) -> Self {
        let start_ms = if self.state.is_idle() { now_ms } else { self.start_ms };
        let partitions = self.partitions.union(added).cloned().collect();
        Self { partitions, start_ms, client_version, ..self.next(TransactionState::Ongoing, now_ms) }
    }

    /// The decision. With epochs of their own the next transaction's epoch begins here, so that the markers fence what is
    /// left of this one. `is_new`: there was no transaction, and an abort is to end it nevertheless.
    pub(crate) fn decided(
        &self,
        commit: bool,
        client_version: i16,
        next_producer_id: ProducerId,
        is_new: bool,
        now_ms: i64,
    ) -> Self {
        let state = if commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
        let (epoch, last_epoch) = if client_version >= EPOCH_BUMP {
            (self.bumped(), self.epoch)
        } else {
            (self.epoch, self.last_epoch)
        };
        let start_ms = if is_new { now_ms } else { self.start_ms };
        Self { epoch, last_epoch, start_ms, next_producer_id, client_version, ..self.next(state, now_ms) }
    }

    /// The markers are written.
    pub(crate) fn completed(&self, now_ms: i64) -> Self {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        let (producer_id, epoch) = if self.bumps_epochs() && self.next_producer_id.is_some() {
            (self.next_producer_id, ProducerEpoch(0))
        } else {
            (self.producer_id, self.epoch)
        };
        Self {
            producer_id,
            epoch,
            next_producer_id: ProducerId::NONE,
            partitions: BTreeSet::new(),
            ..self.next(state, now_ms)
        }
    }
}
