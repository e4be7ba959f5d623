//! How long a start takes, and the memory of many partitions.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::super::clients::{RECORD_BYTES, gigabytes};
use super::super::system::Compared;
use super::super::trial::Trial;
use super::{Scenario, measure, saturation};

/// Start and restart.
pub(super) const START: Scenario = Scenario {
    name: "start",
    title: "Start, restart and memory of partitions",
    about: "From the start of the process to the first answered request: on an empty directory, after an orderly stop, after `kill -9`. 1 KiB \
            records are produced before the crash (more of them to the only partition), so that there is something to recover. \
            With 10,000 partitions a quick run leaves Apache Kafka out.",
    minutes: 3.5,
    is_quick: true,
    compared: Compared::Default,
    run: start,
};

/// The case of an empty directory.
pub(crate) const EMPTY: &str = "empty directory";
/// Ready after an orderly stop.
pub(crate) const CLEAN: &str = "clean restart, ms";
/// Ready after a crash.
pub(crate) const CRASH: &str = "crash restart, ms";
/// What was produced before the crash, all of it above the recovery point.
pub(crate) const RECOVERED: &str = "produced before the crash, MB";
/// As many as targets speak of.
pub(crate) const MOST_PARTITIONS: u64 = 10_000;
/// What reading and checking a file from a disk of 500 MB/s takes.
pub(crate) const RECOVERY_S_PER_GB: f64 = 2.0;

/// The case of a number of partitions.
pub(crate) fn case(partitions: u64) -> String {
    saturation::case(partitions)
}

fn start(trial: &mut Trial<'_>) -> Result<()> {
    for _ in 0..trial.sized(3, 1) {
        let mut server = trial.server()?;
        trial.record(EMPTY, measure::READY, millis(server.ready));
        server.stop()?;
    }
    for partitions in [1, 1_000, MOST_PARTITIONS] {
        if trial.kit.quick && (partitions == 1_000 || trial.system.is_kafka() && partitions > 1) {
            continue;
        }
        restarts(trial, partitions)?;
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn restarts(trial: &mut Trial<'_>, partitions: u64) -> Result<()> {
    let case = case(partitions);
    let mut server = trial.server()?;
    let seconds = trial.topic(&server, "many", partitions)?;
    trial.record(&case, "created, s", seconds);
    saturation::fill(trial, &server, "many", 50_000)?;
    sleep(Duration::from_secs(2));
    trial.record(&case, measure::RESIDENT, server.resident_mib()?);
    trial.step(&format!("{case}, clean restart"));
    let stopped = server.restart()?;
    trial.record(&case, "orderly stop, ms", millis(stopped));
    trial.record(&case, CLEAN, millis(server.ready));
    let records = if partitions == 1 { trial.sized(1_000_000, 250_000) } else { 50_000 };
    saturation::fill(trial, &server, "many", records)?;
    // Recovery reads from the disk, into memory that it would be the first to use.
    trial.fill()?;
    trial.step(&format!("{case}, crash restart"));
    server.crash_and_restart()?;
    trial.record(&case, CRASH, millis(server.ready));
    trial.record(&case, RECOVERED, gigabytes(records, RECORD_BYTES) * 1e3);
    trial.record(&case, "resident after the crash restart, MiB", server.resident_mib()?);
    if partitions == 1 { server.stop() } else { server.stop_and_keep(&trial.kit.kept()) }
}
