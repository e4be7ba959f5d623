//! Produce (0), versions 3–13: append batches to partitions, answer when they count.
//!
//! Version 7 allowed zstd, 8 added per-record errors, 10 tells where the leader is, 12 lets transactional producers skip
//! AddPartitionsToTxn (KIP-890), 13 names topics by id. `acks=0` has no response; `acks=1` answers after the append;
//! `acks=all` when the high watermark has passed the batch. Appends happen in the order of requests, before anything waits.
//!
//! Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `NOT_LEADER_OR_FOLLOWER`, `INVALID_TOPIC_EXCEPTION`
//! (internal topics), `INVALID_REQUIRED_ACKS`, `NOT_ENOUGH_REPLICAS`, `MESSAGE_TOO_LARGE`, `RECORD_LIST_TOO_LARGE`,
//! `CORRUPT_MESSAGE`, `INVALID_RECORD`, `INVALID_TIMESTAMP`, `UNSUPPORTED_COMPRESSION_TYPE`, `OUT_OF_ORDER_SEQUENCE_NUMBER`,
//! `INVALID_PRODUCER_EPOCH`, `INVALID_TXN_STATE`, `KAFKA_STORAGE_ERROR`, `REQUEST_TIMED_OUT`; of a transaction also
//! `TRANSACTION_ABORTABLE` (version 11), `INVALID_PRODUCER_ID_MAPPING`, `CONCURRENT_TRANSACTIONS` (version 12).

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::{MetadataImage, Partition as PartitionImage};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::produce_request::PartitionProduceData;
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use ottla_protocol::messages::{ProduceRequest, ProduceResponse};
use ottla_record::validate::{Checked, InvalidBatch, Origin};
use ottla_storage::log::{AppendInfo, AppendOrigin, LeaderAppend, VerificationGuard as Guard};
use ottla_types::{LeaderEpoch, Offset, Sequence, TopicName, Uuid};

use super::produce_batches as batches;
use super::produce_effort::Effort;
use super::produce_transaction::{self as transaction, Batch, Begun, Guards};
use crate::broker::Broker;
use crate::clock;
use crate::errors;
use crate::internal_topics;
use crate::partition::Partition;
use crate::request::Request;
use crate::transactions;
use crate::waiter::{Countdown, Need, Pipeline, UnderWay, Waiter};

/// Kafka's admin client may write to internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// What a request wants, freed from its frame, in which its batches are patched.
struct Wanted {
    transactional_id: Option<String>,
    acks: i16,
    timeout_ms: i32,
    topics: Vec<WantedTopic>,
    /// Why nothing of it is taken.
    refusal: Option<ErrorCode>,
}

struct WantedTopic {
    name: String,
    topic_id: Uuid,
    /// Partitions with the places of their records in the request's body.
    partitions: Vec<(i32, Range<usize>)>,
}

impl WantedTopic {
    /// Its part of the response, without partitions.
    fn response(&self, by_id: bool) -> TopicProduceResponse<'static> {
        let (name, topic_id) = if by_id {
            (Cow::Borrowed(""), self.topic_id)
        } else {
            (Cow::Owned(self.name.clone()), Uuid::default())
        };
        TopicProduceResponse {
            name,
            topic_id,
            partition_responses: Vec::with_capacity(self.partitions.len()),
        }
    }
}

impl Wanted {
    fn of(request: &Request, message: &ProduceRequest<'_>) -> Self {
        let records = |data: &PartitionProduceData<'_>| {
            let records = data.records.as_ref().and_then(|records| records.as_slice()).unwrap_or_default();
            (data.index, request.place_of(records))
        };
        let topics = message.topic_data.iter().map(|topic| WantedTopic {
            name: topic.name.clone().into_owned(),
            topic_id: topic.topic_id,
            partitions: topic.partition_data.iter().map(records).collect(),
        });
        Self {
            transactional_id: message.transactional_id.as_ref().map(|id| id.clone().into_owned()),
            acks: message.acks,
            timeout_ms: message.timeout_ms,
            topics: topics.collect(),
            refusal: batches::refusal(message),
        }
    }
}

