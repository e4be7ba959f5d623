//! After the decision: markers, then the record that the transaction is complete.

use super::effect::{Decision, Effect, Identity, MarkersToWrite};
use super::record::TransactionRecord;
use super::shard::{Completion, TransactionShard};
use super::state::TransactionState;

/// Pause before the last record is tried again.
pub(crate) const RETRY_MS: i64 = 1_000;

impl TransactionShard {
    /// Asks for the markers of a decided transaction. The id is busy until they are written.
    pub(crate) fn write_markers(&mut self, now_ms: i64, id: &str) -> Vec<Effect> {
        let coordinator_epoch = self.coordinator_epoch;
        let Some((id, _)) = self.entries.get_key_value(id) else { return Vec::new() };
        let id = id.clone();
        let Some(entry) = self.entries.get_mut(&id) else { return Vec::new() };
        let value = &entry.value;
        entry.next = Some(value.completed(now_ms));
        entry.failed_fence = false;
        vec![Effect::WriteMarkers(MarkersToWrite {
            id,
            producer: Identity { producer_id: value.producer_id, epoch: value.epoch },
            coordinator_epoch,
            commit: value.state == TransactionState::PrepareCommit,
            transaction_version: value.client_version,
            partitions: value.partitions.clone(),
        })]
    }

    /// All markers that were asked for are written and count.
    pub fn markers_written(&mut self, id: &str) -> Decision {
        if self.unavailable().is_some() {
            return Decision::default();
        }
        self.complete(id)
    }

    /// Writes the record that the transaction is complete.
    pub(crate) fn complete(&mut self, id: &str) -> Decision {
        let Some((id, entry)) = self.entries.get_key_value(id) else { return Decision::default() };
        let (id, value) = (id.clone(), entry.next.clone());
        let is_complete =
            |state| matches!(state, TransactionState::CompleteCommit | TransactionState::CompleteAbort);
        let Some(value) = value.filter(|next| is_complete(next.state)) else { return Decision::default() };
        let timeout_ms = value.timeout_ms.max(1);
        let record = TransactionRecord { id: id.clone(), value: Some(value) };
        let append = self.append(vec![record], timeout_ms, Completion::Complete { id });
        Decision { effects: Vec::new(), appends: vec![append] }
    }
}
