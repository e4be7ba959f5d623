//! Which batches and records survive a cleaning (`Cleaner.cleanInto`, `MemoryRecords.filterTo`).

use std::collections::BTreeMap;

use ottla_record::{BatchBuilder, BatchView, Limits, RecordError, RecordView, TimestampType};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence};

use super::offset_map::OffsetMap;
use super::transactions::Transactions;

/// What the state of an active producer hangs on: the batch that must stay, be it empty.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct LastRecord {
    /// Offset of its last data; without one its last marker counts.
    pub(in crate::log) last_data: Option<Offset>,
    pub(in crate::log) epoch: ProducerEpoch,
    /// Its last batch that cannot be lost any more, if newer ones still can: should a crash take those, its state hangs on this.
    pub(in crate::log) stable: Option<StableBatch>,
}

/// How the batch is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum StableBatch {
    /// By its last offset.
    EndsAt(Offset),
    /// The producer state remembers only newer ones: by its last sequence.
    Sequence(Sequence),
}

/// The last records of the producers that are active.
pub(in crate::log) type LastRecords = BTreeMap<ProducerId, LastRecord>;

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It goes.
    Nothing,
    /// It stays as it is.
    Original,
    /// This takes its place.
    Rewritten(Vec<u8>),
}

/// How much was read and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) read: u64,
    pub(super) kept: u64,
    /// Records without a key, which a compacted log should not have.
    pub(super) keyless: u64,
}

/// The rules for one segment.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) last_records: &'a LastRecords,
    /// A batch that ends here stays, be it empty, so that the end of the log is not lost with it.
    pub(super) high_watermark: Offset,
    /// Whether tombstones of magic 0 and 1, which have no delete horizon, stay.
    pub(super) retain_legacy_deletes: bool,
    pub(super) delete_retention_ms: i64,
    pub(super) now_ms: i64,
    pub(super) limits: Limits,
}

impl Filter<'_> {
    /// Decides about the next batch.
    pub(super) fn apply(
        &self,
        batch: &BatchView<'_>,
        transactions: &mut Transactions,
        counts: &mut Counts,
    ) -> Result<Kept, RecordError> {
        let may_go = transactions.read(batch)?;
        let is_control = batch.attributes().is_control();
        let horizon_passed = batch.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now_ms);
        // A marker that may go stays for the delete horizon, as a tombstone does.
        let drop_records = may_go && (!is_control || horizon_passed);
        let retain_empty = self.is_last_of_producer(batch) || batch.next_offset() == self.high_watermark;
        if drop_records {
            if !retain_empty {
                return Ok(Kept::Nothing);
            }
            counts.read += u64::try_from(batch.record_count()).unwrap_or(0);
            return empty(batch).map(Kept::Rewritten);
        }
        let survey = self.survey(batch, counts)?;
        if survey.kept == 0 {
            return if retain_empty { empty(batch).map(Kept::Rewritten) } else { Ok(Kept::Nothing) };
        }
        let has_horizon = batch.delete_horizon_ms().is_some();
        let needs_horizon = (survey.has_tombstone || (may_go && is_control)) && !has_horizon;
        // Since 4.0 Kafka writes nothing but magic 2, so that the old formats go with each cleaning.
        if survey.kept == survey.read && batch.magic() >= 2 && !needs_horizon {
            return Ok(Kept::Original);
        }
        let new_horizon = needs_horizon.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        self.rewrite(batch, new_horizon.or(batch.delete_horizon_ms())).map(Kept::Rewritten)
    }

    fn is_last_of_producer(&self, batch: &BatchView<'_>) -> bool {
        let Some(last) = self.last_records.get(&batch.producer_id()) else { return false };
        let is_stable = match last.stable {
            Some(StableBatch::EndsAt(offset)) => batch.last_offset() == offset,
            Some(StableBatch::Sequence(sequence)) => {
                batch.producer_epoch() == last.epoch
                    && batch.last_sequence() == sequence
                    && !batch.attributes().is_control()
            }
            None => false,
        };
        batch.has_producer_id()
            && match last.last_data {
                _ if is_stable => true,
                Some(offset) => batch.last_offset() == offset,
                None => batch.attributes().is_control() && batch.producer_epoch() == last.epoch,
            }
    }

    fn survey(&self, batch: &BatchView<'_>, counts: &mut Counts) -> Result<Survey, RecordError> {
        let mut survey = Survey::default();
        let mut records = batch.records_within(self.limits)?;
        while let Some(record) = records.try_next()? {
            survey.read += 1;
            if self.retains(batch, &record) {
                survey.kept += 1;
                survey.has_tombstone |= record.value.is_none();
            } else if record.key.is_none() {
                counts.keyless += 1;
            }
        }
        counts.read += survey.read;
        counts.kept += survey.kept;
        Ok(survey)
    }

    /// Whether a record stays: it is the newest of its key, and if it is a tombstone, its time has not come.
    fn retains(&self, batch: &BatchView<'_>, record: &RecordView<'_>) -> bool {
        if batch.attributes().is_control() || record.offset > self.map.latest() {
            return true;
        }
        let Some(key) = record.key else { return false };
        if self.map.get(key).is_some_and(|newest| record.offset < newest) {
            return false;
        }
        let retain_delete = match batch.magic() {
            0 | 1 => self.retain_legacy_deletes,
            _ => batch.delete_horizon_ms().is_none_or(|horizon| self.now_ms < horizon),
        };
        record.value.is_some() || retain_delete
    }

    /// The batch with only what stays; offsets, sequences and the last offset are as before. A batch of magic 0 or 1 does not
    /// know its first offset, and becomes one that begins and ends with what stays.
    fn rewrite(&self, batch: &BatchView<'_>, horizon: Option<i64>) -> Result<Vec<u8>, RecordError> {
        let codec = batch.attributes().compression()?;
        let begin = |base_offset| {
            let builder = header_of(batch, base_offset).codec(codec);
            match horizon {
                Some(horizon) => builder.delete_horizon_ms(horizon),
                None => builder,
            }
        };
        let is_legacy = batch.magic() < 2;
        let mut builder = (!is_legacy).then(|| begin(batch.base_offset()));
        let mut records = batch.records_within(self.limits)?;
        while let Some(record) = records.try_next()? {
            if self.retains(batch, &record) {
                builder.get_or_insert_with(|| begin(record.offset)).append_view(&record)?;
            }
        }
        let mut builder = builder.ok_or(RecordError::Unbuildable("nothing is left of the batch"))?;
        if !is_legacy {
            builder.set_last_offset(batch.last_offset())?;
        }
        builder.build()
    }
}

#[derive(Debug, Default)]
struct Survey {
    read: u64,
    kept: u64,
    has_tombstone: bool,
}

/// A builder with all of a batch's header that survives a rewriting.
fn header_of(batch: &BatchView<'_>, base_offset: Offset) -> BatchBuilder {
    let attributes = batch.attributes();
    let builder = BatchBuilder::new()
        .base_offset(base_offset)
        .leader_epoch(batch.leader_epoch())
        .producer(batch.producer_id(), batch.producer_epoch(), batch.base_sequence())
        .transactional(attributes.is_transactional())
        .control(attributes.is_control());
    match batch.timestamp_type() {
        TimestampType::LogAppendTime => builder.log_append_time(batch.max_timestamp()),
        TimestampType::CreateTime => builder,
    }
}

/// The batch without records.
fn empty(batch: &BatchView<'_>) -> Result<Vec<u8>, RecordError> {
    header_of(batch, batch.base_offset()).build_empty(batch.last_offset(), batch.max_timestamp())
}
