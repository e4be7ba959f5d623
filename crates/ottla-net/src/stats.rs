//! Counters of a listener, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a listener has done since it started; plain atomics, read them with [`AtomicU64::load`].
#[derive(Debug, Default)]
pub struct ListenerStats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections refused by a limit per address.
    pub refused: AtomicU64,
    /// Connections closed because their address makes too many too fast.
    pub throttled: AtomicU64,
    /// Connections closed because there were more than `max.connections`.
    pub evicted: AtomicU64,
    /// How often a connection was not read for a while because of a quota.
    pub muted: AtomicU64,
    /// Connections closed again.
    pub closed: AtomicU64,
    /// Connections closed because nothing moved on them.
    pub idle_closed: AtomicU64,
    /// Connections closed because of a frame that is too large or no frame at all.
    pub invalid_frames: AtomicU64,
    /// Request frames received.
    pub requests: AtomicU64,
    /// Responses sent completely.
    pub responses: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent, files included.
    pub bytes_out: AtomicU64,
    /// Bytes sent from files.
    pub file_bytes_out: AtomicU64,
    /// File ranges that were not in the page cache and had to be read in by a blocking thread first.
    pub cold_reads: AtomicU64,
}

impl ListenerStats {
    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed).saturating_sub(self.closed.load(Ordering::Relaxed))
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
