//! The cleaner's threads: which log is compacted next, how fast, and what becomes of the outcome (`LogCleaner`,
//! `LogCleanerManager`).
//!
//! Nothing here is on the way of a request. A log is locked for small questions and for putting a cleaned segment in place;
//! whoever deletes, cuts or moves a log does not wait for its cleaning, which finds out and ends.

mod pool;
mod throttle;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ottla_config::Values;
use ottla_storage::dir::{Checkpoint, PartitionOffsets};
use ottla_storage::log::cleaner::{Cleaned, Cleaner, CleaningError, CleaningHost, Dirtiness};
use ottla_storage::log::{Log, LogError};
use ottla_types::{Offset, Uuid};
use tracing::{debug, error, info, warn};

use crate::broker::Broker;
use crate::clock;
use crate::partition::Partition;
use crate::random;
use pool::Pool;
use throttle::Throttle;

/// Most segments that are removed from a log while it is locked once.
const SEGMENTS_PER_TURN: usize = 16;

/// What the configuration says of the cleaner.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    is_enabled: bool,
    threads: usize,
    map_bytes: usize,
    io_bytes: usize,
    load_factor: f64,
    backoff: Duration,
    bytes_per_second: f64,
}

impl Settings {
    fn of(values: &Values) -> Self {
        let threads = usize::try_from(values.int("log.cleaner.threads")).unwrap_or(1).max(1);
        let map_bytes = usize::try_from(values.long("log.cleaner.dedupe.buffer.size")).unwrap_or(0);
        let io_bytes = usize::try_from(values.int("log.cleaner.io.buffer.size")).unwrap_or(0);
        Self {
            is_enabled: values.boolean("log.cleaner.enable"),
            threads,
            map_bytes: (map_bytes / threads).min(i32::MAX as usize),
            io_bytes: io_bytes / threads / 2,
            load_factor: values.double("log.cleaner.io.buffer.load.factor"),
            backoff: Duration::from_millis(u64::try_from(values.long("log.cleaner.backoff.ms")).unwrap_or(0)),
            bytes_per_second: values.double("log.cleaner.io.max.bytes.per.second"),
        }
    }
}

type PartitionKey = (Uuid, i32);

/// The cleaner of a broker.
pub(crate) struct LogCleaner {
    pool: Mutex<Pool>,
    work: Mutex<Work>,
    throttle: Throttle,
    /// Wakes threads that pause; together with [`Stop`].
    wake: Condvar,
    asleep: Mutex<()>,
    stats: Stats,
}

/// Who is at work where.
#[derive(Debug, Default)]
struct Work {
    in_progress: BTreeSet<PartitionKey>,
    /// Logs that could not be cleaned, and are left alone until a restart.
    uncleanable: BTreeSet<PartitionKey>,
}

/// Tells the threads of one configuration to end.
type Stop = Arc<AtomicBool>;

/// What the cleaner did since the start.
#[derive(Debug, Default)]
struct Stats {
    cleanings: AtomicU64,
    read_bytes: AtomicU64,
    kept_bytes: AtomicU64,
    /// When the last one ended; 0 before.
    last_run_ms: AtomicU64,
    /// The largest ratio that was seen last, as bits.
    max_dirty_ratio: AtomicU64,
}

/// What the cleaner did, and what it is left with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CleanerView {
    /// Logs cleaned since the start.
    pub(crate) runs: u64,
    /// Bytes read for them.
    pub(crate) read_bytes: u64,
    /// Bytes that were left.
    pub(crate) kept_bytes: u64,
    /// When the last one ended.
    pub(crate) last_run_ms: Option<u64>,
    /// The largest dirty part of a log when the cleaner looked last, from 0 to 1.
    pub(crate) max_dirty_ratio: f64,
    /// Logs that could not be cleaned.
    pub(crate) uncleanable: u64,
}

impl LogCleaner {
    pub(crate) fn new(values: &Values) -> Self {
        let settings = Settings::of(values);
        Self {
            pool: Mutex::new(Pool::new(settings)),
            work: Mutex::default(),
            throttle: Throttle::new(settings.bytes_per_second),
            wake: Condvar::new(),
            asleep: Mutex::new(()),
            stats: Stats::default(),
        }
    }

