//! Appending batches, in Kafka's order: analyse, note the epoch, roll, check the producers, write, move the log end, update
//! the producers (`UnifiedLog.append`).

use ottla_record::{BatchHeader, BatchView, Batches, EndTxnMarker, RecordError, patch};
use ottla_types::{LeaderEpoch, NO_TIMESTAMP, Offset, TimestampMs};

use super::producer_checks::{AppendOrigin, CheckContext, ProducerVerdict, check};
use super::producer_state::{BatchKind, Marker, ProducerBatch, VerificationGuard};
use super::segment::BatchSpan;
use super::txn_index::AbortedTxn;
use super::{AppendError, Log, LogError};

/// How a leader appends.
#[derive(Clone, Copy, Debug)]
pub struct LeaderAppend {
    /// [`AppendOrigin::Client`] or [`AppendOrigin::Coordinator`].
    pub origin: AppendOrigin,
    /// Written into the batches.
    pub leader_epoch: LeaderEpoch,
    /// From [`Log::start_transaction_verification`], when the batch begins a transaction.
    pub guard: VerificationGuard,
    /// For markers: `transaction.version` of the transaction; 2 and above allow no epoch to be used twice.
    pub transaction_version: i16,
    /// The current time.
    pub now_ms: i64,
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record (of a repeated batch: its old one). Of legacy messages from a leader: of the last
    /// record of the first message.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp; of a repeated batch the one it was stored with.
    pub max_timestamp: TimestampMs,
    /// Log start offset at that time, for the response.
    pub log_start_offset: Offset,
    /// Whether the batch was already there, so that nothing was written.
    pub duplicate: bool,
    /// Bytes written.
    pub written_bytes: usize,
    /// Whether a new segment was begun; the old one should be flushed soon, in the background.
    pub rolled: bool,
}

/// The batches of one append.
struct Analysis {
    spans: Vec<BatchSpan>,
    /// Unknown for legacy messages.
    first_offset: Option<Offset>,
    /// Kafka's lenient start: the last offset of the first message when its first offset is unknown.
    first_or_last_of_first: Offset,
    last_offset: Offset,
    max_timestamp: TimestampMs,
    valid_bytes: usize,
}

impl Log {
    /// Appends batches of this leader at the log end: offsets and the leader epoch are written into `records`, all else
    /// stays.
    ///
    /// The caller has validated them (`ottla_record::validate::check` with [`super::LogConfig::rules`]: checksum, structure,
    /// timestamps, codec), which needs no lock; only what depends on the log is done here. Batches are of magic 2.
    ///
    /// # Errors
    /// The producer rules (nothing is written), [`AppendError::RecordListTooLarge`], or the disk.
    pub fn append_as_leader(
        &mut self,
        records: &mut [u8],
        append: LeaderAppend,
    ) -> Result<AppendInfo, AppendError> {
        self.check_writable()?;
        let mut analysis = analyze(records, false)?;
        if analysis.valid_bytes != records.len() || analysis.spans.is_empty() {
            return Err(AppendError::InvalidBatch("a leader appends whole batches"));
        }
        let mut next = self.log_end;
        let mut rest = &mut *records;
        for span in &mut analysis.spans {
            let (batch, after) = rest.split_at_mut(span.size as usize);
            if BatchHeader::parse(batch).is_ok_and(|header| header.magic() != 2) {
                return Err(AppendError::InvalidBatch("a leader appends batches of magic 2"));
            }
            let delta = span.last_offset.0.wrapping_sub(span.base_offset.0);
            if !(0..=i64::from(i32::MAX)).contains(&delta) {
                return Err(AppendError::InvalidBatch("the last offset is below the base offset"));
            }
            patch::set_base_offset(batch, next);
            patch::set_leader_epoch(batch, append.leader_epoch);
            span.base_offset = next;
            span.last_offset = next + delta;
            next = span.last_offset.next();
            rest = after;
        }
        analysis.first_offset = Some(self.log_end);
        analysis.first_or_last_of_first = self.log_end;
        analysis.last_offset = next - 1;
        let context = CheckContext {
            origin: append.origin,
            guard: append.guard,
            transaction_version: append.transaction_version,
            verification_enabled: self.config.transaction_verification,
        };
        self.append_batches(records, &analysis, context, append.now_ms)
    }

    /// Appends batches as they came from the leader: offsets and bytes unchanged, gaps allowed. An incomplete last batch is
    /// ignored, and so are all batches from the first one of an epoch above `leader_epoch` on, which a new leader sent to
    /// a follower of the old one. `last_offset` is below `first_offset` when nothing was left.
    ///
    /// # Errors
    /// Checksum, order, or an append below the log end; nothing is written then. Or the disk.
    pub fn append_as_follower(
        &mut self,
        records: &[u8],
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        self.append_as_is(records, AppendOrigin::Replication, leader_epoch, now_ms)
    }

