//! Borrowed views of batches: the header alone, a whole batch, and the batches of a buffer.

use std::ops::Deref;

use ottla_types::{LeaderEpoch, NO_TIMESTAMP, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::cursor::{i16_at, i32_at, i64_at, u32_at};
use crate::{Attributes, RecordError, TimestampType, crc32, crc32c};

/// Bytes of a magic 2 header, up to the first record.
pub const HEADER_LEN: usize = 61;
/// Bytes of the offset and the length field, which precede what the length counts.
pub const LOG_OVERHEAD: usize = 12;

/// Where the fields are (magic 2, unless said otherwise).
pub(crate) mod at {
    pub(crate) const BASE_OFFSET: usize = 0;
    pub(crate) const LENGTH: usize = 8;
    pub(crate) const LEADER_EPOCH: usize = 12;
    /// In every format.
    pub(crate) const MAGIC: usize = 16;
    pub(crate) const CRC: usize = 17;
    pub(crate) const ATTRIBUTES: usize = 21;
    pub(crate) const LAST_OFFSET_DELTA: usize = 23;
    pub(crate) const BASE_TIMESTAMP: usize = 27;
    pub(crate) const MAX_TIMESTAMP: usize = 35;
    pub(crate) const PRODUCER_ID: usize = 43;
    pub(crate) const PRODUCER_EPOCH: usize = 51;
    pub(crate) const BASE_SEQUENCE: usize = 53;
    pub(crate) const RECORD_COUNT: usize = 57;
    /// Magic 0 and 1.
    pub(crate) const LEGACY_CRC: usize = 12;
    pub(crate) const LEGACY_ATTRIBUTES: usize = 17;
    pub(crate) const LEGACY_TIMESTAMP: usize = 18;
}

/// Least size of a message of magic 0, with its 12 bytes of overhead.
pub(crate) const MIN_SIZE_V0: usize = LOG_OVERHEAD + 14;
/// Least size of a message of magic 1, with its 12 bytes of overhead.
pub(crate) const MIN_SIZE_V1: usize = LOG_OVERHEAD + 22;

/// The header of a batch of any magic, without a claim about the bytes that follow it.
///
/// Fields that magic 0 and 1 lack read as Kafka gives them: epochs, producer and sequence as -1, a timestamp of magic 0
/// as -1.
#[derive(Clone, Copy)]
pub struct BatchHeader<'a> {
    bytes: &'a [u8],
}

