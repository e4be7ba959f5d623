//! Where records go: by the hash of their key, as Java's producer does it, or where it is convenient.

use ottla_types::PartitionIndex;

use crate::client::random_below;
use crate::metadata::TopicMetadata;

/// Java's `Utils.murmur2`: 32-bit MurmurHash2 with a fixed seed.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut h = SEED ^ (data.len() as u32);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        let k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    for (i, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    (h ^ (h >> 15)).cast_signed()
}

/// The partition of a key among `partitions`, as Java's `BuiltInPartitioner.partitionForKey`.
pub fn partition_of_key(key: &[u8], partitions: i32) -> PartitionIndex {
    assert!(partitions > 0, "a topic has partitions");
    (murmur2(key) & i32::MAX) % partitions
}

/// Keeps records without key on one partition for a while, so that batches fill (KIP-480, KIP-794).
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    current: Option<PartitionIndex>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of `bytes`; moves on after `batch_bytes`.
    pub(crate) fn next(&mut self, topic: &TopicMetadata, bytes: usize, batch_bytes: usize) -> PartitionIndex {
        let current = self.current.filter(|index| {
            self.bytes < batch_bytes
                && topic.partition(*index).is_some_and(|it| it.leader != ottla_types::NodeId::NONE)
        });
        let index = current.unwrap_or_else(|| {
            self.bytes = 0;
            pick(topic, self.current)
        });
        self.bytes += bytes;
        self.current = Some(index);
        index
    }
}

/// Any partition that has a leader, another than before where there is one.
fn pick(topic: &TopicMetadata, before: Option<PartitionIndex>) -> PartitionIndex {
    let led = topic.partitions.iter().filter(|it| it.leader != ottla_types::NodeId::NONE).map(|it| it.index);
    let mut choices: Vec<PartitionIndex> = led.collect();
    if choices.is_empty() {
        choices = topic.partitions.iter().map(|it| it.index).collect();
    }
    if choices.len() > 1 {
        choices.retain(|index| Some(*index) != before);
    }
    choices.get(random_below(choices.len())).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use ottla_types::{LeaderEpoch, NodeId, Uuid};

    use super::*;
    use crate::metadata::PartitionMetadata;

    /// Computed with `org.apache.kafka.common.utils.Utils.murmur2` of Kafka 4.4.0.
    #[test]
    fn hashes_as_java() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn keys_stay_and_sticky_moves_on_after_a_batch() {
        assert_eq!(partition_of_key(b"foobar", 10), (-790_332_482 & i32::MAX) % 10);
        let partition = |index, leader| PartitionMetadata {
            index,
            leader: NodeId(leader),
            leader_epoch: LeaderEpoch(0),
            replicas: vec![],
            isr: vec![],
            offline: vec![],
        };
        let topic = TopicMetadata {
            name: "t".into(),
            id: Uuid::ZERO,
            is_internal: false,
            partitions: vec![partition(0, 1), partition(1, -1), partition(2, 1)],
        };
        let mut sticky = Sticky::default();
        let first = sticky.next(&topic, 60, 100);
        assert_eq!(sticky.next(&topic, 60, 100), first);
        let second = sticky.next(&topic, 60, 100);
        assert!(first != second && [0, 2].contains(&first) && [0, 2].contains(&second));
    }
}
