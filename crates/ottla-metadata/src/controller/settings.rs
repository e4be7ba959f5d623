//! What the configuration tells the controller.

use std::sync::Arc;

use ottla_config::synonyms::broker_keys_of_topic;
use ottla_config::{BrokerConfig, Scope, find};
use ottla_types::NodeId;

use super::Controller;
use crate::image::ConfigResource;

/// Fixed settings of a controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This controller.
    pub node_id: NodeId,
    /// The cluster's id: brokers of another are refused.
    pub cluster_id: String,
    /// All voters of the quorum: features are raised only when all of them registered.
    pub voters: Vec<NodeId>,
    /// `broker.session.timeout.ms`.
    pub session_timeout_ms: i64,
    /// `num.partitions`.
    pub default_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// The whole configuration of the node, which validates and completes those of topics and groups.
    pub config: Arc<BrokerConfig>,
}

impl Settings {
    /// From the node's configuration, and what it does not hold.
    pub fn new(node_id: NodeId, cluster_id: &str, voters: Vec<NodeId>, config: Arc<BrokerConfig>) -> Self {
        let values = config.values();
        Self {
            node_id,
            cluster_id: cluster_id.to_owned(),
            voters,
            session_timeout_ms: i64::from(values.int("broker.session.timeout.ms")),
            default_partitions: values.int("num.partitions"),
            default_replication_factor: i16::try_from(values.int("default.replication.factor"))
                .unwrap_or(i16::MAX),
            delete_topic_enable: values.boolean("delete.topic.enable"),
            config,
        }
    }

    /// What the node's own file, or else Kafka, gives a topic key.
    pub(super) fn static_topic_value(&self, key: &str) -> Option<String> {
        let props = self.config.static_props();
        let from_file = broker_keys_of_topic(key).iter().find_map(|(name, unit)| {
            let text = props.get(*name)?;
            // Keys in hours, minutes or seconds become milliseconds.
            Some(text.parse().map_or_else(|_| text.clone(), |value| unit.to_topic(value).to_string()))
        });
        from_file.or_else(|| find(Scope::Topic, key)?.default_text().map(str::to_owned))
    }
}

impl Controller {
    /// The effective value of a topic's key: the topic's, else what is set dynamically for this controller or for all
    /// brokers, else the static one (`KafkaConfigSchema.resolveEffectiveTopicConfig`).
    fn topic_value(&self, topic: &str, key: &str) -> Option<String> {
        let configs = self.image.configs();
        if let Some(value) = configs.value(&ConfigResource::topic(topic), key) {
            return Some(value.to_owned());
        }
        for resource in [ConfigResource::broker(self.settings.node_id), ConfigResource::all_brokers()] {
            for (name, unit) in broker_keys_of_topic(key) {
                if let Some(text) = configs.value(&resource, name) {
                    let converted = text.parse().map(|value| unit.to_topic(value).to_string());
                    return Some(converted.unwrap_or_else(|_| text.to_owned()));
                }
            }
        }
        self.settings.static_topic_value(key)
    }

    /// `min.insync.replicas` of a topic, but no more than its replicas.
    pub(super) fn effective_min_isr(&self, topic: &crate::image::Topic) -> usize {
        let configured = self.topic_value(topic.name.as_str(), "min.insync.replicas");
        let configured: usize = configured.and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        let replicas =
            topic.partitions.values().next().map_or(usize::MAX, |partition| partition.replicas.len());
        configured.min(replicas)
    }

    /// Whether a topic may lose records to get a leader.
    pub(super) fn unclean_election_enabled(&self, topic: &str) -> bool {
        let value = self.topic_value(topic, "unclean.leader.election.enable");
        value.is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
    }
}
