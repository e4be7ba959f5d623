//! A bucket of tokens that fills at the rate of the limit (`TokenBucket`, KIP-599).

use super::{Windows, round_ms, seconds};

/// Holds at most what comes in all windows together, may be overdrawn, and says how long until it is no more.
#[derive(Clone, Debug, Default)]
pub struct TokenBucket {
    tokens: f64,
    updated_ms: i64,
}

impl TokenBucket {
    /// Takes tokens, also those that are not there. A new bucket is full.
    pub fn record(&mut self, windows: Windows, limit: f64, amount: f64, now_ms: i64) {
        self.fill(windows, limit, now_ms);
        self.tokens = (self.tokens - amount).min(Self::burst(windows, limit));
    }

    /// How long until the bucket is no longer overdrawn; 0 when it is not.
    pub fn throttle_ms(&mut self, windows: Windows, limit: f64, now_ms: i64) -> i64 {
        self.fill(windows, limit, now_ms);
        if self.tokens >= 0.0 { 0 } else { round_ms(-self.tokens / limit * 1000.0).max(0) }
    }

    /// When it was last used.
    pub fn updated_ms(&self) -> i64 {
        self.updated_ms
    }

    fn fill(&mut self, windows: Windows, limit: f64, now_ms: i64) {
        let came = limit * seconds(now_ms - self.updated_ms);
        self.tokens = (self.tokens + came).min(Self::burst(windows, limit));
        self.updated_ms = now_ms;
    }

    fn burst(windows: Windows, limit: f64) -> f64 {
        f64::from(windows.samples) * windows.window_seconds() * limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Windows = Windows { samples: 100, window_ms: 1000 };
    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn a_burst_beyond_the_bucket_waits_for_what_is_missing() {
        let mut bucket = TokenBucket::default();
        bucket.record(W, 5.0, 560.0, NOW);
        // The example of KIP-599: 500 in the bucket, 60 too many, 5 per second.
        assert_eq!(bucket.throttle_ms(W, 5.0, NOW), 12_000);
        assert_eq!(bucket.throttle_ms(W, 5.0, NOW + 5000), 7000);
        assert_eq!(bucket.throttle_ms(W, 5.0, NOW + 12_000), 0);
    }

    #[test]
    fn it_never_holds_more_than_the_burst() {
        let mut bucket = TokenBucket::default();
        bucket.record(W, 1.0, 0.0, NOW);
        bucket.record(W, 1.0, 101.0, NOW + 1_000_000);
        assert_eq!(bucket.throttle_ms(W, 1.0, NOW + 1_000_000), 1000);
    }
}
