//! The cluster's metadata as one immutable value.
//!
//! A [`MetadataImage`] is cheap to clone: its parts are shared, and a change copies only what it touches. A
//! [`MetadataDelta`] is an image with the records since the last one applied to it, and says what they changed; the
//! [`Loader`] makes both from the batches of the log.

mod changes;
mod cluster;
mod configs;
mod delta;
mod features;
mod loader;
mod local;
mod partition;
mod quotas;
mod security;
mod topics;

use ottla_protocol::messages::MetadataRecord;
use ottla_types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, TimestampMs};

pub use changes::{Changes, TopicChange};
pub use cluster::{Broker, ClusterImage, ControllerNode, Listener};
pub use configs::{Config, ConfigResource, ConfigsImage, ResourceKind};
pub use delta::MetadataDelta;
pub use features::FeaturesImage;
pub use loader::{Loader, Publication};
pub use local::{LocalChanges, LocalPartition};
pub(crate) use partition::ids;
pub use partition::{LEADER_UNCHANGED, LeaderRecovery, NO_LEADER, Partition, RECOVERY_UNCHANGED};
pub use quotas::{CLIENT_ID, IP, ProducerIdsImage, QuotaEntity, Quotas, QuotasImage, USER};
pub use security::{Acl, AclsImage, DelegationToken, ScramCredential, ScramImage, ScramKey, TokensImage};
pub use topics::{Topic, TopicsImage};

use self::cluster::RegistrationChange;
use crate::record::VersionedRecord;
use crate::{ReplayError, UnwritableError};

/// How far into the log an image reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Offset of the last record in it; -1 for the empty image.
    pub last_offset: Offset,
    /// Epoch of that record.
    pub epoch: LeaderEpoch,
    /// When that record was appended.
    pub time_ms: TimestampMs,
    /// Whether that record ends a batch: only then the image may become a snapshot.
    pub at_batch_end: bool,
}

impl Default for Provenance {
    fn default() -> Self {
        Self { last_offset: Offset::NONE, epoch: LeaderEpoch::NONE, time_ms: -1, at_batch_end: true }
    }
}

/// Everything the metadata log says, up to an offset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    provenance: Provenance,
    features: FeaturesImage,
    cluster: ClusterImage,
    topics: TopicsImage,
    configs: ConfigsImage,
    quotas: QuotasImage,
    producer_ids: ProducerIdsImage,
    acls: AclsImage,
    scram: ScramImage,
    tokens: TokensImage,
}

impl MetadataImage {
    /// How far the image reaches.
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// Finalized feature levels.
    pub fn features(&self) -> &FeaturesImage {
        &self.features
    }

    /// Brokers and controllers.
    pub fn cluster(&self) -> &ClusterImage {
        &self.cluster
    }

    /// Topics and partitions.
    pub fn topics(&self) -> &TopicsImage {
        &self.topics
    }

    /// Dynamic configuration.
    pub fn configs(&self) -> &ConfigsImage {
        &self.configs
    }

    /// Client quotas.
    pub fn quotas(&self) -> &QuotasImage {
        &self.quotas
    }

    /// Producer ids given out.
    pub fn producer_ids(&self) -> &ProducerIdsImage {
        &self.producer_ids
    }

    /// ACLs.
    pub fn acls(&self) -> &AclsImage {
        &self.acls
    }

    /// SCRAM credentials.
    pub fn scram(&self) -> &ScramImage {
        &self.scram
    }

    /// Delegation tokens.
    pub fn tokens(&self) -> &TokensImage {
        &self.tokens
    }

    /// The records that make this image out of nothing, in the order of Kafka's snapshots. An image without a
    /// `metadata.version` has none.
    ///
    /// # Errors
    /// When the cluster's `metadata.version` cannot express what is in the image.
    pub fn write(&self, sink: &mut dyn FnMut(VersionedRecord)) -> Result<(), UnwritableError> {
        let Some(version) = self.features.metadata_version() else { return Ok(()) };
        self.features.write(version, sink);
        self.cluster.write(version, sink)?;
        self.topics.write(version, self.features.elr_enabled(), sink)?;
        self.configs.write(sink);
        self.quotas.write(sink);
        self.producer_ids.write(sink);
        self.acls.write(sink);
        self.scram.write(version, sink)?;
        self.tokens.write(version, sink)
    }

