//! Cutting a segment, and building its indexes anew.

use std::sync::Arc;

use ottla_types::{NO_TIMESTAMP, Offset};

use super::cache::Loaded;
use super::{BatchSpan, Segment};
use crate::fs::{Fs, OpenMode, remove_file_if_exists};
use crate::log::error::LogError;
use crate::log::files;
use crate::log::offset_index::{OffsetIndex, OffsetPosition};
use crate::log::scan::HeaderScan;
use crate::log::time_index::{TimeIndex, TimestampOffset};
use crate::log::txn_index::TxnIndex;

impl Segment {
    /// Drops batches from the one that contains `offset` on.
    pub(crate) fn truncate_to(&mut self, fs: &dyn Fs, offset: Offset, now_ms: i64) -> Result<(), LogError> {
        let cut = self.locate(fs, offset)?;
        self.identity = Arc::default();
        let (index_path, time_path) = (self.path(files::INDEX), self.path(files::TIME_INDEX));
        let (log_path, txn_path) = (self.path(files::LOG), self.path(files::TXN_INDEX));
        let has_txn_index = self.has_txn_index;
        let mut cache = self.cache();
        let (file, index) = cache.offset_index_file(fs, self)?;
        index.truncate(file.as_ref(), offset).map_err(LogError::io("truncate", &index_path))?;
        let (file, index) = cache.time_index_file(fs, self)?;
        index.truncate(file.as_ref(), offset).map_err(LogError::io("truncate", &time_path))?;
        if has_txn_index {
            let (file, index) = cache.txn_index_file(fs, self)?;
            index.truncate(file.as_ref(), offset).map_err(LogError::io("truncate", &txn_path))?;
        }
        cache.recent.clear();
        cache.max_timestamp = None;
        let file = cache.log_file(fs, self)?;
        drop(cache);
        self.indexes_unsynced = true;
        self.bytes_since_index = 0;
        if let Some(cut) = cut {
            file.set_len(u64::from(cut.position)).map_err(LogError::io("truncate", &log_path))?;
            self.size = cut.position;
            self.changes += 1;
            self.modified_ms = now_ms;
        }
        if self.size == 0 {
            self.created_ms = now_ms;
            self.cache_mut().first_batch_timestamp = Some(None);
        }
        let largest = self.read_largest_timestamp(fs)?;
        self.cache_mut().max_timestamp = Some(largest);
        Ok(())
    }

    /// The largest timestamp, from the time index and the batches after its last entry.
    pub(crate) fn read_largest_timestamp(&self, fs: &dyn Fs) -> Result<TimestampOffset, LogError> {
        let mut cache = self.cache();
        let mut largest = cache.time_index(fs, self)?.last();
        let start = cache.lookup_offset(fs, self, largest.offset)?.position;
        let file = cache.log_file(fs, self)?;
        drop(cache);
        let mut scan = HeaderScan::new(file.as_ref(), u64::from(start), u64::from(self.size));
        while let Some((_, header)) = scan.next().map_err(|e| self.scan_error(e))? {
            if header.max_timestamp() > largest.timestamp {
                largest = TimestampOffset { timestamp: header.max_timestamp(), offset: header.last_offset() };
            }
        }
        Ok(largest)
    }

    /// Takes the offset index away, before a rebuild of the indexes of a segment that the next start would not look into. Once that is durable
    /// every start rebuilds them, Kafka's as well, until all of them are durable and the new one bears its name. Meanwhile that has one
    /// which every start removes.
    pub(crate) fn begin_rebuild(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let path = self.path(files::INDEX);
        remove_file_if_exists(fs, &path).map_err(LogError::io("remove", &path))?;
        self.cache_mut().offset_index = None;
        self.is_rebuilding = true;
        Ok(())
    }

    /// Whether [`Segment::finish_rebuild`] is due.
    pub(crate) fn is_rebuilding(&self) -> bool {
        self.is_rebuilding
    }

    /// Gives the offset index its name if it was rebuilt, when all indexes and their names are durable.
    pub(crate) fn finish_rebuild(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let from = self.path(files::INDEX);
        if !std::mem::take(&mut self.is_rebuilding) {
            return Ok(());
        }
        fs.rename(&from, &self.path(files::INDEX)).map_err(LogError::io("rename", &from))
    }

    /// Starts the indexes anew, for a rebuild. The files are written over and cut at the end ([`Segment::seal`]): what is right
    /// in them stays right if a crash interrupts or undoes that.
    pub(crate) fn reset_indexes(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let (index_path, time_path) = (self.path(files::INDEX), self.path(files::TIME_INDEX));
        let base = self.base;
        for path in [&index_path, &time_path] {
            fs.open(path, OpenMode::CreateOrOpen).map_err(LogError::io("open", path))?;
        }
        let mut txn_index = None;
        if self.has_txn_index {
            self.create_file(fs, files::TXN_INDEX)?;
            txn_index = Some(Loaded::closed(TxnIndex::default()));
        }
        self.indexes_unsynced = true;
        self.bytes_since_index = 0;
        let cache = self.cache_mut();
        cache.offset_index = Some(Loaded::closed(OffsetIndex::empty(base)));
        cache.time_index = Some(Loaded::closed(TimeIndex::empty(base)));
        cache.txn_index = txn_index;
        cache.max_timestamp = Some(TimestampOffset { timestamp: NO_TIMESTAMP, offset: base });
        cache.first_batch_timestamp = None;
        cache.recent.clear();
        Ok(())
    }

    /// Indexes a batch that recovery found on disk; `false` when its offset does not follow the one before.
    pub(crate) fn index_recovered(
        &mut self,
        fs: &dyn Fs,
        batch: &BatchSpan,
        position: u32,
        entry_due: bool,
    ) -> Result<bool, LogError> {
        let mut cache = self.cache();
        let mut max = cache.max_timestamp(fs, self)?;
        if batch.max_timestamp > max.timestamp {
            max = TimestampOffset { timestamp: batch.max_timestamp, offset: batch.last_offset };
            cache.max_timestamp = Some(max);
        }
        if !entry_due {
            return Ok(true);
        }
        if !cache.offset_index(fs, self)?.append(OffsetPosition { offset: batch.last_offset, position }) {
            return Ok(false);
        }
        cache.time_index(fs, self)?.maybe_append(max);
        if cache.offset_index(fs, self)?.needs_write() {
            cache.write_indexes(fs, self)?;
        }
        Ok(true)
    }

    /// Cuts the `.log` file to `size` bytes.
    pub(crate) fn cut_log(&mut self, fs: &dyn Fs, size: u32) -> Result<(), LogError> {
        let path = self.path(files::LOG);
        self.log_file(fs)?.set_len(u64::from(size)).map_err(LogError::io("truncate", &path))?;
        self.size = size;
        self.changes += 1;
        Ok(())
    }
}
