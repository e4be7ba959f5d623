//! As fast as the server takes it: the leanest client there is, so that the broker gets most of the machine.

use anyhow::{Result, ensure};

use super::super::clients::librdkafka::Flood;
use super::super::clients::{RECORD_BYTES, gigabytes};
use super::super::server::Server;
use super::super::system::Compared;
use super::super::trial::Trial;
use super::{Scenario, measure};

/// Throughput at saturation.
pub(super) const SATURATION: Scenario = Scenario {
    name: "saturation",
    title: "Throughput at saturation",
    about: "One librdkafka producer sends 1 KiB records as fast as they are acknowledged (`acks=all`, `linger.ms` 5, 64 MiB of records \
            waiting), which librdkafka puts into one partition for 10 ms, then another.",
    minutes: 2.2,
    is_quick: true,
    compared: Compared::Policies,
    run: saturation,
};

/// Numbers of partitions in the targets.
pub(crate) const PARTITIONS: &[u64] = &[1, 12, 1_000];

/// The case of a number of partitions.
pub(crate) fn case(partitions: u64) -> String {
    match partitions {
        1 => "1 partition".to_owned(),
        1_000.. => format!("{},{:03} partitions", partitions / 1_000, partitions % 1_000),
        _ => format!("{partitions} partitions"),
    }
}

fn saturation(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    trial.topic(&server, "warm-up", 1)?;
    trial.step("warm-up");
    flood(trial, &server, "warm-up", trial.sized(3.0, 2.0))?;
    for partitions in PARTITIONS {
        // A quick run has the one that targets compare most.
        if trial.kit.quick && *partitions != 12 {
            continue;
        }
        let case = case(*partitions);
        let topic = format!("p{partitions}");
        trial.topic(&server, &topic, *partitions)?;
        trial.settle()?;
        trial.step(&case);
        let (sent, cpu_s) = server.metered(|| flood(trial, &server, &topic, trial.sized(6.0, 3.0)))?;
        trial.record(&case, measure::PRODUCED, sent.rate * RECORD_BYTES as f64 / 1e6);
        trial.record(&case, measure::PRODUCE_CPU, cpu_s / gigabytes(sent.acked, RECORD_BYTES));
        trial.record(&case, measure::RESIDENT, server.resident_mib()?);
    }
    server.stop()
}

/// Sends 1 KiB records for so many seconds, as fast as they are acknowledged.
pub(super) fn flood(trial: &Trial<'_>, server: &Server, topic: &str, seconds: f64) -> Result<Flood> {
    let words = format!("flood --topic {topic} --size {RECORD_BYTES} --seconds {seconds}");
    let sent: Flood = trial.kit.load.run(&server.bootstrap, &words)?;
    ensure!(sent.failed == 0, "{} records failed", sent.failed);
    Ok(sent)
}

/// Sends so many 1 KiB records, about 10 ms into one partition, then into another.
pub(super) fn fill(trial: &Trial<'_>, server: &Server, topic: &str, records: u64) -> Result<()> {
    trial.step(&format!("{records} records"));
    let words = format!("flood --topic {topic} --size {RECORD_BYTES} --seconds 120 --records {records}");
    let sent: Flood = trial.kit.load.run(&server.bootstrap, &words)?;
    ensure!(sent.acked == records && sent.failed == 0, "{} of {records} records arrived", sent.acked);
    Ok(())
}
