//! Opening all logs at the start (`LogManager.loadLogs`), as jobs that the caller runs on as many threads as it likes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{Offset, TopicPartition, Uuid};

use super::deletion::Doomed;
use super::duties::CheckpointEntry;
use super::journal::{JournalContents, remove_journal};
use super::log_dir::{Checkpoint, LogDir};
use super::log_dirs::{LogDirs, LogKey, Place, PlacedLog};
use super::partition_dir::{
    METADATA_TOPIC, PartitionDirKind, PartitionDirName, REMOTE_INDEX_CACHE_DIR, partition_dir_name,
};
use super::start::all_offline;
use super::{CLEAN_SHUTDOWN_MARKER, DirOffline, StartError};
use crate::fs::{FileInfo, Fs, exists};
use crate::log::{LoadEvent, LoadReport, Log, LogConfig, LogError, LogOpen, Replayed};

/// The logs to open in one directory.
#[derive(Debug)]
pub struct DirLoad {
    /// The directory.
    pub dir: Arc<LogDir>,
    /// Whether the last shut-down was clean; else the logs are recovered.
    pub was_clean: bool,
    /// One per log.
    pub jobs: Vec<LoadJob>,
    /// Directories of partitions that were found not to belong to this node; nobody touches them.
    pub strays: Vec<PathBuf>,
    /// Number of directories of deleted partitions that are queued for removal.
    pub deleted: usize,
}

/// One log to open. Jobs are independent of each other.
#[derive(Debug)]
pub struct LoadJob {
    dir: Arc<LogDir>,
    path: PathBuf,
    key: LogKey,
    was_clean: bool,
    recovery_point: Offset,
    log_start: Offset,
    high_watermark: Offset,
    journal: Arc<JournalContents>,
}

/// A [`LoadJob`] done, to be handed to [`LogDirs::admit`].
#[derive(Debug)]
#[must_use = "hand it to LogDirs::admit"]
pub struct LoadOutcome {
    pub(super) dir: Arc<LogDir>,
    pub(super) path: PathBuf,
    pub(super) key: LogKey,
    /// What the checkpoint says.
    pub(super) recovery_point: Offset,
    pub(super) result: Result<(Log, LoadReport), LogError>,
}

/// What became of an opened log.
#[derive(Debug)]
pub enum Admission {
    /// It is this node's. Its high watermark is the checkpointed one.
    Admitted(Box<PlacedLog>, LoadReport),
    /// It is none of this node's; its directory is now this one.
    SetAside(PathBuf),
    /// It could not be opened, and its directory is offline.
    Failed(DirOffline),
}

impl LogDirs {
    /// Begins the start: per directory that works, removes the marker, reads the checkpoints and lists the logs. A directory
    /// that fails goes offline. Call it once, then run all jobs.
    ///
    /// # Errors
    /// [`StartError::ForeignDir`]: as Kafka, rather no start than guessing; or nothing works.
    pub fn begin_loading(&self, now_ms: i64) -> Result<Vec<DirLoad>, StartError> {
        // All of them before any is touched: a start that is refused for one must not make the others unclean.
        let mut listings = Vec::new();
        for dir in self.online() {
            let Ok(entries) = dir.attempt("list the directory", |fs| fs.list(dir.path())) else { continue };
            listings.push((dir, partition_dirs(dir, entries)?));
        }
        let loads: Vec<DirLoad> = listings
            .into_iter()
            .filter_map(|(dir, names)| self.begin_loading_dir(dir, names, now_ms).ok())
            .collect();
        if loads.is_empty() { Err(all_offline(self.dirs())) } else { Ok(loads) }
    }

