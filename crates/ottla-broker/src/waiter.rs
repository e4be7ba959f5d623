//! What is parked in replicas: something to wake when records count or new ones can be read.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// A parked request. Waking is cheap and may come too often: the request looks again at what it waits for.
#[derive(Clone)]
pub(crate) enum Waiter {
    /// An acknowledgement that waits for several partitions.
    Acks(Arc<Countdown>),
    /// Anything that looks again.
    Again(Arc<Notify>),
    /// A fetch, with the place of the partition in it.
    Fetch(Arc<Bell>, usize),
}

/// Wakes its one task, and tells it which of the partitions that it waits in have woken it.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<Vec<usize>>,
    notify: Notify,
}

impl Bell {
    fn ring(&self, place: usize) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        self.notify.notify_one();
    }

    /// The places that have rung since the last call, ascending; waits while there are none. For one task only.
    pub(crate) async fn rung(&self) -> Vec<usize> {
        loop {
            let mut rung = std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner));
            if !rung.is_empty() {
                rung.sort_unstable();
                rung.dedup();
                return rung;
            }
            self.notify.notified().await;
        }
    }
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
            Self::Fetch(bell, place) => bell.ring(place),
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
            Self::Fetch(..) => "Fetch",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_tells_once_who_has_rung() {
        let bell = Arc::new(Bell::default());
        wake_all([3, 1, 3].map(|place| Waiter::Fetch(Arc::clone(&bell), place)).into());
        assert_eq!(bell.rung().await, [1, 3]);
        let waiting = tokio::spawn({
            let bell = Arc::clone(&bell);
            async move { bell.rung().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "nothing has rung since");
        Waiter::Fetch(bell, 7).wake();
        assert_eq!(waiting.await.unwrap(), [7]);
    }
}
