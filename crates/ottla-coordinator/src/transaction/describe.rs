//! DescribeTransactions and ListTransactions.

use ottla_protocol::ErrorCode;

use super::effect::TransactionalId;
use super::metadata::Transaction;
use super::shard::TransactionShard;
use super::state::TransactionState;

/// What a ListTransactions asks for. An empty list is no filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// States; `None` when none was named. Unknown names match nothing.
    pub states: Option<Vec<TransactionState>>,
    /// Producer ids.
    pub producer_ids: Vec<i64>,
    /// Transactions that began longer ago than this; negative for all.
    pub longer_than_ms: i64,
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The transactional id.
    pub id: TransactionalId,
    /// Its producer.
    pub producer_id: i64,
    /// Its state.
    pub state: TransactionState,
}

impl TransactionShard {
    /// What counts of a transactional id.
    ///
    /// # Errors
    /// `INVALID_REQUEST` (an empty id), `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `TRANSACTIONAL_ID_NOT_FOUND`.
    pub fn describe(&self, id: &str) -> Result<&Transaction, ErrorCode> {
        Ok(&self.entry(id, ErrorCode::TransactionalIdNotFound)?.value)
    }

    /// The transactional ids that a filter lets through.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`.
    pub fn list(&self, now_ms: i64, filter: &Filter) -> Result<Vec<Listing>, ErrorCode> {
        if let Some(error) = self.unavailable() {
            return Err(error);
        }
        let is_wanted = |value: &Transaction| {
            let ids = &filter.producer_ids;
            (ids.is_empty() || ids.contains(&value.producer_id.value()))
                && filter.states.as_ref().is_none_or(|states| states.contains(&value.state))
                && (filter.longer_than_ms < 0
                    || now_ms.saturating_sub(value.start_ms) > filter.longer_than_ms)
        };
        let listed = self.entries.iter().filter(|(_, entry)| is_wanted(&entry.value));
        let listing = |(id, entry): (&TransactionalId, &super::shard::Entry)| Listing {
            id: id.clone(),
            producer_id: entry.value.producer_id.value(),
            state: entry.value.state,
        };
        Ok(listed.map(listing).collect())
    }
}