    fn begin_loading_dir(
        &self,
        dir: &Arc<LogDir>,
        names: Vec<(PathBuf, PartitionDirName)>,
        now_ms: i64,
    ) -> Result<DirLoad, DirOffline> {
        let marker = dir.path().join(CLEAN_SHUTDOWN_MARKER);
        let was_clean = dir.attempt("look for the clean-shutdown marker", |fs| exists(fs, &marker))?;
        // From here on a crash is an unclean end, even while nothing is loaded yet (KAFKA-10471).
        dir.begin_loading(was_clean)?;
        let journal = if was_clean {
            // Another program may have come after the one that left it, and stopped in order.
            dir.attempt("remove the journal", |fs| remove_journal(fs, dir.path()))?;
            JournalContents::default()
        } else {
            dir.attempt("read the journal", |fs| JournalContents::read(fs, dir.path()))?
        };
        let journal = Arc::new(journal);
        let recovery_points = dir.read_checkpoint(Checkpoint::RecoveryPoints)?;
        let log_starts = dir.read_checkpoint(Checkpoint::LogStarts)?;
        let high_watermarks = dir.read_checkpoint(Checkpoint::HighWatermarks)?;
        let cleaner_offsets = dir.read_checkpoint(Checkpoint::CleanerOffsets)?;
        // Entries without a log: it went just before a crash.
        let here: BTreeSet<&TopicPartition> =
            names.iter().filter(|(_, name)| name.kind.is_live()).map(|(_, name)| &name.partition).collect();
        let entries = [&recovery_points, &log_starts, &high_watermarks, &cleaner_offsets];
        for partition in entries.into_iter().flat_map(|checkpoint| checkpoint.keys()) {
            if !here.contains(partition) {
                dir.stale().add(partition);
            }
        }
        let mut load =
            DirLoad { dir: Arc::clone(dir), was_clean, jobs: Vec::new(), strays: Vec::new(), deleted: 0 };
        for (path, PartitionDirName { partition, kind }) in names {
            let at = |checkpoint: &super::PartitionOffsets| {
                checkpoint.get(&partition).copied().unwrap_or(Offset::ZERO).max(Offset::ZERO)
            };
            match kind {
                PartitionDirKind::Stray => load.strays.push(path),
                PartitionDirKind::Deleted => {
                    self.state().doomed.push_back(Doomed { dir: Arc::clone(dir), path, since_ms: now_ms });
                    load.deleted += 1;
                }
                PartitionDirKind::Current | PartitionDirKind::Future => load.jobs.push(LoadJob {
                    dir: Arc::clone(dir),
                    path,
                    was_clean,
                    recovery_point: at(&recovery_points),
                    log_start: at(&log_starts),
                    high_watermark: at(&high_watermarks),
                    journal: Arc::clone(&journal),
                    key: LogKey { is_future: kind == PartitionDirKind::Future, partition },
                }),
            }
        }
        dir.set_left_to_load(load.jobs.len())?;
        Ok(load)
    }

    /// Takes an opened log in. `is_stray` decides, by the partition and the topic id found with it, whether the metadata
    /// says that this node has no such replica; such a log is renamed `-stray`, with `unique` in its name, and kept.
    ///
    /// # Errors
    /// [`StartError::DuplicateLog`].
    pub fn admit(
        &self,
        outcome: LoadOutcome,
        is_stray: &dyn Fn(&TopicPartition, Option<Uuid>) -> bool,
        unique: u128,
    ) -> Result<Admission, StartError> {
        let LoadOutcome { dir, path, key, recovery_point, result } = outcome;
        let opened = dir.check_online().and_then(|()| result.map_err(|e| dir.failed(&e)));
        if let Ok((log, _)) = &opened
            && (key.is_future || log.durable_offset() < recovery_point)
        {
            // Before anything is appended to it: a power failure then must not leave a checkpoint that calls durable what was not synced.
            dir.take_back(&key.partition, log.recovery_point());
        }
        // After a failure has taken the directory offline: nobody else must take the journal for used.
        let (log, report) = match dir.note_loaded().and(opened) {
            Ok(opened) => opened,
            Err(offline) => return Ok(Admission::Failed(offline)),
        };
        if is_stray(&key.partition, log.topic_id()) {
            drop(log);
            dir.stale().add(&key.partition);
            let name = partition_dir_name(&key.partition, PartitionDirKind::Stray, unique);
            return Ok(match rename_in(&dir, &path, &name) {
                Ok(path) => Admission::SetAside(path),
                Err(offline) => Admission::Failed(offline),
            });
        }
        let mut state = self.state();
        if let Some(other) = state.places.get(&key) {
            return Err(StartError::DuplicateLog {
                first: other.dir.path().join(partition_dir_name(
                    &key.partition,
                    PartitionDirKind::Current,
                    0,
                )),
                second: path,
                partition: key.partition,
            });
        }
        let last = Some(CheckpointEntry::of(&log));
        state.enter(key.clone(), Place { dir: Arc::clone(&dir), last });
        drop(state);
        Ok(Admission::Admitted(Box::new(PlacedLog { key, dir, log }), report))
    }
}

