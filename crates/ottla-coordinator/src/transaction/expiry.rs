//! What time ends: transactions past their timeout, and transactional ids that nobody uses.

use super::TransactionalId;
use super::effect::Decision;
use super::metadata::Transaction;
use super::record::TransactionRecord;
use super::shard::{AskedBy, Completion, Entry, TransactionShard};
use super::state::TransactionState;

/// How long the removal of transactional ids may take to count (`request.timeout.ms`).
const REMOVAL_TIMEOUT_MS: i32 = 30_000;

impl TransactionShard {
    /// Aborts transactions past their timeout.
    pub(crate) fn abort_timed_out(&mut self, now_ms: i64) -> Decision {
        self.timers.timeouts = false;
        let is_late = |entry: &Entry| {
            let value = &entry.value;
            entry.next.is_none()
                && value.state == TransactionState::Ongoing
                && value.start_ms.saturating_add(i64::from(value.timeout_ms)) < now_ms
        };
        let late: Vec<TransactionalId> =
            self.entries.iter().filter(|(_, entry)| is_late(entry)).map(|(id, _)| id.clone()).collect();
        let mut decision = Decision::default();
        for id in late {
            let Decision { effects, appends } = self.fence(now_ms, &id, AskedBy::Timeout);
            decision.effects.extend(effects);
            decision.appends.extend(appends);
        }
        decision
    }

    /// Forgets transactional ids without a transaction that were not used for `transactional.id.expiration.ms`.
    pub(crate) fn expire(&mut self, now_ms: i64) -> Decision {
        self.timers.expiry = false;
        let oldest_ms = now_ms.saturating_sub(i64::from(self.config.id_expiration_ms));
        let mut ids = Vec::new();
        for (id, entry) in &mut self.entries {
            let value = &entry.value;
            if entry.next.is_none() && value.state.is_idle() && value.last_update_ms <= oldest_ms {
                entry.next = Some(Transaction { state: TransactionState::Dead, ..value.clone() });
                ids.push(id.clone());
            }
        }
        if ids.is_empty() {
            return Decision::default();
        }
        let records = ids.iter().map(|id| TransactionRecord { id: id.clone(), value: None }).collect();
        let append = self.append(records, REMOVAL_TIMEOUT_MS, Completion::Expire { ids });
        Decision { effects: Vec::new(), appends: vec![append] }
    }
}
