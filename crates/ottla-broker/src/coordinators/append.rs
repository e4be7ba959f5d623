//! Writing a shard's records into its partition.

use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_record::{BatchBuilder, Compression};
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
    codec: Compression,
    guard: VerificationGuard,
) -> Result<Written, ErrorCode> {
    let max_bytes = partition.settings().log.max_message_bytes as usize;
    let mut written: Option<Written> = None;
    let mut rest = append.records.as_slice();
    while !rest.is_empty() {
        let (batch, taken) = build(append, rest, codec, max_bytes)?;
        let batch = write(partition, batch, guard, 0)?;
        rest = rest.get(taken..).unwrap_or_default();
        let first = written.map_or(batch.first, |written| written.first);
        written = Some(Written { first, end: batch.end });
    }
    written.ok_or(ErrorCode::UnknownServerError)
}

/// A batch of the first records that fit, all of them if they must stay together, and how many they are. What compression
/// gains counts for those only.
fn build(
    append: &Batch,
    records: &[KeyValue],
    codec: Compression,
    max_bytes: usize,
) -> Result<(Vec<u8>, usize), ErrorCode> {
    let now_ms = now_ms();
    let mut builder = BatchBuilder::new().codec(codec);
    if let Some((id, epoch)) = append.producer {
        builder = builder.producer(id, epoch, Sequence::NONE).transactional(true);
    }
    let mut taken = 0;
    for (key, value) in records {
        let size = BatchBuilder::record_size_bound(Some(key), value.as_deref(), &[]);
        if builder.uncompressed_size() + size > max_bytes && taken > 0 && !append.atomic {
            break;
        }
        let appended = builder.append(now_ms, Some(key), value.as_deref(), &[]);
        appended.map_err(|_| ErrorCode::UnknownServerError)?;
        taken += 1;
    }
    let batch = builder.build().map_err(|_| ErrorCode::UnknownServerError)?;
    if batch.len() > max_bytes {
        return Err(if taken > 1 { ErrorCode::RecordListTooLarge } else { ErrorCode::MessageTooLarge });
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Records that compress to nearly nothing.
    fn records(count: u8, bytes: usize, atomic: bool) -> Batch {
        let records = (0..count).map(|key| (vec![key], Some(vec![b'x'; bytes]))).collect();
        Batch { id: 1, records, atomic, producer: None }
    }

    #[test]
    fn records_that_must_stay_together_may_be_as_large_as_they_compress() {
        let together = records(4, 1000, true);
        let built = |codec, max_bytes| build(&together, &together.records, codec, max_bytes);
        assert_eq!(built(Compression::None, 2500), Err(ErrorCode::RecordListTooLarge));
        let (batch, taken) = built(Compression::Gzip, 2500).expect("small enough");
        assert_eq!(taken, 4);
        assert!(batch.len() < 500);
    }

    #[test]
    fn records_that_may_be_apart_are_written_in_batches_that_the_topic_allows() {
        let apart = records(4, 1000, false);
        for codec in [Compression::None, Compression::Lz4] {
            let (batch, taken) = build(&apart, &apart.records, codec, 2500).expect("some fit");
            assert_eq!(taken, 2);
            assert!(batch.len() <= 2500);
        }
        let large = records(1, 3000, false);
        let refused = build(&large, &large.records, Compression::None, 2500);
        assert_eq!(refused, Err(ErrorCode::MessageTooLarge));
    }
}
