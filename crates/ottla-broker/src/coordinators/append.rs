//! Writing a shard's records into its partition.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_record::BatchBuilder;
use ottla_storage::log::{AppendOrigin, LeaderAppend, VerificationGuard};
use ottla_types::{LeaderEpoch, Offset, Sequence};
use tracing::warn;

use super::{Batch, KeyValue};
use crate::clock::now_ms;
use crate::errors;
use crate::partition::Partition;

/// Where the records of an append are.
pub(crate) struct Written {
    /// Offset of the first record; the others follow without gaps.
    pub(crate) first: Offset,
    /// Offset after the last record.
    pub(crate) end: Offset,
}

/// Appends the records, as one batch when they must stay together, else in batches that the topic allows.
pub(super) fn append(
    partition: &Arc<Partition>,
    append: &Batch,
    guard: VerificationGuard,
) -> Result<Written, ErrorCode> {
    let max_bytes = partition.settings().log.max_message_bytes as usize;
    let mut written: Option<Written> = None;
    let mut rest = append.records.as_slice();
    while !rest.is_empty() {
        let (batch, taken) = build(append, rest, max_bytes, append.atomic)?;
        let batch = write(partition, batch, guard, 0)?;
        rest = rest.get(taken..).unwrap_or_default();
        let first = written.map_or(batch.first, |written| written.first);
        written = Some(Written { first, end: batch.end });
    }
    written.ok_or(ErrorCode::UnknownServerError)
}

/// A batch of the first records that fit, and how many they are.
fn build(
    append: &Batch,
    records: &[KeyValue],
    max_bytes: usize,
    all: bool,
) -> Result<(Vec<u8>, usize), ErrorCode> {
    let now_ms = now_ms();
    let mut builder = BatchBuilder::new();
    if let Some((id, epoch)) = append.producer {
        builder = builder.producer(id, epoch, Sequence::NONE).transactional(true);
    }
    let mut taken = 0;
    for (key, value) in records {
        let size = BatchBuilder::record_size_bound(Some(key), value.as_deref(), &[]);
        if builder.uncompressed_size() + size > max_bytes && taken > 0 {
            if all {
                return Err(ErrorCode::RecordListTooLarge);
            }
            break;
        }
        let appended = builder.append(now_ms, Some(key), value.as_deref(), &[]);
        appended.map_err(|_| ErrorCode::UnknownServerError)?;
        taken += 1;
    }
    let batch = builder.build().map_err(|_| ErrorCode::UnknownServerError)?;
    if batch.len() > max_bytes {
        return Err(ErrorCode::MessageTooLarge);
    }
    Ok((batch, taken))
}

/// Appends a batch of a coordinator; `transaction_version` matters for markers.
pub(crate) fn write(
    partition: &Arc<Partition>,
    mut batch: Vec<u8>,
    guard: VerificationGuard,
    transaction_version: i16,
) -> Result<Written, ErrorCode> {
    let appended = partition.update(|replica| {
        let epoch = match replica.check_leader(LeaderEpoch::NONE) {
            Ok(epoch) => epoch,
            Err(error) => return (Err(errors::of_replica(&error)), Vec::new()),
        };
        let append = LeaderAppend {
            origin: AppendOrigin::Coordinator,
            leader_epoch: epoch,
            guard,
            transaction_version,
            now_ms: now_ms(),
        };
        match replica.append(&mut batch, append) {
            Ok((info, released)) => {
                (Ok(Written { first: info.first_offset, end: info.last_offset.next() }), released)
            }
            Err(error) => {
                warn!(partition = %partition.id, "a coordinator cannot write: {error}");
                (Err(errors::of_append(&error)), Vec::new())
            }
        }
    });
    appended.unwrap_or(Err(ErrorCode::NotLeaderOrFollower))
}
