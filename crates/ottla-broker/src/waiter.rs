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

/// The appends of a connection that wait for their acknowledgements, and how many may be under way: as many as there were
/// lately. A client below that sends on; one at it may be able to do nothing before it is answered.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    unanswered: AtomicUsize,
    depth: AtomicUsize,
}

impl Pipeline {
    /// One more is under way.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        let unanswered = self.unanswered.fetch_add(1, Ordering::AcqRel) + 1;
        self.depth.fetch_max(unanswered, Ordering::AcqRel);
        UnderWay { pipeline: Some(Arc::clone(self)) }
    }

    /// Whether as many are under way as there were lately.
    pub(crate) fn is_full(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) >= self.depth.load(Ordering::Acquire)
    }

    /// One is answered; returns whether it was full. `had_time`: the client could have sent more meanwhile. If it has nothing under way
    /// any more, even so, it does not go as deep as it did.
    fn end(&self, had_time: bool) -> bool {
        let unanswered = self.unanswered.fetch_sub(1, Ordering::AcqRel);
        let depth = self.depth.load(Ordering::Acquire);
        if had_time && unanswered == 1 && depth > 1 {
            self.depth.store(depth - 1, Ordering::Release);
        }
        unanswered >= depth
    }
}

/// An append of a connection, under way from before it is made until it is answered, or given up.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pipeline: Option<Arc<Pipeline>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.end(false);
        }
    }
}

/// A connection that can do nothing before what it appends next is answered.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) pipeline: Arc<Pipeline>,
    /// Whether the flusher knows: what it takes next has the append in it.
    pub(crate) is_told: bool,
}

/// Wakes its one task when it was counted down to zero.
pub(crate) struct Countdown {
    left: AtomicUsize,
    done: Notify,
    pipeline: Option<Arc<Pipeline>>,
}

impl Countdown {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(count), done: Notify::new(), pipeline: None })
    }

    /// Of an append of a connection.
    pub(crate) fn of(count: usize, mut under_way: UnderWay) -> Arc<Self> {
        let pipeline = if count > 0 { under_way.pipeline.take() } else { None };
        Arc::new(Self { left: AtomicUsize::new(count), done: Notify::new(), pipeline })
    }

    pub(crate) fn count_down(&self) {
        if self.settle(false).is_over {
            self.done.notify_one();
        }
    }

    fn settle(&self, had_time: bool) -> Settled {
        let is_over = self.left.fetch_sub(1, Ordering::AcqRel) == 1;
        let was_in_need = is_over && self.pipeline.as_ref().is_none_or(|pipeline| pipeline.end(had_time));
        Settled { was_in_need, is_over }
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

/// What a flush did to somebody who waited for it.
#[derive(Clone, Copy, Debug)]
struct Settled {
    /// It could do nothing before.
    was_in_need: bool,
    /// There is nothing more that it waits for: it is to be woken.
    is_over: bool,
}

impl Waiter {
    pub(crate) fn wake(self) {
        if self.settle(false).is_over {
            self.notify();
        }
    }

    /// What it waited for has come. `had_time`: its client could have sent more meanwhile.
    fn settle(&self, had_time: bool) -> Settled {
        match self {
            Self::Acks(countdown) => countdown.settle(had_time),
            Self::Again(_) => Settled { was_in_need: true, is_over: true },
            Self::Fetch(..) => Settled { was_in_need: false, is_over: true },
        }
    }

    /// Wakes the task that waits.
    pub(crate) fn notify(self) {
        match self {
            Self::Acks(countdown) => countdown.done.notify_one(),
            Self::Again(notify) => notify.notify_one(),
            Self::Fetch(bell, place) => bell.ring(place),
        }
    }

    /// Whether it waits for a flush and can do nothing before.
    pub(crate) fn is_in_need(&self) -> bool {
        match self {
            Self::Acks(countdown) => countdown.pipeline.as_ref().is_none_or(|pipeline| pipeline.is_full()),
            Self::Again(_) => true,
            Self::Fetch(..) => false,
        }
    }
}

/// Wakes all; call it without holding a partition's lock.
pub(crate) fn wake_all(waiters: Vec<Waiter>) {
    waiters.into_iter().for_each(Waiter::wake);
}

/// A flush has come to what they waited for: keeps those that are to be woken, and returns how many could do nothing before. `had_time`:
/// clients could have sent more meanwhile.
pub(crate) fn settle_after_flush(waiters: &mut Vec<Waiter>, had_time: bool) -> usize {
    let mut in_need = 0;
    waiters.retain(|waiter| {
        let settled = waiter.settle(had_time);
        in_need += usize::from(settled.was_in_need);
        settled.is_over
    });
    in_need
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
