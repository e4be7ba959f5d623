//! Reading partitions for a fetch: which file ranges answer it, and waiting for more.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use ottla_metadata::image::MetadataImage;
use ottla_net::FileSource;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_response::{AbortedTransaction, EpochEndOffset};
use ottla_replica::{ReaderKey, Replica};
use ottla_storage::fs::FsFile;
use ottla_storage::log::{AbortedTxn, LogRead, ReadError, ReadRequest};
use ottla_types::{LeaderEpoch, Offset, Uuid};
use tokio::sync::Notify;

use crate::broker::Broker;
use crate::errors;
use crate::fetch_session::{AnswerFacts, FetchKey, FetchSpec};
use crate::partition::Partition;
use crate::request::FileRange;
use crate::waiter::Waiter;

/// What bounds a fetch as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_bytes: u32,
    pub(crate) read_committed: bool,
    pub(crate) is_replica: bool,
}

/// One partition's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) diverging: Option<EpochEndOffset>,
    /// The partition was not known when the request came.
    pub(crate) is_unknown: bool,
    read: Option<LogRead>,
    /// Base of the segment in which what may be read ends; `None` when it ends where the fetch begins.
    end_segment: Option<Offset>,
    /// Where records came from; `None` when there are none.
    source: Option<Arc<Partition>>,
}

/// A log file as the network layer sends it.
struct LogFile(Arc<dyn FsFile>);

impl FileSource for LogFile {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_fd()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
}

impl Answer {
    fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging: None,
            is_unknown: false,
            read: None,
            end_segment: None,
            source: None,
        }
    }

    /// Bytes of record data.
    pub(crate) fn len(&self) -> u32 {
        self.read.as_ref().map_or(0, LogRead::len)
    }

    /// Counts its records as sent.
    pub(crate) fn count_sent(&self) {
        if let Some(partition) = &self.source {
            partition.traffic.sent(u64::from(self.len()));
        }
    }

    /// Whether the response must not wait for more.
    pub(crate) fn is_urgent(&self) -> bool {
        !self.error.is_none() || self.diverging.is_some()
    }

    /// Whether a fetch that waits is to be answered. One whose records are deleted meanwhile waits on, as with Kafka
    /// (`DelayedFetch.tryComplete` looks at the end of the log only).
    pub(crate) fn ends_wait(&self) -> bool {
        self.is_urgent() && self.error != ErrorCode::OffsetOutOfRange
    }

    /// Base of the segment in which the fetch begins.
    pub(crate) fn segment(&self) -> Option<Offset> {
        self.read.as_ref().map(|read| read.start.segment_base)
    }

    /// Whether the log goes on in a later segment than the one in which the fetch began. Then there is nothing to wait for:
    /// a read ends with its segment (`DelayedFetch.tryComplete`).
    pub(crate) fn has_later_segment(&self, begun: Option<Offset>) -> bool {
        self.end_segment.zip(begun).is_some_and(|(end, begun)| begun < end)
    }

    pub(crate) fn facts(&self) -> AnswerFacts {
        AnswerFacts {
            high_watermark: self.high_watermark,
            log_start_offset: self.log_start_offset,
            has_records: self.len() > 0,
            is_error: !self.error.is_none(),
            must_send: self.diverging.is_some(),
        }
    }

    /// For read_committed: the aborted transactions in the range; `None` when they were not asked for or nothing was read.
    pub(crate) fn aborted_transactions(&self) -> Option<Vec<AbortedTransaction>> {
        let entry = |txn: &AbortedTxn| AbortedTransaction {
            producer_id: txn.producer_id.value(),
            first_offset: txn.first_offset.value(),
        };
        match &self.read {
            Some(read) => read.aborted.as_ref().map(|aborted| aborted.iter().map(entry).collect()),
            // Kafka answers for what it does not know without looking for it: with an empty list.
            None => self.is_unknown.then(Vec::new),
        }
    }

    pub(crate) fn into_file(self) -> Option<FileRange> {
        let slice = self.read?.slice?;
        let len = u64::from(slice.len);
        Some(FileRange { file: Arc::new(LogFile(slice.file)), offset: slice.position, len })
    }
}

