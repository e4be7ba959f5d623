//! AddOffsetsToTxn (25), versions 0–4: a transaction is going to commit offsets of a group, so the group's partition of
//! `__consumer_offsets` belongs to it.
//!
//! Version 2 tells `PRODUCER_FENCED` apart from `INVALID_PRODUCER_EPOCH`, 4 knows `TRANSACTION_ABORTABLE`. Errors as
//! AddPartitionsToTxn.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::group::partition_for_group;
use ottla_coordinator::transaction::Identity;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use ottla_types::{ProducerEpoch, ProducerId};

use crate::broker::Broker;
use crate::internal_topics::CONSUMER_OFFSETS;
use crate::request::Request;
use crate::transactions;

/// The first version whose clients know `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 2;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let answer = {
        let message = match request.decode::<AddOffsetsToTxnRequest<'_>>() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let producer = Identity {
            producer_id: ProducerId(message.producer_id),
            epoch: ProducerEpoch(message.producer_epoch),
        };
        let index = partition_for_group(&message.group_id, offsets_partitions(broker));
        let places = BTreeSet::from([(CONSUMER_OFFSETS.into(), index)]);
        broker.transactions.add_partitions(broker, &message.transactional_id, producer, &places, 0)
    };
    Outcome::later(async move {
        let code = match transactions::added(answer).await {
            Ok(()) => ErrorCode::None,
            Err(ErrorCode::ProducerFenced) if request.api_version < KNOWS_FENCED => {
                ErrorCode::InvalidProducerEpoch
            }
            Err(code) => code,
        };
        request
            .reply(&AddOffsetsToTxnResponse { error_code: code.code(), ..AddOffsetsToTxnResponse::default() })
    })
}

/// How many partitions `__consumer_offsets` has, or is going to have.
fn offsets_partitions(broker: &Broker) -> i32 {
    let image = broker.image();
    let count = image.topics().by_name(CONSUMER_OFFSETS).and_then(|t| i32::try_from(t.partitions.len()).ok());
    count.unwrap_or_else(|| broker.config().values().int("offsets.topic.num.partitions")).max(1)
}
