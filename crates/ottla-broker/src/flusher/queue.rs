//! What waits to be flushed in a log directory, and who waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::gate::{Gate, Opened};
use super::journal::Unplaced;
use crate::partition::Partition;

/// Most partitions in one entry of the journal.
const MAX_GROUP: usize = 256;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) gate: Gate,
    /// To be synced in place, each by itself.
    single: VecDeque<Arc<Partition>>,
    /// So many of them are through the gate.
    single_open: usize,
    /// To be taken together, by one thread.
    small: VecDeque<Arc<Partition>>,
    is_grouping: bool,
    had_time: bool,
    /// To be made durable in place, so that half of the journal is free again.
    retiring: Option<Vec<Arc<Partition>>>,
    /// To be made durable in place, one after the other, which nobody waits for.
    placing: VecDeque<Arc<Partition>>,
    is_placing: bool,
    /// Threads that wait for work, or were just told of some.
    pub(super) idle: usize,
    /// Until when one of them looks after the gate.
    pub(super) keeper: Option<Instant>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) is_closed: bool,
}

/// What a thread takes from the queue. `true`: clients had time to send more before.
pub(super) enum Work {
    Single(Arc<Partition>, bool),
    Group(Vec<Arc<Partition>>, bool),
    Retire(Vec<Arc<Partition>>),
    Place(Arc<Partition>),
}

impl Queue {
    /// Partitions that wait.
    pub(super) fn len(&self) -> usize {
        self.single.len() + self.small.len()
    }

    /// Those to be synced by themselves.
    pub(super) fn singles(&self) -> usize {
        self.single.len()
    }

    pub(super) fn push(&mut self, partition: Arc<Partition>, is_for_journal: bool) {
        if is_for_journal {
            self.small.push_back(partition);
        } else {
            self.single.push_back(partition);
        }
    }

    /// A group was made safe, except for these: they are synced by themselves, at once.
    pub(super) fn end_group(&mut self, others: Vec<Arc<Partition>>) {
        self.is_grouping = false;
        self.single_open += others.len();
        others.into_iter().for_each(|partition| self.single.push_front(partition));
    }

    /// Partitions that have to be durable in place next, and those that should be.
    pub(super) fn settle(&mut self, unplaced: Unplaced) {
        if let Some(partitions) = unplaced.retiring {
            self.retiring.get_or_insert_default().extend(partitions);
        }
        self.placing.extend(unplaced.placing);
    }

    /// A thread is done with what it took to be in place.
    pub(super) fn end_placing(&mut self) {
        self.is_placing = false;
    }

    fn may_place(&self) -> bool {
        !self.is_placing && !self.placing.is_empty()
    }

    fn may_group(&self) -> bool {
        !self.is_grouping && !self.small.is_empty()
    }

    fn is_open(&self, now: Instant) -> bool {
        self.is_closed || self.gate.is_open(now)
    }

    /// How many threads would find something to do.
    pub(super) fn work(&self, now: Instant) -> usize {
        let behind_gate = || self.single.len() + usize::from(self.may_group());
        let partitions = if self.is_open(now) { behind_gate() } else { self.single_open };
        partitions + usize::from(self.retiring.is_some()) + usize::from(self.may_place())
    }

    /// Whether anything waits at the gate.
    pub(super) fn has_pending(&self) -> bool {
        self.single.len() > self.single_open || self.may_group()
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<Work> {
        if self.single_open == 0 && self.has_pending() && self.is_open(now) {
            self.had_time =
                self.gate.begin(now, self.small.is_empty() || !self.is_grouping) == Opened::InTime;
            self.single_open = self.single.len();
            if self.may_group() {
                return Some(self.take_group());
            }
        }
        if self.single_open > 0 {
            self.single_open -= 1;
            return self.single.pop_front().map(|partition| Work::Single(partition, self.had_time));
        }
        if let Some(partitions) = self.retiring.take() {
            return Some(Work::Retire(partitions));
        }
        if !self.may_place() {
            return None;
        }
        self.is_placing = true;
        self.placing.pop_front().map(Work::Place)
    }

    fn take_group(&mut self) -> Work {
        self.is_grouping = true;
        let count = self.small.len().min(MAX_GROUP);
        Work::Group(self.small.drain(..count).collect(), self.had_time)
    }
}
