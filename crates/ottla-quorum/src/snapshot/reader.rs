//! Reading a snapshot, whole or not at all.

use std::path::Path;

use ottla_record::{BatchHeader, BatchView, HEADER_LEN};
use ottla_storage::fs::{Fs, OpenMode};
use ottla_types::TimestampMs;

use super::SnapshotId;
use crate::batch::{MAX_BATCH_BYTES, MetadataBatch};
use crate::{Control, QuorumError};

/// A snapshot in memory.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which one.
    pub id: SnapshotId,
    /// When the last covered batch was appended.
    pub last_contained_log_timestamp: TimestampMs,
    /// All batches, header and footer included.
    pub batches: Vec<MetadataBatch>,
    /// Size of the file in bytes.
    pub size_bytes: u64,
}

impl Snapshot {
    /// Reads a snapshot file, and checks that it is complete: header first, footer last.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged or incomplete.
    pub fn read(fs: &dyn Fs, path: &Path, id: SnapshotId) -> Result<Self, QuorumError> {
        let corrupt = |what: String| QuorumError::CorruptSnapshot { path: path.to_owned(), what };
        let file = fs.open(path, OpenMode::Read)?;
        let size_bytes = file.len()?;
        let mut batches: Vec<MetadataBatch> = Vec::new();
        let mut position = 0;
        let mut buffer = Vec::new();
        while position < size_bytes {
            buffer.resize(HEADER_LEN, 0);
            let read = file.read_at(&mut buffer, position)?;
            buffer.truncate(read);
            let size = BatchHeader::parse(&buffer).map_err(|e| corrupt(e.to_string()))?.size_in_bytes();
            if size > MAX_BATCH_BYTES + HEADER_LEN || position + size as u64 > size_bytes {
                return Err(corrupt(format!(
                    "a batch of {size} bytes at {position} is cut off or too large"
                )));
            }
            buffer.resize(size, 0);
            let read = file.read_at(&mut buffer, position)?;
            buffer.truncate(read);
            let (batch, _) = BatchView::parse(&buffer).map_err(|e| corrupt(e.to_string()))?;
            batches.push(MetadataBatch::read(&batch).map_err(|e| corrupt(e.to_string()))?);
            position += size as u64;
        }
        let first = batches.first().and_then(|batch| batch.controls().first());
        let Some(Control::SnapshotHeader { last_contained_log_timestamp }) = first else {
            return Err(corrupt("it does not begin with a header".to_owned()));
        };
        if batches.last().and_then(|batch| batch.controls().last()) != Some(&Control::SnapshotFooter) {
            return Err(corrupt("it does not end with a footer".to_owned()));
        }
        let last_contained_log_timestamp = *last_contained_log_timestamp;
        Ok(Self { id, last_contained_log_timestamp, batches, size_bytes })
    }

    /// The metadata records in their frames, in order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.batches.iter().flat_map(MetadataBatch::values)
    }
}
