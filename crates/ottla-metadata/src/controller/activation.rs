//! What a new active controller writes first.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord,
    MetadataRecord,
};

use super::{Controller, Decision};
use crate::ReplayError;
use crate::features::{ELR_VERSION, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};
use crate::image::ResourceKind;
use crate::record::VersionedRecord;

/// The key whose cluster-wide value is pinned when eligible leader replicas are on: all brokers must agree on it.
pub const ELR_BOOTSTRAP_KEY: &str = "min.insync.replicas";

/// The records that a formatted cluster begins with: `metadata.version` first, then the features that are on, by name.
/// `kraft.version` is not among them.
pub fn bootstrap_records(levels: &BTreeMap<&str, i16>) -> Vec<VersionedRecord> {
    let metadata = levels.get(METADATA_VERSION).map(|level| (METADATA_VERSION, *level));
    let others = levels
        .iter()
        .map(|(name, level)| (*name, *level))
        .filter(|(name, level)| *level > 0 && *name != METADATA_VERSION && *name != KRAFT_VERSION);
    let record = |(name, feature_level): (&str, i16)| {
        VersionedRecord::new(FeatureLevelRecord { name: name.to_owned().into(), feature_level }, 0)
    };
    metadata.into_iter().chain(others).map(record).collect()
}

impl Controller {
    /// The first records of a new active controller: in an empty cluster the bootstrap records, read from the bootstrap
    /// checkpoint, in a transaction; else the end of a transaction that another controller left open, if any.
    ///
    /// # Errors
    /// When the bootstrap records have no known `metadata.version`, or an open transaction cannot be aborted.
    pub fn activation(&self, bootstrap: &[VersionedRecord]) -> Result<Decision<()>, ReplayError> {
        let abort = || {
            let reason = Some("Controller failover".into());
            VersionedRecord::new(AbortTransactionRecord { reason }, 0)
        };
        if let Some(version) = self.version_outside_transaction() {
            if self.transaction.is_none() {
                return Ok(Decision::reply(()));
            }
            if !version.has_metadata_transactions() {
                return Err(ReplayError::Transaction(
                    "is open, but the metadata.version does not support them",
                ));
            }
            return Ok(Decision::atomic(vec![abort()], ()));
        }
        let level = |name: &str| {
            let mut levels = bootstrap.iter().rev().filter_map(|record| match &record.record {
                MetadataRecord::FeatureLevel(level) if level.name == name => Some(level.feature_level),
                _ => None,
            });
            levels.next()
        };
        let version = level(METADATA_VERSION).and_then(MetadataVersion::from_level).ok_or_else(|| {
            ReplayError::Contradiction("the bootstrap records have no supported metadata.version".to_owned())
        })?;
        let transactional = version.has_metadata_transactions();
        let mut records = Vec::with_capacity(bootstrap.len() + 4);
        if self.transaction.is_some() {
            if !transactional {
                return Err(ReplayError::Transaction(
                    "is open, but the metadata.version does not support them",
                ));
            }
            records.push(abort());
        }
        if transactional {
            let name = Some("Bootstrap records".into());
            records.push(VersionedRecord::new(BeginTransactionRecord { name }, 0));
        }
        records.extend_from_slice(bootstrap);
        if level(ELR_VERSION).is_some_and(|level| level > 0) {
            records.push(self.pinned_min_isr());
        }
        if transactional {
            records.push(VersionedRecord::new(EndTransactionRecord::default(), 0));
        }
        Ok(Decision { atomic: !transactional, ..Decision::of(records, ()) })
    }

    fn version_outside_transaction(&self) -> Option<MetadataVersion> {
        let image = self.transaction.as_ref().map_or(&self.image, |(_, before)| before);
        image.features().metadata_version()
    }

    /// The record that pins `min.insync.replicas` to what this controller's file says.
    pub(super) fn pinned_min_isr(&self) -> VersionedRecord {
        let value = self.settings.static_topic_value(ELR_BOOTSTRAP_KEY).unwrap_or_else(|| "1".to_owned());
        let record = ConfigRecord {
            resource_type: ResourceKind::Broker.id(),
            resource_name: "".into(),
            name: ELR_BOOTSTRAP_KEY.into(),
            value: Some(value.into()),
        };
        VersionedRecord::new(record, 0)
    }
}