/// Why a batch was not appended, as the response tells it.
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
    pub(super) records: Vec<BatchIndexAndErrorMessage<'static>>,
    /// Told of what the log refused, -1 of what did not get that far.
    pub(super) log_start_offset: i64,
}

impl Refusal {
    fn of_request(code: ErrorCode) -> Self {
        // A request without the right to its transactional id is told so without words.
        let has_words = matches!(code, ErrorCode::CorruptMessage | ErrorCode::InvalidProducerIdMapping);
        let message = has_words.then(|| code.message().to_owned());
        Self { message, ..code.into() }
    }

    /// With the log's start, unless the error is one of those that Kafka expects of an append
    /// (`ReplicaManager.appendRecordsToLeader`).
    fn starting_at(self, log_start_offset: i64) -> Self {
        match self.code {
            ErrorCode::NotLeaderOrFollower
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError => self,
            _ => Self { log_start_offset, ..self },
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), log_start_offset: -1 }
    }
}

impl From<InvalidBatch> for Refusal {
    fn from(error: InvalidBatch) -> Self {
        let records = error.record_faults().iter().map(|fault| BatchIndexAndErrorMessage {
            batch_index: fault.index,
            batch_index_error_message: Some(Cow::Owned(fault.message.clone())),
        });
        Self { message: error.wire_message(), records: records.collect(), ..errors::of_batch(&error).into() }
    }
}

/// Why a batch is not appended.
enum Unfit {
    Refused(Refusal),
    /// Whether it is to be is more work than may be done now.
    Laborious,
}

impl From<Refusal> for Unfit {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ErrorCode> for Unfit {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code.into())
    }
}

/// An appended batch whose high watermark is awaited.
struct Pending {
    partition: Arc<Partition>,
    required: Offset,
    topic: usize,
    index: usize,
}

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let mut wanted = match request.decode() {
        Ok(message) => Wanted::of(&request, &message),
        Err(error) => return Outcome::close(error.to_string()),
    };
    let begun = match begin_verification(broker, &request, &wanted) {
        Ok(begun) => begun,
        Err(code) => {
            wanted.refusal = Some(code);
            None
        }
    };
    let Some((verification, places)) = begun.map(Begun::into_parts) else {
        return append_all(broker, request, wanted, Guards::new());
    };
    match verification.at_once(broker) {
        Ok(verified) => append_all(broker, request, wanted, Begun::guards(places, verified)),
        Err(verification) => {
            let broker = Arc::clone(broker);
            Outcome::hold(async move {
                let verified = verification.wait(&broker, true).await;
                append_all(&broker, request, wanted, Begun::guards(places, verified))
            })
        }
    }
}

/// Begins the verification of a transaction's batches; errors refuse the request.
fn begin_verification(
    broker: &Broker,
    request: &Request,
    wanted: &Wanted,
) -> Result<Option<Begun>, ErrorCode> {
    let (Some(id), None) = (&wanted.transactional_id, wanted.refusal) else { return Ok(None) };
    let image = broker.image();
    let mut batches = Vec::new();
    for (topic_index, topic) in wanted.topics.iter().enumerate() {
        let found = match request.api_version {
            13.. => image.topics().by_id(topic.topic_id),
            _ => image.topics().by_name(&topic.name),
        };
        let Some(found) = found else { continue };
        for (at, (index, records)) in topic.partitions.iter().enumerate() {
            let Some(partition) = broker.partition(found.id, *index) else { continue };
            let place = (found.name.clone(), *index);
            batches.push(Batch {
                place: (topic_index, at),
                wanted: transactions::Wanted { place, partition, sequence: Sequence::NONE },
                records: request.body().get(records.clone()).unwrap_or_default(),
            });
        }
    }
    transaction::begin(broker, request, id, batches.into_iter())
}

/// Appends all of a request, here or aside.
fn append_all(broker: &Arc<Broker>, request: Request, wanted: Wanted, guards: Guards) -> Outcome {
    let effort = Effort::of_body(request.body().len());
    let mut appends = Appends::new(broker, request, wanted, guards);
    if effort == Effort::Quick && appends.go_on(broker, effort) {
        return appends.answer(broker);
    }
    let broker = Arc::clone(broker);
    Outcome::hold(async move {
        let Ok(permit) = Arc::clone(&broker.aside).acquire_owned().await else {
            return Outcome::close("the node stops");
        };
        let worked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let busy = appends.request.busy();
            Request::metered_aside(busy, || {
                appends.go_on(&broker, Effort::Any);
                appends.answer(&broker)
            })
        });
        worked.await.unwrap_or_else(|_| Outcome::close("an append panicked"))
    })
}

