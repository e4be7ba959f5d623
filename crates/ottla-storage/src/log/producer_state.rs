//! What a log knows of its producers (`ProducerStateManager`): sequences for idempotence, epochs for fencing, open
//! transactions for the last stable offset. Pure; its snapshot files are the log's business.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{NO_TIMESTAMP, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Batches remembered per producer, which is also the most a client keeps in flight.
pub(crate) const BATCHES_TO_RETAIN: usize = 5;
/// "No coordinator has written a marker."
pub(crate) const NO_COORDINATOR_EPOCH: i32 = -1;

/// A batch that can be recognised when it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchMetadata {
    pub(crate) last_sequence: Sequence,
    pub(crate) last_offset: Offset,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: TimestampMs,
}

impl BatchMetadata {
    pub(crate) fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }

    pub(crate) fn first_sequence(&self) -> Sequence {
        let (last, delta) = (self.last_sequence.value(), self.offset_delta);
        if last < delta {
            // Wrapped: counted back from the largest sequence (`DefaultRecordBatch.decrementSequence`).
            Sequence(i32::MAX.wrapping_sub(delta.wrapping_sub(last)).wrapping_add(1))
        } else {
            Sequence(last.wrapping_sub(delta))
        }
    }
}

/// State of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub(crate) epoch: ProducerEpoch,
    pub(crate) coordinator_epoch: i32,
    pub(crate) last_timestamp: TimestampMs,
    pub(crate) txn_first_offset: Option<Offset>,
    /// Oldest first, at most [`BATCHES_TO_RETAIN`].
    pub(crate) batches: Vec<BatchMetadata>,
}

impl ProducerEntry {
    fn unknown() -> Self {
        Self {
            epoch: ProducerEpoch::NONE,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            last_timestamp: NO_TIMESTAMP,
            txn_first_offset: None,
            batches: Vec::new(),
        }
    }

    pub(crate) fn last_sequence(&self) -> Sequence {
        self.batches.last().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn add_batch(&mut self, batch: BatchMetadata) {
        if self.batches.len() == BATCHES_TO_RETAIN {
            self.batches.remove(0);
        }
        self.batches.push(batch);
    }

    fn merge(&mut self, next: Self) {
        self.set_epoch(next.epoch);
        for batch in next.batches {
            self.add_batch(batch);
        }
        self.coordinator_epoch = next.coordinator_epoch;
        self.txn_first_offset = next.txn_first_offset;
        self.last_timestamp = next.last_timestamp;
    }

    fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.txn_first_offset.is_none() && now_ms.saturating_sub(self.last_timestamp) >= expiration_ms
    }
}

/// A finished transaction of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) aborted: bool,
}

/// What the transaction coordinator is asked about before the first batch of a transaction is appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerificationEntry {
    pub(crate) guard: u64,
    pub(crate) lowest_sequence: Sequence,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) supports_epoch_bump: bool,
    timestamp: TimestampMs,
}

/// An end-transaction marker: the one record of a control batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) abort: bool,
    pub(crate) coordinator_epoch: i32,
    pub(crate) timestamp: TimestampMs,
}

/// What the producer rules need of a batch with a producer id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProducerBatch {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) base_sequence: Sequence,
    pub(crate) last_sequence: Sequence,
    pub(crate) first_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: TimestampMs,
    pub(crate) transactional: bool,
    pub(crate) kind: BatchKind,
}

/// Data, a marker, or a marker whose record compaction has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchKind {
    Data,
    Marker(Marker),
    EmptyControl,
}

/// The effect of one append on one producer; nothing happens before [`ProducerState::apply`].
#[derive(Debug)]
pub(crate) struct ProducerUpdate {
    pub(crate) producer_id: ProducerId,
    pub(crate) entry: ProducerEntry,
    started: Option<Offset>,
    /// Set when the append lets a pending verification end.
    clear_verification: bool,
}

