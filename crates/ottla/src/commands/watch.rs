//! Showing something again and again: redrawn on a terminal, as lines of JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::signals::StopSignals;
use super::values::duration;

/// Moves to the top left and clears everything below.
const HOME_AND_CLEAR: &str = "\x1b[H\x1b[J";
const CLEAR_SCREEN: &str = "\x1b[2J";

/// Whether and how to go on showing.
#[derive(Debug, Args)]
#[command(next_help_heading = "Live view")]
pub(crate) struct WatchArgs {
    /// Show it live, with rates; Ctrl-C ends it
    #[arg(long, short)]
    pub(super) watch: bool,
    /// Time between two looks, such as 500ms or 10s
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration, requires = "watch")]
    pub(super) interval: Duration,
    /// End after so many looks
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
}

/// One look: text for people, and the same as JSON.
pub(super) struct Frame {
    pub(super) text: String,
    pub(super) json: Value,
}

/// What changes with time, sampled: counters by name, to make rates of.
pub(super) trait Watched {
    type Sample: Send;

    /// Looks now.
    async fn sample(&self) -> anyhow::Result<Self::Sample>;

    /// Shows a sample, with rates since the one before.
    fn frame(&self, now: &Self::Sample, before: Option<(&Self::Sample, Duration)>) -> Frame;
}

/// Shows until told to stop.
pub(super) async fn watch(watched: &impl Watched, args: &WatchArgs, json: bool) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    let is_screen = !json && io::stdout().is_terminal();
    if is_screen {
        print(CLEAR_SCREEN)?;
    }
    let mut before = None;
    let mut looks = 0;
    loop {
        let now = tokio::select! {
            () = signals.stop() => return Ok(()),
            sample = watched.sample() => (sample?, Instant::now()),
        };
        let since = before.as_ref().map(|(sample, at)| (sample, now.1.duration_since(*at)));
        let frame = watched.frame(&now.0, since);
        match (json, is_screen) {
            (true, _) => print(&format!("{}\n", frame.json))?,
            (false, true) => print(&format!("{HOME_AND_CLEAR}{}\n", frame.text))?,
            (false, false) => print(&format!("{}\n\n", frame.text))?,
        }
        before = Some(now);
        looks += 1;
        if args.count.is_some_and(|count| looks >= count) {
            return Ok(());
        }
        tokio::select! {
            () = signals.stop() => return Ok(()),
            () = tokio::time::sleep(args.interval) => {}
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// How fast a counter has grown, per second.
pub(super) fn rate(now: i64, before: i64, elapsed: Duration) -> f64 {
    now.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(0.001)
}

/// A rate for people.
pub(super) fn shown_rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate.abs() >= 100.0 || rate == 0.0 => format!("{rate:.0}/s"),
        Some(rate) => format!("{rate:.1}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        assert!((rate(30, 10, Duration::from_secs(2)) - 10.0).abs() < 0.001);
        assert_eq!(shown_rate(Some(1234.5)), "1234/s");
        assert_eq!(shown_rate(Some(0.25)), "0.2/s");
        assert_eq!(shown_rate(Some(0.0)), "0/s");
        assert_eq!(shown_rate(None), "-");
    }
}
