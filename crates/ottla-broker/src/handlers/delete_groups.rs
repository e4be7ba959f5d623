//! DeleteGroups (42), versions 0–3: removes empty groups with their offsets.
//!
//! Version 2 has flexible fields, 3 error messages. Errors per group: `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`,
//! `INVALID_GROUP_ID`, `NON_EMPTY_GROUP`, `GROUP_ID_NOT_FOUND`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::group::{GroupResponse, refusal};
use ottla_net::Outcome;
use ottla_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let answers: Vec<_> = {
        let message: DeleteGroupsRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let ids: BTreeSet<&str> = message.groups_names.iter().map(AsRef::as_ref).collect();
        let ask = |id: &str| {
            let answer = broker.groups.call(broker, id, &request, |shard, now_ms, context| {
                shard.delete_groups(now_ms, context, &[id])
            });
            (id.to_owned(), answer)
        };
        ids.into_iter().map(ask).collect()
    };
    Outcome::later(async move {
        let mut deleted = DeleteGroupsResponse::default();
        for (id, answer) in answers {
            let response = super::group_response(answer, |error| refusal::delete_groups(&[&id], error)).await;
            let GroupResponse::DeleteGroups(part) = response else { continue };
            deleted.results.extend(part.results);
        }
        request.reply(&deleted)
    })
}
