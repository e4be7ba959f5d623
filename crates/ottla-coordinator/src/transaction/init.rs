//! InitProducerId with a transactional id: a producer takes it over, and whoever had it is fenced (KIP-98, KIP-360).

use ottla_protocol::ErrorCode;

use super::effect::{Decision, Identity, TransactionResponse, TransactionalId};
use super::metadata::Transaction;
use super::shard::{AskedBy, Completion, Entry, TransactionShard};
use super::state::TransactionState;
use crate::group::RequestToken;

impl TransactionShard {
    /// Gives a transactional id to whoever asks, with the next epoch. `expected` is how the producer knew itself, if it wants to
    /// go on after an error. An open transaction is aborted first; the client comes again.
    ///
    /// Errors: `INVALID_REQUEST` (an empty id), `INVALID_TRANSACTION_TIMEOUT`, `COORDINATOR_LOAD_IN_PROGRESS` (also without a
    /// producer id at hand), `NOT_COORDINATOR`, `CONCURRENT_TRANSACTIONS`, `PRODUCER_FENCED`; those of an append.
    pub fn init_producer_id(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        id: &str,
        timeout_ms: i32,
        expected: Option<Identity>,
    ) -> Decision {
        let refuse = |error| Decision::reply(token, TransactionResponse::Producer(Err(error)));
        if id.is_empty() {
            return refuse(ErrorCode::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.config.max_timeout_ms {
            return refuse(ErrorCode::InvalidTransactionTimeout);
        }
        if let Some(error) = self.unavailable() {
            return refuse(error);
        }
        let id = TransactionalId::from(id);
        if !self.entries.contains_key(&id) {
            match self.take_producer_id() {
                Err(error) => return refuse(error),
                Ok(fresh) => {
                    let entry = Entry::new(Transaction::new(fresh, timeout_ms, now_ms));
                    self.entries.insert(id.clone(), entry);
                }
            }
        }
        let entry = &self.entries[&id];
        if entry.next.is_some() {
            return refuse(ErrorCode::ConcurrentTransactions);
        }
        let value = entry.value.clone();
        if expected.is_some_and(|expected| !may_go_on(&value, expected)) {
            return refuse(ErrorCode::ProducerFenced);
        }
        match value.state {
            TransactionState::Ongoing => self.fence(now_ms, &id, AskedBy::Init(token)),
            state if state.is_idle() => match self.next_producer(&value, timeout_ms, expected, now_ms) {
                Err(error) => refuse(error),
                Ok(next) => {
                    let completion = Completion::Init { id: id.clone(), token };
                    Decision { effects: Vec::new(), appends: vec![self.transit(&id, next, completion)] }
                }
            },
            _ => refuse(ErrorCode::ConcurrentTransactions),
        }
    }

    fn next_producer(
        &mut self,
        value: &Transaction,
        timeout_ms: i32,
        expected: Option<Identity>,
        now_ms: i64,
    ) -> Result<Transaction, ErrorCode> {
        let is_current = expected.is_none_or(|expected| expected.epoch == value.epoch);
        if Transaction::is_exhausted(value.epoch) && is_current {
            let fresh = self.take_producer_id()?;
            return Ok(value.rotated(fresh, timeout_ms, expected.is_some(), now_ms));
        }
        if Transaction::is_exhausted(value.epoch) {
            // Kafka fails here with an exception that it did not expect.
            return Err(ErrorCode::UnknownServerError);
        }
        value.initialised(expected.map(|expected| expected.epoch), timeout_ms, now_ms)
    }
}

/// Whether a producer that says who it was may have the transactional id: nobody has it yet, it has it, or it had it when its
/// epochs were used up and does not know the answer to its last request.
fn may_go_on(value: &Transaction, expected: Identity) -> bool {
    value.epoch.value() < 0
        || expected.producer_id == value.producer_id
        || (expected.producer_id == value.previous_producer_id && Transaction::is_exhausted(expected.epoch))
}
