//! One segment: a `.log` file, its three indexes, and what is cached about them (`LogSegment`).
//!
//! Files are opened when they are needed and may be dropped at any time when nothing is unwritten; sizes and a few
//! numbers stay, so that an idle segment costs some hundred bytes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_types::{NO_TIMESTAMP, Offset, TimestampMs};

use super::config::LogConfig;
use super::error::LogError;
use super::files;
use super::offset_index::{self, OffsetIndex, OffsetPosition};
use super::scan::{BatchScan, HeaderScan, ScanError};
use super::segment_cache::{Opened, SegmentCache};
use super::time_index::{self, TimeIndex, TimestampOffset};
use super::txn_index::{AbortedTxn, TxnIndex};
use crate::fs::{Fs, FsFile, OpenMode};

/// Largest size of a segment file: positions are i32 on disk.
pub(crate) const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;
/// Batches at the end of the active segment whose positions are remembered, which is where most reads go.
const RECENT_BATCHES: usize = 128;

/// A batch to append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchSpan {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: TimestampMs,
    pub(crate) size: u32,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchPosition {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) position: u32,
    pub(crate) size: u32,
}

/// One segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    dir: Arc<Path>,
    /// What follows the extensions of its files; empty unless compaction is about to put the segment in place.
    pub(crate) suffix: &'static str,
    pub(crate) base: Offset,
    /// Bytes of batches in the `.log` file.
    pub(crate) size: u32,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    pub(crate) jitter_ms: i64,
    pub(crate) has_txn_index: bool,
    bytes_since_index: u64,
    /// Counts changes of the `.log` file; it is durable when `synced_changes` has caught up.
    pub(crate) changes: u64,
    pub(crate) synced_changes: u64,
    /// Whether the indexes on disk may lack something that memory has, or may lose it in a crash.
    pub(crate) indexes_unsynced: bool,
    touched: AtomicBool,
    idle_since_ms: i64,
    cache: Mutex<SegmentCache>,
}

impl Segment {
    /// A segment that exists on disk.
    pub(crate) fn existing(
        dir: Arc<Path>,
        base: Offset,
        size: u32,
        modified_ms: i64,
        has_txn_index: bool,
    ) -> Self {
        Self {
            dir,
            suffix: "",
            base,
            size,
            created_ms: modified_ms,
            modified_ms,
            jitter_ms: 0,
            has_txn_index,
            bytes_since_index: 0,
            changes: 0,
            synced_changes: 0,
            indexes_unsynced: false,
            touched: AtomicBool::new(false),
            idle_since_ms: modified_ms,
            cache: Mutex::default(),
        }
    }

    /// Creates the files of a new segment; leftovers of that name are emptied.
    pub(crate) fn create(fs: &dyn Fs, dir: Arc<Path>, base: Offset, now_ms: i64) -> Result<Self, LogError> {
        Self::create_suffixed(fs, dir, base, "", now_ms)
    }

    /// The same with a suffix behind the names of its files.
    pub(crate) fn create_suffixed(
        fs: &dyn Fs,
        dir: Arc<Path>,
        base: Offset,
        suffix: &'static str,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        let mut segment = Self::existing(dir, base, 0, now_ms, false);
        segment.suffix = suffix;
        segment.changes = 1;
        segment.indexes_unsynced = true;
        let log = segment.create_file(fs, files::LOG)?;
        let index = segment.create_file(fs, files::INDEX)?;
        let time_index = segment.create_file(fs, files::TIME_INDEX)?;
        let cache = segment.cache_mut();
        cache.log = Some(log);
        cache.offset_index = Some(Opened { file: index, index: OffsetIndex::empty(base) });
        cache.time_index = Some(Opened { file: time_index, index: TimeIndex::empty(base) });
        cache.max_timestamp = Some(TimestampOffset { timestamp: NO_TIMESTAMP, offset: base });
        cache.first_batch_timestamp = Some(None);
        segment.touched.store(true, Ordering::Relaxed);
        Ok(segment)
    }

