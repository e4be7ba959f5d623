//! ConsumerGroupDescribe (69), versions 0–1: consumer groups (KIP-848) with their members and assignments.
//!
//! Version 1 added the members' protocol. Errors per group: `INVALID_GROUP_ID`, `COORDINATOR_LOAD_IN_PROGRESS`,
//! `NOT_COORDINATOR`, `GROUP_ID_NOT_FOUND`, `UNSUPPORTED_VERSION` (not among `group.coordinator.rebalance.protocols`).

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use crate::authorized_operations as operations;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (answers, with_operations) = {
        let message: ConsumerGroupDescribeRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let ask = |id: &str| {
            let answer = if !broker.serves_consumer_groups() {
                Err(ErrorCode::UnsupportedVersion)
            } else if id.is_empty() {
                Err(ErrorCode::InvalidGroupId)
            } else {
                broker.groups.call(broker, id, &request, |shard, _, context| {
                    shard.consumer_group_describe(context, id)
                })
            };
            (id.to_owned(), answer)
        };
        let answers: Vec<_> = message.group_ids.iter().map(|id| ask(id)).collect();
        (answers, message.include_authorized_operations)
    };
    Outcome::later(async move {
        let mut described = ConsumerGroupDescribeResponse::default();
        for (id, answer) in answers {
            let response =
                super::group_response(answer, |error| refusal::consumer_group_describe(&id, error)).await;
            let GroupResponse::ConsumerGroupDescribe(part) = response else { continue };
            described.groups.extend(part.groups);
        }
        for group in &mut described.groups {
            let is_asked = with_operations && group.error_code == 0;
            group.authorized_operations = if is_asked { operations::GROUP } else { operations::NOT_ASKED };
        }
        request.reply(&described)
    })
}
