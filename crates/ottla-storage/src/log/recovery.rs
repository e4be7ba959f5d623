//! Reading segments again: rebuilding indexes, epochs and producers from the batches, cutting what is no batch
//! (`LogSegment.recover`, `UnifiedLog.rebuildProducerState`).

use std::collections::BTreeSet;

use ottla_record::BatchView;
use ottla_types::Offset;

use super::append::{producer_batch, producer_batch_of};
use super::load::{LoadEvent, LoadReport, LogOpen};
use super::producer_state::{BatchKind, CompletedTxn, ProducerBatch};
use super::scan::{BatchScan, HeaderScan, ScanError, read_batch};
use super::segment::{BatchSpan, Segment};
use super::txn_index::AbortedTxn;
use super::{Log, LogError};

/// What reading a segment found.
struct Recovered {
    valid_bytes: u32,
    /// The offset after the last good batch.
    next_offset: Offset,
    /// Why the rest is cut.
    reason: Option<String>,
}

impl Log {
    /// Reads the damaged segments, and after an unclean stop all from the one that holds the recovery point on. The first
    /// that must be cut ends the log, and so does a hole between two of them.
    pub(super) fn recover(
        &mut self,
        damaged: &BTreeSet<Offset>,
        open: &LogOpen,
        report: &mut LoadReport,
    ) -> Result<(), LogError> {
        let unflushed = match open.clean_shutdown {
            true => self.segments.len(),
            false => self.floor_segment(open.recovery_point).unwrap_or(0),
        };
        self.begin_rebuilds(damaged, unflushed)?;
        let mut at = 0;
        while let Some(segment) = self.segments.get(at) {
            let is_last = at + 1 == self.segments.len();
            if damaged.contains(&segment.base)
                || (at >= unflushed && !(is_last && self.ends_at_recovery_point(at, open)))
            {
                self.recover_segment(at, at >= unflushed, open, report)?;
            }
            at += 1;
        }
        self.finish_rebuilds()
    }

    /// The next start looks into segments above the recovery point, but into those below only if an index is missing: one
    /// that has its name must be whole.
    fn begin_rebuilds(&mut self, damaged: &BTreeSet<Offset>, unflushed: usize) -> Result<(), LogError> {
        let fs = self.fs.clone();
        let mut any = false;
        for segment in self.segments.iter_mut().take(unflushed) {
            if damaged.contains(&segment.base) {
                segment.begin_rebuild(fs.as_ref())?;
                any = true;
            }
        }
        if any { self.sync_dir() } else { Ok(()) }
    }

    /// The indexes that were rebuilt are durable.
    fn finish_rebuilds(&mut self) -> Result<(), LogError> {
        if !self.segments.iter().any(Segment::is_rebuilding) {
            return Ok(());
        }
        let fs = self.fs.clone();
        // The name of the offset index says that the others are there.
        self.sync_dir()?;
        for segment in &mut self.segments {
            segment.finish_rebuild(fs.as_ref())?;
        }
        self.dir_changes += 1;
        Ok(())
    }

    /// Whether nothing lies above the recovery point, so that the last segment is as a clean stop has left it: an idle log is
    /// not read in a start after a crash. The producer snapshot at that offset is the witness; any doubt is a no.
    fn ends_at_recovery_point(&self, at: usize, open: &LogOpen) -> bool {
        let segment = &self.segments[at];
        if segment.has_txn_index {
            // It may tell of an abort above the recovery point that never reached the log.
            return false;
        }
        let witness = segment.size == 0 || self.producers.snapshots.contains(&open.recovery_point);
        witness && segment.ends_at(self.fs.as_ref(), open.recovery_point).unwrap_or(false)
    }

