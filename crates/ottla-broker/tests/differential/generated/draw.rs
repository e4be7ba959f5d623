//! Steps drawn from a seed.

use ottla_protocol::messages::ApiKey;
use ottla_types::Uuid;

use super::dice::Dice;
use super::ops::{Batch, Op, Sequenced, SessionEpoch};
use super::{draw_consumers, draw_transactions, quotas};

/// What a sequence is mostly about.
#[derive(Clone, Copy, Debug)]
enum Theme {
    Topics,
    Records,
    Groups,
    Transactions,
    Consumers,
    Quotas,
    All,
}

/// The steps of a seed.
pub(super) fn draw(seed: u64, count: usize) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    let theme = dice.one(&[
        Theme::Topics,
        Theme::Records,
        Theme::Records,
        Theme::Groups,
        Theme::Groups,
        Theme::Transactions,
        Theme::Transactions,
        Theme::Transactions,
        Theme::Consumers,
        Theme::Consumers,
        Theme::Consumers,
        Theme::Quotas,
        Theme::All,
    ]);
    let mut ops = Vec::with_capacity(count);
    if dice.chance(90) {
        let partitions = dice.one(&[1, 2, 3]);
        ops.push(Op::Create {
            topic: 0,
            partitions,
            replicas: 1,
            configs: Vec::new(),
            check: false,
            version: 7,
        });
    }
    match theme {
        Theme::Transactions => {
            ops.extend((0..2).map(|txn| Op::Txn(draw_transactions::begin(&mut dice, txn))))
        }
        Theme::Consumers => ops.extend((0..2).map(|member| draw_consumers::begin(&mut dice, member))),
        _ => {}
    }
    while ops.len() < count {
        let kinds: &[fn(&mut Dice) -> Op] = match theme {
            Theme::Topics => &[of_topics, of_topics, of_topics, of_records],
            Theme::Records => &[of_records, of_records, of_records, of_records, of_topics],
            Theme::Groups => &[of_groups, of_groups, of_groups, of_groups, of_groups, of_topics],
            Theme::Transactions => &[
                of_transactions,
                of_transactions,
                of_transactions,
                of_transactions,
                of_transactions,
                of_records,
                of_groups,
            ],
            Theme::Consumers => {
                &[of_consumers, of_consumers, of_consumers, of_consumers, of_consumers, of_groups, of_topics]
            }
            Theme::Quotas => &[of_quotas],
            Theme::All => &[of_topics, of_records, of_groups, of_transactions, of_consumers, of_quotas],
        };
        let kind = dice.one(kinds);
        ops.push(kind(&mut dice));
    }
    ops
}

fn of_transactions(dice: &mut Dice) -> Op {
    Op::Txn(draw_transactions::draw(dice))
}

fn of_consumers(dice: &mut Dice) -> Op {
    draw_consumers::draw(dice)
}

fn of_quotas(dice: &mut Dice) -> Op {
    Op::Quota(quotas::draw(dice))
}

const CONFIGS: &[(&str, &[&str])] = &[
    ("max.message.bytes", &["200", "1000", "0", "-1", "1048588"]),
    ("min.insync.replicas", &["1", "2", "0"]),
    ("cleanup.policy", &["compact", "delete", "compact,delete", "delete,delete", "nothing", ""]),
    ("segment.bytes", &["1048576", "2000000", "100", "x"]),
    ("retention.ms", &["-1", "99999999999999", "-2", "one"]),
    ("retention.bytes", &["-1", "100000000"]),
    ("compression.type", &["producer", "gzip", "zstd", "uncompressed", "lz5"]),
    ("message.timestamp.type", &["CreateTime", "LogAppendTime", "Whatever"]),
    ("message.timestamp.before.max.ms", &["9223372036854775807", "1000", "-1"]),
    ("message.timestamp.after.max.ms", &["3600000", "9223372036854775807"]),
    ("min.compaction.lag.ms", &["0", "100"]),
    ("max.compaction.lag.ms", &["9223372036854775807", "50", "0"]),
    ("index.interval.bytes", &["0", "4096", "-1"]),
    ("flush.messages", &["1", "0"]),
    ("preallocate", &["true", "false", "maybe"]),
    ("unclean.leader.election.enable", &["true", "false"]),
    ("leader.replication.throttled.replicas", &["*", "0:1", "none", ""]),
    ("file.delete.delay.ms", &["0", "60000", "-1"]),
    ("delete.retention.ms", &["0", "86400000"]),
    ("min.cleanable.dirty.ratio", &["0.5", "0", "1", "1.5"]),
    ("remote.storage.enable", &["false", "true"]),
    ("local.retention.ms", &["-2", "-1", "7"]),
    ("no.such.key", &["1"]),
];

