//! Reading: a range of a segment file for a consumer or a follower (`LocalLog.read`).

use std::io;
use std::sync::Arc;

use ottla_types::Offset;

use super::segment::{BatchPosition, Segment, SegmentPlaces, SegmentSearch};
use super::{AbortedTxn, Log, LogError, ReadError};
use crate::fs::{Fs, FsFile};

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// First offset wanted; the answer may begin before it, at the start of its batch.
    pub offset: Offset,
    /// Most bytes to return. The last batch may be cut by it; readers ignore a cut batch.
    pub max_bytes: u32,
    /// Whether the first batch is returned whole even if it is larger than `max_bytes`.
    pub min_one_batch: bool,
    /// No byte of a record at or above it is returned: the high watermark for consumers, the last stable offset for
    /// read_committed, the log end for followers.
    pub upper_bound: Offset,
    /// Whether the aborted transactions in the range are wanted (read_committed).
    pub aborted_transactions: bool,
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPosition {
    /// Base offset of the first batch returned, or the offset asked for when nothing is.
    pub offset: Offset,
    /// Base offset of the segment.
    pub segment_base: Offset,
    /// Byte in the segment file.
    pub position: u32,
}

/// A range of a segment file. It holds the file open: it stays readable after the segment is rolled or removed.
#[derive(Clone, Debug)]
pub struct LogSlice {
    /// The file.
    pub file: Arc<dyn FsFile>,
    /// First byte.
    pub position: u64,
    /// Number of bytes.
    pub len: u32,
}

impl LogSlice {
    /// Copies the bytes, for callers without `sendfile`.
    ///
    /// # Errors
    /// As reading a file; `UnexpectedEof` when the file was cut since (truncation of a follower).
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len as usize];
        let read = self.file.read_at(&mut bytes, self.position)?;
        if read < bytes.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }
}

/// The answer to a [`ReadRequest`].
#[derive(Clone, Debug)]
pub struct LogRead {
    /// The bytes; `None` when there are none to return.
    pub slice: Option<LogSlice>,
    /// Where they begin.
    pub start: ReadPosition,
    /// Whether the first batch is larger than the bytes returned, so that the reader must ask for more bytes.
    pub first_batch_incomplete: bool,
    /// Aborted transactions in the range, if they were wanted.
    pub aborted: Option<Vec<AbortedTxn>>,
}