    fn create_file(&self, fs: &dyn Fs, extension: &str) -> Result<Arc<dyn FsFile>, LogError> {
        let path = self.path(extension);
        match fs.open(&path, OpenMode::CreateNew) {
            Ok(file) => Ok(file),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let file = fs.open(&path, OpenMode::Write).map_err(LogError::io("open", &path))?;
                file.set_len(0).map_err(LogError::io("truncate", &path))?;
                Ok(file)
            }
            Err(e) => Err(LogError::io("create", &path)(e)),
        }
    }

    pub(crate) fn path(&self, extension: &str) -> PathBuf {
        let path = files::path(&self.dir, self.base, extension);
        if self.suffix.is_empty() { path } else { files::with_suffix(&path, self.suffix) }
    }

    /// The files that exist.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut extensions = vec![files::LOG, files::INDEX, files::TIME_INDEX];
        if self.has_txn_index {
            extensions.push(files::TXN_INDEX);
        }
        extensions.into_iter().map(|extension| self.path(extension)).collect()
    }

    pub(crate) fn set_dir(&mut self, dir: Arc<Path>) {
        self.dir = dir;
    }

    pub(crate) fn is_unsynced(&self) -> bool {
        self.changes != self.synced_changes
    }

    fn cache(&self) -> MutexGuard<'_, SegmentCache> {
        self.touched.store(true, Ordering::Relaxed);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache_mut(&mut self) -> &mut SegmentCache {
        *self.touched.get_mut() = true;
        self.cache.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `.log` file.
    pub(crate) fn log_file(&self, fs: &dyn Fs) -> Result<Arc<dyn FsFile>, LogError> {
        let mut cache = self.cache();
        cache.log_file(fs, self)
    }

    /// The index files, to be synced.
    pub(crate) fn index_files(&self, fs: &dyn Fs) -> Result<Vec<Arc<dyn FsFile>>, LogError> {
        let mut cache = self.cache();
        cache.write_indexes(self)?;
        let mut files =
            vec![cache.offset_index(fs, self)?.file.clone(), cache.time_index(fs, self)?.file.clone()];
        if self.has_txn_index {
            files.push(cache.txn_index(fs, self)?.file.clone());
        }
        Ok(files)
    }

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
        Ok(cache.offset_index(fs, self)?.index.is_full(config.segment_index_bytes)
            || cache.time_index(fs, self)?.index.is_full(config.segment_index_bytes))
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
            if !cache.offset_index(fs, self)?.index.append(entry) {
                return Err(LogError::corrupt(&self.path(files::INDEX), "offsets do not grow"));
            }
            cache.time_index(fs, self)?.index.maybe_append(max);
            if cache.offset_index(fs, self)?.index.needs_write() {
                cache.write_indexes(self)?;
            }
        }
        Ok(())
    }

    /// Adds an aborted transaction whose marker lies in this segment.
    pub(crate) fn append_aborted(&mut self, fs: &dyn Fs, txn: AbortedTxn) -> Result<(), LogError> {
        let path = self.path(files::TXN_INDEX);
        if !self.has_txn_index {
            let file = self.create_file(fs, files::TXN_INDEX)?;
            self.cache_mut().txn_index = Some(Opened { file, index: TxnIndex::default() });
            self.has_txn_index = true;
        }
        self.indexes_unsynced = true;
        let mut cache = self.cache();
        let opened = cache.txn_index(fs, self)?;
        opened.index.append(opened.file.as_ref(), txn).map_err(LogError::io("write", &path))
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
        Ok(self.cache().txn_index(fs, self)?.index.collect(from, upper, found))
    }

    /// Whether the transaction index is readable and fits the segment.
    pub(crate) fn check_txn_index(&self, fs: &dyn Fs) -> Result<(), LogError> {
        if self.has_txn_index { self.cache().txn_index(fs, self).map(|_| ()) } else { Ok(()) }
    }

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
        let mut scan = HeaderScan::new(file.as_ref(), u64::from(start), u64::from(self.size));
        while let Some((position, header)) = scan.next().map_err(|e| self.scan_error(e))? {
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
        let opened = cache.time_index(fs, self)?;
        let found = opened.index.lookup(opened.file.as_ref(), timestamp);
        found.map_err(|e| LogError::io("read", &self.path(files::TIME_INDEX))(e))
    }

    /// An offset that bounds the bytes below `position`: that of the first index entry at or after it.
    pub(crate) fn upper_bound_offset(&self, fs: &dyn Fs, position: u64) -> Result<Option<Offset>, LogError> {
        let mut cache = self.cache();
        let opened = cache.offset_index(fs, self)?;
        let found = opened.index.first_at_position(opened.file.as_ref(), position);
        let found = found.map_err(|e| LogError::io("read", &self.path(files::INDEX))(e))?;
        Ok(found.map(|entry| entry.offset))
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
        let start = cache.offset_index(fs, self)?.index.last().map_or(0, |last| last.position);
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
        let opened = cache.offset_index(fs, self)?;
        let (last_entry, entries) = (opened.index.last(), opened.index.entries());
        let len = opened.file.len().map_err(LogError::io("read", &self.path(files::INDEX)))?;
        let opened = cache.time_index(fs, self)?;
        let (last_time, times) = (opened.index.last(), opened.index.entries());
        let times_len = opened.file.len().map_err(LogError::io("read", &self.path(files::TIME_INDEX)))?;
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

    /// Drops batches from the one that contains `offset` on.
    pub(crate) fn truncate_to(&mut self, fs: &dyn Fs, offset: Offset, now_ms: i64) -> Result<(), LogError> {
        let cut = self.locate(fs, offset)?;
        let (index_path, time_path) = (self.path(files::INDEX), self.path(files::TIME_INDEX));
        let (log_path, txn_path) = (self.path(files::LOG), self.path(files::TXN_INDEX));
        let has_txn_index = self.has_txn_index;
        let mut cache = self.cache();
        let opened = cache.offset_index(fs, self)?;
        opened.index.truncate(opened.file.as_ref(), offset).map_err(LogError::io("truncate", &index_path))?;
        let opened = cache.time_index(fs, self)?;
        opened.index.truncate(opened.file.as_ref(), offset).map_err(LogError::io("truncate", &time_path))?;
        if has_txn_index {
            let opened = cache.txn_index(fs, self)?;
            opened
                .index
                .truncate(opened.file.as_ref(), offset)
                .map_err(LogError::io("truncate", &txn_path))?;
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
        let mut largest = cache.time_index(fs, self)?.index.last();
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

    /// Completes the indexes when the segment gets no more batches: a last time index entry, nothing unwritten, exact
    /// sizes (`onBecomeInactiveSegment`).
    pub(crate) fn seal(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let mut cache = self.cache();
        let max = cache.max_timestamp(fs, self)?;
        cache.time_index(fs, self)?.index.maybe_append(max);
        cache.write_indexes(self)?;
        let opened = cache.offset_index(fs, self)?;
        opened
            .index
            .trim(opened.file.as_ref())
            .map_err(LogError::io("truncate", &self.path(files::INDEX)))?;
        let opened = cache.time_index(fs, self)?;
        opened
            .index
            .trim(opened.file.as_ref())
            .map_err(LogError::io("truncate", &self.path(files::TIME_INDEX)))?;
        cache.recent = VecDeque::new();
        drop(cache);
        self.indexes_unsynced = true;
        Ok(())
    }

    /// Starts the indexes anew, for a rebuild. The files are written over and cut at the end ([`Segment::seal`]): what is right
    /// in them stays right if a crash interrupts or undoes that.
    pub(crate) fn reset_indexes(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let (index_path, time_path) = (self.path(files::INDEX), self.path(files::TIME_INDEX));
        let base = self.base;
        let index =
            fs.open(&index_path, OpenMode::CreateOrOpen).map_err(LogError::io("open", &index_path))?;
        let time = fs.open(&time_path, OpenMode::CreateOrOpen).map_err(LogError::io("open", &time_path))?;
        let opened = Opened { file: index, index: OffsetIndex::empty(base) };
        let opened_time = Opened { file: time, index: TimeIndex::empty(base) };
        let mut txn_index = None;
        if self.has_txn_index {
            let file = self.create_file(fs, files::TXN_INDEX)?;
            txn_index = Some(Opened { file, index: TxnIndex::default() });
        }
        self.indexes_unsynced = true;
        self.bytes_since_index = 0;
        let cache = self.cache_mut();
        cache.offset_index = Some(opened);
        cache.time_index = Some(opened_time);
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
        if !cache.offset_index(fs, self)?.index.append(OffsetPosition { offset: batch.last_offset, position })
        {
            return Ok(false);
        }
        cache.time_index(fs, self)?.index.maybe_append(max);
        if cache.offset_index(fs, self)?.index.needs_write() {
            cache.write_indexes(self)?;
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

    /// Makes the `.log` file durable.
    pub(crate) fn sync_log(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let path = self.path(files::LOG);
        self.log_file(fs)?.sync_data().map_err(LogError::io("sync", &path))?;
        self.synced_changes = self.changes;
        Ok(())
    }

    /// Drops handles and caches that were not used since an earlier call at least `idle_ms` ago. Returns whether any
    /// handle is still open.
    pub(crate) fn close_idle(&mut self, now_ms: i64, idle_ms: i64) -> Result<bool, LogError> {
        if std::mem::take(self.touched.get_mut()) {
            self.idle_since_ms = now_ms;
        }
        let unsynced = self.is_unsynced();
        let idle = now_ms.saturating_sub(self.idle_since_ms) >= idle_ms;
        if idle && !unsynced {
            self.drop_handles()?;
        }
        let cache = self.cache.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok(cache.has_handles())
    }

    /// Writes what is pending and closes all files.
    pub(crate) fn drop_handles(&mut self) -> Result<(), LogError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.write_indexes(self)?;
        cache.log = None;
        cache.offset_index = None;
        cache.time_index = None;
        cache.txn_index = None;
        cache.recent = VecDeque::new();
        Ok(())
    }

    pub(crate) fn scan_error(&self, error: ScanError) -> LogError {
        let path = self.path(files::LOG);
        match error {
            ScanError::Io(source) => LogError::io("read", &path)(source),
            ScanError::Corrupt { position, source } => {
                LogError::corrupt(&path, format!("byte {position}: {source}"))
            }
        }
    }
}
