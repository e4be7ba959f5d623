//! What is to be done with all logs from time to time. Plain functions: the shell has the clock and calls them.
//!
//! The logs belong to their replicas, so each duty borrows one log after the other from a [`LogOwner`], takes what it needs
//! under that log's lock, and lets go of it before it waits for the disk. A failure takes the directory offline and ends the
//! duty for that directory.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{Offset, TopicPartition};

use super::DirOffline;
use super::checkpoint_file::PartitionOffsets;
use super::epochs::write_epochs;
use super::log_dir::{Checkpoint, LogDir};
use super::log_dirs::{LogDirs, LogKey, PlacedLog};
use super::removal::{Removal, Remover};
use crate::log::{Log, LogError};

/// Most segments that retention removes from a log while it holds the log's lock once.
const SEGMENTS_PER_TURN: usize = 16;

/// Who owns the open logs.
pub trait LogOwner {
    /// Calls `work` with the log, under the log's own lock and for as short; does not call it when there is no such log
    /// (any more).
    fn with_log(&self, key: &LogKey, work: &mut dyn FnMut(&mut Log));
}

/// What a log contributes to the checkpoints of its directory; taken under its lock, written without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// See [`Log::recovery_point`].
    pub recovery_point: Offset,
    /// See [`Log::log_start_checkpoint`].
    pub log_start: Option<Offset>,
    /// See [`Log::high_watermark`].
    pub high_watermark: Offset,
}

impl CheckpointEntry {
    /// The present entry of a log.
    pub fn of(log: &Log) -> Self {
        Self {
            recovery_point: log.recovery_point(),
            log_start: log.log_start_checkpoint(),
            high_watermark: log.high_watermark(),
        }
    }

    /// The entry's part in one of the checkpoints, if it has any.
    pub(super) fn part(&self, which: Checkpoint) -> Option<Offset> {
        match which {
            Checkpoint::RecoveryPoints => Some(self.recovery_point),
            Checkpoint::LogStarts => self.log_start,
            Checkpoint::HighWatermarks => Some(self.high_watermark),
            Checkpoint::CleanerOffsets => None,
        }
    }
}

/// What [`apply_retention`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionSummary {
    /// Segments removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes some checkpoints of a directory with the present offsets of its logs. [`Checkpoint::CleanerOffsets`] is not one
/// of them: its entries are loose, only those of logs that are gone are dropped.
///
/// Due every `log.flush.offset.checkpoint.interval.ms` (recovery points), every
/// `log.flush.start.offset.checkpoint.interval.ms` (log starts) and every `replica.high.watermark.checkpoint.interval.ms`
/// (high watermarks); and after a log was truncated, deleted or moved. Does nothing before all logs are loaded, and a log
/// whose owner is not there yet keeps its last entry.
///
/// # Errors
/// The directory is offline, or is now.
pub fn write_checkpoints(
    dirs: &LogDirs,
    dir: &LogDir,
    owner: &dyn LogOwner,
    which: &[Checkpoint],
) -> Result<(), DirOffline> {
    dir.check_online()?;
    if !dir.is_loaded() {
        return Ok(());
    }
    if which.contains(&Checkpoint::RecoveryPoints) {
        write_epochs(dirs, dir, owner)?;
    }
    let _collecting = dir.collect_offsets();
    let gone = dir.stale().partitions_now();
    let mut entries: Vec<(LogKey, CheckpointEntry)> = Vec::new();
    for (key, last) in dirs.last_entries(dir) {
        let mut entry = last;
        owner.with_log(&key, &mut |log| entry = Some(CheckpointEntry::of(log)));
        entries.extend(entry.map(|entry| (key, entry)));
    }
    dirs.note_entries(&entries);
    for &which in which {
        if which == Checkpoint::CleanerOffsets {
            let kept: BTreeSet<&TopicPartition> = entries.iter().map(|(key, _)| &key.partition).collect();
            dir.update_checkpoint(which, |entries| entries.retain(|partition, _| kept.contains(partition)))?;
        } else {
            dir.write_checkpoint(which, &collect(&entries, which))?;
        }
        dir.stale().written_without(&gone, which);
    }
    Ok(())
}

impl LogDirs {
    /// Writes the recovery point of a future log that was cut, before anything is appended to it again: a power failure then must not
    /// leave a checkpoint that calls durable what was not synced.
    ///
    /// # Errors
    /// The directory is offline, or is now.
    pub fn checkpoint_cut(&self, cut: &PlacedLog) -> Result<(), DirOffline> {
        let entry = CheckpointEntry::of(&cut.log);
        let _collecting = cut.dir.collect_offsets();
        self.note_entries(&[(cut.key.clone(), entry)]);
        cut.dir.update_checkpoint(Checkpoint::RecoveryPoints, |entries| {
            entries.insert(cut.key.partition.clone(), entry.recovery_point);
        })
    }
}

pub(super) fn collect(entries: &[(LogKey, CheckpointEntry)], which: Checkpoint) -> PartitionOffsets {
    entries.iter().filter_map(|(key, entry)| Some((key.partition.clone(), entry.part(which)?))).collect()
}

