//! A rate over sampled windows (`Rate`, `SampledStat`).

use super::{Windows, round_ms, seconds};

/// How much came per second lately. Samples are made when something is recorded, and reused when they are old.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Clone, Debug)]
struct Sample {
    value: f64,
    start_ms: i64,
    last_event_ms: i64,
}

impl Sample {
    fn new(now_ms: i64) -> Self {
        Self { value: 0.0, start_ms: now_ms, last_event_ms: now_ms }
    }
}

impl Rate {
    /// Adds to the current sample; a negative amount takes back what was added.
    pub fn record(&mut self, windows: Windows, amount: f64, now_ms: i64) {
        if self.samples.is_empty() {
            self.samples.push(Sample::new(now_ms));
            self.current = 0;
        } else if now_ms - self.samples[self.current].start_ms >= windows.window_ms {
            // One more than count, for the oldest sample that still overlaps the window.
            self.current = (self.current + 1) % (windows.samples as usize + 1);
            match self.samples.get_mut(self.current) {
                Some(sample) => *sample = Sample::new(now_ms),
                None => {
                    self.current = self.samples.len();
                    self.samples.push(Sample::new(now_ms));
                }
            }
        }
        let sample = &mut self.samples[self.current];
        sample.value += amount;
        sample.last_event_ms = now_ms;
    }

    /// The rate per second.
    pub fn measure(&mut self, windows: Windows, now_ms: i64) -> f64 {
        self.purge(windows, now_ms);
        let sum: f64 = self.samples.iter().map(|sample| sample.value).sum();
        sum / seconds(self.window_ms(windows, now_ms))
    }

    /// How long to pause until the rate is down to `limit`, if nothing more comes; 0 when it is not above
    /// (`QuotaUtils.throttleTime`): O × W / (W + pause) = T.
    pub fn throttle_ms(&mut self, windows: Windows, limit: f64, now_ms: i64) -> i64 {
        let rate = self.measure(windows, now_ms);
        if rate <= limit {
            return 0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a span of seconds")]
        let window_ms = self.window_ms(windows, now_ms) as f64;
        round_ms((rate - limit) / limit * window_ms).max(0)
    }

    /// When something was recorded last.
    pub fn last_event_ms(&self) -> Option<i64> {
        self.samples.get(self.current).map(|sample| sample.last_event_ms)
    }

    fn purge(&mut self, windows: Windows, now_ms: i64) {
        let age_ms = i64::from(windows.samples) * windows.window_ms;
        for sample in self.samples.iter_mut().filter(|sample| now_ms - sample.last_event_ms >= age_ms) {
            *sample = Sample::new(now_ms);
        }
    }

    /// The time that the samples stand for: never less than all whole windows, or a first burst would look endless.
    fn window_ms(&self, windows: Windows, now_ms: i64) -> i64 {
        let oldest_ms = self.samples.iter().map(|sample| sample.start_ms).min().unwrap_or(now_ms);
        let elapsed_ms = now_ms - oldest_ms;
        let whole = elapsed_ms / windows.window_ms;
        let missing = (i64::from(windows.samples) - 1 - whole).max(0);
        (elapsed_ms + missing * windows.window_ms).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Windows = Windows { samples: 11, window_ms: 1000 };

    #[test]
    fn a_first_burst_counts_over_the_whole_windows() {
        let mut rate = Rate::default();
        rate.record(W, 1000.0, 50_000);
        assert!((rate.measure(W, 50_000) - 100.0).abs() < 1e-9, "1000 over 10 s");
        assert!((rate.measure(W, 50_500) - 1000.0 / 10.5).abs() < 1e-9);
    }

    #[test]
    fn the_pause_brings_the_rate_down_to_the_limit() {
        let mut rate = Rate::default();
        rate.record(W, 2000.0, 0);
        assert_eq!(rate.throttle_ms(W, 200.0, 0), 0, "just at the limit");
        assert_eq!(rate.throttle_ms(W, 100.0, 0), 10_000);
        // At the very end of the pause the rate is the limit.
        rate.record(W, 0.0, 10_000);
        assert_eq!(rate.throttle_ms(W, 100.0, 20_000), 0);
    }

    #[test]
    fn taking_back_leaves_nothing() {
        let mut rate = Rate::default();
        rate.record(W, 500.0, 10);
        rate.record(W, -500.0, 10);
        assert_eq!(rate.throttle_ms(W, 1.0, 10), 0);
    }

    #[test]
    fn old_samples_are_forgotten_and_reused() {
        let mut rate = Rate::default();
        for second in 0..100 {
            rate.record(W, 10.0, second * 1000);
        }
        assert_eq!(rate.samples.len(), 12);
        let now = 99_000;
        let measured = rate.measure(W, now);
        assert!((measured - 11.0).abs() < 1.0, "about 10 per second: {measured}");
        assert!(rate.measure(W, now + 11_000).abs() < 1e-9, "all samples are too old");
        assert_eq!(rate.last_event_ms(), Some(now + 11_000));
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let mut rate = Rate::default();
        rate.record(W, 10.0, 100_000);
        rate.record(W, 10.0, 90_000);
        assert!(rate.throttle_ms(W, 1.0, 80_000) >= 0);
        assert!(rate.measure(W, 80_000).is_finite());
    }
}
