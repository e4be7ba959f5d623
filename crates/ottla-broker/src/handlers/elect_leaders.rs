//! ElectLeaders (43), versions 0–2: handed to the controller, which makes first replicas lead, or anybody (unclean).
//!
//! Version 1 added the type of election and an error for the whole, 2 has flexible fields. Without topics all partitions are
//! meant. Errors per partition: `ELECTION_NOT_NEEDED`, `UNKNOWN_TOPIC_OR_PARTITION`, `PREFERRED_LEADER_NOT_AVAILABLE`,
//! `ELIGIBLE_LEADERS_NOT_AVAILABLE`, `INVALID_REQUEST`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::ElectLeadersRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<ElectLeadersRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    broker.controller.answer(request, |controller, _, _, request| {
        let message: ElectLeadersRequest<'_> = request.decode().expect("decoded once already");
        controller.elect_leaders(&message)
    })
}
