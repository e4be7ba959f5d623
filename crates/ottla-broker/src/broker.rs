//! What all request handlers share: the image, the partitions of this broker, the coordinators, the controller.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::ArcSwap;
use ottla_config::{BrokerConfig, LogSettings, Props};
use ottla_metadata::image::{Config, ConfigResource, MetadataImage};
use ottla_net::ConnectionLimits;
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, TopicName, Uuid};
use tokio::sync::Semaphore;

use crate::auto_topics::AutoTopics;
use crate::cleaner::LogCleaner;
use crate::connections;
use crate::controller::ControllerHandle;
use crate::deleter::Deleters;
use crate::fetch_session::FetchSessions;
use crate::groups::Groups;
use crate::log_levels::LogLevels;
use crate::metrics::Metrics;
use crate::moves::Moves;
use crate::partition::Partition;
use crate::producer_ids::ProducerIds;
use crate::quotas::{MutationQuota, Quotas};
use crate::replicas::Replicas;
use crate::settings::TopicSettings;
use crate::settling::Settling;
use crate::telemetry::Telemetry;
use crate::transactions::Transactions;

/// A broker as a client of some listener sees it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
    pub(crate) is_fenced: bool,
}

type PartitionKey = (Uuid, i32);

/// A running broker.
pub(crate) struct Broker {
    pub(crate) node_id: NodeId,
    pub(crate) cluster_id: String,
    config: ArcSwap<BrokerConfig>,
    image: ArcSwap<MetadataImage>,
    partitions: RwLock<HashMap<PartitionKey, Arc<Partition>>>,
    /// The log directories behind the partitions.
    pub(crate) replicas: Replicas,
    /// Moves between log directories.
    pub(crate) moves: Moves,
    /// New logs on their way to the disk.
    pub(crate) settling: Arc<Settling>,
    /// The removal of files.
    pub(crate) deleters: Deleters,
    /// Compaction.
    pub(crate) cleaner: LogCleaner,
    pub(crate) controller: ControllerHandle,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) auto_topics: AutoTopics,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) telemetry: Arc<Telemetry>,
    is_stopping: AtomicBool,
    /// For requests that are more work than their connection's thread may do: as many at a time as there are processors.
    pub(crate) aside: Arc<Semaphore>,
    pub(crate) connections: Arc<ConnectionLimits>,
    /// The levels of this process's log.
    pub(crate) log_levels: LogLevels,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Broker({})", self.node_id)
    }
}

