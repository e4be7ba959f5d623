//! KRaft: the consensus about the metadata log.
//!
//! [`Quorum`] decides without I/O; [`QuorumNode`] joins it with the log, the snapshots and the file `quorum-state`. Records
//! are bytes here: what they mean is `ottla-metadata`'s business, except control records ([`Control`]). As yet a quorum of one
//! is served: its only voter elects itself, and what it made durable is committed.

mod batch;
mod control;
mod core;
mod election;
mod error;
mod format;
mod log;
mod node;
pub mod snapshot;
mod voters;

#[cfg(test)]
mod tests;

pub use batch::{BatchRecords, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MetadataBatch, data_batch};
pub use control::Control;
pub use core::{Action, Appended, Quorum, QuorumConfig, Role};
pub use election::{ElectionFile, ElectionState, QUORUM_STATE_FILE};
pub use error::QuorumError;
pub use format::{FormatMetadata, read_bootstrap};
pub use log::{METADATA_DIR, MetadataLogConfig, RaftLog, open_metadata_log};
pub use node::QuorumNode;
pub use voters::{Endpoint, History, Voter, VoterSet};
