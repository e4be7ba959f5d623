//! Kafka's own ProducerPerformance and ConsumerPerformance.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::test::output_of;

/// The tools, from their jars.
pub(crate) struct Tools {
    jars: PathBuf,
}

/// What a producer sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Produce<'a> {
    pub(crate) topic: &'a str,
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    /// Settings that differ from [`SETTINGS`].
    pub(crate) settings: &'a [&'a str],
}

/// Settings of the producer unless a scenario says otherwise.
const SETTINGS: &[&str] = &["acks=all", "batch.size=65536", "linger.ms=5", "buffer.memory=67108864"];

/// Longest run of a tool, seconds.
const LIMIT_S: &str = "300";

impl Tools {
    pub(crate) fn new(jars: &Path) -> Self {
        Self { jars: jars.to_owned() }
    }

    fn run(&self, class: &str, args: &[&str]) -> Result<String> {
        // A server that dies would keep them waiting for hours.
        let mut command = Command::new("timeout");
        command.args([LIMIT_S, "java"]);
        command.args(["-Xmx512m", "-cp"]).arg(self.jars.join("*")).arg(class).args(args).stdin(Stdio::null());
        output_of(&mut command)
    }

    /// Sends as fast as it goes; records a second.
    pub(crate) fn produce(&self, bootstrap: &str, load: &Produce<'_>) -> Result<f64> {
        let (server, records) = (format!("bootstrap.servers={bootstrap}"), load.records.to_string());
        let size = load.record_bytes.to_string();
        let mut args = vec!["--topic", load.topic, "--num-records", &*records, "--record-size", &*size];
        args.extend(["--throughput", "-1", "--command-property", &*server]);
        // The last of several for one key counts.
        args.extend(SETTINGS.iter().chain(load.settings));
        let printed = self.run("org.apache.kafka.tools.ProducerPerformance", &args)?;
        rate(&printed).with_context(|| format!("a summary line in:\n{printed}"))
    }

    /// Reads `records` as fast as it goes; records a second from the first fetch on.
    pub(crate) fn consume(&self, bootstrap: &str, topic: &str, records: u64) -> Result<f64> {
        let number = records.to_string();
        let args = [
            "--topic",
            topic,
            "--bootstrap-server",
            bootstrap,
            "--num-records",
            &number,
            "--hide-header",
            "--timeout",
            "60000",
        ];
        let printed = self.run("org.apache.kafka.tools.ConsumerPerformance", &args)?;
        let (consumed, rate) = consumed(&printed).with_context(|| format!("a result line in:\n{printed}"))?;
        ensure!(consumed >= records, "{consumed} of {records} records were consumed:\n{printed}");
        Ok(rate)
    }
}

/// Records, and records a second from the first fetch on, in the result line of ConsumerPerformance. A group that was rebalanced on the way makes
/// the tool count wrong; then the rate over the whole time is the greater, and is taken.
fn consumed(printed: &str) -> Option<(u64, f64)> {
    let columns: Vec<&str> = printed.lines().rev().find(|l| l.contains(", "))?.split(", ").collect();
    let rate = |column: usize| columns.get(column)?.trim().parse::<f64>().ok();
    Some((columns.get(4)?.trim().parse().ok()?, rate(9)?.max(rate(5)?)))
}

/// Records a second in the last line of ProducerPerformance: `N records sent, X records/sec (Y MB/sec), …`.
fn rate(printed: &str) -> Option<f64> {
    let last = printed.lines().rev().find(|l| l.contains("records sent"))?;
    last.split(", ").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{consumed, rate};

    #[test]
    fn finds_the_rate_in_the_last_summary() {
        let printed = "10 records sent, 1.0 records/sec (0.10 MB/sec), 1.0 ms avg latency\n\
                       20 records sent, 4711.5 records/sec (4.60 MB/sec), 1.0 ms avg latency, 5 ms max latency.\n";
        assert_eq!(rate(printed), Some(4711.5));
        assert_eq!(rate("no summary"), None);
    }

    #[test]
    fn finds_the_rate_of_a_consumer() {
        let line = |rate: &str| {
            format!(
                "2026-01-01 00:00:00:531, 2026-01-01 00:00:13:791, 195.3, 14.7, 200000, 15082.9, 6867, 6393, 30.5, {rate}\n"
            )
        };
        assert_eq!(consumed(&line("31284.2")), Some((200_000, 31284.2)));
        assert_eq!(consumed(&line("-0.0")), Some((200_000, 15082.9)));
        assert_eq!(consumed("nothing"), None);
    }
}
