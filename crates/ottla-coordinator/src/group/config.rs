//! The configuration keys that the group coordinator reads, with Kafka's names and defaults (`GroupCoordinatorConfig`).

use super::consumer::MigrationPolicy;

/// What the rules of groups and committed offsets depend on. Every field names its broker configuration key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms` (6 s): a JoinGroup asking for less is refused.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms` (30 min): a JoinGroup asking for more is refused.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms` (3 s): how long an empty group waits for more members before its first
    /// generation; each member that joins meanwhile extends the wait, up to the rebalance timeout.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size` (no limit): the most members a classic group may have.
    pub max_size: i32,
    /// `offset.metadata.max.bytes` (4096): the longest metadata string of a committed offset, in UTF-16 units as Kafka
    /// counts them.
    pub offset_metadata_max_bytes: i32,
    /// `offsets.retention.minutes` (7 days): how long offsets of an empty group, of an unsubscribed topic or of a
    /// consumer without group membership are kept.
    pub offsets_retention_minutes: i32,
    /// `offsets.retention.check.interval.ms` (10 min): how often expired offsets and groups are looked for.
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.commit.timeout.ms` (5 s): how long the runtime waits for an append to commit before it reports
    /// `REQUEST_TIMED_OUT` to [`GroupShard::append_failed`](super::GroupShard::append_failed). The shard does not read it.
    pub offsets_commit_timeout_ms: i32,
    /// `group.consumer.max.size` (no limit): the most members a consumer group may have.
    pub consumer_max_size: i32,
    /// `group.consumer.assignors` (`uniform`, `range`): what members may prefer; the first is the default.
    pub consumer_assignors: Vec<String>,
    /// `group.consumer.migration.policy` (both ways): whether groups change their protocol online.
    pub consumer_migration: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms` (10 min): how often regular expressions are resolved anew.
    pub consumer_regex_refresh_interval_ms: i32,
    /// How long a member may wait in its first JoinGroup (5 min, not configurable in Kafka): its session timeout cannot
    /// apply, since it has no member id to send heartbeats with.
    pub new_member_join_timeout_ms: i32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_minutes: 7 * 24 * 60,
            offsets_retention_check_interval_ms: 600_000,
            offsets_commit_timeout_ms: 5_000,
            consumer_max_size: i32::MAX,
            consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
            consumer_migration: MigrationPolicy::default(),
            consumer_regex_refresh_interval_ms: 600_000,
            new_member_join_timeout_ms: 5 * 60 * 1_000,
        }
    }
}

impl GroupConfig {
    pub(crate) fn retention_ms(&self) -> i64 {
        i64::from(self.offsets_retention_minutes) * 60_000
    }
}
