//! One log directory: its lock, its identity, its checkpoints, and whether it still works.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ottla_types::{Offset, TopicPartition, Uuid};

use super::DirOffline;
use super::checkpoint_file::{
    CLEANER_CHECKPOINT, CheckpointFile, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, PartitionOffsets,
    RECOVERY_POINT_CHECKPOINT,
};
use super::clean_shutdown::{remove_marker, write_marker};
use super::journal::remove_journal;
use super::stale_offsets::StaleOffsets;
use crate::fs::{FileLock, Fs, Volume, remove_file_if_exists};

/// Name of the lock file.
pub const LOCK_FILE: &str = ".lock";

/// One of the offset checkpoints of a log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// `recovery-point-offset-checkpoint`.
    RecoveryPoints,
    /// `log-start-offset-checkpoint`.
    LogStarts,
    /// `replication-offset-checkpoint`.
    HighWatermarks,
    /// `cleaner-offset-checkpoint`.
    CleanerOffsets,
}

impl Checkpoint {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::RecoveryPoints, Self::LogStarts, Self::HighWatermarks, Self::CleanerOffsets];
}

/// A log directory of this node. Shared by all logs in it; everything takes `&self`.
///
/// The first failed write, sync or unreadable checkpoint takes the directory offline, for good: nothing is written any
/// more, and the lock is released, so that an operator can look after the disk. A restart brings it back.
#[derive(Debug)]
pub struct LogDir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    id: Option<Uuid>,
    offline: OnceLock<String>,
    on_failure: FailureHook,
    lock: Mutex<Option<FileLock>>,
    /// Held since before anything was written.
    volume: Mutex<Option<Arc<dyn Volume>>>,
    /// Held while the volume is synced: of two syncs at a time the kernel tells one only that something could not be written.
    syncing_volume: Mutex<()>,
    loading: Mutex<Loading>,
    /// Recovery points that the start takes back, until all its logs are loaded.
    taken_back: Mutex<PartitionOffsets>,
    names: RwLock<()>,
    log_count: AtomicIsize,
    /// Held from collecting the offsets of a checkpoint until they are written.
    collecting: Mutex<()>,
    stale: StaleOffsets,
    checkpoints: [CheckpointFile; 4],
}

/// See [`LogDir::on_failure`].
#[derive(Default)]
struct FailureHook(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl std::fmt::Debug for FailureHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.get().is_some() { "FailureHook(set)" } else { "FailureHook(none)" })
    }
}

/// See [`LogDir::hold_names`].
#[derive(Debug)]
pub struct NamesHeld<'a> {
    _guard: RwLockReadGuard<'a, ()>,
}

/// How far the logs of the directory are loaded; decides whether a shut-down may call itself clean.
#[derive(Clone, Copy, Debug, Default)]
struct Loading {
    was_clean: bool,
    /// Logs that are still to be loaded; `None` before it is known.
    left: Option<usize>,
}

impl LogDir {
    pub(super) fn new(fs: Arc<dyn Fs>, path: &Path, id: Option<Uuid>) -> Self {
        let file = |name| CheckpointFile::new(path, name);
        Self {
            fs,
            path: path.to_owned(),
            id,
            offline: OnceLock::new(),
            on_failure: FailureHook::default(),
            lock: Mutex::new(None),
            volume: Mutex::new(None),
            syncing_volume: Mutex::default(),
            loading: Mutex::default(),
            taken_back: Mutex::default(),
            names: RwLock::default(),
            log_count: AtomicIsize::new(0),
            collecting: Mutex::default(),
            stale: StaleOffsets::default(),
            checkpoints: [
                file(RECOVERY_POINT_CHECKPOINT),
                file(LOG_START_CHECKPOINT),
                file(HIGH_WATERMARK_CHECKPOINT),
                file(CLEANER_CHECKPOINT),
            ],
        }
    }