    /// [`MetadataImage::write`] into a list.
    ///
    /// # Errors
    /// As [`MetadataImage::write`].
    pub fn to_records(&self) -> Result<Vec<VersionedRecord>, UnwritableError> {
        let mut records = Vec::new();
        self.write(&mut |record| records.push(record))?;
        Ok(records)
    }

    pub(crate) fn set_provenance(&mut self, provenance: Provenance) {
        self.provenance = provenance;
    }

    /// Applies one record in place, copying what is shared with other images, and notes what it changed. Transaction
    /// records are not for images: who reads the log acts on them.
    pub(crate) fn replay(
        &mut self,
        record: &MetadataRecord<'_>,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        use MetadataRecord as R;
        match record {
            R::RegisterBroker(r) => {
                changes.brokers.insert(self.cluster.register_broker(r));
            }
            R::UnregisterBroker(r) => {
                self.cluster.unregister_broker(NodeId(r.broker_id), BrokerEpoch(r.broker_epoch))?;
                changes.brokers.insert(NodeId(r.broker_id));
            }
            R::FenceBroker(r) => {
                self.change_broker(r.id, r.epoch, RegistrationChange::fenced(true), changes)?
            }
            R::UnfenceBroker(r) => {
                self.change_broker(r.id, r.epoch, RegistrationChange::fenced(false), changes)?
            }
            R::BrokerRegistrationChange(r) => {
                let change = RegistrationChange::from_record(r)?;
                self.change_broker(r.broker_id, r.broker_epoch, change, changes)?;
            }
            R::RegisterController(r) => {
                changes.controllers.insert(self.cluster.register_controller(r));
            }
            R::UnregisterController(r) => {
                self.cluster.unregister_controller(NodeId(r.controller_id))?;
                changes.controllers.insert(NodeId(r.controller_id));
            }
            R::Topic(r) => self.topics.create(r, changes)?,
            R::RemoveTopic(r) => {
                let topic = self.topics.remove(r.topic_id, changes)?;
                self.configs.remove_topic(topic.name.as_str(), changes);
            }
            R::Partition(r) => {
                let partition = Partition::from_record(r)?;
                self.topics.set_partition(r.topic_id, r.partition_id, partition, changes)?;
            }
            R::PartitionChange(r) => self.topics.change_partition(r, changes)?,
            R::ClearElr(r) => self.topics.clear_elr(&r.topic_name, changes)?,
            R::Config(r) => self.configs.replay(r, changes),
            R::FeatureLevel(r) => self.features.replay(r, changes)?,
            R::ClientQuota(r) => self.quotas.replay(r, changes),
            R::ProducerIds(r) => self.producer_ids.replay(r, changes)?,
            R::AccessControlEntry(r) => self.acls.add(r, changes),
            R::RemoveAccessControlEntry(r) => self.acls.remove(r.id, changes)?,
            R::UserScramCredential(r) => self.scram.set(r, changes),
            R::RemoveUserScramCredential(r) => self.scram.remove(r.mechanism, &r.name, changes),
            R::DelegationToken(r) => self.tokens.set(r, changes),
            R::RemoveDelegationToken(r) => self.tokens.remove(&r.token_id, changes),
            R::NoOp(_) | R::ZkMigrationState(_) => {}
            R::BeginTransaction(_) | R::EndTransaction(_) | R::AbortTransaction(_) => {}
        }
        Ok(())
    }

    fn change_broker(
        &mut self,
        id: i32,
        epoch: i64,
        change: RegistrationChange,
        changes: &mut Changes,
    ) -> Result<(), ReplayError> {
        self.cluster.change_broker(NodeId(id), BrokerEpoch(epoch), change)?;
        changes.brokers.insert(NodeId(id));
        Ok(())
    }
}
