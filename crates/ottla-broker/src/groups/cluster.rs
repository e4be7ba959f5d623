//! The cluster's metadata and configuration as groups see them.

use std::fmt;
use std::sync::{Arc, Weak};

use ottla_config::{Values, group_values};
use ottla_coordinator::group::{ClusterView, ConsumerSettings, NoTopics, TopicInfo};
use ottla_metadata::image::{ConfigResource, MetadataImage, ResourceKind, Topic};
use ottla_types::Uuid;

use crate::broker::{Broker, props};

/// What the broker has applied last; nothing once it is gone.
pub(super) struct Cluster(Weak<Broker>);

impl Cluster {
    pub(super) fn new(broker: &Arc<Broker>) -> Self {
        Self(Arc::downgrade(broker))
    }

    fn image(&self) -> Option<Arc<MetadataImage>> {
        Some(self.0.upgrade()?.image())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}

impl ClusterView for Cluster {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        let image = self.image()?;
        Some(info(&image, image.topics().by_name(name)?))
    }

    fn by_id(&self, id: Uuid) -> Option<TopicInfo> {
        let image = self.image()?;
        Some(info(&image, image.topics().by_id(id)?))
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str)) {
        if let Some(image) = self.image() {
            image.topics().iter().for_each(|topic| visit(&topic.name));
        }
    }

    fn version(&self) -> i64 {
        self.image().map_or(0, |image| image.provenance().last_offset.value())
    }

    fn consumer_settings(&self, group: &str) -> ConsumerSettings {
        let Some(broker) = self.0.upgrade() else { return NoTopics.consumer_settings(group) };
        let config = broker.config();
        let image = broker.image();
        let own = image.configs().config(&ConfigResource::new(ResourceKind::Group, group));
        let own = own.and_then(|own| group_values(&config, &props(own)).ok());
        match own {
            Some(own) => settings("", &own),
            None => settings("group.", config.values()),
        }
    }
}

fn settings(prefix: &str, values: &Values) -> ConsumerSettings {
    let int = |key: &str| values.int(&format!("{prefix}{key}"));
    ConsumerSettings {
        session_timeout_ms: int("consumer.session.timeout.ms"),
        heartbeat_interval_ms: int("consumer.heartbeat.interval.ms"),
        assignment_interval_ms: int("consumer.assignment.interval.ms"),
    }
}

fn info(image: &MetadataImage, topic: &Topic) -> TopicInfo {
    let racks = topic.partitions.iter().map(|(_, partition)| {
        let brokers = partition.replicas.iter().filter_map(|id| image.cluster().broker(*id));
        brokers.filter_map(|broker| broker.rack.clone()).collect()
    });
    TopicInfo {
        name: topic.name.as_str().into(),
        id: topic.id,
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        racks: racks.collect(),
    }
}
