//! Administrative calls: topics, configurations, groups, offsets.

mod configs;
mod groups;
mod offsets;
mod topics;

pub use configs::{AlterConfig, ConfigEntry, ConfigResource, ResourceType};
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub(crate) use offsets::{Committer, commit_offsets};
pub use offsets::{GroupOffset, ListedOffset, OffsetSpec};
pub use topics::NewTopic;
