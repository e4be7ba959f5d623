//! Opening a partition directory (`LogLoader`).
//!
//! After a clean stop no segment is read: one listing of the directory gives the segments and their sizes, the name of the
//! last producer snapshot gives the log end. After anything else, what lies above the recovery point is read and checked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use ottla_types::{Offset, Uuid};

use super::epoch_cache::{self, EpochCache};
use super::epoch_file::EpochFile;
use super::files;
use super::journal::Covered;
use super::partition_metadata;
use super::producer_state::ProducerState;
use super::scan::{HeaderScan, ScanError};
use super::segment::{MAX_SEGMENT_BYTES, Segment};
use super::{Log, LogConfig, LogError, Trash};
use crate::fs::{FileInfo, Fs, OpenMode, read_file, remove_file_if_exists};

/// Limit for reading `leader-epoch-checkpoint`.
const MAX_EPOCH_FILE_BYTES: u64 = 64 << 20;

/// Removed files that a stop left are removed with the start if they are not larger than this, and later with care otherwise.
const MOST_REMOVED_AT_START: u64 = 4 << 20;

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct LogOpen {
    /// Whether the log directory had its `.kafka_cleanshutdown` marker. The quorum's log is always opened as unclean.
    pub clean_shutdown: bool,
    /// From `recovery-point-offset-checkpoint`; 0 if absent.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`; 0 if absent.
    pub log_start_offset: Offset,
    /// Topic id that the metadata has; written if the directory has none, compared if it has one.
    pub topic_id: Option<Uuid>,
    /// Any number that differs between partitions; spreads `segment.jitter.ms`.
    pub jitter_seed: u64,
    /// The current time.
    pub now_ms: i64,
}

/// Something that was repaired while opening, for the log file of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadEvent {
    /// Records that the segments had lost came back from the journal.
    Replayed {
        /// Their number.
        records: i64,
        /// The log end now.
        end: Offset,
    },
    /// The journal goes on at an offset above the log end: what it builds on is lost.
    JournalGap {
        /// The log end.
        end: Offset,
    },
    /// A segment was read and its indexes rebuilt.
    RecoveredSegment {
        /// Its base offset.
        base: Offset,
        /// Its size after that.
        size_bytes: u64,
    },
    /// The end of a segment was no valid batch and is gone.
    CutTail {
        /// Base offset of the segment.
        base: Offset,
        /// Bytes removed.
        removed_bytes: u64,
        /// What was wrong with the first of them.
        reason: String,
    },
    /// Segments after a cut or a hole, or of a log that ended below its start, were removed.
    RemovedSegments {
        /// Their base offsets.
        bases: Vec<Offset>,
    },
    /// A producer snapshot was unreadable, removed, and replaced by reading the log.
    CorruptSnapshot {
        /// The offset in its name.
        offset: Offset,
    },
    /// Files of an interrupted compaction were finished or removed.
    FinishedSwap {
        /// Names of the segments put in place.
        segments: Vec<String>,
    },
    /// A file that belongs to nothing was removed.
    RemovedFile {
        /// Its name.
        name: String,
    },
}

/// What opening a log took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Repairs, in order.
    pub events: Vec<LoadEvent>,
}

/// The files of one segment in a listing.
#[derive(Debug, Default)]
struct Found {
    log: Option<FileInfo>,
    index: bool,
    /// Its length.
    time_index: Option<u64>,
    txn_index: bool,
}

/// A partition directory, sorted out.
#[derive(Debug, Default)]
struct Listing {
    segments: BTreeMap<Offset, Found>,
    snapshots: BTreeMap<Offset, u64>,
    /// Names and sizes.
    deleted: Vec<(String, u64)>,
    cleaned: Vec<(String, u64)>,
    swap: Vec<(String, u64)>,
    has_epochs: bool,
    has_metadata: bool,
}

impl Listing {
    /// The removed files that are left.
    fn trash(&self, dir: &Path, now_ms: i64) -> VecDeque<Trash> {
        let large = self.deleted.iter().filter(|(_, len)| *len > MOST_REMOVED_AT_START);
        large.map(|(name, _)| Trash { remove_at_ms: now_ms, paths: vec![dir.join(name)] }).collect()
    }
}

