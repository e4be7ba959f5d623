//! Reading partitions for a fetch: which file ranges answer it, and waiting for more.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use ottla_metadata::image::MetadataImage;
use ottla_net::FileSource;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_response::{AbortedTransaction, EpochEndOffset};
use ottla_replica::{ReaderKey, Replica};
use ottla_storage::dir::LogDir;
use ottla_storage::fs::FsFile;
use ottla_storage::log::{AbortedTxn, LogRead, ReadError, ReadPlaces, ReadRequest, ReadSearch};
use ottla_types::{LeaderEpoch, Offset, Uuid};

use crate::broker::Broker;
use crate::errors;
use crate::fetch_session::{AnswerFacts, FetchKey, FetchSpec};
use crate::partition::Partition;
use crate::request::FileRange;
use crate::waiter::{Bell, Waiter};

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
    /// Where it was read; `None` when there is no such partition here.
    source: Option<Arc<Partition>>,
}

/// What a look at a partition gives.
enum Looked {
    Answer(Answer),
    /// The answer needs something from files.
    Search(ReadSearch),
}

impl From<Answer> for Looked {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// A log file as the network layer sends it.
struct LogFile {
    file: Arc<dyn FsFile>,
    /// Whose it is, and in which directory.
    owner: Option<(Arc<Partition>, Arc<LogDir>)>,
}

impl FileSource for LogFile {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd()
    }

    /// Where what is not in memory is read from the disk. When that fails the connection ends, as the length is promised.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset).inspect_err(|error| {
            if let Some((partition, dir)) = &self.owner
                && error.kind() != io::ErrorKind::Interrupted
            {
                partition.traffic.read_failed();
                partition.note_failed_send(dir, error);
            }
        })
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
        if let Some(partition) = self.source.as_ref().filter(|_| self.len() > 0) {
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
        let owner = self.source.map(|partition| {
            let dir = partition.dir();
            (partition, dir)
        });
        let file = LogFile { file: slice.file, owner };
        Some(FileRange { file: Arc::new(file), offset: slice.position, len })
    }
}

/// What the partitions read so far have left of a request's limits.
struct Bounds {
    left: u32,
    is_first: bool,
}

impl Bounds {
    fn max_bytes(&self, spec: &FetchSpec) -> u32 {
        u32::try_from(spec.max_bytes).unwrap_or(0).min(self.left)
    }

    fn take(&mut self, answer: &Answer) {
        self.is_first &= answer.len() == 0;
        self.left = self.left.saturating_sub(answer.len());
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
        let mut bounds = self.bounds();
        let mut answers = Vec::with_capacity(partitions.len());
        for (key, spec) in partitions {
            let answer = self.read_one(&image, key, spec, bounds.max_bytes(spec), bounds.is_first);
            bounds.take(&answer);
            answers.push(answer);
        }
        answers
    }

    fn bounds(&self) -> Bounds {
        Bounds { left: self.limits.max_bytes, is_first: true }
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
        self.read_partition(partition, spec, max_bytes, min_one_batch, |_| {})
    }

    /// Reads after `first` was done under the same lock. What has to be looked up in files is looked up without it, so that
    /// who reads old data does not hold up who appends.
    fn read_partition(
        &self,
        partition: Arc<Partition>,
        spec: &FetchSpec,
        max_bytes: u32,
        min_one_batch: bool,
        first: impl FnOnce(&mut Replica<Waiter>),
    ) -> Answer {
        let read = |replica: &Replica<Waiter>, places: Option<ReadPlaces>| {
            self.read_replica(&partition, replica, spec, (max_bytes, min_one_batch), places)
        };
        let looked = partition.with(|replica| {
            first(replica);
            read(replica, None)
        });
        let answer = match looked {
            Some(Looked::Search(search)) => {
                let places = search.run();
                partition.with(|replica| read(replica, Some(places)))
            }
            other => other,
        };
        let answer = match answer {
            Some(Looked::Answer(answer)) => answer,
            _ => Answer::failed(ErrorCode::NotLeaderOrFollower),
        };
        Answer { source: Some(partition), ..answer }
    }