    /// Appends batches of the quorum's leader, which come with offsets and its epoch.
    ///
    /// # Errors
    /// As [`Log::append_as_follower`], and [`AppendError::WrongLeaderEpoch`].
    pub fn append_as_raft_leader(
        &mut self,
        records: &[u8],
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        self.append_as_is(records, AppendOrigin::RaftLeader, leader_epoch, now_ms)
    }

    fn append_as_is(
        &mut self,
        records: &[u8],
        origin: AppendOrigin,
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        self.check_writable()?;
        let whole = match origin {
            AppendOrigin::RaftLeader => check_epochs(records, leader_epoch)?,
            _ => up_to_epoch(records, leader_epoch),
        };
        let analysis = analyze(whole, true)?;
        if analysis.valid_bytes == 0 {
            return Ok(self.nothing_appended());
        }
        if analysis.first_or_last_of_first < self.log_end {
            return Err(AppendError::UnexpectedOffset {
                first: analysis.first_or_last_of_first,
                last: analysis.last_offset,
                log_end: self.log_end,
            });
        }
        let context = CheckContext {
            origin,
            guard: VerificationGuard::default(),
            transaction_version: 0,
            verification_enabled: false,
        };
        let whole = whole.get(..analysis.valid_bytes).unwrap_or_default();
        self.append_batches(whole, &analysis, context, now_ms)
    }

    fn nothing_appended(&self) -> AppendInfo {
        AppendInfo {
            first_offset: self.log_end,
            last_offset: self.log_end - 1,
            max_timestamp: NO_TIMESTAMP,
            log_start_offset: self.log_start,
            duplicate: false,
            written_bytes: 0,
            rolled: false,
        }
    }

    fn append_batches(
        &mut self,
        records: &[u8],
        analysis: &Analysis,
        context: CheckContext,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        self.write(Self::verify_log_end)?;
        for batch in Batches::new(records).flatten() {
            if batch.magic() >= 2 {
                self.epochs.assign(batch.leader_epoch(), batch.base_offset());
            } else {
                // Messages without epochs make the known ones useless for finding divergence.
                self.epochs.clear();
            }
        }
        if records.len() > self.config.segment_bytes as usize {
            let limit = self.config.segment_bytes;
            return Err(AppendError::RecordListTooLarge { size: records.len(), limit });
        }
        let rolled = self.write(|log| log.maybe_roll(records.len(), analysis, now_ms))?;
        let batches = Batches::new(records).flatten().filter(|batch| batch.has_producer_id());
        let verdict = check(&self.producers, batches.map(|batch| producer_batch(&batch)), context)?;
        let (updates, completed) = match verdict {
            ProducerVerdict::Accept { updates, completed } => (updates, completed),
            ProducerVerdict::Duplicate(old) => {
                return Ok(AppendInfo {
                    first_offset: old.first_offset(),
                    last_offset: old.last_offset,
                    max_timestamp: old.timestamp,
                    log_start_offset: self.log_start,
                    duplicate: true,
                    written_bytes: 0,
                    rolled,
                });
            }
        };
        self.write(|log| {
            let (fs, interval) = (log.fs.clone(), log.config.index_interval_bytes);
            log.active_mut().append(fs.as_ref(), records, &analysis.spans, interval, now_ms)?;
            log.log_end = analysis.last_offset.next();
            for update in updates {
                log.producers.apply(update);
            }
            for txn in completed {
                if txn.aborted {
                    let last_stable_offset = log.producers.stable_offset_after(&txn);
                    let entry = AbortedTxn {
                        producer_id: txn.producer_id,
                        first_offset: txn.first_offset,
                        last_offset: txn.last_offset,
                        last_stable_offset,
                    };
                    if !log.active().has_txn_index {
                        log.dir_changes += 1;
                    }
                    log.active_mut().append_aborted(fs.as_ref(), entry)?;
                }
                log.producers.complete(&txn);
            }
            log.producers.map_end = log.log_end;
            Ok(())
        })?;
        Ok(AppendInfo {
            first_offset: analysis.first_or_last_of_first,
            last_offset: analysis.last_offset,
            max_timestamp: analysis.max_timestamp,
            log_start_offset: self.log_start,
            duplicate: false,
            written_bytes: records.len(),
            rolled,
        })
    }

    fn maybe_roll(&mut self, size: usize, analysis: &Analysis, now_ms: i64) -> Result<bool, LogError> {
        let (last, max) = (analysis.last_offset, analysis.max_timestamp);
        let fs = self.fs.clone();
        if !self.active().should_roll(fs.as_ref(), &self.config, size, max, last, now_ms)? {
            return Ok(false);
        }
        // Legacy messages do not tell their first offset; it is not further from the last than a segment is long.
        let first = analysis.first_offset.unwrap_or(Offset(last.0.saturating_sub(i64::from(i32::MAX))));
        self.roll_at(first, now_ms)?;
        Ok(true)
    }

