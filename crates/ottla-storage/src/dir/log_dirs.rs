//! All log directories of a node: which partition is where, and where a new one goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_types::{NodeId, Offset, TopicPartition, Uuid};

use super::deletion::Doomed;
use super::duties::CheckpointEntry;
use super::log_dir::LogDir;
use super::partition_dir::{PartitionDirKind, partition_dir_name};
use super::{CreateError, DirOffline};
use crate::fs::Fs;
use crate::log::{Log, LogConfig, LogError, LogOpen};

/// The log directories of a node. Shared; everything takes `&self`, and no lock is held while the disk works.
///
/// See the [module documentation](super) for the order of calls and for who owns the logs.
#[derive(Debug)]
pub struct LogDirs {
    fs: Arc<dyn Fs>,
    cluster_id: String,
    node_id: NodeId,
    dirs: Vec<Arc<LogDir>>,
    metadata_dir: Arc<LogDir>,
    last_broker_epoch: Option<i64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Where each log is, or is about to be.
    pub(super) places: BTreeMap<LogKey, Place>,
    pub(super) doomed: VecDeque<Doomed>,
    cordoned: BTreeSet<Uuid>,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) dir: Arc<LogDir>,
    /// What the checkpoints had of it last; goes in again while its owner is not there to ask.
    pub(super) last: Option<CheckpointEntry>,
}

/// One log of this node: a partition has a current one, and for the time of a move a second, future one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogKey {
    /// The partition.
    pub partition: TopicPartition,
    /// Whether it is the target of a move between directories.
    pub is_future: bool,
}

/// An open log and where it is. Owned by whoever owns the replica; the set of directories knows only the place.
#[derive(Debug)]
pub struct PlacedLog {
    /// Which log.
    pub key: LogKey,
    /// Where it is. A failed operation on the log must be told to it with [`LogDir::fail`].
    pub dir: Arc<LogDir>,
    /// The log itself.
    pub log: Log,
}

/// A log to be created.
#[derive(Clone, Debug)]
pub struct NewLog {
    /// Which log.
    pub key: LogKey,
    /// The id of its topic, which is written into the directory.
    pub topic_id: Uuid,
    /// Whether the replica is new on this node. An old one that has no log may have it in a directory that is offline.
    pub is_new: bool,
    /// The directory that the controller has assigned; unassigned and lost ones, and `None`, leave the choice to us.
    pub dir_id: Option<Uuid>,
    /// Settings of the topic.
    pub config: LogConfig,
    /// Anything random: makes a future log's directory name unique, and spreads `segment.jitter.ms`.
    pub unique: u128,
    /// The current time.
    pub now_ms: i64,
}

impl LogKey {
    /// A partition's current log.
    pub fn current(partition: TopicPartition) -> Self {
        Self { partition, is_future: false }
    }

    /// A partition's future log.
    pub fn future(partition: TopicPartition) -> Self {
        Self { partition, is_future: true }
    }

    pub(super) fn kind(&self) -> PartitionDirKind {
        if self.is_future { PartitionDirKind::Future } else { PartitionDirKind::Current }
    }
}

impl State {
    /// Notes that a log is, or is about to be, in a directory; it may have been in another before.
    pub(super) fn enter(&mut self, key: LogKey, place: Place) {
        place.dir.count_log(1);
        if let Some(before) = self.places.insert(key, place) {
            before.dir.count_log(-1);
        }
    }

    /// Notes that a log is gone.
    pub(super) fn leave(&mut self, key: &LogKey) {
        if let Some(before) = self.places.remove(key) {
            before.dir.count_log(-1);
        }
    }
}

impl LogDirs {
    pub(super) fn new(
        fs: Arc<dyn Fs>,
        cluster_id: String,
        node_id: NodeId,
        dirs: Vec<Arc<LogDir>>,
        metadata_dir: Arc<LogDir>,
        last_broker_epoch: Option<i64>,
    ) -> Self {
        Self { fs, cluster_id, node_id, dirs, metadata_dir, last_broker_epoch, state: Mutex::default() }
    }

    /// The cluster that the directories belong to.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The node that the directories belong to.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// `log.dirs`, in the order of the configuration, those that are offline too.
    pub fn dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// Where the metadata log is; need not be among [`LogDirs::dirs`].
    pub fn metadata_dir(&self) -> &Arc<LogDir> {
        &self.metadata_dir
    }

    /// The file system of all of them.
    pub fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// The directories that work.
    pub fn online(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().filter(|dir| dir.is_online())
    }

    /// One that does not work, if there is any.
    pub fn first_offline(&self) -> Option<DirOffline> {
        self.dirs.iter().find_map(|dir| dir.check_online().err())
    }

    /// The directory of that id, if it works.
    pub fn online_by_id(&self, id: Uuid) -> Option<&Arc<LogDir>> {
        self.online().find(|dir| dir.id() == Some(id))
    }

    /// The directory of that path, as configured.
    pub fn by_path(&self, path: &Path) -> Option<&Arc<LogDir>> {
        self.dirs.iter().find(|dir| dir.path() == path)
    }

