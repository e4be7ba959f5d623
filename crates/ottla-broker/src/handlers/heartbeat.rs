//! Heartbeat (12), versions 0–4: a member is alive, and learns whether its group rebalances.
//!
//! Version 3 added static members, 4 flexible fields. Errors: `NOT_COORDINATOR`, `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`,
//! `REBALANCE_IN_PROGRESS`, `FENCED_INSTANCE_ID`, `INVALID_GROUP_ID`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::messages::HeartbeatRequest;

use super::group_reply;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let answer = {
        let message: HeartbeatRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        broker.groups.call(broker, &message.group_id, &request, |shard, now_ms, context| {
            shard.heartbeat(now_ms, context, &message)
        })
    };
    group_reply(request, answer, refusal::heartbeat, |request, response| match response {
        GroupResponse::Heartbeat(response) => Some(request.reply(&response)),
        _ => None,
    })
}
