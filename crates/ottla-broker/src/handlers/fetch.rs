//! Fetch (1), versions 4–18: records of partitions from given offsets, at once or when there are enough.
//!
//! Version 7 added sessions (KIP-227), 9 leader epochs, 10 zstd, 11 racks, 12 the last fetched epoch and flexible fields, 13
//! topic ids, 15 moved the replica's id into a struct, 16 tells where leaders are, 17 directory ids, 18 the high watermark of
//! followers. Record data leaves as file ranges, in the format in which it lies in the log.
//!
//! Errors of the whole request: `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`; per
//! partition: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `NOT_LEADER_OR_FOLLOWER`, `OFFSET_OUT_OF_RANGE`,
//! `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`, `INCONSISTENT_TOPIC_ID` (a session's topic was made again), `KAFKA_STORAGE_ERROR`.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::fetch_response::{
    FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::wire::RecordData;
use ottla_types::{Offset, Uuid};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::clock;
use crate::fetch_read::{Answer, Limits, Reader, Waiting};
use crate::fetch_session::{FetchContext, FetchKey, FetchSpec, NO_SESSION, Session, SessionError};
use crate::random;
use crate::request::{FileRange, Request};

/// What a request wants, freed from its frame.
struct Wanted {
    uses_topic_ids: bool,
    session_id: i32,
    context: FetchContext,
    limits: Limits,
    min_bytes: u64,
    max_wait: Duration,
}

impl From<SessionError> for ErrorCode {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::IdNotFound => Self::FetchSessionIdNotFound,
            SessionError::InvalidEpoch => Self::InvalidFetchSessionEpoch,
            SessionError::TopicIdMismatch => Self::FetchSessionTopicIdError,
        }
    }
}

pub(crate) fn handle(broker: &Arc<Broker>, mut request: Request) -> Outcome {
    let wanted = {
        let message: FetchRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        match understand(broker, &request, &message) {
            Ok(wanted) => wanted,
            Err(code) => {
                return request.reply(&FetchResponse { error_code: code.code(), ..FetchResponse::default() });
            }
        }
    };
    let reader = Reader::new(broker, wanted.limits);
    let answers = reader.read(wanted.context.partitions());
    let begun: Vec<_> = answers.iter().map(Answer::segment).collect();
    if is_enough(&answers, &begun, &wanted, Answer::is_urgent) {
        return respond(broker, &request, &wanted, answers);
    }
    request.drop_body();
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        let deadline = Instant::now() + wanted.max_wait;
        let partitions = wanted.context.partitions();
        let reader = Reader::new(&broker, wanted.limits).after_waiting();
        let mut waiting = Waiting::begin(reader, partitions, answers);
        while !is_enough(waiting.answers(), &begun, &wanted, Answer::ends_wait) {
            if tokio::time::timeout_at(deadline, waiting.more()).await.is_err() {
                drop(waiting);
                // Time is up. Not everything that an answer tells wakes those who wait.
                let answers = Reader::new(&broker, wanted.limits).after_waiting().read(partitions);
                return respond(&broker, &request, &wanted, answers);
            }
        }
        let answers = waiting.into_answers();
        respond(&broker, &request, &wanted, answers)
    })
}