impl LogRead {
    /// Number of bytes.
    pub fn len(&self) -> u32 {
        self.slice.as_ref().map_or(0, |slice| slice.len)
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a read has to look up in files before it can answer. It needs no log, so that it can be run without the log's lock.
#[derive(Debug)]
pub struct ReadSearch {
    fs: Arc<dyn Fs>,
    segment: SegmentSearch,
}

/// What a [`ReadSearch`] found, for [`Log::read_found`].
#[derive(Debug, Default)]
pub struct ReadPlaces(Option<SegmentPlaces>);

impl ReadSearch {
    /// Looks; may wait for the disk.
    pub fn run(self) -> ReadPlaces {
        ReadPlaces(self.segment.run(self.fs.as_ref()))
    }
}

/// Batches of one segment that were found without the log.
struct Found(Vec<(Offset, BatchPosition)>);

impl Found {
    fn locate(
        &self,
        segment: &Segment,
        fs: &dyn Fs,
        offset: Offset,
    ) -> Result<Option<BatchPosition>, LogError> {
        match self.0.iter().find(|(wanted, place)| *wanted == offset && segment.base <= place.base_offset) {
            Some((_, place)) => Ok(Some(*place)),
            None => segment.locate(fs, offset),
        }
    }
}

impl Log {
    /// What [`Log::read`] of this request would look up in files; `None` when it finds in memory what it needs. To be run
    /// without the log's lock; then [`Log::read_found`] answers. (Where transactions were aborted is not searched for.)
    pub fn search_for(&self, request: &ReadRequest) -> Option<ReadSearch> {
        let bound = request.upper_bound.min(self.log_end);
        if request.offset < self.log_start || request.offset >= bound {
            return None;
        }
        let at = self.floor_segment(request.offset)?;
        let segment =
            self.segments.get(at)?.search(request.offset, self.ends_within(at, bound).then_some(bound))?;
        Some(ReadSearch { fs: Arc::clone(&self.fs), segment })
    }

    /// Reads from `request.offset` on, within one segment.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] below the log start or above the log end; the disk.
    pub fn read(&self, request: ReadRequest) -> Result<LogRead, ReadError> {
        self.read_found(request, ReadPlaces::default())
    }

    /// As [`Log::read`], looking up only what was not found before, or is not so any more.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_found(&self, request: ReadRequest, found: ReadPlaces) -> Result<LogRead, ReadError> {
        let out_of_range =
            ReadError::OffsetOutOfRange { offset: request.offset, start: self.log_start, end: self.log_end };
        if request.offset < self.log_start || request.offset > self.log_end {
            return Err(out_of_range);
        }
        let Some(mut at) = self.floor_segment(request.offset) else { return Err(out_of_range) };
        let upper_bound = request.upper_bound.min(self.log_end);
        if request.offset >= upper_bound {
            return Ok(self.empty_read(at, &request));
        }
        let fs = self.fs.as_ref();
        let found = Found(match (self.segments.get(at), found.0) {
            (Some(segment), Some(found)) => segment.adopt(fs, found),
            _ => Vec::new(),
        });
        // Compaction may have emptied the end of a segment: then the next one is asked.
        while let Some(segment) = self.segments.get(at) {
            let Some(first) = found.locate(segment, fs, request.offset)? else {
                at += 1;
                continue;
            };
            let start = ReadPosition {
                offset: first.base_offset,
                segment_base: segment.base,
                position: first.position,
            };
            let end = self.end_position(at, upper_bound, &found)?;
            let readable = end.saturating_sub(first.position);
            let wanted =
                if request.min_one_batch { request.max_bytes.max(first.size) } else { request.max_bytes };
            let len = readable.min(wanted);
            if len == 0 {
                return Ok(LogRead { start, ..self.empty_read(at, &request) });
            }
            let file = segment.log_file(fs)?;
            let aborted = match request.aborted_transactions {
                true => {
                    Some(self.aborted_in(at, request.offset, u64::from(first.position) + u64::from(len))?)
                }
                false => None,
            };
            return Ok(LogRead {
                slice: Some(LogSlice { file, position: u64::from(first.position), len }),
                start,
                first_batch_incomplete: wanted < first.size,
                aborted,
            });
        }
        Ok(self.empty_read(self.segments.len() - 1, &request))
    }

    fn empty_read(&self, at: usize, request: &ReadRequest) -> LogRead {
        let segment = self.segments.get(at).unwrap_or_else(|| self.active());
        LogRead {
            slice: None,
            start: ReadPosition { offset: request.offset, segment_base: segment.base, position: 0 },
            first_batch_incomplete: false,
            aborted: request.aborted_transactions.then(Vec::new),
        }
    }

    /// Whether records at or above `bound` may lie in segment `at`, which has some below it.
    fn ends_within(&self, at: usize, bound: Offset) -> bool {
        bound < self.log_end && self.segments.get(at + 1).is_none_or(|next| bound < next.base)
    }

    /// The byte of segment `at` where batches with records at or above `bound` begin.
    fn end_position(&self, at: usize, bound: Offset, found: &Found) -> Result<u32, LogError> {
        let Some(segment) = self.segments.get(at) else { return Ok(0) };
        if !self.ends_within(at, bound) {
            return Ok(segment.size);
        }
        let found = found.locate(segment, self.fs.as_ref(), bound)?;
        Ok(found.map_or(segment.size, |batch| batch.position))
    }

    /// Transactions aborted in what was read: from `from` to the byte `end` of segment `at`.
    fn aborted_in(&self, at: usize, from: Offset, end: u64) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        let Some(segment) = self.segments.get(at) else { return Ok(found) };
        let tail = || self.segments.get(at + 1).map_or(self.log_end, |next| next.base);
        // Only read the offset index where some later segment can have an answer.
        if self.segments.iter().skip(at).all(|segment| !segment.has_txn_index) {
            return Ok(found);
        }
        let upper = segment.upper_bound_offset(self.fs.as_ref(), end)?.unwrap_or_else(tail);
        for segment in self.segments.iter().skip(at) {
            if segment.collect_aborted(self.fs.as_ref(), from, upper, &mut found)? {
                break;
            }
        }
        Ok(found)
    }
}
