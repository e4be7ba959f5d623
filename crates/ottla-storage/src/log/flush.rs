//! Durability in two phases: what to sync is decided under the log's lock, the sync itself is not.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ottla_types::Offset;

use super::epoch_file::EpochTicket;
use super::journal::Covered;
use super::partition_metadata;
use super::syncs::Syncs;
use super::{Log, LogError};
use crate::fs::{Fs, FsFile, OpenMode};

/// What must be synced so that everything below [`FlushTicket::up_to`] is durable. Cut under the log's lock, carried out
/// without it, handed back with [`Log::complete_flush`]. Several may be under way.
#[derive(Debug)]
#[must_use = "nothing is durable before the ticket is synced and completed"]
pub struct FlushTicket {
    up_to: Offset,
    files: Vec<Arc<dyn FsFile>>,
    epochs: Option<EpochTicket>,
    dir: Option<PathBuf>,
    parent: Option<PathBuf>,
    path: PathBuf,
    syncs: Arc<Syncs>,
    done: Done,
}

/// What is durable of a log once its volume was synced: all that was written before, but `leader-epoch-checkpoint` is not asked for.
/// It keeps no file open.
#[derive(Debug)]
#[must_use = "sync the volume, then complete it"]
pub struct VolumeTicket {
    done: Done,
}

impl VolumeTicket {
    /// The volume was synced since the ticket was cut.
    pub fn synced(self) -> FlushOutcome {
        FlushOutcome { result: Ok((self.done, None)) }
    }
}

/// What a completed ticket has covered.
#[derive(Clone, Debug)]
struct Done {
    /// Of the log that the ticket is of: another may have its place meanwhile.
    of: Arc<AtomicU64>,
    up_to: Offset,
    cuts: u64,
    /// Base offset and change count of each synced segment, and whether its indexes were synced as well.
    segments: Vec<(Offset, u64, bool)>,
    covered: Covered,
    dir_changes: u64,
    parent: bool,
    metadata: bool,
    begun_ms: i64,
}

/// The end of a [`FlushTicket`].
#[derive(Debug)]
#[must_use = "hand it to Log::complete_flush"]
pub struct FlushOutcome {
    result: Result<(Done, Option<EpochTicket>), LogError>,
}

impl FlushOutcome {
    /// Why the sync failed, for those who cannot hand it back: the directory is to be taken offline all the same.
    pub fn failure(&self) -> Option<&LogError> {
        self.result.as_ref().err()
    }
}

impl FlushTicket {
    /// The offset below which all will be durable.
    pub fn up_to(&self) -> Offset {
        self.up_to
    }

    /// Number of files to sync.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Syncs: data first, then what refers to it, the directory last; after other syncs of the log that are under way. If it fails, the log is
    /// poisoned at once. Slow; call it without the log's lock.
    pub fn sync(self, fs: &dyn Fs) -> FlushOutcome {
        let Self { syncs, path, .. } = &self;
        let result = syncs.run(path, || self.try_sync(fs));
        FlushOutcome { result: result.map(|()| (self.done, self.epochs)) }
    }

    fn try_sync(&self, fs: &dyn Fs) -> Result<(), LogError> {
        for file in &self.files {
            file.sync_data().map_err(LogError::io("sync", &self.path))?;
        }
        let mut dir = self.dir.as_ref();
        if let Some(epochs) = &self.epochs
            && epochs.sync(fs)?
        {
            // That has synced the directory as well.
            dir = None;
        }
        for dir in dir.into_iter().chain(&self.parent) {
            fs.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        }
        Ok(())
    }
}

impl Log {
    /// What must be synced to make the log durable up to its present end; `None` when it is.
    ///
    /// # Errors
    /// Opening files that were closed; the log is poisoned then.
    pub fn begin_flush(&mut self, now_ms: i64) -> Result<Option<FlushTicket>, LogError> {
        self.write(|log| {
            let epochs = log.cut_epochs();
            log.cut_ticket(epochs, now_ms)
        })
    }

