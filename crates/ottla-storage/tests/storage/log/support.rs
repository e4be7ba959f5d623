//! Making batches and opening logs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_record::{BatchBuilder, Batches, Codec, EndTxnMarker};
use ottla_storage::fs::MemFs;
use ottla_storage::log::{
    AppendError, AppendInfo, AppendOrigin, LeaderAppend, LoadReport, Log, LogConfig, LogOpen, LogRead,
    ReadRequest, VerificationGuard,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

pub(crate) const DIR: &str = "/logs/t-0";
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// A producer as far as batches tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    pub(crate) transactional: bool,
}

/// A batch with one record per timestamp.
pub(crate) fn batch(timestamps: &[i64], producer: Option<Producer>, codec: Codec) -> Vec<u8> {
    batch_of(timestamps, producer, codec, 20)
}

pub(crate) fn batch_of(
    timestamps: &[i64],
    producer: Option<Producer>,
    codec: Codec,
    value_len: usize,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(codec);
    if let Some(p) = producer {
        builder = builder
            .producer(ProducerId(p.id), ProducerEpoch(p.epoch), Sequence(p.sequence))
            .transactional(p.transactional);
    }
    for (i, timestamp) in timestamps.iter().enumerate() {
        let value: Vec<u8> = (0..value_len).map(|n| u8::try_from((n * 7 + i) % 251).unwrap()).collect();
        builder.append(*timestamp, Some(format!("key-{i}").as_bytes()), Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn plain(records: usize) -> Vec<u8> {
    batch(&vec![NOW; records], None, Codec::NONE)
}

pub(crate) fn marker(id: i64, epoch: i16, committed: bool, coordinator_epoch: i32, now: i64) -> Vec<u8> {
    EndTxnMarker { committed, coordinator_epoch }.batch(
        Offset(0),
        LeaderEpoch(0),
        now,
        ProducerId(id),
        ProducerEpoch(epoch),
    )
}

/// Segments of so many bytes with an index entry for nearly each batch.
pub(crate) fn segments_of(segment_bytes: u32) -> LogConfig {
    LogConfig {
        segment_bytes,
        index_interval_bytes: 100,
        transaction_verification: false,
        ..LogConfig::default()
    }
}

/// A file of the segment that begins at `base`.
pub(crate) fn segment_file(base: i64, extension: &str) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.{extension}"))
}

pub(crate) fn small_config() -> LogConfig {
    LogConfig { segment_bytes: 2000, index_interval_bytes: 200, ..LogConfig::default() }
}

pub(crate) fn opening(clean: bool, recovery_point: Offset) -> LogOpen {
    LogOpen {
        clean_shutdown: clean,
        recovery_point,
        log_start_offset: Offset(0),
        topic_id: None,
        jitter_seed: 1,
        now_ms: NOW,
    }
}

pub(crate) fn open_with(fs: &MemFs, config: LogConfig, open: LogOpen) -> (Log, LoadReport) {
    Log::open(Arc::new(fs.clone()), Path::new(DIR), config, open).expect("the log opens")
}

pub(crate) fn open(fs: &MemFs, config: LogConfig) -> Log {
    open_with(fs, config, opening(false, Offset(0))).0
}

pub(crate) fn client(epoch: i32) -> LeaderAppend {
    LeaderAppend {
        origin: AppendOrigin::Client,
        leader_epoch: LeaderEpoch(epoch),
        guard: VerificationGuard::default(),
        transaction_version: 0,
        now_ms: NOW,
    }
}

pub(crate) fn coordinator(epoch: i32) -> LeaderAppend {
    LeaderAppend { origin: AppendOrigin::Coordinator, ..client(epoch) }
}

pub(crate) fn append(log: &mut Log, mut batch: Vec<u8>) -> Result<AppendInfo, AppendError> {
    log.append_as_leader(&mut batch, client(0))
}

pub(crate) fn request(offset: i64, bound: Offset) -> ReadRequest {
    ReadRequest {
        offset: Offset(offset),
        max_bytes: 1 << 20,
        min_one_batch: true,
        upper_bound: bound,
        aborted_transactions: false,
    }
}

/// Base and last offsets of the batches in a read.
pub(crate) fn ranges(read: &LogRead) -> Vec<(i64, i64)> {
    let bytes = read.slice.as_ref().map(|slice| slice.read().unwrap()).unwrap_or_default();
    Batches::new(&bytes).flatten().map(|batch| (batch.base_offset().0, batch.last_offset().0)).collect()
}

/// All batches of a log from its start to its end, as bytes each, read as a follower does.
pub(crate) fn all_batches(log: &Log) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    let mut offset = log.log_start_offset();
    while offset < log.log_end_offset() {
        let read = log.read(request(offset.0, log.log_end_offset())).unwrap();
        let Some(slice) = &read.slice else { break };
        let bytes = slice.read().unwrap();
        let mut next = offset;
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            next = batch.next_offset();
            batches.push(batch.bytes().to_vec());
        }
        assert!(next > offset, "a read makes progress");
        offset = next;
    }
    batches
}
