//! Group commit: the threads of a log directory make what was appended durable.
//!
//! Appends queue their partition at a [gate](Gate), which opens for all that have come as soon as a client can do nothing before it is answered, and
//! else a little later. A thread takes a partition, syncs it, and moves its high watermark, while the next group
//! forms. Partitions that wait with little each are taken together and go through the [journal](SharedJournal) with one write; else
//! partitions are synced side by side, since the kernel and the disk then need one flush for several of them. Of one
//! partition there is never more than one under way. A failed sync takes the log offline for good: it is never tried again.

mod gate;
mod group;
mod herald;
mod journal;
mod queue;
#[cfg(test)]
mod tests;
mod turn;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ottla_storage::dir::LogDir;
use tracing::error;

pub(crate) use self::gate::Pressing;
use self::herald::Herald;
use self::journal::SharedJournal;
use self::queue::{Queue, Work};
pub(crate) use self::turn::FlushTurn;
use crate::clock;
use crate::metrics::{Latencies, Latency};
use crate::partition::Partition;
use crate::waiter::{Pipeline, Waiter, settle_after_flush, wake_all};

/// Syncs under way at once in one log directory. They mostly wait; see `docs/performance.md` for what fewer cost.
const MAX_THREADS: usize = 16;

/// The queue of one log directory, and its threads, which come when there is work for them.
pub(crate) struct Flusher {
    name: String,
    dir: Arc<LogDir>,
    queue: Mutex<Queue>,
    /// Wakes a thread that has nothing to do.
    changed: Condvar,
    /// Wakes the thread that looks after the gate.
    opened: Condvar,
    journal: SharedJournal,
    herald: Herald,
    latencies: Latencies,
}

/// A flush that is over.
#[derive(Clone, Copy, Debug, Default)]
struct Flushed {
    /// How long the disk took; `None` where it was not asked.
    took: Option<Duration>,
    /// Clients that could do nothing before and were answered.
    released: usize,
}

impl Flusher {
    /// `name` is that of its threads, with their number behind it. `journal_bytes`: `ottla.journal.bytes`.
    pub(crate) fn new(name: String, dir: Arc<LogDir>, journal_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            dir,
            queue: Mutex::default(),
            changed: Condvar::new(),
            opened: Condvar::new(),
            journal: SharedJournal::new(journal_bytes),
            herald: Herald::new(),
            latencies: Latencies::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a partition whose turn was requested. `is_small`: it may go through the journal.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        partition: Arc<Partition>,
        is_small: bool,
        pressing: Pressing<'_>,
    ) {
        let now = Instant::now();
        let mut queue = self.lock();
        self.push(&mut queue, partition, is_small, pressing, now);
        self.call(&mut queue, now);
    }

    fn push(
        self: &Arc<Self>,
        queue: &mut Queue,
        partition: Arc<Partition>,
        is_small: bool,
        pressing: Pressing<'_>,
        now: Instant,
    ) {
        let is_for_journal = is_small && self.journal.is_ready();
        queue.push(partition, is_for_journal);
        queue.gate.come(pressing, now);
        if is_small && !is_for_journal && self.journal.is_wanted(queue.singles()) {
            let making = Arc::clone(self);
            let thread = std::thread::Builder::new().name(format!("{}-journal", self.name));
            queue.threads.extend(thread.spawn(move || making.journal.make(&making.dir)));
        }
    }

    /// A client can do nothing before something that is queued is flushed: a connection with a full pipeline, or anybody else.
    pub(crate) fn press(self: &Arc<Self>, pipeline: Option<&Arc<Pipeline>>) {
        let now = Instant::now();
        let mut queue = self.lock();
        queue.gate.press(pipeline);
        self.call(&mut queue, now);
    }

    /// Sees to it that a thread comes for what can be done, or looks after the gate.
    fn call(self: &Arc<Self>, queue: &mut Queue, now: Instant) {
        let work = queue.work(now);
        let is_kept = |time| queue.keeper.is_some_and(|keeper| keeper <= time);
        if work == 0 && (!queue.has_pending() || queue.gate.look_at(now).is_none_or(is_kept)) {
            return;
        }
        if queue.keeper.take().is_some() {
            self.opened.notify_one();
        } else if work.max(1) <= queue.idle {
            self.changed.notify_one();
        } else {
            self.start_thread(queue);
        }
    }

    fn start_thread(self: &Arc<Self>, queue: &mut Queue) {
        if queue.threads.len() >= MAX_THREADS {
            return;
        }
        let running = Arc::clone(self);
        let thread = std::thread::Builder::new().name(format!("{}-{}", self.name, queue.threads.len()));
        match thread.spawn(move || running.run()) {
            Ok(thread) => queue.threads.push(thread),
            // Those that are there do the work.
            Err(error) => {
                assert!(!queue.threads.is_empty(), "the operating system gives no thread: {error}");
            }
        }
    }

    /// How long syncs took.
    pub(crate) fn latency(&self) -> Latency {
        self.latencies.read()
    }

