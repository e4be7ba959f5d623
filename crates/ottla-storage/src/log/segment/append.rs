//! Writing to the active segment: batches and their index entries, until it is full and sealed.

use std::collections::VecDeque;

use ottla_types::{Offset, TimestampMs};

use super::cache::Loaded;
use super::{BatchPosition, BatchSpan, RECENT_BATCHES, Segment};
use crate::fs::Fs;
use crate::log::config::LogConfig;
use crate::log::error::LogError;
use crate::log::files;
use crate::log::offset_index::OffsetPosition;
use crate::log::time_index::TimestampOffset;
use crate::log::txn_index::{AbortedTxn, TxnIndex};

impl Segment {
    /// Whether `offset` can be expressed relative to the base.
    pub(crate) fn can_hold(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&(offset.0.wrapping_sub(self.base.0)))
    }

    /// Whether a new segment must be started for an append of `size` bytes up to `last_offset` (`shouldRoll`).
    pub(crate) fn should_roll(
        &self,
        fs: &dyn Fs,
        config: &LogConfig,
        size: usize,
        max_timestamp: TimestampMs,
        last_offset: Offset,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        if u64::from(self.size) + size as u64 > u64::from(config.segment_bytes) || !self.can_hold(last_offset)
        {
            return Ok(true);
        }
        let mut cache = self.cache();
        if self.size > 0 {
            let waited = match cache.first_batch_timestamp(fs, self)? {
                Some(first) if first >= 0 => max_timestamp.saturating_sub(first),
                _ => now_ms.saturating_sub(self.created_ms),
            };
            if waited > config.roll_ms().saturating_sub(self.jitter_ms) {
                return Ok(true);
            }
        }
        Ok(cache.offset_index(fs, self)?.is_full(config.segment_index_bytes)
            || cache.time_index(fs, self)?.is_full(config.segment_index_bytes))
    }

    /// Writes batches at the end and indexes them.
    pub(crate) fn append(
        &mut self,
        fs: &dyn Fs,
        bytes: &[u8],
        batches: &[BatchSpan],
        index_interval_bytes: u32,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let written = self.log_file(fs)?.write_at(bytes, u64::from(self.size));
        written.map_err(|e| LogError::io("write", &self.path(files::LOG))(e))?;
        self.changes += 1;
        self.indexes_unsynced = true;
        self.modified_ms = now_ms;
        let mut position = self.size;
        for batch in batches {
            self.index_batch(fs, batch, position, index_interval_bytes)?;
            position += batch.size;
        }
        self.size = position;
        Ok(())
    }

    fn index_batch(
        &mut self,
        fs: &dyn Fs,
        batch: &BatchSpan,
        position: u32,
        index_interval_bytes: u32,
    ) -> Result<(), LogError> {
        let due = self.bytes_since_index > u64::from(index_interval_bytes);
        self.bytes_since_index = if due { 0 } else { self.bytes_since_index } + u64::from(batch.size);
        let mut cache = self.cache();
        let mut max = cache.max_timestamp(fs, self)?;
        if batch.max_timestamp > max.timestamp {
            max = TimestampOffset { timestamp: batch.max_timestamp, offset: batch.last_offset };
            cache.max_timestamp = Some(max);
        }
        if let Some(None) | None = cache.first_batch_timestamp
            && position == 0
        {
            cache.first_batch_timestamp = Some(Some(batch.max_timestamp));
        }
        if cache.recent.len() == RECENT_BATCHES {
            cache.recent.pop_front();
        }
        cache.recent.push_back(BatchPosition {
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            position,
            size: batch.size,
        });
        if due {
            let entry = OffsetPosition { offset: batch.last_offset, position };
            if !cache.offset_index(fs, self)?.append(entry) {
                return Err(LogError::corrupt(&self.path(files::INDEX), "offsets do not grow"));
            }
            cache.time_index(fs, self)?.maybe_append(max);
            if cache.offset_index(fs, self)?.needs_write() {
                cache.write_indexes(fs, self)?;
            }
        }
        Ok(())
    }

    /// Adds an aborted transaction whose marker lies in this segment.
    pub(crate) fn append_aborted(&mut self, fs: &dyn Fs, txn: AbortedTxn) -> Result<(), LogError> {
        let path = self.path(files::TXN_INDEX);
        if !self.has_txn_index {
            self.create_file(fs, files::TXN_INDEX)?;
            self.cache_mut().txn_index = Some(Loaded::closed(TxnIndex::default()));
            self.has_txn_index = true;
        }
        self.indexes_unsynced = true;
        let mut cache = self.cache();
        let (file, index) = cache.txn_index_file(fs, self)?;
        index.append(file.as_ref(), txn).map_err(LogError::io("write", &path))
    }

    /// Completes the indexes when the segment gets no more batches: a last time index entry, nothing unwritten, exact
    /// sizes (`onBecomeInactiveSegment`).
    pub(crate) fn seal(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let mut cache = self.cache();
        let max = cache.max_timestamp(fs, self)?;
        cache.time_index(fs, self)?.maybe_append(max);
        cache.write_indexes(fs, self)?;
        let (file, index) = cache.offset_index_file(fs, self)?;
        index.trim(file.as_ref()).map_err(LogError::io("truncate", &self.path(files::INDEX)))?;
        let (file, index) = cache.time_index_file(fs, self)?;
        index.trim(file.as_ref()).map_err(LogError::io("truncate", &self.path(files::TIME_INDEX)))?;
        cache.recent = VecDeque::new();
        drop(cache);
        self.indexes_unsynced = true;
        Ok(())
    }
}
