//! AssignReplicasToDirs: a broker says in which of its log directories replicas are (KIP-858).

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, PartitionData as AssignedPartition,
};
use ottla_protocol::messages::assign_replicas_to_dirs_response::{
    AssignReplicasToDirsResponse, DirectoryData, PartitionData, TopicData,
};
use ottla_types::{BrokerEpoch, NodeId, Uuid};

use super::elections::Change;
use super::index::PartitionKey;
use super::{Context, Controller, Decision};
use crate::ApiError;
use crate::features::MetadataVersion;
use crate::record::VersionedRecord;

impl Controller {
    /// Answers AssignReplicasToDirs (v0). A replica that is said to be in a directory which is not online leaves its partition's
    /// leadership, as if the directory had failed with it.
    pub fn assign_replicas_to_dirs(
        &self,
        _context: &Context,
        request: &AssignReplicasToDirsRequest,
    ) -> Decision<AssignReplicasToDirsResponse> {
        match self.try_assign(request) {
            Ok(decision) => decision,
            Err(error) => Decision::reply(AssignReplicasToDirsResponse {
                error_code: error.code.code(),
                ..AssignReplicasToDirsResponse::default()
            }),
        }
    }

    fn try_assign(
        &self,
        request: &AssignReplicasToDirsRequest,
    ) -> Result<Decision<AssignReplicasToDirsResponse>, ApiError> {
        let version = self.version()?;
        if !version.has_directory_assignment() {
            let text = "Directory assignment is not supported yet.".to_owned();
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        }
        let id = NodeId(request.broker_id);
        let broker = self.checked_broker(id, BrokerEpoch(request.broker_epoch))?;
        let mut records = Vec::new();
        let mut offline: Vec<PartitionKey> = Vec::new();
        let mut directories = Vec::new();
        for directory in &request.directories {
            let is_online = broker.has_online_dir(directory.id);
            let mut topics = Vec::new();
            for topic in &directory.topics {
                let partitions = topic.partitions.iter().map(|partition| {
                    let place = (id, directory.id);
                    let error = self.assign_one(version, place, topic.topic_id, partition, &mut records);
                    if error.is_none() && !is_online {
                        offline.push((topic.topic_id, partition.partition_index));
                    }
                    PartitionData { partition_index: partition.partition_index, error_code: error.code() }
                });
                topics.push(TopicData { topic_id: topic.topic_id, partitions: partitions.collect() });
            }
            directories.push(DirectoryData { id: directory.id, topics });
        }
        if !offline.is_empty() {
            let change = Change { leaving: Some(id), ..Change::default() };
            self.update_leaders(version, change, offline.into_iter(), &mut records);
        }
        let response = AssignReplicasToDirsResponse { directories, ..Default::default() };
        Ok(Decision::of(records, response))
    }

    fn assign_one(
        &self,
        version: MetadataVersion,
        (broker, directory): (NodeId, Uuid),
        topic_id: Uuid,
        assigned: &AssignedPartition,
        records: &mut Vec<VersionedRecord>,
    ) -> ErrorCode {
        let topic = self.image.topics().by_id(topic_id);
        let found = topic.and_then(|topic| Some((topic, topic.partitions.get(&assigned.partition_index)?)));
        let Some((topic, partition)) = found else { return ErrorCode::UnknownTopicOrPartition };
        if !partition.replicas.contains(&broker) {
            return ErrorCode::NotLeaderOrFollower;
        }
        let active = |id| self.image.cluster().is_active(id);
        let index = assigned.partition_index;
        records.extend(self.change_partition(version, topic, index, partition, &active, |change| {
            change.directories.insert(broker, directory);
        }));
        ErrorCode::None
    }
}