    /// Works off the queue and ends the threads.
    pub(crate) fn close(&self) {
        loop {
            let mut queue = self.lock();
            queue.is_closed = true;
            let threads = std::mem::take(&mut queue.threads);
            drop(queue);
            self.changed.notify_all();
            self.opened.notify_all();
            if threads.is_empty() {
                return;
            }
            for thread in threads {
                if thread.join().is_err() {
                    error!("a flusher thread panicked");
                }
            }
        }
    }

    /// A thread's body: returns after [`Flusher::close`].
    fn run(self: &Arc<Self>) {
        while let Some(work) = self.next() {
            match work {
                Work::Single(partition, had_time) => self.flush_single(partition, had_time),
                Work::Group(partitions, had_time) => self.flush_group(partitions, had_time),
                Work::Retire(partitions) => self.retire(&partitions),
                Work::Place(partition) => {
                    self.flush(&partition, false);
                    self.lock().end_placing();
                }
            }
        }
    }

    fn next(self: &Arc<Self>) -> Option<Work> {
        let mut now = Instant::now();
        let mut queue = self.lock();
        loop {
            if let Some(work) = queue.take(now) {
                self.call(&mut queue, now);
                return Some(work);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.wait(queue, now);
            now = Instant::now();
        }
    }

    /// Waits until there may be work; one of the threads looks after the gate.
    fn wait<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, now: Instant) -> MutexGuard<'a, Queue> {
        queue.idle += 1;
        // Even if nothing waits yet: what comes next need not wake anybody before it is time.
        let look_at = queue.gate.look_at(now).filter(|time| queue.keeper.is_none_or(|keeper| *time < keeper));
        match look_at {
            Some(time) => {
                queue.keeper = Some(time);
                let waited = self.opened.wait_timeout(queue, time.saturating_duration_since(now));
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                if queue.keeper == Some(time) {
                    queue.keeper = None;
                }
            }
            None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
        }
        queue.idle -= 1;
        queue
    }

    fn flush_single(self: &Arc<Self>, partition: Arc<Partition>, had_time: bool) {
        partition.flush_turn().begin();
        let flushed = self.flush(&partition, had_time).unwrap_or_default();
        self.end(flushed, [partition]);
    }

    /// A flush of some partitions is over. What they were asked for meanwhile is queued after the gate knows of it, and
    /// this thread is the one to come back for it.
    fn end(self: &Arc<Self>, flushed: Flushed, partitions: impl IntoIterator<Item = Arc<Partition>>) {
        let now = Instant::now();
        self.lock().gate.end(now, flushed.took, flushed.released);
        for partition in partitions {
            let Some((home, is_small, pressing)) = partition.end_flush() else { continue };
            let pressing = Pressing::Others(pressing);
            if Arc::ptr_eq(&home, self) {
                self.push(&mut self.lock(), partition, is_small, pressing, now);
            } else {
                home.enqueue(partition, is_small, pressing);
            }
        }
    }

    /// Makes durable in place what half of the journal has, so that it can be used again.
    fn retire(&self, partitions: &[Arc<Partition>]) {
        for partition in partitions {
            // Replicas that are out for a moment come back, here or in another directory.
            while self.flush(partition, false).is_none() && self.dir.is_online() {
                partition.with(|_| ());
            }
        }
        if self.dir.is_online() {
            self.journal.retired();
        }
    }

    /// Makes a partition durable in place, if it is here; `None` if it is out for a moment.
    fn flush(&self, partition: &Arc<Partition>, had_time: bool) -> Option<Flushed> {
        // A ticket writes by path: the directory must keep its name until it is done.
        let home = partition.dir();
        let _names = home.hold_names();
        if !Arc::ptr_eq(&home, &partition.dir()) {
            // It has just moved, to where another flusher is at home.
            partition.queue_flush();
            return Some(Flushed::default());
        }
        let mut flushed = Flushed::default();
        let begun = partition.with_unless_away(|replica| replica.begin_flush(clock::now_ms()));
        let released = match begun {
            None => return partition.is_closed().then_some(flushed),
            Some(Ok(Some(ticket))) => {
                let begin = Instant::now();
                let outcome = ticket.sync(self.dir.fs().as_ref());
                let took = begin.elapsed();
                self.latencies.record(took);
                flushed.took = Some(took);
                if let Some(failure) = outcome.failure() {
                    // Now, since a replica that is out for a moment does not take the outcome in.
                    home.fail(failure);
                }
                partition.with_unless_away(|replica| replica.complete_flush(outcome))
            }
            // Nothing left to sync; the high watermark may still have to move.
            Some(Ok(None)) => partition.with_unless_away(|replica| Ok(replica.advance())),
            Some(Err(failure)) => Some(Err(failure)),
        };
        match released {
            None => {}
            Some(Ok(mut released)) => {
                flushed.released = settle_after_flush(&mut released, had_time);
                self.herald.announce(released);
            }
            Some(Err((failure, released))) => {
                let offline = partition.dir().failed(&failure);
                Self::tell_failure(partition, &offline, released);
            }
        }
        Some(flushed)
    }

    fn tell_failure(partition: &Partition, failure: &dyn fmt::Display, released: Vec<Waiter>) {
        error!(partition = %partition.id, "{failure}; its partitions take no more writes until the broker is restarted");
        wake_all(released);
    }
}

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flusher({} queued)", self.lock().len())
    }
}