fn config(dice: &mut Dice) -> (String, String) {
    let (key, values) = if dice.chance(50) { dice.one(&CONFIGS[..9]) } else { dice.one(CONFIGS) };
    (key.to_owned(), dice.mostly(values).to_owned())
}

fn of_topics(dice: &mut Dice) -> Op {
    let (topic, check) = (dice.topic(), dice.chance(10));
    match dice.below(12) {
        0..=2 => {
            let configs = (0..dice.below(3)).map(|_| config(dice)).collect();
            let (partitions, replicas) = (dice.mostly(&[2, 1, 3, -1, 0, -2]), dice.mostly(&[1, 1, -1, 0, 2]));
            let version = dice.version(ApiKey::CreateTopics, 0);
            Op::Create { topic, partitions, replicas, configs, check, version }
        }
        3 => Op::Delete { topic, version: dice.version(ApiKey::DeleteTopics, 0) },
        4 => {
            let count = dice.mostly(&[3, 4, 1, 2, 0, -1]);
            Op::Grow { topic, count, check, version: dice.version(ApiKey::CreatePartitions, 0) }
        }
        5..=7 => {
            let (key, value) = config(dice);
            let operation = dice.mostly(&[0, 1, 2, 3]);
            let value = (operation != 1 || dice.chance(20)).then_some(value);
            let version = dice.version(ApiKey::IncrementalAlterConfigs, 0);
            Op::Alter { topic, key, operation, value, check, version }
        }
        8 => {
            let keys: Vec<&str> = CONFIGS.iter().map(|(key, _)| *key).collect();
            Op::Configs { topic, keys: dice.texts(&keys), version: dice.version(ApiKey::DescribeConfigs, 0) }
        }
        9 | 10 => {
            let topics = (0..=dice.below(2)).map(|_| dice.topic()).collect();
            Op::Metadata { topics, version: dice.version(ApiKey::Metadata, 4) }
        }
        _ => {
            let topics = (0..=dice.below(2)).map(|_| dice.topic()).collect();
            Op::Partitions { topics, limit: dice.mostly(&[2000, 1, 2, 3, 0]) }
        }
    }
}

fn batch(dice: &mut Dice) -> Batch {
    let producer = dice.chance(60).then(|| Sequenced {
        producer: dice.one(&[0, 0, 1]),
        sequence: dice.mostly(&[0, 0, -1, 1, -2, 5]),
        epoch: dice.mostly(&[0, 0, 0, 0, -1, 1]),
    });
    Batch {
        count: dice.mostly(&[1, 2, 3, 5]),
        size: dice.mostly(&[20, 0, 100, 900]),
        keys: dice.chance(85),
        codec: dice.mostly(&["none", "gzip", "snappy", "lz4", "zstd"]).to_owned(),
        time: dice.mostly(&[0, 0, 1000, -500, 100_000_000_000_000]),
        producer,
    }
}

