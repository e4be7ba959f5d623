//! One partition's log: a directory of segments, byte for byte Kafka's (`UnifiedLog`, `LocalLog`).
//!
//! Synchronous and without a lock of its own: writes take `&mut self`, reads `&self`, and the replica that owns the log puts
//! one lock around it. Nothing here waits for an fsync except opening, closing and truncation; durability is the business
//! of a flusher that works outside the lock ([`Log::begin_flush`]). Reads return ranges of files ([`LogSlice`]), not bytes.

mod append;
pub mod cleaner;
mod close;
mod config;
mod epoch_cache;
mod epoch_file;
mod error;
pub(crate) mod files;
mod flush;
mod future;
mod journal;
mod load;
mod lookup;
mod offset_index;
mod partition_metadata;
mod producer_checks;
mod producer_snapshot;
mod producer_state;
mod producers;
mod read;
mod recovery;
mod retention;
mod roll;
mod scan;
mod segment;
mod syncs;
mod time_index;
mod truncation;
mod txn_index;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ottla_types::{LeaderEpoch, Offset, Uuid};

pub use append::{AppendInfo, LeaderAppend};
pub use config::{CleanupPolicy, LogConfig};
pub use epoch_cache::{EpochEnd, EpochEntry};
pub use epoch_file::EpochTicket;
pub use error::{AppendError, LogError, ReadError};
pub use flush::{FlushOutcome, FlushTicket, VolumeTicket};
pub use future::{Chunk, Taken};
pub(crate) use journal::VOID;
pub use journal::{JournalTicket, MAX_JOURNALED_BYTES, Replayed};
pub use load::{LoadEvent, LoadReport, LogOpen};
pub use lookup::FoundTimestamp;
pub use producer_checks::AppendOrigin;
pub use producer_state::{VerificationGuard, VerificationRequest};
pub use producers::ActiveProducer;
pub use read::{LogRead, LogSlice, ReadPlaces, ReadPosition, ReadRequest, ReadSearch};
pub use retention::{RemovalReason, RemovedSegment, RetentionOutcome};
pub use txn_index::AbortedTxn;

use epoch_cache::EpochCache;
use producer_state::ProducerState;
use segment::Segment;

use crate::fs::{Fs, FsFile};

/// The log of one partition.
///
/// Offsets obey `log start ≤ last stable offset ≤ high watermark ≤ log end`, and the recovery point is at most the log
/// end. After a failed write or sync the log is poisoned: reads go on, writes answer [`LogError::Poisoned`], and only
/// opening it again (which recovers it) helps.
#[derive(Debug)]
pub struct Log {
    fs: Arc<dyn Fs>,
    dir: Arc<Path>,
    config: LogConfig,
    topic_id: Option<Uuid>,
    /// Ascending by base offset; the last is active. Never empty.
    segments: Vec<Segment>,
    log_start: Offset,
    log_end: Offset,
    high_watermark: Offset,
    /// Everything below is on disk for good, in place.
    durable: Offset,
    /// Everything below is in place or in the journal.
    journaled: Offset,
    /// Everything below may be in the journal: tickets for it were cut.
    journal_begun: Offset,
    covered: journal::Covered,
    last_flush_ms: i64,
    epochs: EpochCache,
    epoch_file: epoch_file::EpochFile,
    producers: ProducerState,
    /// Producer snapshots and other small files that the next flush syncs.
    unsynced_files: Vec<Arc<dyn FsFile>>,
    /// Whether `partition.metadata` was written and is not synced. It is not held open for that: the log may never be written to.
    metadata_unsynced: bool,
    /// Creations, renames and removals in the directory, and how many of them are durable.
    dir_changes: u64,
    dir_synced: u64,
    /// Whether the partition directory itself was just made, so that its parent must be synced too.
    parent_unsynced: bool,
    /// Goes up when the end of the log is cut, which makes flushes begun before it meaningless.
    cuts: u64,
    /// Goes up when that makes tickets for the journal meaningless; they look at it before they are written.
    voided: Arc<AtomicU64>,
    trash: VecDeque<Trash>,
    poisoned: Option<String>,
    syncs: Arc<syncs::Syncs>,
    /// Set while the log end is taken from the name of the last producer snapshot; checked before the first write.
    log_end_unverified: bool,
    jitter_seed: u64,
    /// A cleaned segment that is about to replace others; its files are named `.swap`.
    swap: Option<cleaner::Swap>,
}

/// Files renamed to `.deleted`, to be removed when those who look for them by name may be expected to be done.
#[derive(Debug)]
struct Trash {
    remove_at_ms: i64,
    paths: Vec<PathBuf>,
}

impl Log {
    /// The partition directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Settings in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they hold from the next append, retention run or flush decision on.
    pub fn update_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The topic id of `partition.metadata`, if there is one.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// First offset that readers may ask for. Moves up by retention, DeleteRecords and compaction of the quorum's log.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset of the next record (exclusive end of the log).
    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// Everything below is replicated, as far as the replica has told ([`Log::set_high_watermark`]).
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Moves the high watermark, clamped to `log start..=log end`; returns where it is now. Finished transactions whose
    /// marker it passes no longer hold the last stable offset back.
    pub fn set_high_watermark(&mut self, offset: Offset) -> Offset {
        self.high_watermark = offset.max(self.log_start).min(self.log_end);
        self.producers.replicated_to(self.high_watermark);
        self.high_watermark
    }