impl LoadJob {
    /// Which log.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the log; slow after an unclean end. `jitter_seed` as in [`LogOpen`]. Does nothing when its log directory has
    /// failed in the meantime.
    pub fn run(self, config: LogConfig, jitter_seed: u64, now_ms: i64) -> LoadOutcome {
        let Self { dir, path, key, was_clean, recovery_point, log_start, high_watermark, journal } = self;
        let open = LogOpen {
            clean_shutdown: was_clean,
            recovery_point,
            log_start_offset: log_start,
            topic_id: None,
            jitter_seed,
            now_ms,
        };
        let fs = dir.fs();
        let result = if !dir.is_online() {
            let source = std::io::Error::other("the log directory is offline");
            Err(LogError::Io { action: "open", path: path.clone(), source })
        } else if key.is_future || !journal.knows(&path) {
            Log::open(Arc::clone(fs), &path, config, open)
        } else {
            open_with_journal(fs, &path, &config, open, &journal)
        };
        let result = result.and_then(|(mut log, report)| {
            if key.is_future && !was_clean {
                // A power cut may have taken any part of what was not durable, and of a copy nobody would miss it before it has taken
                // the place of the whole.
                log.truncate_to(log.durable_offset(), now_ms)?;
            }
            log.set_high_watermark(high_watermark);
            Ok((log, report))
        });
        LoadOutcome { dir, path, key, recovery_point, result }
    }
}

/// Opens a log and gives it back what only the journal has of it.
fn open_with_journal(
    fs: &Arc<dyn Fs>,
    path: &Path,
    config: &LogConfig,
    open: LogOpen,
    journal: &JournalContents,
) -> Result<(Log, LoadReport), LogError> {
    // The log may have been shortened below its start: what is in the journal must find its place before anybody notices.
    let (mut log, mut report) = Log::open_to_go_on(Arc::clone(fs), path, config.clone(), open)?;
    let pieces = journal.of(path, log.topic_id());
    let Replayed { records, has_gap } = log.replay_journal(pieces, open.now_ms)?;
    if records > 0 {
        report.events.push(LoadEvent::Replayed { records, end: log.log_end_offset() });
    }
    if has_gap {
        report.events.push(LoadEvent::JournalGap { end: log.log_end_offset() });
    }
    log.set_high_watermark(open.log_start_offset);
    if log.advance_log_start(open.log_start_offset).is_err() {
        drop(log);
        let (log, more) = Log::open(Arc::clone(fs), path, config.clone(), open)?;
        report.events.extend(more.events);
        return Ok((log, report));
    }
    Ok((log, report))
}

impl LoadOutcome {
    /// Which log.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The partition directories of a listing.
fn partition_dirs(
    dir: &LogDir,
    entries: Vec<(String, FileInfo)>,
) -> Result<Vec<(PathBuf, PartitionDirName)>, StartError> {
    let mut names = Vec::new();
    for (name, _) in entries.into_iter().filter(|(name, info)| info.is_dir && name != REMOTE_INDEX_CACHE_DIR)
    {
        let parsed = PartitionDirName::parse(&name)
            .map_err(|name| StartError::ForeignDir { dir: dir.path().to_owned(), name })?;
        if parsed.partition.topic.as_str() != METADATA_TOPIC {
            names.push((dir.path().join(name), parsed));
        }
    }
    Ok(names)
}

/// A partition directory and its new name.
pub(super) type Renaming = (PathBuf, String);

/// So many are renamed while flushers, which hold the names, wait.
const RENAMES_AT_ONCE: usize = 256;

/// Renames a partition directory within its log directory, durably; its new path.
pub(super) fn rename_in(dir: &LogDir, from: &Path, name: &str) -> Result<PathBuf, DirOffline> {
    let renamed = rename_all_in(dir, &[(from.to_owned(), name.to_owned())])?;
    Ok(renamed.into_iter().next().expect("as many as were given"))
}

/// Renames partition directories within their log directory, durably and with few syncs; their new paths.
pub(super) fn rename_all_in(dir: &LogDir, renames: &[Renaming]) -> Result<Vec<PathBuf>, DirOffline> {
    let mut renamed = Vec::with_capacity(renames.len());
    for some in renames.chunks(RENAMES_AT_ONCE) {
        let names = dir.change_names();
        for (from, name) in some {
            let to = dir.path().join(name);
            dir.attempt(&format!("rename {} to {name}", from.display()), |fs| fs.rename(from, &to))?;
            renamed.push(to);
        }
        drop(names);
        dir.attempt("sync the names of partition directories", |fs| fs.sync_dir(dir.path()))?;
    }
    Ok(renamed)
}
