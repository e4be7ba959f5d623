//! The log's producers: transaction verification, expiry, and the snapshot files (`ProducerStateManager`).

use std::sync::atomic::{AtomicU64, Ordering};

use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::files;
use super::producer_snapshot;
use super::producer_state::{VerificationGuard, VerificationRequest};
use super::{AppendError, Log, LogError, Trash};
use crate::fs::{OpenMode, read_file, remove_file_if_exists};

/// Guards are unique in the process, so that one from before a log was opened again proves nothing.
static NEXT_GUARD: AtomicU64 = AtomicU64::new(1);

/// Limit for reading a snapshot; 46 bytes each make it tens of millions of producers.
const MAX_SNAPSHOT_BYTES: u64 = 1 << 31;

/// A producer as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Last sequence written, or [`Sequence::NONE`].
    pub last_sequence: Sequence,
    /// Time of its last batch or marker.
    pub last_timestamp: TimestampMs,
    /// Epoch of the coordinator that wrote its last marker; -1 none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub txn_first_offset: Option<Offset>,
}

impl Log {
    /// The producers that have state here, by id.
    pub fn active_producers(&self) -> impl Iterator<Item = ActiveProducer> + '_ {
        self.producers.producers().iter().map(|(producer_id, entry)| ActiveProducer {
            producer_id: *producer_id,
            epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            txn_first_offset: entry.txn_first_offset,
        })
    }

    /// Time of the last write of the producer whose open transaction is the oldest; one far in the past hangs.
    pub fn oldest_transaction_timestamp(&self) -> Option<TimestampMs> {
        self.producers.oldest_txn_timestamp()
    }

    /// Whether a producer has an open transaction of this epoch here, so that its next batch needs no verification.
    pub fn has_ongoing_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.producers.has_ongoing_transaction(producer_id, epoch)
    }

    /// Begins the verification of a transaction's first batch: the guard goes into [`super::LeaderAppend::guard`] once the
    /// coordinator has confirmed. The sentinel: the transaction is open already, nothing to verify.
    ///
    /// # Errors
    /// [`AppendError::InvalidProducerEpoch`] for a fenced producer.
    pub fn start_transaction_verification(
        &mut self,
        request: VerificationRequest,
        now_ms: i64,
    ) -> Result<VerificationGuard, AppendError> {
        let producer_id = request.producer_id;
        if let Some(entry) = self.producers.entry(producer_id)
            && request.epoch < entry.epoch
        {
            let (found, current) = (request.epoch, entry.epoch);
            return Err(AppendError::InvalidProducerEpoch { producer_id, found, current });
        }
        if self.producers.has_ongoing_transaction(producer_id, request.epoch) {
            return Ok(VerificationGuard::default());
        }
        let fresh = NEXT_GUARD.fetch_add(1, Ordering::Relaxed);
        Ok(VerificationGuard(self.producers.start_verification(request, fresh, now_ms)))
    }

    /// Forgets producers without an open transaction that were idle for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now_ms: i64) {
        self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
    }

    /// Writes the producers to a snapshot at the state's end, unless there is one. Durable with the next flush.
    pub(super) fn take_snapshot(&mut self) -> Result<(), LogError> {
        let offset = self.producers.map_end;
        if offset <= self.producers.last_snapshot {
            return Ok(());
        }
        let path = files::path(&self.dir, offset, files::SNAPSHOT);
        let bytes = producer_snapshot::encode(self.producers.producers());
        let file = self.fs.open(&path, OpenMode::CreateOrOpen).map_err(LogError::io("create", &path))?;
        file.set_len(0).map_err(LogError::io("truncate", &path))?;
        file.write_at(&bytes, 0).map_err(LogError::io("write", &path))?;
        self.unsynced_files.push(file);
        self.dir_changes += 1;
        self.producers.snapshots.insert(offset);
        self.producers.last_snapshot = offset;
        Ok(())
    }

    /// Removes a snapshot file at once.
    pub(super) fn remove_snapshot(&mut self, offset: Offset) -> Result<(), LogError> {
        if self.producers.snapshots.remove(&offset) {
            let path = files::path(&self.dir, offset, files::SNAPSHOT);
            remove_file_if_exists(self.fs.as_ref(), &path).map_err(LogError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Renames a removed segment's snapshot for later removal.
    pub(super) fn discard_snapshot(&mut self, offset: Offset, now_ms: i64) -> Result<(), LogError> {
        if self.producers.snapshots.remove(&offset) {
            let path = files::path(&self.dir, offset, files::SNAPSHOT);
            self.discard_files(vec![path], now_ms)?;
        }
        Ok(())
    }

    /// Renames files to `.deleted` and queues them for removal.
    pub(super) fn discard_files(
        &mut self,
        paths: Vec<std::path::PathBuf>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let mut renamed = Vec::with_capacity(paths.len());
        for path in paths {
            let deleted = files::with_suffix(&path, files::DELETED);
            match self.fs.rename(&path, &deleted) {
                Ok(()) => renamed.push(deleted),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(LogError::io("rename", &path)(e)),
            }
        }
        let remove_at_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.trash.push_back(Trash { remove_at_ms, paths: renamed });
        self.dir_changes += 1;
        Ok(())
    }

    /// Loads the newest readable snapshot into an empty state; unreadable ones are removed and named in `corrupt`.
    pub(super) fn load_newest_snapshot(
        &mut self,
        log_start: Offset,
        now_ms: i64,
        corrupt: &mut Vec<Offset>,
    ) -> Result<(), LogError> {
        while let Some(&offset) = self.producers.snapshots.last() {
            let path = files::path(&self.dir, offset, files::SNAPSHOT);
            let bytes = match read_file(self.fs.as_ref(), &path, MAX_SNAPSHOT_BYTES) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Vec::new(),
                Err(e) => return Err(LogError::io("read", &path)(e)),
            };
            if let Ok(entries) = producer_snapshot::decode(&bytes) {
                for (producer_id, entry) in entries {
                    self.producers.load(producer_id, entry);
                }
                self.producers.expire(now_ms, self.config.producer_id_expiration_ms);
                self.producers.last_snapshot = offset;
                self.producers.map_end = offset;
                return Ok(());
            }
            corrupt.push(offset);
            self.remove_snapshot(offset)?;
        }
        self.producers.last_snapshot = log_start;
        self.producers.map_end = log_start;
        Ok(())
    }
}
