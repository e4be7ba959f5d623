//! What is checked of batches that come with their offsets: from a leader, or from the quorum's leader.

use ottla_types::{LeaderEpoch, NO_TIMESTAMP, Offset, TimestampMs};

use crate::Batches;
use crate::validate::InvalidBatch;

/// Whose batches they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Fetched from a leader in the epoch that the follower knows. Batches of a later epoch, and all after them, are
    /// left out: the leader had lost its leadership when it sent them (KAFKA-18723).
    Replication(LeaderEpoch),
    /// Appended by the leader of a quorum in its epoch, which each batch must carry.
    RaftLeader(LeaderEpoch),
}

/// A prefix of batches that may be appended as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Bytes of the batches.
    pub bytes: usize,
    /// Number of batches.
    pub batches: usize,
    /// Base offset of the first batch. For magic 0 and 1 the offset of its last record, as in `LogAppendInfo`.
    pub first_offset: Offset,
    /// Last offset of the last batch.
    pub last_offset: Offset,
    /// Epoch of the last batch.
    pub last_leader_epoch: LeaderEpoch,
    /// Largest of the batches' maximum timestamps.
    pub max_timestamp: TimestampMs,
    /// Whether whole batches were left out for their epoch.
    pub has_later_epoch: bool,
}

/// Walks the headers of the whole batches in `bytes` and verifies their checksums; a cut batch at the end is ignored.
/// Nothing is decompressed. `Ok(None)`: no batch is left.
///
/// Errors: [`InvalidBatch::Corrupt`]; [`InvalidBatch::Refused`] when offsets do not increase from batch to batch
/// (`OffsetsOutOfOrderException`), or when a batch of the quorum has another epoch.
pub fn inspect(bytes: &[u8], source: Source) -> Result<Option<Inspected>, InvalidBatch> {
    let mut inspected: Option<Inspected> = None;
    let mut has_later_epoch = false;
    for batch in Batches::new(bytes) {
        let batch = batch.map_err(InvalidBatch::Corrupt)?;
        match source {
            Source::RaftLeader(epoch) if batch.leader_epoch() != epoch => {
                return Err(InvalidBatch::Refused(format!(
                    "the append of the quorum's leader in epoch {epoch} has a batch of epoch {}",
                    batch.leader_epoch()
                )));
            }
            Source::Replication(epoch) if batch.leader_epoch() > epoch => {
                has_later_epoch = true;
                break;
            }
            Source::RaftLeader(_) | Source::Replication(_) => {}
        }
        batch.verify_crc().map_err(InvalidBatch::Corrupt)?;
        let last_offset = batch.last_offset();
        let before = inspected.map_or(Offset::NONE, |before| before.last_offset);
        if last_offset <= before || last_offset < batch.base_offset() {
            return Err(InvalidBatch::Refused(format!(
                "offsets are out of order: a batch that ends at {before} is followed by {batch:?}"
            )));
        }
        inspected = Some(Inspected {
            bytes: inspected.map_or(0, |before| before.bytes) + batch.size_in_bytes(),
            batches: inspected.map_or(0, |before| before.batches) + 1,
            first_offset: inspected.map_or(batch.base_offset(), |before| before.first_offset),
            last_offset,
            last_leader_epoch: batch.leader_epoch(),
            max_timestamp: inspected
                .map_or(NO_TIMESTAMP, |before| before.max_timestamp)
                .max(batch.max_timestamp()),
            has_later_epoch: false,
        });
    }
    Ok(inspected.map(|inspected| Inspected { has_later_epoch, ..inspected }))
}
