//! Sending records: partitioning, batching, retries, idempotence.
//!
//! Each partition has a task with at most one request under way: records gather while it waits, so batches grow with the
//! load, order holds through retries, and sequences (`idempotent`) need no window.

mod batch;
mod transaction;
mod worker;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_record::Compression;
use ottla_types::{Offset, PartitionIndex, TimestampMs, TopicName, TopicPartition};
use tokio::sync::{Notify, OnceCell, Semaphore, mpsc, oneshot};

use self::batch::Queued;
use self::transaction::Transaction;
use self::worker::{Identity, Worker};
use crate::partitioner::{Sticky, partition_of_key};
use crate::{Client, ClientError, Result};

/// What a record takes besides key, value and headers, at most.
const RECORD_OVERHEAD_BYTES: usize = 21;
/// What a header takes besides key and value, at most.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// How many replicas must have a record before the broker acknowledges it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// The broker does not acknowledge at all; lost records go unnoticed.
    None = 0,
    /// The leader alone.
    Leader = 1,
    /// All replicas in sync.
    #[default]
    All = -1,
}

/// Settings of a producer; the defaults are those of Kafka's, except where noted.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// `acks`.
    pub acks: Acks,
    /// `compression.type`.
    pub compression: Compression,
    /// `batch.size`: a batch is sent when it has this many bytes, uncompressed. Larger than Kafka's, as there is one
    /// request under way per partition.
    pub batch_bytes: usize,
    /// `linger.ms`: how long a batch waits for more records.
    pub linger: Duration,
    /// `buffer.memory`: bytes of records that are not delivered yet; above it, sending waits.
    pub buffer_bytes: usize,
    /// `delivery.timeout.ms`: a record that is not acknowledged by then has failed.
    pub delivery_timeout: Duration,
    /// `enable.idempotence`: retries make no duplicates. Needs [`Acks::All`] and is ignored otherwise.
    pub idempotent: bool,
    /// `transactional.id`: records are seen when [`Producer::commit`] has succeeded. Makes the producer idempotent.
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`: the coordinator aborts a transaction that has lasted so long.
    pub transaction_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::None,
            batch_bytes: 256 * 1024,
            linger: Duration::from_millis(5),
            buffer_bytes: 32 * 1024 * 1024,
            delivery_timeout: Duration::from_mins(2),
            idempotent: true,
            transactional_id: None,
            transaction_timeout: Duration::from_mins(1),
        }
    }
}

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key, which decides the partition.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Its timestamp; `None` for now.
    pub timestamp: Option<TimestampMs>,
    /// Its partition; `None` to choose by key, or any.
    pub partition: Option<PartitionIndex>,
}

impl Record {
    /// A record of a key and a value.
    pub fn new<B: Into<Bytes>>(key: Option<B>, value: Option<B>) -> Self {
        Self { key: key.map(Into::into), value: value.map(Into::into), ..Self::default() }
    }

    /// A record without key.
    pub fn of_value(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// Bytes of key, value and headers.
    fn payload_bytes(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + len(value)).sum();
        len(&self.key) + len(&self.value) + headers
    }

    /// What it takes in a batch, roughly.
    fn size_in_bytes(&self) -> usize {
        self.payload_bytes() + self.headers.len() * HEADER_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset; -1 when the broker does not say ([`Acks::None`], or a retry whose first attempt had succeeded long ago).
    pub offset: Offset,
    /// When the acknowledgement came.
    pub at: Instant,
}

/// The acknowledgement of a record, to come.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Delivered>>);

impl Future for Delivery {
    type Output = Result<Delivered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|received| {
            received.unwrap_or_else(|_| {
                Err(ClientError::Usage("the runtime stopped before the record was sent".into()))
            })
        })
    }
}

/// What a producer has done.
#[derive(Debug, Default)]
pub struct ProducerStats {
    /// Records acknowledged.
    pub delivered: AtomicU64,
    /// Bytes of keys, values and headers acknowledged, uncompressed.
    pub delivered_bytes: AtomicU64,
    /// Records given up.
    pub failed: AtomicU64,
    /// Batches acknowledged.
    pub batches: AtomicU64,
}

/// Sends records. Dropping it still sends what is queued, as long as the runtime lives; [`Producer::flush`] waits for it.
#[derive(Debug)]
pub struct Producer {
    core: Arc<Core>,
    queues: Mutex<HashMap<TopicPartition, mpsc::UnboundedSender<Queued>>>,
    sticky: Mutex<HashMap<TopicName, Sticky>>,
    buffer: Arc<Semaphore>,
}

/// What the producer shares with its workers.
#[derive(Debug)]
struct Core {
    client: Client,
    config: ProducerConfig,
    identity: OnceCell<Identity>,
    /// Of a transactional producer.
    transaction: Option<Transaction>,
    stats: Arc<ProducerStats>,
    unacknowledged: AtomicUsize,
    /// Wakes those who flush, when `unacknowledged` has come to 0.
    idle: Notify,
    /// Wakes the workers that linger, when somebody flushes.
    hurry: Notify,
    flushing: AtomicUsize,
    /// First failure of a record whose delivery nobody awaits.
    failure: Mutex<Option<ClientError>>,
}

impl Producer {
    /// A producer. Idempotent ones get their producer id with the first batch; transactional ones take over their id here.
    ///
    /// # Errors
    /// The settings make no sense, or the coordinator of the transactional id refuses or does not answer.
    pub async fn new(client: Client, mut config: ProducerConfig) -> Result<Self> {
        if config.batch_bytes == 0 || config.buffer_bytes < config.batch_bytes {
            return Err(ClientError::Usage(
                "buffer_bytes must hold at least one batch of batch_bytes > 0".into(),
            ));
        }
        if config.transactional_id.is_some() && config.acks != Acks::All {
            return Err(ClientError::Usage("transactions need the acknowledgement of all replicas".into()));
        }
        config.idempotent |= config.transactional_id.is_some();
        config.idempotent &= config.acks == Acks::All;
        let transaction = match &config.transactional_id {
            Some(id) => Some(Transaction::take_over(&client, id, config.transaction_timeout).await?),
            None => None,
        };
        let buffer_bytes = config.buffer_bytes.min(u32::MAX as usize);
        config.buffer_bytes = buffer_bytes;
        let core = Core {
            client,
            config,
            identity: OnceCell::new(),
            transaction,
            stats: Arc::default(),
            unacknowledged: AtomicUsize::new(0),
            idle: Notify::new(),
            hurry: Notify::new(),
            flushing: AtomicUsize::new(0),
            failure: Mutex::default(),
        };
        Ok(Self {
            core: Arc::new(core),
            queues: Mutex::default(),
            sticky: Mutex::default(),
            buffer: Arc::new(Semaphore::new(buffer_bytes)),
        })
    }

    /// Queues a record, waiting for room, and returns the promise of its acknowledgement. Records of one partition are
    /// written in the order of these calls.
    ///
    /// # Errors
    /// The topic or partition does not exist.
    pub async fn send(&self, topic: &str, record: Record) -> Result<Delivery> {
        let (acknowledged, delivery) = oneshot::channel();
        self.queue(topic, record, Some(acknowledged)).await?;
        Ok(Delivery(delivery))
    }

    /// Queues a record as [`Producer::send`] does; if it fails, [`Producer::flush`] says so.
    ///
    /// # Errors
    /// The topic or partition does not exist.
    pub async fn enqueue(&self, topic: &str, record: Record) -> Result<()> {
        self.queue(topic, record, None).await
    }

    /// Waits until all queued records are acknowledged.
    ///
    /// # Errors
    /// The first failure of a record that was queued by [`Producer::enqueue`] since the last flush.
    pub async fn flush(&self) -> Result<()> {
        self.core.flushing.fetch_add(1, Ordering::SeqCst);
        self.core.hurry.notify_waiters();
        loop {
            let idle = self.core.idle.notified();
            if self.core.unacknowledged.load(Ordering::SeqCst) == 0 {
                break;
            }
            idle.await;
        }
        self.core.flushing.fetch_sub(1, Ordering::SeqCst);
        lock(&self.core.failure).take().map_or(Ok(()), Err)
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<ProducerStats> {
        &self.core.stats
    }

    async fn queue(
        &self,
        topic: &str,
        record: Record,
        delivery: Option<oneshot::Sender<Result<Delivered>>>,
    ) -> Result<()> {
        let bytes = record.size_in_bytes();
        let partition = self.partition_for(topic, &record, bytes).await?;
        let permits = u32::try_from(bytes.min(self.core.config.buffer_bytes)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.buffer).acquire_many_owned(permits).await;
        let room = room.expect("the semaphore is never closed");
        self.core.unacknowledged.fetch_add(1, Ordering::SeqCst);
        let queued = Queued { record, bytes, _room: room, delivery };
        let partition = TopicPartition::new(topic, partition);
        let mut queues = lock(&self.queues);
        let queue = queues.entry(partition).or_insert_with_key(|partition| {
            let (queue, queued) = mpsc::unbounded_channel();
            tokio::spawn(Worker::new(Arc::clone(&self.core), partition.clone(), queued).run());
            queue
        });
        queue.send(queued).expect("a worker lives as long as its queue");
        Ok(())
    }

    async fn partition_for(&self, topic: &str, record: &Record, bytes: usize) -> Result<PartitionIndex> {
        let metadata = self.core.client.topic(topic).await?;
        let count = i32::try_from(metadata.partitions.len()).unwrap_or(i32::MAX);
        match (record.partition, &record.key) {
            (Some(index), _) if metadata.partition(index).is_some() => Ok(index),
            (Some(index), _) => Err(ClientError::Usage(format!(
                "topic '{topic}' has no partition {index}: it has partitions 0 to {}",
                count - 1
            ))),
            (None, Some(key)) => Ok(partition_of_key(key, count)),
            (None, None) => {
                let mut sticky = lock(&self.sticky);
                let sticky = sticky.entry(metadata.name.clone()).or_default();
                Ok(sticky.next(&metadata, bytes, self.core.config.batch_bytes))
            }
        }
    }
}

impl Core {
    /// Settles records, one result for all; offsets count up from `offset`.
    fn settle(&self, batch: Vec<Queued>, partition: PartitionIndex, result: &Result<Offset>) {
        let (count, bytes) =
            (batch.len(), batch.iter().map(|queued| queued.record.payload_bytes() as u64).sum());
        match result {
            Ok(_) => {
                self.stats.delivered.fetch_add(count as u64, Ordering::Relaxed);
                self.stats.delivered_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.stats.batches.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => _ = self.stats.failed.fetch_add(count as u64, Ordering::Relaxed),
        }
        let at = Instant::now();
        for (queued, delta) in batch.into_iter().zip(0_i64..) {
            let delivered = result.as_ref().map_err(Clone::clone).map(|base| Delivered {
                partition,
                offset: if *base == Offset::NONE { Offset::NONE } else { *base + delta },
                at,
            });
            match (queued.delivery, delivered) {
                // The caller may have lost interest.
                (Some(delivery), delivered) => _ = delivery.send(delivered),
                (None, Ok(_)) => {}
                (None, Err(error)) => _ = lock(&self.failure).get_or_insert(error),
            }
        }
        if self.unacknowledged.fetch_sub(count, Ordering::SeqCst) == count {
            self.idle.notify_waiters();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
