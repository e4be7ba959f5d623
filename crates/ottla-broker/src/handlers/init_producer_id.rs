//! InitProducerId (22), versions 0–5: a producer id and epoch, for idempotent and transactional producers.
//!
//! Version 3 sends how the producer knew itself (KIP-360), 4 tells `PRODUCER_FENCED` apart from `INVALID_PRODUCER_EPOCH`, 5 knows
//! `TRANSACTION_ABORTABLE`. Without a transactional id a fresh id is given out. Errors: `INVALID_REQUEST` (an empty transactional
//! id, half an identity), `INVALID_TRANSACTION_TIMEOUT`, `COORDINATOR_LOAD_IN_PROGRESS` (also without an id at hand: ask again),
//! `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`, `CONCURRENT_TRANSACTIONS`, `PRODUCER_FENCED`.

use std::sync::Arc;

use ottla_coordinator::transaction::Identity;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_types::{ProducerEpoch, ProducerId};

use crate::broker::Broker;
use crate::producer_ids::ProducerIds;
use crate::request::Request;
use crate::transactions;

/// The first version whose clients know `PRODUCER_FENCED`.
const KNOWS_FENCED: i16 = 4;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (id, timeout_ms, known) = match request.decode::<InitProducerIdRequest<'_>>() {
        Ok(message) => (
            message.transactional_id.map(std::borrow::Cow::into_owned),
            message.transaction_timeout_ms,
            (message.producer_id, message.producer_epoch),
        ),
        Err(error) => return Outcome::close(error.to_string()),
    };
    let expected = match known {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return request.reply(&refusal(&request, ErrorCode::InvalidRequest)),
        (id, epoch) => Some(Identity { producer_id: ProducerId(id), epoch: ProducerEpoch(epoch) }),
    };
    if id.as_deref() == Some("") {
        return request.reply(&refusal(&request, ErrorCode::InvalidRequest));
    }
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        let given = match id {
            None => ProducerIds::next(&broker)
                .await
                .map(|id| Identity { producer_id: ProducerId(id), epoch: ProducerEpoch(0) }),
            Some(id) => take_over(&broker, &id, timeout_ms, expected).await,
        };
        match given {
            Ok(Identity { producer_id, epoch }) => request.reply(&InitProducerIdResponse {
                producer_id: producer_id.value(),
                producer_epoch: epoch.value(),
                ..InitProducerIdResponse::default()
            }),
            Err(code) => request.reply(&refusal(&request, code)),
        }
    })
}

async fn take_over(
    broker: &Arc<Broker>,
    id: &str,
    timeout_ms: i32,
    expected: Option<Identity>,
) -> Result<Identity, ErrorCode> {
    // The coordinator tells whether there was one, should it need it.
    _ = ProducerIds::ensure(broker).await;
    let answer = broker.transactions.call(broker, id, |core, now_ms, token| {
        core.init_producer_id(now_ms, token, id, timeout_ms, expected)
    });
    transactions::producer(answer).await
}

fn refusal(request: &Request, code: ErrorCode) -> InitProducerIdResponse {
    let code = match code {
        ErrorCode::ProducerFenced if request.api_version < KNOWS_FENCED => ErrorCode::InvalidProducerEpoch,
        other => other,
    };
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
