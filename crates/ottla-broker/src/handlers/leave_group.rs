//! LeaveGroup (13), versions 0–5: members leave their group.
//!
//! Version 3 takes several members, static ones too, 4 flexible fields, 5 reasons. Errors: `COORDINATOR_LOAD_IN_PROGRESS`,
//! `NOT_COORDINATOR`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`, `INVALID_GROUP_ID`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::messages::LeaveGroupRequest;

use super::group_reply;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let answer = {
        let message: LeaveGroupRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        broker.groups.call(broker, &message.group_id, &request, |shard, now_ms, context| {
            shard.leave_group(now_ms, context, &message)
        })
    };
    group_reply(request, answer, refusal::leave_group, |request, response| match response {
        GroupResponse::LeaveGroup(response) => Some(request.reply(&response)),
        _ => None,
    })
}