/// Reads partitions under the limits of one request.
pub(crate) struct Reader<'a> {
    broker: &'a Broker,
    limits: Limits,
    has_waited: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(broker: &'a Broker, limits: Limits) -> Self {
        Self { broker, limits, has_waited: false }
    }

    /// For a request that has waited: all its partitions were known when it came.
    pub(crate) fn after_waiting(self) -> Self {
        Self { has_waited: true, ..self }
    }

    /// One answer per partition, in order. The first partition with records may exceed the limits by a batch, so that a
    /// consumer can get past a large one (KIP-74).
    pub(crate) fn read(&self, partitions: &[(FetchKey, FetchSpec)]) -> Vec<Answer> {
        let image = self.broker.image();
        let mut left = self.limits.max_bytes;
        let mut is_first = true;
        let mut answers = Vec::with_capacity(partitions.len());
        for (key, spec) in partitions {
            let max_bytes = u32::try_from(spec.max_bytes).unwrap_or(0).min(left);
            let answer = self.read_one(&image, key, spec, max_bytes, is_first);
            is_first &= answer.len() == 0;
            left = left.saturating_sub(answer.len());
            answers.push(answer);
        }
        answers
    }

    fn read_one(
        &self,
        image: &MetadataImage,
        key: &FetchKey,
        spec: &FetchSpec,
        max_bytes: u32,
        min_one_batch: bool,
    ) -> Answer {
        let partition = match find(self.broker, image, key) {
            Ok(partition) => partition,
            Err(error @ (ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition)) => {
                return Answer { is_unknown: !self.has_waited, ..Answer::failed(error) };
            }
            Err(error) => return Answer::failed(error),
        };
        if self.limits.is_replica {
            // No other broker holds a replica of what this one leads.
            return Answer::failed(ErrorCode::NotLeaderOrFollower);
        }
        let answer =
            partition.with(|replica| self.read_replica(&partition, replica, spec, max_bytes, min_one_batch));
        let mut answer = answer.unwrap_or_else(|| Answer::failed(ErrorCode::NotLeaderOrFollower));
        answer.source = (answer.len() > 0).then_some(partition);
        answer
    }

    fn read_replica(
        &self,
        partition: &Partition,
        replica: &Replica<Waiter>,
        spec: &FetchSpec,
        max_bytes: u32,
        min_one_batch: bool,
    ) -> Answer {
        if let Err(error) = replica.check_leader(LeaderEpoch(spec.current_leader_epoch)) {
            return Answer::failed(errors::of_replica(&error));
        }
        let log = replica.log();
        let mut answer = Answer {
            error: ErrorCode::None,
            high_watermark: log.high_watermark().value(),
            last_stable_offset: log.last_stable_offset().value(),
            log_start_offset: log.log_start_offset().value(),
            diverging: None,
            is_unknown: false,
            read: None,
            end_segment: None,
            source: None,
        };
        if spec.last_fetched_epoch >= 0 {
            let epoch = LeaderEpoch(spec.last_fetched_epoch);
            let Some(end) = log.end_offset_for_epoch(epoch) else {
                return Answer::failed(ErrorCode::OffsetOutOfRange);
            };
            if end.epoch < epoch || end.end.value() < spec.fetch_offset {
                answer.diverging =
                    Some(EpochEndOffset { epoch: end.epoch.value(), end_offset: end.end.value() });
                return answer;
            }
        }
        let upper_bound =
            if self.limits.read_committed { log.last_stable_offset() } else { log.high_watermark() };
        let request = ReadRequest {
            offset: Offset(spec.fetch_offset),
            max_bytes,
            min_one_batch,
            upper_bound,
            aborted_transactions: self.limits.read_committed,
        };
        if upper_bound != request.offset {
            answer.end_segment = log.segment_of(upper_bound);
        }
        match log.read(request) {
            // Part of a batch is of no use to anyone who may get it whole with the next request (version 3).
            Ok(read) if read.first_batch_incomplete => answer.read = Some(LogRead { slice: None, ..read }),
            Ok(read) => answer.read = Some(read),
            Err(error) => {
                if let ReadError::Log(error) = &error {
                    partition.note_failed_read(error);
                }
                return Answer::failed(errors::of_read(&error));
            }
        }
        answer
    }
}

/// The partition of a key; errors as Kafka's for the way in which it is named.
fn find(broker: &Broker, image: &MetadataImage, key: &FetchKey) -> Result<Arc<Partition>, ErrorCode> {
    let named = || image.topics().by_name(&key.topic);
    let topic = if key.topic_id == Uuid::ZERO { named() } else { image.topics().by_id(key.topic_id) };
    let Some(topic) = topic else {
        return Err(match named() {
            _ if key.topic.is_empty() => ErrorCode::UnknownTopicId,
            // A topic of that name was made again since the session learned the name.
            Some(other) if other.partitions.contains_key(&key.partition) => ErrorCode::InconsistentTopicId,
            _ => ErrorCode::UnknownTopicOrPartition,
        });
    };
    if !topic.partitions.contains_key(&key.partition) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    broker.hosted_partition(topic.id, key.partition)
}

/// A fetch parked in its partitions; dropping it takes it out again.
pub(crate) struct Parked(Vec<(Arc<Partition>, ReaderKey)>);

impl Parked {
    pub(crate) fn park(broker: &Broker, partitions: &[(FetchKey, FetchSpec)], notify: &Arc<Notify>) -> Self {
        let image = broker.image();
        let mut parked = Vec::with_capacity(partitions.len());
        for (key, _) in partitions {
            let Ok(partition) = find(broker, &image, key) else { continue };
            let waiter = Waiter::Again(Arc::clone(notify));
            if let Some(reader) = partition.with(|replica| replica.park_reader(waiter)) {
                parked.push((partition, reader));
            }
        }
        Self(parked)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        for (partition, reader) in &self.0 {
            partition.with(|replica| replica.unpark_reader(*reader));
        }
    }
}