impl Log {
    /// Opens the log in `dir`, creating the directory if needed, and repairs what a crash left.
    ///
    /// # Errors
    /// The disk; [`LogError::Corrupt`] for files that have no repair (`leader-epoch-checkpoint`, `partition.metadata`);
    /// [`LogError::InconsistentTopicId`].
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: LogConfig,
        open: LogOpen,
    ) -> Result<(Self, LoadReport), LogError> {
        Self::open_as(fs, dir, config, open, false)
    }

    /// As [`Log::open`], of a log whose last records may be in the journal alone: it may end below its start, and begins
    /// no later than it ends.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub(crate) fn open_to_go_on(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: LogConfig,
        open: LogOpen,
    ) -> Result<(Self, LoadReport), LogError> {
        Self::open_as(fs, dir, config, open, true)
    }

    fn open_as(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: LogConfig,
        open: LogOpen,
        goes_on: bool,
    ) -> Result<(Self, LoadReport), LogError> {
        let mut report = LoadReport::default();
        let (listing, created) = list_and_tidy(fs.as_ref(), dir, &mut report)?;
        // What a process did that was killed before its first flush may be in memory only.
        let is_fresh = !open.clean_shutdown && open.recovery_point == Offset::ZERO;
        let mut log = Self {
            dir: Arc::from(dir),
            config,
            topic_id: None,
            segments: Vec::new(),
            log_start: open.log_start_offset,
            log_end: open.log_start_offset,
            high_watermark: open.log_start_offset,
            durable: open.recovery_point,
            journaled: Offset::ZERO,
            journal_begun: Offset::ZERO,
            covered: Covered { base: Offset(-1), size: 0 },
            last_flush_ms: open.now_ms,
            epochs: EpochCache::default(),
            epoch_file: EpochFile::default(),
            producers: ProducerState::default(),
            unsynced_files: Vec::new(),
            metadata_unsynced: is_fresh && listing.has_metadata,
            dir_changes: u64::from(created || !open.clean_shutdown),
            dir_synced: 0,
            parent_unsynced: created || is_fresh,
            cuts: 0,
            voided: Arc::default(),
            syncs: Arc::default(),
            trash: listing.trash(dir, open.now_ms),
            poisoned: None,
            log_end_unverified: false,
            jitter_seed: open.jitter_seed,
            swap: None,
            fs,
        };
        log.load_epochs(&listing)?;
        log.load_topic_id(&listing, open.topic_id)?;
        log.producers.snapshots = listing.snapshots.keys().copied().collect();
        let damaged = log.load_segments(&listing, &open)?;
        log.recover(&damaged, &open, &mut report)?;
        log.settle(&listing, &open, goes_on, &mut report)?;
        let fs = log.fs.clone();
        for segment in &mut log.segments {
            segment.drop_handles(fs.as_ref())?;
        }
        Ok((log, report))
    }

    fn load_epochs(&mut self, listing: &Listing) -> Result<(), LogError> {
        if listing.has_epochs {
            let path = self.dir.join(epoch_cache::FILE_NAME);
            let bytes = read_file(self.fs.as_ref(), &path, MAX_EPOCH_FILE_BYTES)
                .map_err(LogError::io("read", &path))?;
            let text = String::from_utf8(bytes).map_err(|_| LogError::corrupt(&path, "it is not text"))?;
            self.epochs = EpochCache::parse(&text).map_err(|what| LogError::corrupt(&path, what))?;
            self.epoch_file = EpochFile::with(self.epochs.entries());
        }
        Ok(())
    }

    fn load_topic_id(&mut self, listing: &Listing, expected: Option<Uuid>) -> Result<(), LogError> {
        let path = self.dir.join(partition_metadata::FILE_NAME);
        if listing.has_metadata {
            let bytes = read_file(self.fs.as_ref(), &path, partition_metadata::MAX_BYTES)
                .map_err(LogError::io("read", &path))?;
            let text = String::from_utf8(bytes).map_err(|_| LogError::corrupt(&path, "it is not text"))?;
            self.topic_id =
                partition_metadata::parse(&text).map_err(|what| LogError::corrupt(&path, what))?;
        }
        match (self.topic_id, expected) {
            (Some(found), Some(expected)) if found != expected => {
                Err(LogError::InconsistentTopicId { path: self.dir.to_path_buf(), found, expected })
            }
            (None, Some(expected)) => self.assign_topic_id(expected),
            _ => Ok(()),
        }
    }

    /// Writes `partition.metadata` of a directory that has none. Durable with the next flush.
    ///
    /// # Errors
    /// [`LogError::InconsistentTopicId`], or the disk.
    pub fn assign_topic_id(&mut self, topic_id: Uuid) -> Result<(), LogError> {
        match self.topic_id {
            Some(found) if found == topic_id => return Ok(()),
            Some(found) => {
                let path = self.dir.to_path_buf();
                return Err(LogError::InconsistentTopicId { path, found, expected: topic_id });
            }
            None => {}
        }
        self.write(|log| {
            // Not replaced atomically: there is nothing to lose, and an empty file reads as none.
            let path = log.dir.join(partition_metadata::FILE_NAME);
            let file = log.fs.open(&path, OpenMode::CreateOrOpen).map_err(LogError::io("create", &path))?;
            let text = partition_metadata::format(topic_id);
            file.write_at(text.as_bytes(), 0).map_err(LogError::io("write", &path))?;
            log.metadata_unsynced = true;
            log.dir_changes += 1;
            log.topic_id = Some(topic_id);
            Ok(())
        })
    }

    /// Makes segments of what was listed; returns those that must be read because an index is missing or bad.
    fn load_segments(&mut self, listing: &Listing, open: &LogOpen) -> Result<BTreeSet<Offset>, LogError> {
        let mut damaged = BTreeSet::new();
        let last = listing.segments.last_key_value().map(|(base, _)| *base);
        for (base, found) in &listing.segments {
            let Some(info) = &found.log else { continue };
            let path = files::path(&self.dir, *base, files::LOG);
            let size = u32::try_from(info.len).ok().filter(|size| u64::from(*size) <= MAX_SEGMENT_BYTES);
            let size = size.ok_or_else(|| LogError::corrupt(&path, "the segment is larger than 2 GiB"))?;
            let dir = Arc::clone(&self.dir);
            let mut segment = Segment::existing(dir, *base, size, info.modified_ms, found.txn_index);
            segment.created_ms = open.now_ms;
            segment.jitter_ms = self.jitter_ms(*base);
            // A sealed segment's time index has an entry at least, and without it the segment hides the times of later ones.
            // Empty is what a crash leaves of one that was to be rebuilt.
            let may_be_lost = !open.clean_shutdown && last != Some(*base);
            let times_are_lost = match found.time_index {
                None => true,
                Some(len) => len == 0 && may_be_lost,
            };
            if times_are_lost && size > 0 {
                damaged.insert(*base);
            } else if found.time_index.is_none() {
                let path = segment.path(files::TIME_INDEX);
                self.fs.open(&path, OpenMode::CreateOrOpen).map_err(LogError::io("create", &path))?;
                self.dir_changes += 1;
            }
            match segment.check_txn_index(self.fs.as_ref()) {
                Ok(()) if found.index => {}
                Ok(()) | Err(LogError::Corrupt { .. }) => {
                    damaged.insert(*base);
                }
                Err(error) => return Err(error),
            }
            self.segments.push(segment);
        }
        Ok(damaged)
    }

    /// With the segments in order: where the log ends and starts, and what its producers are.
    fn settle(
        &mut self,
        listing: &Listing,
        open: &LogOpen,
        goes_on: bool,
        report: &mut LoadReport,
    ) -> Result<(), LogError> {
        let mut end = self.find_log_end(open)?;
        let start =
            end.filter(|_| goes_on).map_or(open.log_start_offset, |end| end.min(open.log_start_offset));
        if end.is_some_and(|end| end < start) {
            report.events.push(LoadEvent::RemovedSegments { bases: self.segment_base_offsets().collect() });
            self.remove_segments_from(0, open.now_ms, false)?;
            self.epochs.clear();
            self.reset_producers(start)?;
            end = None;
        }
        if self.segments.is_empty() {
            self.push_segment(start, open.now_ms)?;
        }
        let fresh = end.is_none();
        self.log_end = end.unwrap_or(self.active().base);
        self.durable =
            if open.clean_shutdown && !fresh { self.log_end } else { open.recovery_point.min(self.log_end) };
        self.epochs.truncate_from_end(self.log_end);
        let first = self.segments.first().map_or(Offset::ZERO, |segment| segment.base);
        self.log_start = start.max(first);
        self.epochs.truncate_from_start(start);
        self.high_watermark = self.log_start;
        self.remove_stray_snapshots()?;
        self.load_producers(listing, open, report)
    }

    /// The offset after the last batch; `None` without segments.
    fn find_log_end(&mut self, open: &LogOpen) -> Result<Option<Offset>, LogError> {
        let Some(active) = self.segments.last() else { return Ok(None) };
        if active.size == 0 {
            return Ok(Some(active.base));
        }
        // A clean stop takes a snapshot at the log end, and no snapshot lies above it.
        if open.clean_shutdown
            && let Some(&newest) = self.producers.snapshots.last()
            && newest > active.base
            && active.can_hold(newest - 1)
        {
            self.log_end_unverified = true;
            return Ok(Some(newest));
        }
        active.next_offset(self.fs.as_ref()).map(Some)
    }

    fn load_producers(
        &mut self,
        listing: &Listing,
        open: &LogOpen,
        report: &mut LoadReport,
    ) -> Result<(), LogError> {
        let newest_is_empty = self.producers.snapshots.last().is_some_and(|newest| {
            *newest == self.log_end
                && *newest > self.log_start
                && listing.snapshots.get(newest) == Some(&super::producer_snapshot::EMPTY_LEN)
        });
        if open.clean_shutdown && newest_is_empty {
            // Its size says that it lists no producer.
            self.producers.map_end = self.log_end;
            self.producers.last_snapshot = self.log_end;
            return Ok(());
        }
        let mut corrupt = Vec::new();
        let (start, end) = (self.log_start, self.log_end);
        self.rebuild_producers(start, end, open.clean_shutdown, open.now_ms, &mut corrupt)?;
        report.events.extend(corrupt.into_iter().map(|offset| LoadEvent::CorruptSnapshot { offset }));
        Ok(())
    }
}

