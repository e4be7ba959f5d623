//! `ottla perf produce`, the like of `kafka-producer-perf-test.sh`.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ottla_client::{Acks, ClientError, Delivery, Producer, ProducerConfig, Record};
use ottla_record::Compression;
use serde_json::json;
use tokio::sync::mpsc;

use super::latency::Latencies;
use super::megabytes;
use super::payload::PayloadArgs;
use crate::commands::ClusterArgs;
use crate::commands::produce::{AcksArg, compression};
use crate::commands::signals::StopSignals;
use crate::commands::values::{key_value, topic_name};
use crate::output::{BadUsage, OutputArgs, print_json, print_line};

/// How often the sender looks whether it is ahead of the wanted throughput.
const PACE: Duration = Duration::from_millis(1);

/// Arguments of `perf produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// Topic to send to; a missing one is created if the broker allows it
    #[arg(value_parser = topic_name)]
    topic: String,
    /// How many records to send
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,
    /// Records per second at most; -1 is as fast as possible
    #[arg(long, value_name = "N", default_value_t = -1.0, allow_negative_numbers = true)]
    throughput: f64,
    /// So many of the first records are not measured
    #[arg(long, value_name = "N", default_value_t = 0)]
    warmup_records: u64,
    #[command(flatten)]
    payload: PayloadArgs,
    /// How many replicas must have a record: none (0), the leader (1), or all in sync
    #[arg(long, default_value = "all", hide_possible_values = true)]
    acks: AcksArg,
    /// Compression of batches
    #[arg(long, value_name = "CODEC", default_value = "none", value_parser = compression)]
    compression: Compression,
    /// Largest batch in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// How long a batch waits for more records
    #[arg(long, value_name = "MS", default_value_t = 5)]
    linger_ms: u64,
    /// Producer settings: acks, compression.type, batch.size, linger.ms, buffer.memory, enable.idempotence
    #[arg(long, alias = "producer-props", value_name = "KEY=VALUE", value_parser = key_value, num_args = 1..)]
    command_property: Vec<(String, String)>,
    /// Time between two lines of progress, where there is no terminal to draw on
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    reporting_interval: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What came of the records.
struct Measured {
    latencies: Latencies,
    records: u64,
    bytes: u64,
    failed: u64,
    failure: Option<ClientError>,
    /// From the first measured record to the last acknowledgement.
    elapsed: Duration,
}

type Sent = (u64, Instant, usize, Delivery);

