//! Idle logs and the clean end.

use super::epoch_cache;
use super::{Log, LogError};
use crate::fs::replace_file;

impl Log {
    /// Drops file handles and caches that were not used for `idle_ms`, as far as nothing is left to sync in them. To be called
    /// now and then. Returns whether any file is still open.
    ///
    /// # Errors
    /// Writing pending index entries; the log is poisoned then.
    pub fn close_idle(&mut self, now_ms: i64, idle_ms: i64) -> Result<bool, LogError> {
        let mut open = false;
        let mut result = Ok(());
        for segment in &mut self.segments {
            match segment.close_idle(now_ms, idle_ms) {
                Ok(still) => open |= still,
                Err(error) => result = Err(error),
            }
        }
        self.poison_on_error(result)?;
        Ok(open || !self.unsynced_files.is_empty())
    }

    /// The clean end, after which a start reads nothing: indexes complete, everything synced, producers in a snapshot at the
    /// log end. A log that did not change since it was opened costs nothing. Writes are refused afterwards.
    ///
    /// # Errors
    /// The disk: then the log directory must not be marked as cleanly closed.
    pub fn close(&mut self, now_ms: i64) -> Result<(), LogError> {
        self.write(|log| {
            log.abandon_swap()?;
            let active = log.active();
            if active.changes > 0 || active.indexes_unsynced {
                let fs = log.fs.clone();
                log.active_mut().seal(fs.as_ref())?;
                for file in log.active().index_files(fs.as_ref())? {
                    log.unsynced_files.push(file);
                }
            }
            log.producers.map_end = log.log_end;
            log.take_snapshot()?;
            log.sync_epochs()
        })?;
        self.flush(now_ms)?;
        self.active_mut().indexes_unsynced = false;
        for segment in &mut self.segments {
            segment.drop_handles()?;
        }
        self.poisoned = Some("it was closed".to_owned());
        Ok(())
    }

    /// Writes `leader-epoch-checkpoint` if it changed, durably. Flushes do so as well.
    pub(super) fn sync_epochs(&mut self) -> Result<(), LogError> {
        if self.epochs.changes() != self.epochs_synced {
            let path = self.dir.join(epoch_cache::FILE_NAME);
            let text = self.epochs.format();
            replace_file(self.fs.as_ref(), &path, text.as_bytes()).map_err(LogError::io("replace", &path))?;
            self.epochs_synced = self.epochs.changes();
        }
        Ok(())
    }
}