/// How far the appends of a request are.
struct Appends {
    request: Request,
    image: Arc<MetadataImage>,
    acks: i16,
    timeout_ms: i32,
    refusal: Option<ErrorCode>,
    guards: Guards,
    topics: Vec<WantedTopic>,
    /// What comes next: topic, and partition in it.
    next: (usize, usize),
    responses: Vec<TopicProduceResponse<'static>>,
    pending: Vec<Pending>,
    pipeline: Arc<Pipeline>,
    under_way: Option<UnderWay>,
    need: Option<Need>,
}

impl Appends {
    fn new(broker: &Broker, request: Request, wanted: Wanted, guards: Guards) -> Self {
        let Wanted { acks, timeout_ms, topics, refusal, .. } = wanted;
        let pipeline = Arc::clone(&request.session.pipeline);
        let under_way = (acks == -1).then(|| pipeline.begin());
        // All of a request is flushed together: the flusher is told early only if that is one partition.
        let is_one = topics.iter().map(|topic| topic.partitions.len()).sum::<usize>() == 1;
        let may_tell = is_one && under_way.is_some() && pipeline.is_full();
        let need = may_tell.then(|| Need { pipeline: Arc::clone(&pipeline), is_told: false });
        Self {
            request,
            image: broker.image(),
            acks,
            timeout_ms,
            refusal,
            guards,
            responses: Vec::with_capacity(topics.len()),
            topics,
            next: (0, 0),
            pending: Vec::new(),
            pipeline,
            under_way,
            need,
        }
    }

    /// Appends what is left; `false` if the next batch needs more effort.
    fn go_on(&mut self, broker: &Arc<Broker>, effort: Effort) -> bool {
        let topics = std::mem::take(&mut self.topics);
        let image = Arc::clone(&self.image);
        let mut append = TopicAppend {
            broker,
            image: &image,
            acks: self.acks,
            effort,
            request: &mut self.request,
            need: self.need.as_mut(),
        };
        let by_id = append.request.api_version >= 13;
        while let Some(topic) = topics.get(self.next.0) {
            let found = if by_id {
                image.topics().by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)
            } else {
                image.topics().by_name(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)
            };
            if self.responses.len() == self.next.0 {
                self.responses.push(topic.response(by_id));
            }
            while let Some((index, records)) = topic.partitions.get(self.next.1) {
                let guard = self.guards.get(&self.next).copied().unwrap_or(Ok(Guard::default()));
                let appended = match (self.refusal, &found, guard) {
                    (Some(code), ..) => Err(Refusal::of_request(code).into()),
                    (None, Err(code), _) => Err((*code).into()),
                    (None, Ok(_), Err(code)) => {
                        Err(transaction::refusal(code, append.request.api_version).into())
                    }
                    (None, Ok(found), Ok(guard)) => {
                        append.partition(&found.name, (found.id, *index), records.clone(), guard)
                    }
                };
                let answer = match appended {
                    Ok((partition, info, log_append_time)) => {
                        let required = info.last_offset.next();
                        let (topic, index_in_topic) = self.next;
                        self.pending.push(Pending { partition, required, topic, index: index_in_topic });
                        accepted(*index, &info, log_append_time)
                    }
                    Err(Unfit::Refused(refusal)) => refused(*index, refusal),
                    Err(Unfit::Laborious) => {
                        self.topics = topics;
                        return false;
                    }
                };
                self.responses[self.next.0].partition_responses.push(answer);
                self.next.1 += 1;
            }
            self.next = (self.next.0 + 1, 0);
        }
        true
    }

    /// All is appended or refused: answers now, or when what was appended counts.
    fn answer(self, broker: &Broker) -> Outcome {
        let Self {
            mut request, image, acks, timeout_ms, responses, pending, pipeline, under_way, need, ..
        } = self;
        request.drop_body();
        let mut response = ProduceResponse { responses, ..ProduceResponse::default() };
        if acks == 0 {
            return answer_nothing(request, &response);
        }
        add_leader_hints(broker, &image, &request, &mut response);
        let Some(under_way) = under_way else { return request.reply(&response) };
        let is_told = need.is_some_and(|need| need.is_told);
        let waiting = Countdown::of(pending.len(), under_way);
        for wait in &pending {
            if !wait.partition.park_ack(wait.required, Waiter::Acks(Arc::clone(&waiting))) {
                waiting.count_down();
            }
        }
        if waiting.is_done() {
            settle(&pending, &mut response);
            return request.reply(&response);
        }
        if !is_told && pipeline.is_full() {
            pending.iter().for_each(|wait| wait.partition.press(Some(&pipeline)));
        }
        Outcome::later(async move {
            let limit = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
            // Whether in time or not, the high watermarks tell what counts.
            _ = tokio::time::timeout(limit, waiting.wait()).await;
            settle(&pending, &mut response);
            request.reply(&response)
        })
    }
}

