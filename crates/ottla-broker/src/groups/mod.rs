//! The runtime of the group coordinator: one shard per partition of `__consumer_offsets` that this broker leads.
//!
//! It carries out what the pure [`GroupShard`](ottla_coordinator::group::GroupShard) decides: appends to the partition's log,
//! answers requests when what they rest on counts, and keeps the timers.

mod cluster;
mod core;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ottla_config::BrokerConfig;
use ottla_coordinator::group::{
    ClusterView, Decision, GroupConfig, GroupResponse, GroupShard, MigrationPolicy, RequestContext,
    RequestToken, partition_for_group, resolve_regexes,
};
use ottla_protocol::ErrorCode;
use ottla_storage::log::VerificationGuard;
use ottla_types::{Offset, TopicName, Uuid};
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::clock::now_ms;
use crate::coordinators::{Marker, Shard};
use crate::internal_topics::CONSUMER_OFFSETS;
use crate::partition::Partition;
use crate::request::Request;
use cluster::Cluster;

/// The answer to a request that the coordinator took.
pub(crate) type Answer = oneshot::Receiver<GroupResponse>;

/// Group, topic, partition, offset.
pub(crate) type CommittedOffset = (Arc<str>, TopicName, i32, i64);

/// The shards of this broker.
#[derive(Debug)]
pub(crate) struct Groups {
    config: GroupConfig,
    shards: RwLock<BTreeMap<i32, Arc<Shard<GroupShard>>>>,
    next_token: AtomicU64,
}

/// The assignors that this broker has, by their short names; Kafka's classes are known by their full names too.
fn assignors(configured: &[String]) -> Vec<String> {
    let short = |name: &String| match name.rsplit('.').next().unwrap_or_default() {
        "UniformAssignor" => "uniform".to_owned(),
        "RangeAssignor" => "range".to_owned(),
        other => other.to_owned(),
    };
    configured.iter().map(short).filter(|name| GroupConfig::knows_assignor(name)).collect()
}

impl Groups {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let values = config.values();
        let config = GroupConfig {
            min_session_timeout_ms: values.int("group.min.session.timeout.ms"),
            max_session_timeout_ms: values.int("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: values.int("group.initial.rebalance.delay.ms"),
            max_size: values.int("group.max.size"),
            offset_metadata_max_bytes: values.int("offset.metadata.max.bytes"),
            offsets_retention_minutes: values.int("offsets.retention.minutes"),
            offsets_retention_check_interval_ms: values.long("offsets.retention.check.interval.ms"),
            offsets_commit_timeout_ms: values.int("offsets.commit.timeout.ms"),
            consumer_max_size: values.int("group.consumer.max.size"),
            consumer_assignors: assignors(values.list("group.consumer.assignors")),
            consumer_migration: values
                .string("group.consumer.migration.policy")
                .and_then(MigrationPolicy::parse)
                .unwrap_or_default(),
            consumer_regex_refresh_interval_ms: values.int("group.consumer.regex.refresh.interval.ms"),
            ..GroupConfig::default()
        };
        Self { config, shards: RwLock::default(), next_token: AtomicU64::new(0) }
    }

    /// This broker leads a partition of `__consumer_offsets` from now on: its shard is loaded in the background.
    pub(crate) fn lead(&self, broker: &Arc<Broker>, partition: Arc<Partition>) {
        let index = partition.id.partition;
        let cluster: Arc<dyn ClusterView> = Arc::new(Cluster::new(broker));
        let settings = core::Settings { config: self.config.clone(), cluster: Arc::clone(&cluster) };
        let perform = move |shard: &Arc<Shard<GroupShard>>, search: core::RegexSearch| {
            let (shard, cluster) = (Arc::clone(shard), Arc::clone(&cluster));
            tokio::task::spawn_blocking(move || {
                let found = resolve_regexes(cluster.as_ref(), &search.regexes, now_ms());
                shard.call(|core, now_ms| core.regexes_resolved(now_ms, &search.group, &found));
            });
        };
        let shard = Shard::new(partition, settings, Box::new(perform));
        let previous = self.write().insert(index, Arc::clone(&shard));
        if let Some(previous) = previous {
            previous.unload();
        }
        Shard::start(shard);
    }

    /// This broker leads the partition no more.
    pub(crate) fn resign(&self, index: i32) {
        let removed = self.write().remove(&index);
        if let Some(shard) = removed {
            shard.unload();
        }
    }

    /// Ends all shards: whoever waits is told to look elsewhere.
    pub(crate) fn shut_down(&self) {
        for shard in std::mem::take(&mut *self.write()).into_values() {
            shard.unload();
        }
    }

    /// The metadata changed: these topics, and whether there are new ones.
    pub(crate) fn cluster_changed(&self, topics: &[Arc<str>], has_new_topics: bool) {
        for shard in self.all() {
            shard.call(|core, _| {
                core.cluster_changed(topics, has_new_topics);
                Decision::default()
            });
        }
    }

