//! DescribeTransactions (65), version 0: what is known of transactional ids.
//!
//! Errors per id: `INVALID_REQUEST` (an empty id), `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`,
//! `TRANSACTIONAL_ID_NOT_FOUND`.

use std::sync::Arc;

use ottla_coordinator::transaction::Transaction;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use ottla_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeTransactionsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let transaction_states = message.transactional_ids.iter().map(|id| describe(broker, id)).collect();
    let response =
        DescribeTransactionsResponse { transaction_states, ..DescribeTransactionsResponse::default() };
    request.reply(&response)
}

fn describe(broker: &Broker, id: &str) -> TransactionState<'static> {
    let described = if id.is_empty() {
        Err(ErrorCode::InvalidRequest)
    } else {
        let looked = broker.transactions.look(broker, id, |core| core.describe(id).map(shape));
        looked.and_then(|described| described)
    };
    let state = described
        .unwrap_or_else(|code| TransactionState { error_code: code.code(), ..TransactionState::default() });
    TransactionState { transactional_id: id.to_owned().into(), ..state }
}

fn shape(transaction: &Transaction) -> TransactionState<'static> {
    let mut topics: Vec<TopicData<'static>> = Vec::new();
    for (topic, partition) in &transaction.partitions {
        if topics.last().is_none_or(|last| last.topic != topic.as_str()) {
            topics.push(TopicData { topic: topic.to_string().into(), partitions: Vec::new() });
        }
        topics.last_mut().expect("pushed above").partitions.push(*partition);
    }
    TransactionState {
        transaction_state: transaction.state.name().into(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: transaction.start_ms,
        producer_id: transaction.producer_id.value(),
        producer_epoch: transaction.epoch.value(),
        topics,
        ..TransactionState::default()
    }
}
