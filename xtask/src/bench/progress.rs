//! How far the run is: a bar on a terminal, lines elsewhere.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows trials and their steps.
pub(super) struct Progress {
    bar: ProgressBar,
    trial: RefCell<String>,
}

impl Progress {
    /// For so many trials.
    pub(super) fn new(trials: usize) -> Result<Self> {
        let bar = ProgressBar::new(trials as u64);
        bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:20} {pos}/{len}  {msg}")?);
        bar.enable_steady_tick(Duration::from_millis(500));
        Ok(Self { bar, trial: RefCell::default() })
    }

    /// A trial begins.
    pub(super) fn trial(&self, text: String) {
        if self.bar.is_hidden() {
            println!("[{}/{}] {text}", self.bar.position() + 1, self.bar.length().unwrap_or(0));
        }
        self.bar.set_message(text.clone());
        self.trial.replace(text);
    }

    /// A step of the trial begins.
    pub(super) fn step(&self, text: &str) {
        self.bar.set_message(format!("{}: {text}", self.trial.borrow()));
    }

    /// The trial has ended.
    pub(super) fn trial_done(&self) {
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

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
