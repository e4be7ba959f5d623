//! The first snapshot of a metadata directory: what formatting writes, and a new controller starts from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_protocol::messages::{FeatureLevelRecord, MetadataRecord};
use ottla_protocol::records::FramedRecord as _;
use ottla_storage::fs::{Fs, exists};
use ottla_types::TimestampMs;

use crate::log::METADATA_DIR;
use crate::snapshot::{Snapshot, SnapshotHead, SnapshotId, SnapshotWriter};
use crate::{QuorumError, VoterSet};

/// File of Kafka 4.0 to 4.3 in each log directory, with the same contents as the bootstrap snapshot's data.
const OLD_BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";

const METADATA_VERSION: &str = "metadata.version";
const KRAFT_VERSION: &str = "kraft.version";

/// What a metadata directory is formatted with.
#[derive(Clone, Debug)]
pub struct FormatMetadata<'a> {
    /// The initial voters; empty for a quorum of static voters.
    pub voters: &'a VoterSet,
    /// Feature levels, `metadata.version` among them; those of level 0 and `kraft.version` are not written.
    pub features: &'a BTreeMap<&'a str, i16>,
    /// Further records in their frames, as SCRAM credentials.
    pub extra: &'a [Vec<u8>],
}

impl FormatMetadata<'_> {
    /// Writes the bootstrap snapshot below `log_dir`, as Kafka 4.4's StorageTool does for a metadata directory. The caller
    /// has made `log_dir`, and writes its `meta.properties` afterwards (`ottla_storage::dir`'s format).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(
        &self,
        fs: Arc<dyn Fs>,
        log_dir: &Path,
        now_ms: TimestampMs,
        nonce: u64,
    ) -> Result<(), QuorumError> {
        let dynamic = !self.voters.is_empty();
        let head = SnapshotHead {
            last_contained_log_timestamp: now_ms,
            kraft_version: i16::from(dynamic),
            voters: dynamic.then(|| self.voters.clone()),
        };
        let dir = log_dir.join(METADATA_DIR);
        let mut writer =
            SnapshotWriter::create(Arc::clone(&fs), &dir, SnapshotId::BOOTSTRAP, &head, now_ms, nonce)?;
        for value in bootstrap_values(self.features) {
            writer.append(value)?;
        }
        for value in self.extra {
            writer.append(value.clone())?;
        }
        writer.freeze()?;
        Ok(fs.sync_dir(log_dir)?)
    }
}

/// Feature level records: `metadata.version` first, then the others that are on, by name.
fn bootstrap_values(features: &BTreeMap<&str, i16>) -> Vec<Vec<u8>> {
    let first = features.get_key_value(METADATA_VERSION);
    let others = features
        .iter()
        .filter(|(name, level)| **level > 0 && **name != METADATA_VERSION && **name != KRAFT_VERSION);
    let value = |(name, level): (&&str, &i16)| {
        let record = FeatureLevelRecord { name: (*name).into(), feature_level: *level };
        MetadataRecord::from(record).encode(0).expect("a short name fits")
    };
    first.into_iter().chain(others).map(value).collect()
}

/// The bootstrap records of a formatted directory, in their frames: from the bootstrap snapshot, or from the file that Kafka
/// before 4.4 wrote. `None` when neither has any.
///
/// # Errors
/// When a file is there but cannot be read.
pub fn read_bootstrap(fs: &dyn Fs, log_dir: &Path) -> Result<Option<Vec<Vec<u8>>>, QuorumError> {
    let candidates = [
        log_dir.join(METADATA_DIR).join(SnapshotId::BOOTSTRAP.file_name()),
        log_dir.join(OLD_BOOTSTRAP_FILE),
    ];
    for path in candidates {
        if exists(fs, &path)? {
            let snapshot = Snapshot::read(fs, &path, SnapshotId::BOOTSTRAP)?;
            let values: Vec<_> = snapshot.values().map(<[u8]>::to_vec).collect();
            if !values.is_empty() {
                return Ok(Some(values));
            }
        }
    }
    Ok(None)
}
