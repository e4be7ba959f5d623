//! What is loaded on demand about a segment: open files, the in-memory part of its indexes, a few numbers.
//!
//! An appending log holds its `.log` file open and no more: indexes are in memory as far as appending goes, and their files are
//! opened when entries are written. Whoever searches an index leaves it open for the next search. Nothing is held open when
//! the process has many open files already ([`Fs::may_hold_open`]).

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_record::RecordError;
use ottla_types::{Offset, TimestampMs};

use super::{BatchPosition, MAX_SEGMENT_BYTES, Segment};
use crate::fs::{Fs, FsFile, OpenMode};
use crate::log::error::LogError;
use crate::log::files;
use crate::log::offset_index::{OffsetIndex, OffsetPosition};
use crate::log::scan::{HeaderScan, ScanError};
use crate::log::time_index::{TimeIndex, TimestampOffset};
use crate::log::txn_index::TxnIndex;

/// An index, and its file while that is held open.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    pub(super) file: Option<Arc<dyn FsFile>>,
    pub(crate) index: T,
}

impl<T> Loaded<T> {
    /// An index whose file is not open.
    pub(crate) fn closed(index: T) -> Self {
        Self { file: None, index }
    }

    /// The file, held open from now on if it may be.
    fn hold(&mut self, fs: &dyn Fs, segment: &Segment, extension: &str) -> Result<Arc<dyn FsFile>, LogError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = open(fs, segment, extension)?;
        if fs.may_hold_open() {
            self.file = Some(Arc::clone(&file));
        }
        Ok(file)
    }

    /// The file, for once.
    fn borrow(&self, fs: &dyn Fs, segment: &Segment, extension: &str) -> Result<Arc<dyn FsFile>, LogError> {
        match &self.file {
            Some(file) => Ok(Arc::clone(file)),
            None => open(fs, segment, extension),
        }
    }
}

fn open(fs: &dyn Fs, segment: &Segment, extension: &str) -> Result<Arc<dyn FsFile>, LogError> {
    let path = segment.path(extension);
    fs.open(&path, OpenMode::Write).map_err(LogError::io("open", &path))
}

/// Everything that is loaded on demand, also by readers.
#[derive(Debug, Default)]
pub(crate) struct SegmentCache {
    pub(crate) log: Option<Arc<dyn FsFile>>,
    pub(crate) offset_index: Option<Loaded<OffsetIndex>>,
    pub(crate) time_index: Option<Loaded<TimeIndex>>,
    pub(crate) txn_index: Option<Loaded<TxnIndex>>,
    /// Largest timestamp so far; kept while idle, because it may not yet be in the index.
    pub(crate) max_timestamp: Option<TimestampOffset>,
    /// Maximum timestamp of the first batch, from which `segment.ms` counts; the inner `None`: no batch yet.
    pub(crate) first_batch_timestamp: Option<Option<TimestampMs>>,
    pub(crate) recent: VecDeque<BatchPosition>,
}

impl SegmentCache {
    /// Whether anything is there that idle logs give up.
    pub(crate) fn has_handles(&self) -> bool {
        self.log.is_some()
            || self.offset_index.is_some()
            || self.time_index.is_some()
            || self.txn_index.is_some()
    }

    pub(crate) fn log_file(&mut self, fs: &dyn Fs, segment: &Segment) -> Result<Arc<dyn FsFile>, LogError> {
        if let Some(file) = &self.log {
            return Ok(Arc::clone(file));
        }
        let file = open(fs, segment, files::LOG)?;
        if fs.may_hold_open() {
            self.log = Some(Arc::clone(&file));
        }
        Ok(file)
    }

    /// The offset index as far as it is in memory.
    pub(crate) fn offset_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<&mut OffsetIndex, LogError> {
        Ok(&mut self.load_offset_index(fs, segment)?.index)
    }