fn of_records(dice: &mut Dice) -> Op {
    let (topic, partition) = (dice.topic(), dice.partition());
    let committed = dice.chance(20);
    match dice.below(20) {
        0..=6 => {
            let (acks, batch) = (dice.mostly(&[-1, 1, 0, 2]), batch(dice));
            Op::Produce { topic, partition, acks, batch, version: dice.version(ApiKey::Produce, 3) }
        }
        7..=9 => {
            let count = 1 + dice.below(3);
            let partitions =
                (0..count).map(|_| (dice.partition(), dice.one(&[0, 0, 1, 2, 3, 5, 8, -1, 100]))).collect();
            let max_bytes = dice.mostly(&[1 << 20, 1, 200, 0]);
            Op::Fetch { topic, partitions, max_bytes, committed, version: dice.version(ApiKey::Fetch, 4) }
        }
        10 => {
            let (offset, min_bytes) = (dice.one(&[0, 1, 2, 3, 5, 8]), dice.one(&[1, 1, 500]));
            Op::LongPoll { topic, partition, offset, min_bytes }
        }
        11 | 12 => {
            let epoch = dice.mostly(&[
                SessionEpoch::Next,
                SessionEpoch::Open,
                SessionEpoch::Again,
                SessionEpoch::Skip,
                SessionEpoch::Close,
            ]);
            let add = (0..dice.below(3))
                .map(|_| (dice.topic(), dice.partition(), dice.one(&[0, 1, 2, 3, 5])))
                .collect();
            let forget = (0..dice.below(2)).map(|_| (dice.topic(), dice.partition())).collect();
            Op::Session { add, forget, epoch, version: dice.version(ApiKey::Fetch, 7) }
        }
        13..=15 => {
            let timestamp = dice.one(&[-1, -2, -3, -4, -5, -6, -7, 0, 1_700_000_000_000, 1_700_000_000_900]);
            let version = dice.version(ApiKey::ListOffsets, 1);
            Op::Offsets { topic, partition, timestamp, committed: committed && version >= 2, version }
        }
        16 => {
            let offset = dice.one(&[-1, 0, 1, 2, 4, 50, -2]);
            Op::DeleteRecords { topic, partition, offset, version: dice.version(ApiKey::DeleteRecords, 0) }
        }
        17 => {
            let (current, wanted) = (dice.mostly(&[-1, 0, 1]), dice.mostly(&[0, 1, -1]));
            let version = dice.version(ApiKey::OffsetForLeaderEpoch, 2);
            Op::Epochs { topic, partition, current, wanted, version }
        }
        _ => {
            let (producer, version) = (dice.one(&[0, 1]), dice.version(ApiKey::InitProducerId, 0));
            Op::InitProducer { producer, goes_on: version >= 3 && dice.chance(30), version }
        }
    }
}

fn of_groups(dice: &mut Dice) -> Op {
    let (group, member) = (dice.mostly(&[0, 0, 1]), dice.one(&[0, 0, 1]));
    let generation = dice.mostly(&[0, 0, 0, -1, 1]);
    match dice.below(20) {
        0..=4 => {
            let version = dice.version(ApiKey::JoinGroup, 0);
            let protocols = dice.mostly(&[
                &["range", "roundrobin"][..],
                &["range"],
                &["roundrobin", "range"],
                &["sticky"],
                &[],
            ]);
            let protocols = protocols.iter().map(|name| (*name).to_owned()).collect();
            let session_timeout_ms = dice.mostly(&[45_000, 45_000, 45_000, 45_000, 1, 9_999_999]);
            let named = version >= 5 && dice.chance(25);
            let reads = dice.chance(35).then(|| dice.mostly(&[&[0_u8][..], &[0, 8], &[]]).to_vec());
            Op::Join { group, member, named, protocols, reads, session_timeout_ms, version }
        }
        5..=8 => Op::Sync { group, member, generation, version: dice.version(ApiKey::SyncGroup, 0) },
        9 | 10 => Op::Beat { group, member, generation, version: dice.version(ApiKey::Heartbeat, 0) },
        11 => {
            let version = dice.version(ApiKey::LeaveGroup, 0);
            Op::Leave { group, member, by_instance: version >= 3 && dice.chance(30), version }
        }
        12..=14 => {
            let version = dice.version(ApiKey::OffsetCommit, 2);
            let metadata = dice.mostly(&[Some("m".to_owned()), None, Some("x".repeat(5000))]);
            let (topic, partition, offset) = (dice.topic(), dice.partition(), dice.one(&[0, 3, 7, -1]));
            let member = dice.one(&[None, Some(member), Some(member)]);
            Op::Commit { group, member, generation, topic, partition, offset, metadata, version }
        }
        15 | 16 => {
            let version = dice.version(ApiKey::OffsetFetch, 1);
            let topic = if version >= 2 { dice.one(&[None, Some(0), Some(1), Some(8)]) } else { Some(0) };
            Op::Committed { group, topic, stable: version >= 7 && dice.chance(20), version }
        }
        17 => {
            let groups = (0..=dice.below(2)).map(|_| dice.one(&[0, 1, 2])).collect();
            Op::Groups { groups, version: dice.version(ApiKey::DescribeGroups, 0) }
        }
        18 => {
            let version = dice.version(ApiKey::ListGroups, 0);
            let states = if version >= 4 {
                dice.texts(&["Stable", "Empty", "PreparingRebalance"])
            } else {
                Vec::new()
            };
            Op::ListGroups { states, version }
        }
        _ => {
            let groups = (0..=dice.below(2)).map(|_| dice.one(&[0, 1, 2])).collect();
            Op::DeleteGroups { groups, version: dice.version(ApiKey::DeleteGroups, 0) }
        }
    }
}

/// An id that no server gives out.
pub(super) const NOBODY: Uuid = Uuid::from_parts(9, 9);