    /// With `places` the answer, without them perhaps what has to be searched first.
    fn read_replica(
        &self,
        partition: &Partition,
        replica: &Replica<Waiter>,
        spec: &FetchSpec,
        (max_bytes, min_one_batch): (u32, bool),
        places: Option<ReadPlaces>,
    ) -> Looked {
        if let Err(error) = replica.check_leader(LeaderEpoch(spec.current_leader_epoch)) {
            return Answer::failed(errors::of_replica(&error)).into();
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
                return Answer::failed(ErrorCode::OffsetOutOfRange).into();
            };
            if end.epoch < epoch || end.end.value() < spec.fetch_offset {
                answer.diverging =
                    Some(EpochEndOffset { epoch: end.epoch.value(), end_offset: end.end.value() });
                return answer.into();
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
        let places = match places {
            Some(places) => places,
            None => match log.search_for(&request) {
                Some(search) => return Looked::Search(search),
                None => ReadPlaces::default(),
            },
        };
        match log.read_found(request, places) {
            // Part of a batch is of no use to anyone who may get it whole with the next request (version 3).
            Ok(read) if read.first_batch_incomplete => answer.read = Some(LogRead { slice: None, ..read }),
            Ok(read) => answer.read = Some(read),
            Err(error) => {
                if let ReadError::Log(error) = &error {
                    partition.traffic.read_failed();
                    partition.note_failed_read(error);
                }
                return Answer::failed(errors::of_read(&error)).into();
            }
        }
        answer.into()
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

/// A fetch that waits in its partitions; dropping it takes it out again.
pub(crate) struct Waiting<'a> {
    reader: Reader<'a>,
    partitions: &'a [(FetchKey, FetchSpec)],
    bell: Arc<Bell>,
    /// By partition: where it is parked. What has rung is not parked any more.
    parked: Vec<Option<(Arc<Partition>, ReaderKey)>>,
    answers: Vec<Answer>,
}

impl<'a> Waiting<'a> {
    /// Parks in all partitions, and reads them again: each is parked in before it is read, so that nothing can come unnoticed in
    /// between. `answers` are those of a first look.
    pub(crate) fn begin(
        reader: Reader<'a>,
        partitions: &'a [(FetchKey, FetchSpec)],
        answers: Vec<Answer>,
    ) -> Self {
        let parked = partitions.iter().map(|_| None).collect();
        let mut waiting = Self { reader, partitions, bell: Arc::default(), parked, answers };
        let mut bounds = waiting.reader.bounds();
        for place in 0..partitions.len() {
            let source = waiting.answers.get_mut(place).and_then(|answer| answer.source.take());
            waiting.look(place, source, &mut bounds);
        }
        waiting
    }

    /// One answer per partition, in order.
    pub(crate) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// The same, to be sent.
    pub(crate) fn into_answers(mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// Waits until there may be something new, and looks where it is.
    pub(crate) async fn more(&mut self) {
        let rung = self.bell.rung().await;
        let image = self.reader.broker.image();
        let mut rung = rung.into_iter().peekable();
        let mut bounds = self.reader.bounds();
        for (place, (key, spec)) in self.partitions.iter().enumerate() {
            let has_rung = rung.next_if_eq(&place).is_some();
            let Some(answer) = self.answers.get(place) else { continue };
            // What others bring may leave less room than it had.
            if !has_rung && answer.len() <= bounds.max_bytes(spec) {
                bounds.take(answer);
                continue;
            }
            if has_rung && let Some(parked) = self.parked.get_mut(place) {
                *parked = None;
            }
            match find(self.reader.broker, &image, key) {
                Ok(partition) => self.look(place, Some(partition), &mut bounds),
                Err(error) => self.set(place, Answer::failed(error)),
            }
        }
    }

    /// Reads a partition, having parked there if it is not.
    fn look(&mut self, place: usize, partition: Option<Arc<Partition>>, bounds: &mut Bounds) {
        let (Some(partition), Some((_, spec))) = (partition, self.partitions.get(place)) else { return };
        let Some(parked) = self.parked.get_mut(place) else { return };
        let bell = &self.bell;
        let home = Arc::clone(&partition);
        let park = |replica: &mut Replica<Waiter>| {
            if parked.is_none() {
                *parked = Some((home, replica.park_reader(Waiter::Fetch(Arc::clone(bell), place))));
            }
        };
        let answer =
            self.reader.read_partition(partition, spec, bounds.max_bytes(spec), bounds.is_first, park);
        bounds.take(&answer);
        self.set(place, answer);
    }

    fn set(&mut self, place: usize, answer: Answer) {
        if let Some(old) = self.answers.get_mut(place) {
            *old = answer;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for (partition, reader) in self.parked.iter().flatten() {
            partition.with(|replica| replica.unpark_reader(*reader));
        }
    }
}
