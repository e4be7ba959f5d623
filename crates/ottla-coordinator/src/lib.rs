//! Group and transaction coordinators: decide and replay.
//!
//! A coordinator is plain state without clock, randomness or input and output. A request becomes a decision: records to
//! append, and replies and timers as data. Only replaying records changes what survives a restart.

pub mod group;
pub mod transaction;

pub use group::{GroupConfig, GroupRecord, GroupShard};
pub use transaction::{TransactionConfig, TransactionRecord, TransactionShard};
