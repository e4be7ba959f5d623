//! Latency at fixed rates, open loop; alone and beside others.

use std::time::Duration;

use anyhow::Result;

use super::super::clients::RECORD_BYTES;
use super::super::clients::librdkafka::{Flood, Rate, Read};
use super::super::server::Server;
use super::super::system::Compared;
use super::super::trial::{Trial, sound};
use super::saturation::fill;
use super::{Scenario, measure};

/// Latency at fixed rates.
pub(super) const LATENCY: Scenario = Scenario {
    name: "latency",
    title: "Latency of an acknowledged produce",
    about: "One librdkafka producer, 12 partitions, 1 KiB records at a fixed rate whether or not earlier ones are answered; `acks=all`, `linger.ms` \
            0, five requests under way, so that nothing lingers in the client and batches form while requests are answered. The rates come \
            in this order, on one server; 70 % is of what this very system took after the others, for as long, from the same client with \
            the same settings. \"Generator late\" is how much later than intended a record came to librdkafka: it is in the latencies too. \
            \"Disk beside it\" is a program of its own that appends 4 KiB to a file of its own every 10 ms and syncs them. \
            Client and server share the machine, so that much lateness says that the machine, not the server, is at its end.",
    minutes: 5.2,
    is_quick: true,
    compared: Compared::Policies,
    run: latency,
};

/// One producer beside others.
pub(super) const FAIRNESS: Scenario = Scenario {
    name: "fairness",
    title: "Fairness",
    about: "A producer of 5,000 records of 1 KiB a second (as in the scenario `latency`): alone, and while a second producer sends as fast as it \
            can and a consumer reads data that is not in the page cache.",
    minutes: 2.6,
    is_quick: false,
    compared: Compared::Policies,
    run: fairness,
};

/// The rates, as targets name them.
pub(crate) const CASES: &[&str] =
    &["5 k records/s", "20 k records/s", "50 k records/s", "70 % of saturation"];

/// As fast as it goes, with the settings of a fixed rate: less goes into a batch than in the scenario `saturation`.
const AS_AT_A_RATE: &str = "flood --topic saturated --size 1024 --set linger.ms=0 --set max.in.flight=5";

/// The fixed ones of them.
pub(crate) const RATES: &[f64] = &[5_000.0, 20_000.0, 50_000.0];

/// The fixed rates that a run has, with their cases; a quick one has the middle.
pub(super) fn rates(trial: &Trial<'_>) -> Vec<(&'static str, f64)> {
    let all = CASES.iter().copied().zip(RATES.iter().copied());
    all.filter(|(_, rate)| !trial.kit.quick || *rate == RATES[1]).collect()
}

fn latency(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    trial.topic(&server, "saturated", 12)?;
    trial.topic(&server, "latency", 12)?;
    trial.step("warm-up");
    sound(&at_rate(trial, &server, "latency", 20_000.0, trial.sized(8.0, 2.0))?.wait()?)?;
    for (case, rate) in rates(trial) {
        one_rate(trial, &server, case, rate, trial.sized(15.0, 3.0))?;
    }
    // Last: what a flood leaves behind is in no other case. For as long as the case, or it would only show what fits into memory.
    trial.settle()?;
    trial.step("saturation");
    let words = format!("{AS_AT_A_RATE} --seconds {}", trial.sized(11.0, 3.0));
    let saturation = trial.kit.load.run::<Flood>(&server.bootstrap, &words)?.rate;
    one_rate(trial, &server, CASES[RATES.len()], saturation * 0.7, trial.sized(8.0, 3.0))?;
    server.stop()
}

fn one_rate(trial: &mut Trial<'_>, server: &Server, case: &str, rate: f64, seconds: f64) -> Result<()> {
    trial.settle()?;
    trial.step(case);
    let ((sent, cpu_s), disk) =
        trial.probed(|| server.metered(|| at_rate(trial, server, "latency", rate, seconds)?.wait()))?;
    sound(&sent)?;
    trial.record_rate(case, &sent, &disk, server)?;
    trial.record(case, measure::PRODUCE_CPU_RECORDS, cpu_s / sent.acked as f64 * 1e6);
    Ok(())
}

type Running<T> = super::super::clients::librdkafka::Running<T>;

/// Starts a producer of 1 KiB records at a fixed rate.
pub(super) fn at_rate(
    trial: &Trial<'_>,
    server: &Server,
    topic: &str,
    rate: f64,
    seconds: f64,
) -> Result<Running<Rate>> {
    let warm_up = trial.sized(3.0, 1.0);
    let words = format!(
        "rate --topic {topic} --size {RECORD_BYTES} --rate {rate} --seconds {seconds} --warm-up {warm_up}"
    );
    trial.kit.load.spawn(&server.bootstrap, &words)
}

const FAIR_RATE: f64 = 5_000.0;

fn fairness(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    for topic in ["cold", "other", "latency"] {
        trial.topic(&server, topic, 12)?;
    }
    fill(trial, &server, "cold", trial.sized(1_500_000, 200_000))?;
    trial.settle()?;
    let seconds = trial.sized(15.0, 4.0);
    trial.step("alone");
    let (alone, disk) = trial.probed(|| at_rate(trial, &server, "latency", FAIR_RATE, seconds)?.wait())?;
    sound(&alone)?;
    trial.record_rate("alone", &alone, &disk, &server)?;
    trial.settle()?;
    let cold_bytes = server.make_cold("cold")?;
    trial.step("beside others");
    let others_s = seconds + 6.0;
    let other: Running<Flood> = trial.kit.load.spawn(
        &server.bootstrap,
        &format!("flood --topic other --size {RECORD_BYTES} --seconds {others_s}"),
    )?;
    let reader: Running<Read> =
        trial.kit.load.spawn(&server.bootstrap, &format!("read --topic cold --seconds {others_s}"))?;
    std::thread::sleep(Duration::from_secs(1));
    let (beside, disk) = trial.probed(|| at_rate(trial, &server, "latency", FAIR_RATE, seconds)?.wait())?;
    sound(&beside)?;
    let (other, reader) = (other.wait()?, reader.wait()?);
    let case = "beside others";
    trial.record_rate(case, &beside, &disk, &server)?;
    trial.record(case, "the other producer, MB/s", other.rate * RECORD_BYTES as f64 / 1e6);
    trial.record(case, "cold data read, MB", reader.bytes as f64 / 1e6);
    trial.record(case, "cold data there was, MB", cold_bytes as f64 / 1e6);
    server.stop()
}