/// Lists the directory, removing what no log needs and finishing an interrupted swap. Also says whether the directory was
/// created just now.
fn list_and_tidy(fs: &dyn Fs, dir: &Path, report: &mut LoadReport) -> Result<(Listing, bool), LogError> {
    let mut created = false;
    let entries = match fs.list(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fs.create_dir_all(dir).map_err(LogError::io("create", dir))?;
            created = true;
            Vec::new()
        }
        Err(e) => return Err(LogError::io("list", dir)(e)),
    };
    let mut listing = sort_out(&entries);
    for (name, _) in listing.deleted.iter().filter(|(_, len)| *len <= MOST_REMOVED_AT_START) {
        remove(fs, &dir.join(name))?;
    }
    if !listing.cleaned.is_empty() || !listing.swap.is_empty() {
        finish_swap(fs, dir, &listing, report)?;
        let entries = fs.list(dir).map_err(LogError::io("list", dir))?;
        listing = sort_out(&entries);
    }
    for (base, found) in &listing.segments {
        if found.log.is_some() {
            continue;
        }
        let orphans = [
            (found.index, files::INDEX),
            (found.time_index.is_some(), files::TIME_INDEX),
            (found.txn_index, files::TXN_INDEX),
        ];
        for (_, extension) in orphans.into_iter().filter(|(there, _)| *there) {
            let path = files::path(dir, *base, extension);
            remove(fs, &path)?;
            report.events.push(LoadEvent::RemovedFile { name: format!("{base}.{extension}") });
        }
    }
    Ok((listing, created))
}

