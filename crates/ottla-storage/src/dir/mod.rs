//! Log directories and the files at their top.
mod checkpoint_file;
mod clean_shutdown;
mod meta_properties;
mod partition_dir;
mod properties;

pub use checkpoint_file::{
    CLEANER_CHECKPOINT, CheckpointError, CheckpointFile, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT,
    PartitionOffsets, RECOVERY_POINT_CHECKPOINT,
};
pub use clean_shutdown::{CLEAN_SHUTDOWN_MARKER, CleanShutdown, read_marker, remove_marker, write_marker};
pub use meta_properties::{META_PROPERTIES, MetaProperties, MetaPropertiesError, MetaVersion};
pub use partition_dir::{NotAPartitionDir, PartitionDirKind, PartitionDirName, partition_dir_name};