    /// Topics are gone: so are the offsets committed for them.
    pub(crate) fn topics_deleted(&self, topics: &[(TopicName, Uuid)]) {
        for shard in self.all() {
            shard.call(|core, _| core.topics_deleted(topics));
        }
    }

    /// Runs a request on the shard of a group; the error is what the request must be refused with.
    pub(crate) fn call(
        &self,
        broker: &Broker,
        group_id: &str,
        request: &Request,
        run: impl FnOnce(&mut GroupShard, i64, &RequestContext<'_>) -> Decision,
    ) -> Result<Answer, ErrorCode> {
        let shard = self.shard_of(broker, group_id)?;
        Ok(self.call_shard(&shard, request, VerificationGuard::default(), run))
    }

    /// The same for offsets of a transaction, verified with the transaction's coordinator.
    pub(crate) fn call_verified(
        &self,
        broker: &Broker,
        group_id: &str,
        request: &Request,
        guard: VerificationGuard,
        run: impl FnOnce(&mut GroupShard, i64, &RequestContext<'_>) -> Decision,
    ) -> Result<Answer, ErrorCode> {
        let shard = self.shard_of(broker, group_id)?;
        Ok(self.call_shard(&shard, request, guard, run))
    }

    /// Writes the end of a transaction into a partition of `__consumer_offsets` and returns the offset at which it counts.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when there is no shard for it; those of the append.
    pub(crate) fn end_transaction(&self, index: i32, marker: &Marker) -> Result<Offset, ErrorCode> {
        let shard = self.read().get(&index).cloned().ok_or(ErrorCode::NotLeaderOrFollower)?;
        shard.end_transaction(marker)
    }

    /// The partition of `__consumer_offsets` of a group.
    pub(crate) fn partition_of(&self, broker: &Broker, group_id: &str) -> Result<Arc<Partition>, ErrorCode> {
        let image = broker.image();
        let topic = image.topics().by_name(CONSUMER_OFFSETS).ok_or(ErrorCode::NotCoordinator)?;
        let count = i32::try_from(topic.partitions.len()).map_err(|_| ErrorCode::NotCoordinator)?;
        let index = partition_for_group(group_id, count.max(1));
        broker.partition(topic.id, index).ok_or(ErrorCode::NotCoordinator)
    }

    /// Runs a request on every shard, as ListGroups needs.
    pub(crate) fn call_all(
        &self,
        request: &Request,
        mut run: impl FnMut(&mut GroupShard, i64, &RequestContext<'_>) -> Decision,
    ) -> Vec<Answer> {
        let guard = VerificationGuard::default();
        self.all().iter().map(|shard| self.call_shard(shard, request, guard, &mut run)).collect()
    }

    /// How many groups there are, and up to so many of their committed offsets.
    pub(crate) fn committed(&self, limit: usize) -> (usize, Vec<CommittedOffset>) {
        let (mut groups, mut offsets) = (0, Vec::new());
        for shard in self.all() {
            let room = limit - offsets.len();
            shard.look(|core| {
                groups += core.group_count();
                let committed = core.committed_offsets().take(room);
                offsets.extend(committed.map(|(group, topic, partition, offset)| {
                    (Arc::clone(group), topic.clone(), partition, offset)
                }));
            });
        }
        offsets.sort();
        (groups, offsets)
    }

    fn call_shard(
        &self,
        shard: &Arc<Shard<GroupShard>>,
        request: &Request,
        guard: VerificationGuard,
        run: impl FnOnce(&mut GroupShard, i64, &RequestContext<'_>) -> Decision,
    ) -> Answer {
        let token = RequestToken(self.next_token.fetch_add(1, Ordering::Relaxed));
        let client_host = ottla_coordinator::group::client_host(request.session.connection.peer.ip());
        let context = RequestContext {
            token,
            api_version: request.api_version,
            client_id: request.client_id(),
            client_host: &client_host,
        };
        let (sender, receiver) = oneshot::channel();
        shard.expect_reply(token, sender);
        shard.call_verified(guard, |core, now_ms| run(core, now_ms, &context));
        receiver
    }

    fn shard_of(&self, broker: &Broker, group_id: &str) -> Result<Arc<Shard<GroupShard>>, ErrorCode> {
        let image = broker.image();
        let topic = image.topics().by_name(CONSUMER_OFFSETS).ok_or(ErrorCode::NotCoordinator)?;
        let count = i32::try_from(topic.partitions.len()).map_err(|_| ErrorCode::NotCoordinator)?;
        let index = partition_for_group(group_id, count.max(1));
        self.read().get(&index).cloned().ok_or(ErrorCode::NotCoordinator)
    }

    fn all(&self) -> Vec<Arc<Shard<GroupShard>>> {
        self.read().values().cloned().collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<i32, Arc<Shard<GroupShard>>>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<i32, Arc<Shard<GroupShard>>>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }
}
