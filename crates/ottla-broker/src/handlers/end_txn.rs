//! EndTxn (26), versions 0–5: commits or aborts a transaction.
//!
//! Version 2 tells `PRODUCER_FENCED` apart from `INVALID_PRODUCER_EPOCH`, 4 knows `TRANSACTION_ABORTABLE`, 5 gives each transaction its
//! own epoch and answers how the producer goes on (KIP-890). Answered when the decision counts; the markers follow. Errors:
//! `INVALID_REQUEST` (an empty id), `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`,
//! `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS`, `INVALID_TXN_STATE`.

use std::sync::Arc;

use ottla_coordinator::transaction::{EPOCH_BUMP, End, Identity};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};
use ottla_types::{ProducerEpoch, ProducerId};

use crate::broker::Broker;
use crate::producer_ids::ProducerIds;
use crate::request::Request;
use crate::transactions;

/// The first version whose clients know `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 2;
/// The first version with an epoch per transaction.
const BUMPS_EPOCH: i16 = 5;
/// A transaction with an epoch like this needs a new producer id to end.
const LAST_EPOCHS: i16 = i16::MAX - 1;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (id, producer, commit) = match request.decode::<EndTxnRequest<'_>>() {
        Ok(message) => {
            let producer = Identity {
                producer_id: ProducerId(message.producer_id),
                epoch: ProducerEpoch(message.producer_epoch),
            };
            (message.transactional_id.into_owned(), producer, message.committed)
        }
        Err(error) => return Outcome::close(error.to_string()),
    };
    let client_version = if request.api_version >= BUMPS_EPOCH { EPOCH_BUMP } else { 0 };
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        if producer.epoch.value() >= LAST_EPOCHS {
            // The coordinator tells whether there was one, should it need it.
            _ = ProducerIds::ensure(&broker).await;
        }
        let answer = if id.is_empty() {
            Err(ErrorCode::InvalidRequest)
        } else {
            broker.transactions.call(&broker, &id, |core, now_ms, token| {
                core.end_transaction(now_ms, token, &End { id: &id, producer, commit, client_version })
            })
        };
        let mut response = EndTxnResponse::default();
        match transactions::producer(answer).await {
            Ok(next) if request.api_version >= BUMPS_EPOCH => {
                response.producer_id = next.producer_id.value();
                response.producer_epoch = next.epoch.value();
            }
            Ok(_) => {}
            Err(ErrorCode::ProducerFenced) if request.api_version < KNOWS_FENCED => {
                response.error_code = ErrorCode::InvalidProducerEpoch.code();
            }
            Err(code) => response.error_code = code.code(),
        }
        request.reply(&response)
    })
}
