//! One segment: a `.log` file, its three indexes, and what is cached about them (`LogSegment`).
//!
//! Files are opened when they are needed and may be dropped at any time when nothing is unwritten; sizes and a few
//! numbers stay, so that an idle segment costs some hundred bytes.

mod append;
mod cache;
mod lookup;
mod repair;
mod search;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_types::{NO_TIMESTAMP, Offset, TimestampMs};

use super::error::LogError;
use super::files;
use super::offset_index::OffsetIndex;
use super::scan::ScanError;
use super::time_index::{TimeIndex, TimestampOffset};
use crate::fs::{Fs, FsFile, OpenMode};
use cache::{Loaded, SegmentCache};
pub(crate) use search::{SegmentPlaces, SegmentSearch};

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
    /// The offset index does not bear its name yet: see [`Segment::begin_rebuild`].
    is_rebuilding: bool,
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
    /// Another one when bytes that were written change their place or go: what was found before is void then.
    identity: Arc<()>,
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
            is_rebuilding: false,
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
            identity: Arc::default(),
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
        segment.create_file(fs, files::INDEX)?;
        segment.create_file(fs, files::TIME_INDEX)?;
        let cache = segment.cache_mut();
        cache.log = fs.may_hold_open().then_some(log);
        cache.offset_index = Some(Loaded::closed(OffsetIndex::empty(base)));
        cache.time_index = Some(Loaded::closed(TimeIndex::empty(base)));
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
        let suffix =
            if self.is_rebuilding && extension == files::INDEX { files::CLEANED } else { self.suffix };
        if suffix.is_empty() { path } else { files::with_suffix(&path, suffix) }
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
        cache.write_indexes(fs, self)?;
        let mut files = vec![cache.offset_index_file(fs, self)?.0, cache.time_index_file(fs, self)?.0];
        if self.has_txn_index {
            files.push(cache.txn_index_file(fs, self)?.0);
        }
        Ok(files)
    }

    /// Has the `.log` file read from the disk: see [`crate::fs::FsFile::forget_cached`].
    pub(crate) fn forget_cached(&self, fs: &dyn Fs) -> Result<(), LogError> {
        let path = self.path(files::LOG);
        self.log_file(fs)?.forget_cached().map_err(LogError::io("read", &path))
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
    pub(crate) fn close_idle(&mut self, fs: &dyn Fs, now_ms: i64, idle_ms: i64) -> Result<bool, LogError> {
        if std::mem::take(self.touched.get_mut()) {
            self.idle_since_ms = now_ms;
        }
        let unsynced = self.is_unsynced();
        let idle = now_ms.saturating_sub(self.idle_since_ms) >= idle_ms;
        if idle && !unsynced {
            self.drop_handles(fs)?;
        }
        let cache = self.cache.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok(cache.has_handles())
    }

    /// Writes what is pending and closes all files.
    pub(crate) fn drop_handles(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.write_indexes(fs, self)?;
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
