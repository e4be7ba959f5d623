//! Writing a snapshot: `.part`, then frozen, then renamed (`RecordsSnapshotWriter`, `FileRawSnapshotWriter`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_storage::fs::{Fs, FsFile, OpenMode, remove_file_if_exists};
use ottla_types::{Offset, TimestampMs};

use super::SnapshotId;
use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, data_batch, record_bound};
use crate::{Control, QuorumError, VoterSet};

/// Records of at least this many bytes are written as soon as they are there. Kafka fills batches up to 8 MiB; smaller
/// ones need less memory and are read the same.
const BATCH_TARGET_BYTES: usize = 1 << 20;

/// What the first batch of a snapshot says.
#[derive(Clone, Debug)]
pub struct SnapshotHead {
    /// When the last covered batch was appended.
    pub last_contained_log_timestamp: TimestampMs,
    /// `kraft.version` at that place.
    pub kraft_version: i16,
    /// The voters at that place; written from `kraft.version` 1 on.
    pub voters: Option<VoterSet>,
}

/// A snapshot being written. Nothing exists under the final name before [`SnapshotWriter::freeze`].
#[derive(Debug)]
pub struct SnapshotWriter {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    id: SnapshotId,
    partial: PathBuf,
    file: Arc<dyn FsFile>,
    position: u64,
    next_offset: Offset,
    now_ms: TimestampMs,
    pending: Vec<Vec<u8>>,
    pending_bytes: usize,
}

impl SnapshotWriter {
    /// Begins a snapshot in the metadata partition's directory `dir`, which is created if needed. `nonce` keeps writers of
    /// the same id apart.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        id: SnapshotId,
        head: &SnapshotHead,
        now_ms: TimestampMs,
        nonce: u64,
    ) -> Result<Self, QuorumError> {
        fs.create_dir_all(dir)?;
        let partial = dir.join(id.partial_file_name(nonce));
        let file = fs.open(&partial, OpenMode::CreateNew)?;
        let mut writer = Self {
            fs,
            dir: dir.to_owned(),
            id,
            partial,
            file,
            position: 0,
            next_offset: Offset::ZERO,
            now_ms,
            pending: Vec::new(),
            pending_bytes: 0,
        };
        let mut controls =
            vec![Control::SnapshotHeader { last_contained_log_timestamp: head.last_contained_log_timestamp }];
        if head.kraft_version >= 1 {
            controls.push(Control::KRaftVersion(head.kraft_version));
            controls.extend(head.voters.clone().map(Control::Voters));
        }
        writer.write_controls(&controls)?;
        Ok(writer)
    }

    /// The snapshot's id.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Adds a metadata record in its frame.
    ///
    /// # Errors
    /// When the disk fails, or the record does not fit a batch.
    pub fn append(&mut self, value: Vec<u8>) -> Result<(), QuorumError> {
        let size = record_bound(&value);
        if size + 128 > MAX_BATCH_BYTES {
            return Err(QuorumError::BatchTooLarge { records: 1, bytes: size });
        }
        if self.pending_bytes + size > BATCH_TARGET_BYTES || self.pending.len() == MAX_BATCH_RECORDS {
            self.write_pending()?;
        }
        self.pending_bytes += size;
        self.pending.push(value);
        Ok(())
    }

    /// Completes the snapshot: durable, read-only, under its final name. Returns its size in bytes.
    ///
    /// # Errors
    /// When the disk fails; the snapshot does not exist then.
    pub fn freeze(mut self) -> Result<u64, QuorumError> {
        self.write_pending()?;
        self.write_controls(&[Control::SnapshotFooter])?;
        self.file.sync_data()?;
        self.fs.set_read_only(&self.partial, true)?;
        self.fs.rename(&self.partial, &self.dir.join(self.id.file_name()))?;
        self.fs.sync_dir(&self.dir)?;
        Ok(self.position)
    }

    /// Gives the snapshot up and removes what was written.
    ///
    /// # Errors
    /// When the disk fails; the next start removes the file.
    pub fn abandon(self) -> Result<(), QuorumError> {
        Ok(remove_file_if_exists(self.fs.as_ref(), &self.partial)?)
    }

    fn write_pending(&mut self) -> Result<(), QuorumError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let values = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let batch = data_batch(&values, self.next_offset, self.id.epoch, self.now_ms);
        let batch = batch.map_err(|source| QuorumError::Batch { offset: self.next_offset, source })?;
        self.write_batch(&batch, values.len())
    }

    fn write_controls(&mut self, controls: &[Control]) -> Result<(), QuorumError> {
        let batch = Control::batch(controls, self.next_offset, self.id.epoch, self.now_ms);
        let batch = batch.map_err(|source| QuorumError::Batch { offset: self.next_offset, source })?;
        self.write_batch(&batch, controls.len())
    }

    fn write_batch(&mut self, batch: &[u8], records: usize) -> Result<(), QuorumError> {
        self.file.write_at(batch, self.position)?;
        self.position += batch.len() as u64;
        self.next_offset =
            Offset(self.next_offset.0 + i64::try_from(records).expect("a batch has few records"));
        Ok(())
    }
}
