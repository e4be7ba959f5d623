//! UnregisterBroker (64), version 0: a broker leaves the cluster for good; handed to the controller.
//!
//! Errors: `BROKER_ID_NOT_REGISTERED`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::UnregisterBrokerRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: UnregisterBrokerRequest = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    broker.controller.answer(request, move |controller, _, _, _| controller.unregister_broker(&message))
}
