//! How far the run is and how long it still takes: a bar on a terminal, lines elsewhere.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows trials and their steps.
pub(super) struct Progress {
    bar: ProgressBar,
    trial: RefCell<String>,
    start: Instant,
    /// What is still to be done, minutes as scenarios name them.
    left: Cell<f64>,
    done: Cell<f64>,
    /// How much longer or shorter than named, to begin with: a quick run is shorter.
    pace: f64,
}

impl Progress {
    /// For so many trials of so many minutes together, which take `pace` times as long.
    pub(super) fn new(trials: usize, minutes: f64, pace: f64) -> Result<Self> {
        let bar = ProgressBar::new(trials as u64);
        bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:20} {pos}/{len}  {msg}")?);
        bar.enable_steady_tick(Duration::from_millis(500));
        let (left, done) = (Cell::new(minutes), Cell::new(0.0));
        Ok(Self { bar, trial: RefCell::default(), start: Instant::now(), left, done, pace })
    }

    /// A trial begins.
    pub(super) fn trial(&self, text: &str) {
        let text = format!("about {} left; {text}", minutes(self.left_minutes()));
        if self.bar.is_hidden() {
            println!("[{}/{}] {text}", self.bar.position() + 1, self.bar.length().unwrap_or(0));
        }
        self.bar.set_message(text.clone());
        self.trial.replace(text);
    }

    /// As long as the trials so far, for what they were to take; of the first nothing is known.
    fn left_minutes(&self) -> f64 {
        left_minutes(self.start.elapsed(), self.done.get(), self.left.get(), self.pace)
    }

    /// A step of the trial begins.
    pub(super) fn step(&self, text: &str) {
        self.bar.set_message(format!("{}: {text}", self.trial.borrow()));
    }

    /// A trial of so many minutes has ended.
    pub(super) fn trial_done(&self, minutes: f64) {
        self.left.set(self.left.get() - minutes);
        self.done.set(self.done.get() + minutes);
        self.bar.inc(1);
    }

    /// A trial of so many minutes need not be made.
    pub(super) fn trial_skipped(&self, minutes: f64) {
        self.left.set(self.left.get() - minutes);
        self.bar.inc(1);
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            println!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

/// Two minutes' worth of the pace expected count beside the pace seen, or the first trial would say too much.
fn left_minutes(elapsed: Duration, done: f64, left: f64, pace: f64) -> f64 {
    const PRIOR: f64 = 2.0;
    left * (elapsed.as_secs_f64() / 60.0 + PRIOR * pace) / (done + PRIOR)
}

fn minutes(minutes: f64) -> String {
    if minutes < 1.0 { "1 min".to_owned() } else { format!("{minutes:.0} min") }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::left_minutes;

    #[test]
    fn what_is_left_follows_the_pace_seen() {
        assert!((left_minutes(Duration::ZERO, 0.0, 40.0, 1.0) - 40.0).abs() < 1e-9);
        let twice_as_slow = left_minutes(Duration::from_secs(20 * 60), 10.0, 30.0, 1.0);
        assert!((twice_as_slow - 55.0).abs() < 1e-9, "{twice_as_slow}");
    }
}
