//! The runtime of the group coordinator: one shard per partition of `__consumer_offsets` that this broker leads.
//!
//! It carries out what the pure [`GroupShard`](ottla_coordinator::group::GroupShard) decides: appends to the partition's log,
//! answers requests when what they rest on counts, and keeps the timers.

mod cluster;
mod commits;
mod core;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_config::BrokerConfig;
use ottla_coordinator::group::{
    ClusterView, Decision, GroupConfig, GroupKind, GroupResponse, GroupShard, MigrationPolicy,
    RequestContext, resolve_regexes,
};
use ottla_protocol::ErrorCode;
use ottla_record::Compression;
use ottla_storage::log::VerificationGuard;
use ottla_types::{Offset, TopicName, Uuid};
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::clock::now_ms;
use crate::coordinators::{Marker, Shard, Shards};
use crate::internal_topics::CONSUMER_OFFSETS;
use crate::partition::Partition;
use crate::request::Request;
use cluster::Cluster;
use commits::Commits;

/// The answer to a request that the coordinator took.
pub(crate) type Answer = oneshot::Receiver<GroupResponse>;

/// Group, topic, partition, offset.
pub(crate) type CommittedOffset = (Arc<str>, TopicName, i32, i64);

/// The shards of this broker.
#[derive(Debug)]
pub(crate) struct Groups {
    config: GroupConfig,
    codec: Compression,
    load_bytes: u32,
    shards: Shards<GroupShard>,
    commits: Commits,
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
        let codec = u8::try_from(values.int("offsets.topic.compression.codec"));
        let codec = codec.ok().and_then(|id| Compression::from_id(id).ok()).unwrap_or_default();
        let load_bytes = values.int("offsets.load.buffer.size").unsigned_abs();
        Self { config, codec, load_bytes, shards: Shards::new(CONSUMER_OFFSETS), commits: Commits::default() }
    }

    /// This broker leads a partition of `__consumer_offsets` from now on: its shard is loaded in the background.
    pub(crate) fn lead(&self, broker: &Arc<Broker>, partition: Arc<Partition>) {
        let cluster: Arc<dyn ClusterView> = Arc::new(Cluster::new(broker));
        let settings =
            core::Settings { config: self.config.clone(), cluster: Arc::clone(&cluster), codec: self.codec };
        let perform = move |shard: &Arc<Shard<GroupShard>>, search: core::RegexSearch| {
            let (shard, cluster) = (Arc::clone(shard), Arc::clone(&cluster));
            tokio::task::spawn_blocking(move || {
                let found = resolve_regexes(cluster.as_ref(), &search.regexes, now_ms());
                shard.call(|core, now_ms| core.regexes_resolved(now_ms, &search.group, &found));
            });
        };
        self.shards.lead(Shard::new(partition, settings, self.load_bytes, Box::new(perform)));
    }

    /// This broker leads the partition no more.
    pub(crate) fn resign(&self, index: i32) {
        self.shards.resign(index);
    }

    /// Ends all shards: whoever waits is told to look elsewhere.
    pub(crate) fn shut_down(&self) {
        self.shards.shut_down();
    }

    /// The metadata changed: these topics, and whether there are new ones.
    pub(crate) fn cluster_changed(&self, topics: &[Arc<str>], has_new_topics: bool) {
        for shard in self.shards.all() {
            shard.call(|core, _| {
                core.cluster_changed(topics, has_new_topics);
                Decision::default()
            });
        }
    }

    /// Topics are gone: so are the offsets committed for them.
    pub(crate) fn topics_deleted(&self, topics: &[(TopicName, Uuid)]) {
        for shard in self.shards.all() {
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
        self.call_verified(broker, group_id, request, VerificationGuard::default(), run)
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
        let shard = self.shards.of(broker, group_id)?;
        Ok(self.call_shard(&shard, request, guard, run))
    }

    /// Writes the end of a transaction into a partition of `__consumer_offsets` and returns the offset at which it counts.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` when there is no shard for it; those of the append.
    pub(crate) fn end_transaction(&self, index: i32, marker: &Marker) -> Result<Offset, ErrorCode> {
        let shard = self.shards.at(index).ok_or(ErrorCode::NotLeaderOrFollower)?;
        shard.end_transaction(marker)
    }

    /// The partition of `__consumer_offsets` of a group.
    pub(crate) fn partition_of(&self, broker: &Broker, group_id: &str) -> Result<Arc<Partition>, ErrorCode> {
        let (topic_id, index) = self.shards.place_of(broker, group_id)?;
        broker.partition(topic_id, index).ok_or(ErrorCode::NotCoordinator)
    }

    /// Runs a request on every shard, as ListGroups needs.
    pub(crate) fn call_all(
        &self,
        request: &Request,
        mut run: impl FnMut(&mut GroupShard, i64, &RequestContext<'_>) -> Decision,
    ) -> Vec<Answer> {
        let guard = VerificationGuard::default();
        self.shards.all().iter().map(|shard| self.call_shard(shard, request, guard, &mut run)).collect()
    }

    /// How many offsets groups have committed.
    pub(crate) fn commits(&self) -> &Commits {
        &self.commits
    }

    /// How many groups of each type are in each state.
    pub(crate) fn states(&self) -> BTreeMap<(GroupKind, &'static str), usize> {
        let known =
            GroupKind::ALL.into_iter().flat_map(|kind| kind.states().iter().map(move |state| (kind, *state)));
        let mut states: BTreeMap<_, usize> = known.map(|key| (key, 0)).collect();
        for shard in self.shards.all() {
            shard.look(|core| {
                core.group_states().for_each(|key| *states.entry(key).or_default() += 1);
            });
        }
        states
    }

    /// How many groups there are, and up to so many of their committed offsets.
    pub(crate) fn committed(&self, limit: usize) -> (usize, Vec<CommittedOffset>) {
        let (mut groups, mut offsets) = (0, Vec::new());
        for shard in self.shards.all() {
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
        let client_host = ottla_coordinator::group::client_host(request.session.connection.peer.ip());
        self.shards.request(shard, guard, |core, now_ms, token| {
            let context = RequestContext {
                token,
                api_version: request.api_version,
                client_id: request.client_id(),
                client_host: &client_host,
            };
            run(core, now_ms, &context)
        })
    }
}
