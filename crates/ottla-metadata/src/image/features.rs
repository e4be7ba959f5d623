//! Finalized feature levels.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::FeatureLevelRecord;

use super::Changes;
use crate::ReplayError;
use crate::features::{ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};
use crate::record::VersionedRecord;

/// The finalized levels. `kraft.version` is not among them: it lives in the quorum's control records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeaturesImage {
    metadata_version: Option<MetadataVersion>,
    levels: Arc<BTreeMap<String, i16>>,
}

impl FeaturesImage {
    /// The cluster's `metadata.version`; `None` before the bootstrap records.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.metadata_version
    }

    /// Level of another feature; 0 where it is off.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// The features that are on, `metadata.version` left out.
    pub fn levels(&self) -> impl Iterator<Item = (&str, i16)> {
        self.levels.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// All finalized levels that clients are told, `metadata.version` included.
    pub fn finalized(&self) -> BTreeMap<&str, i16> {
        let mut all: BTreeMap<_, _> = self.levels().collect();
        all.extend(self.metadata_version.map(|version| (METADATA_VERSION, version.level())));
        all
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub fn elr_enabled(&self) -> bool {
        self.level(ELR_VERSION) >= 1
    }

    pub(super) fn replay(
        &mut self,
        record: &FeatureLevelRecord<'_>,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        let (name, level) = (record.name.as_ref(), record.feature_level);
        match name {
            METADATA_VERSION => {
                let version = MetadataVersion::from_level(level);
                self.metadata_version = Some(version.ok_or(ReplayError::UnsupportedMetadataVersion(level))?);
            }
            KRAFT_VERSION => return Ok(()),
            _ if level == 0 => {
                Arc::make_mut(&mut self.levels).remove(name);
            }
            _ => {
                Arc::make_mut(&mut self.levels).insert(name.to_owned(), level);
            }
        }
        changes.features.insert(name.to_owned());
        Ok(())
    }

    pub(super) fn write(&self, version: MetadataVersion, sink: &mut dyn FnMut(VersionedRecord)) {
        let all = std::iter::once((METADATA_VERSION, version.level())).chain(self.levels());
        for (name, feature_level) in all {
            sink(VersionedRecord::new(FeatureLevelRecord { name: name.to_owned().into(), feature_level }, 0));
        }
    }
}
