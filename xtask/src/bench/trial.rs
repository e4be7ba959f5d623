//! One repetition of a scenario with one system: what the scenario works with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::clients::java::Tools;
use super::clients::librdkafka::{Created, Latencies, Load, Rate};
use super::memory::Filler;
use super::probe::{Probe, Syncs};
use super::progress::Progress;
use super::rest::Rest;
use super::results::Outcome;
use super::scenarios::measure;
use super::server::Server;
use super::system::System;

/// What all trials share.
pub(super) struct Kit {
    pub(super) tools: Tools,
    pub(super) load: Load,
    pub(super) rest: Rest,
    pub(super) filler: Filler,
    /// Where servers keep their data, one after the other.
    pub(super) scratch: PathBuf,
    /// Smaller sizes, shorter times.
    pub(super) quick: bool,
}

/// One repetition of a scenario with one system.
pub(super) struct Trial<'a> {
    pub(super) kit: &'a Kit,
    pub(super) system: &'a System,
    pub(super) progress: &'a Progress,
    pub(super) outcome: &'a mut Outcome,
    /// Whether the page cache was filled since it began.
    pub(super) is_filled: bool,
}

/// Percentiles that have a row of their own.
const ROWS: &[(f64, &str)] = &[
    (50.0, "p50, ms"),
    (90.0, "p90, ms"),
    (99.0, "p99, ms"),
    (99.9, "p99.9, ms"),
    (99.99, "p99.99, ms"),
    (100.0, "max, ms"),
];

impl Kit {
    /// Where data is kept until the end of the run.
    pub(super) fn kept(&self) -> PathBuf {
        self.scratch.with_file_name("kept")
    }

    /// Removes what was kept.
    pub(super) fn forget_kept(&self) -> Result<()> {
        let kept = self.kept();
        if kept.exists() {
            std::fs::remove_dir_all(kept)?;
        }
        Ok(())
    }
}

impl Trial<'_> {
    /// Starts the system on an empty directory.
    pub(super) fn server(&self) -> Result<Server> {
        self.step("start");
        Server::start(self.system, &self.kit.scratch)
    }

    /// Where servers and other measurements keep their data.
    pub(super) fn scratch(&self) -> &Path {
        &self.kit.scratch
    }

    /// The one for a full run or the one for a quick run.
    pub(super) fn sized<T>(&self, full: T, quick: T) -> T {
        if self.kit.quick { quick } else { full }
    }

    /// What `work` yields, and how long the disk took for syncs of its own meanwhile.
    pub(super) fn probed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Syncs)> {
        let probe = Probe::start(self.scratch());
        let done = work()?;
        Ok((done, probe.stop()?))
    }

    /// Says what is done now.
    pub(super) fn step(&self, text: &str) {
        self.progress.step(text);
    }

    /// Waits until nothing of what was done before can disturb what is measured next, see [`Rest`] and [`Filler`]; notes it if the
    /// disk does not come to rest.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.step("waiting for the disk to rest");
        let limit = self.sized(Duration::from_secs(15), Duration::from_secs(2));
        if !self.kit.rest.wait(self.scratch(), limit)? {
            self.outcome.restless += 1;
        }
        self.fill()
    }

    /// Fills the page cache, see [`Filler`].
    pub(super) fn fill(&mut self) -> Result<()> {
        // In a quick run once, and then with what the clients give back.
        if !(self.kit.quick && self.is_filled) {
            self.step("filling the page cache");
            self.kit.filler.fill()?;
        }
        self.is_filled = true;
        Ok(())
    }

    /// Notes one repetition of a measure.
    pub(super) fn record(&mut self, case: &str, measure: &str, value: f64) {
        self.outcome.record(&self.system.name(), case, measure, value);
    }

    /// Notes one repetition of latencies.
    pub(super) fn record_latencies(&mut self, case: &str, latencies: &Latencies) {
        for (percentile, measure) in ROWS {
            let found = latencies.percentiles_ms.iter().find(|(p, _)| (p - percentile).abs() < 1e-9);
            if let Some((_, ms)) = found {
                self.record(case, measure, *ms);
            }
        }
        self.outcome.record_curve(&self.system.name(), case, &latencies.percentiles_ms);
    }

    /// Notes one repetition of what sending at a fixed rate showed, of the generator and of the server.
    pub(super) fn record_rate(
        &mut self,
        case: &str,
        sent: &Rate,
        disk: &Syncs,
        server: &Server,
    ) -> Result<()> {
        self.record_latencies(case, &sent.latencies);
        self.record(case, "acknowledged, records/s", sent.rate);
        for (percentile, measure) in [(99.0, measure::LATE_P99), (100.0, measure::LATE_MAX)] {
            let found = sent.lateness.percentiles_ms.iter().find(|(p, _)| (p - percentile).abs() < 1e-9);
            if let Some((_, ms)) = found {
                self.record(case, measure, *ms);
            }
        }
        self.record(case, "generator CPU, cores", sent.cores);
        self.record(case, measure::DISK_P99, disk.percentile(99.0));
        self.record(case, measure::DISK_MAX, disk.percentile(100.0));
        self.record(case, measure::RESIDENT, server.resident_mib()?);
        Ok(())
    }

    /// Makes a topic and waits for its leaders.
    pub(super) fn topic(&self, server: &Server, name: &str, partitions: u64) -> Result<f64> {
        self.step(&format!("topic of {partitions} partitions"));
        let words = format!("topics --topic {name} --partitions {partitions}");
        Ok(self.kit.load.run::<Created>(&server.bootstrap, &words)?.seconds)
    }
}

/// Records that failed make a measurement void.
pub(super) fn sound(rate: &Rate) -> Result<()> {
    ensure!(rate.failed == 0, "{} of {} records failed", rate.failed, rate.acked + rate.failed);
    Ok(())
}
