//! Who leads and who is in sync, when brokers come and go.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::broker_registration_change_record::BrokerRegistrationChangeRecord;
use ottla_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use ottla_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use ottla_protocol::messages::unregister_broker_record::UnregisterBrokerRecord;
use ottla_types::{BrokerEpoch, NodeId, PartitionIndex, Uuid};

use super::index::PartitionKey;
use super::partition_change::{Election, PartitionChange, Rules};
use super::{Controller, Decision};
use crate::ApiError;
use crate::features::MetadataVersion;
use crate::image::{Partition, Topic};
use crate::record::VersionedRecord;

/// Most elections of one periodic pass.
const MAX_ELECTIONS_PER_PASS: usize = 1_000;

/// What kind of election a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElectionKind {
    /// The first replica shall lead.
    Preferred,
    /// Anybody shall lead, at the price of records.
    Unclean,
}

/// Which broker leaves or joins while partitions are looked through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// Leaves all ISRs.
    pub(super) leaving: Option<NodeId>,
    /// May lead although its registration does not say so yet.
    pub(super) joining: Option<NodeId>,
    /// Leaves ISRs and eligible leaders: it may have lost records.
    pub(super) lost_records: Option<NodeId>,
}

impl Controller {
    /// Calls `f` with the rules for changing a partition, where `acceptable` narrows or widens who may lead.
    pub(super) fn change_partition(
        &self,
        version: MetadataVersion,
        topic: &Topic,
        index: PartitionIndex,
        partition: &Partition,
        acceptable: &dyn Fn(NodeId) -> bool,
        f: impl FnOnce(&mut PartitionChange<'_>),
    ) -> Option<VersionedRecord> {
        let cluster = self.image.cluster();
        let may_lead = |id: NodeId| {
            let online =
                |directory| cluster.broker(id).is_some_and(|broker| broker.has_online_dir(directory));
            acceptable(id) && partition.directory(id).is_some_and(online)
        };
        let default_dir = |id: NodeId| self.default_dir(version, id);
        let rules = Rules {
            version,
            elr_enabled: self.image.features().elr_enabled(),
            min_isr: self.effective_min_isr(topic),
            may_lead: &may_lead,
            default_dir: &default_dir,
        };
        let mut change = PartitionChange::new(partition, topic.id, index, rules);
        if self.unclean_election_enabled(topic.name.as_str()) {
            change.election = Election::Unclean;
        }
        f(&mut change);
        change.build()
    }

    pub(super) fn default_dir(&self, version: MetadataVersion, id: NodeId) -> Uuid {
        if !version.has_directory_assignment() {
            return Uuid::DIR_MIGRATING;
        }
        self.image.cluster().broker(id).map_or(Uuid::DIR_UNASSIGNED, |broker| broker.default_dir())
    }

    /// Looks through partitions after a broker left or joined (`generateLeaderAndIsrUpdates`).
    pub(super) fn update_leaders(
        &self,
        version: MetadataVersion,
        change: Change,
        partitions: impl Iterator<Item = PartitionKey>,
        records: &mut Vec<VersionedRecord>,
    ) {
        let gone = [change.leaving, change.lost_records];
        let acceptable = |id: NodeId| {
            !gone.contains(&Some(id)) && (change.joining == Some(id) || self.image.cluster().is_active(id))
        };
        for (topic_id, index) in partitions {
            let topic = self.image.topics().by_id(topic_id).expect("the index holds existing topics");
            let partition = topic.partitions.get(&index).expect("the index holds existing partitions");
            let record = self.change_partition(version, topic, index, partition, &acceptable, |builder| {
                builder.isr.retain(|id| !gone.contains(&Some(*id)));
                builder.unclean_shutdown.extend(change.lost_records);
            });
            records.extend(record);
        }
    }

    /// Fences a broker: partitions first, then its registration.
    pub(super) fn fence(
        &self,
        version: MetadataVersion,
        id: NodeId,
        epoch: BrokerEpoch,
        records: &mut Vec<VersionedRecord>,
    ) {
        let change = Change { leaving: Some(id), ..Change::default() };
        self.update_leaders(version, change, self.index.in_isr(id), records);
        let fenced = BrokerRegistrationChangeRecord { fenced: 1, ..registration_change(id, epoch) };
        records.push(VersionedRecord::new(fenced, 0));
    }

    /// Unfences a broker: its registration first, then partitions that were waiting for a leader.
    pub(super) fn unfence(
        &self,
        version: MetadataVersion,
        id: NodeId,
        epoch: BrokerEpoch,
        records: &mut Vec<VersionedRecord>,
    ) {
        let unfenced = BrokerRegistrationChangeRecord { fenced: -1, ..registration_change(id, epoch) };
        records.push(VersionedRecord::new(unfenced, 0));
        let change = Change { joining: Some(id), ..Change::default() };
        self.update_leaders(version, change, self.index.leaderless(), records);
    }

    /// Takes a broker that wants to stop out of all ISRs: its registration first.
    pub(super) fn enter_controlled_shutdown(
        &self,
        version: MetadataVersion,
        id: NodeId,
        epoch: BrokerEpoch,
        records: &mut Vec<VersionedRecord>,
    ) {
        if !self.image.cluster().broker(id).is_some_and(|broker| broker.in_controlled_shutdown) {
            let change = BrokerRegistrationChangeRecord {
                in_controlled_shutdown: 1,
                ..registration_change(id, epoch)
            };
            records.push(VersionedRecord::new(change, 1));
        }
        let change = Change { leaving: Some(id), ..Change::default() };
        self.update_leaders(version, change, self.index.in_isr(id), records);
    }

    /// Takes a broker out of the cluster.
    pub(super) fn unregister(
        &self,
        version: MetadataVersion,
        id: NodeId,
        epoch: BrokerEpoch,
        records: &mut Vec<VersionedRecord>,
    ) {
        let change = Change { leaving: Some(id), ..Change::default() };
        self.update_leaders(version, change, self.index.in_isr(id), records);
        self.update_leaders(version, change, self.index.in_elr(id), records);
        let gone = UnregisterBrokerRecord { broker_id: id.0, broker_epoch: epoch.0 };
        records.push(VersionedRecord::new(gone, 0));
    }

    /// Cleans up after the previous incarnation of a broker that registers again.
    pub(super) fn clean_up_after_shutdown(
        &self,
        version: MetadataVersion,
        id: NodeId,
        was_clean: bool,
        records: &mut Vec<VersionedRecord>,
    ) {
        if self.image.features().elr_enabled() && !was_clean {
            let change = Change { lost_records: Some(id), ..Change::default() };
            self.update_leaders(version, change, self.index.in_isr(id), records);
            self.update_leaders(version, change, self.index.in_elr(id), records);
        } else {
            let change = Change { leaving: Some(id), ..Change::default() };
            self.update_leaders(version, change, self.index.in_isr(id), records);
        }
    }

    /// Moves leaderships to the first replicas, at most 1000. Answers whether there may be more: then call again soon.
    ///
    /// # Errors
    /// Before the cluster has a `metadata.version`.
    pub fn balance_leaders(&self) -> Result<Decision<bool>, ApiError> {
        let version = self.version()?;
        let mut records = Vec::new();
        for key in self.index.imbalanced() {
            if records.len() >= MAX_ELECTIONS_PER_PASS {
                break;
            }
            records.extend(self.elect(version, key, Election::Preferred));
        }
        let more = records.len() >= MAX_ELECTIONS_PER_PASS;
        Ok(Decision::of(records, more))
    }

    /// Elects leaders outside the ISR where topics allow it and there is no other, at most 1000. Answers whether there
    /// may be more.
    ///
    /// # Errors
    /// Before the cluster has a `metadata.version`.
    pub fn elect_unclean_leaders(&self) -> Result<Decision<bool>, ApiError> {
        let version = self.version()?;
        let mut records = Vec::new();
        for key in self.index.leaderless() {
            if records.len() >= MAX_ELECTIONS_PER_PASS {
                break;
            }
            let allowed = |topic: &Topic| self.unclean_election_enabled(topic.name.as_str());
            if self.image.topics().by_id(key.0).is_some_and(|topic| allowed(topic)) {
                records.extend(self.elect(version, key, Election::Unclean));
            }
        }
        let more = records.len() >= MAX_ELECTIONS_PER_PASS;
        Ok(Decision::of(records, more))
    }

    fn elect(
        &self,
        version: MetadataVersion,
        key: PartitionKey,
        election: Election,
    ) -> Option<VersionedRecord> {
        let topic = self.image.topics().by_id(key.0)?;
        let partition = topic.partitions.get(&key.1)?;
        let active = |id| self.image.cluster().is_active(id);
        self.change_partition(version, topic, key.1, partition, &active, |change| change.election = election)
    }

    /// Answers ElectLeaders.
    pub fn elect_leaders(
        &self,
        request: &ElectLeadersRequest<'_>,
    ) -> Decision<ElectLeadersResponse<'static>> {
        let mut response = ElectLeadersResponse::default();
        if request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
            return Decision::reply(response);
        }
        let kind = match request.election_type {
            0 => ElectionKind::Preferred,
            1 => ElectionKind::Unclean,
            other => return Decision::reply(unknown_election(request, other)),
        };
        let mut records = Vec::new();
        let all = request.topic_partitions.is_none();
        let wanted: Vec<(String, Vec<PartitionIndex>)> = match &request.topic_partitions {
            Some(topics) => topics.iter().map(|t| (t.topic.to_string(), t.partitions.clone())).collect(),
            None => {
                let partitions = |topic: &Topic| topic.partitions.keys().copied().collect();
                self.image.topics().iter_names("").map(|t| (t.name.to_string(), partitions(t))).collect()
            }
        };
        for (topic, partitions) in wanted {
            let mut results = Vec::new();
            for index in partitions {
                let error = self.elect_leader(&topic, index, kind, &mut records).err();
                let code = error.as_ref().map_or(ErrorCode::None, |error| error.code);
                if all && code == ErrorCode::ElectionNotNeeded {
                    continue;
                }
                results.push(PartitionResult {
                    partition_id: index,
                    error_code: code.code(),
                    error_message: error.and_then(|error| error.message).map(Into::into),
                });
            }
            response
                .replica_election_results
                .push(ReplicaElectionResult { topic: topic.into(), partition_result: results });
        }
        Decision::of(records, response)
    }

    fn elect_leader(
        &self,
        name: &str,
        index: PartitionIndex,
        kind: ElectionKind,
        records: &mut Vec<VersionedRecord>,
    ) -> Result<(), ApiError> {
        let version = self.version()?;
        let unknown = |text: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
        let topic =
            self.image.topics().by_name(name).ok_or_else(|| unknown(format!("No such topic as {name}")))?;
        let partition = topic
            .partitions
            .get(&index)
            .ok_or_else(|| unknown(format!("No such partition as {name}-{index}")))?;
        let (election, needless, nobody) = match kind {
            ElectionKind::Preferred => (
                Election::Preferred,
                partition.has_preferred_leader(),
                ErrorCode::PreferredLeaderNotAvailable,
            ),
            ElectionKind::Unclean => {
                (Election::Unclean, partition.has_leader(), ErrorCode::EligibleLeadersNotAvailable)
            }
        };
        if needless {
            return Err(ApiError::with_default_text(ErrorCode::ElectionNotNeeded));
        }
        let record = self.elect(version, (topic.id, index), election);
        records.push(record.ok_or_else(|| ApiError::with_default_text(nobody))?);
        Ok(())
    }
}

/// Refuses a kind of election that there is not, of each partition asked about.
fn unknown_election(request: &ElectLeadersRequest<'_>, kind: i8) -> ElectLeadersResponse<'static> {
    let code = ErrorCode::InvalidRequest.code();
    let refuse = |index: &PartitionIndex| PartitionResult {
        partition_id: *index,
        error_code: code,
        error_message: Some(format!("Unknown election type {kind}").into()),
    };
    let topics = request.topic_partitions.iter().flatten();
    ElectLeadersResponse {
        error_code: code,
        replica_election_results: topics
            .map(|topic| ReplicaElectionResult {
                topic: topic.topic.to_string().into(),
                partition_result: topic.partitions.iter().map(refuse).collect(),
            })
            .collect(),
        ..ElectLeadersResponse::default()
    }
}

/// A registration change that changes nothing yet.
pub(super) fn registration_change(id: NodeId, epoch: BrokerEpoch) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: id.0,
        broker_epoch: epoch.0,
        ..BrokerRegistrationChangeRecord::default()
    }
}