/// The end of a request with `acks=0`.
fn answer_nothing(request: Request, response: &ProduceResponse<'_>) -> Outcome {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match answers.find(|answer| answer.error_code != 0) {
        // The only way to tell such a client of an error is to close its connection.
        Some(failed) => Outcome::close(format!(
            "a Produce with acks=0 failed with {}",
            ErrorCode::from_code(failed.error_code).name()
        )),
        None => request.finish_silently(),
    }
}

/// Puts errors where a batch was appended but does not count: its log failed, its partition is gone, or time is up.
fn settle(pending: &[Pending], response: &mut ProduceResponse<'_>) {
    for wait in pending {
        let state = wait.partition.with(|replica| {
            if replica.high_watermark() >= wait.required {
                None
            } else if replica.log().poisoned().is_some() {
                Some(ErrorCode::KafkaStorageError)
            } else {
                Some(ErrorCode::RequestTimedOut)
            }
        });
        if let Some(code) = state.unwrap_or(Some(ErrorCode::NotLeaderOrFollower)) {
            let answer = &mut response.responses[wait.topic].partition_responses[wait.index];
            *answer = refused(answer.index, code.into());
        }
    }
}

fn refused(index: i32, refusal: Refusal) -> PartitionProduceResponse<'static> {
    PartitionProduceResponse {
        index,
        error_code: refusal.code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: refusal.log_start_offset,
        record_errors: refusal.records,
        error_message: refusal.message.map(Cow::Owned),
        ..PartitionProduceResponse::default()
    }
}

fn accepted(
    index: i32,
    info: &AppendInfo,
    log_append_time: Option<i64>,
) -> PartitionProduceResponse<'static> {
    PartitionProduceResponse {
        index,
        error_code: 0,
        base_offset: info.first_offset.value(),
        log_append_time_ms: log_append_time.unwrap_or(-1),
        log_start_offset: info.log_start_offset.value(),
        ..PartitionProduceResponse::default()
    }
}

/// Appends to one partition after the other.
struct TopicAppend<'a> {
    broker: &'a Arc<Broker>,
    image: &'a MetadataImage,
    request: &'a mut Request,
    acks: i16,
    effort: Effort,
    need: Option<&'a mut Need>,
}

