//! UnregisterController (94), version 0: a controller's registration is removed (KIP-1246); handed to the active controller.
//!
//! Errors: `INVALID_REQUEST` (the active controller itself), `CONTROLLER_ID_NOT_REGISTERED`, `UNSUPPORTED_VERSION` (the
//! `metadata.version` has no such record).

use std::sync::Arc;

use ottla_metadata::controller::Decision;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{UnregisterControllerRequest, UnregisterControllerResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: UnregisterControllerRequest = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let active = broker.node_id.value();
    broker.controller.answer(request, move |controller, _, _, _| {
        if message.controller_id == active {
            let text = "The active controller cannot unregister itself.";
            return Decision::reply(UnregisterControllerResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                error_message: Some(text.into()),
                ..UnregisterControllerResponse::default()
            });
        }
        controller.unregister_controller(&message)
    })
}
