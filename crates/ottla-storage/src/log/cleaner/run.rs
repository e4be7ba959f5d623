//! One cleaning, from the map of keys to the last swap (`Cleaner.doClean`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_record::{BatchView, Limits};
use ottla_types::Offset;

use super::filter::{Counts, Filter, Kept, LastRecords};
use super::group::{Sizes, group};
use super::offset_map::OffsetMap;
use super::transactions::Transactions;
use super::{Cleaned, Cleaner, CleaningError, CleaningHost};
use crate::fs::{Fs, FsFile, OpenMode, remove_file_if_exists};
use crate::log::offset_index::OffsetIndex;
use crate::log::scan::{BatchScan, ScanError};
use crate::log::segment::{BatchSpan, MAX_SEGMENT_BYTES, Segment};
use crate::log::{Log, LogConfig, LogError, files};

/// Least size of a buffer, whatever the configuration says.
const MIN_IO_BYTES: usize = 4096;

/// What a cleaning works on, taken down under the log's lock.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: Arc<Path>,
    pub(super) config: LogConfig,
    /// The segments below the first uncleanable offset.
    pub(super) sources: Vec<Source>,
    /// Of the log, at that time.
    pub(super) cuts: u64,
}

/// A segment to be cleaned. Its files are opened by path when they are needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) base: Offset,
    pub(super) size: u32,
    pub(super) modified_ms: i64,
}

/// A cleaning under way.
struct Run<'a> {
    cleaner: &'a Cleaner,
    host: &'a dyn CleaningHost,
    plan: Plan,
    /// See [`super::Dirtiness`].
    first_dirty: Offset,
    first_uncleanable: Offset,
    now_ms: i64,
    map: OffsetMap,
    done: Cleaned,
}

impl Cleaner {
    /// Cleans a log from `first_dirty` up to `first_uncleanable`, as far as the keys between fit into memory.
    ///
    /// # Errors
    /// See [`CleaningError`]; groups of segments that were finished before stay clean.
    pub fn clean(
        &self,
        host: &dyn CleaningHost,
        first_dirty: Offset,
        first_uncleanable: Offset,
        now_ms: i64,
    ) -> Result<Cleaned, CleaningError> {
        let plan = ask(host, |log| log.plan_cleaning(first_uncleanable))?;
        let map = OffsetMap::new(self.map_bytes, self.load_factor, self.hash_key);
        let done = Cleaned::default();
        let mut run = Run { cleaner: self, host, plan, first_dirty, first_uncleanable, now_ms, map, done };
        run.index_keys()?;
        run.done.end = run.map.latest().next();
        run.done.map_utilization = run.map.utilization();
        run.copy()?;
        Ok(run.done)
    }
}

/// Asks the log something under its lock.
fn ask<T>(host: &dyn CleaningHost, question: impl FnOnce(&mut Log) -> T) -> Result<T, CleaningError> {
    let mut question = Some(question);
    let mut answer = None;
    host.with_log(&mut |log| answer = question.take().map(|question| question(log)));
    answer.ok_or(CleaningError::Aborted)
}

