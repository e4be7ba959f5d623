//! DescribeGroups (15), versions 0–6: classic groups with their members.
//!
//! Version 3 added authorized operations, 4 static members, 5 flexible fields, 6 `GROUP_ID_NOT_FOUND` for unknown groups,
//! which before are described as dead. Errors per group: `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `INVALID_GROUP_ID`,
//! `GROUP_ID_NOT_FOUND`.

use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::authorized_operations as operations;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let (answers, with_operations) = {
        let message: DescribeGroupsRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let ask = |id: &str| {
            let answer = broker
                .groups
                .call(broker, id, &request, |shard, _, context| shard.describe_groups(context, &[id]));
            (id.to_owned(), answer)
        };
        let answers: Vec<_> = message.groups.iter().map(|id| ask(id)).collect();
        (answers, message.include_authorized_operations)
    };
    Outcome::later(async move {
        let mut described = DescribeGroupsResponse::default();
        for (id, answer) in answers {
            let response =
                super::group_response(answer, |error| refusal::describe_groups(&[&id], error)).await;
            let GroupResponse::DescribeGroups(part) = response else { continue };
            described.groups.extend(part.groups);
        }
        for group in &mut described.groups {
            let is_asked = with_operations && group.error_code == 0;
            group.authorized_operations = if is_asked { operations::GROUP } else { operations::NOT_ASKED };
        }
        request.reply(&described)
    })
}
