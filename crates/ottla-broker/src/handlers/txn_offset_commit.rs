//! TxnOffsetCommit (28), versions 0–6: a group's offsets that count when a transaction is committed.
//!
//! Version 2 added leader epochs, 3 members and generations (KIP-447), 4 knows `TRANSACTION_ABORTABLE`, 5 leaves it to the broker to
//! add the group's partition to the transaction (KIP-890), 6 names topics by id. Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`,
//! `UNKNOWN_TOPIC_ID`, `INVALID_GROUP_ID`, `COORDINATOR_LOAD_IN_PROGRESS` (`COORDINATOR_NOT_AVAILABLE` before version 2),
//! `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `ILLEGAL_GENERATION`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`,
//! `GROUP_ID_NOT_FOUND`, `STALE_MEMBER_EPOCH`, `OFFSET_METADATA_TOO_LARGE`, `INVALID_TXN_STATE`, `TRANSACTION_ABORTABLE`,
//! `INVALID_PRODUCER_EPOCH`, `INVALID_PRODUCER_ID_MAPPING`, `CONCURRENT_TRANSACTIONS`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, append_error, refusal};
use ottla_coordinator::transaction::Identity;
use ottla_metadata::image::MetadataImage;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use ottla_storage::log::VerificationGuard;
use ottla_types::{ProducerEpoch, ProducerId, Sequence, Uuid};

use super::group_response;
use crate::broker::Broker;
use crate::request::Request;
use crate::transactions::{Support, Verification, Wanted};

/// The first version with topic ids.
const TOPIC_IDS: i16 = 6;
/// The first version whose clients know `COORDINATOR_LOAD_IN_PROGRESS`.
const KNOWS_LOADING: i16 = 2;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let version = request.api_version;
    let verification = {
        let message: TxnOffsetCommitRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let (known, refused) = sort(&broker.image(), version, message);
        if known.topics.is_empty() {
            return answer(&request, refused, TxnOffsetCommitResponse::default());
        }
        if known.group_id.is_empty() {
            return refuse(&request, refused, &known, ErrorCode::InvalidGroupId);
        }
        match begin(broker, version, &known) {
            Err(code) => return refuse(&request, refused, &known, code),
            Ok(verification) => verification,
        }
    };
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        let guard = match verification.at_once(&broker) {
            Ok(mut verified) => verified.pop(),
            Err(verification) => verification.wait(&broker, false).await.pop(),
        };
        let guard = guard.unwrap_or(Err(ErrorCode::UnknownServerError));
        let (taken, refused, on_error, group) = {
            let message = match request.decode() {
                Ok(message) => message,
                Err(error) => return Outcome::close(error.to_string()),
            };
            let (known, refused) = sort(&broker.image(), version, message);
            let guard: VerificationGuard = match guard {
                Ok(guard) => guard,
                Err(code) => return refuse(&request, refused, &known, code),
            };
            let group_id = known.group_id.as_ref();
            let taken =
                broker.groups.call_verified(&broker, group_id, &request, guard, |shard, now_ms, context| {
                    shard.txn_offset_commit(now_ms, context, &known)
                });
            let on_error = refusal::txn_offset_commit(&known, ErrorCode::NotCoordinator);
            (taken, refused, on_error, group_id.to_owned())
        };
        match group_response(taken, |_| on_error).await {
            GroupResponse::TxnOffsetCommit(response) => {
                let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                let taken = partitions.filter(|partition| partition.error_code == 0).count();
                broker.groups.commits().note(&group, taken);
                answer(&request, refused, response)
            }
            _ => Outcome::close("the coordinator answered another request"),
        }
    })
}

