//! A partition of this broker: the replica under its lock, and the way to its flusher.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use ottla_replica::Replica;
use ottla_storage::dir::LogDir;
use ottla_types::{TopicPartition, Uuid};

use crate::flusher::Flusher;
use crate::metrics::Traffic;
use crate::settings::TopicSettings;
use crate::waiter::{Waiter, wake_all};

/// A partition with a replica on this broker.
pub(crate) struct Partition {
    /// Topic and index.
    pub(crate) id: TopicPartition,
    /// The topic's id: a topic that is deleted and created again is another one.
    pub(crate) topic_id: Uuid,
    /// Its log directory.
    pub(crate) dir: Arc<LogDir>,
    /// What it moved for clients.
    pub(crate) traffic: Traffic,
    settings: ArcSwap<TopicSettings>,
    replica: Mutex<Option<Replica<Waiter>>>,
    flusher: Arc<Flusher>,
    is_queued: AtomicBool,
    /// Log end when [`Partition::settle_if_idle`] last looked.
    seen_end: AtomicI64,
}

impl Partition {
    pub(crate) fn new(
        id: TopicPartition,
        topic_id: Uuid,
        dir: Arc<LogDir>,
        settings: TopicSettings,
        replica: Replica<Waiter>,
        flusher: Arc<Flusher>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            topic_id,
            dir,
            traffic: Traffic::default(),
            settings: ArcSwap::from_pointee(settings),
            replica: Mutex::new(Some(replica)),
            flusher,
            is_queued: AtomicBool::new(false),
            seen_end: AtomicI64::new(-1),
        })
    }

    /// The topic's settings in force.
    pub(crate) fn settings(&self) -> Arc<TopicSettings> {
        self.settings.load_full()
    }

    /// The topic's configuration changed.
    pub(crate) fn update_settings(self: &Arc<Self>, settings: TopicSettings) {
        let (log, durability) = (settings.log.clone(), settings.durability);
        self.settings.store(Arc::new(settings));
        self.update(|replica| {
            replica.log_mut().update_config(log);
            ((), replica.set_durability(durability))
        });
    }

    fn lock(&self) -> MutexGuard<'_, Option<Replica<Waiter>>> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on the replica under the lock; `None` when the partition was deleted or shut down. Keep `f` short: no
    /// waiting for the disk beyond a page-cache write.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Replica<Waiter>) -> R) -> Option<R> {
        self.lock().as_mut().map(f)
    }

    /// Runs `f`, which may append, then notes a failure of the disk, queues a flush if what was appended needs one, and wakes
    /// whom `f` released.
    pub(crate) fn update<R>(
        self: &Arc<Self>,
        f: impl FnOnce(&mut Replica<Waiter>) -> (R, Vec<Waiter>),
    ) -> Option<R> {
        let (result, released, needs_flush, failure) = {
            let mut guard = self.lock();
            let replica = guard.as_mut()?;
            let (result, released) = f(replica);
            let failure = replica.log().poisoned().filter(|_| self.dir.is_online()).map(str::to_owned);
            (result, released, replica.needs_flush(), failure)
        };
        if let Some(reason) = failure {
            self.dir.fail(&reason);
        }
        if needs_flush {
            self.queue_flush();
        }
        wake_all(released);
        Some(result)
    }

    /// Bytes, lag and role of the logs in a directory (DescribeLogDirs).
    pub(crate) fn sizes_in(&self, dir: &LogDir) -> Vec<(u64, i64, bool)> {
        if self.dir.path() != dir.path() {
            return Vec::new();
        }
        let current = self.with(|replica| {
            let log = replica.log();
            (log.size_bytes(), (log.high_watermark() - log.log_end_offset()).max(0), false)
        });
        current.into_iter().collect()
    }

    /// Hands the partition to its flusher, unless it is there already.
    pub(crate) fn queue_flush(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.flusher.enqueue(Arc::clone(self));
        }
    }

    /// Makes a log durable that has not grown since the last call, whatever its policy: only then it can give up its files.
    pub(crate) fn settle_if_idle(self: &Arc<Self>) {
        let ends = self.with(|replica| (replica.log().log_end_offset(), replica.log().durable_offset()));
        let Some((end, durable)) = ends else { return };
        if self.seen_end.swap(end.value(), Ordering::Relaxed) == end.value() && durable < end {
            self.queue_flush();
        }
    }

    /// The flusher took the partition from its queue: appends from here on queue it anew.
    pub(crate) fn dequeued(&self) {
        self.is_queued.store(false, Ordering::Release);
    }

    /// Takes the replica away, for deletion or shutdown; later requests find no partition.
    pub(crate) fn take(&self) -> Option<Replica<Waiter>> {
        self.lock().take()
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({})", self.id)
    }
}