fn understand(broker: &Broker, request: &Request, message: &FetchRequest<'_>) -> Result<Wanted, ErrorCode> {
    let uses_topic_ids = request.api_version >= 13;
    let key = |name: &str, id, partition| match uses_topic_ids {
        true => FetchKey { topic_id: id, topic: "".into(), partition },
        false => FetchKey { topic_id: Uuid::ZERO, topic: name.into(), partition },
    };
    let mut wanted = Vec::new();
    let mut places = HashMap::new();
    for topic in &message.topics {
        for partition in &topic.partitions {
            let spec = FetchSpec {
                fetch_offset: partition.fetch_offset,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
                max_bytes: partition.partition_max_bytes,
            };
            let key = key(&topic.topic, topic.topic_id, partition.partition);
            // A partition that is named twice keeps its place, the last word counts.
            match places.entry(key.clone()) {
                Entry::Occupied(place) => wanted[*place.get()] = (key, spec),
                Entry::Vacant(place) => {
                    place.insert(wanted.len());
                    wanted.push((key, spec));
                }
            }
        }
    }
    let forgotten: Vec<FetchKey> = message
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|&index| key(&topic.topic, topic.topic_id, index)))
        .collect();
    let session = (message.session_id, message.session_epoch);
    let mut context =
        broker.fetch_sessions.context(clock::now_ms(), session, uses_topic_ids, wanted, &forgotten)?;
    let image = broker.image();
    context.resolve(|id| image.topics().by_id(id).map(|topic| topic.name.clone()));
    let is_replica = replica_id(message, request.api_version) >= 0;
    let quota_bytes = if is_replica { u32::MAX } else { request.max_fetch_bytes() };
    let max_bytes = message.max_bytes.min(broker.fetch_max_bytes());
    let max_bytes = u32::try_from(max_bytes).unwrap_or(0).min(quota_bytes);
    Ok(Wanted {
        uses_topic_ids,
        session_id: message.session_id,
        context,
        limits: Limits { max_bytes, read_committed: message.isolation_level == 1, is_replica },
        // Waiting for more than can come would be in vain.
        min_bytes: u64::try_from(message.min_bytes).unwrap_or(0).min(u64::from(max_bytes)),
        max_wait: Duration::from_millis(u64::try_from(message.max_wait_ms).unwrap_or(0)),
    })
}

fn replica_id(message: &FetchRequest<'_>, version: i16) -> i32 {
    if version >= 15 { message.replica_state.replica_id } else { message.replica_id }
}

/// Whether a response need not wait: it has bytes enough, something to tell, or no reason to wait for. `begun` are the segments
/// in which its partitions began when it came.
fn is_enough(
    answers: &[Answer],
    begun: &[Option<Offset>],
    wanted: &Wanted,
    is_urgent: fn(&Answer) -> bool,
) -> bool {
    wanted.max_wait.is_zero()
        || answers.is_empty()
        || answers.iter().any(is_urgent)
        || answers.iter().zip(begun).any(|(answer, begun)| answer.has_later_segment(*begun))
        || answers.iter().map(|answer| u64::from(answer.len())).sum::<u64>() >= wanted.min_bytes
}

fn respond(broker: &Broker, request: &Request, wanted: &Wanted, mut answers: Vec<Answer>) -> Outcome {
    if request.api_version <= 5 {
        // Clients of that time do not know the error of a failed disk.
        let failed = answers.iter_mut().filter(|answer| answer.error == ErrorCode::KafkaStorageError);
        failed.for_each(|answer| answer.error = ErrorCode::NotLeaderOrFollower);
    }
    if wanted.limits.is_replica {
        request.exempt();
    } else if request.is_fetch_throttled(size_of(&answers)) {
        return request.reply(&throttled(wanted));
    }
    let session_id = match &wanted.context {
        FetchContext::Sessionless(_) => NO_SESSION,
        FetchContext::Incremental { id, .. } => *id,
        FetchContext::Full(partitions) => {
            // A session keeps its partitions in the order in which they were answered first.
            let mut answered: Vec<_> = partitions.iter().zip(&answers).collect();
            answered.sort_by_key(|(_, answer)| place_of(answer));
            let facts: Vec<_> = answered
                .into_iter()
                .map(|((key, spec), answer)| (key.clone(), *spec, answer.facts()))
                .collect();
            let kind = (wanted.uses_topic_ids, wanted.limits.is_replica);
            broker.fetch_sessions.open(clock::now_ms(), kind, &facts, random::positive_i32)
        }
    };
    let session = match &wanted.context {
        FetchContext::Incremental { session, .. } => Some(session),
        _ => None,
    };
    answers.iter().for_each(Answer::count_sent);
    let (responses, files, bytes) = assemble(wanted, session, answers);
    broker.metrics.fetched(bytes);
    let mut response = FetchResponse { session_id, responses, ..FetchResponse::default() };
    if request.api_version >= 16 {
        add_leader_hints(broker, request, wanted.limits.is_replica, &mut response);
    }
    debug_assert!(
        wanted.session_id == session_id || session.is_none(),
        "an incremental response keeps its session"
    );
    request.reply_with_files(&response, files)
}

/// About what a response takes: record data, and what is told of each partition.
fn size_of(answers: &[Answer]) -> u64 {
    const HEAD_BYTES: u64 = 24;
    const PARTITION_BYTES: u64 = 44;
    let partition = |answer: &Answer| u64::from(answer.len()) + PARTITION_BYTES;
    HEAD_BYTES + answers.iter().map(partition).sum::<u64>()
}

