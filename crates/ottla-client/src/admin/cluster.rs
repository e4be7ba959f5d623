//! The cluster itself: brokers, versions, features, the controllers' quorum.

use std::collections::BTreeMap;

use ottla_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use ottla_protocol::messages::describe_quorum_response::ReplicaState;
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeQuorumRequest, UpdateFeaturesRequest,
};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{NodeId, TimestampMs, Uuid};

use crate::error::check;
use crate::{Broker, Client, ClientError, Result};

const METADATA_TOPIC: &str = "__cluster_metadata";

/// The cluster with its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The broker that stands in for the controller.
    pub controller: NodeId,
    /// Its brokers; the flag says that one is fenced.
    pub brokers: Vec<(Broker, bool)>,
}

/// What a node supports (`ApiVersions`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVersions {
    /// Versions by API key; also of keys that this client does not know.
    pub apis: BTreeMap<i16, VersionRange>,
    /// Feature levels that the node supports.
    pub supported_features: BTreeMap<String, VersionRange>,
    /// Feature levels that are in force.
    pub finalized_features: BTreeMap<String, i16>,
    /// Epoch of the levels in force, or -1.
    pub finalized_epoch: i64,
}

/// The quorum of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    /// The leader.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: i32,
    /// What is committed.
    pub high_watermark: i64,
    /// Who votes.
    pub voters: Vec<QuorumReplica>,
    /// Who follows without a vote.
    pub observers: Vec<QuorumReplica>,
    /// Where voters listen: `name://host:port` by id.
    pub listeners: BTreeMap<NodeId, Vec<String>>,
}

/// A replica of the metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    /// The node.
    pub id: NodeId,
    /// Its metadata directory; zero if it is not known.
    pub directory: Uuid,
    /// How far it has got.
    pub log_end_offset: i64,
    /// When it fetched last; -1 if that is not known.
    pub last_fetch: TimestampMs,
    /// When it had everything last; -1 if that is not known.
    pub last_caught_up: TimestampMs,
}

/// Whether a feature may go down, and how far (`FeatureUpdate.UpgradeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum FeatureChange {
    /// Up only.
    Upgrade = 1,
    /// Down, as long as nothing is lost.
    SafeDowngrade = 2,
    /// Down, even if metadata is lost.
    UnsafeDowngrade = 3,
}

impl Client {
    /// The cluster with its brokers.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn describe_cluster(&self, include_fenced: bool) -> Result<ClusterDescription> {
        let response = self
            .with_any(|connection| {
                Box::pin(async move {
                    let make = |version| DescribeClusterRequest {
                        include_fenced_brokers: include_fenced && version >= 2,
                        ..DescribeClusterRequest::default()
                    };
                    let response = connection.call_with(VersionRange::new(0, 2), make).await?;
                    let message = response.error_message.as_deref();
                    check(response.error_code, message, || "describing the cluster".to_owned())?;
                    Ok(response)
                })
            })
            .await?;
        let mut brokers: Vec<_> = response
            .brokers
            .into_iter()
            .map(|broker| {
                let described = Broker {
                    id: NodeId(broker.broker_id),
                    host: broker.host.into_owned(),
                    port: u16::try_from(broker.port).unwrap_or(0),
                    rack: broker.rack.map(|rack| rack.into_owned()),
                };
                (described, broker.is_fenced)
            })
            .collect();
        brokers.sort_by_key(|(broker, _)| broker.id);
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.into_owned(),
            controller: NodeId(response.controller_id),
            brokers,
        })
    }

    /// What a broker supports; of any broker with `None`.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn node_versions(&self, node: Option<NodeId>) -> Result<NodeVersions> {
        let connection = match node {
            Some(id) => self.node(id).await?,
            None => self.any().await?,
        };
        let request = ApiVersionsRequest {
            client_software_name: "ottla".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..ApiVersionsRequest::default()
        };
        // Version 3 brought features.
        let response = connection.call_with(VersionRange::new(3, 5), |_| request).await?;
        check(response.error_code, None, || format!("asking {} for its versions", connection.address()))?;
        let range = |low, high| VersionRange::new(low, high);
        let apis = response.api_keys.iter().map(|api| (api.api_key, range(api.min_version, api.max_version)));
        let supported = response.supported_features.iter();
        let finalized = response.finalized_features.iter();
        Ok(NodeVersions {
            apis: apis.collect(),
            supported_features: supported
                .map(|it| (it.name.to_string(), range(it.min_version, it.max_version)))
                .collect(),
            finalized_features: finalized.map(|it| (it.name.to_string(), it.max_version_level)).collect(),
            finalized_epoch: response.finalized_features_epoch,
        })
    }

    /// Changes the level of features; level 0 switches one off.
    ///
    /// # Errors
    /// A level is refused, or no broker answers.
    pub async fn update_features(
        &self,
        changes: &[(String, i16)],
        kind: FeatureChange,
        validate_only: bool,
    ) -> Result<()> {
        self.with_any(|connection| {
            Box::pin(async move {
                let update = |(feature, level): &(String, i16)| FeatureUpdateKey {
                    feature: feature.clone().into(),
                    max_version_level: *level,
                    upgrade_type: kind as i8,
                    ..FeatureUpdateKey::default()
                };
                let request = UpdateFeaturesRequest {
                    timeout_ms: self.timeout_ms(),
                    feature_updates: changes.iter().map(update).collect(),
                    validate_only,
                };
                let response = connection.call_with(VersionRange::new(1, 2), |_| request).await?;
                for result in &response.results {
                    let message = result.error_message.as_deref();
                    check(result.error_code, message, || format!("changing feature '{}'", result.feature))?;
                }
                let message = response.error_message.as_deref();
                check(response.error_code, message, || "changing features".to_owned())
            })
        })
        .await
    }

    /// The quorum of the metadata log.
    ///
    /// # Errors
    /// No broker answers, or the controllers do not.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription> {
        let what = || "describing the metadata quorum".to_owned();
        let response = self
            .with_any(|connection| {
                Box::pin(async move {
                    let partitions = vec![PartitionData { partition_index: 0 }];
                    let topic = TopicData { topic_name: METADATA_TOPIC.into(), partitions };
                    let request = DescribeQuorumRequest { topics: vec![topic] };
                    let response = connection.call_with(VersionRange::new(0, 2), |_| request).await?;
                    check(response.error_code, response.error_message.as_deref(), what)?;
                    Ok(response)
                })
            })
            .await?;
        let partition = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let partition =
            partition.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
        check(partition.error_code, partition.error_message.as_deref(), what)?;
        let replica = |state: ReplicaState| QuorumReplica {
            id: NodeId(state.replica_id),
            directory: state.replica_directory_id,
            log_end_offset: state.log_end_offset,
            last_fetch: state.last_fetch_timestamp,
            last_caught_up: state.last_caught_up_timestamp,
        };
        let listeners = response.nodes.iter().map(|node| {
            let shown = node.listeners.iter().map(|it| format!("{}://{}:{}", it.name, it.host, it.port));
            (NodeId(node.node_id), shown.collect())
        });
        Ok(QuorumDescription {
            leader: NodeId(partition.leader_id),
            leader_epoch: partition.leader_epoch,
            high_watermark: partition.high_watermark,
            voters: partition.current_voters.into_iter().map(replica).collect(),
            observers: partition.observers.into_iter().map(replica).collect(),
            listeners: listeners.collect(),
        })
    }
}
