//! The snapshots of one metadata directory: which there are, and which may go (`KafkaRaftLog`).

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_storage::fs::{Fs, remove_file_if_exists};
use ottla_types::{Offset, TimestampMs};

use super::{Snapshot, SnapshotFile, SnapshotId};
use crate::QuorumError;

/// How long a removed snapshot stays on disk, for those who are still reading it.
const DELETE_DELAY_MS: i64 = 60_000;

/// What is known of a snapshot without reading its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When the last covered batch was appended; `None` until it was looked up.
    pub last_contained_log_timestamp: Option<TimestampMs>,
}

/// When old snapshots go, and the log below the next one with them; -1 for never.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRetention {
    /// `metadata.max.retention.bytes`: of log and snapshots together.
    pub bytes: i64,
    /// `metadata.max.retention.ms`.
    pub ms: i64,
}

impl Default for SnapshotRetention {
    fn default() -> Self {
        Self { bytes: 100 << 20, ms: 7 * 24 * 3_600_000 }
    }
}

/// The finished snapshots of a directory.
#[derive(Debug)]
pub struct SnapshotStore {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    snapshots: BTreeMap<SnapshotId, SnapshotInfo>,
    /// Files that are renamed, and when they may be removed.
    trash: VecDeque<(TimestampMs, PathBuf)>,
}

impl SnapshotStore {
    /// Lists a metadata partition's directory, and removes what a crash left behind and snapshots below the log's start.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, log_start: Offset) -> Result<Self, QuorumError> {
        let mut store = Self { fs, dir: dir.to_owned(), snapshots: BTreeMap::new(), trash: VecDeque::new() };
        for (name, info) in store.fs.list(dir)? {
            match SnapshotFile::parse(&name) {
                Some(SnapshotFile::Finished(id)) if id.end_offset >= log_start => {
                    let info = SnapshotInfo { size_bytes: info.len, last_contained_log_timestamp: None };
                    store.snapshots.insert(id, info);
                }
                Some(_) => remove_file_if_exists(store.fs.as_ref(), &dir.join(name))?,
                None => {}
            }
        }
        Ok(store)
    }

    /// All snapshots, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (SnapshotId, SnapshotInfo)> {
        self.snapshots.iter().map(|(id, info)| (*id, *info))
    }

    /// The newest snapshot.
    pub fn newest(&self) -> Option<SnapshotId> {
        self.snapshots.keys().next_back().copied()
    }

    /// The oldest snapshot.
    pub fn oldest(&self) -> Option<SnapshotId> {
        self.snapshots.keys().next().copied()
    }

    /// Where a snapshot's file is.
    pub fn path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    pub fn read(&self, id: SnapshotId) -> Result<Snapshot, QuorumError> {
        Snapshot::read(self.fs.as_ref(), &self.path(id), id)
    }

    /// Notes a snapshot that was just frozen.
    pub fn add(&mut self, id: SnapshotId, size_bytes: u64, last_contained_log_timestamp: TimestampMs) {
        let info =
            SnapshotInfo { size_bytes, last_contained_log_timestamp: Some(last_contained_log_timestamp) };
        self.snapshots.insert(id, info);
    }

    /// Whether retention gives the oldest snapshot up; then its successor, up to which the log may be cut. To be asked again
    /// afterwards: less is left then. The newest snapshot always stays.
    ///
    /// # Errors
    /// When a snapshot's header cannot be read.
    pub fn expired(
        &mut self,
        retention: SnapshotRetention,
        log_bytes: u64,
        now_ms: TimestampMs,
    ) -> Result<Option<SnapshotId>, QuorumError> {
        let mut ids = self.snapshots.keys().copied();
        let (Some(oldest), Some(next)) = (ids.next(), ids.next()) else { return Ok(None) };
        let total = log_bytes + self.snapshots.values().map(|info| info.size_bytes).sum::<u64>();
        let too_much = u64::try_from(retention.bytes).is_ok_and(|limit| total > limit);
        let too_old = retention.ms >= 0 && now_ms.saturating_sub(self.timestamp(oldest)?) > retention.ms;
        Ok((too_much || too_old).then_some(next))
    }

    fn timestamp(&mut self, id: SnapshotId) -> Result<TimestampMs, QuorumError> {
        let known = self.snapshots.get(&id).and_then(|info| info.last_contained_log_timestamp);
        if let Some(timestamp) = known {
            return Ok(timestamp);
        }
        let timestamp = self.read(id)?.last_contained_log_timestamp;
        if let Some(info) = self.snapshots.get_mut(&id) {
            info.last_contained_log_timestamp = Some(timestamp);
        }
        Ok(timestamp)
    }

    /// Marks all snapshots before `keep` as deleted. Their files go with [`SnapshotStore::remove_deleted`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget_before(&mut self, keep: SnapshotId, now_ms: TimestampMs) -> Result<usize, QuorumError> {
        let kept = self.snapshots.split_off(&keep);
        let forgotten = std::mem::replace(&mut self.snapshots, kept);
        for id in forgotten.keys() {
            let renamed = self.dir.join(id.deleted_file_name());
            self.fs.rename(&self.dir.join(id.file_name()), &renamed)?;
            self.trash.push_back((now_ms.saturating_add(DELETE_DELAY_MS), renamed));
        }
        Ok(forgotten.len())
    }

    /// Removes files that were marked a minute ago.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove_deleted(&mut self, now_ms: TimestampMs) -> Result<usize, QuorumError> {
        let mut removed = 0;
        while let Some((due, path)) = self.trash.front()
            && *due <= now_ms
        {
            remove_file_if_exists(self.fs.as_ref(), path)?;
            self.trash.pop_front();
            removed += 1;
        }
        Ok(removed)
    }
}
