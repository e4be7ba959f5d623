//! AlterPartitionReassignments (45), versions 0–1: handed to the controller, which moves partitions or takes moves back.
//!
//! Version 1 can insist on the replication factor (KIP-860). Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`,
//! `INVALID_REPLICA_ASSIGNMENT`, `INVALID_REPLICATION_FACTOR`, `NO_REASSIGNMENT_IN_PROGRESS`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::AlterPartitionReassignmentsRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<AlterPartitionReassignmentsRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    broker.controller.answer(request, |controller, _, _, request| {
        let message: AlterPartitionReassignmentsRequest<'_> = request.decode().expect("decoded once already");
        controller.alter_partition_reassignments(&message)
    })
}
