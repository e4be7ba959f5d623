//! What can go wrong in the quorum's log.

use std::io;
use std::path::PathBuf;

use ottla_record::RecordError;
use ottla_storage::log::{AppendError, LogError, ReadError};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::snapshot::SnapshotId;

/// An error of the quorum. Those of the disk and of damaged files leave a node no way on but a restart.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The operating system refused.
    #[error("quorum files: {0}")]
    Io(#[from] io::Error),
    /// The metadata log failed.
    #[error("metadata log: {0}")]
    Log(#[from] LogError),
    /// The metadata log refused batches of ours.
    #[error("metadata log: {0}")]
    Append(#[from] AppendError),
    /// The metadata log could not be read.
    #[error("metadata log: {0}")]
    Read(#[from] ReadError),
    /// A batch is malformed.
    #[error("metadata batch at offset {offset}: {source}")]
    Batch {
        /// Where it begins.
        offset: Offset,
        /// What is wrong.
        source: RecordError,
    },
    /// A batch breaks a rule that only the quorum's logs have.
    #[error("metadata batch at offset {offset}: {what}")]
    Rule {
        /// Where it begins.
        offset: Offset,
        /// The broken rule.
        what: String,
    },
    /// A snapshot file is not whole.
    #[error("snapshot {}: {what}", path.display())]
    CorruptSnapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file `quorum-state` is not one.
    #[error("{} is no quorum state: {reason}", path.display())]
    CorruptQuorumState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log begins where no snapshot covers what is before.
    #[error("the metadata log starts at {log_start}, but the newest snapshot is {newest:?}")]
    MissingSnapshot {
        /// Where the log starts.
        log_start: Offset,
        /// The newest snapshot.
        newest: Option<SnapshotId>,
    },
    /// A snapshot of uncommitted records, or not at the end of a batch, was asked for.
    #[error("no snapshot can be made at {id}: {why}")]
    BadSnapshotId {
        /// The id.
        id: SnapshotId,
        /// Why not.
        why: &'static str,
    },
    /// Records were given to a node that does not lead.
    #[error("node {node} does not lead epoch {epoch}")]
    NotLeader {
        /// This node.
        node: NodeId,
        /// The current epoch.
        epoch: LeaderEpoch,
    },
    /// Records that must be one batch are too many or too large for one.
    #[error("{records} records of {bytes} bytes are too much for one batch")]
    BatchTooLarge {
        /// Number of records.
        records: usize,
        /// Size of the batch in bytes.
        bytes: usize,
    },
    /// The quorum's version is 1, but nothing says who votes.
    #[error("kraft.version is {0}, but neither log nor snapshot has voters")]
    NoVoters(i16),
}
