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
    use std::path::PathBuf;
    use std::sync::Arc;

    use ottla_coordinator::transaction::{TransactionConfig, TransactionShard};
    use ottla_record::BatchBuilder;
    use ottla_replica::{Durability, Replica};
    use ottla_storage::dir::{Format, LogDirs, LogDirsConfig, LogKey, NewLog};
    use ottla_storage::fs::{Fs, MemFs};
    use ottla_storage::log::{AppendOrigin, LeaderAppend, LogConfig, VerificationGuard};
    use ottla_types::{LeaderEpoch, NodeId, TopicPartition, Uuid};

    use super::*;
    use crate::flusher::Flusher;
    use crate::partition::Place;
    use crate::settings::TopicSettings;

    const NOW: i64 = 1_700_000_000_000;

    /// A partition of `__transaction_state` with so many batches, each of which forgets a transactional id.
    fn partition(batches: usize) -> Arc<Partition> {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let dirs = [PathBuf::from("/data")];
        let mut next = 100;
        let mut new_id = || {
            next += 1;
            Uuid::from_parts(next, 7)
        };
        let format = Format {
            dirs: &dirs,
            cluster_id: "5L6g3nShT-eMCtK--X86sw",
            node_id: NodeId(1),
            directory_ids: &[],
            ignore_formatted: false,
        };
        format.plan(fs.as_ref(), &mut new_id).and_then(|plan| plan.finish(fs.as_ref())).expect("formatted");
        let config = LogDirsConfig {
            dirs: dirs.to_vec(),
            metadata_dir: dirs[0].clone(),
            node_id: NodeId(1),
            cluster_id: None,
        };
        let dirs = LogDirs::open(Arc::clone(&fs), &config, &mut new_id).expect("opened");
        let id = TopicPartition::new("__transaction_state", 0);
        let settings = TopicSettings {
            log: LogConfig::default(),
            durability: Durability::PageCache,
            min_insync_replicas: 1,
        };
        let mut placed = dirs
            .create(&NewLog {
                key: LogKey::current(id.clone()),
                topic_id: Uuid::from_parts(1, 1),
                is_new: true,
                dir_id: None,
                config: settings.log.clone(),
                unique: 1,
                now_ms: NOW,
            })
            .expect("created");
        for _ in 0..batches {
            let mut batch = BatchBuilder::new();
            batch.append(NOW, Some(&[0, 0, 0, 1, b'x']), None, &[]).expect("a record");
            let append = LeaderAppend {
                origin: AppendOrigin::Coordinator,
                leader_epoch: LeaderEpoch(0),
                guard: VerificationGuard::default(),
                transaction_version: 0,
                now_ms: NOW,
            };
            placed.log.append_as_leader(&mut batch.build().expect("a batch"), append).expect("appended");
        }
        let flusher = Flusher::new("flusher".to_owned(), Arc::clone(&placed.dir), 0);
        let place = Place { dir: placed.dir, flusher };
        let replica = Replica::new(placed.log, settings.durability);
        Partition::new(id, Uuid::from_parts(1, 1), place, Arc::new(settings), replica)
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
