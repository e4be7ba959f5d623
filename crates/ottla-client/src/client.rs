//! A client of a cluster: connections by node, metadata, retries.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hasher as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::{FindCoordinatorRequest, MetadataRequest};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{NodeId, PartitionIndex, TopicName, Uuid};
use tracing::debug;

use crate::error::check;
use crate::metadata::{Broker, ClusterMetadata, PartitionMetadata, TopicMetadata};
use crate::{ClientConfig, ClientError, Connection, Result};

const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// What is coordinated; the number is the `FindCoordinator` key type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub(crate) enum CoordinatorKind {
    Group = 0,
    Transaction = 1,
}

impl CoordinatorKind {
    fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Transaction => "transactional id",
        }
    }
}

/// One attempt at a call. Boxed, as the futures of async closures cannot be shown to be `Send`.
pub(crate) type Attempt<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A client; clones share connections and metadata.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    /// Open connections by node; one being made is awaited by all who want it.
    nodes: Mutex<HashMap<NodeId, Arc<tokio::sync::Mutex<Option<Connection>>>>>,
    /// The connection to whichever bootstrap address answered, before brokers are known or when all have gone.
    bootstrap: tokio::sync::Mutex<Option<Connection>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    brokers: BTreeMap<NodeId, Broker>,
    topics: BTreeMap<TopicName, (Instant, Arc<TopicMetadata>)>,
    coordinators: BTreeMap<(CoordinatorKind, String), NodeId>,
}

