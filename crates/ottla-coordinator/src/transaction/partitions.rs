//! AddPartitionsToTxn and AddOffsetsToTxn: what a transaction writes to, added and verified.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_types::TopicName;

use super::effect::{Decision, Identity, TransactionResponse, TransactionalId};
use super::metadata::Transaction;
use super::shard::{Completion, TransactionShard};
use super::state::TransactionState;
use crate::group::RequestToken;

impl TransactionShard {
    /// Adds partitions to a transaction and begins it if there is none. `client_version` is the protocol of the client.
    ///
    /// Errors: `INVALID_REQUEST` (an empty id), `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`,
    /// `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS`; those of an append.
    pub fn add_partitions(
        &mut self,
        now_ms: i64,
        token: RequestToken,
        id: &str,
        producer: Identity,
        partitions: &BTreeSet<(TopicName, i32)>,
        client_version: i16,
    ) -> Decision {
        match self.check_addition(id, producer, partitions) {
            Ok(true) => Decision::reply(token, TransactionResponse::Added(Ok(()))),
            Err(error) => Decision::reply(token, TransactionResponse::Added(Err(error))),
            Ok(false) => {
                let id = TransactionalId::from(id);
                let next = self.entries[&id].value.with_partitions(partitions, client_version, now_ms);
                let completion = Completion::Add { id: id.clone(), token };
                Decision { effects: Vec::new(), appends: vec![self.transit(&id, next, completion)] }
            }
        }
    }

    /// Whether the partitions are there already.
    fn check_addition(
        &self,
        id: &str,
        producer: Identity,
        partitions: &BTreeSet<(TopicName, i32)>,
    ) -> Result<bool, ErrorCode> {
        let entry = self.entry(id, ErrorCode::InvalidProducerIdMapping)?;
        if entry.next.is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let value = &entry.value;
        check_open_to(value, producer)?;
        Ok(value.state == TransactionState::Ongoing && partitions.is_subset(&value.partitions))
    }

    /// Asks whether partitions belong to the producer's transaction; a change under way does not matter, since the log looks
    /// again when it appends.
    ///
    /// # Errors
    /// For all of them, as [`add_partitions`](Self::add_partitions).
    pub fn verify_partitions<'p>(
        &self,
        id: &str,
        producer: Identity,
        partitions: &'p BTreeSet<(TopicName, i32)>,
    ) -> Result<impl Iterator<Item = (&'p (TopicName, i32), ErrorCode)>, ErrorCode> {
        let value = &self.entry(id, ErrorCode::InvalidProducerIdMapping)?.value;
        check_open_to(value, producer)?;
        let known = &value.partitions;
        Ok(partitions.iter().map(move |partition| {
            let is_part = known.contains(partition);
            (partition, if is_part { ErrorCode::None } else { ErrorCode::TransactionAbortable })
        }))
    }
}

/// Whether the producer's transaction may be added to, or asked about.
fn check_open_to(value: &Transaction, producer: Identity) -> Result<(), ErrorCode> {
    if value.producer_id != producer.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if value.epoch != producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    if value.state.is_prepared() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    Ok(())
}