impl ProduceArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = self.config()?;
        let mut payload = self.payload.payload()?;
        let client = self.cluster.connect_with(|config| config.allow_auto_create_topics = true).await?;
        // Says what to do about one that is missing, before anything is measured.
        client.topic(&self.topic).await?;
        let producer = Producer::new(client, config).await?;
        let (sent, deliveries) = mpsc::unbounded_channel();
        let measuring = tokio::spawn(measure(deliveries, self.warmup_records, self.progress()));
        let mut signals = StopSignals::listen()?;
        let started = Instant::now();
        for number in 0..self.num_records {
            self.keep_pace(number, started).await;
            let value = payload.next();
            let (at, bytes) = (Instant::now(), value.len());
            let delivery = tokio::select! {
                biased;
                () = signals.stop() => break,
                delivery = producer.send(&self.topic, Record::of_value(value)) => delivery?,
            };
            if sent.send((number, at, bytes, delivery)).is_err() {
                break;
            }
        }
        drop(sent);
        producer.flush().await?;
        let measured = measuring.await?;
        self.report(&measured)?;
        match measured.failure {
            Some(error) => {
                Err(anyhow::Error::from(error)
                    .context(format!("{} records are not delivered", measured.failed)))
            }
            None => Ok(()),
        }
    }

    fn config(&self) -> Result<ProducerConfig, BadUsage> {
        let mut config = ProducerConfig {
            acks: self.acks.acks(),
            compression: self.compression,
            batch_bytes: self.batch_size as usize,
            linger: Duration::from_millis(self.linger_ms),
            ..ProducerConfig::default()
        };
        for (key, value) in &self.command_property {
            let bad = |expected: &str| BadUsage(format!("'{key}' is '{value}', expected {expected}"));
            let number = || value.parse::<u64>().map_err(|_| bad("a number"));
            let bytes = || value.parse::<usize>().map_err(|_| bad("a number of bytes"));
            match key.as_str() {
                "acks" => {
                    config.acks = match value.as_str() {
                        "0" => Acks::None,
                        "1" => Acks::Leader,
                        "all" | "-1" => Acks::All,
                        _ => return Err(bad("0, 1 or all")),
                    }
                }
                "compression.type" => config.compression = compression(value).map_err(|error| bad(&error))?,
                "batch.size" => config.batch_bytes = bytes()?,
                "linger.ms" => config.linger = Duration::from_millis(number()?),
                "delivery.timeout.ms" => config.delivery_timeout = Duration::from_millis(number()?),
                "buffer.memory" => config.buffer_bytes = bytes()?,
                "enable.idempotence" => {
                    config.idempotent = value.parse().map_err(|_| bad("true or false"))?;
                }
                // For the connection; those are read from --command-config.
                _ => {
                    return Err(BadUsage(format!(
                        "'{key}' is no setting of this producer; see --help for those that are"
                    )));
                }
            }
        }
        config.buffer_bytes = config.buffer_bytes.max(config.batch_bytes);
        Ok(config)
    }

    /// Waits while more has been sent than the throughput allows.
    async fn keep_pace(&self, number: u64, started: Instant) {
        if self.throughput < 0.0 {
            return;
        }
        while number as f64 > self.throughput * started.elapsed().as_secs_f64() {
            tokio::time::sleep(PACE).await;
        }
    }

    fn progress(&self) -> Progress {
        if std::io::stderr().is_terminal() {
            let style = "{elapsed:>5} [{bar:30}] {human_pos}/{human_len} records {per_sec} {msg}";
            let style = ProgressStyle::with_template(style).expect("the template is valid");
            return Progress::Bar(ProgressBar::new(self.num_records).with_style(style.progress_chars("=> ")));
        }
        Progress::Lines(Duration::from_millis(self.reporting_interval))
    }

    fn report(&self, measured: &Measured) -> anyhow::Result<()> {
        let seconds = measured.elapsed.as_secs_f64().max(0.001);
        let (records, megabytes) = (measured.records as f64 / seconds, megabytes(measured.bytes) / seconds);
        if self.output.is_json() {
            return Ok(print_json(&json!({
                "topic": self.topic,
                "records": measured.records,
                "failed": measured.failed,
                "bytes": measured.bytes,
                "seconds": seconds,
                "recordsPerSecond": records,
                "megabytesPerSecond": megabytes,
                "latency": measured.latencies.json(),
            }))?);
        }
        Ok(print_line(&format!(
            "{}, {}",
            line(measured.records, records, megabytes, &measured.latencies),
            measured.latencies.shown()
        ))?)
    }
}

/// The line of Kafka's tool.
fn line(count: u64, per_second: f64, megabytes: f64, latencies: &Latencies) -> String {
    format!(
        "{count} records sent, {per_second:.1} records/sec ({megabytes:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency",
        latencies.average_ms(),
        latencies.max_ms()
    )
}

/// How progress is shown on standard error.
enum Progress {
    Bar(ProgressBar),
    Lines(Duration),
}

/// Awaits the acknowledgements.
async fn measure(mut sent: mpsc::UnboundedReceiver<Sent>, warmup: u64, progress: Progress) -> Measured {
    let mut measured = Measured {
        latencies: Latencies::new(),
        records: 0,
        bytes: 0,
        failed: 0,
        failure: None,
        elapsed: Duration::ZERO,
    };
    let (mut began, mut ended) = (None, Instant::now());
    let mut window = (Latencies::new(), 0_u64, 0_u64, Instant::now());
    while let Some((number, at, bytes, delivery)) = sent.recv().await {
        let delivered = match delivery.await {
            Ok(delivered) => delivered,
            Err(error) => {
                measured.failed += 1;
                measured.failure.get_or_insert(error);
                continue;
            }
        };
        let latency = delivered.at.duration_since(at);
        if number >= warmup {
            began.get_or_insert(at);
            ended = ended.max(delivered.at);
            measured.latencies.record(latency);
            measured.records += 1;
            measured.bytes += bytes as u64;
        }
        match &progress {
            Progress::Bar(bar) => bar.inc(1),
            Progress::Lines(interval) => {
                window.0.record(latency);
                (window.1, window.2) = (window.1 + 1, window.2 + bytes as u64);
                let elapsed = window.3.elapsed();
                if elapsed >= *interval {
                    let seconds = elapsed.as_secs_f64();
                    let per_second = window.1 as f64 / seconds;
                    eprintln!("{}", line(window.1, per_second, megabytes(window.2) / seconds, &window.0));
                    window.0.clear();
                    (window.1, window.2, window.3) = (0, 0, Instant::now());
                }
            }
        }
    }
    if let Progress::Bar(bar) = &progress {
        bar.finish_and_clear();
    }
    measured.elapsed = began.map_or(Duration::ZERO, |began| ended.duration_since(began));
    measured
}