/// Begins the verification of the group's partition.
fn begin(
    broker: &Broker,
    version: i16,
    message: &TxnOffsetCommitRequest<'_>,
) -> Result<Verification, ErrorCode> {
    let partition = broker.groups.partition_of(broker, &message.group_id)?;
    let producer = Identity {
        producer_id: ProducerId(message.producer_id),
        epoch: ProducerEpoch(message.producer_epoch),
    };
    let place = (partition.id.topic.clone(), partition.id.partition);
    let wanted = [Wanted { place, partition, sequence: Sequence::NONE }];
    let support = Support::of_txn_offset_commit(version);
    Ok(Verification::begin(broker, &message.transactional_id, producer, support, &wanted))
}

/// Every partition that got this far fails.
fn refuse(
    request: &Request,
    refused: Vec<TxnOffsetCommitResponseTopic<'static>>,
    message: &TxnOffsetCommitRequest<'_>,
    code: ErrorCode,
) -> Outcome {
    match refusal::txn_offset_commit(message, append_error(code)) {
        GroupResponse::TxnOffsetCommit(response) => answer(request, refused, response),
        _ => Outcome::close("a refusal of another request"),
    }
}

fn answer(
    request: &Request,
    refused: Vec<TxnOffsetCommitResponseTopic<'static>>,
    mut response: TxnOffsetCommitResponse<'static>,
) -> Outcome {
    let by_id = request.api_version >= TOPIC_IDS;
    let mut fresh = Vec::new();
    for mut topic in refused {
        let is_it = |other: &&mut TxnOffsetCommitResponseTopic<'_>| {
            if by_id { other.topic_id == topic.topic_id } else { other.name == topic.name }
        };
        match response.topics.iter_mut().find(is_it) {
            Some(other) => {
                topic.partitions.append(&mut other.partitions);
                other.partitions = topic.partitions;
            }
            None => fresh.push(topic),
        }
    }
    response.topics.splice(0..0, fresh);
    for topic in &mut response.topics {
        if by_id {
            topic.name = "".into()
        } else {
            topic.topic_id = Uuid::ZERO
        }
        let loading = ErrorCode::CoordinatorLoadInProgress.code();
        for partition in topic.partitions.iter_mut().filter(|partition| partition.error_code == loading) {
            if request.api_version < KNOWS_LOADING {
                partition.error_code = ErrorCode::CoordinatorNotAvailable.code();
            }
        }
    }
    request.reply(&response)
}

/// The request with what exists of it, by name and id, and the answers for the rest.
fn sort<'a>(
    image: &MetadataImage,
    version: i16,
    mut message: TxnOffsetCommitRequest<'a>,
) -> (TxnOffsetCommitRequest<'a>, Vec<TxnOffsetCommitResponseTopic<'static>>) {
    let mut refused = Vec::new();
    let topics = std::mem::take(&mut message.topics);
    message.topics = topics.into_iter().filter_map(|t| known(image, version, t, &mut refused)).collect();
    (message, refused)
}

fn known<'a>(
    image: &MetadataImage,
    version: i16,
    mut topic: TxnOffsetCommitRequestTopic<'a>,
    refused: &mut Vec<TxnOffsetCommitResponseTopic<'static>>,
) -> Option<TxnOffsetCommitRequestTopic<'a>> {
    let by_id = version >= TOPIC_IDS;
    let topics = image.topics();
    let found = if by_id { topics.by_id(topic.topic_id) } else { topics.by_name(&topic.name) };
    let is_known = |index: i32| found.is_some_and(|found| found.partitions.contains_key(&index));
    let error =
        if by_id && found.is_none() { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let unknown: Vec<_> = topic
        .partitions
        .iter()
        .filter(|partition| !is_known(partition.partition_index))
        .map(|partition| TxnOffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: error.code(),
        })
        .collect();
    if !unknown.is_empty() {
        refused.push(TxnOffsetCommitResponseTopic {
            name: topic.name.to_string().into(),
            topic_id: topic.topic_id,
            partitions: unknown,
        });
    }
    let found = found?;
    topic.partitions.retain(|partition| is_known(partition.partition_index));
    topic.topic_id = found.id;
    topic.name = found.name.to_string().into();
    (!topic.partitions.is_empty()).then_some(topic)
}
