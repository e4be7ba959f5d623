//! ListTransactions (66), versions 0–2: the transactional ids of this broker's shards.
//!
//! Version 1 added a filter by duration, 2 by a pattern of the whole id (KIP-1152). Errors: `COORDINATOR_LOAD_IN_PROGRESS`,
//! `INVALID_REGULAR_EXPRESSION`.

use std::sync::Arc;

use ottla_coordinator::transaction::{Filter, Listing, TransactionState as State};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_transactions_response::TransactionState;
use ottla_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use regex::Regex;

use crate::broker::Broker;
use crate::clock::now_ms;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: ListTransactionsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let response = list(broker, &message).unwrap_or_else(|code| ListTransactionsResponse {
        error_code: code.code(),
        ..ListTransactionsResponse::default()
    });
    request.reply(&response)
}

fn list(
    broker: &Broker,
    message: &ListTransactionsRequest<'_>,
) -> Result<ListTransactionsResponse<'static>, ErrorCode> {
    let (mut states, mut unknown) = (Vec::new(), Vec::new());
    for name in &message.state_filters {
        match State::parse(name) {
            Some(state) => states.push(state),
            None if unknown.iter().any(|other| other == name) => {}
            None => unknown.push(name.to_string().into()),
        }
    }
    let filter = Filter {
        states: (!message.state_filters.is_empty()).then_some(states),
        producer_ids: message.producer_id_filters.clone(),
        longer_than_ms: message.duration_filter,
    };
    let now_ms = now_ms();
    let shards = broker.transactions.look_at_all(|core| core.list(now_ms, &filter));
    let listed: Result<Vec<_>, _> = shards.into_iter().collect();
    let listed = listed?;
    let pattern = message.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
    let pattern = pattern
        .map(|pattern| Regex::new(&format!("^(?:{pattern})$")))
        .transpose()
        .map_err(|_| ErrorCode::InvalidRegularExpression)?;
    let is_wanted = |listing: &Listing| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&listing.id));
    let shape = |listing: Listing| TransactionState {
        transactional_id: listing.id.to_string().into(),
        producer_id: listing.producer_id,
        transaction_state: listing.state.name().into(),
    };
    Ok(ListTransactionsResponse {
        unknown_state_filters: unknown,
        transaction_states: listed.into_iter().flatten().filter(is_wanted).map(shape).collect(),
        ..ListTransactionsResponse::default()
    })
}