    /// Its path as configured.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory id; `None` only when its `meta.properties` could not be read, and it is offline therefore.
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }

    /// The file system it is in.
    pub fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// Number of logs in it, future ones and those about to be created included.
    pub fn log_count(&self) -> usize {
        usize::try_from(self.log_count.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn count_log(&self, change: isize) {
        self.log_count.fetch_add(change, Ordering::Relaxed);
    }

    /// Whether it works.
    pub fn is_online(&self) -> bool {
        self.offline.get().is_none()
    }

    /// Why it does not work, if so.
    pub fn offline_reason(&self) -> Option<&str> {
        self.offline.get().map(String::as_str)
    }

    /// `Ok` while it works.
    ///
    /// # Errors
    /// [`DirOffline`] with the reason.
    pub fn check_online(&self) -> Result<(), DirOffline> {
        match self.offline.get() {
            None => Ok(()),
            Some(reason) => Err(DirOffline { dir: self.path.clone(), reason: reason.clone() }),
        }
    }

    /// Takes it offline, for whoever met the failure (a log's error, mostly). Only the first reason counts; returns whether
    /// this was it. The caller drops the logs in it then, and tells the controller.
    pub fn fail(&self, reason: &dyn Display) -> bool {
        let first = self.offline.set(reason.to_string()).is_ok();
        if first {
            self.unlock();
            if let Some(call) = self.on_failure.0.get() {
                call();
            }
        }
        first
    }

    /// Has `call` called when the directory fails, by whoever meets the failure: it must be quick. One call counts.
    pub fn on_failure(&self, call: impl Fn() + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.on_failure.0.set(Box::new(call));
    }

    /// [`LogDir::fail`] as an error to pass on.
    pub fn failed(&self, reason: &dyn Display) -> DirOffline {
        self.fail(reason);
        let reason = self.offline_reason().map_or_else(|| reason.to_string(), str::to_owned);
        DirOffline { dir: self.path.clone(), reason }
    }

    /// Keeps partition directories from being renamed (deleted, set aside, promoted) while the guard lives. A flusher takes
    /// it before [`Log::begin_flush`](crate::log::Log::begin_flush) and lets go after
    /// [`Log::complete_flush`](crate::log::Log::complete_flush): a flush writes by path, and must not write into what has
    /// come to bear the old name. Do not wait for it with a log's lock held, nor while you have one already.
    pub fn hold_names(&self) -> NamesHeld<'_> {
        NamesHeld { _guard: self.names.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The entries of a checkpoint.
    ///
    /// # Errors
    /// It is unreadable, which takes the directory offline, or it was offline already.
    pub fn read_checkpoint(&self, which: Checkpoint) -> Result<PartitionOffsets, DirOffline> {
        self.check_online()?;
        self.file(which).read(self.fs.as_ref()).map_err(|e| self.failed(&e))
    }

    /// Replaces the entries of a checkpoint. Waits for the disk.
    ///
    /// # Errors
    /// It cannot be written, which takes the directory offline, or it was offline already.
    pub fn write_checkpoint(&self, which: Checkpoint, entries: &PartitionOffsets) -> Result<(), DirOffline> {
        self.check_online()?;
        let file = self.file(which);
        file.write(self.fs.as_ref(), entries)
            .map_err(|e| self.failed(&format_args!("cannot write {}: {e}", file.path().display())))
    }

    /// Changes the entries of a checkpoint in one step: what compaction does with its first dirty offsets. Waits for the
    /// disk.
    ///
    /// # Errors
    /// As reading and writing it.
    pub fn update_checkpoint(
        &self,
        which: Checkpoint,
        change: impl FnOnce(&mut PartitionOffsets),
    ) -> Result<(), DirOffline> {
        self.check_online()?;
        self.file(which).update(self.fs.as_ref(), change).map_err(|e| self.failed(&e))
    }

    /// Runs an operation on the disk whose failure takes the directory offline.
    pub(super) fn attempt<T>(
        &self,
        what: &str,
        operation: impl FnOnce(&dyn Fs) -> io::Result<T>,
    ) -> Result<T, DirOffline> {
        self.check_online()?;
        operation(self.fs.as_ref()).map_err(|e| self.failed(&format_args!("cannot {what}: {e}")))
    }

    /// Takes the lock; `false` when somebody else has it.
    pub(super) fn try_lock(&self) -> Result<bool, DirOffline> {
        let path = self.path.join(LOCK_FILE);
        let lock = self.attempt("take the lock", |fs| fs.try_lock(&path))?;
        let taken = lock.is_some();
        *self.held_lock() = lock;
        if taken {
            *self.held_volume() = self.attempt("open the directory", |fs| fs.volume(&self.path))?;
        }
        Ok(taken)
    }

    /// Releases the lock and removes its file, which is removed first so that nobody locks a file about to go.
    pub(super) fn unlock(&self) {
        let mut held = self.held_lock();
        if held.is_some() {
            // That the file stays behind does no harm, and the disk may be the reason why we are here.
            let _ = remove_file_if_exists(self.fs.as_ref(), &self.path.join(LOCK_FILE));
        }
        *held = None;
        *self.held_volume() = None;
    }

    /// The volume that it is on, where that can be made durable at once.
    pub(super) fn volume(&self) -> Option<Arc<dyn Volume>> {
        self.held_volume().clone()
    }

    /// Makes all durable that was written to its volume, by whomever; `false` where that cannot be done. Waits for the disk.
    ///
    /// # Errors
    /// It failed, which takes the directory offline, or it was offline already.
    pub fn sync_volume(&self) -> Result<bool, DirOffline> {
        let _turn = self.syncing_volume.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_online()?;
        match self.volume() {
            Some(volume) => self.attempt("sync its volume", |_| volume.sync().map(|()| true)),
            None => self.check_online().map(|()| false),
        }
    }

    /// Notes that loading begins; the marker is gone from here on.
    pub(super) fn begin_loading(&self, was_clean: bool) -> Result<(), DirOffline> {
        *self.loading() = Loading { was_clean, left: None };
        if was_clean {
            self.attempt("remove the clean-shutdown marker", |fs| remove_marker(fs, &self.path))
        } else {
            Ok(())
        }
    }

    /// Notes how many logs are to be loaded.
    pub(super) fn set_left_to_load(&self, left: usize) -> Result<(), DirOffline> {
        self.loading().left = Some(left);
        self.end_loading()
    }

    /// Has a recovery point written with those of other logs when the last one is loaded: before that nothing is appended.
    pub(super) fn take_back(&self, partition: &TopicPartition, recovery_point: Offset) {
        self.taken_back().insert(partition.clone(), recovery_point);
    }

    /// Notes that a log was loaded, or cannot be, which has taken the directory offline.
    pub(super) fn note_loaded(&self) -> Result<(), DirOffline> {
        {
            let mut loading = self.loading();
            loading.left = loading.left.map(|left| left.saturating_sub(1));
        }
        self.end_loading()
    }

    /// When all logs are loaded, they have what the journal had of them. It must go also where nobody was in need of it: the
    /// partition that it knows may have left, and may come back with other records.
    fn end_loading(&self) -> Result<(), DirOffline> {
        if !self.is_loaded() {
            return Ok(());
        }
        let taken_back = std::mem::take(&mut *self.taken_back());
        if !taken_back.is_empty() {
            let _collecting = self.collect_offsets();
            self.update_checkpoint(Checkpoint::RecoveryPoints, |entries| entries.extend(taken_back))?;
        }
        self.attempt("remove the journal", |fs| remove_journal(fs, &self.path))
    }

    /// Logs that are still to be loaded, for watching a long recovery; `None` before it is known.
    pub fn left_to_load(&self) -> Option<usize> {
        self.loading().left
    }

    /// Whether all its logs were loaded. Before that its checkpoints must stay as they are: they know logs that the node
    /// does not know yet.
    pub fn is_loaded(&self) -> bool {
        self.left_to_load() == Some(0)
    }

    /// Writes the marker, if the directory deserves it: it was clean when loading began, or all its logs were loaded, which
    /// has recovered them. Everything else must be durable.
    pub(super) fn mark_clean(&self, broker_epoch: Option<i64>) -> Result<bool, DirOffline> {
        let Loading { was_clean, left } = *self.loading();
        let deserved = was_clean || left == Some(0);
        if deserved {
            self.attempt("remove the journal", |fs| remove_journal(fs, &self.path))?;
            self.attempt("write the clean-shutdown marker", |fs| write_marker(fs, &self.path, broker_epoch))?;
        }
        Ok(deserved)
    }

    pub(super) fn change_names(&self) -> RwLockWriteGuard<'_, ()> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stale(&self) -> &StaleOffsets {
        &self.stale
    }

    /// To be held from collecting offsets until the checkpoint with them is written.
    pub(super) fn collect_offsets(&self) -> MutexGuard<'_, ()> {
        self.collecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that no checkpoint has offsets of an earlier log of the partition, nor of any other whose log is gone: when a
    /// topic of thousands of partitions comes again, the first of them does it for all.
    pub(super) fn drop_stale_offsets(&self, partition: &TopicPartition) -> Result<(), DirOffline> {
        if self.stale.checkpoints_of(partition).is_empty() {
            return Ok(());
        }
        // A collection that began while the log was there would bring them back.
        let _collecting = self.collect_offsets();
        let gone = self.stale.partitions_now();
        for which in self.stale.checkpoints_of(partition) {
            self.update_checkpoint(which, |entries| {
                for partition in &gone {
                    entries.remove(partition);
                }
            })?;
            self.stale.written_without(&gone, which);
        }
        Ok(())
    }

    fn file(&self, which: Checkpoint) -> &CheckpointFile {
        let [recovery_points, log_starts, high_watermarks, cleaner_offsets] = &self.checkpoints;
        match which {
            Checkpoint::RecoveryPoints => recovery_points,
            Checkpoint::LogStarts => log_starts,
            Checkpoint::HighWatermarks => high_watermarks,
            Checkpoint::CleanerOffsets => cleaner_offsets,
        }
    }

    fn loading(&self) -> MutexGuard<'_, Loading> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken_back(&self) -> MutexGuard<'_, PartitionOffsets> {
        self.taken_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_volume(&self) -> MutexGuard<'_, Option<Arc<dyn Volume>>> {
        self.volume.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_lock(&self) -> MutexGuard<'_, Option<FileLock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
