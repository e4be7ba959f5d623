//! ListGroups (16), versions 0–5: the groups that this broker coordinates.
//!
//! Version 3 has flexible fields, 4 states and a filter for them, 5 types and a filter for them. Errors:
//! `COORDINATOR_LOAD_IN_PROGRESS` when any part is not loaded yet.

use std::sync::Arc;

use ottla_coordinator::group::GroupResponse;
use ottla_net::Outcome;
use ottla_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let answers = {
        let message: ListGroupsRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        broker.groups.call_all(&request, |shard, _, context| shard.list_groups(context, &message))
    };
    Outcome::later(async move {
        let mut listed = ListGroupsResponse::default();
        for answer in answers {
            // A shard that went away meanwhile has no groups here any more.
            let Ok(GroupResponse::ListGroups(part)) = answer.await else { continue };
            if part.error_code != 0 {
                return request.reply(&part);
            }
            listed.groups.extend(part.groups);
        }
        request.reply(&listed)
    })
}
