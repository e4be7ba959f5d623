//! Group commit: the threads of a log directory make what was appended durable.
//!
//! Appends queue their partition; a thread takes it, syncs it, and moves its high watermark, while the partition's next group
//! forms. Where several partitions wait with little each, they are taken together and go through the [journal](SharedJournal) with one sync; else
//! partitions are synced side by side, since the kernel and the disk then need one flush for several of them. Of one
//! partition there is never more than one under way. A failed sync takes the log offline for good: it is never tried again.

mod journal;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_storage::dir::LogDir;
use tracing::error;

use self::journal::{Group, SharedJournal};
pub(crate) use self::turn::FlushTurn;
use crate::clock;
use crate::metrics::{Latencies, Latency};
use crate::partition::Partition;
use crate::waiter::{Waiter, wake_all};

/// Syncs under way at once in one log directory. They mostly wait; see `docs/performance.md` for what fewer cost.
const MAX_THREADS: usize = 16;
/// Most partitions in one entry of the journal.
const MAX_GROUP: usize = 256;
/// Longest wait for as many acknowledgements as the last flush released.
const MAX_COMPANY_WAIT: Duration = Duration::from_micros(400);
/// Looks around during that wait.
const COMPANY_STEPS: u32 = 4;

/// The queue of one log directory, and its threads, which come when there is work for them.
pub(crate) struct Flusher {
    name: String,
    dir: Arc<LogDir>,
    queue: Mutex<Queue>,
    changed: Condvar,
    journal: SharedJournal,
    latencies: Latencies,
    /// How long the last sync in place took.
    last_sync_us: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// To be synced in place, each by itself.
    single: VecDeque<Arc<Partition>>,
    /// To be taken together, by one thread.
    small: VecDeque<Arc<Partition>>,
    is_grouping: bool,
    /// To be made durable in place, so that half of the journal is free again.
    retiring: Option<Vec<Arc<Partition>>>,
    /// Threads that wait for work, or were just told of some.
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
}

/// What a thread takes from the queue.
enum Work {
    Single(Arc<Partition>),
    Group(Vec<Arc<Partition>>),
    Retire(Vec<Arc<Partition>>),
}

impl Queue {
    fn take(&mut self) -> Option<Work> {
        if let Some(partition) = self.single.pop_front() {
            return Some(Work::Single(partition));
        }
        if !self.is_grouping {
            match self.small.len() {
                0 => {}
                1 => return self.small.pop_front().map(Work::Single),
                waiting => {
                    self.is_grouping = true;
                    return Some(Work::Group(self.small.drain(..waiting.min(MAX_GROUP)).collect()));
                }
            }
        }
        self.retiring.take().map(Work::Retire)
    }
}

