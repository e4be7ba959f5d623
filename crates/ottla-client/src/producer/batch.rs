//! Records that wait to be sent, and the batch they become.

use std::time::{SystemTime, UNIX_EPOCH};

use ottla_record::{BatchBuilder, Compression, Header};
use ottla_types::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Delivered, Record};
use crate::Result;

/// A record in the queue of its partition.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) record: Record,
    /// What it takes, roughly.
    pub(super) bytes: usize,
    /// Its share of the buffer.
    pub(super) _room: OwnedSemaphorePermit,
    pub(super) delivery: Option<oneshot::Sender<Result<Delivered>>>,
}

impl Queued {
    /// Stamps the record with the time of its queueing.
    pub(super) fn stamp(mut self) -> Self {
        self.record.timestamp.get_or_insert_with(now_ms);
        self
    }
}

/// Builds the batch of `records`.
pub(super) fn build(
    records: &[Queued],
    compression: Compression,
    producer: Option<(ProducerId, ProducerEpoch, Sequence)>,
    is_transactional: bool,
) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new().codec(compression).transactional(is_transactional);
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    for Queued { record, .. } in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header::new(key, value.as_deref())).collect();
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        builder.append(timestamp, record.key.as_deref(), record.value.as_deref(), &headers)?;
    }
    Ok(builder.build()?)
}

fn now_ms() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
