//! Compaction: of the records of a key only the newest stays (`LogCleaner`, `Cleaner`).
//!
//! # How it works
//! A log is a clean part, then a dirty one, then what cannot be cleaned yet: the active segment, what is not stable, what is
//! too young. [`Log::dirtiness`] says where these lie and whether cleaning is worth while. [`Cleaner::clean`] first notes
//! the newest offset of each key of the dirty part, as many as fit into memory, then copies the segments up to there,
//! group by group, without the records that have a newer one. Tombstones and transaction markers of which nothing else is
//! left stay until the delete horizon in their batch has passed (KIP-534).
//!
//! # Without the log's lock
//! Only immutable segments are read, by files of their own, and what is written is nobody else's. The lock is taken to take
//! down what there is, for small questions, and to put a cleaned segment in place ([`CleaningHost::with_log`]). Nobody waits
//! for the cleaner: a log that was cut, deleted or moved meanwhile refuses what was cleaned, and the cleaning is aborted.
//!
//! # Crashes
//! A cleaned segment is written to `.cleaned` files, which a start removes. When it is whole and durable its files are renamed
//! `.swap`; once *that* is durable, the old segments go and `.swap` is dropped from the names, which a start completes.

mod dirtiness;
mod filter;
mod group;
mod offset_map;
mod run;
mod swap;
mod transactions;

use std::path::PathBuf;

use ottla_record::RecordError;
use ottla_types::Offset;

pub use dirtiness::Dirtiness;
pub(super) use swap::Swap;

use super::{Log, LogError};

/// How the cleaner of one thread works.
#[derive(Clone, Copy, Debug)]
pub struct Cleaner {
    /// Memory for keys: `log.cleaner.dedupe.buffer.size` / `log.cleaner.threads`.
    pub map_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`: how full the map of keys may get.
    pub load_factor: f64,
    /// Bytes read and written at once: `log.cleaner.io.buffer.size` / `log.cleaner.threads` / 2. A batch that is larger is
    /// read all the same.
    pub io_bytes: usize,
    /// Anything random: nobody may choose keys that look the same to the map.
    pub hash_key: (u64, u64),
}

/// What the cleaning of a log needs from around it.
pub trait CleaningHost {
    /// Calls `work` with the log, under its lock; `false` when the log is gone.
    fn with_log(&self, work: &mut dyn FnMut(&mut Log)) -> bool;
    /// Makes what was renamed in the log's directory durable. The directory must not be renamed meanwhile.
    ///
    /// # Errors
    /// As the operating system's fsync.
    fn sync_dir(&self) -> Result<(), LogError>;
    /// Whether cleaning should end now, having done nothing.
    fn is_stopped(&self) -> bool;
    /// Told of bytes read or written; may take its time.
    fn throttle(&self, bytes: usize);
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cleaned {
    /// Everything below is clean: the next first dirty offset, for `cleaner-offset-checkpoint`.
    pub end: Offset,
    /// Records of the dirty part that were looked at for their keys, and their bytes.
    pub indexed_records: u64,
    /// See above.
    pub indexed_bytes: u64,
    /// Records and bytes read for copying.
    pub read_records: u64,
    /// See above.
    pub read_bytes: u64,
    /// Records and bytes that are left of them.
    pub kept_records: u64,
    /// See above.
    pub kept_bytes: u64,
    /// Records without a key, all of which are dropped.
    pub keyless_records: u64,
    /// How full the map of keys got, 0 to 1.
    pub map_utilization: f64,
}

/// Why a log was not cleaned. What was put in place until then stays.
#[derive(Debug, thiserror::Error)]
pub enum CleaningError {
    /// The log was cut, deleted or moved, or the cleaner was stopped (`LogCleaningAbortedException`).
    #[error("cleaning was aborted")]
    Aborted,
    /// The disk failed: its directory goes offline.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A batch cannot be read. The log is better left alone from here on.
    #[error("{path} at byte {position}: {source}")]
    Batch {
        /// The segment.
        path: PathBuf,
        /// Where the batch begins.
        position: u64,
        /// What is wrong with it.
        source: RecordError,
    },
}
