//! What the machine itself can do: the least that receiving, checking and keeping records costs, or sending them; and how long
//! the disk takes to make something durable.

use std::fs;

use anyhow::Result;

use super::super::clients::RECORD_BYTES;
use super::super::clients::librdkafka::{Limits, Rate};
use super::super::system::{Compared, System};
use super::super::trial::Trial;
use super::{Scenario, latency, measure};

/// The limits.
pub(super) const LIMITS: Scenario = Scenario {
    name: "limits",
    title: "Limits of the machine",
    about: "Without any server. Sink: one thread reads 64 KiB from a socket, takes their CRC-32C and appends them to a file (page \
            cache); then the same with an `fdatasync` each time. Source: one thread sends a file from the page cache to a socket with `sendfile`, 1 MiB at a time. CPU \
            seconds are that thread's. Sync: how long `fdatasync` takes after each append of 64 KiB, one right after the other or one \
            every 2.5 ms. Echo: one thread sends 1 KiB records at a fixed rate, another appends each to a file (page cache) and answers it; \
            latency from the intended time, as in the scenario `latency`: no server can do less. librdkafka's own broker: the \
            generator of the scenario `latency` with the broker that librdkafka has for tests, which is a thread of the same process and keeps \
            records in memory: what is left is the client's and the machine's.",
    minutes: 2.1,
    is_quick: true,
    compared: Compared::Machine,
    run: limits,
};

/// The only column.
pub(crate) const SYSTEM: &str = System::MACHINE;
/// The bare produce.
pub(crate) const SINK: &str = "socket → CRC-32C → file";
/// The bare produce that is durable, without any group.
pub(crate) const DURABLE_SINK: &str = "socket → CRC-32C → file, each 64 KiB synced";
/// The bare consume.
pub(crate) const SOURCE: &str = "file → socket, sendfile";
/// The bare acknowledgement, at a pace that the disk can hold.
pub(crate) const SYNC: &str = "fdatasync of 64 KiB every 2.5 ms";
const SYNC_FLAT_OUT: &str = "fdatasync of 64 KiB, one after the other";

/// The generator of the scenario `latency` with a broker in memory, in its own process.
pub(crate) fn mock(case: &str) -> String {
    format!("librdkafka's own broker, {case}")
}

/// The bare round trip at a rate of the scenario `latency`.
pub(crate) fn echo(case: &str) -> String {
    format!("echo, {case}")
}

fn limits(trial: &mut Trial<'_>) -> Result<()> {
    let dir = trial.scratch().to_owned();
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    trial.settle()?;
    trial.step("sink, source, syncs, echoes");
    let (megabytes, seconds) = trial.sized((2_000, 15), (500, 3));
    let rates = latency::rates(trial);
    let echoes: String = rates.iter().map(|(_, rate)| format!(" --echo {rate}")).collect();
    let words = format!("limits --dir {} --megabytes {megabytes} --seconds {seconds}{echoes}", dir.display());
    let limits: Limits = trial.kit.load.run_alone(&words)?;
    trial.record(SINK, measure::PRODUCE_CPU, limits.sink.cpu_s_per_gb);
    trial.record(SINK, measure::PRODUCED, limits.sink.mb_per_s);
    trial.record(DURABLE_SINK, measure::PRODUCE_CPU, limits.durable_sink.cpu_s_per_gb);
    trial.record(DURABLE_SINK, measure::PRODUCED, limits.durable_sink.mb_per_s);
    trial.record(SOURCE, measure::CONSUME_CPU, limits.source.cpu_s_per_gb);
    trial.record(SOURCE, measure::CONSUMED, limits.source.mb_per_s);
    trial.record_latencies(SYNC_FLAT_OUT, &limits.syncs);
    trial.record_latencies(SYNC, &limits.paced_syncs);
    for ((case, _), echoed) in rates.iter().zip(&limits.echoes) {
        trial.record_latencies(&echo(case), echoed);
    }
    for (case, rate) in rates {
        let (warm_up, seconds) = trial.sized((2, 10), (1, 3));
        trial.step(&mock(case));
        // The address is never used: the mock broker's takes its place.
        let words = format!(
            "rate --bootstrap localhost:9 --topic limits --size {RECORD_BYTES} --rate {rate} --warm-up {warm_up} \
             --seconds {seconds} --set test.mock.num.brokers=1"
        );
        let sent: Rate = trial.kit.load.run_alone(&words)?;
        trial.record_latencies(&mock(case), &sent.latencies);
    }
    fs::remove_dir_all(&dir)?;
    Ok(())
}
