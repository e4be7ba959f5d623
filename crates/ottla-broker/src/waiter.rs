//! What is parked in replicas: something to wake when records count or new ones can be read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A parked request. Waking is cheap and may come too often: the request looks again at what it waits for.
#[derive(Clone)]
pub(crate) enum Waiter {
    /// An acknowledgement that waits for several partitions.
    Acks(Arc<Countdown>),
    /// A reader, or anything else that looks again.
    Again(Arc<Notify>),
}

/// Wakes its one task when it was counted down to zero.
pub(crate) struct Countdown {
    left: AtomicUsize,
    done: Notify,
}

impl Countdown {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(count), done: Notify::new() })
    }

    pub(crate) fn count_down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    /// Whether the count has reached zero.
    pub(crate) fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Ready when the count has reached zero; for one task only.
    pub(crate) async fn wait(&self) {
        while !self.is_done() {
            self.done.notified().await;
        }
    }
}

impl Waiter {
    pub(crate) fn wake(self) {
        match self {
            Self::Acks(countdown) => countdown.count_down(),
            Self::Again(notify) => notify.notify_one(),
        }
    }
}

/// Wakes all; call it without holding a partition's lock.
pub(crate) fn wake_all(waiters: Vec<Waiter>) {
    waiters.into_iter().for_each(Waiter::wake);
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acks(_) => "Acks",
            Self::Again(_) => "Again",
        })
    }
}