/// The response to a client that is above its quota: empty, it comes again after the pause. A session is neither begun nor
/// moved on.
fn throttled(wanted: &Wanted) -> FetchResponse<'static> {
    let session_id = match &wanted.context {
        FetchContext::Incremental { id, .. } => *id,
        FetchContext::Sessionless(_) | FetchContext::Full(_) => NO_SESSION,
    };
    FetchResponse { session_id, ..FetchResponse::default() }
}

/// Version 16: where the leader is, for partitions that this broker does not lead (KIP-951).
fn add_leader_hints(
    broker: &Broker,
    request: &Request,
    is_replica: bool,
    response: &mut FetchResponse<'static>,
) {
    let image = broker.image();
    let listener = &request.session.connection.listener;
    let mut nodes = BTreeSet::new();
    for topic in &mut response.responses {
        for data in &mut topic.partitions {
            let error = ErrorCode::from_code(data.error_code);
            if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
                continue;
            }
            let Some(state) = image.topics().partition(topic.topic_id, data.partition_index) else {
                continue;
            };
            data.current_leader = LeaderIdAndEpoch {
                leader_id: state.leader.value(),
                leader_epoch: state.leader_epoch.value(),
            };
            // Brokers know each other's addresses.
            if !is_replica {
                nodes.insert(state.leader);
            }
        }
    }
    let endpoints = nodes.into_iter().filter_map(|id| broker.endpoint_of(&image, id, listener));
    response.node_endpoints = endpoints
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host.into(),
            port: node.port,
            rack: node.rack.map(Cow::Owned),
        })
        .collect();
}

/// What is not known comes last, ids before names, as Kafka has it.
fn place_of(answer: &Answer) -> u8 {
    match (answer.is_unknown, answer.error) {
        (false, _) => 0,
        (true, ErrorCode::UnknownTopicId) => 1,
        (true, _) => 2,
    }
}

/// The response's topics with the file ranges for their records; of an incremental session only what is new.
fn assemble(
    wanted: &Wanted,
    session: Option<&Arc<Mutex<Session>>>,
    answers: Vec<Answer>,
) -> (Vec<FetchableTopicResponse<'static>>, Vec<FileRange>, u64) {
    let mut session = session.map(|session| session.lock().unwrap_or_else(PoisonError::into_inner));
    let mut topics: Vec<FetchableTopicResponse<'static>> = Vec::new();
    let (mut files, mut bytes) = (Vec::new(), 0);
    let mut answers: Vec<_> = wanted.context.partitions().iter().zip(answers).collect();
    answers.sort_by_key(|(_, answer)| place_of(answer));
    for ((key, _), answer) in answers {
        if let Some(session) = &mut session
            && !session.is_news(key, answer.facts())
        {
            continue;
        }
        bytes += u64::from(answer.len());
        let is_same = topics.last().is_some_and(|topic| {
            if wanted.uses_topic_ids {
                topic.topic_id == key.topic_id
            } else {
                topic.topic == key.topic.as_str()
            }
        });
        if !is_same {
            topics.push(FetchableTopicResponse {
                topic: if wanted.uses_topic_ids { "".into() } else { key.topic.to_string().into() },
                topic_id: if wanted.uses_topic_ids { key.topic_id } else { Uuid::ZERO },
                partitions: Vec::new(),
            });
        }
        let data = describe(key.partition, answer, &mut files);
        topics.last_mut().expect("pushed above").partitions.push(data);
    }
    (topics, files, bytes)
}

fn describe(index: i32, answer: Answer, files: &mut Vec<FileRange>) -> PartitionData<'static> {
    let aborted = answer.aborted_transactions();
    let mut data = PartitionData {
        partition_index: index,
        error_code: answer.error.code(),
        high_watermark: answer.high_watermark,
        last_stable_offset: answer.last_stable_offset,
        log_start_offset: answer.log_start_offset,
        aborted_transactions: aborted,
        records: Some(RecordData::Borrowed(&[])),
        ..PartitionData::default()
    };
    if let Some(diverging) = answer.diverging.clone() {
        data.diverging_epoch = diverging;
    }
    if let Some(file) = answer.into_file() {
        data.records =
            Some(RecordData::External(usize::try_from(file.len).expect("a batch range fits memory sizes")));
        files.push(file);
    }
    data
}
