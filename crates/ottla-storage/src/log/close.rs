//! Idle logs and the clean end.

use super::segment::Segment;
use super::{Log, LogError};

impl Log {
    /// Drops file handles and caches that were not used for `idle_ms`, as far as nothing is left to sync in them. To be called
    /// now and then. Returns whether any file is still open.
    ///
    /// # Errors
    /// Writing pending index entries; the log is poisoned then.
    pub fn close_idle(&mut self, now_ms: i64, idle_ms: i64) -> Result<bool, LogError> {
        let fs = self.fs.clone();
        let mut open = false;
        let mut result = Ok(());
        for segment in &mut self.segments {
            match segment.close_idle(fs.as_ref(), now_ms, idle_ms) {
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
            log.complete_files()?;
            log.sync_epochs()
        })?;
        self.flush(now_ms)?;
        self.shut()
    }

    /// Whether [`Log::close`] would have to wait for the disk.
    pub fn close_syncs(&self) -> bool {
        self.dir_changes != self.dir_synced
            || self.parent_unsynced
            || self.metadata_unsynced
            || !self.unsynced_files.is_empty()
            || self.epochs_unsynced()
            || self.durable < self.log_end
            || self.swap.is_some()
            || self.segments.iter().any(Segment::is_unsynced)
            || self.active().indexes_unsynced
    }

    /// [`Log::close`] for many logs at once, whose owner makes the volume durable after this, then calls
    /// [`Log::close_renaming`], makes it durable again, and calls [`Log::close_durable`].
    ///
    /// # Errors
    /// As [`Log::close`].
    pub fn close_writing(&mut self) -> Result<(), LogError> {
        self.write(|log| {
            log.complete_files()?;
            log.write_metadata_again()?;
            log.stage_epochs()?;
            // Thousands of logs are closed at the same time: none keeps its files open until all are durable.
            log.unsynced_files.clear();
            let fs = log.fs.clone();
            log.segments.iter_mut().try_for_each(|segment| segment.drop_handles(fs.as_ref()))
        })
    }

    /// See [`Log::close_writing`].
    ///
    /// # Errors
    /// As [`Log::close`].
    pub fn close_renaming(&mut self) -> Result<(), LogError> {
        self.write(Self::publish_epochs)
    }

    /// See [`Log::close_writing`]: everything that was written is durable.
    ///
    /// # Errors
    /// As [`Log::close`].
    pub fn close_durable(&mut self) -> Result<(), LogError> {
        self.check_writable()?;
        for segment in &mut self.segments {
            segment.synced_changes = segment.changes;
            segment.indexes_unsynced = false;
        }
        self.metadata_unsynced = false;
        self.dir_synced = self.dir_changes;
        self.parent_unsynced = false;
        self.durable = self.log_end;
        self.shut()
    }

    /// Writes what the files of a closed log have and those of an open one may lack.
    fn complete_files(&mut self) -> Result<(), LogError> {
        self.abandon_swap()?;
        let active = self.active();
        if active.changes > 0 || active.indexes_unsynced {
            let fs = self.fs.clone();
            self.active_mut().seal(fs.as_ref())?;
            for file in self.active().index_files(fs.as_ref())? {
                self.unsynced_files.push(file);
            }
        }
        self.producers.map_end = self.log_end;
        self.take_snapshot()
    }

    /// Refuses writes from now on, and gives up all files.
    fn shut(&mut self) -> Result<(), LogError> {
        self.active_mut().indexes_unsynced = false;
        let fs = self.fs.clone();
        for segment in &mut self.segments {
            segment.drop_handles(fs.as_ref())?;
        }
        self.poisoned = Some("it was closed".to_owned());
        Ok(())
    }
}
