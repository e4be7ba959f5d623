//! The journal of the flusher's directory: when it is made, what is in it, and when a half of it is free again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_storage::dir::{Committed, Journal, LogDir};
use ottla_storage::log::JournalTicket;
use tracing::{debug, warn};

use crate::partition::Partition;
use crate::random;

/// So many small appends have to be synced in place before the journal is made: nodes that do not need it have none.
const WANTED_AFTER: u32 = 256;
/// When so much of a partition is in the journal alone, it is made durable in place, which nobody waits for. Else all of it would have to
/// be when the half is full, and what is committed meanwhile would wait for the disk.
const PLACED_BYTES: u64 = 1024 * 1024;
/// At most this part of a half: of a small journal.
const PLACED_PART: u64 = 4;
/// Of those that so many partitions wait with at once …
const WIDE: usize = 3;
/// … each counts as so many.
const WIDE_WEIGHT: u32 = 16;

/// The journal, as soon as there is one.
#[derive(Debug)]
pub(super) struct SharedJournal {
    half_bytes: u64,
    missed: AtomicU32,
    is_ready: AtomicBool,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    journal: Journal,
    /// Partitions with bytes in the half that is being written, by address.
    touched: HashMap<usize, Touched>,
}

impl Open {
    /// Takes in what was committed; the partitions that should be in place soon.
    fn note(
        &mut self,
        partitions: &[Arc<Partition>],
        tickets: &[JournalTicket],
        placed_bytes: u64,
    ) -> Vec<Arc<Partition>> {
        let mut placing = Vec::new();
        for (partition, ticket) in partitions.iter().zip(tickets) {
            let new = || Touched { partition: Arc::clone(partition), bytes: 0 };
            let touched = self.touched.entry(Arc::as_ptr(partition).addr()).or_insert_with(new);
            touched.bytes += u64::from(ticket.bytes());
            if touched.bytes >= placed_bytes {
                touched.bytes = 0;
                placing.push(Arc::clone(partition));
            }
        }
        placing
    }
}

/// A partition with bytes in the half.
#[derive(Debug)]
struct Touched {
    partition: Arc<Partition>,
    /// Committed since it was last asked to be in place.
    bytes: u64,
}

/// What is to be made durable in place.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    /// These next, then [`SharedJournal::retired`] is due.
    pub(super) retiring: Option<Vec<Arc<Partition>>>,
    /// These soon.
    pub(super) placing: Vec<Arc<Partition>>,
}

/// What became of a group.
pub(super) enum Group {
    /// It is safe.
    Safe(Unplaced),
    /// There is no room at the moment.
    Full,
}

impl SharedJournal {
    /// `bytes` as configured; with 0 there is never one.
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            half_bytes: bytes / 2,
            missed: AtomicU32::new(0),
            is_ready: AtomicBool::new(false),
            open: Mutex::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// A small append waits for a sync, and so many partitions do. Whether it is time to [`SharedJournal::make`] the journal; true once.
    pub(super) fn is_wanted(&self, waiting: usize) -> bool {
        if self.half_bytes == 0 || self.missed.load(Ordering::Relaxed) >= WANTED_AFTER {
            return false;
        }
        let weight = if waiting >= WIDE { WIDE_WEIGHT } else { 1 };
        let before = self.missed.fetch_add(weight, Ordering::Relaxed);
        before < WANTED_AFTER && before + weight >= WANTED_AFTER
    }

    /// Makes the files. Slow; without them everything goes on as before.
    pub(super) fn make(&self, dir: &LogDir) {
        let run = random::uuid();
        match Journal::create(dir.fs().as_ref(), dir.path(), self.half_bytes, run) {
            Ok(journal) => {
                *self.lock() = Some(Open { journal, touched: HashMap::new() });
                self.is_ready.store(true, Ordering::Release);
                debug!(dir = %dir.path().display(), "made the journal");
            }
            Err(error) => {
                warn!(dir = %dir.path().display(), "no journal, so that each partition is synced by itself: {error}");
            }
        }
    }

    /// Makes a group safe.
    pub(super) fn commit(
        &self,
        partitions: &[Arc<Partition>],
        tickets: &[JournalTicket],
    ) -> std::io::Result<Group> {
        let mut guard = self.lock();
        let Some(open) = guard.as_mut() else { return Ok(Group::Full) };
        let retiring = match open.journal.commit(tickets)? {
            Committed::Full => return Ok(Group::Full),
            Committed::Safe => None,
            Committed::Turned => Some(
                std::mem::take(&mut open.touched).into_values().map(|touched| touched.partition).collect(),
            ),
        };
        let placing = open.note(partitions, tickets, PLACED_BYTES.min(self.half_bytes / PLACED_PART));
        Ok(Group::Safe(Unplaced { retiring, placing }))
    }

    /// Has what a name stands for forgotten; where there is no journal nothing knows it.
    pub(super) fn forget(&self, ticket: JournalTicket) -> std::io::Result<Group> {
        if self.is_ready() { self.commit(&[], &[ticket]) } else { Ok(Group::Safe(Unplaced::default())) }
    }

    /// Everything that was committed before the half was turned is durable in place.
    pub(super) fn retired(&self) {
        if let Some(open) = self.lock().as_mut() {
            open.journal.retired();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