impl<'a> BatchHeader<'a> {
    /// Reads a header at the start of `bytes`, which may end with the header: 61 bytes suffice for each format, and
    /// fewer for short legacy messages. The batch itself need not be there.
    ///
    /// Errors: [`RecordError::Incomplete`] when the header is cut, [`RecordError::TooSmall`] and
    /// [`RecordError::UnknownMagic`] when it is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let have = bytes.len();
        if have < LOG_OVERHEAD {
            return Err(RecordError::Incomplete { need: at::MAGIC + 1, have });
        }
        let size = i64::from(i32_at(bytes, at::LENGTH)) + LOG_OVERHEAD as i64;
        if size < MIN_SIZE_V0 as i64 {
            return Err(RecordError::TooSmall { size, min: MIN_SIZE_V0 });
        }
        let Some(&magic) = bytes.get(at::MAGIC) else {
            return Err(RecordError::Incomplete { need: at::MAGIC + 1, have });
        };
        let min = match magic {
            0 => MIN_SIZE_V0,
            1 => MIN_SIZE_V1,
            2 => HEADER_LEN,
            other => return Err(RecordError::UnknownMagic(other.cast_signed())),
        };
        if size < min as i64 {
            return Err(RecordError::TooSmall { size, min });
        }
        if have < min {
            return Err(RecordError::Incomplete { need: min, have });
        }
        Ok(Self { bytes })
    }

    /// Format version: 0, 1 or 2.
    pub fn magic(&self) -> i8 {
        self.bytes.get(at::MAGIC).map_or(0, |magic| magic.cast_signed())
    }

    fn is_legacy(&self) -> bool {
        self.magic() < 2
    }

    /// Whole size in bytes, the 12 bytes before the counted ones included.
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(i32_at(self.bytes, at::LENGTH)).unwrap_or(0)
    }

    /// Offset of the first record.
    ///
    /// For magic 0 and 1 it is the offset field, which in a compressed message is the offset of the *last* record; the
    /// first one's is known only after decompression.
    pub fn base_offset(&self) -> Offset {
        Offset(i64_at(self.bytes, at::BASE_OFFSET))
    }

    /// Offset of the last record, also when compaction has removed it.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset().0.wrapping_add(i64::from(self.last_offset_delta())))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// Last offset − base offset; 0 for magic 0 and 1.
    pub fn last_offset_delta(&self) -> i32 {
        if self.is_legacy() { 0 } else { i32_at(self.bytes, at::LAST_OFFSET_DELTA) }
    }

    /// Epoch of the leader that appended the batch; [`LeaderEpoch::NONE`] from clients and in magic 0 and 1.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        if self.is_legacy() { LeaderEpoch::NONE } else { LeaderEpoch(i32_at(self.bytes, at::LEADER_EPOCH)) }
    }

    /// The stored checksum.
    pub fn crc(&self) -> u32 {
        u32_at(self.bytes, if self.is_legacy() { at::LEGACY_CRC } else { at::CRC })
    }

    /// The attribute bits.
    pub fn attributes(&self) -> Attributes {
        let (at, known) =
            if self.is_legacy() { (at::LEGACY_ATTRIBUTES, 0x0f) } else { (at::ATTRIBUTES + 1, 0xff) };
        Attributes::from_bits(self.bytes.get(at).map_or(0, |bits| bits & known))
    }

    /// Whose clock the timestamps come from (magic 0 has none, and says `CreateTime`).
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic() == 0 { TimestampType::CreateTime } else { self.attributes().timestamp_type() }
    }

    /// What the records' timestamp deltas count from; the delete horizon if
    /// [`has_delete_horizon`](Attributes::has_delete_horizon); -1 in an empty batch.
    pub fn base_timestamp(&self) -> TimestampMs {
        match self.magic() {
            0 => NO_TIMESTAMP,
            1 => i64_at(self.bytes, at::LEGACY_TIMESTAMP),
            _ => i64_at(self.bytes, at::BASE_TIMESTAMP),
        }
    }

    /// Largest timestamp of the records, or the append time.
    pub fn max_timestamp(&self) -> TimestampMs {
        if self.is_legacy() { self.base_timestamp() } else { i64_at(self.bytes, at::MAX_TIMESTAMP) }
    }

    /// When tombstones and markers of the batch may go, if compaction has set it (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<TimestampMs> {
        (!self.is_legacy() && self.attributes().has_delete_horizon()).then(|| self.base_timestamp())
    }

    /// Producer of the batch, or [`ProducerId::NONE`].
    pub fn producer_id(&self) -> ProducerId {
        if self.is_legacy() { ProducerId::NONE } else { ProducerId(i64_at(self.bytes, at::PRODUCER_ID)) }
    }

    /// Epoch of the producer, or [`ProducerEpoch::NONE`].
    pub fn producer_epoch(&self) -> ProducerEpoch {
        if self.is_legacy() {
            ProducerEpoch::NONE
        } else {
            ProducerEpoch(i16_at(self.bytes, at::PRODUCER_EPOCH))
        }
    }

    /// Sequence of the first record, or [`Sequence::NONE`].
    pub fn base_sequence(&self) -> Sequence {
        if self.is_legacy() { Sequence::NONE } else { Sequence(i32_at(self.bytes, at::BASE_SEQUENCE)) }
    }

    /// Sequence of the last record, or [`Sequence::NONE`]; after 2147483647 comes 0.
    pub fn last_sequence(&self) -> Sequence {
        let base = self.base_sequence();
        if base == Sequence::NONE {
            return base;
        }
        Sequence(add_sequence(base.0, self.last_offset_delta()))
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id().0 > ProducerId::NONE.0
    }

    /// Number of records that the header claims; 1 for magic 0 and 1, where a compressed message does not tell.
    pub fn record_count(&self) -> i32 {
        if self.is_legacy() { 1 } else { i32_at(self.bytes, at::RECORD_COUNT) }
    }
}