    /// [`Log::begin_flush`] without `leader-epoch-checkpoint`, whose replacement costs two syncs more: all that records need to be
    /// durable. The recovery point stays where the file lacks something ([`Log::begin_epochs`]).
    ///
    /// # Errors
    /// As [`Log::begin_flush`].
    pub fn begin_commit(&mut self, now_ms: i64) -> Result<Option<FlushTicket>, LogError> {
        self.write(|log| log.cut_ticket(None, now_ms))
    }

    /// As [`Log::begin_commit`], for many logs that are made durable together: sync the volume, then hand the outcome to
    /// [`Log::complete_flush`]. That the log was replaced or moved meanwhile does no harm. `None` when all is durable.
    ///
    /// # Errors
    /// Writing `partition.metadata` again; the log is poisoned then.
    pub fn begin_volume_flush(&mut self, now_ms: i64) -> Result<Option<VolumeTicket>, LogError> {
        self.write(|log| {
            log.write_metadata_again()?;
            Ok(log.volume_ticket(now_ms))
        })
    }

    fn volume_ticket(&self, now_ms: i64) -> Option<VolumeTicket> {
        let unsynced = self.segments.iter().filter(|segment| segment.is_unsynced());
        let segments: Vec<_> = unsynced.map(|segment| (segment.base, segment.changes, false)).collect();
        let is_needed = !segments.is_empty()
            || self.metadata_unsynced
            || self.parent_unsynced
            || self.dir_changes != self.dir_synced;
        let done = self.done(segments, self.parent_unsynced, now_ms);
        is_needed.then_some(VolumeTicket { done })
    }

    /// What a ticket covers that is cut now.
    fn done(&self, segments: Vec<(Offset, u64, bool)>, parent: bool, now_ms: i64) -> Done {
        let active = self.active();
        Done {
            of: Arc::clone(&self.voided),
            up_to: self.log_end,
            cuts: self.cuts,
            segments,
            covered: Covered { base: active.base, size: active.size },
            dir_changes: self.dir_changes,
            parent,
            metadata: self.metadata_unsynced,
            begun_ms: now_ms,
        }
    }

    fn cut_ticket(
        &mut self,
        epochs: Option<EpochTicket>,
        now_ms: i64,
    ) -> Result<Option<FlushTicket>, LogError> {
        let fs = self.fs.clone();
        let active = self.active().base;
        let mut files = Vec::new();
        let mut segments = Vec::new();
        for segment in &self.segments {
            // The active segment's indexes are rebuilt after a crash, so syncing them would buy nothing.
            let indexes = segment.indexes_unsynced && segment.base != active;
            if segment.is_unsynced() {
                files.push(segment.log_file(fs.as_ref())?);
            }
            if indexes {
                files.extend(segment.index_files(fs.as_ref())?);
            }
            if segment.is_unsynced() || indexes {
                segments.push((segment.base, segment.changes, indexes));
            }
        }
        files.append(&mut self.unsynced_files);
        files.extend(self.write_metadata_again()?);
        let dir = (self.dir_changes != self.dir_synced).then(|| self.dir.to_path_buf());
        let parent = self.dir.parent().filter(|_| self.parent_unsynced).map(PathBuf::from);
        if files.is_empty() && epochs.is_none() && dir.is_none() && parent.is_none() {
            self.durable = self.log_end;
            self.cover(Covered { base: active, size: self.active().size });
            self.last_flush_ms = now_ms;
            return Ok(None);
        }
        let done = self.done(segments, parent.is_some(), now_ms);
        Ok(Some(FlushTicket {
            up_to: self.log_end,
            files,
            epochs,
            dir,
            parent,
            path: self.dir.to_path_buf(),
            syncs: Arc::clone(&self.syncs),
            done,
        }))
    }

