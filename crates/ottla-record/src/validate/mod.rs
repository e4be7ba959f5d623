//! What a leader checks of a batch before it appends it, and the offsets and timestamps that it gives it
//! (`ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`).
//!
//! [`check`] does everything that needs no offset, so that it can run before the partition is locked;
//! [`Checked::assign`] then writes the offset and the leader epoch, which no checksum covers. A batch stays as it came,
//! but for its header, unless the topic's codec is another one.

mod fault;
mod rebuild;
mod walk;

use ottla_types::{LeaderEpoch, Offset, TimestampMs, TopicPartition};

pub use self::fault::{InvalidBatch, RecordFault};
use self::walk::Survey;
use crate::{BatchView, Batches, Codec, Compression, HEADER_LEN, Limits, RecordError, TimestampType, patch};

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A producer: everything is checked.
    Client,
    /// A coordinator of this broker: control records and offset gaps are its right.
    Coordinator,
}

/// `compression.type` of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TargetCompression {
    /// `producer`: batches keep their codec.
    #[default]
    Producer,
    /// A codec; `uncompressed` is [`Codec::NONE`].
    Fixed(Codec),
}

/// The configuration that decides about a batch.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    /// Named in messages.
    pub topic_partition: &'a TopicPartition,
    /// Who appends.
    pub origin: Origin,
    /// `compression.type` and its level.
    pub compression: TargetCompression,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` has `compact`, so that each record needs a key.
    pub compacted: bool,
    /// `max.message.bytes`: bound of the whole batch, as it comes and as it is rebuilt.
    pub max_message_bytes: usize,
    /// `max.decompressed.message.bytes`, and a bound of ours for the batch.
    pub limits: Limits,
}

impl<'a> Rules<'a> {
    /// Kafka's defaults for a client's batch.
    pub fn defaults(topic_partition: &'a TopicPartition) -> Self {
        Self {
            topic_partition,
            origin: Origin::Client,
            compression: TargetCompression::Producer,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compacted: false,
            max_message_bytes: 1_048_588,
            limits: Limits::DEFAULT,
        }
    }
}

/// A batch that passed, still without offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The batch that takes the place of the given one, when it had to be rebuilt.
    rebuilt: Option<Vec<u8>>,
    /// Bytes of the given batch; what follows them was cut off.
    len: usize,
    count: i32,
    max_timestamp: TimestampMs,
    /// Index of the record that has it.
    index_of_max_timestamp: Option<i32>,
    log_append_time: Option<TimestampMs>,
}

/// A batch that is ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The bytes to write if the batch was rebuilt; `None`: the given ones, now patched.
    pub rebuilt: Option<Vec<u8>>,
    /// Bytes to write: of `rebuilt`, or of the start of the given ones.
    pub size_in_bytes: usize,
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp, -1 if no record has one; the append time for `LogAppendTime`.
    pub max_timestamp: TimestampMs,
    /// Offset of the first record with it, of the last record for `LogAppendTime`, [`Offset::NONE`] without timestamps.
    pub offset_of_max_timestamp: Offset,
    /// What a produce response returns: the append time for `LogAppendTime`.
    pub log_append_time: Option<TimestampMs>,
    /// Number of records.
    pub record_count: i32,
}

impl Validated {
    /// The bytes to write; `given` is what was validated.
    pub fn bytes<'a>(&'a self, given: &'a [u8]) -> &'a [u8] {
        match &self.rebuilt {
            Some(rebuilt) => rebuilt,
            None => &given[..self.size_in_bytes],
        }
    }
}

/// Checks the one batch in `bytes` and gives its records the offsets from `first_offset`: [`check`] and
/// [`Checked::assign`].
///
/// Errors: those of [`check`].
pub fn validate(
    bytes: &mut [u8],
    rules: &Rules<'_>,
    first_offset: Offset,
    leader_epoch: LeaderEpoch,
    now: TimestampMs,
) -> Result<Validated, InvalidBatch> {
    Ok(check(bytes, rules, now)?.assign(bytes, first_offset, leader_epoch))
}

/// Checks the one batch in `bytes`, record data of a Produce request or of a coordinator. A cut batch after it is
/// ignored.
///
/// If all is well, the maximum timestamp and the timestamp type in the header are made those of the topic (with a new
/// checksum if they change), or the batch is rebuilt with the topic's codec. Otherwise `bytes` stay as they are.
///
/// Errors: what is wrong, with the records it is about where single ones are ([`InvalidBatch`]).
pub fn check(bytes: &mut [u8], rules: &Rules<'_>, now: TimestampMs) -> Result<Checked, InvalidBatch> {
    let batch = only_batch(bytes)?;
    check_bytes(&batch, rules)?;
    check_header(&batch, rules)?;
    let source = batch.attributes().compression().map_err(InvalidBatch::from_record)?;
    let target = match rules.compression {
        TargetCompression::Producer => Codec::from(source),
        TargetCompression::Fixed(codec) => codec,
    };
    // An uncompressed control batch is not compressed, for followers and the coordinator read it by position.
    let stays =
        source == target.compression() || (source == Compression::None && batch.attributes().is_control());
    let len = batch.size_in_bytes();
    let (survey, rebuilt) = if stays {
        (walk::survey(&batch, rules, now)?, None)
    } else {
        rebuild::rebuild(&batch, target, rules, now).map(|(survey, bytes)| (survey, Some(bytes)))?
    };
    if let Some(rebuilt) = &rebuilt
        && rebuilt.len() > rules.max_message_bytes
    {
        return Err(InvalidBatch::TooLarge { size: rebuilt.len(), max: rules.max_message_bytes });
    }
    let log_append_time = (rules.timestamp_type == TimestampType::LogAppendTime).then_some(now);
    let max_timestamp = log_append_time.unwrap_or(survey.max_timestamp);
    if rebuilt.is_none() {
        patch::set_max_timestamp(&mut bytes[..len], rules.timestamp_type, max_timestamp);
    }
    let Survey { count, index_of_max_timestamp, .. } = survey;
    Ok(Checked { rebuilt, len, count, max_timestamp, index_of_max_timestamp, log_append_time })
}

impl Checked {
    /// Number of records, and so of offsets.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Bytes that will be written.
    pub fn size_in_bytes(&self) -> usize {
        self.rebuilt.as_ref().map_or(self.len, Vec::len)
    }

    /// The append time of a topic with `LogAppendTime`.
    pub fn log_append_time(&self) -> Option<TimestampMs> {
        self.log_append_time
    }

    /// The bytes to write, for a log that sets offsets and epoch itself; `given` is what was checked.
    pub fn bytes_mut<'a>(&'a mut self, given: &'a mut [u8]) -> &'a mut [u8] {
        match &mut self.rebuilt {
            Some(rebuilt) => rebuilt,
            None => &mut given[..self.len],
        }
    }

    /// The header to be written, for the producer state's checks (offsets and epoch are not set); `given` is what was
    /// checked.
    pub fn batch<'a>(&'a self, given: &'a [u8]) -> BatchView<'a> {
        let bytes = self.rebuilt.as_deref().unwrap_or(given);
        BatchView::parse(bytes).expect("a checked batch is one").0
    }

    /// Sets offsets and epoch; `given` is what was checked.
    pub fn assign(self, given: &mut [u8], first_offset: Offset, leader_epoch: LeaderEpoch) -> Validated {
        let size_in_bytes = self.size_in_bytes();
        let last_offset = first_offset + (i64::from(self.count) - 1);
        let mut rebuilt = self.rebuilt;
        let batch = match &mut rebuilt {
            Some(rebuilt) => rebuilt.as_mut_slice(),
            None => &mut given[..self.len],
        };
        patch::set_last_offset(batch, last_offset);
        patch::set_leader_epoch(batch, leader_epoch);
        let offset_of_max_timestamp = match (self.log_append_time, self.index_of_max_timestamp) {
            (Some(_), _) => last_offset,
            (None, Some(index)) => first_offset + i64::from(index),
            (None, None) => Offset::NONE,
        };
        Validated {
            rebuilt,
            size_in_bytes,
            first_offset,
            last_offset,
            max_timestamp: self.max_timestamp,
            offset_of_max_timestamp,
            log_append_time: self.log_append_time,
            record_count: self.count,
        }
    }
}

/// `ProduceRequest.validateRecords`, but for zstd's request versions, which the handler knows.
fn only_batch(bytes: &[u8]) -> Result<BatchView<'_>, InvalidBatch> {
    let refused = |message: &str| InvalidBatch::Refused(message.to_owned());
    let mut batches = Batches::new(bytes);
    let first = batches
        .next()
        .ok_or_else(|| refused("a produce request has one record batch for a partition, here is none"))?
        .map_err(InvalidBatch::Corrupt)?;
    if first.magic() != 2 {
        return Err(refused("a produce request has record batches of magic 2 only"));
    }
    match batches.next() {
        None => Ok(first),
        Some(Ok(_)) => Err(refused("a produce request has one record batch for a partition, here are more")),
        Some(Err(error)) => Err(InvalidBatch::Corrupt(error)),
    }
}

/// `UnifiedLog.analyzeAndValidateRecords`.
fn check_bytes(batch: &BatchView<'_>, rules: &Rules<'_>) -> Result<(), InvalidBatch> {
    if rules.origin == Origin::Client && batch.base_offset() != Offset::ZERO {
        return Err(InvalidBatch::Refused(format!(
            "the base offset of the record batch in the append to {} should be 0, but it is {}",
            rules.topic_partition,
            batch.base_offset()
        )));
    }
    let (size, max) = (batch.size_in_bytes(), rules.max_message_bytes);
    if size > max {
        return Err(InvalidBatch::TooLarge { size, max });
    }
    debug_assert!(size >= HEADER_LEN, "a view of magic 2 has a whole header");
    batch.verify_crc().map_err(InvalidBatch::Corrupt)
}

/// `LogValidator.validateBatch`.
fn check_header(batch: &BatchView<'_>, rules: &Rules<'_>) -> Result<(), InvalidBatch> {
    let refused = |message: String| {
        Err(InvalidBatch::Refused(format!("{message} in topic partition {}", rules.topic_partition)))
    };
    let (base, last, count) = (batch.base_offset(), batch.last_offset(), batch.record_count());
    if rules.origin != Origin::Client {
        // Stricter than Kafka, where a coordinator may append a batch without records.
        return if count == 0 { refused("No records in the batch".to_owned()) } else { Ok(()) };
    }
    let range = i64::from(batch.last_offset_delta()) + 1;
    if range <= 0 {
        return refused(format!("Batch has an invalid offset range: [{base}, {last}]"));
    }
    if count <= 0 {
        return refused(format!("Invalid reported count for record batch: {count}"));
    }
    if range != i64::from(count) {
        return refused(format!(
            "Inconsistent batch offset range [{base}, {last}] and count of records {count}"
        ));
    }
    if batch.attributes().is_control() {
        return refused("Clients are not allowed to write control records".to_owned());
    }
    if batch.has_producer_id() && batch.base_sequence().0 < 0 {
        return refused(format!(
            "Invalid sequence number {} in record batch with producerId {}",
            batch.base_sequence(),
            batch.producer_id()
        ));
    }
    Ok(())
}

impl From<RecordError> for InvalidBatch {
    fn from(error: RecordError) -> Self {
        Self::from_record(error)
    }
}
