//! ListPartitionReassignments (46), version 0: the moves under way, of all topics or of those asked for.
//!
//! Topics and partitions that do not exist or do not move are left out.

use std::sync::Arc;

use ottla_metadata::controller::Decision;
use ottla_net::Outcome;
use ottla_protocol::messages::ListPartitionReassignmentsRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<ListPartitionReassignmentsRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    broker.controller.answer(request, |controller, _, _, request| {
        let message: ListPartitionReassignmentsRequest<'_> = request.decode().expect("decoded once already");
        Decision::reply(controller.list_partition_reassignments(&message))
    })
}
