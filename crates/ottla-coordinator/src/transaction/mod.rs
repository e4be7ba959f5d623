//! The transaction coordinator of one partition of `__transaction_state` (KIP-98, KIP-360, KIP-890).
//!
//! [`TransactionShard`] is the whole of it; its documentation says how the runtime drives it. Answers are plain values that the
//! request handlers shape by version.
//!
//! Where to find what:
//! - `shard`: the shard, loading, appends; `metadata`: one transactional id and its transitions
//! - `init`, `partitions`, `end`: the requests of producers; `markers`: after the decision; `expiry`: what times out
//! - `describe`: questions; `record`: the log's records, byte for byte

mod config;
mod describe;
mod effect;
mod end;
mod expiry;
mod init;
mod markers;
mod metadata;
mod partitions;
mod record;
mod shard;
mod state;

pub use config::TransactionConfig;
pub use describe::{Filter, Listing};
pub use effect::{
    Append, AppendId, Decision, Effect, Identity, MarkersToWrite, TimerKey, TransactionResponse,
    TransactionalId, append_error,
};
pub use end::End;
pub use metadata::Transaction;
pub use record::{Decoded, RecordError, TransactionRecord};
pub use shard::TransactionShard;
pub use state::TransactionState;

/// The level of `transaction.version` from which each transaction has a producer epoch of its own (KIP-890).
pub const EPOCH_BUMP: i16 = 2;
