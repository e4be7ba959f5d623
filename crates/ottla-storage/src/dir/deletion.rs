//! Logs that go: deletion in two steps, replicas that turn out not to be ours, and the end of a move between directories.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::DirOffline;
use super::duties::CheckpointEntry;
use super::load::{Renaming, rename_all_in, rename_in};
use super::log_dir::{Checkpoint, LogDir};
use super::log_dirs::{LogDirs, LogKey, Place, PlacedLog};
use super::partition_dir::{PartitionDirKind, partition_dir_name};
use super::removal::{Removal, Remover};
use crate::log::JournalTicket;

/// A renamed partition directory that waits for its removal.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) dir: Arc<LogDir>,
    pub(super) path: PathBuf,
    pub(super) since_ms: i64,
}

impl LogDirs {
    /// Deletes a log: its directory is renamed `-delete` at once, so that a new log of the name can come, and removed by
    /// [`LogDirs::remove_deleted`] when readers may be expected to be done. Its entries leave the checkpoints with their
    /// next writing, at the latest before a new log of the name is created here. `unique` is anything random.
    ///
    /// # Errors
    /// The rename failed, or the directory was offline: the log will be back at the next start.
    pub fn delete(&self, placed: PlacedLog, unique: u128, now_ms: i64) -> Result<(), DirOffline> {
        self.leave(&placed.key, &placed.dir);
        self.doom(&placed.dir, &[to_doomed(&placed, unique)], now_ms)
    }

    /// [`LogDirs::delete`] for many logs, with few syncs. Returns the directories that failed.
    pub fn delete_all(
        &self,
        logs: Vec<PlacedLog>,
        mut unique: impl FnMut() -> u128,
        now_ms: i64,
    ) -> Vec<DirOffline> {
        let mut by_dir: BTreeMap<PathBuf, (Arc<LogDir>, Vec<Renaming>)> = BTreeMap::new();
        for placed in logs {
            self.leave(&placed.key, &placed.dir);
            let renaming = to_doomed(&placed, unique());
            let dir = placed.dir;
            let (_, renames) = by_dir.entry(dir.path().to_owned()).or_insert_with(|| (dir, Vec::new()));
            renames.push(renaming);
        }
        let doomed = by_dir.into_values().map(|(dir, renames)| self.doom(&dir, &renames, now_ms));
        doomed.filter_map(Result::err).collect()
    }

    /// Takes a log out of service that the metadata does not know, and keeps its files: its directory is renamed `-stray`.
    /// Returns where it is.
    ///
    /// # Errors
    /// As [`LogDirs::delete`].
    pub fn set_aside(&self, placed: PlacedLog, unique: u128) -> Result<PathBuf, DirOffline> {
        let PlacedLog { key, dir, log } = placed;
        self.leave(&key, &dir);
        rename_in(&dir, log.dir(), &partition_dir_name(&key.partition, PartitionDirKind::Stray, unique))
    }

    /// What the journal of a future log's directory, if there is one, must have durably before [`LogDirs::promote_future`]: that what it
    /// knows of the partition is void. It may know of a time when the partition was there before, and what was cut since could come
    /// back after a power failure.
    ///
    /// # Errors
    /// Opening a file, which takes the directory offline.
    pub fn begin_promotion(&self, future: &mut PlacedLog) -> Result<JournalTicket, DirOffline> {
        let name = partition_dir_name(&future.key.partition, PartitionDirKind::Current, 0);
        future.log.begin_return(name).map_err(|error| future.dir.failed(&error))
    }

    /// Ends a move between directories: the future log, which has caught up, becomes the current one and takes over its high
    /// watermark; the current one, if there still is one, is taken and deleted. The checkpoints of both directories are to be
    /// written. Where the future log's directory has a journal, [`LogDirs::begin_promotion`] comes first. (`replaceCurrentWithFutureLog`)
    ///
    /// # Errors
    /// Nothing has changed then, except that the future log's directory is offline. That the old log's directory fails is no
    /// error: the partition has left it.
    pub fn promote_future(
        &self,
        current: &mut Option<PlacedLog>,
        mut future: PlacedLog,
        unique: u128,
        now_ms: i64,
    ) -> Result<PlacedLog, DirOffline> {
        assert!(future.key.is_future, "{} is not a future log", future.key.partition);
        let key = LogKey::current(future.key.partition.clone());
        let name = partition_dir_name(&key.partition, PartitionDirKind::Current, unique);
        let path = rename_in(&future.dir, future.log.dir(), &name)?;
        future.log.renamed_to(&path);
        let last = Some(CheckpointEntry::of(&future.log));
        {
            let mut state = self.state();
            state.leave(&future.key);
            state.enter(key.clone(), Place { dir: Arc::clone(&future.dir), last });
        }
        if let Some(current) = current.take() {
            future.log.set_high_watermark(current.log.high_watermark());
            current.dir.stale().add(&key.partition);
            // Should it fail, that has taken its directory offline, and the partition has left it.
            let _ = self.doom(&current.dir, &[to_doomed(&current, unique)], now_ms);
            move_cleaner_offset(&key, &current.dir, &future.dir);
        }
        future.key = key;
        Ok(future)
    }