impl ProducerUpdate {
    /// Records a batch that passed the checks (or needs none); returns the transaction it finishes.
    pub(crate) fn add(&mut self, batch: &ProducerBatch, keep_verification: bool) -> Option<CompletedTxn> {
        if batch.transactional && !keep_verification {
            self.clear_verification = true;
        }
        match batch.kind {
            BatchKind::EmptyControl => None,
            BatchKind::Marker(marker) => {
                let completed = self.entry.txn_first_offset.map(|first_offset| CompletedTxn {
                    producer_id: self.producer_id,
                    first_offset,
                    last_offset: batch.first_offset,
                    aborted: marker.abort,
                });
                self.entry.set_epoch(batch.epoch);
                self.entry.coordinator_epoch = marker.coordinator_epoch;
                self.entry.txn_first_offset = None;
                self.entry.last_timestamp = marker.timestamp;
                completed
            }
            BatchKind::Data => {
                self.entry.set_epoch(batch.epoch);
                self.entry.add_batch(BatchMetadata {
                    last_sequence: batch.last_sequence,
                    last_offset: batch.last_offset,
                    offset_delta: i32::try_from(batch.last_offset - batch.first_offset).unwrap_or(i32::MAX),
                    timestamp: batch.max_timestamp,
                });
                self.entry.last_timestamp = batch.max_timestamp;
                if batch.transactional && self.entry.txn_first_offset.is_none() {
                    self.entry.txn_first_offset = Some(batch.first_offset);
                    self.started = Some(batch.first_offset);
                }
                None
            }
        }
    }
}

/// Producers and transactions of one log, as of the offset [`ProducerState::map_end`].
#[derive(Debug, Default)]
pub(crate) struct ProducerState {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Open transactions by first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Finished transactions whose marker is at or above the high watermark: first offset to marker offset.
    unreplicated: BTreeMap<Offset, Offset>,
    verification: BTreeMap<ProducerId, VerificationEntry>,
    /// Snapshot files in the directory, by offset.
    pub(crate) snapshots: BTreeSet<Offset>,
    /// The state includes all offsets below.
    pub(crate) map_end: Offset,
    /// Offset of the last snapshot taken or loaded; none is taken twice.
    pub(crate) last_snapshot: Offset,
}

