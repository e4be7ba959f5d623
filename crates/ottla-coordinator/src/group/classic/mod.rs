//! Groups of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup (Kafka's `ClassicGroup` and the classic
//! half of `GroupMetadataManager`).
//!
//! A group goes Empty → PreparingRebalance → CompletingRebalance → Stable and back to PreparingRebalance, or to Empty when
//! nobody is left. Members park their JoinGroup while it prepares; the first of them leads, assigns, and sends the
//! assignment with its SyncGroup, which is the moment a generation is logged.

mod group;
mod heartbeat;
mod join;
mod leave;
mod member;
mod rebalance;
mod state;
mod static_member;
mod subscription;
mod sync;

pub(crate) use group::ClassicGroup;
pub(crate) use join::Join;
pub(crate) use member::{Member, Protocol};
pub(crate) use state::ClassicState;
pub(crate) use static_member::StaticRejoin;
