//! Group commit: the threads of a log directory make what was appended durable.
//!
//! Appends queue their partition; a thread takes it, syncs it, and moves its high watermark, while the partition's next group
//! forms. Partitions are synced side by side, since the kernel and the disk then need one flush for several of them; of one
//! partition there is never more than one sync under way. A failed sync takes the log offline for good: it is never tried again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use ottla_storage::fs::Fs;
use tracing::error;

use crate::clock;
use crate::metrics::{Latencies, Latency};
use crate::partition::Partition;
use crate::waiter::wake_all;

/// Syncs under way at once in one log directory. They mostly wait; see `docs/performance.md` for what fewer cost.
const MAX_THREADS: usize = 16;

/// The queue of one log directory, and its threads, which come when there is work for them.
pub(crate) struct Flusher {
    name: String,
    queue: Mutex<Queue>,
    changed: Condvar,
    fs: Arc<dyn Fs>,
    latencies: Latencies,
}

#[derive(Default)]
struct Queue {
    partitions: VecDeque<Arc<Partition>>,
    /// Threads that wait for work, or were just told of some.
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
}

/// How far the flush of one partition is: queued once at most, synced by one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct FlushTurn(AtomicU8);

impl FlushTurn {
    const IDLE: u8 = 0;
    const QUEUED: u8 = 1;
    const RUNNING: u8 = 2;
    /// Running, and asked for again.
    const AGAIN: u8 = 3;

    /// Asks for a flush that sees everything done before. Whether the caller has to queue the partition.
    pub(crate) fn request(&self) -> bool {
        let next = |turn| match turn {
            Self::IDLE => Some(Self::QUEUED),
            Self::RUNNING => Some(Self::AGAIN),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(Self::IDLE)
    }

    /// It was taken from the queue: requests from here on ask for another flush.
    fn begin(&self) {
        self.0.store(Self::RUNNING, Ordering::Release);
    }

    /// Whether it must be queued once more.
    fn end(&self) -> bool {
        let next = |turn| Some(if turn == Self::AGAIN { Self::QUEUED } else { Self::IDLE });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(Self::AGAIN)
    }
}

impl Flusher {
    /// `name` is that of its threads, with their number behind it.
    pub(crate) fn new(name: String, fs: Arc<dyn Fs>) -> Arc<Self> {
        Arc::new(Self {
            name,
            queue: Mutex::default(),
            changed: Condvar::new(),
            fs,
            latencies: Latencies::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a partition whose turn was requested.
    pub(crate) fn enqueue(self: &Arc<Self>, partition: Arc<Partition>) {
        let mut queue = self.lock();
        queue.partitions.push_back(partition);
        if queue.partitions.len() <= queue.idle {
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
        while let Some(partition) = self.next() {
            partition.flush_turn().begin();
            self.flush(&partition);
            if partition.flush_turn().end() {
                partition.enqueue_flush();
            }
        }
    }

    fn next(&self) -> Option<Arc<Partition>> {
        let mut queue = self.lock();
        loop {
            if let Some(partition) = queue.partitions.pop_front() {
                return Some(partition);
            }
            if queue.is_closed {
                return None;
            }
            queue.idle += 1;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    fn flush(&self, partition: &Arc<Partition>) {
        // A ticket writes by path: the directory must keep its name until it is done.
        let home = partition.dir();
        let _names = home.hold_names();
        if !Arc::ptr_eq(&home, &partition.dir()) {
            // It has just moved, to where another flusher is at home.
            partition.queue_flush();
            return;
        }
        let begun = partition.with_unless_away(|replica| replica.begin_flush(clock::now_ms()));
        let released = match begun {
            None => return,
            Some(Ok(Some(ticket))) => {
                let begin = Instant::now();
                let outcome = ticket.sync(self.fs.as_ref());
                self.latencies.record(begin.elapsed());
                partition.with_unless_away(|replica| replica.complete_flush(outcome))
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
                error!(partition = %partition.id, "{offline}; its partitions take no more writes until the broker is restarted");
                wake_all(released);
            }
        }
    }
}

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flusher({} queued)", self.lock().partitions.len())
    }
}
