//! The table of requests this broker takes. A line here is also the request's ApiVersions answer.

use std::sync::Arc;

use ottla_net::{ConnectionInfo, Frame, Outcome, Service};
use ottla_protocol::Listener;
use ottla_protocol::messages::ApiKey;
use ottla_protocol::wire::VersionRange;
use tracing::{debug, trace};

use crate::broker::Broker;
use crate::handlers as h;
use crate::request::{Request, Session};

type Handler = fn(&Arc<Broker>, Request) -> Outcome;

/// Every request served, each at the full version range that Apache Kafka 4.4.0 advertises on a broker listener.
const TABLE: &[(ApiKey, Handler)] = &[
    (ApiKey::Produce, h::produce::handle),
    (ApiKey::Fetch, h::fetch::handle),
    (ApiKey::ListOffsets, h::list_offsets::handle),
    (ApiKey::Metadata, h::metadata::handle),
    (ApiKey::OffsetCommit, h::offset_commit::handle),
    (ApiKey::OffsetFetch, h::offset_fetch::handle),
    (ApiKey::FindCoordinator, h::find_coordinator::handle),
    (ApiKey::JoinGroup, h::join_group::handle),
    (ApiKey::Heartbeat, h::heartbeat::handle),
    (ApiKey::LeaveGroup, h::leave_group::handle),
    (ApiKey::SyncGroup, h::sync_group::handle),
    (ApiKey::DescribeGroups, h::describe_groups::handle),
    (ApiKey::ListGroups, h::list_groups::handle),
    (ApiKey::SaslHandshake, h::sasl_handshake::handle),
    (ApiKey::ApiVersions, h::api_versions::handle),
    (ApiKey::CreateTopics, h::create_topics::handle),
    (ApiKey::DeleteTopics, h::delete_topics::handle),
    (ApiKey::DeleteRecords, h::delete_records::handle),
    (ApiKey::InitProducerId, h::init_producer_id::handle),
    (ApiKey::AddPartitionsToTxn, h::add_partitions_to_txn::handle),
    (ApiKey::AddOffsetsToTxn, h::add_offsets_to_txn::handle),
    (ApiKey::EndTxn, h::end_txn::handle),
    (ApiKey::WriteTxnMarkers, h::write_txn_markers::handle),
    (ApiKey::TxnOffsetCommit, h::txn_offset_commit::handle),
    (ApiKey::OffsetForLeaderEpoch, h::offset_for_leader_epoch::handle),
    (ApiKey::DescribeAcls, h::describe_acls::handle),
    (ApiKey::CreateAcls, h::create_acls::handle),
    (ApiKey::DeleteAcls, h::delete_acls::handle),
    (ApiKey::DescribeConfigs, h::describe_configs::handle),
    (ApiKey::AlterConfigs, h::alter_configs::handle),
    (ApiKey::AlterReplicaLogDirs, h::alter_replica_log_dirs::handle),
    (ApiKey::DescribeLogDirs, h::describe_log_dirs::handle),
    (ApiKey::SaslAuthenticate, h::sasl_authenticate::handle),
    (ApiKey::CreatePartitions, h::create_partitions::handle),
    (ApiKey::CreateDelegationToken, h::create_delegation_token::handle),
    (ApiKey::RenewDelegationToken, h::renew_delegation_token::handle),
    (ApiKey::ExpireDelegationToken, h::expire_delegation_token::handle),
    (ApiKey::DescribeDelegationToken, h::describe_delegation_token::handle),
    (ApiKey::DeleteGroups, h::delete_groups::handle),
    (ApiKey::ElectLeaders, h::elect_leaders::handle),
    (ApiKey::IncrementalAlterConfigs, h::incremental_alter_configs::handle),
    (ApiKey::AlterPartitionReassignments, h::alter_partition_reassignments::handle),
    (ApiKey::ListPartitionReassignments, h::list_partition_reassignments::handle),
    (ApiKey::OffsetDelete, h::offset_delete::handle),
    (ApiKey::DescribeClientQuotas, h::describe_client_quotas::handle),
    (ApiKey::AlterClientQuotas, h::alter_client_quotas::handle),
    (ApiKey::DescribeUserScramCredentials, h::describe_user_scram_credentials::handle),
    (ApiKey::AlterUserScramCredentials, h::alter_user_scram_credentials::handle),
    (ApiKey::DescribeQuorum, h::describe_quorum::handle),
    (ApiKey::UpdateFeatures, h::update_features::handle),
    (ApiKey::DescribeCluster, h::describe_cluster::handle),
    (ApiKey::DescribeProducers, h::describe_producers::handle),
    (ApiKey::UnregisterBroker, h::unregister_broker::handle),
    (ApiKey::DescribeTransactions, h::describe_transactions::handle),
    (ApiKey::ListTransactions, h::list_transactions::handle),
    (ApiKey::ConsumerGroupHeartbeat, h::consumer_group_heartbeat::handle),
    (ApiKey::ConsumerGroupDescribe, h::consumer_group_describe::handle),
    (ApiKey::ListConfigResources, h::list_config_resources::handle),
    (ApiKey::GetTelemetrySubscriptions, h::get_telemetry_subscriptions::handle),
    (ApiKey::PushTelemetry, h::push_telemetry::handle),
    (ApiKey::DescribeTopicPartitions, h::describe_topic_partitions::handle),
    (ApiKey::RemoveRaftVoter, h::remove_raft_voter::handle),
    (ApiKey::UnregisterController, h::unregister_controller::handle),
];

