//! EndTxn, and the ends that nobody asked for: fencing and timeouts (`TransactionCoordinator.endTransaction`).

use ottla_protocol::ErrorCode;
use ottla_types::{ProducerEpoch, ProducerId};

use super::EPOCH_BUMP;
use super::effect::{Decision, Identity, TransactionResponse, TransactionalId};
use super::metadata::Transaction;
use super::shard::{AskedBy, Completion, TransactionShard};
use super::state::TransactionState as State;
use crate::group::RequestToken;

/// An EndTxn request.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The transactional id.
    pub id: &'a str,
    /// Who asks.
    pub producer: Identity,
    /// Commit, or abort.
    pub commit: bool,
    /// The protocol of the client: from 2 on each transaction has its own epoch.
    pub client_version: i16,
}

/// What becomes of a request to end a transaction that is not refused.
enum Verdict {
    /// It was done before: the client did not get its answer.
    Done,
    /// The outcome is to be written down. `is_new`: there was no transaction.
    Decide { is_new: bool },
}

impl TransactionShard {
    /// Handles EndTxn. The answer comes when the decision counts; the markers follow.
    ///
    /// Errors: `INVALID_REQUEST` (an empty id), `COORDINATOR_LOAD_IN_PROGRESS` (also without a producer id at hand),
    /// `NOT_COORDINATOR`, `INVALID_PRODUCER_ID_MAPPING`, `PRODUCER_FENCED`, `CONCURRENT_TRANSACTIONS`, `INVALID_TXN_STATE`; those
    /// of an append.
    pub fn end_transaction(&mut self, now_ms: i64, token: RequestToken, end: &End<'_>) -> Decision {
        let refuse = |outcome| Decision::reply(token, TransactionResponse::Producer(outcome));
        let entry = match self.entry(end.id, ErrorCode::InvalidProducerIdMapping) {
            Ok(entry) => entry,
            Err(error) => return refuse(Err(error)),
        };
        let (value, is_busy) = (&entry.value, entry.next.is_some());
        let bumps = end.client_version >= EPOCH_BUMP;
        let verdict = if bumps { judge(value, is_busy, end) } else { judge_plain(value, is_busy, end) };
        match verdict {
            Err(error) => refuse(Err(error)),
            Ok(Verdict::Done) => {
                let told = Identity { producer_id: value.producer_id, epoch: value.epoch };
                refuse(Ok(if bumps { told } else { Identity::NONE }))
            }
            Ok(Verdict::Decide { is_new }) => {
                let decided = Decided { commit: end.commit, client_version: end.client_version, is_new };
                self.decide(now_ms, &end.id.into(), decided, AskedBy::Client(token), false)
            }
        }
    }

    /// Ends an open transaction in place of its producer, which must not go on: its epoch is taken.
    pub(crate) fn fence(&mut self, now_ms: i64, id: &TransactionalId, asked_by: AskedBy) -> Decision {
        let bumps = self.level >= EPOCH_BUMP;
        let Some(entry) = self.entries.get_mut(id) else { return Decision::default() };
        if !bumps {
            // Without an epoch per transaction it is taken here, and the decision has it.
            if !entry.failed_fence && entry.value.epoch != ProducerEpoch(i16::MAX) {
                entry.value.epoch = entry.value.bumped();
            }
            entry.value.last_epoch = ProducerEpoch::NONE;
        }
        let client_version = if bumps { self.level } else { 0 };
        let decided = Decided { commit: false, client_version, is_new: false };
        self.decide(now_ms, id, decided, asked_by, true)
    }

    fn decide(
        &mut self,
        now_ms: i64,
        id: &TransactionalId,
        decided: Decided,
        asked_by: AskedBy,
        is_fence: bool,
    ) -> Decision {
        let value = self.entries[id].value.clone();
        let Decided { commit, client_version, is_new } = decided;
        let next_id = if client_version >= EPOCH_BUMP && Transaction::is_exhausted(value.epoch) {
            match self.take_producer_id() {
                Ok(fresh) => fresh,
                Err(error) => {
                    let effects = asked_by.answer(Err(error)).into_iter().collect();
                    return Decision { effects, appends: Vec::new() };
                }
            }
        } else {
            ProducerId::NONE
        };
        let next = value.decided(commit, client_version, next_id, is_new, now_ms);
        let completion = Completion::Decide { id: id.clone(), asked_by, is_fence };
        Decision { effects: Vec::new(), appends: vec![self.transit(id, next, completion)] }
    }
}

/// An outcome to be written down.
#[derive(Clone, Copy, Debug)]
struct Decided {
    commit: bool,
    client_version: i16,
    is_new: bool,
}

/// Clients whose epoch lasts for many transactions.
fn judge_plain(value: &Transaction, is_busy: bool, end: &End<'_>) -> Result<Verdict, ErrorCode> {
    if value.producer_id != end.producer.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if value.epoch != end.producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    if is_busy {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    match (value.state, end.commit) {
        (State::Ongoing, _) => Ok(Verdict::Decide { is_new: false }),
        (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(Verdict::Done),
        (State::PrepareCommit, true) | (State::PrepareAbort, false) => Err(ErrorCode::ConcurrentTransactions),
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

/// Clients with an epoch per transaction (KIP-890): the epoch tells a repeated request from the next transaction's.
fn judge(value: &Transaction, is_busy: bool, end: &End<'_>) -> Result<Verdict, ErrorCode> {
    let given = end.producer;
    let is_current = given.epoch == value.epoch;
    let after_rotation = given.producer_id == value.previous_producer_id
        && given.epoch == ProducerEpoch(i16::MAX - 1)
        && value.epoch == ProducerEpoch(0);
    let after_bump = given.epoch.value().checked_add(1) == Some(value.epoch.value());
    let is_valid = match value.state {
        State::Ongoing | State::Empty | State::Dead | State::PrepareEpochFence => is_current,
        State::PrepareCommit | State::PrepareAbort => after_bump,
        State::CompleteCommit | State::CompleteAbort => after_bump || after_rotation || is_current,
    };
    let is_repeated = after_bump || after_rotation;
    if is_busy {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    if value.producer_id != given.producer_id && !after_rotation {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if !is_valid {
        return Err(ErrorCode::ProducerFenced);
    }
    match (value.state, end.commit) {
        (State::Ongoing, _) => Ok(Verdict::Decide { is_new: false }),
        (State::CompleteCommit, true) | (State::CompleteAbort, false) if is_repeated => Ok(Verdict::Done),
        // An abort without a transaction: what was written and never added is fenced all the same.
        (State::CompleteCommit, false) if !is_repeated => Ok(Verdict::Decide { is_new: true }),
        (State::CompleteAbort | State::Empty, false) => Ok(Verdict::Decide { is_new: true }),
        (State::PrepareCommit, true) | (State::PrepareAbort, false) => Err(ErrorCode::ConcurrentTransactions),
        _ => Err(ErrorCode::InvalidTxnState),
    }
}
