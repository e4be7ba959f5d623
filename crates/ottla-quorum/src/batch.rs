//! Batches of the metadata log and of snapshots: plain magic 2 with stricter rules than partitions have
//! (`BatchBuilder`, `RecordsIterator` of Kafka's raft module).

use ottla_record::{BatchBuilder, BatchView, Batches, RecordError};
use ottla_types::{LeaderEpoch, Offset, TimestampMs};

use crate::{Control, QuorumError};

/// Most bytes of a batch (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`).
pub const MAX_BATCH_BYTES: usize = 8 << 20;

/// Most records of a batch (`QuorumController`).
pub const MAX_BATCH_RECORDS: usize = 10_000;

/// A batch that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataBatch {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
    /// When it was appended.
    pub timestamp_ms: TimestampMs,
    /// Its size.
    pub size_bytes: usize,
    /// Its records.
    pub records: BatchRecords,
}

/// The records of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum BatchRecords {
    /// Values of data records: metadata records in their frames.
    Data(Vec<Vec<u8>>),
    /// Control records.
    Control(Vec<Control>),
}

impl MetadataBatch {
    /// Reads one batch and checks it wholly: checksum, no time differences, data without keys and with values, no headers,
    /// known control records.
    ///
    /// # Errors
    /// The broken rule.
    pub fn read(batch: &BatchView<'_>) -> Result<Self, QuorumError> {
        let offset = batch.base_offset();
        let malformed = |source| QuorumError::Batch { offset, source };
        let rule = |what: String| QuorumError::Rule { offset, what };
        if batch.magic() != 2 {
            return Err(rule(format!("magic is {} instead of 2", batch.magic())));
        }
        batch.verify_crc().map_err(malformed)?;
        let is_control = batch.attributes().is_control();
        let (mut data, mut controls) = (Vec::new(), Vec::new());
        let mut records = batch.records().map_err(malformed)?;
        while let Some(record) = records.try_next().map_err(malformed)? {
            if record.timestamp != batch.base_timestamp() {
                return Err(rule("a record has another timestamp than its batch".to_owned()));
            }
            if !record.headers.is_empty() {
                return Err(rule("a record has headers".to_owned()));
            }
            let value = record.value.filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| rule("a record has no value".to_owned()))?;
            match record.key {
                Some(key) if is_control => controls.push(Control::read(key, value).map_err(rule)?),
                None if is_control => return Err(rule("a control record has no key".to_owned())),
                None => data.push(value.to_vec()),
                Some(_) => return Err(rule("a data record has a key".to_owned())),
            }
        }
        Ok(Self {
            base_offset: offset,
            last_offset: batch.last_offset(),
            epoch: batch.leader_epoch(),
            timestamp_ms: batch.max_timestamp(),
            size_bytes: batch.size_in_bytes(),
            records: if is_control { BatchRecords::Control(controls) } else { BatchRecords::Data(data) },
        })
    }

    /// Reads all whole batches of a buffer.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn read_all(bytes: &[u8]) -> Result<Vec<Self>, QuorumError> {
        let one = |batch: Result<BatchView<'_>, RecordError>| {
            let malformed = |source| QuorumError::Batch { offset: Offset::NONE, source };
            Self::read(&batch.map_err(malformed)?)
        };
        Batches::new(bytes).map(one).collect()
    }

    /// The values of data records; none for a control batch.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        let values = match &self.records {
            BatchRecords::Data(values) => values.as_slice(),
            BatchRecords::Control(_) => &[],
        };
        values.iter().map(Vec::as_slice)
    }

    /// The control records; none for a data batch.
    pub fn controls(&self) -> &[Control] {
        match &self.records {
            BatchRecords::Data(_) => &[],
            BatchRecords::Control(controls) => controls,
        }
    }
}

/// A data batch: all records of one time, without keys and headers.
///
/// # Errors
/// When the values exceed a batch.
pub fn data_batch<V: AsRef<[u8]>>(
    values: &[V],
    base_offset: Offset,
    epoch: LeaderEpoch,
    now_ms: TimestampMs,
) -> Result<Vec<u8>, RecordError> {
    let mut builder = BatchBuilder::new().base_offset(base_offset).leader_epoch(epoch);
    for value in values {
        builder.append(now_ms, None, Some(value.as_ref()), &[])?;
    }
    builder.build()
}

/// Upper bound of what a value adds to a batch.
pub(crate) fn record_bound(value: &[u8]) -> usize {
    BatchBuilder::record_size_bound(None, Some(value), &[])
}
