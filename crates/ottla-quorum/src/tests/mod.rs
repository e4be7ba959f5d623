//! Tests of the quorum on a file system in memory.

mod golden;
mod node;
mod snapshots;

use std::path::Path;
use std::sync::Arc;

use ottla_storage::fs::{Fs, MemFs};
use ottla_storage::log::Log;
use ottla_types::{NodeId, Uuid};

use crate::{
    Endpoint, FormatMetadata, MetadataLogConfig, QuorumConfig, QuorumError, QuorumNode, Voter, VoterSet,
    open_metadata_log,
};

pub(crate) const LOG_DIR: &str = "/data";
const DIRECTORY: Uuid = Uuid::from_parts(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00);

pub(crate) fn voter(port: u16) -> Voter {
    let endpoints = vec![Endpoint { listener: "CONTROLLER".into(), host: "localhost".into(), port }];
    Voter { id: NodeId(1), directory: Some(DIRECTORY), endpoints, min_kraft_version: 0, max_kraft_version: 1 }
}

pub(crate) fn config(port: u16) -> QuorumConfig {
    QuorumConfig {
        node_id: NodeId(1),
        directory_id: DIRECTORY,
        endpoints: voter(port).endpoints,
        static_voters: VoterSet::default(),
    }
}

/// A directory formatted for a single voter.
pub(crate) fn formatted() -> Arc<dyn Fs> {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    fs.create_dir_all(Path::new(LOG_DIR)).unwrap();
    let features = [("metadata.version", 33), ("group.version", 1), ("kraft.version", 1)].into();
    let format = FormatMetadata { voters: &VoterSet::new([voter(9093)]), features: &features, extra: &[] };
    format.write(Arc::clone(&fs), Path::new(LOG_DIR), 1_000, 7).unwrap();
    fs
}

pub(crate) fn open_with(fs: &Arc<dyn Fs>, config: QuorumConfig) -> Result<QuorumNode<Log>, QuorumError> {
    let dir = Path::new(LOG_DIR);
    let (log, _) = open_metadata_log(Arc::clone(fs), dir, MetadataLogConfig::default(), 2_000)?;
    QuorumNode::open(Arc::clone(fs), dir, config, log, 2_000)
}

pub(crate) fn started(fs: &Arc<dyn Fs>) -> QuorumNode<Log> {
    let mut node = open_with(fs, config(9093)).unwrap();
    node.start(2_000).unwrap();
    node.flush(2_000).unwrap();
    node
}
