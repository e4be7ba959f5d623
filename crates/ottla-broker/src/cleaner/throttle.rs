//! How fast the cleaner may read and write (`Throttler`): all its threads share one rate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The rate is looked at once in so long.
const WINDOW: Duration = Duration::from_millis(300);

/// Bytes per second, of all threads together.
#[derive(Debug)]
pub(crate) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes_per_second: f64,
    since: Instant,
    bytes: f64,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: f64) -> Self {
        Self { state: Mutex::new(State { bytes_per_second, since: Instant::now(), bytes: 0.0 }) }
    }

    /// Changes the rate, from now on.
    pub(crate) fn set_rate(&self, bytes_per_second: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { bytes_per_second, since: Instant::now(), bytes: 0.0 };
    }

    /// Notes bytes that were read or written; how long to pause for them.
    pub(crate) fn note(&self, bytes: usize) -> Duration {
        self.note_at(bytes, Instant::now())
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is no count")]
    fn note_at(&self, bytes: usize, now: Instant) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes as f64;
        let elapsed = now.saturating_duration_since(state.since);
        let due = Duration::try_from_secs_f64(state.bytes / state.bytes_per_second).unwrap_or(Duration::MAX);
        if elapsed < WINDOW && due < WINDOW {
            return Duration::ZERO;
        }
        let pause = due.saturating_sub(elapsed);
        state.bytes = 0.0;
        state.since = now.checked_add(pause).unwrap_or(now);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_for_what_exceeds_the_rate() {
        let throttle = Throttle::new(1000.0);
        let start = throttle.state.lock().unwrap().since;
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(throttle.note_at(100, at(0)), Duration::ZERO);
        assert_eq!(throttle.note_at(900, at(0)), Duration::from_secs(1));
        // The pause is part of the next window.
        assert_eq!(throttle.note_at(100, at(1000)), Duration::ZERO);
        assert_eq!(throttle.note_at(100, at(1500)), Duration::ZERO);
        assert_eq!(throttle.note_at(600, at(1500)), Duration::from_millis(600));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let throttle = Throttle::new(f64::MAX);
        let later = Instant::now() + Duration::from_secs(1);
        assert_eq!(throttle.note_at(usize::MAX, later), Duration::ZERO);
    }
}
