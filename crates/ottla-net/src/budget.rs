//! The memory that request frames of all connections may take together (`queued.max.request.bytes`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on the bytes of requests in memory, shared by all listeners. A connection reserves a frame's size before it
/// reads the frame, and waits (reads nothing) while there is no room; the bytes are given back when the last reference to
/// the frame is dropped. Waiting connections are served in order, so that a large frame is not starved by small ones.
///
/// A frame larger than the whole budget takes all of it. Besides frames, a connection that is receiving has a read buffer of
/// 16 KiB.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    free: Arc<Semaphore>,
    total: usize,
    waits: Arc<AtomicU64>,
}

/// Memory held by a frame; dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct Reservation(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        let total = bytes.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, waits: Arc::default() }
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

    fn permits(&self, bytes: u32) -> u32 {
        bytes.min(u32::try_from(self.total).unwrap_or(u32::MAX))
    }
}
