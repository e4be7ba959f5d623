//! What a step of the shard asks of its runtime, as plain data.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::ErrorCode;
use ottla_types::{ProducerEpoch, ProducerId, TopicName};

use super::record::TransactionRecord;
use crate::group::RequestToken;

/// A transactional id, cheap to clone.
pub type TransactionalId = Arc<str>;

/// Names one append of a shard. Grows by one with each append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// A producer as requests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl Identity {
    /// What a refused request answers.
    pub const NONE: Self = Self { producer_id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
}

/// One timer of a shard. At most one timer per key is pending: scheduling a key again moves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKey {
    /// The search for transactions past their timeout.
    Timeouts,
    /// The search for transactional ids to forget.
    Expiry,
    /// The last record of a transaction is to be written again.
    Completion(TransactionalId),
}

/// The answer to a request, shaped by the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionResponse {
    /// To AddPartitionsToTxn and AddOffsetsToTxn.
    Added(Result<(), ErrorCode>),
    /// To InitProducerId and EndTxn: how the producer goes on.
    Producer(Result<Identity, ErrorCode>),
}

/// The end of a transaction, to be written into each of its partitions. Partitions that do not exist any more are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkersToWrite {
    /// For [`TransactionShard::markers_written`](super::TransactionShard::markers_written).
    pub id: TransactionalId,
    /// The producer with the epoch of the markers.
    pub producer: Identity,
    /// The epoch of the coordinator, in the markers.
    pub coordinator_epoch: i32,
    /// Commit, or abort.
    pub commit: bool,
    /// `transaction.version` of the transaction.
    pub transaction_version: i16,
    /// Where.
    pub partitions: BTreeSet<(TopicName, i32)>,
}

/// One thing for the runtime to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer the request.
    Reply {
        /// The request.
        token: RequestToken,
        /// The answer.
        response: TransactionResponse,
    },
    /// Call [`on_timer`](super::TransactionShard::on_timer) with the key at this time or soon after.
    Schedule {
        /// The timer.
        key: TimerKey,
        /// When it is due, in milliseconds of the clock that gives `now_ms`.
        at_ms: i64,
    },
    /// Write markers, as often as it takes, then call [`markers_written`](super::TransactionShard::markers_written).
    WriteMarkers(MarkersToWrite),
    /// What an operator should find in the log at level INFO.
    Note(String),
}

/// Records that must be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Names the append in `committed` and `append_failed`.
    pub id: AppendId,
    /// At least one record, in order. Several are tombstones, which may be split over several batches.
    pub records: Vec<TransactionRecord>,
    /// The level of `transaction.version` that says how values are written.
    pub level: i16,
    /// How long it may take until the append counts.
    pub timeout_ms: i32,
}

/// The outcome of one call into the shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// To be carried out now, in this order.
    pub effects: Vec<Effect>,
    /// To be appended after the effects, in this order.
    pub appends: Vec<Append>,
}

impl Decision {
    pub(crate) fn reply(token: RequestToken, response: TransactionResponse) -> Self {
        Self { effects: vec![Effect::Reply { token, response }], appends: Vec::new() }
    }
}

/// The error that a client gets for a failed append (`TransactionStateManager.appendTransactionToLog`).
pub fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        other => other,
    }
}
