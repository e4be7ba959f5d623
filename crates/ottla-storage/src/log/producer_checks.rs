//! Which batches of a producer a leader accepts (`ProducerAppendInfo`, `UnifiedLog.analyzeAndValidateProducerState`).

use ottla_types::{ProducerEpoch, ProducerId, Sequence};

use super::error::AppendError;
use super::producer_state::{
    BatchKind, BatchMetadata, CompletedTxn, Marker, ProducerBatch, ProducerState, ProducerUpdate,
    VerificationGuard,
};

/// Who appends, which decides how much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer, through Produce: everything is checked.
    Client,
    /// A coordinator of this broker, or a transaction marker: epochs and transactions, no sequences.
    Coordinator,
    /// The quorum's leader: offsets and epochs come with the batches.
    RaftLeader,
    /// A leader elsewhere, which has checked already.
    Replication,
}

/// The part of an append that the producer rules depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckContext {
    pub(crate) origin: AppendOrigin,
    pub(crate) guard: VerificationGuard,
    /// Of the transaction whose marker is appended; 2 and above have the strict epoch rule.
    pub(crate) transaction_version: i16,
    /// `transaction.partition.verification.enable`.
    pub(crate) verification_enabled: bool,
}

/// What an append does to the producers, or the batch it repeats.
#[derive(Debug)]
pub(crate) enum ProducerVerdict {
    Accept { updates: Vec<ProducerUpdate>, completed: Vec<CompletedTxn> },
    Duplicate(BatchMetadata),
}

/// Checks the batches of one append, in order.
pub(crate) fn check(
    state: &ProducerState,
    batches: impl Iterator<Item = ProducerBatch>,
    context: CheckContext,
) -> Result<ProducerVerdict, AppendError> {
    let mut updates: Vec<ProducerUpdate> = Vec::new();
    let mut completed = Vec::new();
    for batch in batches {
        if context.origin == AppendOrigin::Client
            && let Some(duplicate) = state.duplicate(&batch)
        {
            return Ok(ProducerVerdict::Duplicate(duplicate));
        }
        if matches!(context.origin, AppendOrigin::Client | AppendOrigin::Coordinator) {
            check_verified(state, &batch, context)?;
        }
        let at = match updates.iter().position(|update| update.producer_id == batch.producer_id) {
            Some(at) => at,
            None => {
                updates.push(state.prepare(batch.producer_id));
                updates.len() - 1
            }
        };
        let update = &mut updates[at];
        match batch.kind {
            BatchKind::Data => check_data(state, update, &batch, context.origin)?,
            BatchKind::Marker(marker) => check_marker(update, &batch, marker, context)?,
            BatchKind::EmptyControl => {}
        }
        // Under transaction version 2 the next transaction may be in verification when the marker of the last arrives.
        let keep_verification = batch.kind != BatchKind::Data
            && state
                .verification(batch.producer_id)
                .is_some_and(|entry| entry.supports_epoch_bump && entry.epoch == batch.epoch);
        completed.extend(update.add(&batch, keep_verification));
    }
    Ok(ProducerVerdict::Accept { updates, completed })
}

/// A transaction's first batch must have been verified with the coordinator.
fn check_verified(
    state: &ProducerState,
    batch: &ProducerBatch,
    context: CheckContext,
) -> Result<(), AppendError> {
    if !batch.transactional || state.has_ongoing_transaction(batch.producer_id, batch.epoch) {
        return Ok(());
    }
    if let Some(entry) = state.entry(batch.producer_id)
        && batch.epoch < entry.epoch
    {
        return Err(invalid_epoch(batch.producer_id, batch.epoch, entry.epoch));
    }
    let verified = state
        .verification(batch.producer_id)
        .is_some_and(|entry| entry.guard == context.guard.0 && context.guard != VerificationGuard::default());
    if context.verification_enabled && batch.kind == BatchKind::Data && !verified {
        let what = "the batch is not part of an ongoing, verified transaction";
        return Err(AppendError::InvalidTxnState { producer_id: batch.producer_id, what });
    }
    Ok(())
}

fn check_data(
    state: &ProducerState,
    update: &ProducerUpdate,
    batch: &ProducerBatch,
    origin: AppendOrigin,
) -> Result<(), AppendError> {
    if origin == AppendOrigin::Replication {
        return Ok(());
    }
    if batch.epoch < update.entry.epoch {
        return Err(invalid_epoch(batch.producer_id, batch.epoch, update.entry.epoch));
    }
    if origin == AppendOrigin::Client {
        check_sequence(state, update, batch)?;
    }
    if update.entry.txn_first_offset.is_some() && !batch.transactional {
        let what = "a batch outside of the open transaction";
        return Err(AppendError::InvalidTxnState { producer_id: batch.producer_id, what });
    }
    Ok(())
}

fn check_sequence(
    state: &ProducerState,
    update: &ProducerUpdate,
    batch: &ProducerBatch,
) -> Result<(), AppendError> {
    let producer_id = batch.producer_id;
    let found = batch.base_sequence;
    let refused = |expected| Err(AppendError::OutOfOrderSequence { producer_id, found, expected });
    let current = state.entry(producer_id);
    if let Some(verification) = state.verification(producer_id) {
        let nothing_known = current.is_none_or(|entry| entry.batches.is_empty());
        if verification.supports_epoch_bump && found != Sequence(0) && nothing_known {
            return refused(Sequence(0));
        }
        if found > verification.lowest_sequence {
            return refused(verification.lowest_sequence);
        }
    }
    if batch.epoch != update.entry.epoch {
        let first_of_epoch = found == Sequence(0) || update.entry.epoch == ProducerEpoch::NONE;
        return if first_of_epoch { Ok(()) } else { refused(Sequence(0)) };
    }
    let last = if !update.entry.batches.is_empty() {
        update.entry.last_sequence()
    } else {
        current
            .filter(|entry| entry.epoch == batch.epoch)
            .map_or(Sequence::NONE, |entry| entry.last_sequence())
    };
    // A producer whose records are all gone (retention, DeleteRecords) may go on with any sequence.
    let unknown = current.is_none_or(|entry| entry.epoch == ProducerEpoch::NONE);
    if unknown || found == last.plus(1) { Ok(()) } else { refused(last.plus(1)) }
}

fn check_marker(
    update: &ProducerUpdate,
    batch: &ProducerBatch,
    marker: Marker,
    context: CheckContext,
) -> Result<(), AppendError> {
    if context.origin == AppendOrigin::Replication {
        return Ok(());
    }
    let current = update.entry.epoch;
    let strict = context.transaction_version >= 2;
    let stale = if strict { batch.epoch <= current } else { batch.epoch < current };
    // The same marker again, after a lost response or a coordinator's reload, is written again (KAFKA-19999); the last
    // possible epoch has no successor that could close a transaction begun with it.
    let again = strict
        && batch.epoch == current
        && (update.entry.txn_first_offset.is_none() || batch.epoch == ProducerEpoch(i16::MAX));
    if stale && !again {
        return Err(invalid_epoch(batch.producer_id, batch.epoch, current));
    }
    if update.entry.coordinator_epoch > marker.coordinator_epoch {
        return Err(AppendError::CoordinatorFenced {
            producer_id: batch.producer_id,
            found: marker.coordinator_epoch,
            current: update.entry.coordinator_epoch,
        });
    }
    Ok(())
}

fn invalid_epoch(producer_id: ProducerId, found: ProducerEpoch, current: ProducerEpoch) -> AppendError {
    AppendError::InvalidProducerEpoch { producer_id, found, current }
}