impl TopicAppend<'_> {
    fn partition(
        &mut self,
        name: &TopicName,
        (topic_id, index): (Uuid, i32),
        records: Range<usize>,
        guard: Guard,
    ) -> Result<(Arc<Partition>, AppendInfo, Option<i64>), Unfit> {
        let Some(metadata) = self.image.topics().partition(topic_id, index) else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        let version = self.request.api_version;
        let bytes = self.request.body_mut(records.clone());
        batches::check(bytes, version)?;
        if !matches!(self.acks, -1..=1) {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        if internal_topics::is_internal(name) && self.request.client_id() != ADMIN_CLIENT_ID {
            return Err(ErrorCode::InvalidTopicException.into());
        }
        let partition = self.broker.hosted_partition(topic_id, index)?;
        let appended = self.append(&partition, metadata, records, guard);
        match appended {
            Ok((info, log_append_time)) => Ok((partition, info, log_append_time)),
            Err(unfit) => {
                if let Unfit::Refused(refusal) = &unfit {
                    partition.traffic.append_refused(refusal.code);
                }
                Err(unfit)
            }
        }
    }

    fn append(
        &mut self,
        partition: &Arc<Partition>,
        metadata: &PartitionImage,
        records: Range<usize>,
        guard: Guard,
    ) -> Result<(AppendInfo, Option<i64>), Unfit> {
        let settings = partition.settings();
        // More replicas than there are cannot be in sync (`Partition.effectiveMinIsr`).
        let wanted = usize::try_from(settings.min_insync_replicas).unwrap_or(0).min(metadata.replicas.len());
        if self.acks == -1 && metadata.isr.len() < wanted {
            return Err(ErrorCode::NotEnoughReplicas.into());
        }
        let bytes = self.request.body_mut(records);
        let now_ms = clock::now_ms();
        let start = || partition.with(|replica| replica.log().log_start_offset().value()).unwrap_or(-1);
        let rules = settings.rules(&partition.id, Origin::Client);
        let checked = self.effort.check(bytes, &rules, now_ms).ok_or(Unfit::Laborious)?;
        let checked = checked.map_err(|error| Refusal::from(error).starting_at(start()))?;
        let log_append_time = checked.log_append_time();
        let info = append(partition, self.need.as_deref_mut(), checked, bytes, (guard, now_ms))
            .map_err(|error| error.starting_at(start()))?;
        // A repeated batch is answered with the time it was stored with, whoever set that.
        let log_append_time = if info.duplicate { Some(info.max_timestamp) } else { log_append_time };
        self.broker.metrics.produced(info.written_bytes);
        let records = u64::try_from(info.last_offset.value() - info.first_offset.value() + 1).unwrap_or(0);
        partition.traffic.appended(info.written_bytes as u64, if info.duplicate { 0 } else { records });
        Ok((info, log_append_time))
    }
}

fn append(
    partition: &Arc<Partition>,
    need: Option<&mut Need>,
    mut checked: Checked,
    given: &mut [u8],
    (guard, now_ms): (Guard, i64),
) -> Result<AppendInfo, Refusal> {
    let appended = partition.update_in_need(need, |replica| {
        let epoch = match replica.check_leader(LeaderEpoch::NONE) {
            Ok(epoch) => epoch,
            Err(error) => return (Err(errors::of_replica(&error)), Vec::new()),
        };
        let append = LeaderAppend {
            origin: AppendOrigin::Client,
            leader_epoch: epoch,
            guard,
            transaction_version: 0,
            now_ms,
        };
        match replica.append(checked.bytes_mut(given), append) {
            Ok((info, released)) => (Ok(info), released),
            Err(error) => {
                tracing::debug!(partition = %partition.id, %error, "refused a batch");
                (Err(errors::of_append(&error)), Vec::new())
            }
        }
    });
    Ok(appended.unwrap_or(Err(ErrorCode::NotLeaderOrFollower))?)
}

/// Version 10: where the leader is, for partitions that this broker does not lead (KIP-951).
fn add_leader_hints(
    broker: &Broker,
    image: &MetadataImage,
    request: &Request,
    response: &mut ProduceResponse<'static>,
) {
    if request.api_version < 10 {
        return;
    }
    let mut nodes = std::collections::BTreeSet::new();
    for topic in &mut response.responses {
        let found = if request.api_version >= 13 {
            image.topics().by_id(topic.topic_id)
        } else {
            image.topics().by_name(&topic.name)
        };
        let Some(found) = found else { continue };
        for answer in &mut topic.partition_responses {
            if answer.error_code != ErrorCode::NotLeaderOrFollower.code() {
                continue;
            }
            let Some(partition) = found.partitions.get(&answer.index) else { continue };
            answer.current_leader = LeaderIdAndEpoch {
                leader_id: partition.leader.value(),
                leader_epoch: partition.leader_epoch.value(),
            };
            nodes.insert(partition.leader);
        }
    }
    let listener = &request.session.connection.listener;
    response.node_endpoints = nodes
        .into_iter()
        .filter_map(|id| broker.endpoint_of(image, id, listener))
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host.into(),
            port: node.port,
            rack: node.rack.map(Cow::Owned),
        })
        .collect();
}
