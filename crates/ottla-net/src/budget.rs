//! The memory that all connections may take together (`queued.max.request.bytes`): their request frames, and their responses
//! that wait to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on the bytes of requests in memory, shared by all listeners. A connection reserves a frame's size before it
/// reads the frame, and waits (reads nothing) while there is no room; the bytes are given back when the last reference to
/// the frame is dropped. Waiting connections are served in order, so that a large frame is not starved by small ones.
///
/// A frame larger than the whole budget takes all of it. Besides frames, a connection that is receiving has a read buffer of
/// 16 KiB.
///
/// Responses have as much again, but do not wait for it, since what they answer has happened: while all connections together
/// have more unsent, one that has any takes no request, so that none can pile them up.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    free: Arc<Semaphore>,
    total: usize,
    waits: Arc<AtomicU64>,
    unsent: Arc<AtomicUsize>,
}

/// The bytes that one connection has unsent, counted in its budget.
#[derive(Debug)]
pub(crate) struct Unsent {
    bytes: usize,
    total: usize,
    all: Arc<AtomicUsize>,
}

/// Memory held by a frame; dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct Reservation(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        let total = bytes.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, waits: Arc::default(), unsent: Arc::default() }
    }

    /// A budget that never runs out.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Size of the budget in bytes.
    pub fn total_bytes(&self) -> usize {
        self.total
    }

    /// Bytes taken by frames now.
    pub fn used_bytes(&self) -> usize {
        self.total - self.free.available_permits()
    }

    /// Bytes of responses in memory that wait to be sent now; ranges of files are not among them.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// How often a frame had to wait for memory.
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` if they are free and nobody waits.
    pub(crate) fn try_reserve(&self, bytes: u32) -> Option<Reservation> {
        let permits = self.permits(bytes);
        Arc::clone(&self.free).try_acquire_many_owned(permits).ok().map(Reservation)
    }

    /// Reserves `bytes`, waiting for them.
    pub(crate) fn reserve(&self, bytes: u32) -> impl Future<Output = Reservation> + Send + 'static {
        self.waits.fetch_add(1, Ordering::Relaxed);
        let permits = self.permits(bytes);
        let acquired = Arc::clone(&self.free).acquire_many_owned(permits);
        async move { Reservation(acquired.await.expect("the semaphore is never closed")) }
    }

    /// The account of one connection.
    pub(crate) fn unsent(&self) -> Unsent {
        Unsent { bytes: 0, total: self.total, all: Arc::clone(&self.unsent) }
    }

    /// Whether frames wait for memory.
    pub(crate) fn is_short(&self) -> bool {
        self.free.available_permits() == 0
    }

    fn permits(&self, bytes: u32) -> u32 {
        bytes.min(u32::try_from(self.total).unwrap_or(u32::MAX))
    }
}

impl Unsent {
    /// Notes how much the connection has unsent now.
    pub(crate) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => _ = self.all.fetch_add(more, Ordering::Relaxed),
            None => _ = self.all.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        }
        self.bytes = bytes;
    }

    /// Whether all connections together have too much unsent and this one adds to it.
    pub(crate) fn is_excess(&self) -> bool {
        self.bytes > 0 && self.all.load(Ordering::Relaxed) > self.total
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.set(0);
    }
}
