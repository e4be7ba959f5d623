//! Batches of control records: transaction markers, and the records of the quorum.

use ottla_types::{ControlType, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::cursor::{i16_at, i32_at};
use crate::{BatchBuilder, RecordError, RecordView};

const BAD_KEY: RecordError = RecordError::InvalidRecord("Invalid control record key");
const BAD_MARKER: RecordError = RecordError::InvalidRecord("Invalid value of an end transaction marker");

/// Reads the key of a control record. `Ok(None)`: a type that this release does not know.
///
/// Errors: [`RecordError::InvalidRecord`] when the key is null, short, or of a negative version.
pub fn control_type(record: &RecordView<'_>) -> Result<Option<ControlType>, RecordError> {
    let key = record.key.filter(|key| key.len() >= 4).ok_or(BAD_KEY)?;
    if i16_at(key, 0) < 0 {
        return Err(BAD_KEY);
    }
    Ok(ControlType::from_code(i16_at(key, 2)))
}

/// The record that ends a transaction on a partition (`EndTransactionMarker`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Commit, or abort.
    pub committed: bool,
    /// Epoch of the coordinator that decided it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads a control record; `Ok(None)` if it is not a marker.
    ///
    /// Errors: [`RecordError::InvalidRecord`] when the key or the value is short or of a negative version.
    pub fn read(record: &RecordView<'_>) -> Result<Option<Self>, RecordError> {
        let committed = match control_type(record)? {
            Some(ControlType::Commit) => true,
            Some(ControlType::Abort) => false,
            _ => return Ok(None),
        };
        let value = record.value.filter(|value| value.len() >= 6).ok_or(BAD_MARKER)?;
        if i16_at(value, 0) < 0 {
            return Err(BAD_MARKER);
        }
        Ok(Some(Self { committed, coordinator_epoch: i32_at(value, 2) }))
    }

    /// The record's value: version 0 and the coordinator's epoch.
    pub fn value(&self) -> [u8; 6] {
        let epoch = self.coordinator_epoch.to_be_bytes();
        [0, 0, epoch[0], epoch[1], epoch[2], epoch[3]]
    }

    /// The batch of the marker, 78 bytes (`MemoryRecords.withEndTransactionMarker`).
    pub fn batch(
        &self,
        offset: Offset,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
    ) -> Vec<u8> {
        let mut builder = BatchBuilder::new()
            .base_offset(offset)
            .leader_epoch(leader_epoch)
            .producer(producer_id, producer_epoch, Sequence::NONE)
            .transactional(true)
            .control(true);
        let kind = if self.committed { ControlType::Commit } else { ControlType::Abort };
        builder
            .append(now, Some(&kind.key()), Some(&self.value()), &[])
            .and_then(|_| builder.build())
            .expect("a marker is small")
    }
}

/// A batch of control records of the quorum, whose values the caller has encoded.
///
/// Errors: [`RecordError::Unbuildable`] when they exceed a batch.
pub fn control_batch(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    now: TimestampMs,
    records: &[(ControlType, &[u8])],
) -> Result<Vec<u8>, RecordError> {
    let mut builder = BatchBuilder::new().base_offset(base_offset).leader_epoch(leader_epoch).control(true);
    for (kind, value) in records {
        builder.append(now, Some(&kind.key()), Some(value), &[])?;
    }
    builder.build()
}