fn sort_out(entries: &[(String, FileInfo)]) -> Listing {
    let mut listing = Listing::default();
    for (name, info) in entries.iter().filter(|(_, info)| !info.is_dir) {
        if name.ends_with(files::DELETED) {
            if !name.ends_with(files::CHECKPOINT_DELETED) {
                listing.deleted.push((name.clone(), info.len));
            }
        } else if name.ends_with(files::CLEANED) {
            listing.cleaned.push((name.clone(), info.len));
        } else if name.ends_with(files::SWAP) {
            listing.swap.push((name.clone(), info.len));
        } else if name == epoch_cache::FILE_NAME {
            listing.has_epochs = info.len > 0;
        } else if name == partition_metadata::FILE_NAME {
            listing.has_metadata = true;
        } else if let Some((base, extension)) = files::parse(name) {
            match extension {
                files::LOG => listing.segments.entry(base).or_default().log = Some(info.clone()),
                files::INDEX => listing.segments.entry(base).or_default().index = true,
                files::TIME_INDEX => {
                    listing.segments.entry(base).or_default().time_index = Some(info.len);
                }
                files::TXN_INDEX => listing.segments.entry(base).or_default().txn_index = true,
                files::SNAPSHOT => {
                    listing.snapshots.insert(base, info.len);
                }
                _ => {}
            }
        }
    }
    listing
}

