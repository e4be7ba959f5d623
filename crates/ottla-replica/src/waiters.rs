//! Who waits: acknowledgements for an offset, readers for anything new.

use std::collections::{BTreeMap, VecDeque};

use ottla_types::Offset;

/// Names a parked reader, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReaderKey(u64);

#[derive(Debug)]
pub(crate) struct Waiters<W> {
    /// Ascending by required offset: appends are parked in their order.
    acks: VecDeque<(Offset, W)>,
    readers: BTreeMap<ReaderKey, W>,
    next_reader: u64,
}

impl<W> Waiters<W> {
    pub(crate) fn new() -> Self {
        Self { acks: VecDeque::new(), readers: BTreeMap::new(), next_reader: 0 }
    }

    pub(crate) fn park_ack(&mut self, required: Offset, waiter: W) {
        let at = self.acks.partition_point(|(offset, _)| *offset <= required);
        self.acks.insert(at, (required, waiter));
    }

    pub(crate) fn park_reader(&mut self, waiter: W) -> ReaderKey {
        let key = ReaderKey(self.next_reader);
        self.next_reader += 1;
        self.readers.insert(key, waiter);
        key
    }

    pub(crate) fn unpark_reader(&mut self, key: ReaderKey) -> Option<W> {
        self.readers.remove(&key)
    }

    /// All readers, and the acknowledgements that need no more than `reached`.
    pub(crate) fn release(&mut self, reached: Offset) -> Vec<W> {
        let count = self.acks.partition_point(|(required, _)| *required <= reached);
        let mut released: Vec<W> = self.acks.drain(..count).map(|(_, waiter)| waiter).collect();
        released.extend(std::mem::take(&mut self.readers).into_values());
        released
    }

    pub(crate) fn release_all(&mut self) -> Vec<W> {
        self.release(Offset::MAX)
    }

    pub(crate) fn acks(&self) -> impl Iterator<Item = &W> {
        self.acks.iter().map(|(_, waiter)| waiter)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.readers.is_empty()
    }
}
