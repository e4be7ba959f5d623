//! Cutting the end of a log: a follower that diverged, or one that must start over (`UnifiedLog.truncateTo`).

use std::sync::atomic::Ordering;

use ottla_types::Offset;

use super::journal::Covered;
use super::{Log, LogError};

impl Log {
    /// Drops every batch that has a record at or above `target`; the log then ends after the last batch that is left,
    /// which is `target` unless that lies inside of a batch or a gap. Returns whether the log became shorter; then the recovery point may have moved down, and its
    /// checkpoint should be written at once.
    ///
    /// Where the directory has a journal, [`Log::begin_cut`] comes first.
    ///
    /// Unlike Kafka's, a cut is durable when this returns, which costs a few syncs: otherwise a crash could bring a part of the
    /// old end back, behind a hole or behind new records.
    ///
    /// # Errors
    /// The disk; the log is poisoned then.
    pub fn truncate_to(&mut self, target: Offset, now_ms: i64) -> Result<bool, LogError> {
        self.check_writable()?;
        let target = target.max(Offset::ZERO);
        if target >= self.log_end {
            // The log may hold the epoch of a leadership that ended before it wrote anything.
            self.epochs.truncate_from_end(self.log_end);
            return Ok(false);
        }
        if self.segments.first().is_some_and(|first| first.base > target) {
            self.truncate_fully_and_start_at(target, None, now_ms)?;
            return Ok(true);
        }
        self.write(|log| {
            log.abandon_swap()?;
            let keep = log.segments.partition_point(|segment| segment.base <= target);
            log.remove_segments_from(keep, now_ms, true)?;
            let fs = log.fs.clone();
            log.active_mut().truncate_to(fs.as_ref(), target, now_ms)?;
            log.sync_active(fs.as_ref())?;
            // Kafka lets the log go on at the target, and forgets that when it is opened again.
            let end = log.active().next_offset(fs.as_ref())?;
            log.cut(end);
            log.epochs.truncate_from_end(end);
            log.sync_cut_epochs()?;
            log.log_start = log.log_start.min(end);
            let (start, end) = (log.log_start, log.log_end);
            log.rebuild_producers(start, end, false, now_ms, &mut Vec::new())?;
            log.set_high_watermark(log.high_watermark);
            Ok(())
        })?;
        Ok(true)
    }

    /// Drops everything and starts over, empty, at `offset`; the log start becomes `log_start` (tiered storage: the records
    /// below `offset` are elsewhere) or `offset`.
    ///
    /// # Errors
    /// The disk; the log is poisoned then.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        log_start: Option<Offset>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        self.write(|log| {
            log.abandon_swap()?;
            log.remove_segments_from(0, now_ms, false)?;
            log.sync_dir()?;
            log.push_segment(offset, now_ms)?;
            log.epochs.clear();
            log.sync_cut_epochs()?;
            log.reset_producers(offset)?;
            log.cut(offset);
            log.log_start = log_start.unwrap_or(offset);
            let (start, end) = (log.log_start, log.log_end);
            log.rebuild_producers(start, end, false, now_ms, &mut Vec::new())?;
            log.high_watermark = log.log_end;
            Ok(())
        })
    }

    fn cut(&mut self, end: Offset) {
        self.log_end = end;
        // Also if the rest of the truncation fails: a log that takes no writes any more is read on.
        self.high_watermark = self.high_watermark.min(end);
        self.durable = self.durable.min(end);
        self.journaled = self.journaled.min(end);
        self.journal_begun = self.journal_begun.min(end);
        self.covered = Covered { base: Offset(-1), size: 0 };
        self.cuts += 1;
        self.voided.fetch_add(1, Ordering::Release);
        self.log_end_unverified = false;
    }

    /// Removes the segments from index `at` on, their files `.deleted` and queued: the last first, and if `durably` with a
    /// sync after each, so that a crash leaves no hole.
    pub(super) fn remove_segments_from(
        &mut self,
        at: usize,
        now_ms: i64,
        durably: bool,
    ) -> Result<(), LogError> {
        while self.segments.len() > at {
            let Some(segment) = self.segments.pop() else { break };
            self.discard_files(segment.paths(), now_ms)?;
            self.discard_snapshot(segment.base, now_ms)?;
            if durably {
                self.sync_dir()?;
            }
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self) -> Result<(), LogError> {
        self.fs.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))?;
        self.dir_synced = self.dir_changes;
        Ok(())
    }

    /// Forgets all producers and removes all snapshots.
    pub(super) fn reset_producers(&mut self, end: Offset) -> Result<(), LogError> {
        self.producers.clear();
        while let Some(&offset) = self.producers.snapshots.last() {
            self.remove_snapshot(offset)?;
        }
        self.producers.last_snapshot = Offset::ZERO;
        self.producers.map_end = end;
        Ok(())
    }
}
