//! Counters of the hot paths: plain atomics, read by whoever reports them.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the broker moved since it started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    produced_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
}

impl Metrics {
    pub(crate) fn produced(&self, bytes: usize) {
        self.produced_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn fetched(&self, bytes: u64) {
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of records appended and sent.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.produced_bytes.load(Ordering::Relaxed), self.fetched_bytes.load(Ordering::Relaxed))
    }
}
