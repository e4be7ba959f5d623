//! Many consumers of the same records, and one that reads what is no longer in memory.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::clients::RECORD_BYTES;
use super::super::clients::librdkafka::{Rate, Read, Running};
use super::super::system::Compared;
use super::super::trial::{Trial, sound};
use super::Scenario;
use super::latency::at_rate;
use super::saturation::{fill, flood};

/// Many consumers.
pub(super) const FANOUT: Scenario = Scenario {
    name: "fanout",
    title: "Fan-out",
    about: "librdkafka consumers that each read everything while one producer sends 5,000 records of 1 KiB a second to 12 partitions (as in the \
            scenario `latency`). The broker's CPU time includes producing.",
    minutes: 2.6,
    is_quick: false,
    compared: Compared::Policies,
    run: fanout,
};

/// Cold data.
pub(super) const COLD: Scenario = Scenario {
    name: "cold",
    title: "Reading cold data while producing",
    about: "A librdkafka consumer reads 12 partitions whose segment files were dropped from the page cache, while a producer sends 20,000 \
            records of 1 KiB a second to another topic (as in the scenario `latency`).",
    minutes: 1.8,
    is_quick: false,
    compared: Compared::Policies,
    run: cold,
};

fn fanout(trial: &mut Trial<'_>) -> Result<()> {
    const RATE: f64 = 5_000.0;
    let mut server = trial.server()?;
    trial.topic(&server, "warm-up", 12)?;
    trial.step("warm-up");
    flood(trial, &server, "warm-up", trial.sized(5.0, 2.0))?;
    let seconds = trial.sized(10.0, 4.0);
    let warm_up = trial.sized(3.0, 1.0);
    for consumers in [1, 5, 20] {
        let case = if consumers == 1 { "1 consumer".to_owned() } else { format!("{consumers} consumers") };
        let topic = format!("fanout-{consumers}");
        trial.topic(&server, &topic, 12)?;
        trial.settle()?;
        trial.step(&case);
        let records = (RATE * (seconds + warm_up)) as u64;
        let words = format!("read --topic {topic} --consumers {consumers} --records {records} --seconds 90");
        let (((sent, read), cpu_s), disk) = trial.probed(|| {
            server.metered(|| {
                let readers: Running<Read> = trial.kit.load.spawn(&server.bootstrap, &words)?;
                let sent = at_rate(trial, &server, &topic, RATE, seconds)?.wait()?;
                Ok((sent, readers.wait()?))
            })
        })?;
        sound(&sent)?;
        let expected = records * consumers;
        ensure!(read.records >= expected, "{} of {expected} records were read", read.records);
        trial.record(&case, "delivered, MB/s", read.bytes as f64 / 1e6 / read.seconds);
        trial.record(&case, "broker CPU-s per GB delivered", cpu_s / (read.bytes as f64 / 1e9));
        trial.record_rate(&case, &sent, &disk, &server)?;
    }
    server.stop()
}

fn cold(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    for topic in ["cold", "hot"] {
        trial.topic(&server, topic, 12)?;
    }
    let records = trial.sized(1_500_000, 200_000);
    fill(trial, &server, "cold", records)?;
    trial.settle()?;
    let bytes = server.make_cold("cold")?;
    let case = "cold reader beside a producer";
    trial.step(case);
    let seconds = trial.sized(10.0, 3.0);
    let words = format!("read --topic cold --records {records} --seconds 120");
    let (((sent, read), cpu_s), disk) = trial.probed(|| {
        server.metered(|| {
            let producer: Running<Rate> = at_rate(trial, &server, "hot", 20_000.0, seconds)?;
            std::thread::sleep(Duration::from_secs(1));
            let read: Read = trial.kit.load.run(&server.bootstrap, &words)?;
            Ok((producer.wait()?, read))
        })
    })?;
    sound(&sent)?;
    ensure!(read.records == records, "{} of {records} cold records were read", read.records);
    trial.record(case, "cold data, MB", bytes as f64 / 1e6);
    trial.record(case, "cold data read, MB/s", read.bytes as f64 / 1e6 / read.seconds);
    let moved_gb = (read.bytes + sent.acked * RECORD_BYTES) as f64 / 1e9;
    trial.record(case, "broker CPU-s per GB read and produced", cpu_s / moved_gb);
    trial.record_rate(case, &sent, &disk, &server)?;
    server.stop()
}
