//! Administrative calls: topics, configurations, groups, offsets, transactions, quotas, directories, the cluster.

mod cluster;
mod configs;
mod groups;
mod log_dirs;
mod offsets;
mod partitions;
mod quotas;
mod records;
mod topics;
mod transactions;

pub use cluster::{ClusterDescription, FeatureChange, NodeVersions, QuorumDescription, QuorumReplica};
pub use configs::{AlterConfig, ConfigEntry, ConfigResource, ConfigSource, ResourceType};
pub use groups::{GroupDescription, GroupListing, GroupMember, MemberRef};
pub use log_dirs::{LogDirDescription, LogDirReplica};
pub(crate) use offsets::{Committer, commit_offsets};
pub use offsets::{GroupOffset, ListedOffset, OffsetSpec};
pub use partitions::{ElectionType, Reassignment};
pub use quotas::{EntityQuotas, QuotaEntity, QuotaMatch};
pub use topics::NewTopic;
pub use transactions::{ProducerState, TransactionDescription, TransactionFilter, TransactionListing};
