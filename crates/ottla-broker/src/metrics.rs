//! Counters of the hot paths: plain atomics, read by whoever reports them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_protocol::messages::ApiKey;

/// Upper bounds of the latency buckets in microseconds; one more bucket takes what is slower.
pub(crate) const LATENCY_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 30_000_000,
];

/// API keys are below this.
const MAX_API_KEYS: usize = 100;
/// Error codes counted one by one: from -1 to this less 2; larger ones count as -1.
const MAX_ERROR_CODES: usize = 140;

/// What the broker moved since it started.
#[derive(Debug)]
pub(crate) struct Metrics {
    produced_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    apis: Box<[ApiMetrics]>,
}

/// What became of the requests of one API.
#[derive(Debug)]
pub(crate) struct ApiMetrics {
    requests: AtomicU64,
    request_bytes: AtomicU64,
    latency_us: AtomicU64,
    latency_buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    throttled: AtomicU64,
    errors: Box<[AtomicU64]>,
}

fn counters(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            produced_bytes: AtomicU64::new(0),
            fetched_bytes: AtomicU64::new(0),
            apis: (0..MAX_API_KEYS).map(|_| ApiMetrics::new()).collect(),
        }
    }
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

    /// The counters of an API.
    pub(crate) fn api(&self, key: ApiKey) -> &ApiMetrics {
        let index = usize::try_from(key.code()).unwrap_or(MAX_API_KEYS - 1);
        &self.apis[index.min(MAX_API_KEYS - 1)]
    }
}

impl ApiMetrics {
    fn new() -> Self {
        Self {
            requests: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            latency_us: AtomicU64::new(0),
            latency_buckets: [const { AtomicU64::new(0) }; LATENCY_BOUNDS_US.len() + 1],
            throttled: AtomicU64::new(0),
            errors: counters(MAX_ERROR_CODES),
        }
    }

    /// A request has come.
    pub(crate) fn received(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.request_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A request is answered, after this time, with these error codes in its response.
    pub(crate) fn answered(&self, took: Duration, error_codes: &[i16], throttle_time_ms: i32) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.fetch_add(us, Ordering::Relaxed);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.latency_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        if throttle_time_ms > 0 {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        for code in error_codes {
            let index = usize::try_from(code + 1).unwrap_or(0);
            self.errors[if index < MAX_ERROR_CODES { index } else { 0 }].fetch_add(1, Ordering::Relaxed);
        }
    }
}
