//! Many connections, all of them in use.

use anyhow::Result;

use super::super::clients::RECORD_BYTES;
use super::super::clients::librdkafka::Rate;
use super::super::system::Compared;
use super::super::trial::{Trial, sound};
use super::saturation::flood;
use super::{Scenario, measure};

/// Numbers of connections.
pub(super) const CONNECTIONS: Scenario = Scenario {
    name: "connections",
    title: "Number of connections",
    about: "So many librdkafka producers in one process take turns to send 4,000 records of 1 KiB a second to 12 partitions (settings as in the \
            scenario `latency`). With more than one producer acknowledgements are looked at once a millisecond, and the \
            client's threads take a good part of the machine: compare columns, not rows.",
    minutes: 3.2,
    is_quick: false,
    compared: Compared::Policies,
    run: connections,
};

fn connections(trial: &mut Trial<'_>) -> Result<()> {
    let mut server = trial.server()?;
    trial.topic(&server, "connections", 12)?;
    trial.step("warm-up");
    flood(trial, &server, "connections", trial.sized(5.0, 2.0))?;
    let (seconds, warm_up) = (trial.sized(10.0, 4.0), 2.0);
    for clients in [1, 100, 2_000] {
        let case = match clients {
            1 => "1 connection".to_owned(),
            2_000 => "2,000 connections".to_owned(),
            _ => format!("{clients} connections"),
        };
        trial.settle()?;
        trial.step(&case);
        let words = format!(
            "rate --topic connections --size {RECORD_BYTES} --rate 4000 --clients {clients} --seconds {seconds} \
             --warm-up {warm_up}"
        );
        let ((sent, cpu_s), disk): ((Rate, f64), _) =
            trial.probed(|| server.metered(|| trial.kit.load.run(&server.bootstrap, &words)))?;
        sound(&sent)?;
        // Includes the making of the connections.
        trial.record(&case, measure::PRODUCE_CPU_RECORDS, cpu_s / sent.acked as f64 * 1e6);
        trial.record_rate(&case, &sent, &disk, &server)?;
    }
    server.stop()
}
