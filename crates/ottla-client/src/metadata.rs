//! What the cluster looks like: brokers, topics, leaders.

use std::collections::BTreeMap;

use ottla_protocol::messages::MetadataResponse;
use ottla_protocol::messages::metadata_response::MetadataResponseTopic;
use ottla_protocol::{ErrorCode, messages};
use ottla_types::{LeaderEpoch, NodeId, PartitionIndex, TopicName, Uuid};

/// A broker as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: NodeId,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

impl Broker {
    /// `host:port`, as connections take it.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A partition as the metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its index.
    pub index: PartitionIndex,
    /// The leader, or [`NodeId::NONE`].
    pub leader: NodeId,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas that are down.
    pub offline: Vec<NodeId>,
}

/// A topic as the metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: TopicName,
    /// Its id; zero from brokers that do not say.
    pub id: Uuid,
    /// Whether the cluster keeps it for itself.
    pub is_internal: bool,
    /// Its partitions by index.
    pub partitions: Vec<PartitionMetadata>,
}

impl TopicMetadata {
    /// The partition of an index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionMetadata> {
        self.partitions.iter().find(|partition| partition.index == index)
    }

    pub(crate) fn from_response(topic: MetadataResponseTopic<'_>) -> Self {
        let ids = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
        let mut partitions: Vec<_> = topic
            .partitions
            .into_iter()
            .map(|partition| PartitionMetadata {
                index: partition.partition_index,
                leader: NodeId(partition.leader_id),
                leader_epoch: LeaderEpoch(partition.leader_epoch),
                replicas: ids(partition.replica_nodes),
                isr: ids(partition.isr_nodes),
                offline: ids(partition.offline_replicas),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        Self {
            name: TopicName::new(topic.name.as_deref().unwrap_or_default()),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            partitions,
        }
    }
}

/// A snapshot of brokers and topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMetadata {
    /// Id of the cluster.
    pub cluster_id: Option<String>,
    /// The broker that stands in for the controller, or [`NodeId::NONE`]. Any broker forwards to the controller.
    pub controller: NodeId,
    /// Brokers that are up.
    pub brokers: BTreeMap<NodeId, Broker>,
    /// Topics that were asked for and exist.
    pub topics: BTreeMap<TopicName, TopicMetadata>,
    /// Topics that were asked for and cannot be described.
    pub errors: BTreeMap<TopicName, ErrorCode>,
}

impl ClusterMetadata {
    pub(crate) fn from_response(response: MetadataResponse<'_>) -> Self {
        let mut metadata = Self {
            cluster_id: response.cluster_id.map(|id| id.into_owned()),
            controller: NodeId(response.controller_id),
            ..Self::default()
        };
        for broker in response.brokers {
            let broker = broker_of(broker);
            metadata.brokers.insert(broker.id, broker);
        }
        for topic in response.topics {
            let code = ErrorCode::from_code(topic.error_code);
            let topic = TopicMetadata::from_response(topic);
            if code.is_none() {
                metadata.topics.insert(topic.name.clone(), topic);
            } else {
                metadata.errors.insert(topic.name, code);
            }
        }
        metadata
    }
}

fn broker_of(broker: messages::metadata_response::MetadataResponseBroker<'_>) -> Broker {
    Broker {
        id: NodeId(broker.node_id),
        host: broker.host.into_owned(),
        port: u16::try_from(broker.port).unwrap_or(0),
        rack: broker.rack.map(|rack| rack.into_owned()),
    }
}
