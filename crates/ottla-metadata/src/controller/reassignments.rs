//! AlterPartitionReassignments and ListPartitionReassignments.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use ottla_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_types::{NodeId, PartitionIndex};

use super::partition_change::Election;
use super::{Controller, Decision};
use crate::ApiError;
use crate::image::{Partition, Topic, ids};
use crate::record::VersionedRecord;

impl Controller {
    /// Answers AlterPartitionReassignments (v0-1): each partition gets new replicas, or its reassignment is cancelled. Version
    /// 1 can insist on the replication factor (KIP-860).
    pub fn alter_partition_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest<'_>,
    ) -> Decision<AlterPartitionReassignmentsResponse<'static>> {
        if request.topics.is_empty() {
            return Decision::reply(AlterPartitionReassignmentsResponse::default());
        }
        let mut records = Vec::new();
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut reassign = |target: &ReassignablePartition| {
                let outcome = self.reassign(&topic.name, target, request.allow_replication_factor_change);
                let error = outcome.map(|record| records.extend(record)).err();
                ReassignablePartitionResponse {
                    partition_index: target.partition_index,
                    error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
                    error_message: error.and_then(|error| error.message).map(Into::into),
                }
            };
            responses.push(ReassignableTopicResponse {
                name: topic.name.to_string().into(),
                partitions: topic.partitions.iter().map(&mut reassign).collect(),
            });
        }
        let response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: request.allow_replication_factor_change,
            error_message: None,
            responses,
            ..AlterPartitionReassignmentsResponse::default()
        };
        Decision::atomic(records, response)
    }

    fn reassign(
        &self,
        name: &str,
        target: &ReassignablePartition,
        may_change_factor: bool,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        let unknown = |what: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, what);
        let index = target.partition_index;
        let topic = self.image.topics().by_name(name);
        let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let partition = topic.partitions.get(&index);
        let partition =
            partition.ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
        match &target.replicas {
            None => self.cancel_reassignment(topic, index, partition),
            Some(replicas) => self.change_reassignment(topic, index, partition, replicas, may_change_factor),
        }
    }

    /// Back to the replicas from before (`PartitionReassignmentRevert`).
    fn cancel_reassignment(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &Partition,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        if !partition.is_reassigning() {
            return Err(ApiError::bare(ErrorCode::NoReassignmentInProgress));
        }
        let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        let without_added = |list: &[NodeId]| -> Vec<NodeId> {
            list.iter().filter(|id| !partition.adding.contains(id)).copied().collect()
        };
        let replicas = without_added(&partition.replicas);
        let mut isr = without_added(&partition.isr);
        if isr.is_empty() {
            let Some(first) = replicas.first() else {
                return invalid("Invalid replica assignment: addingReplicas contains all replicas.".into());
            };
            isr.push(*first);
            if !self.unclean_election_enabled(topic.name.as_str()) {
                return invalid(format!(
                    "Unable to revert partition assignment for {}:{index} because it would require an unclean leader \
                     election.",
                    topic.name
                ));
            }
        }
        let version = self.version()?;
        let active = |id| self.image.cluster().is_active(id);
        Ok(self.change_partition(version, topic, index, partition, &active, |change| {
            change.isr = isr;
            change.replicas = replicas;
            change.removing.clear();
            change.adding.clear();
        }))
    }

    fn change_reassignment(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &Partition,
        target: &[i32],
        may_change_factor: bool,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        let target = self.check_manual_assignment(target, None)?;
        if !may_change_factor && target.len() != settled_factor(partition) {
            let text = format!(
                "The replication factor is changed from {} to {}",
                settled_factor(partition),
                target.len()
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, text));
        }
        let less = |list: &[NodeId], other: &[NodeId]| -> BTreeSet<NodeId> {
            list.iter().filter(|id| !other.contains(id)).copied().collect()
        };
        let removing = less(&partition.replicas, &target);
        let adding = less(&target, &partition.replicas);
        let version = self.version()?;
        let active = |id| self.image.cluster().is_active(id);
        Ok(self.change_partition(version, topic, index, partition, &active, |change| {
            change.election = Election::Online;
            change.replicas = target.into_iter().chain(removing.iter().copied()).collect();
            if !removing.is_empty() {
                change.removing = removing.into_iter().collect();
            }
            if !adding.is_empty() {
                change.adding = adding.into_iter().collect();
            }
        }))
    }

    /// Answers ListPartitionReassignments (v0): what is under way, of all topics or of those named.
    pub fn list_partition_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest<'_>,
    ) -> ListPartitionReassignmentsResponse<'static> {
        let topics = self.image.topics();
        let all = |topic: &Topic| ongoing(topic, topic.partitions.keys().copied());
        let found = match &request.topics {
            None => topics.iter_names("").filter_map(|topic| all(topic)).collect(),
            Some(wanted) => wanted
                .iter()
                .filter_map(|asked| {
                    ongoing(topics.by_name(&asked.name)?, asked.partition_indexes.iter().copied())
                })
                .collect(),
        };
        ListPartitionReassignmentsResponse {
            topics: found,
            error_message: None,
            ..ListPartitionReassignmentsResponse::default()
        }
    }
}

/// Replicas of a partition once a reassignment under way is done.
fn settled_factor(partition: &Partition) -> usize {
    let all: BTreeSet<_> = partition.replicas.iter().chain(&partition.adding).collect();
    all.iter().filter(|id| !partition.removing.contains(id)).count()
}

fn ongoing(
    topic: &Topic,
    partitions: impl Iterator<Item = PartitionIndex>,
) -> Option<OngoingTopicReassignment<'static>> {
    let moving = |index| {
        let partition = topic.partitions.get(&index).filter(|partition| partition.is_reassigning())?;
        Some(OngoingPartitionReassignment {
            partition_index: index,
            replicas: ids(&partition.replicas),
            adding_replicas: ids(&partition.adding),
            removing_replicas: ids(&partition.removing),
        })
    };
    let partitions: Vec<_> = partitions.filter_map(moving).collect();
    (!partitions.is_empty())
        .then(|| OngoingTopicReassignment { name: topic.name.to_string().into(), partitions })
}