    /// Reads one segment. If it is among the unflushed ones and its end is bad or missing, the segments after it go.
    fn recover_segment(
        &mut self,
        at: usize,
        unflushed: bool,
        open: &LogOpen,
        report: &mut LoadReport,
    ) -> Result<(), LogError> {
        let base = self.segments[at].base;
        let fs = self.fs.clone();
        if open.recovery_point > base && self.producers.snapshots.contains(&open.recovery_point) {
            // From here on it is no witness that the indexes are whole.
            self.remove_snapshot(open.recovery_point)?;
            self.sync_dir()?;
        }
        let mut corrupt = Vec::new();
        self.rebuild_producers(open.log_start_offset, base, false, open.now_ms, &mut corrupt)?;
        report.events.extend(corrupt.into_iter().map(|offset| LoadEvent::CorruptSnapshot { offset }));
        if unflushed {
            self.segments[at].forget_cached(fs.as_ref())?;
        }
        self.segments[at].reset_indexes(fs.as_ref())?;
        let found = self.read_segment(at)?;
        let removed_bytes = u64::from(self.segments[at].size - found.valid_bytes);
        // Only compaction leaves gaps. Elsewhere one means that the end of this segment never reached the disk, while the
        // next segment did.
        let hole = !self.config.cleanup_policy.compact
            && self.segments.get(at + 1).is_some_and(|next| next.base > found.next_offset);
        if unflushed && (removed_bytes > 0 || hole) && at + 1 < self.segments.len() {
            let bases = self.segments.iter().skip(at + 1).map(|segment| segment.base).collect();
            report.events.push(LoadEvent::RemovedSegments { bases });
            // Before the cut and durably: otherwise a second crash would leave a segment without fault before a hole.
            self.remove_segments_from(at + 1, open.now_ms, true)?;
        }
        let segment = &mut self.segments[at];
        if removed_bytes > 0 {
            segment.cut_log(fs.as_ref(), found.valid_bytes)?;
            // Before anything is appended, behind which what was cut might come back.
            segment.sync_log(fs.as_ref())?;
            let reason = found.reason.unwrap_or_else(|| "unreadable".to_owned());
            report.events.push(LoadEvent::CutTail { base, removed_bytes, reason });
        } else if unflushed {
            // The length may be that of a cut whose sync failed, and no later sync would know of it.
            segment.cut_log(fs.as_ref(), found.valid_bytes)?;
        }
        segment.seal(fs.as_ref())?;
        segment.changes += 1;
        if !unflushed || found.next_offset <= open.recovery_point {
            // The next segment may begin at the recovery point, and then this one is not looked at again.
            segment.sync_log(fs.as_ref())?;
            for file in segment.index_files(fs.as_ref())? {
                file.sync_data().map_err(LogError::io("sync", &self.dir))?;
            }
            segment.indexes_unsynced = false;
        }
        report.events.push(LoadEvent::RecoveredSegment { base, size_bytes: u64::from(found.valid_bytes) });
        segment.drop_handles(fs.as_ref())?;
        self.take_snapshot()
    }

