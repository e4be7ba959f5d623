//! AlterPartition: a leader changes the ISR of its partitions.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::MetadataRecord;
use ottla_protocol::messages::alter_partition_request::{AlterPartitionRequest, BrokerState, PartitionData};
use ottla_protocol::messages::alter_partition_response::{
    AlterPartitionResponse, PartitionData as PartitionResult, TopicData as TopicResult,
};
use ottla_types::{BrokerEpoch, NodeId};

use super::{Context, Controller, Decision};
use crate::image::{LEADER_UNCHANGED, LeaderRecovery, Partition, Topic, ids};
use crate::record::VersionedRecord;

impl Controller {
    /// Answers AlterPartition (v2-3).
    pub fn alter_partition(
        &self,
        context: &Context,
        request: &AlterPartitionRequest,
    ) -> Decision<AlterPartitionResponse> {
        let sender = NodeId(request.broker_id);
        if let Err(error) = self.checked_broker(sender, BrokerEpoch(request.broker_epoch)) {
            return Decision::reply(AlterPartitionResponse {
                error_code: error.code.code(),
                ..Default::default()
            });
        }
        let mut records = Vec::new();
        let mut response = AlterPartitionResponse::default();
        for topic_request in &request.topics {
            let topic = self.image.topics().by_id(topic_request.topic_id);
            let partitions = topic_request.partitions.iter().map(|partition| {
                let outcome = match topic {
                    None => Err(ErrorCode::UnknownTopicId),
                    Some(topic) => {
                        let isr = new_isr(context, partition);
                        self.alter_isr(sender, topic, partition, &isr, &mut records)
                    }
                };
                outcome.unwrap_or_else(|code| PartitionResult {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                    ..PartitionResult::default()
                })
            });
            let partitions = partitions.collect();
            response.topics.push(TopicResult { topic_id: topic_request.topic_id, partitions });
        }
        Decision::of(records, response)
    }

    fn alter_isr(
        &self,
        sender: NodeId,
        topic: &Topic,
        request: &PartitionData,
        isr: &[BrokerState],
        records: &mut Vec<VersionedRecord>,
    ) -> Result<PartitionResult, ErrorCode> {
        let index = request.partition_index;
        let partition = topic.partitions.get(&index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let recovery = self.check_isr(sender, partition, request, isr)?;
        let version = self.version().map_err(|error| error.code)?;
        let active = |id| self.image.cluster().is_active(id);
        let record = self.change_partition(version, topic, index, partition, &active, |change| {
            change.isr = isr.iter().map(|state| NodeId(state.broker_id)).collect();
            change.recovery = recovery;
        });
        let mut state = Partition::clone(partition);
        if let Some(record) = record {
            let MetadataRecord::PartitionChange(change) = &record.record else {
                unreachable!("a partition changes by a change record")
            };
            state = partition.merge(change).map_err(|_| ErrorCode::UnknownServerError)?;
            let moved = change.leader != LEADER_UNCHANGED && change.leader != sender.0;
            records.push(record);
            if moved {
                // A reassignment was completed, and the sender is no replica any more.
                return Err(ErrorCode::NewLeaderElected);
            }
        }
        Ok(PartitionResult {
            partition_index: index,
            error_code: ErrorCode::None.code(),
            leader_id: state.leader.0,
            leader_epoch: state.leader_epoch.0,
            isr: ids(&state.isr),
            leader_recovery_state: state.recovery.id(),
            partition_epoch: state.partition_epoch,
        })
    }

    /// Kafka's order of checks: who has the newer state decides which error says so.
    fn check_isr(
        &self,
        sender: NodeId,
        partition: &Partition,
        request: &PartitionData,
        isr: &[BrokerState],
    ) -> Result<LeaderRecovery, ErrorCode> {
        if request.leader_epoch > partition.leader_epoch.0
            || request.partition_epoch > partition.partition_epoch
        {
            return Err(ErrorCode::NotController);
        }
        if request.leader_epoch < partition.leader_epoch.0 {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if sender != partition.leader {
            return Err(ErrorCode::InvalidRequest);
        }
        if request.partition_epoch < partition.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let members: BTreeSet<_> = isr.iter().map(|state| NodeId(state.broker_id)).collect();
        let is_subset = members.iter().all(|id| partition.replicas.contains(id));
        if members.is_empty()
            || members.len() != isr.len()
            || !is_subset
            || !members.contains(&partition.leader)
        {
            return Err(ErrorCode::InvalidRequest);
        }
        let recovery =
            LeaderRecovery::from_id(request.leader_recovery_state).ok_or(ErrorCode::InvalidRequest)?;
        if recovery == LeaderRecovery::Recovering
            && (members.len() > 1 || partition.recovery == LeaderRecovery::Recovered)
        {
            return Err(ErrorCode::InvalidRequest);
        }
        if isr.iter().all(|state| self.may_be_in_sync(state)) {
            Ok(recovery)
        } else {
            Err(ErrorCode::IneligibleReplica)
        }
    }

    fn may_be_in_sync(&self, state: &BrokerState) -> bool {
        self.image.cluster().broker(NodeId(state.broker_id)).is_some_and(|broker| {
            broker.is_active() && (state.broker_epoch == -1 || state.broker_epoch == broker.epoch.0)
        })
    }
}

/// Before version 3 the ISR comes without the brokers' epochs.
fn new_isr(context: &Context, partition: &PartitionData) -> Vec<BrokerState> {
    if context.api_version >= 3 {
        return partition.new_isr_with_epochs.clone();
    }
    partition.new_isr.iter().map(|id| BrokerState { broker_id: *id, broker_epoch: -1 }).collect()
}
