//! CreatePartitions (37), versions 0–3: handed to the controller.
//!
//! Version 2 has flexible fields, 3 is refused when its quota is used up (KIP-599). Errors per topic: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS`,
//! `INVALID_REPLICA_ASSIGNMENT`, `INVALID_REQUEST`, `THROTTLING_QUOTA_EXCEEDED`, `NOT_CONTROLLER`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::CreatePartitionsRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let validate_only = match request.decode::<CreatePartitionsRequest<'_>>() {
        Ok(message) => message.validate_only,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let quota = request.mutation_quota(3);
    broker.controller.answer(request, move |controller, _, random, request| {
        let message: CreatePartitionsRequest<'_> = request.decode().expect("decoded once already");
        let mut charge = |partitions| quota.charge(partitions);
        let mut decision = controller.create_partitions(&message, random, &mut charge);
        decision.reply.throttle_time_ms = quota.pause_ms();
        if validate_only { decision.without_records() } else { decision }
    })
}