/// Compaction renames its segments from `.cleaned` to `.swap` in descending order, and only then removes the old ones. So
/// `.swap` files at or above any `.cleaned` one are not complete, and the others replace what they cover.
fn finish_swap(fs: &dyn Fs, dir: &Path, listing: &Listing, report: &mut LoadReport) -> Result<(), LogError> {
    let base_of = |name: &str| files::parse(name).map(|(base, _)| base);
    let bases = listing.cleaned.iter().filter_map(|(name, _)| base_of(name));
    let first_cleaned = bases.min().unwrap_or(Offset::MAX);
    let is_valid = |(name, _): &&(String, u64)| base_of(name).is_some_and(|base| base < first_cleaned);
    let (valid, invalid): (Vec<_>, Vec<_>) = listing.swap.iter().partition(is_valid);
    for (name, len) in invalid.into_iter().chain(&listing.cleaned) {
        discard(fs, &dir.join(name), *len)?;
    }
    let valid = without_lone_indexes(fs, dir, valid.into_iter().map(|(name, _)| name).collect())?;
    let mut covered: Option<(Offset, Offset)> = None;
    let mut replaced = BTreeSet::new();
    for name in &valid {
        let Some((base, extension)) = files::parse(name) else { continue };
        if extension == "log.swap" {
            // One without any batch covers nothing, but it replaces the segment of its name.
            replaced.insert(base);
            let end = end_of_file(fs, &dir.join(name), base)?;
            let (low, high) = covered.unwrap_or((base, end));
            covered = Some((low.min(base), high.max(end)));
        }
    }
    if let Some((low, high)) = covered {
        for (name, info) in fs.list(dir).map_err(LogError::io("list", dir))? {
            let is_inside = |base: Offset| replaced.contains(&base) || (base >= low && base < high);
            let inside = base_of(&name).is_some_and(is_inside);
            if inside && !name.ends_with(files::SWAP) && !name.ends_with(files::DELETED) {
                discard(fs, &dir.join(&name), info.len)?;
            }
        }
        // What was replaced must not come back beside what replaces it.
        fs.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    let mut segments = Vec::new();
    for name in valid {
        let Some(plain) = name.strip_suffix(files::SWAP) else { continue };
        let (from, to) = (dir.join(name), dir.join(plain));
        fs.rename(&from, &to).map_err(LogError::io("rename", &from))?;
        segments.push(plain.to_owned());
    }
    fs.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    report.events.push(LoadEvent::FinishedSwap { segments });
    Ok(())
}

/// Leaves out `.swap` files of indexes whose `.log.swap` is not there, removing them and the indexes in place, so that those are
/// rebuilt: the segment may have been renamed already, or its name may never have reached the disk.
fn without_lone_indexes<'a>(
    fs: &dyn Fs,
    dir: &Path,
    valid: Vec<&'a String>,
) -> Result<Vec<&'a String>, LogError> {
    let base_of = |name: &str| files::parse(name).map(|(base, _)| base);
    let logs: BTreeSet<Offset> =
        valid.iter().filter(|name| name.ends_with(".log.swap")).filter_map(|name| base_of(name)).collect();
    let (whole, lone): (Vec<&String>, Vec<&String>) =
        valid.into_iter().partition(|name| base_of(name).is_none_or(|base| logs.contains(&base)));
    if lone.is_empty() {
        return Ok(whole);
    }
    for base in lone.iter().filter_map(|name| base_of(name)) {
        for extension in [files::INDEX, files::TIME_INDEX, files::TXN_INDEX] {
            remove(fs, &files::path(dir, base, extension))?;
        }
    }
    // The swap files are what tells of the others.
    fs.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    for name in lone {
        remove(fs, &dir.join(name))?;
    }
    Ok(whole)
}

/// The offset after the last batch of a segment file.
fn end_of_file(fs: &dyn Fs, path: &Path, base: Offset) -> Result<Offset, LogError> {
    let file = fs.open(path, OpenMode::Read).map_err(LogError::io("open", path))?;
    let len = file.len().map_err(LogError::io("read", path))?;
    let mut scan = HeaderScan::new(file.as_ref(), 0, len);
    let mut end = base;
    loop {
        match scan.next() {
            Ok(Some((_, header))) => end = header.next_offset(),
            Ok(None) => return Ok(end),
            Err(ScanError::Io(source)) => return Err(LogError::io("read", path)(source)),
            Err(ScanError::Corrupt { source, .. }) => {
                return Err(LogError::corrupt(path, source.to_string()));
            }
        }
    }
}

/// Removes a file, or, if it is large, gives it the name of one that is to be removed with care.
fn discard(fs: &dyn Fs, path: &Path, len: u64) -> Result<(), LogError> {
    if len <= MOST_REMOVED_AT_START {
        return remove(fs, path);
    }
    fs.rename(path, &files::with_suffix(path, files::DELETED)).map_err(LogError::io("rename", path))
}

fn remove(fs: &dyn Fs, path: &Path) -> Result<(), LogError> {
    remove_file_if_exists(fs, path).map_err(LogError::io("remove", path))
}
