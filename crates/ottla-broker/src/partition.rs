//! A partition of this broker: the replica under its lock, and the way to its flusher.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use ottla_replica::Replica;
use ottla_storage::dir::{LogDir, PlacedLog};
use ottla_storage::log::LogError;
use ottla_types::{Offset, TopicPartition, Uuid};
use tracing::error;

use crate::flusher::{FlushTurn, Flusher, Pressing};
use crate::metrics::Traffic;
use crate::settings::TopicSettings;
use crate::waiter::{Need, Pipeline, Waiter, wake_all};

/// A log directory with its flusher.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: Arc<LogDir>,
    pub(crate) flusher: Arc<Flusher>,
}

/// How far a move to another directory is.
#[derive(Clone, Debug)]
pub(crate) struct Future {
    pub(crate) dir: Arc<LogDir>,
    size_bytes: u64,
    end: Offset,
}

impl Future {
    pub(crate) fn of(placed: &PlacedLog) -> Self {
        let log = &placed.log;
        Self { dir: Arc::clone(&placed.dir), size_bytes: log.size_bytes(), end: log.log_end_offset() }
    }
}

/// A partition with a replica on this broker.
pub(crate) struct Partition {
    /// Topic and index.
    pub(crate) id: TopicPartition,
    /// The topic's id: a topic that is deleted and created again is another one.
    pub(crate) topic_id: Uuid,
    /// What it moved for clients.
    pub(crate) traffic: Traffic,
    place: ArcSwap<Place>,
    /// The target of a move between directories.
    future: Mutex<Option<Future>>,
    /// Set while the replica is out for a moment ([`Partition::take_if`]), and told when it is back.
    is_away: AtomicBool,
    returned: Condvar,
    /// Set when the replica is taken away for good.
    is_closed: AtomicBool,
    settings: ArcSwap<TopicSettings>,
    replica: Mutex<Option<Replica<Waiter>>>,
    flush_turn: FlushTurn,
    /// Log end when [`Partition::settle_if_idle`] last looked.
    seen_end: AtomicI64,
}

