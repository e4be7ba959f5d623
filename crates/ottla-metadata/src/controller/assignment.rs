//! Replicas of new partitions, given by the client or placed.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_types::NodeId;

use super::Controller;
use super::placement::UsableBroker;
use crate::ApiError;
use crate::features::MetadataVersion;
use crate::image::Partition;

impl Controller {
    /// The brokers that may get new replicas.
    pub(super) fn usable_brokers(&self) -> Vec<UsableBroker> {
        let usable = |id: NodeId| self.heartbeats.controlled_shutdown(id).is_none();
        self.image
            .cluster()
            .brokers()
            .filter(|broker| {
                usable(broker.id) && !broker.in_controlled_shutdown && broker.has_uncordoned_dir()
            })
            .map(|broker| UsableBroker { id: broker.id, rack: broker.rack.clone(), fenced: broker.fenced })
            .collect()
    }

    /// Those of `replicas` that can be in sync from the start.
    pub(super) fn active(&self, replicas: &[NodeId]) -> Vec<NodeId> {
        replicas.iter().copied().filter(|id| self.image.cluster().is_active(*id)).collect()
    }

    /// A new partition on these replicas.
    pub(super) fn new_partition(
        &self,
        version: MetadataVersion,
        replicas: Vec<NodeId>,
        isr: Vec<NodeId>,
    ) -> Partition {
        let directories = replicas.iter().map(|id| self.default_dir(version, *id)).collect();
        Partition::new(replicas, directories, isr)
    }

    /// Checks replicas that a client chose; `replication_factor` is that of the partitions before.
    pub(super) fn check_manual_assignment(
        &self,
        brokers: &[i32],
        replication_factor: Option<usize>,
    ) -> Result<Vec<NodeId>, ApiError> {
        let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        if brokers.is_empty() {
            return invalid("The manual partition assignment includes an empty replica list.".to_owned());
        }
        let mut sorted = brokers.to_vec();
        sorted.sort_unstable();
        let mut seen = BTreeSet::new();
        for id in sorted {
            let Some(broker) = self.image.cluster().broker(NodeId(id)) else {
                return invalid(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                ));
            };
            if !broker.has_uncordoned_dir() {
                return invalid(format!(
                    "The manual partition assignment includes broker {id}, but all its log directories are cordoned."
                ));
            }
            if !seen.insert(id) {
                return invalid(format!(
                    "The manual partition assignment includes the broker {id} more than once."
                ));
            }
        }
        match replication_factor {
            Some(expected) if expected != brokers.len() => invalid(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {expected} replica(s).",
                brokers.len()
            )),
            _ => Ok(brokers.iter().copied().map(NodeId).collect()),
        }
    }

    /// The in-sync replicas of a partition whose replicas a client chose.
    pub(super) fn active_of_manual(
        &self,
        replicas: &[NodeId],
        partition: i32,
    ) -> Result<Vec<NodeId>, ApiError> {
        let isr = self.active(replicas);
        if isr.is_empty() {
            let text = format!(
                "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
                 controlled shutdown."
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        Ok(isr)
    }

    /// The in-sync replicas of a partition whose replicas were placed.
    pub(super) fn active_of_placed(
        &self,
        replicas: &[NodeId],
        replication_factor: i16,
    ) -> Result<Vec<NodeId>, ApiError> {
        let isr = self.active(replicas);
        if isr.is_empty() {
            let text = format!(
                "Unable to replicate the partition {replication_factor} time(s): All brokers are currently fenced or \
                 in controlled shutdown."
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, text));
        }
        Ok(isr)
    }
}
