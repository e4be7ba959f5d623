//! Steps about records: producing, fetching, offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use ottla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_protocol::messages::{
    ApiVersionsRequest, DeleteRecordsRequest, FetchRequest, FetchResponse, InitProducerIdRequest,
    ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{ProducerEpoch, ProducerId, Sequence};

use super::groups::Waiting;
use super::ops::{Batch, Op, SessionEpoch};
use super::world::World;
use crate::batches;
use crate::requests::{T0, list_offsets, produce_to};

/// An idempotent producer.
#[derive(Clone, Debug, Default)]
pub(super) struct Producer {
    pub(super) id: i64,
    pub(super) epoch: i16,
    /// The next sequence, by topic and partition.
    pub(super) next: BTreeMap<(u8, i32), i32>,
}

/// A fetch session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
}

/// Connections: the first asks, one waits for records, one sends without waiting.
const LONG_POLL: usize = 20;
const NO_ANSWER: usize = 21;
const LONG_POLL_VERSION: i16 = 12;
/// The timestamp that asks for the record with the latest.
const LATEST_TIME: i64 = -3;
/// In this time segments without records are gone: they are looked for twice a second.
const GONE: Duration = Duration::from_millis(1200);

impl World {
    pub(super) fn play_records(&mut self, op: &Op) {
        match op {
            Op::Produce { topic, partition, acks, batch, version } => {
                self.produce(*topic, *partition, *acks, batch, *version);
            }
            Op::InitProducer { producer, goes_on, version } => {
                self.init_producer(*producer, *goes_on, *version)
            }
            Op::Fetch { topic, partitions, max_bytes, committed, version } => {
                let mut request = self.fetch_request(&[], *version);
                request.topics = vec![self.fetched_topic(*topic, partitions)];
                request.max_bytes = *max_bytes;
                request.isolation_level = i8::from(*committed);
                let answer = self.peer.call_edited(*version, "once", &request, batches::take_out);
                self.note_batches(*version, &answer);
            }
            Op::LongPoll { topic, partition, offset, min_bytes } => {
                if self.pending.contains_key(&LONG_POLL) {
                    return;
                }
                let mut request = self.fetch_request(&[], LONG_POLL_VERSION);
                request.topics = vec![self.fetched_topic(*topic, &[(*partition, *offset)])];
                request.min_bytes = *min_bytes;
                request.max_wait_ms = 30_000;
                self.peer.send(LONG_POLL, LONG_POLL_VERSION, &request).expect("sent");
                self.pending.insert(LONG_POLL, Waiting::LongPoll);
            }
            Op::Session { add, forget, epoch, version } => self.fetch_session(add, forget, *epoch, *version),
            Op::Offsets { topic, partition, timestamp, committed, version } => {
                if *timestamp >= 0 || *timestamp == LATEST_TIME {
                    self.until_segments_are_gone();
                }
                let name = self.topic(*topic);
                let isolation_level = i8::from(*committed);
                let request = ListOffsetsRequest {
                    isolation_level,
                    ..list_offsets(&name, &[(*partition, *timestamp)])
                };
                self.peer.call(*version, "of a partition", &request);
            }
            Op::DeleteRecords { topic, partition, offset, version } => {
                let partitions =
                    vec![DeleteRecordsPartition { partition_index: *partition, offset: *offset }];
                let topics = vec![DeleteRecordsTopic { name: self.topic(*topic).into(), partitions }];
                self.peer.call(
                    *version,
                    "of a partition",
                    &DeleteRecordsRequest { topics, timeout_ms: 5000 },
                );
                self.deleted = Some(Instant::now());
            }
            Op::Epochs { topic, partition, current, wanted, version } => {
                let partitions = vec![OffsetForLeaderPartition {
                    partition: *partition,
                    current_leader_epoch: *current,
                    leader_epoch: *wanted,
                }];
                let topics = vec![OffsetForLeaderTopic { topic: self.topic(*topic).into(), partitions }];
                let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
                self.peer.call(*version, "of a partition", &request);
            }
            _ => unreachable!("only steps about records come here"),
        }
    }

    /// When a segment goes whose records were all deleted is the server's choice, and offsets by time depend on it.
    fn until_segments_are_gone(&mut self) {
        if let Some(deleted) = self.deleted.take() {
            std::thread::sleep(GONE.saturating_sub(deleted.elapsed()));
        }
    }

    fn init_producer(&mut self, producer: u8, goes_on: bool, version: i16) {
        let mut request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        (request.producer_id, request.producer_epoch) = (-1, -1);
        if let (true, Some(known)) = (goes_on, self.producers.get(&producer)) {
            (request.producer_id, request.producer_epoch) = (known.id, known.epoch);
        }
        let answer = self.peer.call(version, "a producer", &request);
        if answer.error_code == 0 {
            let fresh =
                Producer { id: answer.producer_id, epoch: answer.producer_epoch, ..Producer::default() };
            self.producers.insert(producer, fresh);
        }
    }

    /// The batch, and the sequence that it should have had.
    fn batch(&self, topic: u8, partition: i32, batch: &Batch) -> (Vec<u8>, i32) {
        let codec = Compression::from_name(&batch.codec).expect("a codec");
        let mut builder = BatchBuilder::new().codec(codec);
        let mut right = 0;
        if let Some(sequenced) = &batch.producer {
            let known = self.producers.get(&sequenced.producer).cloned().unwrap_or_default();
            right = known.next.get(&(topic, partition)).copied().unwrap_or(0);
            let id = if known.id == 0 { ProducerId(900_000) } else { ProducerId(known.id) };
            builder = builder.producer(
                id,
                ProducerEpoch(known.epoch + sequenced.epoch),
                Sequence(right + sequenced.sequence),
            );
        }
        let value = vec![b'v'; batch.size];
        for (index, timestamp) in (0..batch.count).zip(T0 + batch.time..) {
            let key = format!("key-{index}");
            let key = batch.keys.then_some(key.as_bytes());
            builder.append(timestamp, key, Some(&value), &[]).expect("a small record");
        }
        (builder.build().expect("a small batch"), right)
    }