impl Broker {
    pub(crate) fn new(
        cluster_id: &str,
        config: Arc<BrokerConfig>,
        controller: ControllerHandle,
        replicas: Replicas,
        connections: Arc<ConnectionLimits>,
        log_levels: LogLevels,
    ) -> Arc<Self> {
        let values = config.values();
        let fetch_sessions = FetchSessions::new(
            usize::try_from(values.int("max.incremental.fetch.session.cache.slots")).unwrap_or(0),
            FETCH_SESSION_EVICTION_MS,
        );
        Arc::new(Self {
            node_id: config.node().node_id,
            cluster_id: cluster_id.to_owned(),
            image: ArcSwap::from_pointee(MetadataImage::default()),
            partitions: RwLock::default(),
            replicas,
            moves: Moves::new(values),
            settling: Arc::default(),
            deleters: Deleters::default(),
            cleaner: LogCleaner::new(values),
            controller,
            groups: Groups::new(&config),
            transactions: Transactions::new(&config),
            fetch_sessions,
            producer_ids: ProducerIds::default(),
            auto_topics: AutoTopics::default(),
            metrics: Arc::default(),
            quotas: Arc::new(Quotas::new(values, Arc::clone(&connections))),
            connections,
            log_levels,
            is_stopping: AtomicBool::new(false),
            aside: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, NonZero::get))),
            telemetry: Arc::new(Telemetry::new(
                values.boolean("ottla.client.telemetry.enable"),
                usize::try_from(values.int("telemetry.max.bytes")).unwrap_or(0),
            )),
            config: ArcSwap::from(config),
        })
    }

    /// The metadata as far as this broker has applied it.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    pub(crate) fn set_image(&self, image: MetadataImage) {
        self.image.store(Arc::new(image));
    }

    /// The node has begun to stop.
    pub(crate) fn stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Whether clients are served.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Err("the node is stopping".to_owned());
        }
        match self.image().cluster().broker(self.node_id) {
            Some(registered) if !registered.fenced => {}
            Some(_) => return Err("the broker is fenced".to_owned()),
            None => return Err("the broker is not registered".to_owned()),
        }
        match self.replicas.dirs().online().count() {
            0 => Err("all log directories are offline".to_owned()),
            _ => Ok(()),
        }
    }

    /// The epoch of this broker's registration; `None` while it has none.
    pub(crate) fn epoch(&self) -> Option<i64> {
        self.image().cluster().broker(self.node_id).map(|registered| registered.epoch.value())
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<BrokerConfig> {
        self.config.load_full()
    }

    /// Brings what changed at run time into the configuration: the cluster's defaults and this broker's own keys.
    pub(crate) fn reload_config(&self, image: &MetadataImage) {
        let changed =
            |resource| image.configs().config(&resource).map(|config| props(config)).unwrap_or_default();
        let cluster = changed(ConfigResource::all_brokers());
        let own = changed(ConfigResource::broker(self.node_id));
        match self.config().with_dynamic(&cluster, &own) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                connections::configure(&self.connections, &config);
                self.config.store(Arc::new(config));
            }
            Err(errors) => {
                for error in errors {
                    tracing::error!("dynamic configuration is not applied: {error}");
                }
            }
        }
    }

    /// The partition with a replica here.
    pub(crate) fn partition(&self, topic_id: Uuid, index: i32) -> Option<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).get(&(topic_id, index)).cloned()
    }

    /// The partition with a replica here whose log directory works; the error is what a request for it is refused with.
    pub(crate) fn hosted_partition(&self, topic_id: Uuid, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        match self.partition(topic_id, index) {
            None => Err(ErrorCode::NotLeaderOrFollower),
            Some(partition) if !partition.dir().is_online() => Err(ErrorCode::KafkaStorageError),
            Some(partition) => Ok(partition),
        }
    }

    /// The partition of a topic's name; the error is what a request that names it is refused with.
    pub(crate) fn partition_named(&self, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let image = self.image();
        let id = image.topics().id(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        image.topics().partition(id, index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.hosted_partition(id, index)
    }

    /// All partitions with a replica here.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn add_partition(&self, partition: Arc<Partition>) {
        let key = (partition.topic_id, partition.id.partition);
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).insert(key, partition);
    }

    pub(crate) fn remove_partition(&self, topic_id: Uuid, index: i32) -> Option<Arc<Partition>> {
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).remove(&(topic_id, index))
    }

    /// The settings of a topic, from its overrides and the broker's configuration.
    pub(crate) fn topic_settings(&self, image: &MetadataImage, topic: &str) -> TopicSettings {
        let config = self.config();
        let overrides = topic_overrides(image, topic);
        let settings = LogSettings::resolve(&config, &overrides).unwrap_or_else(|error| {
            tracing::error!(topic, "the topic's configuration is not usable, broker defaults apply: {error}");
            LogSettings::resolve(&config, &Props::new())
                .expect("the broker's own configuration was validated")
        });
        TopicSettings::new(&settings, config.values())
    }

    /// Where clients of `listener` reach a broker.
    pub(crate) fn endpoint_of(&self, image: &MetadataImage, id: NodeId, listener: &str) -> Option<Endpoint> {
        let broker = image.cluster().broker(id)?;
        let endpoint = broker.listener(listener)?;
        Some(Endpoint {
            id: id.value(),
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
        })
    }

    /// The brokers that serve clients of `listener`.
    pub(crate) fn endpoints(&self, image: &MetadataImage, listener: &str) -> Vec<Endpoint> {
        image
            .cluster()
            .brokers()
            .filter(|broker| !broker.fenced)
            .filter_map(|broker| self.endpoint_of(image, broker.id, listener))
            .collect()
    }

    /// Whether a log directory is to get no new logs (`cordoned.log.dirs`).
    pub(crate) fn is_cordoned(&self, dir: &Path) -> bool {
        let config = self.config();
        config.values().list("cordoned.log.dirs").iter().any(|entry| entry == "*" || Path::new(entry) == dir)
    }

    /// `auto.create.topics.enable`.
    pub(crate) fn auto_create_topics(&self) -> bool {
        self.config.load().values().boolean("auto.create.topics.enable")
    }

    /// Whether `group.coordinator.rebalance.protocols` has `consumer`.
    pub(crate) fn serves_consumer_groups(&self) -> bool {
        let config = self.config.load();
        config.values().list("group.coordinator.rebalance.protocols").iter().any(|name| name == "consumer")
    }

    /// `fetch.max.bytes`.
    pub(crate) fn fetch_max_bytes(&self) -> i32 {
        self.config.load().values().int("fetch.max.bytes")
    }

    /// `max.request.partition.size.limit`.
    pub(crate) fn max_described_partitions(&self) -> i32 {
        self.config.load().values().int("max.request.partition.size.limit")
    }

    /// Asks the controller for topics that a client named; nobody waits for the outcome.
    pub(crate) fn create_topics_in_background(
        self: &Arc<Self>,
        names: Vec<TopicName>,
        quota: &MutationQuota,
    ) {
        AutoTopics::create(self, names, Some(quota.clone()));
    }
}

/// The settings of topics, each resolved once: a pass over thousands of partitions is about few topics.
pub(crate) struct TopicSettingsOf<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) image: &'a MetadataImage,
    resolved: Mutex<HashMap<TopicName, Arc<TopicSettings>>>,
}

impl<'a> TopicSettingsOf<'a> {
    pub(crate) fn new(broker: &'a Broker, image: &'a MetadataImage) -> Self {
        Self { broker, image, resolved: Mutex::default() }
    }

    pub(crate) fn topic(&self, topic: &TopicName) -> Arc<TopicSettings> {
        let known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned();
        known.unwrap_or_else(|| {
            let settings = Arc::new(self.broker.topic_settings(self.image, topic.as_str()));
            let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            resolved.insert(topic.clone(), Arc::clone(&settings));
            settings
        })
    }
}

/// Kafka's `FetchSession` eviction age, not configurable there either.
const FETCH_SESSION_EVICTION_MS: i64 = 120_000;

/// An image's configuration in the form of the config crate.
pub(crate) fn props(config: &Config) -> Props {
    config.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// What is set on a topic.
pub(crate) fn topic_overrides(image: &MetadataImage, topic: &str) -> Props {
    image.configs().config(&ConfigResource::topic(topic)).map(|config| props(config)).unwrap_or_default()
}
