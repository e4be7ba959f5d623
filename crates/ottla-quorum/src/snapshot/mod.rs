//! Snapshots of the metadata log: files of batches beside its segments.

mod id;
mod reader;
mod store;
mod writer;

pub use id::{SnapshotFile, SnapshotId};
pub use reader::Snapshot;
pub use store::{SnapshotInfo, SnapshotRetention, SnapshotStore};
pub use writer::{SnapshotHead, SnapshotWriter};
