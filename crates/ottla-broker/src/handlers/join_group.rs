//! JoinGroup (11), versions 0–9: a member joins its group and waits for the others.
//!
//! Version 1 added the rebalance timeout, 2 throttling, 4 makes new members come back with an id (KIP-394), 5 static members
//! (KIP-345), 6 flexible fields, 7 the protocol type, 8 a reason, 9 lets a static leader skip the assignment (KIP-814).
//! Errors: `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `INCONSISTENT_GROUP_PROTOCOL`, `UNKNOWN_MEMBER_ID`,
//! `INVALID_SESSION_TIMEOUT`, `MEMBER_ID_REQUIRED`, `FENCED_INSTANCE_ID`, `GROUP_MAX_SIZE_REACHED`, `INVALID_GROUP_ID`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::messages::JoinGroupRequest;

use super::group_reply;
use crate::broker::Broker;
use crate::random;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (answer, member_id) = {
        let message: JoinGroupRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let answer = broker.groups.call(broker, &message.group_id, &request, |shard, now_ms, context| {
            shard.join_group(now_ms, context, random::bytes(), &message)
        });
        (answer, message.member_id.into_owned())
    };
    let version = request.api_version;
    group_reply(
        request,
        answer,
        move |error| refusal::join_group(version, &member_id, error),
        |request, response| match response {
            GroupResponse::JoinGroup(response) => Some(request.reply(&response)),
            _ => None,
        },
    )
}
