//! SyncGroup (14), versions 0–5: the leader hands in the assignment, every member gets its part.
//!
//! Version 3 added static members, 4 flexible fields, 5 the protocol type and name. Errors: `COORDINATOR_LOAD_IN_PROGRESS`,
//! `NOT_COORDINATOR`, `UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`, `REBALANCE_IN_PROGRESS`, `INCONSISTENT_GROUP_PROTOCOL`,
//! `FENCED_INSTANCE_ID`, `INVALID_GROUP_ID`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::messages::SyncGroupRequest;

use super::group_reply;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let answer = {
        let message: SyncGroupRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        broker.groups.call(broker, &message.group_id, &request, |shard, now_ms, context| {
            shard.sync_group(now_ms, context, &message)
        })
    };
    group_reply(request, answer, refusal::sync_group, |request, response| match response {
        GroupResponse::SyncGroup(response) => Some(request.reply(&response)),
        _ => None,
    })
}
