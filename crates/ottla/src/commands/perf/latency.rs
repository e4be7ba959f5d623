//! Latencies, as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longer ones count as this: ten minutes, in microseconds.
const MAX_US: u64 = 600_000_000;
/// Three digits of each value are kept.
const PRECISION: u8 = 3;
const PERCENTILES: [f64; 4] = [50.0, 95.0, 99.0, 99.9];

/// Collects latencies.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_max(MAX_US, PRECISION).expect("the bounds are valid"))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(MAX_US);
        self.0.saturating_record(us.min(MAX_US));
    }

    pub(super) fn clear(&mut self) {
        self.0.reset();
    }

    pub(super) fn average_ms(&self) -> f64 {
        self.0.mean() / 1000.0
    }

    pub(super) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    fn percentile_ms(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1000.0
    }

    /// `0.50 ms 50th, …` as `kafka-producer-perf-test.sh` prints them, with more digits.
    pub(super) fn shown(&self) -> String {
        let shown = PERCENTILES.map(|percentile| {
            let suffix = "th";
            format!("{:.2} ms {percentile}{suffix}", self.percentile_ms(percentile))
        });
        shown.join(", ")
    }

    pub(super) fn json(&self) -> Value {
        let percentiles: serde_json::Map<String, Value> =
            PERCENTILES.iter().map(|it| (format!("p{it}"), json!(self.percentile_ms(*it)))).collect();
        json!({ "averageMs": self.average_ms(), "maxMs": self.max_ms(), "percentilesMs": percentiles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        for ms in 1..=1000 {
            latencies.record(Duration::from_millis(ms));
        }
        assert!((latencies.percentile_ms(50.0) - 500.0).abs() < 1.0);
        assert!((latencies.percentile_ms(99.0) - 990.0).abs() < 2.0);
        assert!((latencies.average_ms() - 500.5).abs() < 1.0);
        latencies.record(Duration::from_secs(86_400));
        assert!(latencies.max_ms() >= 600_000.0);
        latencies.clear();
        assert!(latencies.max_ms() < 0.001);
    }
}
