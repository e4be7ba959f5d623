//! DeleteTopics (20), versions 1–6: handed to the controller.
//!
//! Version 4 has flexible fields, 5 error messages and is refused when its quota is used up (KIP-599), 6 topic ids. Errors per topic: `UNKNOWN_TOPIC_OR_PARTITION`,
//! `UNKNOWN_TOPIC_ID`, `TOPIC_DELETION_DISABLED`, `INVALID_REQUEST`, `THROTTLING_QUOTA_EXCEEDED`,
//! `NOT_CONTROLLER`.

use std::sync::Arc;

use ottla_metadata::controller::{Context, TopicAccess};
use ottla_net::Outcome;
use ottla_protocol::messages::DeleteTopicsRequest;

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<DeleteTopicsRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    let quota = request.mutation_quota(5);
    broker.controller.answer(request, move |controller, context, _, request| {
        let message: DeleteTopicsRequest<'_> = request.decode().expect("decoded once already");
        let context = Context { api_version: request.api_version, ..*context };
        let mut charge = |partitions| quota.charge(partitions);
        let mut decision =
            controller.delete_topics(&context, &message, &|_| TopicAccess::Delete, &mut charge);
        decision.reply.throttle_time_ms = quota.pause_ms();
        decision
    })
}
