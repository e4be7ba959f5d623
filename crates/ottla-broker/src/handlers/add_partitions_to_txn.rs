//! AddPartitionsToTxn (24), versions 0–5: what a transaction writes to.
//!
//! Version 2 tells `PRODUCER_FENCED` apart from `INVALID_PRODUCER_EPOCH`, 4 is for brokers: several transactions at once, each to
//! be added to or only verified (KIP-890), 5 knows `TRANSACTION_ABORTABLE`. All or nothing: with a partition that does not exist
//! (`UNKNOWN_TOPIC_OR_PARTITION`) or that is internal (`TOPIC_AUTHORIZATION_FAILED`, to clients) the others are
//! `OPERATION_NOT_ATTEMPTED`. Other errors: `INVALID_REQUEST` (an empty id),
//! `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `INVALID_PRODUCER_ID_MAPPING`,
//! `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS`, `TRANSACTION_ABORTABLE` (not verified).

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::transaction::{EPOCH_BUMP, Identity};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use ottla_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use ottla_types::{ProducerEpoch, ProducerId, TopicName};

use crate::broker::Broker;
use crate::internal_topics::is_internal;
use crate::request::Request;
use crate::transactions::{self, Answer};

/// The first version whose clients know `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 2;
/// The first version with several transactions, spoken by brokers.
const BATCHED: i16 = 4;

type Places = BTreeSet<(TopicName, i32)>;

/// What is known of one transaction's addition.
enum Found {
    /// A code for each partition.
    Each(Vec<((TopicName, i32), ErrorCode)>),
    /// The same for all, when the coordinator answers; as they were asked for, one that was named twice too.
    All(Vec<(TopicName, i32)>, Result<Answer, ErrorCode>),
}

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message = match request.decode::<AddPartitionsToTxnRequest<'_>>() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let version = request.api_version;
    let transactions = if version < BATCHED {
        vec![AddPartitionsToTxnTransaction {
            transactional_id: message.v3_and_below_transactional_id,
            producer_id: message.v3_and_below_producer_id,
            producer_epoch: message.v3_and_below_producer_epoch,
            verify_only: false,
            topics: message.v3_and_below_topics,
        }]
    } else {
        message.transactions
    };
    let found: Vec<_> = transactions
        .iter()
        .map(|transaction| (transaction.transactional_id.to_string(), find(broker, transaction, version)))
        .collect();
    Outcome::later(async move {
        let mut results = Vec::with_capacity(found.len());
        for (id, found) in found {
            let codes = match found {
                Found::Each(codes) => codes,
                Found::All(places, answer) => {
                    let code = match transactions::added(answer).await {
                        Ok(()) => ErrorCode::None,
                        Err(ErrorCode::ProducerFenced) if version < KNOWS_FENCED => {
                            ErrorCode::InvalidProducerEpoch
                        }
                        Err(code) => code,
                    };
                    places.into_iter().map(|place| (place, code)).collect()
                }
            };
            results.push(AddPartitionsToTxnResult {
                transactional_id: id.into(),
                topic_results: by_topic(codes),
            });
        }
        let response = if version < BATCHED {
            AddPartitionsToTxnResponse {
                results_by_topic_v3_and_below: results.pop().map(|r| r.topic_results).unwrap_or_default(),
                ..AddPartitionsToTxnResponse::default()
            }
        } else {
            AddPartitionsToTxnResponse {
                results_by_transaction: results,
                ..AddPartitionsToTxnResponse::default()
            }
        };
        request.reply(&response)
    })
}

fn find(broker: &Broker, transaction: &AddPartitionsToTxnTransaction<'_>, version: i16) -> Found {
    let named = named(&transaction.topics);
    let places: Places = named.iter().cloned().collect();
    let image = broker.image();
    let exists = |(topic, index): &(TopicName, i32)| {
        image.topics().by_name(topic).is_some_and(|topic| topic.partitions.contains_key(index))
    };
    // Clients have no business with internal topics; AddOffsetsToTxn is the way to them.
    let is_closed = |(topic, _): &(TopicName, i32)| version < BATCHED && is_internal(topic);
    if places.iter().any(|place| is_closed(place) || !exists(place)) {
        let code = |place: &_| match exists(place) {
            _ if is_closed(place) => ErrorCode::TopicAuthorizationFailed,
            true => ErrorCode::OperationNotAttempted,
            false => ErrorCode::UnknownTopicOrPartition,
        };
        return Found::Each(places.into_iter().map(|place| (place.clone(), code(&place))).collect());
    }
    let id = transaction.transactional_id.as_ref();
    let producer = Identity {
        producer_id: ProducerId(transaction.producer_id),
        epoch: ProducerEpoch(transaction.producer_epoch),
    };
    if !transaction.verify_only {
        let client_version = if version >= BATCHED { EPOCH_BUMP } else { 0 };
        let answer = broker.transactions.add_partitions(broker, id, producer, &places, client_version);
        return Found::All(named, answer);
    }
    if id.is_empty() {
        return Found::Each(places.into_iter().map(|place| (place, ErrorCode::InvalidRequest)).collect());
    }
    let told = broker.transactions.look(broker, id, |core| {
        let told = core.verify_partitions(id, producer, &places)?;
        Ok(told.map(|(place, code)| (place.clone(), code)).collect())
    });
    match told.and_then(|told| told) {
        Ok(codes) => Found::Each(codes),
        Err(code) => Found::Each(places.into_iter().map(|place| (place, code)).collect()),
    }
}

fn named(topics: &[AddPartitionsToTxnTopic<'_>]) -> Vec<(TopicName, i32)> {
    let of_topic = |topic: &AddPartitionsToTxnTopic<'_>| {
        let name = TopicName::new(&topic.name);
        topic.partitions.iter().map(move |index| (name.clone(), *index)).collect::<Vec<_>>()
    };
    topics.iter().flat_map(of_topic).collect()
}

fn by_topic(codes: Vec<((TopicName, i32), ErrorCode)>) -> Vec<AddPartitionsToTxnTopicResult<'static>> {
    let mut topics: Vec<AddPartitionsToTxnTopicResult<'static>> = Vec::new();
    for ((topic, partition_index), code) in codes {
        if topics.last().is_none_or(|last| last.name != topic.as_str()) {
            topics.push(AddPartitionsToTxnTopicResult {
                name: topic.to_string().into(),
                results_by_partition: Vec::new(),
            });
        }
        let result = AddPartitionsToTxnPartitionResult { partition_index, partition_error_code: code.code() };
        topics.last_mut().expect("pushed above").results_by_partition.push(result);
    }
    topics
}