/// Removes old segments of the logs in a directory by the rules of their topics. Due every
/// `log.retention.check.interval.ms`. Compacted logs are left to the compaction, which calls
/// [`Log::delete_old_segments`] itself between two cleanings.
///
/// # Errors
/// The directory is offline, or is now.
pub fn apply_retention(
    dirs: &LogDirs,
    dir: &Arc<LogDir>,
    owner: &dyn LogOwner,
    now_ms: i64,
) -> Result<RetentionSummary, DirOffline> {
    let mut summary = RetentionSummary::default();
    let mut due = Vec::new();
    for key in dirs.logs_in(dir) {
        with_log(dir, owner, &key, &mut |log| {
            if !log.config().cleanup_policy.compact && log.begin_retention(now_ms)?.is_some() {
                due.push(key.clone());
            }
            Ok(())
        })?;
    }
    if due.is_empty() {
        return Ok(summary);
    }
    // A crash may bring some of the removed segments back and leave a hole behind them. Above the recovery point that would look
    // like an end that was never written, and what follows would go; above the log start the end of a transaction may be missing.
    for key in &due {
        flush_if(dir, owner, key, now_ms, &|_| true)?;
    }
    write_checkpoints(dirs, dir, owner, &[Checkpoint::RecoveryPoints, Checkpoint::LogStarts])?;
    for key in due {
        let mut more = true;
        while more {
            more = false;
            with_log(dir, owner, &key, &mut |log| {
                let outcome = log.delete_old_segments(now_ms, SEGMENTS_PER_TURN)?;
                summary.segments += outcome.removed.len();
                summary.bytes += outcome.removed.iter().map(|segment| segment.size_bytes).sum::<u64>();
                more = outcome.more;
                Ok(())
            })?;
        }
    }
    Ok(summary)
}

/// Removes the files of segments that retention or compaction removed long enough ago. Returns how many files, and when
/// there is more to do. Slow: see [`LogDirs::remove_deleted`], with which it must not run at the same time.
///
/// # Errors
/// The directory is offline, or is now.
pub fn remove_old_files(
    dirs: &LogDirs,
    dir: &LogDir,
    owner: &dyn LogOwner,
    now_ms: i64,
    pause: &mut dyn FnMut() -> bool,
) -> Result<(usize, Option<i64>), DirOffline> {
    let (mut removed, mut next_ms) = (0, None);
    let mut remover = Remover::new(dir, pause);
    for key in dirs.logs_in(dir) {
        let mut expired = Vec::new();
        with_log(dir, owner, &key, &mut |log| {
            expired = log.expired_files(now_ms);
            Ok(())
        })?;
        let mut gone = BTreeSet::new();
        for path in expired {
            // The log may be renamed meanwhile. What is not found then, it still knows by the new path.
            if remover.remove_file(&path)? == Removal::Done {
                gone.insert(path);
            }
        }
        removed += gone.len();
        with_log(dir, owner, &key, &mut |log| {
            log.note_files_removed(&gone);
            next_ms = next_ms.into_iter().chain(log.next_file_deletion_ms()).min();
            Ok(())
        })?;
    }
    Ok((removed, next_ms))
}

/// Makes the logs durable that ask for it (`flush.ms`, `flush.messages`, a rolled segment). Returns how many. Due every
/// `log.flush.scheduler.interval.ms`. Waits for the disk, but not under a log's lock.
///
/// # Errors
/// The directory is offline, or is now.
pub fn flush_due(
    dirs: &LogDirs,
    dir: &Arc<LogDir>,
    owner: &dyn LogOwner,
    now_ms: i64,
) -> Result<usize, DirOffline> {
    let mut flushed = 0;
    for key in dirs.logs_in(dir) {
        flushed += usize::from(flush_if(dir, owner, &key, now_ms, &|log| log.flush_due(now_ms))?);
    }
    Ok(flushed)
}

/// Makes a log durable that `is_due`; whether there was anything to sync.
fn flush_if(
    dir: &Arc<LogDir>,
    owner: &dyn LogOwner,
    key: &LogKey,
    now_ms: i64,
    is_due: &dyn Fn(&Log) -> bool,
) -> Result<bool, DirOffline> {
    let _names = dir.hold_names();
    let mut ticket = None;
    with_log(dir, owner, key, &mut |log| {
        if is_due(log) {
            ticket = log.begin_flush(now_ms)?;
        }
        Ok(())
    })?;
    let Some(ticket) = ticket else { return Ok(false) };
    let outcome = ticket.sync(dir.fs().as_ref());
    if let Some(failure) = outcome.failure() {
        return Err(dir.failed(failure));
    }
    let mut outcome = Some(outcome);
    with_log(dir, owner, key, &mut |log| match outcome.take() {
        Some(outcome) => log.complete_flush(outcome).map(|_| ()),
        None => Ok(()),
    })?;
    Ok(true)
}

/// Closes the files of logs that nobody used for `idle_ms`. Returns how many logs still have open files.
///
/// # Errors
/// The directory is offline, or is now.
pub fn close_idle_files(
    dirs: &LogDirs,
    dir: &LogDir,
    owner: &dyn LogOwner,
    now_ms: i64,
    idle_ms: i64,
) -> Result<usize, DirOffline> {
    let mut open = 0;
    for key in dirs.logs_in(dir) {
        with_log(dir, owner, &key, &mut |log| {
            open += usize::from(log.close_idle(now_ms, idle_ms)?);
            Ok(())
        })?;
    }
    Ok(open)
}

/// Borrows a log; its error is the directory's.
pub(super) fn with_log(
    dir: &LogDir,
    owner: &dyn LogOwner,
    key: &LogKey,
    work: &mut dyn FnMut(&mut Log) -> Result<(), LogError>,
) -> Result<(), DirOffline> {
    dir.check_online()?;
    let mut result = Ok(());
    owner.with_log(key, &mut |log| result = work(log));
    result.map_err(|error| dir.failed(&error))
}