impl std::fmt::Debug for BatchHeader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("magic", &self.magic())
            .field("base_offset", &self.base_offset())
            .field("last_offset", &self.last_offset())
            .field("size_in_bytes", &self.size_in_bytes())
            .field("leader_epoch", &self.leader_epoch())
            .field("crc", &self.crc())
            .field("attributes", &self.attributes())
            .field("base_timestamp", &self.base_timestamp())
            .field("max_timestamp", &self.max_timestamp())
            .field("producer_id", &self.producer_id())
            .field("producer_epoch", &self.producer_epoch())
            .field("base_sequence", &self.base_sequence())
            .field("record_count", &self.record_count())
            .finish()
    }
}

/// `DefaultRecordBatch.incrementSequence`: wraps to 0, and with Java's overflow where the increment is nonsense.
pub(crate) fn add_sequence(sequence: i32, increment: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(increment) {
        increment.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1)
    } else {
        sequence.wrapping_add(increment)
    }
}

/// One whole batch of any magic. The header's fields are reached by deref to [`BatchHeader`].
///
/// A view claims no more than that the bytes are as long as the header says: [`verify_crc`](Self::verify_crc) and
/// reading the records check the rest.
#[derive(Clone, Copy)]
pub struct BatchView<'a> {
    header: BatchHeader<'a>,
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`, and the bytes after it. Errors as [`BatchHeader::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RecordError> {
        let size = BatchHeader::parse(bytes)?.size_in_bytes();
        let Some((bytes, rest)) = bytes.split_at_checked(size) else {
            return Err(RecordError::Incomplete { need: size, have: bytes.len() });
        };
        Ok((Self { header: BatchHeader { bytes } }, rest))
    }

    /// Header alone.
    pub fn header(&self) -> BatchHeader<'a> {
        self.header
    }

    /// The bytes of the batch, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.header.bytes
    }

    /// The bytes after the header of a magic 2 batch: records, compressed or not.
    pub fn body(&self) -> &'a [u8] {
        self.header.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The checksum of the bytes: CRC-32C for magic 2, CRC-32 for magic 0 and 1.
    pub fn compute_crc(&self) -> u32 {
        if self.magic() == 2 {
            crc32c(self.bytes().get(at::ATTRIBUTES..).unwrap_or_default())
        } else {
            crc32(self.bytes().get(at::MAGIC..).unwrap_or_default())
        }
    }

    /// Compares the stored checksum with that of the bytes; [`RecordError::CrcMismatch`].
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        let (stored, computed) = (self.crc(), self.compute_crc());
        if stored == computed { Ok(()) } else { Err(RecordError::CrcMismatch { stored, computed }) }
    }
}

impl<'a> Deref for BatchView<'a> {
    type Target = BatchHeader<'a>;

    fn deref(&self) -> &BatchHeader<'a> {
        &self.header
    }
}

impl std::fmt::Debug for BatchView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.header.fmt(f)
    }
}

/// The batches of a buffer, of any magic, in order.
///
/// Ends before the first batch that is cut off by the end of the buffer, as fetched bytes often are
/// ([`remaining`](Self::remaining) are its bytes); yields one error, and then ends, at bytes that are no batch.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Over `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0, failed: false }
    }

    /// Bytes in whole batches so far: the position of the next batch.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes not yet consumed; after the end, the cut batch or the bytes that are none.
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        match BatchView::parse(self.rest) {
            Ok((batch, rest)) => {
                self.rest = rest;
                self.position += batch.size_in_bytes();
                Some(Ok(batch))
            }
            Err(RecordError::Incomplete { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
