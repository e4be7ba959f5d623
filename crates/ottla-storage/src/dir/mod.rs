//! The log directories of a node (`log.dirs`): format, start, duties, shut-down, and what happens when a disk fails.
//!
//! # Who owns what
//! A replica keeps its state beside its log under one lock, so the logs cannot live in here behind locks of their own: an
//! append would take two. [`LogDirs`] therefore hands every opened [`Log`](crate::log::Log) out, as a [`PlacedLog`], and
//! remembers only *where* each is. What is to be done with all logs now and then ([`write_checkpoints`],
//! [`apply_retention`], …) borrows them one by one from whoever owns them ([`LogOwner`]), takes a small copy under
//! the log's lock, and waits for the disk without it. Everything here takes `&self`: the bookkeeping has a lock that is held
//! for map operations only, and the slow parts of one directory never wait for another.
//!
//! # The order of a node's life
//! 1. [`Format::plan`], [`FormatPlan::create_dirs`] (then the first metadata snapshot), [`FormatPlan::finish`]: once.
//! 2. [`LogDirs::open`]: checks `meta.properties` everywhere, takes the locks, reads the last broker epoch.
//! 3. [`LogDirs::begin_loading`], [`take_twins`] and [`LogDirs::settle_twins`], then [`LoadJob::run`] and [`LogDirs::admit`] for
//!    each job, from as many threads per directory as wanted.
//! 4. [`LogDirs::create`], [`LogDirs::delete`], [`LogDirs::promote_future`], and the duties.
//! 5. [`LogDirs::begin_shutdown`], then per directory [`DirShutdown::write_high_watermarks`],
//!    [`DirShutdown::close_logs`] (several threads), [`DirShutdown::finish`].
//!
//! # When a disk fails
//! The first failure takes its directory offline ([`LogDir::fail`]) and the others go on. Functions of this module do
//! that by themselves; an owner that meets an error of a log calls it too. Then it drops the logs that
//! [`LogDirs::forget_logs_in`] names and tells the controller. Only a restart brings a directory back.

mod checkpoint_file;
mod clean_shutdown;
mod deletion;
mod duties;
mod epochs;
mod error;
mod format;
mod journal;
mod load;
mod log_dir;
mod log_dirs;
mod meta_properties;
mod partition_dir;
mod properties;
mod removal;
mod shutdown;
mod stale_offsets;
mod start;
mod twins;

pub use checkpoint_file::{
    CLEANER_CHECKPOINT, CheckpointError, CheckpointFile, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT,
    PartitionOffsets, RECOVERY_POINT_CHECKPOINT,
};
pub use clean_shutdown::{CLEAN_SHUTDOWN_MARKER, CleanShutdown, read_marker, remove_marker, write_marker};
pub use duties::{
    CheckpointEntry, LogOwner, RetentionSummary, apply_retention, close_idle_files, flush_due,
    remove_old_files, write_checkpoints,
};
pub use error::{CreateError, DirOffline, StartError};
pub use format::{Format, FormatPlan};
pub use journal::{Committed, JOURNAL_FILES, Journal, JournalContents, remove_journal};
pub use load::{Admission, DirLoad, LoadJob, LoadOutcome};
pub use log_dir::{Checkpoint, LOCK_FILE, LogDir, NamesHeld};
pub use log_dirs::{LogDirs, LogKey, NewLog, PlacedLog};
pub use meta_properties::{META_PROPERTIES, MetaProperties, MetaPropertiesError, MetaVersion};
pub use partition_dir::{
    METADATA_PARTITION_DIR, NotAPartitionDir, PartitionDirKind, PartitionDirName, partition_dir_name,
};
pub use removal::{REMOVAL_PAUSE, REMOVAL_STEP_BYTES};
pub use shutdown::{DirShutdown, MANY_LOGS};
pub use start::LogDirsConfig;
pub use twins::take_twins;
