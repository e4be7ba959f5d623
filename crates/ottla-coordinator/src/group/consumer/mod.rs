//! Consumer groups of the newer protocol (KIP-848): the coordinator assigns, and members move to their target on their own.
//!
//! - `record`: the records; `group`, `member`: what replaying them makes
//! - `turn`: the steps of a request; `heartbeat`, `classic`: the requests, up to their group; `requests`,
//!   `classic_requests`: the shard's part
//! - `reconcile`: a member's next step; `assignor`: who shall have what; `regex`: subscriptions by regular expression
//! - `migrate`: groups that change between this protocol and the classic one; `embedded`: what classic consumers say
//! - `timers`, `describe`

mod assignor;
mod classic;
mod classic_requests;
mod describe;
mod embedded;
mod group;
mod heartbeat;
mod member;
mod migrate;
mod offsets;
mod reconcile;
mod record;
mod regex;
mod requests;
mod timers;
mod turn;

pub use assignor::{Assignor, MemberSpec, Spec as AssignmentSpec};
pub(crate) use group::ConsumerGroup;
pub use migrate::MigrationPolicy;
pub use record::{
    ClassicMetadata, ConsumerRecord, CurrentAssignment, MemberMetadata, MemberState, OwnedPartitions,
    Partitions, ResolvedRegex,
};
pub use regex::{check as check_regex, resolve_regexes};
pub(crate) use requests::RETRY_MS;
pub use timers::Wait;
pub(crate) use timers::{ConsumerTimers, Timed};