impl ProducerState {
    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated.is_empty()
    }

    pub(crate) fn producers(&self) -> &BTreeMap<ProducerId, ProducerEntry> {
        &self.producers
    }

    pub(crate) fn entry(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    pub(crate) fn verification(&self, producer_id: ProducerId) -> Option<&VerificationEntry> {
        self.verification.get(&producer_id)
    }

    /// The batch among the remembered ones that has exactly these sequences.
    pub(crate) fn duplicate(&self, batch: &ProducerBatch) -> Option<BatchMetadata> {
        let entry = self.producers.get(&batch.producer_id).filter(|entry| entry.epoch == batch.epoch)?;
        entry
            .batches
            .iter()
            .find(|b| b.first_sequence() == batch.base_sequence && b.last_sequence == batch.last_sequence)
            .copied()
    }

    pub(crate) fn has_ongoing_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.entry(producer_id).is_some_and(|entry| entry.txn_first_offset.is_some() && entry.epoch == epoch)
    }

    /// Starts an update on top of the current state.
    pub(crate) fn prepare(&self, producer_id: ProducerId) -> ProducerUpdate {
        let mut entry = self.entry(producer_id).cloned().unwrap_or_else(ProducerEntry::unknown);
        entry.batches.clear();
        ProducerUpdate { producer_id, entry, started: None, clear_verification: false }
    }

    /// Makes an update part of the state.
    pub(crate) fn apply(&mut self, update: ProducerUpdate) {
        if update.clear_verification {
            self.verification.remove(&update.producer_id);
        }
        if let Some(first) = update.started {
            self.ongoing.insert(first, update.producer_id);
        }
        match self.producers.get_mut(&update.producer_id) {
            Some(entry) => entry.merge(update.entry),
            None => {
                self.producers.insert(update.producer_id, update.entry);
            }
        }
    }

    /// The last stable offset right after `txn` finished: the start of the oldest open transaction of anybody else.
    pub(crate) fn stable_offset_after(&self, txn: &CompletedTxn) -> Offset {
        let other = self.ongoing.iter().find(|(_, producer)| **producer != txn.producer_id);
        other.map_or(txn.last_offset.next(), |(first, _)| *first)
    }

    /// Moves a transaction from open to finished-but-not-replicated.
    pub(crate) fn complete(&mut self, txn: &CompletedTxn) {
        if self.ongoing.remove(&txn.first_offset).is_some() {
            self.unreplicated.insert(txn.first_offset, txn.last_offset);
        }
    }

    /// First offset of the oldest transaction that is open or not replicated; the last stable offset is below or at it.
    pub(crate) fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.ongoing.first_key_value().map(|(first, _)| *first);
        let finished = self.unreplicated.first_key_value().map(|(first, _)| *first);
        match (open, finished) {
            (Some(open), Some(finished)) => Some(open.min(finished)),
            (open, finished) => open.or(finished),
        }
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing.first_key_value().map(|(first, _)| *first)
    }

    /// Forgets finished transactions whose marker is below `offset` (the high watermark).
    pub(crate) fn replicated_to(&mut self, offset: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= offset);
        }
    }

    pub(crate) fn log_start_moved(&mut self, log_start: Offset) {
        self.replicated_to(log_start);
        self.map_end = self.map_end.max(log_start);
        self.last_snapshot = self.snapshots.last().copied().unwrap_or(log_start);
    }

    /// Forgets producers and open transactions, to be loaded again up to `end`. Finished transactions with a marker below it
    /// stay finished, and may still be above the high watermark (Kafka forgets them).
    pub(crate) fn clear_for_reload(&mut self, end: Offset) {
        self.producers.clear();
        self.ongoing.clear();
        self.unreplicated.retain(|_, marker| *marker < end);
    }

    /// Forgets all but verifications and snapshots.
    pub(crate) fn clear(&mut self) {
        self.clear_for_reload(Offset::ZERO);
    }

    /// Takes a producer over from a snapshot.
    pub(crate) fn load(&mut self, producer_id: ProducerId, entry: ProducerEntry) {
        if let Some(first) = entry.txn_first_offset {
            self.ongoing.insert(first, producer_id);
        }
        self.producers.insert(producer_id, entry);
    }

    /// Forgets producers and verifications that were idle for `expiration_ms`.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, entry| !entry.is_expired(now_ms, expiration_ms));
        self.verification.retain(|_, entry| now_ms.saturating_sub(entry.timestamp) < expiration_ms);
    }

    /// Last write of the producer of the oldest open transaction, to find hanging ones.
    pub(crate) fn oldest_txn_timestamp(&self) -> Option<TimestampMs> {
        let (_, producer) = self.ongoing.first_key_value()?;
        self.entry(*producer).map(|entry| entry.last_timestamp)
    }

    /// The guard of a producer's verification, made with `guard` if there is none. The lowest sequence seen is kept, so
    /// that a later batch cannot overtake one whose verification is to be repeated (`VerificationStateEntry`).
    pub(crate) fn start_verification(
        &mut self,
        request: VerificationRequest,
        guard: u64,
        now_ms: i64,
    ) -> u64 {
        let entry = self.verification.entry(request.producer_id).or_insert(VerificationEntry {
            guard,
            lowest_sequence: request.sequence,
            epoch: request.epoch,
            supports_epoch_bump: request.supports_epoch_bump,
            timestamp: now_ms,
        });
        if request.epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(request.sequence);
        } else if request.epoch > entry.epoch {
            entry.epoch = request.epoch;
            entry.lowest_sequence = request.sequence;
        }
        entry.guard
    }
}

/// The first batch of a transaction, about to be verified with the transaction coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationRequest {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its producer's epoch.
    pub epoch: ProducerEpoch,
    /// Its first sequence.
    pub sequence: Sequence,
    /// Whether the client speaks transaction version 2 (KIP-890), where each transaction has its own epoch.
    pub supports_epoch_bump: bool,
}

/// Proof that a verification was begun before the append and that no marker came in between. `Default` is the sentinel that
/// proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VerificationGuard(pub(crate) u64);
