//! Quota arithmetic: rates over sampled windows, token buckets, and which limit applies to whom
//! (Kafka's `ClientQuotaManager`, `Rate`, `TokenBucket` and `QuotaUtils`).

mod limits;
mod rate;
mod token_bucket;

pub use limits::{ClientLimits, Tags};
pub use rate::Rate;
pub use token_bucket::TokenBucket;

/// What a client quota is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// Bytes per second of produce requests.
    Produce,
    /// Bytes per second of fetch responses.
    Fetch,
    /// Percent of one thread's time spent on requests.
    Request,
    /// Partitions created or deleted per second (KIP-599).
    ControllerMutation,
}

impl QuotaKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Produce, Self::Fetch, Self::Request, Self::ControllerMutation];

    /// Its name in AlterClientQuotas and in the metadata log.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::ControllerMutation => "controller_mutation_rate",
        }
    }
}

/// The key of a quota of an address: connections per second.
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// Over what time a rate is measured: `quota.window.num` samples of `quota.window.size.seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Samples that count, the current one among them.
    pub samples: u32,
    /// Length of one sample in milliseconds.
    pub window_ms: i64,
}

impl Windows {
    /// Windows of whole seconds.
    pub fn new(samples: u32, window_seconds: u32) -> Self {
        Self { samples: samples.max(1), window_ms: i64::from(window_seconds.max(1)) * 1000 }
    }

    /// The most that a client of that limit may take at once without being throttled for it, when it took nothing before
    /// (`maxValueInQuotaWindow`).
    pub fn max_at_once(self, limit: f64) -> f64 {
        limit * f64::from(self.samples - 1) * self.window_seconds()
    }

    /// Length of one sample in seconds.
    pub fn window_seconds(self) -> f64 {
        seconds(self.window_ms)
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self::new(11, 1)
    }
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Rounds as Java does: halves go up, what is no number is 0.
#[expect(clippy::cast_possible_truncation, reason = "saturates, as Java's rounding does")]
fn round_ms(ms: f64) -> i64 {
    (ms + 0.5).floor() as i64
}