impl Flusher {
    /// `name` is that of its threads, with their number behind it. `journal_bytes`: `ottla.journal.bytes`.
    pub(crate) fn new(name: String, dir: Arc<LogDir>, journal_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            dir,
            queue: Mutex::default(),
            changed: Condvar::new(),
            journal: SharedJournal::new(journal_bytes),
            latencies: Latencies::default(),
            last_sync_us: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a partition whose turn was requested. `is_small`: it may go through the journal.
    pub(crate) fn enqueue(self: &Arc<Self>, partition: Arc<Partition>, is_small: bool) {
        let mut queue = self.lock();
        if is_small && self.journal.is_ready() {
            queue.small.push_back(partition);
            // Who takes the first takes the others, too; who is at it comes back.
            if queue.small.len() == 1 && !queue.is_grouping {
                self.call(queue);
            }
            return;
        }
        queue.single.push_back(partition);
        if is_small && self.journal.is_wanted(queue.single.len()) {
            let making = Arc::clone(self);
            let thread = std::thread::Builder::new().name(format!("{}-journal", self.name));
            queue.threads.extend(thread.spawn(move || making.journal.make(&making.dir)));
        }
        self.call(queue);
    }

    /// Sees to it that a thread comes for what was queued last.
    fn call(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let groups = usize::from(!queue.small.is_empty() && !queue.is_grouping);
        if queue.single.len() + groups <= queue.idle {
            drop(queue);
            self.changed.notify_one();
        } else if queue.threads.len() < MAX_THREADS {
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
                Work::Single(partition) => self.flush_single(&partition),
                Work::Group(partitions) => self.flush_group(partitions),
                Work::Retire(partitions) => self.retire(&partitions),
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.lock();
        loop {
            if let Some(work) = queue.take() {
                return Some(work);
            }
            if queue.is_closed {
                return None;
            }
            queue.idle += 1;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    fn flush_single(&self, partition: &Arc<Partition>) {
        self.wait_for_company(partition);
        partition.flush_turn().begin();
        self.flush(partition);
        self.end_turn(partition);
    }

    fn end_turn(&self, partition: &Arc<Partition>) {
        if partition.flush_turn().end() {
            partition.enqueue_flush();
        }
    }

    /// Lets those come who were released by the last flush and send again: one sync for all of them instead of one for the
    /// first and one for the rest. Whoever is alone waits for nobody.
    fn wait_for_company(&self, partition: &Partition) {
        let expected = partition.flush_turn().expected();
        let last = Duration::from_micros(self.last_sync_us.load(Ordering::Relaxed));
        let step = last.min(MAX_COMPANY_WAIT) / COMPANY_STEPS;
        let are_here =
            || partition.with_unless_away(|replica| replica.parked_acks() >= expected).unwrap_or(true);
        for _ in 0..COMPANY_STEPS {
            if expected <= 1 || are_here() {
                return;
            }
            std::thread::sleep(step);
        }
    }

    /// Makes partitions safe together. Those whose end is not for the journal, after all, are queued by themselves.
    fn flush_group(self: &Arc<Self>, partitions: Vec<Arc<Partition>>) {
        let mut members = Vec::with_capacity(partitions.len());
        let mut tickets = Vec::with_capacity(partitions.len());
        let mut others = Vec::new();
        // A replica that moves to another directory meanwhile would take a ticket for one of its own.
        let names = self.dir.hold_names();
        for partition in partitions {
            partition.flush_turn().begin();
            if !Arc::ptr_eq(&self.dir, &partition.dir()) {
                self.end_turn(&partition);
                partition.queue_flush();
                continue;
            }
            match partition.with_unless_away(|replica| replica.begin_journal()) {
                Some(Ok(Some(ticket))) => {
                    members.push(partition);
                    tickets.push(ticket);
                }
                Some(Ok(None)) => others.push(partition),
                Some(Err((failure, released))) => {
                    Self::tell_failure(&partition, &failure, released);
                    self.end_turn(&partition);
                }
                None => self.end_turn(&partition),
            }
        }
        let begin = Instant::now();
        match if tickets.is_empty() { Ok(Group::Safe(None)) } else { self.journal.commit(&members, &tickets) }
        {
            Ok(Group::Full) => others.append(&mut members),
            Ok(Group::Safe(retiring)) => {
                self.latencies.record(begin.elapsed());
                for (partition, ticket) in members.iter().zip(&tickets) {
                    let released = partition.with_unless_away(|replica| replica.complete_journal(ticket));
                    wake_all(released.unwrap_or_default());
                }
                if let Some(retiring) = retiring {
                    self.lock().retiring.get_or_insert_default().extend(retiring);
                    self.changed.notify_one();
                }
            }
            Err(error) => {
                let failure = self.dir.failed(&format_args!("cannot write the journal: {error}"));
                for partition in &members {
                    let released = partition.with_unless_away(|replica| replica.fail(&failure.reason));
                    Self::tell_failure(partition, &failure, released.unwrap_or_default());
                }
            }
        }
        drop(names);
        members.iter().for_each(|partition| self.end_turn(partition));
        let mut queue = self.lock();
        queue.is_grouping = false;
        let news = others.len() + usize::from(!queue.small.is_empty());
        others.iter().for_each(|partition| partition.flush_turn().put_back());
        queue.single.extend(others);
        let calls = news.min(queue.idle);
        drop(queue);
        (0..calls).for_each(|_| self.changed.notify_one());
    }

    /// Makes durable in place what half of the journal has, so that it can be used again.
    fn retire(&self, partitions: &[Arc<Partition>]) {
        for partition in partitions {
            // Replicas that are out for a moment come back, here or in another directory.
            while !self.flush(partition) && self.dir.is_online() {
                partition.with(|_| ());
            }
        }
        if self.dir.is_online() {
            self.journal.retired();
        }
    }

    /// Makes a partition durable in place, if it is here; `false` if it is out for a moment.
    fn flush(&self, partition: &Arc<Partition>) -> bool {
        // A ticket writes by path: the directory must keep its name until it is done.
        let home = partition.dir();
        let _names = home.hold_names();
        if !Arc::ptr_eq(&home, &partition.dir()) {
            // It has just moved, to where another flusher is at home.
            partition.queue_flush();
            return true;
        }
        let begun = partition.with_unless_away(|replica| replica.begin_flush(clock::now_ms()));
        let released = match begun {
            None => return partition.is_closed(),
            Some(Ok(Some(ticket))) => {
                let begin = Instant::now();
                let outcome = ticket.sync(self.dir.fs().as_ref());
                let took = begin.elapsed();
                self.latencies.record(took);
                self.last_sync_us
                    .store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
                partition.with_unless_away(|replica| {
                    let parked = replica.parked_acks();
                    let released = replica.complete_flush(outcome);
                    partition.flush_turn().note_released(parked.saturating_sub(replica.parked_acks()));
                    released
                })
            }
            // Nothing left to sync; the high watermark may still have to move.
            Some(Ok(None)) => partition.with_unless_away(|replica| Ok(replica.advance())),
            Some(Err(failure)) => Some(Err(failure)),
        };
        match released {
            None => {}
            Some(Ok(released)) => wake_all(released),
            Some(Err((failure, released))) => {
                let offline = partition.dir().failed(&failure);
                Self::tell_failure(partition, &offline, released);
            }
        }
        true
    }

    fn tell_failure(partition: &Partition, failure: &dyn fmt::Display, released: Vec<Waiter>) {
        error!(partition = %partition.id, "{failure}; its partitions take no more writes until the broker is restarted");
        wake_all(released);
    }
}

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.lock();
        write!(f, "Flusher({} queued)", queue.single.len() + queue.small.len())
    }
}