    /// Renames directories of logs to such as are to be removed.
    fn doom(&self, dir: &Arc<LogDir>, renames: &[Renaming], now_ms: i64) -> Result<(), DirOffline> {
        let paths = rename_all_in(dir, renames)?;
        let doomed = |path| Doomed { dir: Arc::clone(dir), path, since_ms: now_ms };
        self.state().doomed.extend(paths.into_iter().map(doomed));
        Ok(())
    }

    /// The log is not there any more, as far as checkpoints and new logs are concerned. Another log of the partition may be
    /// here all the same only in the other role, which does not share a directory.
    fn leave(&self, key: &LogKey, dir: &LogDir) {
        let mut state = self.state();
        // In this order: a checkpoint that is collected knowing the second must not contain the first.
        state.leave(key);
        dir.stale().add(&key.partition);
    }

    /// Removes the directories of logs in `dir` that were deleted at least `delay_ms` (`file.delete.delay.ms`) ago. Returns how
    /// many, and when it should be called again. Slow: after each [`REMOVAL_STEP_BYTES`](super::REMOVAL_STEP_BYTES) that were freed it calls `pause`,
    /// which waits for [`REMOVAL_PAUSE`](super::REMOVAL_PAUSE), and leaves the rest when that says `false`. What is still being read stays for another time.
    pub fn remove_deleted(
        &self,
        dir: &Arc<LogDir>,
        now_ms: i64,
        delay_ms: i64,
        pause: &mut dyn FnMut() -> bool,
    ) -> (usize, Option<i64>) {
        let is_due = |doomed: &Doomed| doomed.since_ms.saturating_add(delay_ms) <= now_ms;
        let due: VecDeque<Doomed> = {
            let mut state = self.state();
            let all = std::mem::take(&mut state.doomed);
            let (due, left) = all.into_iter().partition(|one| Arc::ptr_eq(&one.dir, dir) && is_due(one));
            state.doomed = left;
            due
        };
        let mut removed = 0;
        let mut kept = VecDeque::new();
        let mut remover = Remover::new(dir, pause);
        for doomed in due {
            match remover.remove_dir(&doomed.path) {
                Ok(Removal::Done) => removed += 1,
                Ok(Removal::InUse | Removal::Stopped) => kept.push_back(doomed),
                // That has taken the directory offline; the next start finds it.
                Err(_) => {}
            }
        }
        let mut state = self.state();
        kept.append(&mut state.doomed);
        state.doomed = kept;
        let next = state.doomed.iter().find(|doomed| Arc::ptr_eq(&doomed.dir, dir));
        (removed, next.map(|doomed| doomed.since_ms.saturating_add(delay_ms)))
    }
}

/// The new name of a log's directory that is to be removed.
fn to_doomed(placed: &PlacedLog, unique: u128) -> Renaming {
    let name = partition_dir_name(&placed.key.partition, PartitionDirKind::Deleted, unique);
    (placed.log.dir().to_owned(), name)
}

/// The cleaned part of a log stays clean when the log moves. Failures have taken the directory offline, no more is lost than
/// the knowledge of what is clean.
fn move_cleaner_offset(key: &LogKey, from: &LogDir, to: &LogDir) {
    let mut offset = None;
    let taken =
        from.update_checkpoint(Checkpoint::CleanerOffsets, |entries| offset = entries.remove(&key.partition));
    if let (Ok(()), Some(offset)) = (taken, offset) {
        let _ = to.update_checkpoint(Checkpoint::CleanerOffsets, |entries| {
            entries.insert(key.partition.clone(), offset);
        });
    }
}
