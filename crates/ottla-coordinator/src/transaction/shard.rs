//! The shard: what it holds, how it is loaded, and how appends come back to it.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;
use ottla_types::ProducerId;

use super::TransactionConfig;
use super::effect::{
    Append, AppendId, Decision, Effect, Identity, TimerKey, TransactionResponse, TransactionalId,
    append_error,
};
use super::metadata::Transaction;
use super::record::TransactionRecord;
use super::state::TransactionState;
use crate::group::RequestToken;

/// The coordinator of the transactional ids that belong to one partition of `__transaction_state`. Exists where that
/// partition has its leader.
///
/// # How the runtime drives it
/// One call at a time; no call blocks. `now_ms` is a clock of milliseconds since the epoch that does not go back.
///
/// **Loading.** [`new`](Self::new); [`TransactionRecord::decode`] and [`replay`](Self::replay) for each record of the log in
/// order; [`finish_load`](Self::finish_load), which takes up again what was decided before. Requests before that are answered
/// `COORDINATOR_LOAD_IN_PROGRESS`.
///
/// **Before each call** the runtime says what the cluster's `transaction.version` is ([`set_level`](Self::set_level)) and, if
/// [`wants_producer_id`](Self::wants_producer_id), hands in one that nobody has ([`offer_producer_id`](Self::offer_producer_id)).
/// Without one at hand a request that needs it is refused with `COORDINATOR_LOAD_IN_PROGRESS`, which clients repeat.
///
/// **A request** returns a [`Decision`], as does every other call: carry out the effects in order, then append. A token is
/// answered exactly once, maybe by a later call. When the high watermark has passed an append: [`committed`](Self::committed),
/// which makes the change real; when the log refused it, or it does not count within its time:
/// [`append_failed`](Self::append_failed). Exactly one of the two is called per append. Until then the transactional id is
/// busy, and requests for it are answered `CONCURRENT_TRANSACTIONS`.
///
/// **Markers.** [`Effect::WriteMarkers`] is work that lasts: the runtime writes into each partition, repeats what fails for a
/// reason that passes, and calls [`markers_written`](Self::markers_written) when all is done. A new shard asks again.
///
/// **Losing the leadership.** [`unload`](Self::unload) answers everybody who waits with `NOT_COORDINATOR`; then drop the shard.
#[derive(Debug)]
pub struct TransactionShard {
    pub(crate) config: TransactionConfig,
    phase: Phase,
    pub(crate) coordinator_epoch: i32,
    pub(crate) level: i16,
    spare_producer_id: Option<ProducerId>,
    pub(crate) entries: BTreeMap<TransactionalId, Entry>,
    next_append: u64,
    pub(crate) pending: BTreeMap<AppendId, Completion>,
    pub(crate) timers: Timers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Unloaded,
}

/// Which timers are set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timers {
    pub(crate) timeouts: bool,
    pub(crate) expiry: bool,
}

/// A transactional id.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What counts.
    pub(crate) value: Transaction,
    /// What it is about to become; requests are refused meanwhile.
    pub(crate) next: Option<Transaction>,
    /// An epoch was taken for fencing and its record failed: it was told to nobody, and is taken again.
    pub(crate) failed_fence: bool,
}

impl Entry {
    pub(crate) fn new(value: Transaction) -> Self {
        Self { value, next: None, failed_fence: false }
    }
}

/// What an append is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Completion {
    /// InitProducerId.
    Init { id: TransactionalId, token: RequestToken },
    /// Partitions were added.
    Add { id: TransactionalId, token: RequestToken },
    /// The outcome was decided.
    Decide { id: TransactionalId, asked_by: AskedBy, is_fence: bool },
    /// All markers are written.
    Complete { id: TransactionalId },
    /// Transactional ids are forgotten.
    Expire { ids: Vec<TransactionalId> },
}

/// Who wants a transaction to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// EndTxn.
    Client(RequestToken),
    /// InitProducerId, which comes again when the transaction has ended.
    Init(RequestToken),
    /// Its timeout.
    Timeout,
}

impl AskedBy {
    /// The answer to whoever asked; nobody waits for a timeout.
    pub(crate) fn answer(self, outcome: Result<Identity, ErrorCode>) -> Option<Effect> {
        let (token, outcome) = match self {
            Self::Client(token) => (token, outcome),
            Self::Init(token) => (token, outcome.and(Err(ErrorCode::ConcurrentTransactions))),
            Self::Timeout => return None,
        };
        Some(Effect::Reply { token, response: TransactionResponse::Producer(outcome) })
    }
}

impl TransactionShard {
    /// An empty shard, to be loaded. `coordinator_epoch` is the leader epoch of its partition.
    pub fn new(config: TransactionConfig, coordinator_epoch: i32) -> Self {
        Self {
            config,
            phase: Phase::Loading,
            coordinator_epoch,
            level: 0,
            spare_producer_id: None,
            entries: BTreeMap::new(),
            next_append: 0,
            pending: BTreeMap::new(),
            timers: Timers::default(),
        }
    }