impl Client {
    /// Connects to the first bootstrap address that answers and learns the brokers.
    ///
    /// # Errors
    /// No address answers.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        if config.bootstrap.is_empty() {
            return Err(ClientError::Usage(
                "no bootstrap server is given: pass --bootstrap-server HOST:PORT".to_owned(),
            ));
        }
        let inner = Inner {
            config,
            nodes: Mutex::default(),
            bootstrap: tokio::sync::Mutex::default(),
            known: Arc::default(),
        };
        let client = Self { inner: Arc::new(inner) };
        client.fetch_metadata(Some(&[])).await?;
        Ok(client)
    }

    /// A client that shares what is known of the cluster, but not the connections: calls that wait on purpose (Fetch,
    /// JoinGroup) hold up whatever follows them on their connection.
    #[must_use]
    pub fn separate(&self) -> Self {
        let inner = Inner {
            config: self.inner.config.clone(),
            nodes: Mutex::default(),
            bootstrap: tokio::sync::Mutex::default(),
            known: Arc::clone(&self.inner.known),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// A connection to any broker.
    ///
    /// # Errors
    /// No broker can be reached.
    pub async fn any(&self) -> Result<Connection> {
        let mut ids: Vec<NodeId> = self.known().brokers.keys().copied().collect();
        if !ids.is_empty() {
            let start = random_below(ids.len());
            ids.rotate_left(start);
        }
        for id in ids {
            match self.node(id).await {
                Ok(connection) => return Ok(connection),
                Err(error) => debug!(%error, node = %id, "trying another broker"),
            }
        }
        self.bootstrap().await
    }

    /// A connection to a broker by id.
    ///
    /// # Errors
    /// The broker is unknown or cannot be reached.
    pub async fn node(&self, id: NodeId) -> Result<Connection> {
        let slot = {
            let mut nodes = self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(nodes.entry(id).or_default())
        };
        let mut slot = slot.lock().await;
        let address = self.known().brokers.get(&id).map(Broker::address);
        let Some(address) = address else {
            return Err(ClientError::broker(
                format!("connecting to broker {id}"),
                ErrorCode::BrokerNotAvailable,
            ));
        };
        if let Some(connection) = slot.as_ref().filter(|it| !it.is_closed() && it.address() == address) {
            return Ok(connection.clone());
        }
        let connection = Connection::open(&address, &self.inner.config.connection).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn bootstrap(&self) -> Result<Connection> {
        let mut slot = self.inner.bootstrap.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let mut failures = Vec::new();
        for address in &self.inner.config.bootstrap {
            match Connection::open(address, &self.inner.config.connection).await {
                Ok(connection) => {
                    *slot = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => failures.push(error),
            }
        }
        Err(failures.pop().expect("there is a bootstrap address"))
    }

    /// Fetches metadata: of all topics (`None`), or of these. Topics in error are in [`ClusterMetadata::errors`].
    ///
    /// # Errors
    /// No broker answers.
    pub async fn fetch_metadata(&self, topics: Option<&[&str]>) -> Result<ClusterMetadata> {
        let connection = self.any().await?;
        let response = connection
            .call_with(VersionRange::new(4, 13), |_| MetadataRequest {
                topics: topics.map(|names| {
                    let topic = |name: &&str| MetadataRequestTopic {
                        topic_id: Uuid::ZERO,
                        name: Some((*name).to_owned().into()),
                    };
                    names.iter().map(topic).collect()
                }),
                allow_auto_topic_creation: self.inner.config.allow_auto_create_topics,
                ..MetadataRequest::default()
            })
            .await?;
        check(response.error_code, None, || "fetching metadata".to_owned())?;
        let metadata = ClusterMetadata::from_response(response);
        self.learn(&metadata);
        Ok(metadata)
    }

    fn learn(&self, metadata: &ClusterMetadata) {
        let now = Instant::now();
        let mut known = self.known();
        if !metadata.brokers.is_empty() {
            known.brokers = metadata.brokers.clone();
        }
        for topic in metadata.topics.values() {
            known.topics.insert(topic.name.clone(), (now, Arc::new(topic.clone())));
        }
        for name in metadata.errors.keys() {
            known.topics.remove(name);
        }
    }

    /// A topic, from the cache while it is fresh. Waits for a topic that is being created.
    ///
    /// # Errors
    /// The topic does not exist.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicMetadata>> {
        if let Some((at, topic)) = self.known().topics.get(name)
            && at.elapsed() < self.inner.config.metadata_max_age
        {
            return Ok(Arc::clone(topic));
        }
        // An existing topic may be unknown to a broker that lags a little; waiting the whole limit for one that may not
        // be created would only annoy.
        let patience = if self.inner.config.allow_auto_create_topics {
            self.inner.config.api_timeout
        } else {
            Duration::from_secs(2).min(self.inner.config.api_timeout)
        };
        let mut retry = Retry::new(&self.inner.config, patience);
        loop {
            let error = match self.fetch_metadata(Some(&[name])).await {
                Ok(metadata) => match metadata.topics.get(name) {
                    Some(topic) if !topic.partitions.is_empty() => return Ok(Arc::new(topic.clone())),
                    _ => {
                        let code = metadata.errors.get(name).copied();
                        let code = code.unwrap_or(ErrorCode::UnknownTopicOrPartition);
                        ClientError::broker(format!("topic '{name}'"), code)
                    }
                },
                Err(error) => error,
            };
            retry.pause(error).await?;
        }
    }

    /// Forgets what is known about a topic, after an error that says it has changed.
    pub fn forget_topic(&self, name: &str) {
        self.known().topics.remove(name);
    }

    /// A partition with its topic's id.
    pub(crate) async fn partition(
        &self,
        topic: &str,
        index: PartitionIndex,
    ) -> Result<(Uuid, PartitionMetadata)> {
        let metadata = self.topic(topic).await?;
        let partition = metadata.partition(index).cloned().ok_or_else(|| {
            ClientError::Usage(format!(
                "topic '{topic}' has no partition {index}: it has partitions 0 to {}",
                metadata.partitions.len() - 1
            ))
        })?;
        Ok((metadata.id, partition))
    }

    /// A connection to the leader of a partition.
    ///
    /// # Errors
    /// The partition does not exist, has no leader, or its leader cannot be reached.
    pub async fn leader(&self, topic: &str, index: PartitionIndex) -> Result<Connection> {
        let (_, partition) = self.partition(topic, index).await?;
        if partition.leader == NodeId::NONE {
            self.forget_topic(topic);
            return Err(ClientError::broker(
                format!("partition {topic}-{index}"),
                ErrorCode::LeaderNotAvailable,
            ));
        }
        self.node(partition.leader).await.inspect_err(|_| self.forget_topic(topic))
    }

    /// A connection to the coordinator of a group.
    ///
    /// # Errors
    /// There is none now, or it cannot be reached; both are worth a retry.
    pub async fn coordinator(&self, group: &str) -> Result<Connection> {
        self.coordinator_of(CoordinatorKind::Group, group).await
    }

    async fn coordinator_of(&self, kind: CoordinatorKind, key: &str) -> Result<Connection> {
        let cached = self.known().coordinators.get(&(kind, key.to_owned())).copied();
        if let Some(id) = cached {
            if let Ok(connection) = self.node(id).await {
                return Ok(connection);
            }
            self.forget_coordinator_of(kind, key);
        }
        let request = FindCoordinatorRequest {
            key_type: kind as i8,
            coordinator_keys: vec![key.into()],
            ..FindCoordinatorRequest::default()
        };
        let response = self.any().await?.call_with(VersionRange::new(4, 6), |_| request).await?;
        let what = || format!("finding the coordinator of {} '{key}'", kind.name());
        let Some(found) = response.coordinators.first() else {
            return Err(ClientError::broker(what(), ErrorCode::CoordinatorNotAvailable));
        };
        check(found.error_code, found.error_message.as_deref(), what)?;
        let id = NodeId(found.node_id);
        {
            let mut known = self.known();
            known.brokers.entry(id).or_insert_with(|| Broker {
                id,
                host: found.host.to_string(),
                port: u16::try_from(found.port).unwrap_or(0),
                rack: None,
            });
            known.coordinators.insert((kind, key.to_owned()), id);
        }
        self.node(id).await
    }

    /// Forgets who coordinates a group, after an error that says it has moved.
    pub fn forget_coordinator(&self, group: &str) {
        self.forget_coordinator_of(CoordinatorKind::Group, group);
    }

    fn forget_coordinator_of(&self, kind: CoordinatorKind, key: &str) {
        self.known().coordinators.remove(&(kind, key.to_owned()));
    }

    /// Makes a call to a group's coordinator until it succeeds, finding the coordinator anew where it has moved.
    pub(crate) async fn with_coordinator<'a, T>(
        &'a self,
        group: &str,
        call: impl Fn(Connection) -> Attempt<'a, T>,
    ) -> Result<T> {
        self.with_coordinator_of(CoordinatorKind::Group, group, call).await
    }

    /// As [`Client::with_coordinator`], for any kind.
    pub(crate) async fn with_coordinator_of<'a, T>(
        &'a self,
        kind: CoordinatorKind,
        key: &str,
        call: impl Fn(Connection) -> Attempt<'a, T>,
    ) -> Result<T> {
        let mut retry = self.retry();
        loop {
            let result = match self.coordinator_of(kind, key).await {
                Ok(connection) => call(connection).await,
                Err(error) => Err(error),
            };
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let moved =
                matches!(error.code(), Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable));
            if moved || error.is_connection() {
                self.forget_coordinator_of(kind, key);
            }
            retry.pause(error).await?;
        }
    }

    /// Makes a call to any broker until it succeeds.
    pub(crate) async fn with_any<'a, T>(&'a self, call: impl Fn(Connection) -> Attempt<'a, T>) -> Result<T> {
        let mut retry = self.retry();
        loop {
            let result = match self.any().await {
                Ok(connection) => call(connection).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(value) => return Ok(value),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// All brokers known now.
    pub fn brokers(&self) -> Vec<Broker> {
        self.known().brokers.values().cloned().collect()
    }

    pub(crate) fn broker_ids(&self) -> BTreeSet<NodeId> {
        self.known().brokers.keys().copied().collect()
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry::new(&self.inner.config, self.inner.config.api_timeout)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pauses between attempts, up to a deadline.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Duration,
    deadline: Instant,
}

impl Retry {
    pub(crate) fn new(config: &ClientConfig, limit: Duration) -> Self {
        Self { backoff: config.retry_backoff, deadline: Instant::now() + limit }
    }

    /// Waits before the next attempt, or returns the error when it is final or time is up.
    pub(crate) async fn pause(&mut self, error: ClientError) -> Result<()> {
        if !error.is_retriable() || Instant::now() + self.backoff >= self.deadline {
            return Err(error);
        }
        debug!(%error, backoff_ms = self.backoff.as_millis(), "retrying");
        // Up to a fifth more or less, so that clients do not retry in step.
        let spread = 80 + u32::try_from(random_below(41)).unwrap_or(20);
        tokio::time::sleep(self.backoff * spread / 100).await;
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
        Ok(())
    }
}

/// An id that nobody else has drawn.
pub(crate) fn random_uuid() -> Uuid {
    loop {
        let half = || RandomState::new().build_hasher().finish().to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&half());
        bytes[8..].copy_from_slice(&half());
        if let Some(id) = Uuid::from_random(bytes) {
            return id;
        }
    }
}

/// A number below `bound`, good enough to spread load.
pub(crate) fn random_below(bound: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    usize::try_from(random % (bound.max(1) as u64)).unwrap_or(0)
}