    /// The broker epoch of the last shut-down, if that was clean in all directories (`PreviousBrokerEpoch` of the broker's
    /// registration).
    pub fn last_broker_epoch(&self) -> Option<i64> {
        self.last_broker_epoch
    }

    /// Directories that get no new logs unless one is assigned to them (`cordoned.log.dirs`, KIP-1066).
    pub fn set_cordoned(&self, ids: BTreeSet<Uuid>) {
        self.state().cordoned = ids;
    }

    /// Where a log is; also while it is being created, and when its directory is offline.
    pub fn place(&self, key: &LogKey) -> Option<Arc<LogDir>> {
        self.state().places.get(key).map(|at| Arc::clone(&at.dir))
    }

    /// The logs in a directory, in order.
    pub fn logs_in(&self, dir: &LogDir) -> Vec<LogKey> {
        let state = self.state();
        state
            .places
            .iter()
            .filter(|(_, at)| at.dir.path() == dir.path())
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The logs in a directory with what the checkpoints had of them last.
    pub(super) fn last_entries(&self, dir: &LogDir) -> Vec<(LogKey, Option<CheckpointEntry>)> {
        let state = self.state();
        let here = state.places.iter().filter(|(_, at)| at.dir.path() == dir.path());
        here.map(|(key, at)| (key.clone(), at.last)).collect()
    }

    pub(super) fn note_entries(&self, entries: &[(LogKey, CheckpointEntry)]) {
        let mut state = self.state();
        for (key, entry) in entries {
            if let Some(place) = state.places.get_mut(key) {
                place.last = Some(*entry);
            }
        }
    }

    /// Number of logs.
    pub fn log_count(&self) -> usize {
        self.state().places.len()
    }

    /// Forgets the logs of a directory that has failed and says which they were. The owner drops them.
    pub fn forget_logs_in(&self, dir: &LogDir) -> Vec<LogKey> {
        let keys = self.logs_in(dir);
        let mut state = self.state();
        for key in &keys {
            state.leave(key);
        }
        keys
    }

    /// Creates a log in the directory that is assigned, or else in the one with the fewest logs, trying the next when that
    /// one fails. Durable with the log's first flush.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn create(&self, new: &NewLog) -> Result<PlacedLog, CreateError> {
        let mut last = None;
        for dir in self.candidates(new)? {
            self.reserve(&new.key, &dir)?;
            if let Err(offline) = dir.drop_stale_offsets(&new.key.partition) {
                self.state().leave(&new.key);
                last = Some(offline);
                continue;
            }
            let name = partition_dir_name(&new.key.partition, new.key.kind(), new.unique);
            let open = LogOpen {
                clean_shutdown: true,
                recovery_point: Offset::ZERO,
                log_start_offset: Offset::ZERO,
                topic_id: Some(new.topic_id),
                jitter_seed: fold(new.unique),
                now_ms: new.now_ms,
            };
            match Log::open(Arc::clone(&self.fs), &dir.path().join(name), new.config.clone(), open) {
                Ok((log, _)) => return Ok(PlacedLog { key: new.key.clone(), dir, log }),
                Err(error) => {
                    self.state().leave(&new.key);
                    if matches!(error, LogError::InconsistentTopicId { .. }) {
                        return Err(CreateError::Log(error));
                    }
                    last = Some(dir.failed(&error));
                }
            }
        }
        Err(CreateError::NoneAvailable(last))
    }

    /// Directories to try, best first.
    fn candidates(&self, new: &NewLog) -> Result<Vec<Arc<LogDir>>, CreateError> {
        if !new.is_new
            && let Some(offline) = self.first_offline()
        {
            return Err(CreateError::MayBeOffline(offline));
        }
        if let Some(id) = new.dir_id.filter(|id| !id.is_reserved()) {
            let dir = self.online_by_id(id).ok_or(CreateError::NoSuchDir(id))?;
            return Ok(vec![Arc::clone(dir)]);
        }
        let state = self.state();
        let open = |dir: &Arc<LogDir>| dir.id().is_none_or(|id| !state.cordoned.contains(&id));
        let mut dirs: Vec<(usize, Arc<LogDir>)> =
            self.online().filter(|dir| open(dir)).map(|dir| (dir.log_count(), Arc::clone(dir))).collect();
        if dirs.is_empty() {
            // All cordoned: the replica was assigned before that, so some directory must take it.
            dirs.extend(self.online().take(1).map(|dir| (0, Arc::clone(dir))));
        }
        dirs.sort_by_key(|(count, _)| *count);
        Ok(dirs.into_iter().map(|(_, dir)| dir).collect())
    }

    fn reserve(&self, key: &LogKey, dir: &Arc<LogDir>) -> Result<(), CreateError> {
        let mut state = self.state();
        if state.places.contains_key(key) {
            return Err(CreateError::Exists(key.partition.clone()));
        }
        state.enter(key.clone(), Place { dir: Arc::clone(dir), last: None });
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlacedLog {
    /// The error as that of the directory, which is offline from now on.
    pub fn failed(&self, error: &LogError) -> DirOffline {
        self.dir.failed(error)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn fold(unique: u128) -> u64 {
    (unique >> 64) as u64 ^ unique as u64
}
