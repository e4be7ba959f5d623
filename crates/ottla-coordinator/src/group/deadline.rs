//! Deadlines that move often, over timers that move rarely.
//!
//! A heartbeat pushes its member's deadline back many times before it would ever fire. So the runtime's timer stays where
//! it is, and when it fires early it is set again for the rest.

/// A deadline of the shard and the timer that stands for it in the runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deadline {
    at_ms: Option<i64>,
    timer_at_ms: Option<i64>,
}

/// What a fired timer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// The deadline has passed.
    Due,
    /// The deadline moved: set the timer to this time.
    Later(i64),
    /// Nothing is waited for.
    Stale,
}

impl Deadline {
    /// Moves the deadline. Returns the time to set the timer to, if the pending one would be too late or there is none.
    #[must_use]
    pub(crate) fn set(&mut self, at_ms: i64) -> Option<i64> {
        self.at_ms = Some(at_ms);
        match self.timer_at_ms {
            Some(timer_at_ms) if timer_at_ms <= at_ms => None,
            _ => {
                self.timer_at_ms = Some(at_ms);
                Some(at_ms)
            }
        }
    }

    /// Drops the deadline. Returns whether a timer is pending, to be cancelled.
    #[must_use]
    pub(crate) fn clear(&mut self) -> bool {
        self.at_ms = None;
        self.timer_at_ms.take().is_some()
    }

    /// The timer fired.
    #[must_use]
    pub(crate) fn fire(&mut self, now_ms: i64) -> Fired {
        match self.at_ms {
            None => {
                self.timer_at_ms = None;
                Fired::Stale
            }
            Some(at_ms) if at_ms <= now_ms => {
                *self = Self::default();
                Fired::Due
            }
            Some(at_ms) => {
                self.timer_at_ms = Some(at_ms);
                Fired::Later(at_ms)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postponing_needs_no_timer_and_firing_early_sets_it_again() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.set(100), Some(100));
        assert_eq!(deadline.set(150), None);
        assert_eq!(deadline.fire(100), Fired::Later(150));
        assert_eq!(deadline.fire(150), Fired::Due);
        assert_eq!(deadline.fire(150), Fired::Stale);
    }

    #[test]
    fn bringing_forward_moves_the_timer() {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.set(100), Some(100));
        assert_eq!(deadline.set(60), Some(60));
        assert!(deadline.clear());
        assert!(!deadline.clear());
        assert_eq!(deadline.fire(60), Fired::Stale);
    }
}
