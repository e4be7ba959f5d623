//! How far the flush of one partition is.

use std::sync::atomic::{AtomicU8, Ordering};

/// Queued once at most, and with one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct FlushTurn {
    state: AtomicU8,
}

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
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(Self::IDLE)
    }

    /// Whether it is neither in the queue nor under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == Self::IDLE
    }

    /// Whether it is in the queue.
    pub(crate) fn is_queued(&self) -> bool {
        self.state.load(Ordering::Acquire) == Self::QUEUED
    }

    /// It was taken from the queue: requests from here on ask for another flush.
    pub(super) fn begin(&self) {
        self.state.store(Self::RUNNING, Ordering::Release);
    }

    /// It is to be queued once more before anything was flushed.
    pub(super) fn put_back(&self) {
        self.state.store(Self::QUEUED, Ordering::Release);
    }

    /// Whether it must be queued once more.
    pub(crate) fn end(&self) -> bool {
        let next = |turn| Some(if turn == Self::AGAIN { Self::QUEUED } else { Self::IDLE });
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(Self::AGAIN)
    }
}
