//! Producing to many partitions, and compressed, and with other guarantees: variations of one load.

use anyhow::Result;

use super::super::clients::RECORD_BYTES;
use super::super::clients::java::Produce;
use super::super::system::Compared;
use super::super::trial::Trial;
use super::throughput::{both_ways, produce, warm_up};
use super::{Scenario, saturation};

/// Numbers of partitions.
pub(super) const PARTITIONS: Scenario = Scenario {
    name: "partitions",
    title: "Number of partitions",
    about: "As the scenario `size` with 1 KiB records, one topic after the other; ProducerPerformance fills a batch for one partition, then \
            one for another.",
    minutes: 5.5,
    is_quick: false,
    compared: Compared::Policies,
    run: partitions,
};

/// Codecs.
pub(super) const CODECS: Scenario = Scenario {
    name: "codecs",
    title: "Compression",
    about: "As the scenario `size` with 1 KiB records of random capital letters, compressed by the producer; GB are of what was to be \
            compressed.",
    minutes: 2.8,
    is_quick: false,
    compared: Compared::Policies,
    run: codecs,
};

/// What an acknowledgement promises.
pub(super) const ACKS: Scenario = Scenario {
    name: "acks",
    title: "Acknowledgements and idempotence",
    about: "As the scenario `size` with 1 KiB records, only producing.",
    minutes: 1.9,
    is_quick: false,
    compared: Compared::Policies,
    run: acks,
};

fn partitions(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    warm_up(trial, &server)?;
    let numbers: &[u64] = trial.sized(&[1, 12, 1_000, 10_000], &[1, 12, 1_000]);
    for partitions in numbers {
        let case = saturation::case(*partitions);
        let topic = format!("p{partitions}");
        trial.topic(&server, &topic, *partitions)?;
        // Where a record costs more, fewer of them say as much.
        let records =
            if *partitions < 1_000 { kib(trial, &topic, &[]).records } else { trial.sized(200_000, 50_000) };
        let load = Produce { records, ..kib(trial, &topic, &[]) };
        both_ways(trial, &server, &case, &load)?;
    }
    server.stop()
}

/// 1 KiB records.
fn kib<'a>(trial: &Trial<'_>, topic: &'a str, settings: &'a [&'a str]) -> Produce<'a> {
    Produce { topic, records: trial.sized(500_000, 100_000), record_bytes: RECORD_BYTES, settings }
}

fn codecs(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    warm_up(trial, &server)?;
    for (codec, setting) in [
        ("none", "compression.type=none"),
        ("lz4", "compression.type=lz4"),
        ("zstd", "compression.type=zstd"),
    ] {
        trial.topic(&server, codec, 1)?;
        let load = kib(trial, codec, std::slice::from_ref(&setting));
        both_ways(trial, &server, codec, &load)?;
    }
    server.stop()
}

fn acks(trial: &mut Trial<'_>) -> Result<()> {
    let cases: [(&str, &[&str]); 3] = [
        ("acks=1", &["acks=1", "enable.idempotence=false"]),
        ("acks=all", &["acks=all", "enable.idempotence=false"]),
        ("acks=all, idempotent", &["acks=all", "enable.idempotence=true"]),
    ];
    let mut server = trial.server()?;
    warm_up(trial, &server)?;
    for (number, (case, settings)) in cases.into_iter().enumerate() {
        let topic = format!("acks-{number}");
        trial.topic(&server, &topic, 12)?;
        let load = kib(trial, &topic, settings);
        produce(trial, &server, case, &load)?;
    }
    server.stop()
}
