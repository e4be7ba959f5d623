//! Loading a shard: every batch of its partition from the start to the end.

use std::io;

use ottla_record::{BatchView, Batches, EndTxnMarker, RecordError};
use ottla_storage::log::{ReadError, ReadRequest};
use ottla_types::{Offset, ProducerId};

use super::Core;
use crate::partition::Partition;

/// Bytes read at a time (`offsets.load.buffer.size`).
const READ_BYTES: u32 = 5 * 1024 * 1024;

/// Why a partition's coordinator cannot serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("the partition is gone")]
    Gone,
    #[error("reading the log: {0}")]
    Read(#[from] ReadError),
    #[error("reading the log: {0}")]
    Io(#[from] io::Error),
    #[error("a damaged batch: {0}")]
    Batch(#[from] RecordError),
    #[error("offset {0}: {1}")]
    Record(Offset, String),
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) records: u64,
}

/// Replays the whole partition into `core`.
pub(super) fn replay<C: Core>(partition: &Partition, core: &mut C) -> Result<Summary, LoadError> {
    let mut summary = Summary::default();
    let mut next = partition.with(|replica| replica.log().log_start_offset()).ok_or(LoadError::Gone)?;
    loop {
        let read = partition.with(|replica| {
            let log = replica.log();
            let request = ReadRequest {
                offset: next,
                max_bytes: READ_BYTES,
                min_one_batch: true,
                upper_bound: log.log_end_offset(),
                aborted_transactions: false,
            };
            log.read(request)
        });
        let Some(slice) = read.ok_or(LoadError::Gone)??.slice else { return Ok(summary) };
        let bytes = slice.read()?;
        let before = next;
        for batch in Batches::new(&bytes) {
            let batch = batch?;
            if batch.next_offset() <= next {
                continue;
            }
            replay_batch(&batch, core, &mut summary)?;
            next = batch.next_offset();
        }
        if next == before {
            return Ok(summary);
        }
    }
}

fn replay_batch<C: Core>(
    batch: &BatchView<'_>,
    core: &mut C,
    summary: &mut Summary,
) -> Result<(), LoadError> {
    let attributes = batch.attributes();
    let mut records = batch.records()?;
    while let Some(record) = records.try_next()? {
        summary.records += 1;
        if attributes.is_control() {
            if let Some(marker) = EndTxnMarker::read(&record)? {
                core.replay_marker(batch.producer_id(), marker.committed);
            }
            continue;
        }
        let producer = if attributes.is_transactional() { batch.producer_id() } else { ProducerId::NONE };
        core.replay_record(record.offset, producer, record.key, record.value)
            .map_err(|what| LoadError::Record(record.offset, what))?;
    }
    Ok(())
}
