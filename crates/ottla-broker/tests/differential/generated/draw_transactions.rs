//! Steps about transactions, drawn.

use ottla_protocol::messages::ApiKey;

use super::dice::Dice;
use super::transactions::{Claim, TxnOp};

fn claim(dice: &mut Dice) -> Claim {
    if dice.chance(80) {
        return Claim::Right;
    }
    dice.one(&[
        Claim::Before,
        Claim::Before,
        Claim::Epoch(-1),
        Claim::Epoch(1),
        Claim::Epoch(1),
        Claim::Epoch(3),
        Claim::Nobody,
        Claim::Of(0),
        Claim::Of(1),
    ])
}

fn txn(dice: &mut Dice) -> u8 {
    dice.mostly(&[0, 0, 0, 1, 1, 1, 8, 9])
}

fn txns(dice: &mut Dice) -> Vec<u8> {
    (0..=dice.below(3)).map(|_| dice.one(&[0, 1, 0, 1, 8, 9])).collect()
}

fn partitions(dice: &mut Dice) -> Vec<i32> {
    (0..=dice.below(2)).map(|_| dice.partition()).collect()
}

const STATES: &[&str] =
    &["Ongoing", "Empty", "CompleteCommit", "CompleteAbort", "PrepareCommit", "Dead", "ongoing"];

/// Producers keep to one of the two generations of requests most of the time: half of all transactional ids to each.
fn version(dice: &mut Dice, txn: u8, key: ApiKey, lowest: i16, newer: i16) -> i16 {
    if dice.chance(15) {
        return dice.version(key, lowest);
    }
    let highest = key.stable_versions().expect("served").high;
    if txn == 0 {
        newer.max(lowest)
            + i16::try_from(dice.below(usize::try_from(highest - newer + 1).expect("a range")))
                .expect("small")
    } else {
        newer - 1
    }
}

/// A producer's first request.
pub(super) fn begin(dice: &mut Dice, txn: u8) -> TxnOp {
    let version = version(dice, txn, ApiKey::InitProducerId, 0, 5);
    TxnOp::Init { txn, goes_on: None, timeout_ms: 60_000, version }
}

pub(super) fn draw(dice: &mut Dice) -> TxnOp {
    let (id, claim, topic) = (txn(dice), claim(dice), dice.mostly(&[0, 1, 0, 1, 8, 9]));
    let group = dice.mostly(&[0, 0, 1]);
    match dice.below(32) {
        0..=3 => {
            let goes_on = dice.chance(30).then_some(claim);
            let timeout_ms = dice.mostly(&[60_000, 60_000, 900_000, 0, -1, 900_001]);
            TxnOp::Init {
                txn: id,
                goes_on,
                timeout_ms,
                version: version(dice, id, ApiKey::InitProducerId, 0, 5),
            }
        }
        4..=7 => {
            let version = dice.one(&[0, 2, 3, 3, 3, 3]);
            TxnOp::Add { txn: id, claim, topic, partitions: partitions(dice), version }
        }
        8 => {
            let verify = dice.chance(50);
            let version = dice.version(ApiKey::AddPartitionsToTxn, 4);
            // Each once: the second addition would find the first under way, or not.
            let mut txns = txns(dice);
            txns.sort_unstable();
            txns.dedup();
            TxnOp::AddFor { txns, claim, topic, partitions: partitions(dice), verify, version }
        }
        9 => TxnOp::AddGroup { txn: id, claim, group, version: dice.version(ApiKey::AddOffsetsToTxn, 0) },
        10..=12 => {
            let member = dice.one(&[None, None, None, Some(0), Some(1)]);
            let offsets = (0..=dice.below(2)).map(|_| (dice.partition(), dice.one(&[0, 3, 7]))).collect();
            let version = version(dice, id, ApiKey::TxnOffsetCommit, 0, 5);
            TxnOp::Commit { txn: id, claim, group, member, topic, offsets, version }
        }
        13..=21 => TxnOp::Produce {
            txn: id,
            claim,
            topic,
            partition: dice.partition(),
            sequence: dice.mostly(&[0, 0, 0, 0, -1, 1, 5]),
            count: dice.one(&[1, 1, 2, 3]),
            transactional: dice.chance(93),
            named: dice.chance(95),
            version: version(dice, id, ApiKey::Produce, 3, 12),
        },
        22..=26 => TxnOp::End {
            txn: id,
            claim,
            commit: dice.chance(50),
            version: version(dice, id, ApiKey::EndTxn, 0, 5),
        },
        27 | 28 => TxnOp::Describe { txns: txns(dice) },
        29 => {
            let producers = (0..dice.below(2)).map(|_| dice.one(&[0, 1, 8])).collect();
            let pattern =
                dice.mostly(&[None, Some("~-txn-[01]"), Some("~-txn-1.*"), Some("txn"), Some("["), Some("")]);
            TxnOp::List {
                states: dice.texts(STATES),
                producers,
                duration_ms: dice.mostly(&[-1, -1, 10_000_000, -2]),
                pattern: pattern.map(str::to_owned),
                version: dice.version(ApiKey::ListTransactions, 0),
            }
        }
        _ => TxnOp::Producers { topic, partitions: partitions(dice) },
    }
}
