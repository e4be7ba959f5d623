//! The group coordinator of one partition of `__consumer_offsets`: groups, their members, and committed offsets.
//!
//! [`GroupShard`] is the whole of it; its documentation says how the runtime drives it. Requests and responses are the
//! messages of `ottla-protocol`; records are [`GroupRecord`]s; everything the runtime has to do is a [`Decision`].
//!
//! Where to find what:
//! - `shard`: the shard, loading and replay, appends; `requests`: the requests of the classic protocol
//! - `classic/`: the classic group's state machine: `join`, `rebalance`, `sync`, `heartbeat`, `leave`, `static_member`
//! - `consumer/`: consumer groups of the newer protocol (KIP-848); `topics`: what they know of the cluster
//! - `commit`, `fetch`, `expiry`: committed offsets; `describe`: describe, list and delete groups
//! - `record`: the log's records, byte for byte; `foreign`: share and streams groups
//! - `reply`, `refusal`: the shape of responses and of errors in them, by version

mod classic;
mod commit;
mod config;
mod consumer;
mod deadline;
mod describe;
mod durable;
mod effect;
mod expiry;
mod fetch;
mod foreign;
mod offsets;
mod pending;
mod record;
pub mod refusal;
mod reply;
mod requests;
mod shard;
mod topics;

pub use config::GroupConfig;
pub use consumer::{
    AssignmentSpec, Assignor, ClassicMetadata, ConsumerRecord, CurrentAssignment, MemberMetadata, MemberSpec,
    MemberState, MigrationPolicy, OwnedPartitions, Partitions, ResolvedRegex, Wait, check_regex,
    resolve_regexes,
};
pub use durable::{DurableGroup, DurableState};
pub use effect::{
    Append, AppendId, Decision, Effect, GroupId, GroupResponse, MemberId, RequestContext, RequestToken,
    TimerKey, append_error, client_host,
};
pub use fetch::{offset_fetch_groups, offset_fetch_response};
pub use foreign::{ForeignKey, GroupKind};
pub use record::{Decoded, GroupMetadata, GroupRecord, MemberRecord, OffsetValue, RecordError};
pub use shard::GroupShard;
pub use topics::{ClusterView, ConsumerSettings, NoTopics, TopicInfo, metadata_hash};

use ottla_types::PartitionIndex;

/// The partition of `__consumer_offsets` that holds the group, and so the shard that coordinates it. The count of
/// partitions must be the same on all brokers for as long as the topic lives.
pub fn partition_for_group(group_id: &str, partitions: i32) -> PartitionIndex {
    ottla_types::partition_for_key(group_id, partitions)
}