    fn read_segment(&mut self, at: usize) -> Result<Recovered, LogError> {
        let fs = self.fs.clone();
        let segment = &self.segments[at];
        let (file, size, mut next) = (segment.log_file(fs.as_ref())?, segment.size, segment.base);
        let interval = u64::from(self.config.index_interval_bytes);
        let mut scan = BatchScan::new(file.as_ref(), 0, u64::from(size));
        let mut last_entry = 0;
        let (mut valid, mut reason) = (0, None);
        loop {
            let (position, batch) = match scan.next() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error @ ScanError::Io(_)) => return Err(self.segments[at].scan_error(error)),
                Err(error @ ScanError::Corrupt { .. }) => {
                    reason = Some(error.to_string());
                    break;
                }
            };
            if let Err(what) = self.check_recovered(at, &batch, next) {
                reason = Some(format!("at byte {position}: {what}"));
                break;
            }
            let due = position - last_entry > interval;
            let span = BatchSpan {
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset(),
                max_timestamp: batch.max_timestamp(),
                size: u32::try_from(batch.size_in_bytes()).expect("within the segment"),
            };
            let start = u32::try_from(position).expect("within the segment");
            if !self.segments[at].index_recovered(fs.as_ref(), &span, start, due)? {
                reason = Some(format!("at byte {position}: its offset does not grow"));
                break;
            }
            if due {
                last_entry = position;
            }
            next = batch.next_offset();
            if batch.magic() >= 2 {
                self.epochs.confirm(batch.leader_epoch(), batch.base_offset(), batch.last_offset());
                if batch.has_producer_id() {
                    self.replay(at, &producer_batch(&batch), true)?;
                }
                self.producers.map_end = next;
            }
            valid = scan.position();
        }
        let valid_bytes = u32::try_from(valid).expect("within the segment");
        Ok(Recovered { valid_bytes, next_offset: next, reason })
    }

    /// The offset is not covered by the checksum, so it is looked at as well.
    fn check_recovered(&self, at: usize, batch: &BatchView<'_>, next: Offset) -> Result<(), String> {
        batch.verify_crc().map_err(|error| error.to_string())?;
        let first = if batch.magic() >= 2 { batch.base_offset() } else { batch.last_offset() };
        if first < next {
            return Err(format!("offset {first} where {next} or more was due"));
        }
        if batch.last_offset() < first || !self.segments[at].can_hold(batch.last_offset()) {
            return Err(format!("last offset {} does not fit the segment", batch.last_offset()));
        }
        Ok(())
    }

    /// Takes a batch that is on disk into the producer state, and into the transaction index if that is being rebuilt.
    fn replay(&mut self, at: usize, batch: &ProducerBatch, index: bool) -> Result<(), LogError> {
        let mut update = self.producers.prepare(batch.producer_id);
        let completed = update.add(batch, false);
        self.producers.apply(update);
        if let Some(txn) = completed {
            if txn.aborted && index {
                self.index_aborted(at, &txn)?;
            }
            self.producers.complete(&txn);
        }
        Ok(())
    }

    /// Adds a transaction to the index of the segment that holds its marker.
    pub(super) fn index_aborted(&mut self, at: usize, txn: &CompletedTxn) -> Result<(), LogError> {
        let entry = AbortedTxn {
            producer_id: txn.producer_id,
            first_offset: txn.first_offset,
            last_offset: txn.last_offset,
            last_stable_offset: self.producers.stable_offset_after(txn),
        };
        let fs = self.fs.clone();
        if !self.segments[at].has_txn_index {
            self.dir_changes += 1;
        }
        self.segments[at].append_aborted(fs.as_ref(), entry)
    }

    /// Brings the producer state to `end`: from where it is if it has just got there, else from the newest usable snapshot
    /// and the batches after it.
    pub(super) fn rebuild_producers(
        &mut self,
        log_start: Offset,
        end: Offset,
        clean: bool,
        now_ms: i64,
        corrupt: &mut Vec<Offset>,
    ) -> Result<(), LogError> {
        let bases = self.segments.partition_point(|segment| segment.base < end);
        let mut snapshot_at: Vec<Offset> =
            self.segments[bases.saturating_sub(2)..bases].iter().map(|segment| segment.base).collect();
        snapshot_at.push(end);
        if self.producers.snapshots.is_empty() && clean {
            // Kafka's rule for logs from before there were snapshots: no producers are known.
            for offset in snapshot_at {
                self.producers.map_end = offset;
                self.take_snapshot()?;
            }
            return Ok(());
        }
        let nothing_known = self.producers.is_empty() && self.producers.map_end >= end;
        let unusable: Vec<Offset> =
            self.producers.snapshots.iter().filter(|at| **at > end || **at <= log_start).copied().collect();
        for offset in unusable {
            self.remove_snapshot(offset)?;
        }
        if end == self.producers.map_end {
            self.producers.log_start_moved(log_start);
        } else {
            self.producers.clear_for_reload(end);
            self.load_newest_snapshot(log_start, now_ms, corrupt)?;
        }
        if end > self.producers.map_end && !nothing_known {
            self.replay_range(log_start, end, &snapshot_at)?;
        }
        self.producers.map_end = end;
        self.take_snapshot()
    }

    /// Takes the batches from the producer state's end up to `end` into it.
    fn replay_range(
        &mut self,
        log_start: Offset,
        end: Offset,
        snapshot_at: &[Offset],
    ) -> Result<(), LogError> {
        let from = self.floor_segment(self.producers.map_end).unwrap_or(0);
        let fs = self.fs.clone();
        for at in from..self.segments.len() {
            let segment = &self.segments[at];
            if segment.base >= end {
                break;
            }
            let base = segment.base;
            let start = base.max(self.producers.map_end).max(log_start);
            self.producers.map_end = start;
            if snapshot_at.contains(&base) {
                self.take_snapshot()?;
            }
            let segment = &self.segments[at];
            let Some(first) = segment.locate(fs.as_ref(), start)? else { continue };
            let is_last = self.segments.get(at + 1).is_none_or(|next| next.base > end);
            let stop = if is_last { segment.locate(fs.as_ref(), end)? } else { None };
            let stop = stop.map_or(segment.size, |batch| batch.position);
            let file = segment.log_file(fs.as_ref())?;
            let mut scan = HeaderScan::new(file.as_ref(), u64::from(first.position), u64::from(stop));
            loop {
                let found = scan.next().map_err(|error| self.segments[at].scan_error(error))?;
                let Some((position, header)) = found else { break };
                if !header.has_producer_id() {
                    continue;
                }
                let batch = if header.attributes().is_control() {
                    let bytes = read_batch(file.as_ref(), position, header.size_in_bytes())
                        .map_err(|source| self.segments[at].scan_error(ScanError::Io(source)))?;
                    let Ok((batch, _)) = BatchView::parse(&bytes) else { continue };
                    producer_batch(&batch)
                } else {
                    producer_batch_of(&header, BatchKind::Data)
                };
                self.replay(at, &batch, false)?;
            }
        }
        Ok(())
    }

    /// Removes snapshots that belong to no segment, except the newest if it lies above all of them.
    pub(super) fn remove_stray_snapshots(&mut self) -> Result<(), LogError> {
        let bases: BTreeSet<Offset> = self.segment_base_offsets().collect();
        let mut strays: Vec<Offset> = self.producers.snapshots.difference(&bases).copied().collect();
        if strays.last() > bases.last() {
            strays.pop();
        }
        for offset in strays {
            self.remove_snapshot(offset)?;
        }
        Ok(())
    }
}
