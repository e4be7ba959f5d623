//! The orderly end (`LogManager.shutdown`), per directory: high watermarks, logs closed, recovery points, log starts, marker,
//! lock.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::DirOffline;
use super::duties::{CheckpointEntry, collect};
use super::log_dir::{Checkpoint, LogDir};
use super::log_dirs::{LogDirs, LogKey, PlacedLog};
use crate::log::{Log, LogError};

/// So many logs with something to sync are made durable together, by syncing the volume. That also writes what others have
/// there, so a few logs are rather synced one by one.
pub const MANY_LOGS: usize = 64;

/// The end of one directory. Its logs may be closed by several threads at once ([`DirShutdown::close_logs`]), all of which
/// must be done before [`DirShutdown::finish`].
#[derive(Debug)]
pub struct DirShutdown {
    dir: Arc<LogDir>,
    work: Mutex<Work>,
}

#[derive(Debug, Default)]
struct Work {
    open: VecDeque<PlacedLog>,
    closed: Vec<(LogKey, CheckpointEntry)>,
    failed: bool,
}

impl LogDirs {
    /// Begins the end: sorts all logs of the node by directory. Logs in offline directories are dropped as they are. The
    /// directories end independently of each other; one without logs ends too.
    pub fn begin_shutdown(&self, logs: Vec<PlacedLog>) -> Vec<DirShutdown> {
        let mut shutdowns: Vec<DirShutdown> = Vec::new();
        let extra = (!self.dirs().iter().any(|dir| Arc::ptr_eq(dir, self.metadata_dir())))
            .then(|| self.metadata_dir());
        for dir in self.online().chain(extra) {
            shutdowns.push(DirShutdown { dir: Arc::clone(dir), work: Mutex::default() });
        }
        for placed in logs {
            if let Some(shutdown) = shutdowns.iter().find(|shutdown| Arc::ptr_eq(&shutdown.dir, &placed.dir))
            {
                shutdown.work().open.push_back(placed);
            }
        }
        shutdowns
    }
}

impl DirShutdown {
    /// The directory.
    pub fn dir(&self) -> &LogDir {
        &self.dir
    }

    /// Writes the high watermarks. First of all, as the logs can still be lost on the way.
    ///
    /// # Errors
    /// The directory is offline, or is now.
    pub fn write_high_watermarks(&self) -> Result<(), DirOffline> {
        if !self.dir.is_loaded() {
            return self.dir.check_online();
        }
        let entries: Vec<_> = self
            .work()
            .open
            .iter()
            .map(|placed| (placed.key.clone(), CheckpointEntry::of(&placed.log)))
            .collect();
        self.dir.write_checkpoint(Checkpoint::HighWatermarks, &collect(&entries, Checkpoint::HighWatermarks))
    }

    /// Closes logs until none is left, together with other threads that do the same.
    ///
    /// # Errors
    /// A log cannot be closed: the directory is offline then.
    pub fn close_logs(&self, now_ms: i64) -> Result<(), DirOffline> {
        self.close_together()?;
        loop {
            self.dir.check_online()?;
            let Some(mut placed) = self.work().open.pop_front() else { return Ok(()) };
            match placed.log.close(now_ms) {
                Ok(()) => self.work().closed.push((placed.key, CheckpointEntry::of(&placed.log))),
                Err(error) => return Err(self.fail(&error)),
            }
        }
    }

    /// Closes the logs that have something to sync, if they are many: thousands of syncs would take minutes.
    fn close_together(&self) -> Result<(), DirOffline> {
        self.dir.check_online()?;
        if self.dir.volume().is_none() {
            return Ok(());
        }
        let mut logs = {
            let mut work = self.work();
            if work.open.iter().filter(|placed| placed.log.close_syncs()).count() < MANY_LOGS {
                return Ok(());
            }
            let (together, alone): (VecDeque<_>, _) =
                work.open.drain(..).partition(|placed| placed.log.close_syncs());
            work.open = alone;
            together
        };
        let sync = || self.dir.sync_volume().inspect_err(|_| self.work().failed = true);
        self.each(&mut logs, Log::close_writing)?;
        sync()?;
        self.each(&mut logs, Log::close_renaming)?;
        sync()?;
        self.each(&mut logs, Log::close_durable)?;
        let closed = logs.into_iter().map(|placed| (placed.key, CheckpointEntry::of(&placed.log)));
        self.work().closed.extend(closed);
        Ok(())
    }

    fn each(
        &self,
        logs: &mut VecDeque<PlacedLog>,
        step: impl Fn(&mut Log) -> Result<(), LogError>,
    ) -> Result<(), DirOffline> {
        logs.iter_mut().try_for_each(|placed| step(&mut placed.log).map_err(|error| self.fail(&error)))
    }

    fn fail(&self, reason: &dyn Display) -> DirOffline {
        self.work().failed = true;
        self.dir.failed(reason)
    }

    /// Writes recovery points and log starts, then the marker, and gives the lock back, whatever happened. Returns whether
    /// the next start may call this end clean: not if a log failed to close, or the logs never finished loading.
    ///
    /// # Errors
    /// The directory is offline, or is now.
    pub fn finish(self, broker_epoch: Option<i64>) -> Result<bool, DirOffline> {
        let result = self.finish_locked(broker_epoch);
        self.dir.unlock();
        result
    }

    fn finish_locked(&self, broker_epoch: Option<i64>) -> Result<bool, DirOffline> {
        self.dir.check_online()?;
        let work = self.work();
        if work.failed || !work.open.is_empty() {
            return Ok(false);
        }
        if !self.dir.is_loaded() {
            // The checkpoints know logs that we never came to know: they stay, and what was clean is so still.
            return self.dir.mark_clean(broker_epoch);
        }
        for which in [Checkpoint::RecoveryPoints, Checkpoint::LogStarts] {
            self.dir.write_checkpoint(which, &collect(&work.closed, which))?;
        }
        self.dir.mark_clean(broker_epoch)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
