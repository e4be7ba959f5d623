//! What the cleaner knows of transactions while it walks up the log (`CleanedTransactionMetadata`): whose records were
//! aborted, and which markers have none of their transaction's records left before them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_record::{BatchView, RecordError, control_type};
use ottla_types::{ControlType, Offset, ProducerId};

use crate::log::AbortedTxn;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Not yet reached, by first offset.
    ahead: BTreeMap<(Offset, ProducerId), AbortedTxn>,
    /// Reached, with whether a batch of it was seen.
    aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    /// Producers that were seen in a transaction that is not aborted.
    committed: BTreeSet<ProducerId>,
    /// Aborted transactions whose marker stays; they belong in the cleaned segment's index.
    kept: Vec<AbortedTxn>,
}

impl Transactions {
    /// Adds the aborted transactions of the range that is walked next. They may be known already.
    pub(super) fn add_aborted(&mut self, transactions: Vec<AbortedTxn>) {
        for txn in transactions {
            self.ahead.insert((txn.first_offset, txn.producer_id), txn);
        }
    }

    /// Takes the next batch in; whether it may go: records that were aborted, and markers of transactions of which
    /// nothing is left.
    pub(super) fn read(&mut self, batch: &BatchView<'_>) -> Result<bool, RecordError> {
        self.reach(batch.last_offset());
        if batch.attributes().is_control() {
            return self.read_control(batch);
        }
        if !batch.attributes().is_transactional() {
            return Ok(false);
        }
        if let Some((_, seen)) = self.aborted.get_mut(&batch.producer_id()) {
            *seen = true;
            return Ok(true);
        }
        self.committed.insert(batch.producer_id());
        Ok(false)
    }

    fn read_control(&mut self, batch: &BatchView<'_>) -> Result<bool, RecordError> {
        let mut records = batch.records()?;
        // An empty control batch was cleaned before.
        let Some(record) = records.try_next()? else { return Ok(true) };
        match control_type(&record)? {
            Some(ControlType::Abort) => match self.aborted.remove(&batch.producer_id()) {
                Some((txn, true)) => {
                    self.kept.push(txn);
                    Ok(false)
                }
                _ => Ok(true),
            },
            Some(ControlType::Commit) => Ok(!self.committed.remove(&batch.producer_id())),
            _ => Ok(false),
        }
    }

    /// Transactions whose markers were kept since the last call.
    pub(super) fn take_kept(&mut self) -> Vec<AbortedTxn> {
        std::mem::take(&mut self.kept)
    }

    fn reach(&mut self, offset: Offset) {
        while let Some(entry) = self.ahead.first_entry() {
            if entry.key().0 > offset {
                return;
            }
            let txn = entry.remove();
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }
}
