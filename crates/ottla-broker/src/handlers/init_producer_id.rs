//! InitProducerId (22), versions 0–5: a producer id and epoch for idempotent producers.
//!
//! Version 3 sends the producer's old id and epoch, which matter for transactional producers only: without a transactional id
//! a fresh id is given out, as Kafka does. Errors: `INVALID_REQUEST` (an empty transactional id), `COORDINATOR_LOAD_IN_PROGRESS`
//! (no id at hand, ask again), `UNSUPPORTED_VERSION` (a transactional id: transactions are not served yet).

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::broker::Broker;
use crate::producer_ids::ProducerIds;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let transactional_id = match request.decode::<InitProducerIdRequest<'_>>() {
        Ok(message) => message.transactional_id.map(std::borrow::Cow::into_owned),
        Err(error) => return Outcome::close(error.to_string()),
    };
    let refusal = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    match transactional_id.as_deref() {
        Some("") => return request.reply(&refusal(ErrorCode::InvalidRequest)),
        Some(_) => return request.reply(&refusal(ErrorCode::UnsupportedVersion)),
        None => {}
    }
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        let response = match ProducerIds::next(&broker).await {
            Ok(producer_id) => {
                InitProducerIdResponse { producer_id, producer_epoch: 0, ..InitProducerIdResponse::default() }
            }
            Err(code) => refusal(code),
        };
        request.reply(&response)
    })
}