impl Run<'_> {
    /// Notes the newest offset of each key in the dirty part.
    fn index_keys(&mut self) -> Result<(), CleaningError> {
        let (from, end) = (self.first_dirty, self.first_uncleanable);
        let mut transactions = Transactions::default();
        transactions.add_aborted(ask(self.host, |log| log.aborted_between(from, end))??);
        let first = self.plan.sources.partition_point(|source| source.base <= from).saturating_sub(1);
        for at in first..self.plan.sources.len() {
            let next_base = self.plan.sources.get(at + 1).map_or(end, |next| next.base);
            if !self.index_segment(at, &mut transactions)? {
                return Ok(());
            }
            // Offsets that are missing at the end of a segment are covered as well.
            self.map.set_latest(next_base - 1);
        }
        Ok(())
    }

    /// `false`: the map is full.
    fn index_segment(&mut self, at: usize, transactions: &mut Transactions) -> Result<bool, CleaningError> {
        let Some(source) = self.plan.sources.get(at).copied() else { return Ok(true) };
        let start = self.plan.lookup(&source, self.first_dirty).map_err(|error| self.lost(error))?;
        let file = self.open(&source, files::LOG)?;
        let limits = self.plan.limits();
        let mut scan = BatchScan::with_window(file.as_ref(), start, u64::from(source.size), self.io_bytes());
        loop {
            self.check()?;
            let next = scan.next().map_err(|error| self.plan.scan_error(&source, error))?;
            let Some((position, batch)) = next else { return Ok(true) };
            self.host.throttle(batch.size_in_bytes());
            self.done.indexed_bytes += batch.size_in_bytes() as u64;
            let broken = |error| self.plan.batch_error(&source, position, error);
            let is_aborted = transactions.read(&batch).map_err(broken)?;
            if !is_aborted && !batch.attributes().is_control() {
                let mut records = batch.records_within(limits).map_err(broken)?;
                while let Some(record) = records.try_next().map_err(broken)? {
                    if let Some(key) = record.key
                        && record.offset >= self.first_dirty
                        && !self.map.put(key, record.offset)
                    {
                        return Ok(false);
                    }
                    self.done.indexed_records += 1;
                }
            }
            if batch.last_offset() >= self.first_dirty {
                self.map.set_latest(batch.last_offset());
            }
        }
    }

    /// Copies the segments up to the end of the map, group by group.
    fn copy(&mut self) -> Result<(), CleaningError> {
        let end = self.done.end;
        let to_clean = self.plan.sources.partition_point(|source| source.base < end);
        let clean = self.plan.sources.partition_point(|source| source.base < self.first_dirty);
        let legacy_horizon_ms = match clean.checked_sub(1).and_then(|last| self.plan.sources.get(last)) {
            Some(last) => last.modified_ms.saturating_sub(self.plan.config.delete_retention_ms),
            None => 0,
        };
        let mut sizes = Vec::with_capacity(to_clean);
        for source in self.plan.sources.iter().take(to_clean) {
            sizes.push(self.plan.sizes(source).map_err(|error| self.lost(error))?);
        }
        let config = &self.plan.config;
        let (max, max_index) = (u64::from(config.segment_bytes), u64::from(config.segment_index_bytes));
        let mut transactions = Transactions::default();
        let mut first = 0;
        for len in group(&sizes, max, max_index, self.first_uncleanable) {
            self.clean_group(first, len, &mut transactions, legacy_horizon_ms)?;
            first += len;
        }
        Ok(())
    }

    /// Makes one segment of a group and puts it in place.
    fn clean_group(
        &mut self,
        first: usize,
        len: usize,
        transactions: &mut Transactions,
        legacy_horizon_ms: i64,
    ) -> Result<(), CleaningError> {
        let sources: Vec<Source> = self.plan.sources.iter().skip(first).take(len).copied().collect();
        let Some((base, modified_ms)) =
            sources.first().zip(sources.last()).map(|(f, l)| (f.base, l.modified_ms))
        else {
            return Ok(());
        };
        // Files that are being cleaned make a start doubt earlier swaps: those must be over for good.
        self.host.sync_dir().map_err(|error| self.lost(error))?;
        let mut target = self.plan.create_target(base, self.now_ms).map_err(|error| self.lost(error))?;
        let written = self
            .fill(&mut target, &sources, first + len, transactions, legacy_horizon_ms)
            .and_then(|()| self.finish(&mut target, modified_ms));
        if let Err(error) = written {
            // What is left is removed by the next start at the latest.
            let _ = target.remove_files(self.plan.fs.as_ref());
            return Err(error);
        }
        self.swap(target, sources.iter().map(|source| source.base).collect())
    }

    fn fill(
        &mut self,
        target: &mut Segment,
        sources: &[Source],
        after: usize,
        transactions: &mut Transactions,
        legacy_horizon_ms: i64,
    ) -> Result<(), CleaningError> {
        let last_records = ask(self.host, |log| log.last_records())?;
        for (at, source) in sources.iter().enumerate() {
            let next_in_group = sources.get(at + 1).map(|next| next.base);
            let upper = next_in_group.or_else(|| self.plan.sources.get(after).map(|next| next.base));
            let upper = upper.unwrap_or(self.first_uncleanable);
            let (aborted, high_watermark) =
                ask(self.host, |log| (log.aborted_between(source.base, upper), log.high_watermark()))?;
            transactions.add_aborted(aborted?);
            let rules = Rules {
                last_records: &last_records,
                high_watermark,
                retain_legacy_deletes: source.modified_ms > legacy_horizon_ms,
            };
            self.fill_from(target, source, &rules, transactions)?;
        }
        Ok(())
    }

    fn fill_from(
        &mut self,
        target: &mut Segment,
        source: &Source,
        rules: &Rules<'_>,
        transactions: &mut Transactions,
    ) -> Result<(), CleaningError> {
        let filter = Filter {
            map: &self.map,
            last_records: rules.last_records,
            high_watermark: rules.high_watermark,
            retain_legacy_deletes: rules.retain_legacy_deletes,
            delete_retention_ms: self.plan.config.delete_retention_ms,
            now_ms: self.now_ms,
            limits: self.plan.limits(),
        };
        let file = self.open(source, files::LOG)?;
        let io_bytes = self.io_bytes();
        let mut out = Output::default();
        let mut counts = Counts::default();
        let mut scan = BatchScan::with_window(file.as_ref(), 0, u64::from(source.size), io_bytes);
        loop {
            self.check()?;
            let next = scan.next().map_err(|error| self.plan.scan_error(source, error))?;
            let Some((position, batch)) = next else { break };
            self.host.throttle(batch.size_in_bytes());
            let broken = |error| self.plan.batch_error(source, position, error);
            match filter.apply(&batch, transactions, &mut counts).map_err(broken)? {
                Kept::Nothing => {}
                Kept::Original => out.add(batch.bytes()).map_err(broken)?,
                Kept::Rewritten(bytes) => out.add(&bytes).map_err(broken)?,
            }
            for txn in transactions.take_kept() {
                target.append_aborted(self.plan.fs.as_ref(), txn)?;
            }
            if out.bytes.len() >= io_bytes {
                self.done.kept_bytes += self.write(target, &mut out)?;
            }
        }
        self.done.kept_bytes += self.write(target, &mut out)?;
        self.done.read_bytes += u64::from(source.size);
        self.done.read_records += counts.read;
        self.done.kept_records += counts.kept;
        self.done.keyless_records += counts.keyless;
        Ok(())
    }

    /// Appends what has gathered to the cleaned segment.
    fn write(&self, target: &mut Segment, out: &mut Output) -> Result<u64, CleaningError> {
        let len = out.bytes.len() as u64;
        let too_far = out.spans.iter().any(|span| !target.can_hold(span.last_offset));
        if too_far || u64::from(target.size) + len > MAX_SEGMENT_BYTES {
            let path = target.path(files::LOG);
            return Err(LogError::corrupt(&path, "what is left of a segment does not fit into one").into());
        }
        if len > 0 {
            let interval = self.plan.config.index_interval_bytes;
            target.append(self.plan.fs.as_ref(), &out.bytes, &out.spans, interval, self.now_ms)?;
            self.host.throttle(out.bytes.len());
            out.bytes.clear();
            out.spans.clear();
        }
        Ok(len)
    }

    /// Makes the cleaned segment durable, as old as the last one it is made of.
    fn finish(&self, target: &mut Segment, modified_ms: i64) -> Result<(), CleaningError> {
        let fs = self.plan.fs.as_ref();
        target.seal(fs)?;
        for extension in [files::LOG, files::INDEX, files::TIME_INDEX] {
            let path = target.path(extension);
            fs.set_modified(&path, modified_ms)
                .map_err(LogError::io("set the time of", &path))
                .map_err(|error| self.lost(error))?;
        }
        target.modified_ms = modified_ms;
        target.sync_log(fs)?;
        for file in target.index_files(fs)? {
            file.sync_data().map_err(LogError::io("sync", &self.plan.dir))?;
        }
        target.indexes_unsynced = false;
        self.check()
    }

    fn swap(&self, target: Segment, replaced: Vec<Offset>) -> Result<(), CleaningError> {
        let cuts = self.plan.cuts;
        let leftovers = target.paths();
        if !ask(self.host, |log| log.begin_swap(target, replaced, cuts))?? {
            for path in leftovers {
                let _ = remove_file_if_exists(self.plan.fs.as_ref(), &path);
            }
            return Err(CleaningError::Aborted);
        }
        self.host.sync_dir().map_err(|error| self.lost(error))?;
        let now_ms = self.now_ms;
        match ask(self.host, |log| log.complete_swap(now_ms))?? {
            true => Ok(()),
            false => Err(CleaningError::Aborted),
        }
    }

    fn check(&self) -> Result<(), CleaningError> {
        if self.host.is_stopped() { Err(CleaningError::Aborted) } else { Ok(()) }
    }

    fn io_bytes(&self) -> usize {
        self.cleaner.io_bytes.max(MIN_IO_BYTES)
    }

    fn open(&self, source: &Source, extension: &str) -> Result<Arc<dyn FsFile>, CleaningError> {
        let path = self.plan.path(source, extension);
        let file = self.plan.fs.open(&path, OpenMode::Read).map_err(LogError::io("open", &path));
        file.map_err(|error| self.lost(error))
    }

    /// A file that is not there is no failure of the disk when the log was cut, deleted or moved.
    fn lost(&self, error: LogError) -> CleaningError {
        let LogError::Io { source, .. } = &error else { return error.into() };
        if source.kind() != std::io::ErrorKind::NotFound {
            return error.into();
        }
        let dir = &self.plan.dir;
        let is_same = ask(self.host, |log| log.cuts == self.plan.cuts && log.dir() == dir.as_ref());
        match is_same {
            Ok(true) => error.into(),
            _ => CleaningError::Aborted,
        }
    }
}

