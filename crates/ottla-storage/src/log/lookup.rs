//! Finding offsets by time (`UnifiedLog.fetchOffsetByTimestamp`).

use ottla_record::BatchView;
use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use super::scan::{HeaderScan, ScanError, read_batch};
use super::segment::Segment;
use super::{Log, LogError};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundTimestamp {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// Epoch of its batch; `None` in legacy formats.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Log {
    /// The first record, in offset order from the log start, whose timestamp is at or above `timestamp` (≥ 0). `None`:
    /// there is none. The caller compares the offset with its high watermark or last stable offset.
    ///
    /// As in Kafka only the first segment that has such a time is looked into. While a segment with records below the log
    /// start is still there, it hides what later segments have.
    ///
    /// Reads from disk, and decompresses one batch or a few.
    ///
    /// # Errors
    /// The disk, or a batch that cannot be read.
    pub fn find_timestamp(&self, timestamp: TimestampMs) -> Result<Option<FoundTimestamp>, LogError> {
        for segment in &self.segments {
            if segment.largest_timestamp(self.fs.as_ref())? >= timestamp {
                return self.find_in_segment(segment, timestamp);
            }
        }
        Ok(None)
    }

    fn find_in_segment(
        &self,
        segment: &Segment,
        timestamp: TimestampMs,
    ) -> Result<Option<FoundTimestamp>, LogError> {
        // Also so that asking all partitions of a node does not open the files of those that have nothing.
        if segment.size == 0 {
            return Ok(None);
        }
        let fs = self.fs.as_ref();
        let from = segment.lookup_timestamp(fs, timestamp)?.offset.max(self.log_start);
        let start = segment.lookup_offset(fs, from)?.position;
        let found = scan_for(
            self,
            segment,
            start,
            |batch_max| batch_max >= timestamp,
            |offset, record| record >= timestamp && offset >= self.log_start,
        )?;
        Ok(found)
    }

    /// The first record with the largest timestamp of the log (ListOffsets -3). `None`: no record has a timestamp.
    ///
    /// # Errors
    /// As [`Log::find_timestamp`].
    pub fn find_max_timestamp(&self) -> Result<Option<FoundTimestamp>, LogError> {
        let fs = self.fs.as_ref();
        let mut best: Option<(&Segment, TimestampMs, Offset)> = None;
        for segment in &self.segments {
            let max = segment.max_timestamp(fs)?;
            if best.is_none_or(|(_, timestamp, _)| max.timestamp > timestamp) {
                best = Some((segment, max.timestamp, max.offset));
            }
        }
        let Some((segment, timestamp, offset)) = best.filter(|(_, timestamp, _)| *timestamp >= 0) else {
            return Ok(None);
        };
        let start = segment.lookup_offset(fs, offset)?.position;
        scan_for(self, segment, start, |batch_max| batch_max == timestamp, |_, record| record == timestamp)
    }
}

/// The first record that `record_matches`, among the batches from `start` on whose largest timestamp `batch_matches`.
fn scan_for(
    log: &Log,
    segment: &Segment,
    start: u32,
    batch_matches: impl Fn(TimestampMs) -> bool,
    record_matches: impl Fn(Offset, TimestampMs) -> bool,
) -> Result<Option<FoundTimestamp>, LogError> {
    let file = segment.log_file(log.fs.as_ref())?;
    let mut scan = HeaderScan::new(file.as_ref(), u64::from(start), u64::from(segment.size));
    while let Some((position, header)) = scan.next().map_err(|error| segment.scan_error(error))? {
        if !batch_matches(header.max_timestamp()) {
            continue;
        }
        let bytes = read_batch(file.as_ref(), position, header.size_in_bytes())
            .map_err(|source| segment.scan_error(ScanError::Io(source)))?;
        let corrupt = |source| segment.scan_error(ScanError::Corrupt { position, source });
        let (batch, _) = BatchView::parse(&bytes).map_err(corrupt)?;
        let mut records = batch.records().map_err(corrupt)?;
        while let Some(record) = records.try_next().map_err(corrupt)? {
            if record_matches(record.offset, record.timestamp) {
                let leader_epoch = (batch.leader_epoch() >= LeaderEpoch(0)).then(|| batch.leader_epoch());
                return Ok(Some(FoundTimestamp {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    leader_epoch,
                }));
            }
        }
    }
    Ok(None)
}
