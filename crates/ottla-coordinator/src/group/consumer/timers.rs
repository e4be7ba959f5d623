//! The timers of members of consumer groups. They belong to the shard, not to the groups: what is in a group comes from the
//! log, and a timer does not.

use std::collections::BTreeMap;

use crate::group::deadline::{Deadline, Fired};
use crate::group::effect::{Effect, GroupId, MemberId, TimerKey};

/// What a member is expected to do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// To be heard of.
    Session,
    /// To give up the partitions that it was told to.
    Rebalance,
    /// Of a member that speaks the classic protocol: to join again.
    Join,
    /// Of a member that speaks the classic protocol: to fetch its assignment.
    Sync,
}

impl Wait {
    /// The name in traces.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Rebalance => "rebalance",
            Self::Join => "rejoin",
            Self::Sync => "resync",
        }
    }
}

/// What becomes of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    /// It is set. The epoch counts for [`Wait::Rebalance`]: a member that left it is not late.
    At { at_ms: i64, epoch: i32 },
    /// It is set if it is not.
    IfAbsent { at_ms: i64 },
    /// It is not needed any more.
    Cancelled,
}

/// One member's deadline.
#[derive(Clone, Copy, Debug, Default)]
struct Timer {
    deadline: Deadline,
    epoch: i32,
}

/// The deadlines of a shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerTimers(BTreeMap<(GroupId, MemberId, Wait), Timer>);

impl ConsumerTimers {
    /// Sets or cancels a timer; adds what the runtime must do for it.
    pub(crate) fn apply(
        &mut self,
        group: &GroupId,
        member: &MemberId,
        wait: Wait,
        timed: Timed,
        effects: &mut Vec<Effect>,
    ) {
        let place = (GroupId::clone(group), MemberId::clone(member), wait);
        let key = TimerKey::Consumer { group: GroupId::clone(group), member: MemberId::clone(member), wait };
        let (at_ms, epoch) = match timed {
            Timed::Cancelled => {
                if self.0.remove(&place).is_some_and(|mut timer| timer.deadline.clear()) {
                    effects.push(Effect::Cancel { key });
                }
                return;
            }
            Timed::IfAbsent { .. } if self.0.contains_key(&place) => return,
            Timed::IfAbsent { at_ms } => (at_ms, 0),
            Timed::At { at_ms, epoch } => (at_ms, epoch),
        };
        let timer = self.0.entry(place).or_default();
        timer.epoch = epoch;
        if let Some(at_ms) = timer.deadline.set(at_ms) {
            effects.push(Effect::Schedule { key, at_ms });
        }
    }

    /// A timer fired: the epoch that it was set with if it is due, else when it must be set again, if at all.
    pub(crate) fn fire(
        &mut self,
        now_ms: i64,
        group: &GroupId,
        member: &MemberId,
        wait: Wait,
    ) -> Result<i32, Option<i64>> {
        let place = (GroupId::clone(group), MemberId::clone(member), wait);
        let Some(timer) = self.0.get_mut(&place) else { return Err(None) };
        match timer.deadline.fire(now_ms) {
            Fired::Due => {
                let epoch = timer.epoch;
                self.0.remove(&place);
                Ok(epoch)
            }
            Fired::Stale => {
                self.0.remove(&place);
                Err(None)
            }
            Fired::Later(at_ms) => Err(Some(at_ms)),
        }
    }
}
