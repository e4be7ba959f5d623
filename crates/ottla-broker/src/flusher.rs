//! Group commit: one thread per log directory makes what was appended durable.
//!
//! Appends queue their partition; the thread takes all that are queued, syncs them, and moves their high watermarks, while the
//! next group forms. A failed sync takes the log offline for good: it is never tried again.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ottla_storage::fs::Fs;
use tracing::error;

use crate::clock;
use crate::metrics::{Latencies, Latency};
use crate::partition::Partition;
use crate::waiter::wake_all;

/// The queue of one log directory's flusher thread.
pub(crate) struct Flusher {
    queue: Mutex<Queue>,
    changed: Condvar,
    fs: Arc<dyn Fs>,
    latencies: Latencies,
}

#[derive(Default)]
struct Queue {
    partitions: Vec<Arc<Partition>>,
    is_closed: bool,
}

impl Flusher {
    pub(crate) fn new(fs: Arc<dyn Fs>) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            fs,
            latencies: Latencies::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enqueue(&self, partition: Arc<Partition>) {
        let mut queue = self.lock();
        queue.partitions.push(partition);
        if queue.partitions.len() == 1 {
            self.changed.notify_one();
        }
    }

    /// How long syncs took.
    pub(crate) fn latency(&self) -> Latency {
        self.latencies.read()
    }

    /// Ends the thread when the queue is empty.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// The thread's body: returns after [`Flusher::close`].
    pub(crate) fn run(&self) {
        while let Some(group) = self.next_group() {
            for partition in group {
                partition.dequeued();
                self.flush(&partition);
            }
        }
    }

    fn next_group(&self) -> Option<Vec<Arc<Partition>>> {
        let mut queue = self.lock();
        while queue.partitions.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut queue.partitions))
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
