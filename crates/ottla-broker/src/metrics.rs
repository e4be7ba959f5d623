//! Counters of the hot paths: plain atomics, read by whoever reports them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_protocol::ErrorCode;
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

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    total_us: AtomicU64,
    buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
}

/// How long things took, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    /// All of them together.
    pub(crate) seconds: f64,
    /// How many there were.
    pub(crate) count: u64,
    /// How many took at most so many seconds and more than the bound before.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Latencies {
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds are floating point numbers")]
    pub(crate) fn read(&self) -> Latency {
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        Latency {
            seconds: self.total_us.load(Ordering::Relaxed) as f64 / 1e6,
            count: counts.iter().sum(),
            buckets: bounds.zip(counts).collect(),
        }
    }
}

/// What a partition moved for clients.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    bytes_in: AtomicU64,
    records_in: AtomicU64,
    bytes_out: AtomicU64,
    failed_produce: AtomicU64,
    failed_fetch: AtomicU64,
}

/// What a partition moved for clients, at one moment; what several moved, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) bytes_in: u64,
    pub(crate) records_in: u64,
    pub(crate) bytes_out: u64,
    /// Batches that could not be appended, for other reasons than those that a healthy cluster gives too.
    pub(crate) failed_produce: u64,
    /// Reads of the log that failed.
    pub(crate) failed_fetch: u64,
}

impl Moved {
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes_in += other.bytes_in;
        self.records_in += other.records_in;
        self.bytes_out += other.bytes_out;
        self.failed_produce += other.failed_produce;
        self.failed_fetch += other.failed_fetch;
    }
}

impl Traffic {
    pub(crate) fn appended(&self, bytes: u64, records: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        self.records_in.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An append is refused with this error. What clients are told in the normal course of things (there is no such partition,
    /// it is led elsewhere, a batch is too large or damaged, the disk is offline) is no failure: `ReplicaManager` does not count
    /// it either.
    pub(crate) fn append_refused(&self, error: ErrorCode) {
        use ErrorCode as Code;
        let is_expected = matches!(
            error,
            Code::UnknownTopicOrPartition
                | Code::UnknownTopicId
                | Code::NotLeaderOrFollower
                | Code::MessageTooLarge
                | Code::RecordListTooLarge
                | Code::CorruptMessage
                | Code::KafkaStorageError
        );
        if !is_expected {
            self.failed_produce.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The log could not be read.
    pub(crate) fn read_failed(&self) {
        self.failed_fetch.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Moved {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Moved {
            bytes_in: read(&self.bytes_in),
            records_in: read(&self.records_in),
            bytes_out: read(&self.bytes_out),
            failed_produce: read(&self.failed_produce),
            failed_fetch: read(&self.failed_fetch),
        }
    }
}

/// What became of the requests of one API.
#[derive(Debug)]
pub(crate) struct ApiMetrics {
    requests: AtomicU64,
    request_bytes: AtomicU64,
    latency: Latencies,
    throttled: AtomicU64,
    throttled_ms: AtomicU64,
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
            latency: Latencies::default(),
            throttled: AtomicU64::new(0),
            throttled_ms: AtomicU64::new(0),
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
        self.latency.record(took);
        if throttle_time_ms > 0 {
            self.throttled.fetch_add(1, Ordering::Relaxed);
            self.throttled_ms.fetch_add(u64::from(throttle_time_ms.unsigned_abs()), Ordering::Relaxed);
        }
        for code in error_codes {
            let index = usize::try_from(code + 1).unwrap_or(0);
            self.errors[if index < MAX_ERROR_CODES { index } else { 0 }].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn request_bytes(&self) -> u64 {
        self.request_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    pub(crate) fn throttled_ms(&self) -> u64 {
        self.throttled_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn latency(&self) -> Latency {
        self.latency.read()
    }

    /// The error codes that were answered, with how often.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (i16, u64)> {
        let counts = self.errors.iter().map(|count| count.load(Ordering::Relaxed));
        (-1..).zip(counts).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_that_bounds_them() {
        let latencies = Latencies::default();
        for us in [1, 500, 501, 60_000_000] {
            latencies.record(Duration::from_micros(us));
        }
        let read = latencies.read();
        assert_eq!((read.count, read.buckets[0], read.buckets[1]), (4, (0.0005, 2), (0.001, 1)));
        assert_eq!(read.buckets.last(), Some(&(f64::MAX, 1)));
        assert!((read.seconds - 60.001_002).abs() < 1e-9);
    }

    #[test]
    fn appends_fail_that_no_healthy_cluster_refuses() {
        let traffic = Traffic::default();
        for error in [
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::MessageTooLarge,
            ErrorCode::KafkaStorageError,
            ErrorCode::NotEnoughReplicas,
            ErrorCode::InvalidRecord,
        ] {
            traffic.append_refused(error);
        }
        traffic.read_failed();
        let mut moved = Moved { failed_fetch: 1, ..Moved::default() };
        moved.add(traffic.read());
        assert_eq!(moved, Moved { failed_produce: 2, failed_fetch: 2, ..Moved::default() });
    }

    #[test]
    fn errors_are_counted_by_code() {
        let api = ApiMetrics::new();
        api.answered(Duration::ZERO, &[-1, 3, 3, 30_000], 5);
        assert_eq!(api.errors().collect::<Vec<_>>(), [(-1, 2), (3, 2)]);
        assert_eq!((api.throttled(), api.throttled_ms()), (1, 5));
    }
}
