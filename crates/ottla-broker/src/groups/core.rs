//! The group coordinator's shard as the shared runtime drives it.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::group::{
    Append, AppendId, ClusterView, Decision, Decoded, Effect, GroupConfig, GroupId, GroupRecord,
    GroupResponse, GroupShard, TimerKey,
};
use ottla_protocol::ErrorCode;
use ottla_record::Compression;
use ottla_types::{LeaderEpoch, Offset, ProducerId};
use tracing::warn;

use crate::coordinators::{Act, Batch, Core, Work};

/// What every shard of groups is given.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(super) config: GroupConfig,
    pub(super) cluster: Arc<dyn ClusterView>,
    /// `offsets.topic.compression.codec`.
    pub(super) codec: Compression,
}

/// A search for the topics of a group's regular expressions.
#[derive(Debug)]
pub(crate) struct RegexSearch {
    pub(super) group: GroupId,
    pub(super) regexes: BTreeSet<Arc<str>>,
}

impl Core for GroupShard {
    type Config = Settings;
    type Response = GroupResponse;
    type Timer = TimerKey;
    type Append = Append;
    type Task = RegexSearch;
    type Decision = Decision;

    const HOLDS: &'static str = "groups and offsets";

    fn empty(settings: &Settings, _: LeaderEpoch) -> Self {
        Self::new(settings.config.clone()).with_cluster(Arc::clone(&settings.cluster))
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

    fn codec(settings: &Settings) -> Compression {
        settings.codec
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

    fn commit_timeout_ms(settings: &Settings, _: &Append) -> i64 {
        i64::from(settings.config.offsets_commit_timeout_ms)
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
            Effect::ResolveRegexes { group, regexes } => Act::Perform(RegexSearch { group, regexes }),
            Effect::Note { group, text } => Act::Note(format!("group {group}: {text}")),
        };
        Self {
            acts: decision.effects.into_iter().map(act).collect(),
            appends: decision.append.into_iter().collect(),
        }
    }
}
