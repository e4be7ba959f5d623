//! CreatePartitions.

use std::collections::BTreeSet;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::{ChargePartitions, Controller, Decision, MAX_PARTITIONS_PER_REQUEST, placement};
use crate::record::VersionedRecord;
use crate::{ApiError, Random};

impl Controller {
    /// Answers CreatePartitions (v0-3). The shell leaves out topics that the client may not alter, and adds their errors.
    pub fn create_partitions(
        &self,
        request: &CreatePartitionsRequest<'_>,
        random: &mut Random,
        charge: ChargePartitions<'_>,
    ) -> Decision<CreatePartitionsResponse<'static>> {
        let mut seen = BTreeSet::new();
        let again = request.topics.iter().filter(|topic| !seen.insert(topic.name.as_ref()));
        let duplicates: BTreeSet<_> = again.map(|topic| topic.name.as_ref()).collect();
        let wanted: Vec<_> =
            request.topics.iter().filter(|t| !duplicates.contains(t.name.as_ref())).collect();
        if self.too_many_additional(&wanted) {
            let text = "Excessively large number of additional partitions per request.";
            let error = ApiError::new(ErrorCode::PolicyViolation, text);
            let results =
                request.topics.iter().map(|topic| result(&topic.name, Err(error.clone()))).collect();
            return Decision::reply(CreatePartitionsResponse { results, ..Default::default() });
        }
        let duplicate = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
        let mut results: Vec<_> =
            duplicates.iter().map(|name| result(name, Err(duplicate.clone()))).collect();
        let mut records = Vec::new();
        for topic in wanted {
            let added = self.add_partitions(topic, random, charge);
            results.push(result(&topic.name, added.map(|added| records.extend(added))));
        }
        let decision = Decision::atomic(records, CreatePartitionsResponse { results, ..Default::default() });
        if request.validate_only { decision.without_records() } else { decision }
    }

    fn too_many_additional(&self, topics: &[&CreatePartitionsTopic<'_>]) -> bool {
        let additional = |topic: &&CreatePartitionsTopic<'_>| {
            let existing = self.image.topics().by_name(&topic.name).map(|known| known.partitions.len());
            let count = usize::try_from(topic.count).unwrap_or(0);
            existing.map_or(0, |existing| count.saturating_sub(existing))
        };
        topics.iter().map(additional).fold(0, usize::saturating_add) > MAX_PARTITIONS_PER_REQUEST
    }

    fn add_partitions(
        &self,
        request: &CreatePartitionsTopic<'_>,
        random: &mut Random,
        charge: ChargePartitions<'_>,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let version = self.version()?;
        let name = request.name.as_ref();
        let topic = self.image.topics().by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let have = topic.partitions.len();
        let count = usize::try_from(request.count).unwrap_or(0);
        if count <= have {
            let text = if request.count >= 0 && count == have {
                format!("Topic already has {have} partition(s).")
            } else {
                format!(
                    "The topic {name} currently has {have} partition(s); {} would not be an increase.",
                    request.count
                )
            };
            return Err(ApiError::new(ErrorCode::InvalidPartitions, text));
        }
        let additional = count - have;
        if let Some(assignments) = &request.assignments
            && assignments.len() != additional
        {
            let text = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        charge(additional)?;
        let first = topic.partitions.values().next().ok_or(ErrorCode::UnknownServerError)?;
        let factor = first.replicas.len();
        let start = i32::try_from(have).map_err(|_| ErrorCode::InvalidPartitions)?;
        let mut partitions = Vec::with_capacity(additional);
        if let Some(assignments) = &request.assignments {
            for (index, assignment) in (start..).zip(assignments) {
                let replicas = self.check_manual_assignment(&assignment.broker_ids, Some(factor))?;
                let isr = self.active_of_manual(&replicas, index)?;
                partitions.push(self.new_partition(version, replicas, isr));
            }
        } else {
            let factor = i16::try_from(factor).map_err(|_| ErrorCode::UnknownServerError)?;
            let placed = placement::place(&self.usable_brokers(), additional, factor, random)
                .map_err(|text| ApiError::new(ErrorCode::InvalidReplicationFactor, text))?;
            for replicas in placed {
                let isr = self.active_of_placed(&replicas, factor)?;
                partitions.push(self.new_partition(version, replicas, isr));
            }
        }
        let with_elr = self.image.features().elr_enabled();
        let record = |(index, partition): (i32, crate::image::Partition)| {
            partition.to_record(topic.id, index, version, with_elr).expect("made for this version")
        };
        Ok((start..).zip(partitions).map(record).collect())
    }
}

fn result(name: &str, outcome: Result<(), ApiError>) -> CreatePartitionsTopicResult<'static> {
    let error = outcome.err();
    CreatePartitionsTopicResult {
        name: name.to_owned().into(),
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.and_then(|error| error.message).map(Into::into),
    }
}
