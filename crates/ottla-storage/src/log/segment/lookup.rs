//! Finding things in a segment: batches by offset, offsets by time, aborted transactions, and where it ends.

use ottla_types::{Offset, TimestampMs};

use super::{BatchPosition, Segment};
use crate::fs::{Fs, FsFile};
use crate::log::error::LogError;
use crate::log::files;
use crate::log::offset_index::{self, OffsetPosition};
use crate::log::scan::{BatchScan, HeaderScan, ScanError};
use crate::log::time_index::{self, TimestampOffset};
use crate::log::txn_index::AbortedTxn;

impl Segment {
    /// The first batch whose last offset is at or above `offset`.
    pub(crate) fn locate(&self, fs: &dyn Fs, offset: Offset) -> Result<Option<BatchPosition>, LogError> {
        let mut cache = self.cache();
        if cache.recent.front().is_some_and(|first| first.base_offset <= offset) {
            let at = cache.recent.partition_point(|batch| batch.last_offset < offset);
            return Ok(cache.recent.get(at).copied());
        }
        let start = cache.lookup_offset(fs, self, offset)?.position;
        let file = cache.log_file(fs, self)?;
        drop(cache);
        scan_for(file.as_ref(), start, self.size, offset).map_err(|e| self.scan_error(e))
    }

    /// The greatest index entry at or below `offset`, else the segment's start.
    pub(crate) fn lookup_offset(&self, fs: &dyn Fs, offset: Offset) -> Result<OffsetPosition, LogError> {
        self.cache().lookup_offset(fs, self, offset)
    }

    /// The greatest time index entry at or below `timestamp`; timestamp -1 and the base offset if there is none.
    pub(crate) fn lookup_timestamp(
        &self,
        fs: &dyn Fs,
        timestamp: TimestampMs,
    ) -> Result<TimestampOffset, LogError> {
        let mut cache = self.cache();
        let (file, index) = cache.searched_time_index(fs, self)?;
        let found = index.lookup(file.as_ref(), timestamp);
        found.map_err(|e| LogError::io("read", &self.path(files::TIME_INDEX))(e))
    }

    /// An offset that bounds the bytes below `position`: that of the first index entry at or after it.
    pub(crate) fn upper_bound_offset(&self, fs: &dyn Fs, position: u64) -> Result<Option<Offset>, LogError> {
        let mut cache = self.cache();
        let (file, index) = cache.searched_offset_index(fs, self)?;
        let found = index.first_at_position(file.as_ref(), position);
        let found = found.map_err(|e| LogError::io("read", &self.path(files::INDEX))(e))?;
        Ok(found.map(|entry| entry.offset))
    }

    /// Adds to `found` the aborted transactions that concern a reader of `[from, upper)`; `true` = complete.
    pub(crate) fn collect_aborted(
        &self,
        fs: &dyn Fs,
        from: Offset,
        upper: Offset,
        found: &mut Vec<AbortedTxn>,
    ) -> Result<bool, LogError> {
        if !self.has_txn_index {
            return Ok(false);
        }
        Ok(self.cache().txn_index(fs, self)?.collect(from, upper, found))
    }

    /// Whether the transaction index is readable and fits the segment.
    pub(crate) fn check_txn_index(&self, fs: &dyn Fs) -> Result<(), LogError> {
        if self.has_txn_index { self.cache().txn_index(fs, self).map(|_| ()) } else { Ok(()) }
    }

    /// Largest batch timestamp, and the last offset of the first batch that has it; -1 when there is none.
    pub(crate) fn max_timestamp(&self, fs: &dyn Fs) -> Result<TimestampOffset, LogError> {
        self.cache().max_timestamp(fs, self)
    }

    /// Maximum timestamp of the first batch, from which the age of a segment counts.
    pub(crate) fn first_batch_timestamp(&self, fs: &dyn Fs) -> Result<Option<TimestampMs>, LogError> {
        self.cache().first_batch_timestamp(fs, self)
    }

    /// Largest batch timestamp, or the time of the last change of the file when no batch has one; retention by time
    /// goes by it.
    pub(crate) fn largest_timestamp(&self, fs: &dyn Fs) -> Result<TimestampMs, LogError> {
        let max = self.max_timestamp(fs)?.timestamp;
        Ok(if max >= 0 { max } else { self.modified_ms })
    }

    /// The offset after the last batch, found by a scan from the last index entry.
    pub(crate) fn next_offset(&self, fs: &dyn Fs) -> Result<Offset, LogError> {
        if self.size == 0 {
            return Ok(self.base);
        }
        let mut cache = self.cache();
        let start = cache.offset_index(fs, self)?.last().map_or(0, |last| last.position);
        let file = cache.log_file(fs, self)?;
        drop(cache);
        let mut next = self.base;
        let mut scan = HeaderScan::new(file.as_ref(), u64::from(start), u64::from(self.size));
        while let Some((_, header)) = scan.next().map_err(|e| self.scan_error(e))? {
            next = header.next_offset();
        }
        Ok(next)
    }

    /// Whether the segment is whole and ends at `offset`: the batches after the last index entry are sound, and the indexes
    /// tell of them and of nothing else.
    pub(crate) fn ends_at(&self, fs: &dyn Fs, offset: Offset) -> Result<bool, LogError> {
        let mut cache = self.cache();
        let (index_file, index) = cache.offset_index_file(fs, self)?;
        let (last_entry, entries) = (index.last(), index.entries());
        let len = index_file.len().map_err(LogError::io("read", &self.path(files::INDEX)))?;
        let (time_file, index) = cache.time_index_file(fs, self)?;
        let (last_time, times) = (index.last(), index.entries());
        let times_len = time_file.len().map_err(LogError::io("read", &self.path(files::TIME_INDEX)))?;
        if len != entries * offset_index::ENTRY_LEN || times_len != times * time_index::ENTRY_LEN {
            return Ok(false);
        }
        if self.size == 0 {
            return Ok(len == 0 && times_len == 0 && self.base == offset);
        }
        let file = cache.log_file(fs, self)?;
        drop(cache);
        let start = last_entry.map_or(0, |last| last.position);
        let mut end = None;
        let mut scan = BatchScan::new(file.as_ref(), u64::from(start), u64::from(self.size));
        while let Some((_, batch)) = scan.next().map_err(|e| self.scan_error(e))? {
            let follows = match (end, last_entry) {
                (Some(end), _) => batch.base_offset() >= end,
                (None, Some(entry)) => batch.last_offset() == entry.offset,
                (None, None) => batch.base_offset() >= self.base,
            };
            if !follows || batch.verify_crc().is_err() || batch.max_timestamp() > last_time.timestamp {
                return Ok(false);
            }
            end = Some(batch.next_offset());
        }
        Ok(end == Some(offset) && (times == 0 || last_time.offset < offset))
    }
}

/// The first batch from byte `start` on whose last offset is at or above `offset`.
pub(super) fn scan_for(
    file: &dyn FsFile,
    start: u32,
    size: u32,
    offset: Offset,
) -> Result<Option<BatchPosition>, ScanError> {
    let mut scan = HeaderScan::new(file, u64::from(start), u64::from(size));
    while let Some((position, header)) = scan.next()? {
        if header.last_offset() >= offset {
            return Ok(Some(BatchPosition {
                base_offset: header.base_offset(),
                last_offset: header.last_offset(),
                position: u32::try_from(position).expect("within the segment's size"),
                size: u32::try_from(header.size_in_bytes()).expect("within the segment's size"),
            }));
        }
    }
    Ok(None)
}