    /// The finalised level of `transaction.version`.
    pub fn set_level(&mut self, level: i16) {
        self.level = level;
    }

    /// Whether a producer id should be handed in.
    pub fn wants_producer_id(&self) -> bool {
        self.spare_producer_id.is_none()
    }

    /// Hands in a producer id that nobody has.
    pub fn offer_producer_id(&mut self, id: ProducerId) {
        self.spare_producer_id = Some(id);
    }

    pub(crate) fn take_producer_id(&mut self) -> Result<ProducerId, ErrorCode> {
        self.spare_producer_id.take().ok_or(ErrorCode::CoordinatorLoadInProgress)
    }

    /// Takes up a record of the log.
    pub fn replay(&mut self, record: TransactionRecord) {
        match record.value {
            Some(value) => _ = self.entries.insert(record.id, Entry::new(value)),
            None => _ = self.entries.remove(&record.id),
        }
    }

    /// The log is replayed: requests are served from now on, and what was decided goes on.
    pub fn finish_load(&mut self, now_ms: i64) -> Decision {
        self.phase = Phase::Active;
        let mut decision = Decision::default();
        let decided =
            |(id, entry): (&TransactionalId, &Entry)| entry.value.state.is_prepared().then(|| id.clone());
        let ids: Vec<_> = self.entries.iter().filter_map(decided).collect();
        for id in ids {
            decision.effects.extend(self.write_markers(now_ms, &id));
        }
        self.set_timers(now_ms, self.has_ongoing(), &mut decision);
        decision
    }

    /// How many transactional ids are known.
    pub fn transaction_count(&self) -> usize {
        self.entries.len()
    }

    /// What counts of each transactional id, as the log has it: without the epoch before the current one.
    pub fn durable_state(&self) -> BTreeMap<TransactionalId, Transaction> {
        let logged = self.entries.iter().filter(|(_, entry)| entry.value.epoch.value() >= 0);
        let of_log = |value: &Transaction| Transaction {
            last_epoch: ottla_types::ProducerEpoch::NONE,
            ..value.clone()
        };
        logged.map(|(id, entry)| (id.clone(), of_log(&entry.value))).collect()
    }

    /// The error for every request, while the shard loads or after it was unloaded.
    pub(crate) fn unavailable(&self) -> Option<ErrorCode> {
        match self.phase {
            Phase::Loading => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Active => None,
            Phase::Unloaded => Some(ErrorCode::NotCoordinator),
        }
    }

