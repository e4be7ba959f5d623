//! The quorum with its files: what the shell holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_storage::fs::Fs;
use ottla_types::{Offset, TimestampMs};

use crate::batch::MetadataBatch;
use crate::core::{Action, Appended, Quorum, QuorumConfig};
use crate::log::{METADATA_DIR, RaftLog};
use crate::snapshot::{Snapshot, SnapshotHead, SnapshotId, SnapshotRetention, SnapshotStore, SnapshotWriter};
use crate::{ElectionFile, QuorumError};

/// Bytes per read while the log is read at start.
const READ_BYTES: u32 = 4 << 20;

/// A node of the quorum: [`Quorum`], its log, its snapshots and its `quorum-state`.
///
/// Order of a node's life, on one thread:
/// 1. [`open_metadata_log`](crate::open_metadata_log), then [`QuorumNode::open`].
/// 2. [`QuorumNode::start`]; the only voter now leads. [`QuorumNode::flush`] commits what the log has, and the epoch's first
///    batch.
/// 3. Readers start at [`QuorumNode::newest_snapshot`] and go on with [`QuorumNode::read_committed`] from its end.
/// 4. The controller's records: [`QuorumNode::append`], then [`QuorumNode::flush`] (several appends may share one), which
///    returns the new high watermark. A flush waits for the disk: to do it on another thread, take a ticket from
///    [`QuorumNode::log_mut`], sync it there, complete it here, and call [`QuorumNode::flushed`] with its result.
/// 5. Now and then a snapshot ([`QuorumNode::begin_snapshot`], which may be filled on another thread, then
///    [`QuorumNode::finish_snapshot`]) and [`QuorumNode::clean`].
///
/// After an error of the disk the node must not go on.
#[derive(Debug)]
pub struct QuorumNode<L> {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    core: Quorum,
    log: L,
    election_file: ElectionFile,
    snapshots: SnapshotStore,
}

impl<L: RaftLog> QuorumNode<L> {
    /// Takes over the log of `log_dir`'s metadata partition: tidies the snapshots, lets the log begin at the newest one if that is
    /// ahead of it, and reads voters and version from both.
    ///
    /// # Errors
    /// When the disk fails, or log and snapshots do not fit together.
    pub fn open(
        fs: Arc<dyn Fs>,
        log_dir: &Path,
        config: QuorumConfig,
        mut log: L,
        now_ms: TimestampMs,
    ) -> Result<Self, QuorumError> {
        let dir = log_dir.join(METADATA_DIR);
        let mut snapshots = SnapshotStore::open(Arc::clone(&fs), &dir, log.start_offset())?;
        let newest = snapshots.newest();
        if log.start_offset() > Offset::ZERO && newest.is_none_or(|id| id.end_offset < log.start_offset()) {
            return Err(QuorumError::MissingSnapshot { log_start: log.start_offset(), newest });
        }
        if let Some(id) = newest {
            let log_epoch = log.last_epoch().unwrap_or_default();
            if id.epoch > log_epoch || (id.epoch == log_epoch && id.end_offset > log.end_offset()) {
                log.restart_at(id.end_offset, now_ms)?;
                snapshots.forget_before(id, now_ms)?;
            }
        }
        let election_file = ElectionFile::new(&dir);
        let stored = election_file.load(fs.as_ref())?;
        let last_epoch = log.last_epoch().or_else(|| newest.map(|id| id.epoch));
        let mut core = Quorum::new(config, stored, log.end_offset(), last_epoch);
        let mut next = log.start_offset();
        if let Some(id) = newest {
            let last_covered = Offset(id.end_offset.0 - 1);
            for batch in &snapshots.read(id)?.batches {
                core.note_batch(batch, Some(last_covered));
            }
            next = next.max(id.end_offset);
        }
        while next < log.end_offset() {
            let batches = MetadataBatch::read_all(&log.read(next, READ_BYTES)?)?;
            let Some(last) = batches.last() else { break };
            let end = last.last_offset.next();
            for batch in batches.iter().filter(|batch| batch.base_offset >= next) {
                core.note_batch(batch, None);
            }
            next = end;
        }
        Ok(Self { fs, dir, core, log, election_file, snapshots })
    }

    /// Begins to take part; see [`Quorum::start`].
    ///
    /// # Errors
    /// When the disk fails, or nothing says who votes.
    pub fn start(&mut self, now_ms: TimestampMs) -> Result<(), QuorumError> {
        let actions = self.core.start(now_ms)?;
        self.carry_out(actions, now_ms)
    }

    /// Appends a decision's records in their frames, as one batch if `atomic`. They are durable after the next
    /// [`QuorumNode::flush`].
    ///
    /// # Errors
    /// When this node does not lead, an atomic append exceeds a batch (nothing is appended then), or the disk fails.
    pub fn append<V: AsRef<[u8]>>(
        &mut self,
        values: &[V],
        atomic: bool,
        now_ms: TimestampMs,
    ) -> Result<Appended, QuorumError> {
        let (appended, actions) = self.core.append(values, atomic, now_ms)?;
        self.carry_out(actions, now_ms)?;
        Ok(appended)
    }