impl Partition {
    pub(crate) fn new(
        id: TopicPartition,
        topic_id: Uuid,
        place: Place,
        settings: Arc<TopicSettings>,
        replica: Replica<Waiter>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            topic_id,
            traffic: Traffic::default(),
            place: ArcSwap::from_pointee(place),
            future: Mutex::default(),
            is_away: AtomicBool::new(false),
            returned: Condvar::new(),
            is_closed: AtomicBool::new(false),
            settings: ArcSwap::from(settings),
            replica: Mutex::new(Some(replica)),
            flush_turn: FlushTurn::default(),
            seen_end: AtomicI64::new(-1),
        })
    }

    /// Its log directory.
    pub(crate) fn dir(&self) -> Arc<LogDir> {
        Arc::clone(&self.place.load().dir)
    }

    /// The move to another directory that is under way.
    pub(crate) fn future(&self) -> Option<Future> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_future(&self, future: Option<Future>) {
        *self.future.lock().unwrap_or_else(PoisonError::into_inner) = future;
    }

    /// Takes the replica out for a moment, if `is_moment`; to be given back with [`Partition::put_back`].
    pub(crate) fn take_if(
        &self,
        is_moment: impl FnOnce(&Replica<Waiter>) -> bool,
    ) -> Option<Replica<Waiter>> {
        let mut guard = self.lock();
        if !guard.as_ref().is_some_and(is_moment) {
            return None;
        }
        self.is_away.store(true, Ordering::Release);
        guard.take()
    }

    /// Puts the replica back, perhaps in another place; gives it to the caller when the partition was closed meanwhile.
    pub(crate) fn put_back(&self, replica: Replica<Waiter>, place: Option<Place>) -> Option<Replica<Waiter>> {
        let mut guard = self.lock();
        if let Some(place) = place {
            self.place.store(Arc::new(place));
        }
        self.is_away.store(false, Ordering::Release);
        let refused = if self.is_closed.load(Ordering::Acquire) {
            Some(replica)
        } else {
            *guard = Some(replica);
            None
        };
        drop(guard);
        self.returned.notify_all();
        refused
    }

    /// The replica will not come back.
    pub(crate) fn give_up(&self) {
        let guard = self.lock();
        self.is_away.store(false, Ordering::Release);
        drop(guard);
        self.returned.notify_all();
    }

    /// The lock, with the replica if it is anywhere.
    fn lock_present(&self) -> MutexGuard<'_, Option<Replica<Waiter>>> {
        let mut guard = self.lock();
        while guard.is_none() && self.is_away.load(Ordering::Acquire) {
            guard = self.returned.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        guard
    }

    /// The topic's settings in force.
    pub(crate) fn settings(&self) -> Arc<TopicSettings> {
        self.settings.load_full()
    }

    /// The topic's configuration changed.
    pub(crate) fn update_settings(self: &Arc<Self>, settings: Arc<TopicSettings>) {
        let (log, durability) = (settings.log.clone(), settings.durability);
        self.settings.store(settings);
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
        self.lock_present().as_mut().map(f)
    }

    /// As [`Partition::with`], for those who hold the names of a directory: they must not wait for a replica that is out, since
    /// that waits for them. `None` then.
    pub(crate) fn with_unless_away<R>(&self, f: impl FnOnce(&mut Replica<Waiter>) -> R) -> Option<R> {
        self.lock().as_mut().map(f)
    }

    /// Runs `f`, which may append, then notes a failure of the disk, queues a flush if what was appended needs one, and wakes
    /// whom `f` released.
    pub(crate) fn update<R>(
        self: &Arc<Self>,
        f: impl FnOnce(&mut Replica<Waiter>) -> (R, Vec<Waiter>),
    ) -> Option<R> {
        self.update_in_need(None, f)
    }

    /// As [`Partition::update`], by a connection in need: the flusher is told at once, before the acknowledgement is parked. If it is at
    /// work on the partition, that cannot be told yet ([`Partition::press`]).
    pub(crate) fn update_in_need<R>(
        self: &Arc<Self>,
        need: Option<&mut Need>,
        f: impl FnOnce(&mut Replica<Waiter>) -> (R, Vec<Waiter>),
    ) -> Option<R> {
        let (result, released, needs_flush, is_small, failure) = {
            let mut guard = self.lock_present();
            let replica = guard.as_mut()?;
            let (result, released) = f(replica);
            let failure = replica.log().poisoned().filter(|_| self.dir().is_online()).map(str::to_owned);
            // Write-back that is under way sees to it that the next is not due for a while.
            let needs_flush =
                replica.needs_flush() || (replica.wants_write_back() && self.flush_turn.is_idle());
            (result, released, needs_flush, needs_flush && replica.may_journal(), failure)
        };
        if let Some(reason) = failure {
            self.dir().fail(&reason);
        }
        if needs_flush {
            self.request_flush(is_small, need);
        }
        wake_all(released);
        Some(result)
    }

    /// A read failed: if the disk refused it, the directory is offline from now on, as after a failed write
    /// (`LocalLog.maybeHandleIOException`).
    pub(crate) fn note_failed_read(&self, error: &LogError) {
        if error.is_of_disk() && self.dir().fail(error) {
            error!(partition = %self.id, "reading failed: {error}");
        }
    }

    /// The same, of records in `dir` on their way to a client.
    pub(crate) fn note_failed_send(&self, dir: &LogDir, error: &io::Error) {
        let source = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        let path = dir.path().join(self.id.to_string());
        let error = LogError::Io { action: "read", path, source };
        if error.is_of_disk() && dir.fail(&error) {
            error!(partition = %self.id, "reading failed: {error}");
        }
    }

    /// Bytes, lag and role of the logs in a directory (DescribeLogDirs).
    pub(crate) fn sizes_in(&self, dir: &LogDir) -> Vec<(u64, i64, bool)> {
        let is_here = |other: &LogDir| other.path() == dir.path();
        let current = self.with(|replica| {
            let log = replica.log();
            (log.size_bytes(), log.high_watermark(), log.log_end_offset())
        });
        let Some((size, high_watermark, end)) = current else { return Vec::new() };
        let current = is_here(&self.dir()).then(|| (size, (high_watermark - end).max(0), false));
        let future = self.future().filter(|future| is_here(&future.dir));
        let future = future.map(|future| (future.size_bytes, end - future.end, true));
        current.into_iter().chain(future).collect()
    }

    /// Parks an acknowledgement until the high watermark reaches `required`; `false` when it has, or never will.
    pub(crate) fn park_ack(&self, required: Offset, waiter: Waiter) -> bool {
        matches!(self.with(|replica| replica.park_ack(required, waiter)), Some(None))
    }

    /// Somebody whose acknowledgement is parked can do nothing before: a connection with a full pipeline, or anybody else.
    pub(crate) fn press(self: &Arc<Self>, pipeline: Option<&Arc<Pipeline>>) {
        // What comes while it is flushed is looked at afterwards.
        if self.flush_turn.is_queued() {
            self.place.load().flusher.press(pipeline);
        }
    }

    /// Has what was appended until now made durable in place by its flusher.
    pub(crate) fn queue_flush(self: &Arc<Self>) {
        self.request_flush(false, None);
    }

    fn request_flush(self: &Arc<Self>, is_small: bool, need: Option<&mut Need>) {
        let is_due = self.flush_turn.request();
        // Otherwise it is looked at after the flush that is under way.
        let need = need.filter(|_| is_due || self.flush_turn.is_queued());
        let pipeline = need.map(|need| {
            need.is_told = true;
            &need.pipeline
        });
        if is_due {
            self.place.load().flusher.enqueue(Arc::clone(self), is_small, Pressing::of(pipeline));
        } else if pipeline.is_some() {
            self.place.load().flusher.press(pipeline);
        }
    }

    /// For the flusher: ends its turn. If it was asked for meanwhile, the next begins at once, and the partition has to be queued where it is
    /// at home now: whether it may go through the journal, and how many wait for it who can do nothing before.
    pub(crate) fn end_flush(&self) -> Option<(Arc<Flusher>, bool, usize)> {
        if !self.flush_turn.end() {
            return None;
        }
        let (is_small, pressing) = self
            .with_unless_away(|replica| {
                (replica.may_journal(), replica.parked_acks().filter(|waiter| waiter.is_in_need()).count())
            })
            .unwrap_or((false, 1));
        Some((Arc::clone(&self.place.load().flusher), is_small, pressing))
    }

    /// Whether the replica was taken away for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// For the flusher: how far its flush is.
    pub(crate) fn flush_turn(&self) -> &FlushTurn {
        &self.flush_turn
    }

    /// Makes a log durable that has not grown since the last call, whatever its policy: only then it can give up its files.
    pub(crate) fn settle_if_idle(self: &Arc<Self>) {
        let ends = self.with(|replica| (replica.log().log_end_offset(), replica.log().durable_offset()));
        let Some((end, durable)) = ends else { return };
        if self.seen_end.swap(end.value(), Ordering::Relaxed) == end.value() && durable < end {
            self.queue_flush();
        }
    }

    /// Takes the replica away, for deletion or shutdown; later requests find no partition.
    pub(crate) fn take(&self) -> Option<Replica<Waiter>> {
        let mut guard = self.lock();
        self.is_closed.store(true, Ordering::Release);
        guard.take()
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({})", self.id)
    }
}
