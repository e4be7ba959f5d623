//! What is loaded on demand about a segment: open files, the in-memory part of its indexes, a few numbers.

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

/// An index and its file.
#[derive(Debug)]
pub(crate) struct Opened<T> {
    pub(crate) file: Arc<dyn FsFile>,
    pub(crate) index: T,
}

/// Everything that is loaded on demand, also by readers.
#[derive(Debug, Default)]
pub(crate) struct SegmentCache {
    pub(crate) log: Option<Arc<dyn FsFile>>,
    pub(crate) offset_index: Option<Opened<OffsetIndex>>,
    pub(crate) time_index: Option<Opened<TimeIndex>>,
    pub(crate) txn_index: Option<Opened<TxnIndex>>,
    /// Largest timestamp so far; kept while idle, because it may not yet be in the index.
    pub(crate) max_timestamp: Option<TimestampOffset>,
    /// Maximum timestamp of the first batch, from which `segment.ms` counts; the inner `None`: no batch yet.
    pub(crate) first_batch_timestamp: Option<Option<TimestampMs>>,
    pub(crate) recent: VecDeque<BatchPosition>,
}

impl SegmentCache {
    pub(crate) fn has_handles(&self) -> bool {
        self.log.is_some()
            || self.offset_index.is_some()
            || self.time_index.is_some()
            || self.txn_index.is_some()
    }

    pub(crate) fn log_file(&mut self, fs: &dyn Fs, segment: &Segment) -> Result<Arc<dyn FsFile>, LogError> {
        if self.log.is_none() {
            let path = segment.path(files::LOG);
            self.log = Some(fs.open(&path, OpenMode::Write).map_err(LogError::io("open", &path))?);
        }
        Ok(self.log.clone().expect("opened above"))
    }

    pub(crate) fn offset_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<&mut Opened<OffsetIndex>, LogError> {
        if self.offset_index.is_none() {
            let path = segment.path(files::INDEX);
            let file = fs.open(&path, OpenMode::Write).map_err(LogError::io("open", &path))?;
            let index =
                OffsetIndex::open(segment.base, file.as_ref()).map_err(LogError::io("read", &path))?;
            self.offset_index = Some(Opened { file, index });
        }
        Ok(self.offset_index.as_mut().expect("opened above"))
    }

    pub(crate) fn time_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<&mut Opened<TimeIndex>, LogError> {
        if self.time_index.is_none() {
            let path = segment.path(files::TIME_INDEX);
            let file = fs.open(&path, OpenMode::CreateOrOpen).map_err(LogError::io("open", &path))?;
            let index = TimeIndex::open(segment.base, file.as_ref()).map_err(LogError::io("read", &path))?;
            self.time_index = Some(Opened { file, index });
        }
        Ok(self.time_index.as_mut().expect("opened above"))
    }

    pub(crate) fn txn_index(
        &mut self,
        fs: &dyn Fs,
        segment: &Segment,
    ) -> Result<&mut Opened<TxnIndex>, LogError> {
        if self.txn_index.is_none() {
            let path = segment.path(files::TXN_INDEX);
            let file = fs.open(&path, OpenMode::Write).map_err(LogError::io("open", &path))?;
            let len = file.len().map_err(LogError::io("read", &path))?.min(MAX_SEGMENT_BYTES);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            let read = file.read_at(&mut bytes, 0).map_err(LogError::io("read", &path))?;
            let bytes = bytes.get(..read).unwrap_or_default();
            let index = TxnIndex::open(segment.base, bytes).map_err(|what| LogError::corrupt(&path, what))?;
            self.txn_index = Some(Opened { file, index });
        }
        Ok(self.txn_index.as_mut().expect("opened above"))
    }

    pub(crate) fn write_indexes(&mut self, segment: &Segment) -> Result<(), LogError> {
        if let Some(opened) = self.offset_index.as_mut().filter(|opened| opened.index.has_pending()) {
            let written = opened.index.write(opened.file.as_ref());
            written.map_err(|e| LogError::io("write", &segment.path(files::INDEX))(e))?;
        }
        if let Some(opened) = self.time_index.as_mut().filter(|opened| opened.index.has_pending()) {
            let written = opened.index.write(opened.file.as_ref());
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
        let opened = self.offset_index(fs, segment)?;
        let found = opened.index.lookup(opened.file.as_ref(), offset);
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
        let last = self.time_index(fs, segment)?.index.last();
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
