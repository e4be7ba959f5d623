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
    touched: HashMap<usize, Arc<Partition>>,
}

/// What became of a group.
pub(super) enum Group {
    /// It is safe. If partitions are given, they have to be durable in place next, then [`SharedJournal::retired`] is due.
    Safe(Option<Vec<Arc<Partition>>>),
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
        let mut open = self.lock();
        let Some(Open { journal, touched }) = open.as_mut() else { return Ok(Group::Full) };
        let before = match journal.commit(tickets)? {
            Committed::Full => return Ok(Group::Full),
            Committed::Safe => None,
            Committed::Turned => Some(std::mem::take(touched).into_values().collect()),
        };
        for partition in partitions {
            touched.entry(Arc::as_ptr(partition).addr()).or_insert_with(|| Arc::clone(partition));
        }
        Ok(Group::Safe(before))
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
