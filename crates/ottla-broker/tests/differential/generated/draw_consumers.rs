//! Steps about consumer groups, drawn.
//!
//! The ids of topics are random, and which of several topics comes first in an assignment depends on them. So the members of
//! group 0 read one topic, by any assignor, and those of group 1 read several, each topic assigned for itself (`range`).

use ottla_protocol::messages::ApiKey;

use super::consumers::{ConsumerOp, Owns, Reads};
use super::dice::Dice;
use super::ops::Op;

fn group(dice: &mut Dice) -> u8 {
    dice.mostly(&[0, 0, 1])
}

fn member(dice: &mut Dice) -> u8 {
    dice.one(&[0, 0, 0, 1, 1, 1, 2])
}

fn reads(dice: &mut Dice, group: u8) -> Reads {
    let topics: Option<&[u8]> = if group == 0 {
        dice.mostly(&[Some(&[0][..]), Some(&[0, 8]), Some(&[8]), Some(&[]), Some(&[0, 0]), None])
    } else {
        dice.mostly(&[Some(&[0, 1][..]), Some(&[1]), Some(&[0]), Some(&[1, 2, 8]), Some(&[]), None])
    };
    let regex = dice.chance(20).then(|| {
        if group == 0 {
            dice.one(&["~-topic-0", "~-top.*-0", "~-topic-[08]", "~-none.*", "(", "", "(~-topic-0"])
        } else {
            dice.one(&["~-topic-[01]", "~-topic.*", "~-topic-(1|2)", "topic", "[", ""])
        }
    });
    Reads { topics: topics.map(<[u8]>::to_vec), regex: regex.map(str::to_owned) }
}

fn assignor(dice: &mut Dice, group: u8) -> Option<String> {
    let name = if group == 0 {
        dice.mostly(&[None, Some("uniform"), Some("range"), Some("best")])
    } else {
        dice.mostly(&[Some("range"), Some("range"), Some("range"), Some("")])
    };
    name.map(str::to_owned)
}

fn epoch(dice: &mut Dice) -> i32 {
    if dice.chance(85) { 0 } else { dice.one(&[-1, 1, -1, 1, 5, -7]) }
}

fn version(dice: &mut Dice) -> i16 {
    dice.version(ApiKey::ConsumerGroupHeartbeat, 0)
}

/// A member's first request.
pub(super) fn begin(dice: &mut Dice, member: u8) -> Op {
    Op::Consumer(ConsumerOp::Join {
        group: 0,
        member,
        instance: dice.chance(20).then_some(member),
        reads: Reads { topics: Some(vec![0]), regex: None },
        rebalance_timeout_ms: 45_000,
        assignor: dice.mostly(&[None, Some("range"), Some("uniform")]).map(str::to_owned),
        version: version(dice),
    })
}

pub(super) fn draw(dice: &mut Dice) -> Op {
    let (group, member) = (group(dice), member(dice));
    Op::Consumer(match dice.below(32) {
        0..=5 => {
            let instance = dice.chance(25).then(|| dice.one(&[0, 0, 1]));
            let rebalance_timeout_ms =
                if dice.chance(92) { 45_000 } else { dice.one(&[0, -1, -2, i32::MAX, i32::MIN, 1]) };
            let (reads, assignor) = (reads(dice, group), assignor(dice, group));
            let version = version(dice);
            ConsumerOp::Join { group, member, instance, reads, rebalance_timeout_ms, assignor, version }
        }
        6..=18 => {
            let owns = dice.one(&[
                Owns::Given,
                Owns::Given,
                Owns::Given,
                Owns::Given,
                Owns::Given,
                Owns::Given,
                Owns::Unsaid,
                Owns::Unsaid,
                Owns::Less,
                Owns::Nothing,
                Owns::Foreign,
            ]);
            let reads = dice.chance(15).then(|| reads(dice, group));
            let assignor = if dice.chance(10) { assignor(dice, group) } else { None };
            let rebalance_timeout_ms = if dice.chance(92) { -1 } else { dice.one(&[45_000, 0, -2, 30_000]) };
            let (epoch, version) = (epoch(dice), version(dice));
            ConsumerOp::Beat { group, member, epoch, owns, reads, assignor, rebalance_timeout_ms, version }
        }
        19 | 20 => ConsumerOp::Leave { group, member, away: dice.chance(40), version: version(dice) },
        21..=24 => {
            let groups = (0..=dice.below(2)).map(|_| dice.one(&[0, 1, 0, 2])).collect();
            ConsumerOp::Describe { groups, version: dice.version(ApiKey::ConsumerGroupDescribe, 0) }
        }
        25 => ConsumerOp::List {
            states: dice.texts(&["Stable", "Empty", "Assigning", "reconciling", "Dead", "What"]),
            types: dice.texts(&["consumer", "classic", "Share", "what"]),
        },
        26..=28 => {
            let (topic, partition) = (dice.topic(), dice.partition());
            let (epoch, offset) = (epoch(dice), dice.one(&[0, 3, 7]));
            let version = dice.version(ApiKey::OffsetCommit, 8);
            ConsumerOp::Commit { group, member, epoch, topic, partition, offset, version }
        }
        29 | 30 => {
            let topic = dice.one(&[None, Some(0), Some(1), Some(8)]);
            let (epoch, stable) = (epoch(dice), dice.chance(30));
            let version = dice.version(ApiKey::OffsetFetch, 9);
            ConsumerOp::Committed { group, member, epoch, topic, stable, version }
        }
        _ => ConsumerOp::Forget { group, topic: dice.topic(), partition: dice.partition() },
    })
}