    /// Before the first write to a log whose end is known only from the name of a producer snapshot: look.
    fn verify_log_end(&mut self) -> Result<(), LogError> {
        if self.log_end_unverified {
            let found = self.active().next_offset(self.fs.as_ref())?;
            // It may end earlier: truncation by Kafka can leave the log's end behind a gap.
            if found > self.log_end {
                let what =
                    format!("the log ends at {found}, but the last producer snapshot says {}", self.log_end);
                return Err(LogError::corrupt(&self.dir, what));
            }
            self.log_end_unverified = false;
        }
        Ok(())
    }
}

/// Headers of whole batches, with the rules that every origin shares; an incomplete tail is left out.
fn analyze(records: &[u8], verify: bool) -> Result<Analysis, AppendError> {
    let mut analysis = Analysis {
        spans: Vec::new(),
        first_offset: None,
        first_or_last_of_first: Offset::NONE,
        last_offset: Offset::NONE,
        max_timestamp: NO_TIMESTAMP,
        valid_bytes: 0,
    };
    let mut batches = Batches::new(records);
    loop {
        let position = batches.position();
        let Some(batch) = batches.next() else { break };
        let batch = batch.map_err(|error| corrupt(position, &error))?;
        if verify {
            batch.verify_crc().map_err(|error| corrupt(position, &error))?;
            if batch.last_offset() < batch.base_offset() || batch.base_offset() < Offset::ZERO {
                return Err(AppendError::CorruptBatch { position, what: "its offsets make no sense" });
            }
            if batch.last_offset() <= analysis.last_offset {
                let (previous, found) = (analysis.last_offset, batch.last_offset());
                return Err(AppendError::OffsetsOutOfOrder { previous, found });
            }
        }
        if analysis.spans.is_empty() {
            let known = batch.magic() >= 2;
            analysis.first_offset = known.then(|| batch.base_offset());
            analysis.first_or_last_of_first = if known { batch.base_offset() } else { batch.last_offset() };
        }
        analysis.last_offset = batch.last_offset();
        analysis.max_timestamp = analysis.max_timestamp.max(batch.max_timestamp());
        analysis.spans.push(BatchSpan {
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            max_timestamp: batch.max_timestamp(),
            size: u32::try_from(batch.size_in_bytes()).unwrap_or(u32::MAX),
        });
    }
    analysis.valid_bytes = batches.position();
    Ok(analysis)
}

fn corrupt(position: usize, error: &RecordError) -> AppendError {
    let what = match error {
        RecordError::CrcMismatch { .. } => "the checksum differs",
        RecordError::TooSmall { .. } => "it is smaller than its header",
        RecordError::UnknownMagic(_) => "its magic is unknown",
        _ => "it is no batch",
    };
    AppendError::CorruptBatch { position, what }
}

/// The bytes before the first batch of an epoch above `leader_epoch`.
fn up_to_epoch(records: &[u8], leader_epoch: LeaderEpoch) -> &[u8] {
    let mut batches = Batches::new(records);
    loop {
        let position = batches.position();
        match batches.next() {
            Some(Ok(batch)) if batch.leader_epoch() > leader_epoch => {
                return records.get(..position).unwrap_or_default();
            }
            Some(Ok(_)) => {}
            _ => return records,
        }
    }
}

fn check_epochs(records: &[u8], expected: LeaderEpoch) -> Result<&[u8], AppendError> {
    for batch in Batches::new(records).flatten() {
        let found = batch.leader_epoch();
        if found != expected {
            return Err(AppendError::WrongLeaderEpoch { found, expected });
        }
    }
    Ok(records)
}

/// What the producer rules see of a batch.
pub(crate) fn producer_batch(batch: &BatchView<'_>) -> ProducerBatch {
    let kind = if batch.attributes().is_control() { marker_of(batch) } else { BatchKind::Data };
    producer_batch_of(&batch.header(), kind)
}

/// The same from the header alone, for data batches and where the marker is known.
pub(crate) fn producer_batch_of(header: &BatchHeader<'_>, kind: BatchKind) -> ProducerBatch {
    ProducerBatch {
        producer_id: header.producer_id(),
        epoch: header.producer_epoch(),
        base_sequence: header.base_sequence(),
        last_sequence: header.last_sequence(),
        first_offset: header.base_offset(),
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp(),
        transactional: header.attributes().is_transactional(),
        kind,
    }
}

/// The marker in a control batch; compaction may have emptied it, and other control records say nothing of transactions.
fn marker_of(batch: &BatchView<'_>) -> BatchKind {
    let Ok(mut records) = batch.records() else { return BatchKind::EmptyControl };
    let Ok(Some(record)) = records.try_next() else { return BatchKind::EmptyControl };
    match EndTxnMarker::read(&record) {
        Ok(Some(marker)) => BatchKind::Marker(Marker {
            abort: !marker.committed,
            coordinator_epoch: marker.coordinator_epoch,
            timestamp: record.timestamp,
        }),
        _ => BatchKind::EmptyControl,
    }
}
