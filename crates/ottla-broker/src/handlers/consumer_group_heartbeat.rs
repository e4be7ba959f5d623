//! ConsumerGroupHeartbeat (68), versions 0–1: a member of a consumer group (KIP-848) joins, stays, or leaves.
//!
//! Version 1 added regular expressions, and lets members choose their ids. Errors: `INVALID_REQUEST`, `UNSUPPORTED_ASSIGNOR`,
//! `UNSUPPORTED_VERSION` (not among `group.coordinator.rebalance.protocols`), `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`,
//! `GROUP_ID_NOT_FOUND`, `GROUP_MAX_SIZE_REACHED`, `UNKNOWN_MEMBER_ID`, `FENCED_MEMBER_EPOCH`, `UNRELEASED_INSTANCE_ID`,
//! `FENCED_INSTANCE_ID`, `INVALID_REGULAR_EXPRESSION`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::group_reply;
use crate::broker::Broker;
use crate::random;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let answer = {
        let message: ConsumerGroupHeartbeatRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        if broker.serves_consumer_groups() {
            broker.groups.call(broker, &message.group_id, &request, |shard, now_ms, context| {
                shard.consumer_group_heartbeat(now_ms, context, random::bytes(), &message)
            })
        } else {
            Err(ErrorCode::UnsupportedVersion)
        }
    };
    group_reply(
        request,
        answer,
        |error| refusal::consumer_group_heartbeat(error, None),
        |request, response| match response {
            GroupResponse::ConsumerGroupHeartbeat(response) => Some(request.reply(&response)),
            _ => None,
        },
    )
}
