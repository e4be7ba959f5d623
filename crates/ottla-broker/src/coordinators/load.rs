//! Loading a shard: every batch of its partition from the start to the end.

use ottla_record::{BatchView, Batches, EndTxnMarker, RecordError};
use ottla_storage::log::{LogError, ReadError, ReadRequest};
use ottla_types::{Offset, ProducerId};

use super::Core;
use crate::partition::Partition;

/// Why a partition's coordinator cannot serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("the partition is gone")]
    Gone,
    #[error("reading the log: {0}")]
    Read(#[from] ReadError),
    #[error("a damaged batch: {0}")]
    Batch(#[from] RecordError),
    #[error("offset {0}: {1}")]
    Record(Offset, String),
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) records: u64,
    /// How often the log was read.
    pub(super) reads: u64,
}

/// Replays the whole partition into `core`, reading `read_bytes` at a time, or one batch if that is larger
/// (`CoordinatorLoaderImpl`).
pub(super) fn replay<C: Core>(
    partition: &Partition,
    core: &mut C,
    read_bytes: u32,
) -> Result<Summary, LoadError> {
    let mut summary = Summary::default();
    let mut next = partition.with(|replica| replica.log().log_start_offset()).ok_or(LoadError::Gone)?;
    loop {
        let read = partition.with(|replica| {
            let log = replica.log();
            let request = ReadRequest {
                offset: next,
                max_bytes: read_bytes,
                min_one_batch: true,
                upper_bound: log.log_end_offset(),
                aborted_transactions: false,
            };
            log.read(request)
        });
        let read = read.ok_or(LoadError::Gone)?;
        if let Err(ReadError::Log(error)) = &read {
            partition.note_failed_read(error);
        }
        let Some(slice) = read?.slice else { return Ok(summary) };
        let bytes = slice.read().map_err(|source| {
            let path = partition.dir().path().join(partition.id.to_string());
            let error = LogError::Io { action: "read", path, source };
            partition.note_failed_read(&error);
            ReadError::Log(error)
        })?;
        summary.reads += 1;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_coordinator::transaction::{TransactionConfig, TransactionShard};
    use ottla_record::BatchBuilder;
    use ottla_replica::Durability;
    use ottla_storage::fs::MemFs;
    use ottla_storage::log::{AppendOrigin, LogConfig};
    use ottla_types::{LeaderEpoch, TopicPartition};

    use super::*;
    use crate::flusher::Flusher;
    use crate::settings::TopicSettings;
    use crate::test_support::{self, NOW, append_from};

    /// A partition of `__transaction_state` with so many batches, each of which forgets a transactional id.
    fn partition(batches: usize) -> Arc<Partition> {
        let fs = MemFs::new();
        test_support::format(&fs);
        let dirs = test_support::log_dirs(&fs);
        let settings = TopicSettings {
            log: LogConfig::default(),
            durability: Durability::PageCache,
            min_insync_replicas: 1,
        };
        let id = TopicPartition::new("__transaction_state", 0);
        let mut placed = test_support::create(&dirs, id, settings.log.clone());
        for _ in 0..batches {
            let mut batch = BatchBuilder::new();
            batch.append(NOW, Some(&[0, 0, 0, 1, b'x']), None, &[]).expect("a record");
            let append = append_from(AppendOrigin::Coordinator);
            placed.log.append_as_leader(&mut batch.build().expect("a batch"), append).expect("appended");
        }
        let flusher = Flusher::new("flusher".to_owned(), Arc::clone(&placed.dir), 0);
        test_support::partition(placed, &flusher, settings)
    }

    #[test]
    fn reads_as_much_at_a_time_as_configured_and_a_larger_batch_whole() {
        let partition = partition(8);
        let replayed = |read_bytes| {
            let mut core = <TransactionShard as Core>::empty(&TransactionConfig::default(), LeaderEpoch(0));
            replay(&partition, &mut core, read_bytes).expect("the log can be read")
        };
        let (batchwise, in_pairs, at_once) = (replayed(1), replayed(160), replayed(1 << 20));
        assert_eq!((batchwise.records, batchwise.reads), (8, 8));
        assert_eq!((in_pairs.records, in_pairs.reads), (8, 4));
        assert_eq!((at_once.records, at_once.reads), (8, 1));
    }
}
