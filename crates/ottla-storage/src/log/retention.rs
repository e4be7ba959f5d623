//! Removing the old end of a log: DeleteRecords, retention, and the files themselves (`UnifiedLog.deleteOldSegments`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use ottla_types::Offset;

use super::{Log, LogError, ReadError};
use crate::fs::remove_file_if_exists;

/// Why a segment was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// All its records are below the log start.
    LogStart,
    /// `retention.bytes`.
    Size,
    /// `retention.ms`.
    Time,
}

/// A segment that retention has removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedSegment {
    /// Its base offset.
    pub base: Offset,
    /// Bytes of its batches.
    pub size_bytes: u64,
    /// The rule.
    pub reason: RemovalReason,
}

/// What a retention run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionOutcome {
    /// The segments removed, oldest first.
    pub removed: Vec<RemovedSegment>,
    /// Whether the run stopped at its limit, so that another should follow.
    pub more: bool,
}

impl Log {
    /// Moves the log start up to `offset`, if it is higher (DeleteRecords; a follower whose leader's start moved). Records
    /// below are gone for readers; their segments go with the next retention run. Returns whether it moved.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] above the high watermark.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<bool, ReadError> {
        self.check_writable()?;
        if offset > self.high_watermark {
            return Err(ReadError::OffsetOutOfRange {
                offset,
                start: self.log_start,
                end: self.high_watermark,
            });
        }
        if offset <= self.log_start {
            return Ok(false);
        }
        self.move_start(offset);
        Ok(true)
    }

    /// Moves the log start to where [`Log::delete_old_segments`] will have it, and removes nothing yet; `None` when there is
    /// nothing to remove. The start is to be in its checkpoint before it does: a crash may bring any of the removed segments
    /// back, and a transaction whose end is in another one would then be open for ever.
    ///
    /// # Errors
    /// The disk; or it failed before.
    pub fn begin_retention(&mut self, now_ms: i64) -> Result<Option<Offset>, LogError> {
        self.check_writable()?;
        let (mut at, mut bytes) = (0, self.size_bytes());
        while self.removable(at, bytes, now_ms)?.is_some() {
            bytes = bytes.saturating_sub(u64::from(self.segments[at].size));
            at += 1;
        }
        if at == 0 {
            return Ok(None);
        }
        self.move_start(self.segments.get(at).map_or(self.log_end, |first| first.base));
        Ok(Some(self.log_start))
    }

    fn move_start(&mut self, to: Offset) {
        if to > self.log_start {
            self.log_start = to;
            self.epochs.truncate_from_start(to);
            self.producers.log_start_moved(to);
        }
    }

    /// Removes at most `max_segments` old segments by the rules of `cleanup.policy`: below the log start always, by size and
    /// time if it has `delete`. Only what is below the high watermark goes.
    ///
    /// # Errors
    /// The disk; the log is poisoned then.
    pub fn delete_old_segments(
        &mut self,
        now_ms: i64,
        max_segments: usize,
    ) -> Result<RetentionOutcome, LogError> {
        self.write(|log| log.run_retention(now_ms, max_segments))
    }

    fn run_retention(&mut self, now_ms: i64, max_segments: usize) -> Result<RetentionOutcome, LogError> {
        let mut outcome = RetentionOutcome::default();
        loop {
            let Some(reason) = self.removable(0, self.size_bytes(), now_ms)? else { return Ok(outcome) };
            if outcome.removed.len() == max_segments {
                outcome.more = true;
                return Ok(outcome);
            }
            if self.segments.len() == 1 {
                self.roll_at(self.log_end, now_ms)?;
            }
            let segment = self.segments.remove(0);
            let size_bytes = u64::from(segment.size);
            outcome.removed.push(RemovedSegment { base: segment.base, size_bytes, reason });
            self.move_start(self.segments.first().map_or(self.log_end, |first| first.base));
            self.discard_files(segment.paths(), now_ms)?;
            self.discard_snapshot(segment.base, now_ms)?;
        }
    }

    /// Why the segment `at` may go, if it may when those before it are gone and `bytes` are left.
    fn removable(&self, at: usize, bytes: u64, now_ms: i64) -> Result<Option<RemovalReason>, LogError> {
        let Some(oldest) = self.segments.get(at) else { return Ok(None) };
        let next = self.segments.get(at + 1).map(|next| next.base);
        if self.high_watermark < next.unwrap_or(self.log_end) || (next.is_none() && oldest.size == 0) {
            return Ok(None);
        }
        if next.is_some_and(|next| next <= self.log_start) {
            return Ok(Some(RemovalReason::LogStart));
        }
        if !self.config.cleanup_policy.delete {
            return Ok(None);
        }
        if let Ok(limit) = u64::try_from(self.config.retention_bytes)
            && bytes >= limit.saturating_add(u64::from(oldest.size))
        {
            return Ok(Some(RemovalReason::Size));
        }
        if self.config.retention_ms >= 0 {
            let age = now_ms.saturating_sub(oldest.largest_timestamp(self.fs.as_ref())?);
            if age > self.config.retention_ms {
                return Ok(Some(RemovalReason::Time));
            }
        }
        Ok(None)
    }

    /// Removes files that were renamed to `.deleted` at least `file.delete.delay.ms` ago, at once, whatever their size. Returns how many.
    ///
    /// # Errors
    /// The disk; the rest stays queued.
    pub fn delete_expired_files(&mut self, now_ms: i64) -> Result<usize, LogError> {
        let mut removed = 0;
        while self.trash.front().is_some_and(|trash| trash.remove_at_ms <= now_ms) {
            let Some(trash) = self.trash.pop_front() else { break };
            for path in &trash.paths {
                remove_file_if_exists(self.fs.as_ref(), path).map_err(LogError::io("remove", path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The files that were renamed to `.deleted` at least `file.delete.delay.ms` ago, for whoever removes them with care and says so
    /// with [`Log::note_files_removed`].
    pub fn expired_files(&self, now_ms: i64) -> Vec<PathBuf> {
        let expired = self.trash.iter().filter(|trash| trash.remove_at_ms <= now_ms);
        expired.flat_map(|trash| trash.paths.iter().cloned()).collect()
    }

    /// Notes that files of [`Log::expired_files`] are gone.
    pub fn note_files_removed(&mut self, removed: &BTreeSet<PathBuf>) {
        for trash in &mut self.trash {
            trash.paths.retain(|path| !removed.contains(path));
        }
        self.trash.retain(|trash| !trash.paths.is_empty());
    }

    /// When there are next files to be removed.
    pub fn next_file_deletion_ms(&self) -> Option<i64> {
        self.trash.front().map(|trash| trash.remove_at_ms)
    }
}