    /// The entry behind a request's transactional id.
    ///
    /// # Errors
    /// `INVALID_REQUEST` without an id, `COORDINATOR_LOAD_IN_PROGRESS`, `NOT_COORDINATOR`, `missing`.
    pub(crate) fn entry(&self, id: &str, missing: ErrorCode) -> Result<&Entry, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if let Some(error) = self.unavailable() {
            return Err(error);
        }
        self.entries.get(id).ok_or(missing)
    }

    /// Marks an id as busy and makes the append of what it becomes.
    pub(crate) fn transit(
        &mut self,
        id: &TransactionalId,
        next: Transaction,
        completion: Completion,
    ) -> Append {
        let record = TransactionRecord { id: id.clone(), value: Some(next.clone()) };
        let timeout_ms = next.timeout_ms.max(1);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.next = Some(next);
        }
        self.append(vec![record], timeout_ms, completion)
    }

    pub(crate) fn append(
        &mut self,
        records: Vec<TransactionRecord>,
        timeout_ms: i32,
        completion: Completion,
    ) -> Append {
        let id = AppendId(self.next_append);
        self.next_append += 1;
        self.pending.insert(id, completion);
        Append { id, records, level: self.level, timeout_ms }
    }

    /// An append counts.
    pub fn committed(&mut self, now_ms: i64, id: AppendId) -> Decision {
        let Some(completion) = self.pending.remove(&id) else { return Decision::default() };
        let begins = matches!(completion, Completion::Add { .. });
        let mut decision = Decision::default();
        match completion {
            Completion::Init { id, token } => {
                if let Some(value) = self.become_next(&id) {
                    let identity = Identity { producer_id: value.producer_id, epoch: value.epoch };
                    let response = TransactionResponse::Producer(Ok(identity));
                    decision.effects.push(Effect::Note(format!(
                        "transactional id {id} has producer id {} and epoch {}",
                        identity.producer_id, identity.epoch
                    )));
                    decision.effects.push(Effect::Reply { token, response });
                }
            }
            Completion::Add { id, token } => {
                self.become_next(&id);
                let response = TransactionResponse::Added(Ok(()));
                decision.effects.push(Effect::Reply { token, response });
            }
            Completion::Decide { id, asked_by, .. } => {
                self.become_next(&id);
                decision.effects = self.write_markers(now_ms, &id);
                let told = self.entries.get(&id).and_then(|entry| entry.next.as_ref()).map_or(
                    Identity::NONE,
                    |next| Identity { producer_id: next.producer_id, epoch: next.epoch },
                );
                decision.effects.extend(asked_by.answer(Ok(told)));
                if asked_by == AskedBy::Timeout {
                    decision
                        .effects
                        .push(Effect::Note(format!("transaction of {id} is aborted: its time is up")));
                }
            }
            Completion::Complete { id } => _ = self.become_next(&id),
            Completion::Expire { ids } => {
                for id in ids {
                    self.entries.remove(&id);
                }
            }
        }
        self.set_timers(now_ms, begins, &mut decision);
        decision
    }

    fn become_next(&mut self, id: &str) -> Option<&Transaction> {
        let entry = self.entries.get_mut(id)?;
        entry.value = entry.next.take()?;
        Some(&entry.value)
    }

    /// An append was refused by the log, or did not count in time. `error` is the log's.
    pub fn append_failed(&mut self, now_ms: i64, id: AppendId, error: ErrorCode) -> Decision {
        let Some(completion) = self.pending.remove(&id) else { return Decision::default() };
        let error = append_error(error);
        let mut decision = Decision::default();
        match completion {
            Completion::Init { id, token } => {
                self.stay(&id);
                let response = TransactionResponse::Producer(Err(error));
                decision.effects.push(Effect::Reply { token, response });
            }
            Completion::Add { id, token } => {
                self.stay(&id);
                let response = TransactionResponse::Added(Err(error));
                decision.effects.push(Effect::Reply { token, response });
            }
            Completion::Decide { id, asked_by, is_fence } => {
                self.stay(&id);
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.failed_fence |= is_fence;
                }
                decision.effects.extend(asked_by.answer(Err(error)));
            }
            Completion::Complete { id } => {
                // The markers are out: the record must follow.
                let at_ms = now_ms.saturating_add(super::markers::RETRY_MS);
                decision.effects.push(Effect::Schedule { key: TimerKey::Completion(id), at_ms });
            }
            Completion::Expire { ids } => ids.iter().for_each(|id| self.stay(id)),
        }
        self.set_timers(now_ms, false, &mut decision);
        decision
    }

    fn stay(&mut self, id: &str) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.next = None;
        }
    }

    /// A timer's time has come.
    pub fn on_timer(&mut self, now_ms: i64, key: &TimerKey) -> Decision {
        if self.phase != Phase::Active {
            return Decision::default();
        }
        let mut decision = match key {
            TimerKey::Timeouts => self.abort_timed_out(now_ms),
            TimerKey::Expiry => self.expire(now_ms),
            TimerKey::Completion(id) => self.complete(id),
        };
        self.set_timers(now_ms, self.has_ongoing(), &mut decision);
        decision
    }

    /// The partition's leader is elsewhere: everybody who waits is told.
    pub fn unload(&mut self) -> Decision {
        self.phase = Phase::Unloaded;
        let error = ErrorCode::NotCoordinator;
        let answer = |completion| match completion {
            Completion::Init { token, .. } => {
                Some(Effect::Reply { token, response: TransactionResponse::Producer(Err(error)) })
            }
            Completion::Add { token, .. } => {
                Some(Effect::Reply { token, response: TransactionResponse::Added(Err(error)) })
            }
            Completion::Decide { asked_by, .. } => asked_by.answer(Err(error)),
            Completion::Complete { .. } | Completion::Expire { .. } => None,
        };
        let effects = std::mem::take(&mut self.pending).into_values().filter_map(answer).collect();
        Decision { effects, appends: Vec::new() }
    }

    fn has_ongoing(&self) -> bool {
        self.entries.values().any(|entry| entry.value.state == TransactionState::Ongoing)
    }

    /// Sets the timers that have something to look for. `has_ongoing`: there is a transaction, or one begins now.
    fn set_timers(&mut self, now_ms: i64, has_ongoing: bool, decision: &mut Decision) {
        if !self.timers.timeouts && has_ongoing {
            self.timers.timeouts = true;
            let at_ms = now_ms.saturating_add(i64::from(self.config.abort_interval_ms));
            decision.effects.push(Effect::Schedule { key: TimerKey::Timeouts, at_ms });
        }
        if !self.timers.expiry && !self.entries.is_empty() {
            self.timers.expiry = true;
            let at_ms = now_ms.saturating_add(i64::from(self.config.expiry_interval_ms));
            decision.effects.push(Effect::Schedule { key: TimerKey::Expiry, at_ms });
        }
    }
}