    fn produce(&mut self, topic: u8, partition: i32, acks: i16, batch: &Batch, version: i16) {
        let (records, right) = self.batch(topic, partition, batch);
        let name = self.topic(topic);
        let request = produce_to(&name, self.topic_id(topic), partition, acks, Some(records));
        if acks == 0 {
            self.produce_unanswered(&request, version);
            self.until_readable(&name, partition, None);
            return;
        }
        let answer = self.peer.call(version, "a batch", &request);
        let answered = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let Some(answered) = answered.filter(|answered| answered.error_code == 0) else { return };
        let count = i32::try_from(batch.count).expect("few");
        if acks == 1 {
            self.until_readable(&name, partition, Some(answered.base_offset + i64::from(count)));
        }
        if let Some(sequenced) = &batch.producer
            && let Some(known) = self.producers.get_mut(&sequenced.producer)
            && sequenced.sequence >= 0
        {
            known.next.insert((topic, partition), right + sequenced.sequence + count);
        }
    }

    /// Whether the connection is still good tells what became of it.
    fn produce_unanswered(&mut self, request: &ProduceRequest<'_>, version: i16) {
        self.peer.send(NO_ANSWER, version, request).expect("sent");
        let sent = self.peer.send(NO_ANSWER, 0, &ApiVersionsRequest::default());
        let open = sent.is_ok() && self.peer.answers::<ApiVersionsRequest<'_>>(NO_ANSWER, 0);
        self.peer.hang_up(NO_ANSWER);
        self.peer.note(version, "Produce: is the connection open after acks=0", &open);
    }

    /// When records of acks=0 and acks=1 can be read is the server's choice: waits for it.
    fn until_readable(&mut self, name: &str, partition: i32, end: Option<i64>) {
        let request = list_offsets(name, &[(partition, -1)]);
        if let Some(end) = end {
            self.peer.wait_for(5, &request, |answer| answer.topics[0].partitions[0].offset >= end);
            return;
        }
        let mut last = None;
        loop {
            let answer = self.peer.ask(5, &request).expect("an answer");
            let seen = Some(answer.topics[0].partitions[0].offset);
            if seen == last {
                return;
            }
            last = seen;
            std::thread::sleep(Duration::from_millis(60));
        }
    }

    fn fetched_topic(&self, topic: u8, partitions: &[(i32, i64)]) -> FetchTopic<'static> {
        let wanted = |(partition, offset): &(i32, i64)| FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        FetchTopic {
            topic: self.topic(topic).into(),
            topic_id: self.topic_id(topic),
            partitions: partitions.iter().map(wanted).collect(),
        }
    }

    /// A fetch that does not wait; partitions of a topic stand together.
    fn fetch_request(&self, wanted: &[(u8, i32, i64)], _version: i16) -> FetchRequest<'static> {
        let mut topics: Vec<(u8, Vec<(i32, i64)>)> = Vec::new();
        for (topic, partition, offset) in wanted {
            match topics.iter_mut().find(|(known, _)| known == topic) {
                Some((_, partitions)) => partitions.push((*partition, *offset)),
                None => topics.push((*topic, vec![(*partition, *offset)])),
            }
        }
        FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics: topics.iter().map(|(topic, partitions)| self.fetched_topic(*topic, partitions)).collect(),
            ..FetchRequest::default()
        }
    }

    fn fetch_session(
        &mut self,
        add: &[(u8, i32, i64)],
        forget: &[(u8, i32)],
        epoch: SessionEpoch,
        version: i16,
    ) {
        let next = if self.session.id == 0 { 0 } else { self.session.epoch };
        let epoch = match epoch {
            SessionEpoch::Open => 0,
            SessionEpoch::Next => next,
            SessionEpoch::Again => (next - 1).max(0),
            SessionEpoch::Skip => next + 3,
            SessionEpoch::Close => -1,
        };
        let mut request = self.fetch_request(add, version);
        request.session_id = self.session.id;
        request.session_epoch = epoch;
        if epoch > 0 {
            for (topic, partition) in forget {
                request.forgotten_topics_data.push(ForgottenTopic {
                    topic: self.topic(*topic).into(),
                    topic_id: self.topic_id(*topic),
                    partitions: vec![*partition],
                });
            }
        }
        let answer = self.peer.call_edited(version, "in a session", &request, batches::take_out);
        if answer.error_code == 0 {
            self.session = match epoch {
                -1 => Session::default(),
                _ => Session { id: answer.session_id, epoch: epoch + 1 },
            };
        }
        self.note_batches(version, &answer);
    }

    pub(super) fn take_long_poll(&mut self) {
        let answer = self.peer.receive_edited::<FetchRequest<'_>>(
            LONG_POLL,
            LONG_POLL_VERSION,
            "that waited",
            batches::take_out,
        );
        self.note_batches(LONG_POLL_VERSION, &answer);
    }

    fn note_batches(&mut self, version: i16, answer: &FetchResponse<'_>) {
        let came = batches::of(answer);
        self.peer.note(version, "Batches: fetched", &came);
    }
}