    /// `partition.metadata`, if it is not known to be durable, to be synced. An earlier process may have left it in memory only after a sync
    /// that failed, and no sync would write it then: so it is written once more.
    pub(super) fn write_metadata_again(&self) -> Result<Option<Arc<dyn FsFile>>, LogError> {
        if !self.metadata_unsynced {
            return Ok(None);
        }
        let path = self.dir.join(partition_metadata::FILE_NAME);
        let file = self.fs.open(&path, OpenMode::Write).map_err(LogError::io("open", &path))?;
        if let Some(topic_id) = self.topic_id {
            let text = partition_metadata::format(topic_id);
            file.write_at(text.as_bytes(), 0).map_err(LogError::io("write", &path))?;
        }
        Ok(Some(file))
    }

    /// Takes the end of a ticket in: the durable offset and the recovery point move. Returns the durable offset.
    ///
    /// A failed sync poisons the log for good: the kernel may have dropped the pages, so that a second sync would lie.
    ///
    /// # Errors
    /// The sync's.
    pub fn complete_flush(&mut self, outcome: FlushOutcome) -> Result<Offset, LogError> {
        let (done, epochs) = self.poison_on_error(outcome.result)?;
        self.check_writable()?;
        if let Some(epochs) = epochs {
            self.complete_epochs(epochs);
        }
        if Arc::ptr_eq(&done.of, &self.voided) {
            self.note_flushed(&done);
        }
        Ok(self.durable)
    }

    fn note_flushed(&mut self, done: &Done) {
        self.dir_synced = self.dir_synced.max(done.dir_changes);
        self.parent_unsynced &= !done.parent;
        // Only now: another flush may have ended in between, and must not have thought that this one had.
        self.metadata_unsynced &= !done.metadata;
        self.last_flush_ms = self.last_flush_ms.max(done.begun_ms);
        // After a cut the same offsets may hold other records, and the same names other segments, of which the ticket knows nothing.
        if done.cuts != self.cuts {
            return;
        }
        for &(base, changes, indexes) in &done.segments {
            let Ok(at) = self.segments.binary_search_by_key(&base, |segment| segment.base) else { continue };
            let segment = &mut self.segments[at];
            segment.synced_changes = segment.synced_changes.max(changes);
            if indexes && segment.changes == changes {
                segment.indexes_unsynced = false;
            }
        }
        self.durable = self.durable.max(done.up_to);
        self.cover(done.covered);
    }

    /// Flushes in one go, for callers without a flusher: shut-down, tests, the quorum's log.
    ///
    /// # Errors
    /// As [`Log::complete_flush`].
    pub fn flush(&mut self, now_ms: i64) -> Result<Offset, LogError> {
        match self.begin_flush(now_ms)? {
            Some(ticket) => {
                let outcome = ticket.sync(self.fs.clone().as_ref());
                self.complete_flush(outcome)
            }
            None => Ok(self.durable),
        }
    }

    /// Whether `flush.messages`, a rolled segment or the first records of a new log ask for a flush now: Kafka asks with each
    /// append (`UnifiedLog.append`).
    pub fn flush_due_by_append(&self) -> bool {
        self.durable < self.active().base || self.flush_messages_reached() || self.may_become_stray()
    }

    /// Bytes of the active segment that came since the last flush, in place or into the journal; all of them where there was none yet.
    pub fn unflushed_bytes(&self) -> u32 {
        let (active, covered) = (self.active(), self.covered);
        if covered.base == active.base { active.size.saturating_sub(covered.size) } else { active.size }
    }

    /// Whether a power cut can leave records without the file that says of which topic they are, so that nobody would serve
    /// them (`UnifiedLog.maybeFlushMetadataFile`).
    fn may_become_stray(&self) -> bool {
        self.metadata_unsynced && self.log_end > self.durable
    }

    /// Whether as many records are not durable as `flush.messages` says.
    pub fn flush_messages_reached(&self) -> bool {
        let unflushed = self.log_end - self.durable;
        unflushed > 0 && unflushed >= self.config.flush_messages
    }

    /// Whether `flush.messages`, `flush.ms` or a rolled segment ask for a flush.
    pub fn flush_due(&self, now_ms: i64) -> bool {
        let waited = now_ms.saturating_sub(self.last_flush_ms);
        self.flush_due_by_append() || (self.log_end > self.durable && waited >= self.config.flush_ms)
    }
}