    /// Bound of read_committed consumers: the high watermark, or the start of the oldest transaction that is open or not
    /// fully replicated.
    pub fn last_stable_offset(&self) -> Offset {
        match self.producers.first_unstable_offset() {
            Some(first) => self.high_watermark.min(first.max(self.log_start)),
            None => self.high_watermark,
        }
    }

    /// First offset of the oldest open transaction; compaction stays below it.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.producers.first_undecided_offset()
    }

    /// Everything below is durable in place: synced, with everything needed to find it. See [`Log::secured_offset`].
    pub fn durable_offset(&self) -> Offset {
        self.durable
    }

    /// What belongs in `recovery-point-offset-checkpoint`: after a crash, segments wholly below it are not read.
    ///
    /// It is not at the end of what is durable of a segment whose indexes are not: the next segment may begin there, or a crash
    /// may end the log there, and then nothing would tell that they must be rebuilt. Nor is it above what `leader-epoch-checkpoint`
    /// has the epochs of.
    pub fn recovery_point(&self) -> Offset {
        let point = self.recovery_point_of_records();
        self.epochs_lack_from().map_or(point, |from| point.min(from))
    }

    fn recovery_point_of_records(&self) -> Offset {
        let Some(at) = self.segments.iter().position(|segment| segment.indexes_unsynced && segment.size > 0)
        else {
            return self.durable;
        };
        let end = self.segments.get(at + 1).map_or(self.log_end, |next| next.base);
        let durable_end = self.durable.min(end);
        if durable_end > self.segments[at].base { durable_end - 1 } else { self.durable }
    }

    /// What belongs in `log-start-offset-checkpoint`, if anything: only a start inside of the first segment is not evident, and
    /// one before which a crash may bring removed segments back.
    pub fn log_start_checkpoint(&self) -> Option<Offset> {
        let first = self.segments.first()?.base;
        let may_come_back = first > Offset::ZERO && self.dir_changes != self.dir_synced;
        (first < self.log_start || may_come_back).then_some(self.log_start)
    }

    /// Bytes in all segment files.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Base offset of each segment, ascending; the last is active.
    pub fn segment_base_offsets(&self) -> impl Iterator<Item = Offset> + '_ {
        self.segments.iter().map(|segment| segment.base)
    }

    /// Has all writes refused from now on: the log's directory failed, whoever met that.
    pub fn poison(&mut self, reason: &str) {
        self.poisoned.get_or_insert_with(|| reason.to_owned());
    }

    /// Why writes are refused, if they are.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref().or_else(|| self.syncs.failure())
    }

    /// The offset after the last record: less than the log end offset if the last segments are empty.
    pub(crate) fn records_end(&self) -> Result<Offset, LogError> {
        let last = self.segments.iter().rev().find(|segment| segment.size > 0);
        last.map_or(Ok(self.log_start), |segment| segment.next_offset(self.fs.as_ref()))
    }

    /// Known leader epochs and their first offsets, ascending.
    pub fn epoch_entries(&self) -> &[EpochEntry] {
        self.epochs.entries()
    }

    /// The newest epoch in the log.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest().map(|entry| entry.epoch)
    }

    /// The epoch that wrote `offset`.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_for(offset)
    }

    /// Where `epoch` ends in this log (OffsetForLeaderEpoch, and the divergence check of Fetch); `None` when it is newer
    /// than all known ones, or -1.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_of(epoch, self.log_end)
    }

    /// Notes that a leader of `epoch` starts at `start`: called by a new leader with its log end, before it appends.
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.epochs.assign(epoch, start);
    }

    /// The directory was renamed (deletion, stray, end of a move between directories). Open handles stay valid.
    pub fn renamed_to(&mut self, dir: &Path) {
        self.dir = Arc::from(dir);
        let old: Vec<Trash> = self.trash.drain(..).collect();
        self.trash = old
            .into_iter()
            .map(|trash| Trash {
                paths: trash.paths.iter().filter_map(|path| Some(dir.join(path.file_name()?))).collect(),
                ..trash
            })
            .collect();
        let swap = self.swap.as_mut().map(cleaner::Swap::segment_mut);
        for segment in self.segments.iter_mut().chain(swap) {
            segment.set_dir(Arc::clone(&self.dir));
        }
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has at least one segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has at least one segment")
    }

    /// Makes the last segment's records durable, under the log's lock.
    fn sync_active(&mut self, fs: &dyn Fs) -> Result<(), LogError> {
        let syncs = Arc::clone(&self.syncs);
        syncs.run(&self.dir.clone(), || self.active_mut().sync_log(fs))
    }

    /// Index of the segment that holds `offset`: the last whose base is at or below it.
    fn floor_segment(&self, offset: Offset) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base <= offset).checked_sub(1)
    }

    /// Base of the segment that an offset belongs to; `None` below the first.
    pub fn segment_of(&self, offset: Offset) -> Option<Offset> {
        self.floor_segment(offset).and_then(|at| self.segments.get(at)).map(|segment| segment.base)
    }

    fn check_writable(&self) -> Result<(), LogError> {
        match self.poisoned() {
            Some(reason) => {
                Err(LogError::Poisoned { path: self.dir.to_path_buf(), reason: reason.to_owned() })
            }
            None => Ok(()),
        }
    }

    /// Passes `result` on; an error poisons the log.
    fn poison_on_error<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &result
            && self.poisoned.is_none()
        {
            self.poisoned = Some(error.to_string());
        }
        result
    }

    /// A write that must not be half done: refused when poisoned, and poisoning when it fails.
    fn write<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        self.check_writable()?;
        let result = f(self);
        self.poison_on_error(result)
    }
}
