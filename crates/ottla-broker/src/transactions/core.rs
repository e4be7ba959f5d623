//! The transaction coordinator's shard as the shared runtime drives it.

use ottla_coordinator::transaction::{
    Append, AppendId, Decision, Decoded, Effect, MarkersToWrite, TimerKey, TransactionConfig,
    TransactionRecord, TransactionResponse, TransactionShard,
};
use ottla_protocol::ErrorCode;
use ottla_record::Compression;
use ottla_types::{LeaderEpoch, Offset, ProducerId};
use tracing::warn;

use crate::coordinators::{Act, Batch, Core, Work};

/// The least time that a change may take until it counts, whatever the transaction's timeout: Kafka's counts once it is in
/// memory, which no timeout is too short for; here it has to be durable.
const SHORTEST_COMMIT_MS: i64 = 5000;

impl Core for TransactionShard {
    type Config = TransactionConfig;
    type Response = TransactionResponse;
    type Timer = TimerKey;
    type Append = Append;
    type Task = MarkersToWrite;
    type Decision = Decision;

    const HOLDS: &'static str = "transactions";

    fn empty(config: &TransactionConfig, epoch: LeaderEpoch) -> Self {
        Self::new(config.clone(), epoch.value())
    }

    fn replay_record(
        &mut self,
        offset: Offset,
        _: ProducerId,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        match TransactionRecord::decode(key, value) {
            Ok(Decoded::Record(record)) => self.replay(record),
            Ok(Decoded::UnknownType(kind)) => warn!(%offset, "skipped a record of unknown type {kind}"),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    fn replay_marker(&mut self, _: ProducerId, _: bool) {
        // Nobody writes transactions into this log.
    }

    fn finish_load(&mut self, now_ms: i64) -> Decision {
        Self::finish_load(self, now_ms)
    }

    fn summary(&self) -> String {
        format!("{} transactional ids", self.transaction_count())
    }

    fn on_timer(&mut self, now_ms: i64, key: &TimerKey) -> Decision {
        Self::on_timer(self, now_ms, key)
    }

    /// Never compressed, as the topic's own `compression.type` says.
    fn codec(_: &TransactionConfig) -> Compression {
        Compression::None
    }

    fn batch(append: &Append) -> Batch {
        let encode = |record: &TransactionRecord| (record.encode_key(), record.encode_value(append.level));
        let records = append.records.iter().map(encode).collect();
        Batch { id: append.id.0, records, atomic: false, producer: None }
    }

    fn commit_timeout_ms(_: &TransactionConfig, append: &Append) -> i64 {
        i64::from(append.timeout_ms).max(SHORTEST_COMMIT_MS)
    }

    fn appended(&mut self, _: &Append, _: Offset) {
        // A change is real when it counts.
    }

    fn committed(&mut self, now_ms: i64, id: u64) -> Decision {
        Self::committed(self, now_ms, AppendId(id))
    }

    fn append_failed(&mut self, now_ms: i64, id: u64, error: ErrorCode) -> Decision {
        Self::append_failed(self, now_ms, AppendId(id), error)
    }

    fn unload(&mut self) -> Decision {
        Self::unload(self)
    }
}

impl From<Decision> for Work<TransactionShard> {
    fn from(decision: Decision) -> Self {
        let act = |effect| match effect {
            Effect::Reply { token, response } => Act::Reply(token, response),
            Effect::Schedule { key, at_ms } => Act::Schedule(key, at_ms),
            Effect::WriteMarkers(markers) => Act::Perform(markers),
            Effect::Note(text) => Act::Note(text),
        };
        Self { acts: decision.effects.into_iter().map(act).collect(), appends: decision.appends }
    }
}