    /// What the cleaner did, and what it is left with.
    pub(crate) fn view(&self) -> CleanerView {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CleanerView {
            runs: get(&self.stats.cleanings),
            read_bytes: get(&self.stats.read_bytes),
            kept_bytes: get(&self.stats.kept_bytes),
            last_run_ms: Some(get(&self.stats.last_run_ms)).filter(|at_ms| *at_ms > 0),
            max_dirty_ratio: f64::from_bits(get(&self.stats.max_dirty_ratio)),
            uncleanable: self.work().uncleanable.len() as u64,
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps, unless the threads are told to end.
    fn pause(&self, stop: &Stop, time: Duration) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        let is_awake = |(): &mut ()| !stop.load(Ordering::Relaxed);
        drop(self.wake.wait_timeout_while(asleep, time, is_awake));
    }

    /// What a thread does until it is told to end.
    fn run(&self, broker: &Broker, settings: &Settings, stop: &Stop) {
        while !stop.load(Ordering::Relaxed) {
            let has_cleaned = self.clean_dirtiest(broker, settings, stop);
            self.remove_old_segments(broker, stop);
            if !has_cleaned {
                self.pause(stop, settings.backoff);
            }
        }
    }

    /// Cleans the log with the largest dirty part that is due. `false`: there is none.
    fn clean_dirtiest(&self, broker: &Broker, settings: &Settings, stop: &Stop) -> bool {
        let Some((partition, dirt)) = self.take_dirtiest(broker) else { return false };
        let cleaner = Cleaner {
            map_bytes: settings.map_bytes,
            load_factor: settings.load_factor,
            io_bytes: settings.io_bytes,
            hash_key: (random::u64(), random::u64()),
        };
        let host = Host { cleaner: self, partition: &partition, stop };
        debug!(partition = %partition.id, "compacting from {} to {}", dirt.first_dirty, dirt.first_uncleanable);
        let outcome = cleaner.clean(&host, dirt.first_dirty, dirt.first_uncleanable, clock::now_ms());
        let is_clean = match outcome {
            Ok(cleaned) => {
                self.note(&partition, &dirt, &cleaned);
                true
            }
            Err(failure) => {
                self.note_failure(&partition, &failure);
                false
            }
        };
        self.work().in_progress.remove(&key(&partition));
        is_clean
    }

    /// Chooses the dirtiest log, and marks it as being cleaned.
    fn take_dirtiest(&self, broker: &Broker) -> Option<(Arc<Partition>, Dirtiness)> {
        let mut work = self.work();
        let partitions = broker.partitions();
        let known: BTreeSet<PartitionKey> = partitions.iter().map(|partition| key(partition)).collect();
        work.uncleanable.retain(|key| known.contains(key));
        let mut dirtiest: Option<(Arc<Partition>, Dirtiness)> = None;
        let mut max_dirty_ratio = 0.0_f64;
        let mut checkpoints = Checkpoints::default();
        for partition in partitions {
            let settings = partition.settings();
            let busy = work.in_progress.contains(&key(&partition));
            // What is copied must not be less clean than its checkpoint says.
            let is_moving = partition.future().is_some();
            if !settings.log.cleanup_policy.compact
                || busy
                || is_moving
                || work.uncleanable.contains(&key(&partition))
            {
                continue;
            }
            let Some(checkpoint) = checkpoints.of(&partition) else { continue };
            let dirt = partition.with(|replica| replica.log().dirtiness(checkpoint, clock::now_ms()));
            match dirt {
                None => {}
                Some(Err(failure)) => {
                    warn!(partition = %partition.id, "cannot be compacted until the next start: {failure}");
                    work.uncleanable.insert(key(&partition));
                }
                Some(Ok(dirt)) => {
                    if dirt.resets_checkpoint {
                        set_checkpoint(&partition, dirt.first_dirty);
                    }
                    max_dirty_ratio = max_dirty_ratio.max(dirt.ratio());
                    let is_due = dirt.is_due(settings.log.min_cleanable_dirty_ratio);
                    if is_due && dirtiest.as_ref().is_none_or(|(_, other)| dirt.ratio() > other.ratio()) {
                        dirtiest = Some((partition, dirt));
                    }
                }
            }
        }
        self.stats.max_dirty_ratio.store(max_dirty_ratio.to_bits(), Ordering::Relaxed);
        if let Some((partition, _)) = &dirtiest {
            work.in_progress.insert(key(partition));
        }
        dirtiest
    }

    fn note(&self, partition: &Partition, dirt: &Dirtiness, cleaned: &Cleaned) {
        set_checkpoint(partition, cleaned.end);
        let now_ms = u64::try_from(clock::now_ms()).unwrap_or(0);
        self.stats.last_run_ms.store(now_ms, Ordering::Relaxed);
        self.stats.cleanings.fetch_add(1, Ordering::Relaxed);
        self.stats.read_bytes.fetch_add(cleaned.read_bytes, Ordering::Relaxed);
        self.stats.kept_bytes.fetch_add(cleaned.kept_bytes, Ordering::Relaxed);
        info!(
            partition = %partition.id,
            "compacted offsets {} to {}: {} of {} records and {} of {} bytes are left",
            dirt.first_dirty,
            cleaned.end,
            cleaned.kept_records,
            cleaned.read_records,
            cleaned.kept_bytes,
            cleaned.read_bytes
        );
        if cleaned.keyless_records > 0 {
            warn!(partition = %partition.id, "{} records without a key were removed", cleaned.keyless_records);
        }
    }

    fn note_failure(&self, partition: &Partition, failure: &CleaningError) {
        match failure {
            CleaningError::Aborted => debug!(partition = %partition.id, "compaction was aborted"),
            CleaningError::Log(failure @ LogError::Io { .. }) => {
                error!(partition = %partition.id, "compaction failed: {}", partition.dir().failed(failure));
            }
            // The log is offline already.
            CleaningError::Log(LogError::Poisoned { .. }) => {}
            CleaningError::Log(_) | CleaningError::Batch { .. } => {
                warn!(partition = %partition.id, "cannot be compacted until the next start: {failure}");
                self.work().uncleanable.insert(key(partition));
            }
        }
    }

    /// Removes what lies below the log start of compacted logs, and what is too old or too much where `delete` is a policy
    /// too. It is done here so that retention and compaction do not meet.
    fn remove_old_segments(&self, broker: &Broker, stop: &Stop) {
        let due = begin_retention(broker);
        if due.is_empty() {
            return;
        }
        broker.replicas.checkpoint(broker, &[Checkpoint::LogStarts]);
        for partition in due {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if !partition.dir().is_online() {
                continue;
            }
            {
                let mut work = self.work();
                let is_left_alone = work.uncleanable.contains(&key(&partition));
                if is_left_alone || !work.in_progress.insert(key(&partition)) {
                    continue;
                }
            }
            let mut more = true;
            while more {
                let outcome = partition.update(|replica| {
                    let outcome = replica.log_mut().delete_old_segments(clock::now_ms(), SEGMENTS_PER_TURN);
                    (outcome, replica.advance())
                });
                more = match outcome {
                    None => false,
                    Some(Ok(outcome)) => outcome.more,
                    Some(Err(failure)) => {
                        error!(partition = %partition.id, "{}", partition.dir().failed(&failure));
                        false
                    }
                };
            }
            self.work().in_progress.remove(&key(&partition));
        }
    }
}

/// The compacted partitions whose log start is now where removing old segments will have it.
fn begin_retention(broker: &Broker) -> Vec<Arc<Partition>> {
    let mut due = Vec::new();
    for partition in broker.partitions() {
        if !partition.settings().log.cleanup_policy.compact || !partition.dir().is_online() {
            continue;
        }
        let begun = partition.update(|replica| {
            let begun = replica.log_mut().begin_retention(clock::now_ms());
            (begun, replica.advance())
        });
        match begun {
            None | Some(Ok(None) | Err(LogError::Poisoned { .. })) => {}
            Some(Ok(Some(_))) => due.push(partition),
            Some(Err(failure)) => error!(partition = %partition.id, "{}", partition.dir().failed(&failure)),
        }
    }
    due
}

fn key(partition: &Partition) -> PartitionKey {
    (partition.topic_id, partition.id.partition)
}

fn set_checkpoint(partition: &Partition, offset: Offset) {
    let id = partition.id.clone();
    let written = partition.dir().update_checkpoint(Checkpoint::CleanerOffsets, |entries| {
        entries.insert(id, offset);
    });
    if let Err(offline) = written {
        error!("{offline}");
    }
}

/// The cleaner's checkpoints, each read once.
#[derive(Default)]
struct Checkpoints(Vec<(std::path::PathBuf, Option<PartitionOffsets>)>);

impl Checkpoints {
    /// A partition's entry, if its directory works.
    fn of(&mut self, partition: &Partition) -> Option<Option<Offset>> {
        let dir = partition.dir();
        let path = dir.path();
        if !self.0.iter().any(|(known, _)| known == path) {
            let read = partition.dir().read_checkpoint(Checkpoint::CleanerOffsets);
            self.0.push((path.to_owned(), read.ok()));
        }
        let (_, entries) = self.0.iter().find(|(known, _)| known == path)?;
        Some(entries.as_ref()?.get(&partition.id).copied())
    }
}

/// One partition, as the cleaning sees it.
struct Host<'a> {
    cleaner: &'a LogCleaner,
    partition: &'a Arc<Partition>,
    stop: &'a Stop,
}

impl CleaningHost for Host<'_> {
    fn with_log(&self, work: &mut dyn FnMut(&mut Log)) -> bool {
        self.partition.with(|replica| work(replica.log_mut())).is_some()
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let home = self.partition.dir();
        let _names = home.hold_names();
        let dir = self.partition.with_unless_away(|replica| replica.log().dir().to_path_buf());
        let io = |path, source| LogError::Io { action: "sync", path, source };
        let gone = || io(self.partition.dir().path().to_owned(), std::io::ErrorKind::NotFound.into());
        let dir = dir.ok_or_else(gone)?;
        self.partition.dir().fs().sync_dir(&dir).map_err(|source| io(dir, source))
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || !self.partition.dir().is_online()
            || self.partition.future().is_some()
            || self.partition.with(|_| ()).is_none()
    }

    fn throttle(&self, bytes: usize) {
        let pause = self.cleaner.throttle.note(bytes);
        if !pause.is_zero() {
            self.cleaner.pause(self.stop, pause);
        }
    }
}

impl std::fmt::Debug for LogCleaner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogCleaner({:?})", self.stats)
    }
}
