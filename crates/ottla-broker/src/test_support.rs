//! A log directory in memory, logs and partitions in it, for unit tests.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_replica::Replica;
use ottla_storage::dir::{Format, LogDirs, LogDirsConfig, LogKey, NewLog, PlacedLog};
use ottla_storage::fs::MemFs;
use ottla_storage::log::{AppendOrigin, LeaderAppend, LogConfig, VerificationGuard};
use ottla_types::{LeaderEpoch, NodeId, TopicPartition, Uuid};

use crate::flusher::Flusher;
use crate::partition::{Partition, Place};
use crate::settings::TopicSettings;

/// The time.
pub(crate) const NOW: i64 = 1_700_000_000_000;
/// The only log directory.
pub(crate) const DIR: &str = "/data";
const TOPIC_ID: Uuid = Uuid::from_parts(1, 1);

/// Formats the directory.
pub(crate) fn format(fs: &MemFs) {
    let format = Format {
        dirs: &[PathBuf::from(DIR)],
        cluster_id: "5L6g3nShT-eMCtK--X86sw",
        node_id: NodeId(1),
        directory_ids: &[],
        ignore_formatted: false,
    };
    let plan = format.plan(fs, &mut || Uuid::from_parts(100, 7));
    plan.and_then(|plan| plan.finish(fs)).expect("formatted");
}

/// Opens the directory, formatted before.
pub(crate) fn log_dirs(fs: &MemFs) -> LogDirs {
    let config = LogDirsConfig {
        dirs: vec![PathBuf::from(DIR)],
        metadata_dir: PathBuf::from(DIR),
        node_id: NodeId(1),
        cluster_id: None,
    };
    LogDirs::open(Arc::new(fs.clone()), &config, &mut || Uuid::from_parts(101, 7)).expect("opened")
}

/// Creates a log.
pub(crate) fn create(dirs: &LogDirs, id: TopicPartition, config: LogConfig) -> PlacedLog {
    let new = NewLog {
        key: LogKey::current(id),
        topic_id: TOPIC_ID,
        is_new: true,
        dir_id: None,
        config,
        unique: 1,
        now_ms: NOW,
    };
    dirs.create(&new).expect("created")
}

/// A partition around a log.
pub(crate) fn partition(
    placed: PlacedLog,
    flusher: &Arc<Flusher>,
    settings: TopicSettings,
) -> Arc<Partition> {
    let PlacedLog { key, dir, log } = placed;
    let place = Place { dir, flusher: Arc::clone(flusher) };
    let replica = Replica::new(log, settings.durability);
    Partition::new(key.partition, TOPIC_ID, place, Arc::new(settings), replica)
}

/// How the leader of the first epoch appends.
pub(crate) fn append_from(origin: AppendOrigin) -> LeaderAppend {
    LeaderAppend {
        origin,
        leader_epoch: LeaderEpoch(0),
        guard: VerificationGuard::default(),
        transaction_version: 0,
        now_ms: NOW,
    }
}