/// What [`Filter`] wants to know that is the same for a whole segment.
struct Rules<'a> {
    last_records: &'a LastRecords,
    high_watermark: Offset,
    retain_legacy_deletes: bool,
}

/// Batches to be written.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    spans: Vec<BatchSpan>,
}

impl Output {
    fn add(&mut self, bytes: &[u8]) -> Result<(), ottla_record::RecordError> {
        let (batch, _) = BatchView::parse(bytes)?;
        self.spans.push(BatchSpan {
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            max_timestamp: batch.max_timestamp(),
            size: u32::try_from(batch.size_in_bytes()).unwrap_or(u32::MAX),
        });
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Plan {
    fn path(&self, source: &Source, extension: &str) -> PathBuf {
        files::path(&self.dir, source.base, extension)
    }

    fn limits(&self) -> Limits {
        Limits { max_record_bytes: self.config.max_decompressed_message_bytes, ..Limits::DEFAULT }
    }

    /// The byte at or before the batch that holds `offset`.
    fn lookup(&self, source: &Source, offset: Offset) -> Result<u64, LogError> {
        if offset <= source.base {
            return Ok(0);
        }
        let path = self.path(source, files::INDEX);
        let file = self.fs.open(&path, OpenMode::Read).map_err(LogError::io("open", &path))?;
        let found = OffsetIndex::open(source.base, file.as_ref())
            .and_then(|index| index.lookup(file.as_ref(), offset))
            .map_err(LogError::io("read", &path))?;
        Ok(u64::from(found.position))
    }

    fn sizes(&self, source: &Source) -> Result<Sizes, LogError> {
        let len = |extension| {
            let path = self.path(source, extension);
            self.fs.info(&path).map(|info| info.len).map_err(LogError::io("look at", &path))
        };
        Ok(Sizes {
            base: source.base,
            log_bytes: u64::from(source.size),
            index_bytes: len(files::INDEX)?,
            time_index_bytes: len(files::TIME_INDEX)?,
        })
    }

    /// The segment that takes what is left.
    fn create_target(&self, base: Offset, now_ms: i64) -> Result<Segment, LogError> {
        let fs = self.fs.as_ref();
        let leftover = files::with_suffix(&files::path(&self.dir, base, files::TXN_INDEX), files::CLEANED);
        remove_file_if_exists(fs, &leftover).map_err(LogError::io("remove", &leftover))?;
        Segment::create_suffixed(fs, Arc::clone(&self.dir), base, files::CLEANED, now_ms)
    }

    fn scan_error(&self, source: &Source, error: ScanError) -> CleaningError {
        let path = self.path(source, files::LOG);
        match error {
            ScanError::Io(error) => LogError::io("read", &path)(error).into(),
            ScanError::Corrupt { position, source } => CleaningError::Batch { path, position, source },
        }
    }

    fn batch_error(&self, source: &Source, position: u64, error: ottla_record::RecordError) -> CleaningError {
        CleaningError::Batch { path: self.path(source, files::LOG), position, source: error }
    }
}
