//! Producing and consuming with Kafka's own tools: what a gigabyte and a record cost the broker.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::super::clients::java::Produce;
use super::super::clients::{RECORD_BYTES, gigabytes};
use super::super::server::Server;
use super::super::system::Compared;
use super::super::trial::Trial;
use super::{Scenario, measure};

/// Sizes of records.
pub(super) const SIZE: Scenario = Scenario {
    name: "size",
    title: "Size of records",
    about: "ProducerPerformance, then ConsumerPerformance, each alone, on one partition; `acks=all`, idempotent, `batch.size` 65536, \
            `linger.ms` 5. Records of 100 B are sent in small batches instead: `batch.size` 4096, `linger.ms` 0. The client \
            takes most of the machine, so that MB/s is mostly the client's; what the broker costs is its CPU time.",
    minutes: 3.6,
    is_quick: true,
    compared: Compared::Policies,
    run: size,
};

/// The case of `size` that targets speak of.
pub(crate) const KIB: &str = "1 KiB";
/// The case of `size` with small records.
pub(crate) const SMALL: &str = "100 B, small batches";
/// The case of `size` before any load.
pub(crate) const IDLE: &str = "idle";

fn size(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    trial.record(IDLE, measure::READY, server.ready.as_secs_f64() * 1000.0);
    sleep(Duration::from_secs(2));
    trial.record(IDLE, measure::RESIDENT, server.resident_mib()?);
    warm_up(trial, &server)?;
    let megabytes = trial.sized(1_000, 200);
    let kib = Produce {
        topic: "kib",
        records: megabytes * 1_000_000 / RECORD_BYTES,
        record_bytes: RECORD_BYTES,
        settings: &[],
    };
    both_ways(trial, &server, KIB, &kib)?;
    let small = Produce {
        topic: "small",
        records: trial.sized(2_000_000, 400_000),
        record_bytes: 100,
        settings: &["batch.size=4096", "linger.ms=0"],
    };
    produce(trial, &server, SMALL, &small)?;
    // A consumer waits three seconds for its group: a quick run does without those that no target needs.
    if !trial.kit.quick {
        consume(trial, &server, SMALL, &small)?;
        let large = Produce { topic: "large", records: 10_000, record_bytes: 102_400, settings: &[] };
        both_ways(trial, &server, "100 KiB", &large)?;
    }
    server.stop()
}

/// Produces and consumes a little, so that neither the JVM's compiler nor the first touch of anything is measured.
pub(super) fn warm_up(trial: &Trial<'_>, server: &Server) -> Result<()> {
    trial.step("warm-up");
    let records = trial.sized(200_000, 60_000);
    let load = Produce { topic: "warm-up", records, record_bytes: RECORD_BYTES, settings: &[] };
    trial.kit.tools.produce(&server.bootstrap, &load)?;
    if !trial.kit.quick {
        trial.kit.tools.consume(&server.bootstrap, "warm-up", records)?;
    }
    Ok(())
}

/// Measures producing `load` and consuming it again.
pub(super) fn both_ways(
    trial: &mut Trial<'_>,
    server: &Server,
    case: &str,
    load: &Produce<'_>,
) -> Result<()> {
    produce(trial, server, case, load)?;
    consume(trial, server, case, load)
}

/// Measures producing `load`.
pub(super) fn produce(trial: &mut Trial<'_>, server: &Server, case: &str, load: &Produce<'_>) -> Result<()> {
    trial.settle()?;
    trial.step(&format!("{case}, produce"));
    let (rate, cpu_s) = server.metered(|| trial.kit.tools.produce(&server.bootstrap, load))?;
    let gb = gigabytes(load.records, load.record_bytes);
    trial.record(case, measure::PRODUCE_CPU, cpu_s / gb);
    trial.record(case, measure::PRODUCE_CPU_RECORDS, cpu_s / load.records as f64 * 1e6);
    trial.record(case, measure::PRODUCED, rate * load.record_bytes as f64 / 1e6);
    trial.record(case, measure::RESIDENT, server.resident_mib()?);
    Ok(())
}

/// Measures consuming what was produced.
pub(super) fn consume(trial: &mut Trial<'_>, server: &Server, case: &str, load: &Produce<'_>) -> Result<()> {
    trial.step(&format!("{case}, consume"));
    let (rate, cpu_s) =
        server.metered(|| trial.kit.tools.consume(&server.bootstrap, load.topic, load.records))?;
    let gb = gigabytes(load.records, load.record_bytes);
    trial.record(case, measure::CONSUME_CPU, cpu_s / gb);
    trial.record(case, measure::CONSUME_CPU_RECORDS, cpu_s / load.records as f64 * 1e6);
    trial.record(case, measure::CONSUMED, rate * load.record_bytes as f64 / 1e6);
    Ok(())
}