/// What an ApiVersions response lists: all that is served, but client telemetry only when it is wanted.
pub(crate) fn advertised(with_telemetry: bool) -> impl Iterator<Item = (ApiKey, VersionRange)> {
    let is_telemetry = |key| matches!(key, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry);
    let keys = TABLE.iter().map(|(key, _)| *key).filter(move |key| with_telemetry || !is_telemetry(*key));
    keys.filter_map(|key| Some((key, key.advertised_versions(Listener::Broker)?)))
}

/// Every request that is served.
pub(crate) fn served() -> impl Iterator<Item = ApiKey> {
    TABLE.iter().map(|(key, _)| *key)
}

/// The versions of a request that are served; `None` for requests that are not.
pub(crate) fn versions_of(key: ApiKey) -> Option<VersionRange> {
    TABLE.iter().find(|(served, _)| *served == key)?;
    key.stable_versions()
}

/// Answers the frames of the broker's listeners.
#[derive(Debug)]
pub(crate) struct BrokerService {
    pub(crate) broker: Arc<Broker>,
}

impl Service for BrokerService {
    type Session = Session;

    fn connected(&self, connection: ConnectionInfo) -> Session {
        debug!(%connection, "connected");
        Session::new(connection, &self.broker)
    }

    fn call(&self, session: &Arc<Session>, frame: Frame) -> Outcome {
        let request = match Request::parse(session, frame) {
            Ok(request) => request,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let (key, version) = (request.api_key, request.api_version);
        trace!(connection = %session.connection, %key, version, client = request.client_id(), "request");
        let Some((_, handler)) = TABLE.iter().find(|(served, _)| *served == key) else {
            return Outcome::close(format!("request {key} is not served"));
        };
        // ApiVersions answers unknown versions itself, so that newer clients can step back.
        if key != ApiKey::ApiVersions && !key.stable_versions().is_some_and(|range| range.contains(version)) {
            return Outcome::close(format!("version {version} of {key} is not served"));
        }
        let busy = request.busy();
        Request::metered(busy, handler(&self.broker, request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_versions_and_appears_once() {
        for (index, (key, _)) in TABLE.iter().enumerate() {
            assert!(key.advertised_versions(Listener::Broker).is_some(), "{key}");
            assert!(!TABLE[..index].iter().any(|(other, _)| other == key), "{key} twice");
        }
    }
}
