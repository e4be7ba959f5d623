//! The group coordinator's shard as the shared runtime drives it.

use std::convert::Infallible;

use ottla_coordinator::group::{
    Append, AppendId, Decision, Decoded, Effect, GroupConfig, GroupRecord, GroupResponse, GroupShard,
    TimerKey,
};
use ottla_protocol::ErrorCode;
use ottla_types::{LeaderEpoch, Offset, ProducerId};
use tracing::warn;

use crate::coordinators::{Act, Batch, Core, Work};

impl Core for GroupShard {
    type Config = GroupConfig;
    type Response = GroupResponse;
    type Timer = TimerKey;
    type Append = Append;
    type Task = Infallible;
    type Decision = Decision;

    const HOLDS: &'static str = "groups and offsets";

    fn empty(config: &GroupConfig, _: LeaderEpoch) -> Self {
        Self::new(config.clone())
    }

    fn replay_record(
        &mut self,
        offset: Offset,
        producer: ProducerId,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        match GroupRecord::decode(key, value) {
            Ok(Decoded::Record(decoded)) => self.replay(offset, producer, &decoded),
            Ok(Decoded::UnknownType(kind)) => warn!(%offset, "skipped a record of unknown type {kind}"),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    fn replay_marker(&mut self, producer: ProducerId, committed: bool) {
        Self::replay_marker(self, producer, committed);
    }

    fn finish_load(&mut self, now_ms: i64) -> Decision {
        Self::finish_load(self, now_ms)
    }

    fn summary(&self) -> String {
        format!("{} groups and {} offsets", self.group_count(), self.offset_count())
    }

    fn on_timer(&mut self, now_ms: i64, key: &TimerKey) -> Decision {
        Self::on_timer(self, now_ms, key)
    }

    fn batch(append: &Append) -> Batch {
        let records = append.records.iter().map(|record| (record.encode_key(), record.encode_value()));
        Batch {
            id: append.id.0,
            records: records.collect(),
            atomic: append.atomic,
            producer: append.producer,
        }
    }

    fn commit_timeout_ms(config: &GroupConfig, _: &Append) -> i64 {
        i64::from(config.offsets_commit_timeout_ms)
    }

    fn appended(&mut self, append: &Append, first: Offset) {
        let producer = append.producer.map_or(ProducerId::NONE, |(id, _)| id);
        for (record, offset) in append.records.iter().zip(first.value()..) {
            self.replay(Offset(offset), producer, record);
        }
    }

    fn committed(&mut self, now_ms: i64, id: u64) -> Decision {
        Self::committed(self, now_ms, AppendId(id))
    }

    fn append_failed(&mut self, now_ms: i64, id: u64, error: ErrorCode) -> Decision {
        Self::append_failed(self, now_ms, AppendId(id), error)
    }

    fn unload(&mut self) -> Decision {
        Decision { effects: Self::unload(self), append: None }
    }
}

impl From<Decision> for Work<GroupShard> {
    fn from(decision: Decision) -> Self {
        let act = |effect| match effect {
            Effect::Reply { token, response } => Act::Reply(token, response),
            Effect::Schedule { key, at_ms } => Act::Schedule(key, at_ms),
            Effect::Cancel { key } => Act::Cancel(key),
            Effect::Note { group, text } => Act::Note(format!("group {group}: {text}")),
        };
        Self {
            acts: decision.effects.into_iter().map(act).collect(),
            appends: decision.append.into_iter().collect(),
        }
    }
}
