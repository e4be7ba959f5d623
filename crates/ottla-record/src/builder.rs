//! Making batches of magic 2.

use ottla_types::{LeaderEpoch, NO_TIMESTAMP, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::batch::at;
use crate::cursor::put;
use crate::record::NewRecord;
use crate::{
    Attributes, Codec, HEADER_LEN, Header, LOG_OVERHEAD, RecordError, RecordView, TimestampType, patch,
};

/// Collects records and builds one batch of them.
///
/// Set the header first, then append, then [`build`](Self::build):
///
/// ```
/// use ottla_record::{BatchBuilder, BatchView, Compression};
/// use ottla_types::Offset;
///
/// let mut builder = BatchBuilder::new().base_offset(Offset(7)).codec(Compression::Zstd);
/// builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[])?;
/// let batch = builder.build()?;
/// assert_eq!(BatchView::parse(&batch)?.0.next_offset(), Offset(8));
/// # Ok::<_, ottla_record::RecordError>(())
/// ```
///
/// The bytes of an uncompressed batch are those that Kafka's `MemoryRecordsBuilder` makes of the same records.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records, not compressed.
    bytes: Vec<u8>,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    codec: Codec,
    attributes: Attributes,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    log_append_time: Option<TimestampMs>,
    /// Timestamp of the first record, or the delete horizon.
    base_timestamp: Option<TimestampMs>,
    max_timestamp: TimestampMs,
    offset_of_max_timestamp: Offset,
    /// Offset of the last record, or what overrides it.
    last_offset: Option<Offset>,
    count: i32,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// For a batch at offset 0, not compressed, of no producer, with the timestamps of its records.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_LEN],
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            codec: Codec::NONE,
            attributes: Attributes::default(),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            log_append_time: None,
            base_timestamp: None,
            max_timestamp: NO_TIMESTAMP,
            offset_of_max_timestamp: Offset::NONE,
            last_offset: None,
            count: 0,
        }
    }

    /// Offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        assert!(self.count == 0, "the base offset is set before the first record");
        self.base_offset = offset;
        self
    }

    /// Epoch of the appending leader.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// Codec and level. A batch without records is never compressed.
    #[must_use]
    pub fn codec(mut self, codec: impl Into<Codec>) -> Self {
        self.codec = codec.into();
        self
    }

    /// Idempotent or transactional producer, and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_transactional(on);
        self
    }

    /// Marks the batch as one of control records.
    #[must_use]
    pub fn control(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_control(on);
        self
    }

    /// Makes it a `LogAppendTime` batch of time `now`; the records keep their own timestamps as deltas, unseen.
    #[must_use]
    pub fn log_append_time(mut self, now: TimestampMs) -> Self {
        self.attributes = self.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.log_append_time = Some(now);
        self
    }

    /// Sets the delete horizon (KIP-534), which takes the place of the base timestamp. Before the first record.
    #[must_use]
    pub fn delete_horizon_ms(mut self, horizon: TimestampMs) -> Self {
        assert!(self.count == 0, "the delete horizon is set before the first record");
        self.attributes = self.attributes.with_delete_horizon(true);
        self.base_timestamp = Some(horizon);
        self
    }

    /// Appends a record at the next offset, and returns it.
    ///
    /// Errors: [`RecordError::Unbuildable`] when the batch would exceed 2^31-1 bytes or offsets.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<Offset, RecordError> {
        let offset = self.last_offset.map_or(self.base_offset, Offset::next);
        self.push(offset, timestamp, key, value, headers.iter().copied())?;
        Ok(offset)
    }

    /// Appends a record of another batch as it is, under its own offset (which only compaction wants otherwise).
    /// Errors as [`append`](Self::append), and when the offset is not above that of the last record.
    pub fn append_view(&mut self, record: &RecordView<'_>) -> Result<(), RecordError> {
        self.push(record.offset, record.timestamp, record.key, record.value, record.headers)
    }

    /// Appends a record at `offset`. Errors as [`append_view`](Self::append_view).
    pub fn append_at(
        &mut self,
        offset: Offset,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), RecordError> {
        self.push(offset, timestamp, key, value, headers.iter().copied())
    }

    pub(crate) fn push<'h>(
        &mut self,
        offset: Offset,
        timestamp: TimestampMs,
        key: Option<&'h [u8]>,
        value: Option<&'h [u8]>,
        headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
    ) -> Result<(), RecordError> {
        let offset_delta = self.offset_delta(offset)?;
        if self.last_offset.is_some_and(|last| offset <= last) {
            return Err(RecordError::Unbuildable("offsets of records do not increase"));
        }
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let record = NewRecord { offset_delta, timestamp_delta, key, value, headers };
        let size = self.bytes.len().saturating_add(record.size_in_bytes());
        if i32::try_from(size).is_err() || self.count == i32::MAX {
            return Err(RecordError::Unbuildable("a batch has at most 2^31-1 bytes and records"));
        }
        record.write(&mut self.bytes);
        self.base_timestamp = Some(base_timestamp);
        self.last_offset = Some(offset);
        self.count += 1;
        if timestamp > self.max_timestamp {
            (self.max_timestamp, self.offset_of_max_timestamp) = (timestamp, offset);
        }
        Ok(())
    }

    fn offset_delta(&self, offset: Offset) -> Result<i32, RecordError> {
        offset
            .0
            .checked_sub(self.base_offset.0)
            .and_then(|delta| i32::try_from(delta).ok())
            .filter(|delta| *delta >= 0)
            .ok_or(RecordError::Unbuildable("the offset is not within 2^31-1 above the base offset"))
    }

    /// Overrides the last offset, which compaction keeps when it removes the last record. After the last record.
    ///
    /// Errors: [`RecordError::Unbuildable`] when it is below the base offset, or too far above.
    pub fn set_last_offset(&mut self, offset: Offset) -> Result<(), RecordError> {
        self.offset_delta(offset)?;
        self.last_offset = Some(offset);
        Ok(())
    }

    /// Number of records.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Offset of the last record, if there is one.
    pub fn last_offset(&self) -> Option<Offset> {
        self.last_offset
    }

    /// Size of the batch if it was built now without compression; with a codec, what it is before compression.
    pub fn uncompressed_size(&self) -> usize {
        self.bytes.len()
    }

    /// Upper bound of what a record adds to [`uncompressed_size`](Self::uncompressed_size) (`recordSizeUpperBound`).
    pub fn record_size_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
        let (offset_delta, timestamp_delta) = (i32::MIN, i64::MIN);
        let headers = headers.iter().copied();
        NewRecord { offset_delta, timestamp_delta, key, value, headers }.size_in_bytes()
    }

    /// Largest timestamp and the first offset that has it; (-1, -1) without timestamps. For `LogAppendTime` batches
    /// the append time and the last offset.
    pub fn max_timestamp(&self) -> (TimestampMs, Offset) {
        match self.log_append_time {
            Some(now) => (now, self.last_offset.unwrap_or(Offset::NONE)),
            None => (self.max_timestamp, self.offset_of_max_timestamp),
        }
    }

    /// The batch. Without records it is a header alone, which only compaction writes (see
    /// [`build_empty`](Self::build_empty) for its timestamp).
    ///
    /// Errors: [`RecordError::Unbuildable`] when it is larger than a batch can be; those of the codec.
    pub fn build(self) -> Result<Vec<u8>, RecordError> {
        let codec = if self.count == 0 { Codec::NONE } else { self.codec };
        let max_timestamp = self.max_timestamp().0;
        self.finish(codec, max_timestamp)
    }

    /// A batch without records, which compaction keeps for a producer's last sequence or an offset at the end:
    /// `DefaultRecordBatch.writeEmptyHeader`.
    ///
    /// Errors: [`RecordError::Unbuildable`] when the offset is below the base offset, or too far above.
    ///
    /// # Panics
    /// When records were appended.
    pub fn build_empty(
        mut self,
        last_offset: Offset,
        max_timestamp: TimestampMs,
    ) -> Result<Vec<u8>, RecordError> {
        assert!(self.count == 0, "an empty batch has no records");
        self.set_last_offset(last_offset)?;
        self.attributes = self.attributes.with_delete_horizon(false);
        self.base_timestamp = None;
        self.finish(Codec::NONE, max_timestamp)
    }

    fn finish(mut self, codec: Codec, max_timestamp: TimestampMs) -> Result<Vec<u8>, RecordError> {
        let last_offset_delta = self.last_offset.map_or(Ok(0), |last| self.offset_delta(last))?;
        let mut batch = std::mem::take(&mut self.bytes);
        if codec != Codec::NONE {
            let mut compressed = vec![0; HEADER_LEN];
            codec.compress(&batch[HEADER_LEN..], &mut compressed)?;
            batch = compressed;
        }
        let length = i32::try_from(batch.len() - LOG_OVERHEAD)
            .map_err(|_| RecordError::Unbuildable("a batch has at most 2^31-1 bytes"))?;
        let attributes = self.attributes.with_compression(codec.compression());
        put(&mut batch, at::BASE_OFFSET, &self.base_offset.0.to_be_bytes());
        put(&mut batch, at::LENGTH, &length.to_be_bytes());
        put(&mut batch, at::LEADER_EPOCH, &self.leader_epoch.0.to_be_bytes());
        put(&mut batch, at::MAGIC, &[2]);
        put(&mut batch, at::ATTRIBUTES, &u16::from(attributes.bits()).to_be_bytes());
        put(&mut batch, at::LAST_OFFSET_DELTA, &last_offset_delta.to_be_bytes());
        put(&mut batch, at::BASE_TIMESTAMP, &self.base_timestamp.unwrap_or(NO_TIMESTAMP).to_be_bytes());
        put(&mut batch, at::MAX_TIMESTAMP, &max_timestamp.to_be_bytes());
        put(&mut batch, at::PRODUCER_ID, &self.producer_id.0.to_be_bytes());
        put(&mut batch, at::PRODUCER_EPOCH, &self.producer_epoch.0.to_be_bytes());
        put(&mut batch, at::BASE_SEQUENCE, &self.base_sequence.0.to_be_bytes());
        put(&mut batch, at::RECORD_COUNT, &self.count.to_be_bytes());
        patch::update_crc(&mut batch);
        Ok(batch)
    }
}