    /// The offset index with its file, for once.
    pub(crate) fn offset_index_file(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<(Arc<dyn FsFile>, &mut OffsetIndex), LogError> {
        let loaded = self.load_offset_index(fs, segment)?;
        Ok((loaded.borrow(fs, segment, files::INDEX)?, &mut loaded.index))
    }

    /// The offset index for a search.
    pub(crate) fn searched_offset_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<(Arc<dyn FsFile>, &OffsetIndex), LogError> {
        let loaded = self.load_offset_index(fs, segment)?;
        Ok((loaded.hold(fs, segment, files::INDEX)?, &loaded.index))
    }

    fn load_offset_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<&mut Loaded<OffsetIndex>, LogError> {
        if self.offset_index.is_none() {
            let file = open(fs, segment, files::INDEX)?;
            let index = OffsetIndex::open(segment.base, file.as_ref())
                .map_err(|e| LogError::io("read", &segment.path(files::INDEX))(e))?;
            self.offset_index = Some(Loaded::closed(index));
        }
        Ok(self.offset_index.as_mut().expect("loaded above"))
    }

    /// The time index as far as it is in memory.
    pub(crate) fn time_index(&mut self, fs: &dyn Fs, segment: &Segment) -> Result<&mut TimeIndex, LogError> {
        Ok(&mut self.load_time_index(fs, segment)?.index)
    }

    /// The time index with its file, for once.
    pub(crate) fn time_index_file(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<(Arc<dyn FsFile>, &mut TimeIndex), LogError> {
        let loaded = self.load_time_index(fs, segment)?;
        Ok((loaded.borrow(fs, segment, files::TIME_INDEX)?, &mut loaded.index))
    }

    /// The time index for a search.
    pub(crate) fn searched_time_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<(Arc<dyn FsFile>, &TimeIndex), LogError> {
        let loaded = self.load_time_index(fs, segment)?;
        Ok((loaded.hold(fs, segment, files::TIME_INDEX)?, &loaded.index))
    }

    fn load_time_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<&mut Loaded<TimeIndex>, LogError> {
        if self.time_index.is_none() {
            let file = open(fs, segment, files::TIME_INDEX)?;
            let index = TimeIndex::open(segment.base, file.as_ref())
                .map_err(|e| LogError::io("read", &segment.path(files::TIME_INDEX))(e))?;
            self.time_index = Some(Loaded::closed(index));
        }
        Ok(self.time_index.as_mut().expect("loaded above"))
    }

    /// The transaction index, which is in memory as a whole.
    pub(crate) fn txn_index(&mut self, fs: &dyn Fs, segment: &Segment) -> Result<&mut TxnIndex, LogError> {
        Ok(&mut self.load_txn_index(fs, segment)?.index)
    }

    /// The transaction index with its file, for once.
    pub(crate) fn txn_index_file(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<(Arc<dyn FsFile>, &mut TxnIndex), LogError> {
        let loaded = self.load_txn_index(fs, segment)?;
        Ok((loaded.borrow(fs, segment, files::TXN_INDEX)?, &mut loaded.index))
    }

    fn load_txn_index(&mut self, fs: &dyn Fs, segment: &Segment) -> Result<&mut Loaded<TxnIndex>, LogError> {
        if self.txn_index.is_none() {
            let path = segment.path(files::TXN_INDEX);
            let file = open(fs, segment, files::TXN_INDEX)?;
            let len = file.len().map_err(LogError::io("read", &path))?.min(MAX_SEGMENT_BYTES);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            let read = file.read_at(&mut bytes, 0).map_err(LogError::io("read", &path))?;
            let bytes = bytes.get(..read).unwrap_or_default();
            let index = TxnIndex::open(segment.base, bytes).map_err(|what| LogError::corrupt(&path, what))?;
            self.txn_index = Some(Loaded::closed(index));
        }
        Ok(self.txn_index.as_mut().expect("loaded above"))
    }

    pub(crate) fn write_indexes(&mut self, fs: &dyn Fs, segment: &Segment) -> Result<(), LogError> {
        if let Some(loaded) = self.offset_index.as_mut().filter(|loaded| loaded.index.has_pending()) {
            let file = loaded.borrow(fs, segment, files::INDEX)?;
            let written = loaded.index.write(file.as_ref());
            written.map_err(|e| LogError::io("write", &segment.path(files::INDEX))(e))?;
        }
        if let Some(loaded) = self.time_index.as_mut().filter(|loaded| loaded.index.has_pending()) {
            let file = loaded.borrow(fs, segment, files::TIME_INDEX)?;
            let written = loaded.index.write(file.as_ref());
            written.map_err(|e| LogError::io("write", &segment.path(files::TIME_INDEX))(e))?;
        }
        Ok(())
    }

    pub(crate) fn lookup_offset(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
        offset: Offset,
    ) -> Result<OffsetPosition, LogError> {
        let is_new = self.offset_index.as_ref().is_none_or(|loaded| loaded.file.is_none());
        let (file, index) = self.searched_offset_index(fs, segment)?;
        if is_new {
            // Else a reader of old segments waits for the disk again and again, under the partition's lock.
            file.prefetch();
        }
        let found = index.lookup(file.as_ref(), offset);
        found.map_err(|e| LogError::io("read", &segment.path(files::INDEX))(e))
    }

    pub(crate) fn max_timestamp(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<TimestampOffset, LogError> {
        if let Some(max) = self.max_timestamp {
            return Ok(max);
        }
        let last = self.time_index(fs, segment)?.last();
        self.max_timestamp = Some(last);
        Ok(last)
    }

    pub(crate) fn first_batch_timestamp(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<Option<TimestampMs>, LogError> {
        if let Some(first) = self.first_batch_timestamp {
            return Ok(first);
        }
        let file = self.log_file(fs, segment)?;
        let mut scan = HeaderScan::new(file.as_ref(), 0, u64::from(segment.size));
        let first = match scan.next() {
            Ok(found) => found.map(|(_, header)| header.max_timestamp()),
            // Kafka does not look at what follows the header here either.
            Err(ScanError::Corrupt { source: RecordError::Incomplete { .. }, .. }) => None,
            Err(error) => return Err(segment.scan_error(error)),
        };
        self.first_batch_timestamp = Some(first);
        Ok(first)
    }
}
