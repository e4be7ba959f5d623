//! The runtime that the coordinators share: a pure core per partition of an internal topic, with its log, its timers and the
//! requests that wait for it.

mod append;
mod load;
mod shard;
mod shards;

use ottla_coordinator::group::RequestToken;
use ottla_protocol::ErrorCode;
use ottla_record::Compression;
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

pub(crate) use shard::{Marker, Shard, write_marker};
pub(crate) use shards::Shards;

/// A pure shard as its runtime drives it. Calls come one at a time.
pub(crate) trait Core: Sized + Send + 'static {
    /// Settings of all shards.
    type Config: Clone + Send + Sync + 'static;
    /// What a request is answered with.
    type Response: Send;
    /// Names a timer.
    type Timer: Clone + Ord + Send;
    /// Records to append, and what they are for.
    type Append: Send;
    /// Work outside of the shard.
    type Task: Send;
    /// What a call decides.
    type Decision: Into<Work<Self>>;

    /// What a shard holds, for the log.
    const HOLDS: &'static str;

    /// An empty shard of a partition that is led in this epoch.
    fn empty(config: &Self::Config, epoch: LeaderEpoch) -> Self;
    /// Takes up a record of the log; `producer` when its batch is transactional. The error fails the load.
    fn replay_record(
        &mut self,
        offset: Offset,
        producer: ProducerId,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), String>;
    /// Takes up the marker that ends a transaction in this log.
    fn replay_marker(&mut self, producer: ProducerId, committed: bool);
    /// The log is replayed.
    fn finish_load(&mut self, now_ms: i64) -> Self::Decision;
    /// What was loaded, in a few words.
    fn summary(&self) -> String;
    /// A timer's time has come.
    fn on_timer(&mut self, now_ms: i64, key: &Self::Timer) -> Self::Decision;
    /// The codec of what is appended.
    fn codec(config: &Self::Config) -> Compression;
    /// The bytes of an append.
    fn batch(append: &Self::Append) -> Batch;
    /// How long an append may take to count.
    fn commit_timeout_ms(config: &Self::Config, append: &Self::Append) -> i64;
    /// An append is in the local log, its first record at `first`.
    fn appended(&mut self, append: &Self::Append, first: Offset);
    /// An append counts.
    fn committed(&mut self, now_ms: i64, id: u64) -> Self::Decision;
    /// An append was refused, or does not count in time.
    fn append_failed(&mut self, now_ms: i64, id: u64, error: ErrorCode) -> Self::Decision;
    /// Tells everybody who waits to look elsewhere.
    fn unload(&mut self) -> Self::Decision;
}

/// Records in the form of the log.
pub(crate) struct Batch {
    pub(crate) id: u64,
    pub(crate) records: Vec<KeyValue>,
    /// Whether they must stay together.
    pub(crate) atomic: bool,
    /// The producer of a transactional batch.
    pub(crate) producer: Option<(ProducerId, ProducerEpoch)>,
}

/// A record's key and value.
pub(crate) type KeyValue = (Vec<u8>, Option<Vec<u8>>);

/// A decision in the runtime's terms.
pub(crate) struct Work<C: Core> {
    pub(crate) acts: Vec<Act<C>>,
    /// To be appended after the acts, in order.
    pub(crate) appends: Vec<C::Append>,
}

/// One thing to do.
pub(crate) enum Act<C: Core> {
    Reply(RequestToken, C::Response),
    Schedule(C::Timer, i64),
    Cancel(C::Timer),
    Note(String),
    Perform(C::Task),
}