    /// Makes the log durable. Returns the high watermark if it has moved.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn flush(&mut self, now_ms: TimestampMs) -> Result<Option<Offset>, QuorumError> {
        let durable = self.log.flush(now_ms)?;
        Ok(self.flushed(durable))
    }

    /// The log was made durable below `offset`. Returns the high watermark if it has moved.
    pub fn flushed(&mut self, offset: Offset) -> Option<Offset> {
        let moved = self.core.flushed(offset)?;
        self.log.set_high_watermark(moved);
        Some(moved)
    }

    /// Committed batches from `from` on, at least one if there is one.
    ///
    /// # Errors
    /// When the disk fails or a batch is damaged.
    pub fn read_committed(&self, from: Offset, max_bytes: u32) -> Result<Vec<MetadataBatch>, QuorumError> {
        let committed = self.core.high_watermark().unwrap_or(Offset::ZERO);
        if from >= committed {
            return Ok(Vec::new());
        }
        let mut batches = MetadataBatch::read_all(&self.log.read(from, max_bytes)?)?;
        batches.retain(|batch| batch.last_offset < committed);
        Ok(batches)
    }

    /// The consensus state: leader, epoch, voters, high watermark.
    pub fn quorum(&self) -> &Quorum {
        &self.core
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// The log, for flushing it elsewhere. Nothing else may be changed through this.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// The snapshots.
    pub fn snapshots(&self) -> &SnapshotStore {
        &self.snapshots
    }

    /// The newest snapshot, unless it is the one that formatting made: that one holds voters and bootstrap records, but is no
    /// state of the cluster.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest_snapshot(&self) -> Result<Option<Snapshot>, QuorumError> {
        match self.snapshots.newest() {
            Some(id) if id != SnapshotId::BOOTSTRAP => self.snapshots.read(id).map(Some),
            _ => Ok(None),
        }
    }

    /// Begins a snapshot that covers everything below `id.end_offset`, which must be committed and the end of a batch. `None`
    /// when there is one already, or the log begins later.
    ///
    /// # Errors
    /// When the id is not as said, or the disk fails.
    pub fn begin_snapshot(
        &self,
        id: SnapshotId,
        last_contained_log_timestamp: TimestampMs,
        now_ms: TimestampMs,
        nonce: u64,
    ) -> Result<Option<SnapshotWriter>, QuorumError> {
        let bad = |why| QuorumError::BadSnapshotId { id, why };
        if id.end_offset < self.log.start_offset() || self.snapshots.iter().any(|(known, _)| known == id) {
            return Ok(None);
        }
        if self.core.high_watermark().is_none_or(|committed| id.end_offset > committed) {
            return Err(bad("it would cover uncommitted records"));
        }
        if id.end_offset < self.log.end_offset() {
            let at = MetadataBatch::read_all(&self.log.read(id.end_offset, 1)?)?;
            if at.first().is_none_or(|batch| batch.base_offset != id.end_offset) {
                return Err(bad("it would end inside a batch"));
            }
        }
        let last_covered = Offset(id.end_offset.0 - 1);
        let head = SnapshotHead {
            last_contained_log_timestamp,
            kraft_version: self.core.kraft_version_at(last_covered),
            voters: self.core.voters_at(last_covered).cloned(),
        };
        SnapshotWriter::create(Arc::clone(&self.fs), &self.dir, id, &head, now_ms, nonce).map(Some)
    }

    /// Notes a snapshot that was frozen: its id, size and time.
    pub fn finish_snapshot(
        &mut self,
        id: SnapshotId,
        size_bytes: u64,
        last_contained_log_timestamp: TimestampMs,
    ) {
        self.snapshots.add(id, size_bytes, last_contained_log_timestamp);
    }

    /// Removes old snapshots and the log below the oldest that stays, as retention says; and files that were marked earlier.
    /// Answers whether anything was removed.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clean(&mut self, retention: SnapshotRetention, now_ms: TimestampMs) -> Result<bool, QuorumError> {
        let mut cleaned = self.snapshots.remove_deleted(now_ms)? > 0;
        while let Some(keep) = self.snapshots.expired(retention, self.log.size_bytes(), now_ms)? {
            self.log.advance_start(keep.end_offset, now_ms)?;
            self.snapshots.forget_before(keep, now_ms)?;
            cleaned = true;
        }
        Ok(cleaned)
    }

    fn carry_out(&mut self, actions: Vec<Action>, now_ms: TimestampMs) -> Result<(), QuorumError> {
        for action in actions {
            match action {
                Action::StoreElection(state) => {
                    let voters = self.core.voters().ids();
                    self.election_file.store(self.fs.as_ref(), &state, self.core.kraft_version(), voters)?;
                }
                Action::BeginEpoch(epoch) => self.log.begin_epoch(epoch),
                Action::Append(bytes) => {
                    self.log.append(&bytes, self.core.election().epoch, now_ms)?;
                }
            }
        }
        Ok(())
    }
}
