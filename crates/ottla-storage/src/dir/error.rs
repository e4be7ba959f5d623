//! What can go wrong with whole log directories: at start, and later.

use std::io;
use std::path::PathBuf;

use ottla_types::{NodeId, TopicPartition, Uuid};

use super::partition_dir::NotAPartitionDir;

/// A log directory does not work, now or since earlier; the others go on. It stays so until the next start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log directory {} is offline: {reason}", dir.display())]
pub struct DirOffline {
    /// The directory.
    pub dir: PathBuf,
    /// The failure that took it offline.
    pub reason: String,
}

/// Why a node cannot start, or cannot format, with its log directories.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration names no directory.
    #[error("at least one log directory must be configured")]
    NoDirs,
    /// The configuration names one directory twice.
    #[error("log directory {} is configured twice", .0.display())]
    SameDirTwice(PathBuf),
    /// A directory has no `meta.properties`.
    #[error("no `meta.properties` found in {} (has the directory been formatted?)", .0.display())]
    NotFormatted(PathBuf),
    /// No directory has a readable `meta.properties`.
    #[error("no readable `meta.properties` found: {}", .0.join("; "))]
    NothingReadable(Vec<String>),
    /// A `meta.properties` lacks something, which only those of version 0 can.
    #[error("{key} is missing in {}", dir.join("meta.properties").display())]
    MissingProperty {
        /// The directory.
        dir: PathBuf,
        /// What is missing.
        key: &'static str,
    },
    /// The directory is of another cluster.
    #[error("log directory {} belongs to cluster {found}, expected {expected}", dir.display())]
    WrongCluster {
        /// The directory.
        dir: PathBuf,
        /// Its cluster.
        found: String,
        /// The configured one, or that of the other directories.
        expected: String,
    },
    /// The directory is of another node.
    #[error(
        "log directory {} belongs to node {found}, but this is node {expected}: correct node.id if the data was moved; \
         a new node needs empty directories",
        dir.display()
    )]
    WrongNode {
        /// The directory.
        dir: PathBuf,
        /// Its node.
        found: NodeId,
        /// The configured one.
        expected: NodeId,
    },
    /// A directory id that has a special meaning (`DirectoryId.reserved`).
    #[error("log directory {} has the reserved directory id {id}", dir.display())]
    ReservedDirectoryId {
        /// The directory.
        dir: PathBuf,
        /// Its id.
        id: Uuid,
    },
    /// Two directories of one id: one is a copy of the other.
    #[error("directory id {id} belongs to both {} and {}", first.display(), second.display())]
    DuplicateDirectoryId {
        /// The id.
        id: Uuid,
        /// One directory.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The directory of the metadata log does not work; without it the node is nothing.
    #[error("cannot continue without the metadata log directory: {0}")]
    MetadataDir(#[source] DirOffline),
    /// The metadata log lies in a directory where it is not looked for.
    #[error(
        "unexpected metadata log {} (metadata.log.dir is {})",
        found.display(),
        metadata_dir.display()
    )]
    MisplacedMetadataLog {
        /// Where it is.
        found: PathBuf,
        /// Where it should be.
        metadata_dir: PathBuf,
    },
    /// Somebody holds the directory's lock.
    #[error("cannot lock {}: another process, or another node in this one, is using this directory", .0.display())]
    InUse(PathBuf),
    /// No log directory works.
    #[error("all log directories have failed: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    AllOffline(Vec<DirOffline>),
    /// A directory that is not a partition's, such as `lost+found`.
    #[error("{name} in {}: log directories may hold nothing but topic data", dir.display())]
    ForeignDir {
        /// The log directory.
        dir: PathBuf,
        /// What was found in it.
        name: NotAPartitionDir,
    },
    /// One partition in two directories, as a disk failure in the middle of a move can leave it.
    #[error(
        "partition {partition} is in both {} and {}: remove one of the two, rather that on the disk that failed last",
        first.display(),
        second.display()
    )]
    DuplicateLog {
        /// The partition.
        partition: TopicPartition,
        /// One partition directory.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Formatting was asked for, but this directory is formatted already.
    #[error("log directory {} is already formatted", .0.display())]
    AlreadyFormatted(PathBuf),
    /// A directory could not be formatted.
    #[error("cannot format {}: {source}", dir.display())]
    CannotFormat {
        /// The directory.
        dir: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Why a log was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The partition has a log here.
    #[error("partition {0} already has a log")]
    Exists(TopicPartition),
    /// No directory of that id is online.
    #[error("no log directory with id {0} is online")]
    NoSuchDir(Uuid),
    /// A partition that existed before may be in a directory that is offline now; a second log would be empty.
    #[error("{0}: partition may be there")]
    MayBeOffline(#[source] DirOffline),
    /// Every directory that was tried failed, the last one like this; or none was left to try.
    #[error("no log directory is available{}", .0.as_ref().map_or(String::new(), |last| format!(": {last}")))]
    NoneAvailable(Option<DirOffline>),
    /// The directory has files of another topic of that name.
    #[error(transparent)]
    Log(crate::log::LogError),
}
