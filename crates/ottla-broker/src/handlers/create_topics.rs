//! CreateTopics (19), versions 2–7: handed to the controller; answered when the topics are there and this broker knows them.
//!
//! Version 4 lets the cluster choose counts (-1), 5 returns the topic's configuration, 6 is refused when its quota is used up (KIP-599), 7 returns topic ids.
//! Errors per topic: `TOPIC_ALREADY_EXISTS`, `INVALID_TOPIC_EXCEPTION`, `INVALID_PARTITIONS`, `INVALID_REPLICATION_FACTOR`,
//! `INVALID_REPLICA_ASSIGNMENT`, `INVALID_CONFIG`, `INVALID_REQUEST`, `POLICY_VIOLATION`, `THROTTLING_QUOTA_EXCEEDED`,
//! `NOT_CONTROLLER`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::CreateTopicsRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let validate_only = match request.decode::<CreateTopicsRequest<'_>>() {
        Ok(message) => message.validate_only,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let quota = request.mutation_quota(6);
    broker.controller.answer(request, move |controller, _, random, request| {
        let message: CreateTopicsRequest<'_> = request.decode().expect("decoded once already");
        let mut charge = |partitions| quota.charge(partitions);
        let mut decision = controller.create_topics(&message, random, &mut charge);
        decision.reply.throttle_time_ms = quota.pause_ms();
        if validate_only { decision.without_records() } else { decision }
    })
}
