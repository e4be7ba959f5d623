//! Newtypes for every id, offset and epoch of Kafka, the integer encodings and types of control records that the wire and
//! the disk share, the hash that places a key on a partition of an internal topic, and numbers drawn from a seed.
//!
//! Nothing here knows about messages, files or time.

mod control;
mod ids;
mod offsets;
mod random;
mod topic;
mod uuid;
pub mod varint;

pub use control::ControlType;
pub use ids::{BrokerEpoch, LeaderEpoch, NodeId, ProducerEpoch, ProducerId, Sequence};
pub use offsets::Offset;
pub use random::SplitMix64;
pub use topic::{PartitionIndex, TopicError, TopicName, TopicPartition, partition_for_key};
pub use uuid::{Uuid, UuidError};

/// Milliseconds since the Unix epoch, as Kafka stamps records; -1 means "no timestamp".
pub type TimestampMs = i64;

/// The timestamp of a record or batch that has none.
pub const NO_TIMESTAMP: TimestampMs = -1;
