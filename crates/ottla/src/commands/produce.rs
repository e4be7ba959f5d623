//! `ottla produce`: sends lines as records.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use clap::{Args, ValueEnum};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use ottla_client::{Acks, Producer, ProducerConfig, ProducerStats, Record};
use ottla_record::Compression;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::ClusterArgs;
use super::signals::StopSignals;
use super::values::{key_value, topic_name};
use crate::output::{BadUsage, print_json};

const READ_BYTES: usize = 256 * 1024;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Arguments of `produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is a record. Records without key are spread over the partitions; records with the same key go to the same one.

Examples:
  echo hello | ottla produce orders
  ottla produce orders --file orders.txt --progress
  echo 'user-1:login' | ottla produce events --key-separator :
  ottla produce orders --transactional-id import-1 < orders.txt
  ottla produce events --header source=import --compression zstd < events.txt")]
pub(crate) struct ProduceArgs {
    /// Topic to send to; a missing one is created if the broker allows it
    #[arg(value_parser = topic_name)]
    topic: String,
    /// Read from a file instead of standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Text between key and value in each line; without it a line is a value
    #[arg(long, short, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// A header for all records; can be repeated
    #[arg(long, short = 'H', value_name = "KEY=VALUE", value_parser = key_value)]
    header: Vec<(String, String)>,
    /// Compression of batches
    #[arg(long, alias = "compression-codec", value_name = "CODEC", default_value = "none", value_parser = compression)]
    compression: Compression,
    /// How many replicas must have a record: none (0), the leader (1), or all in sync
    #[arg(long, alias = "request-required-acks", default_value = "all", hide_possible_values = true)]
    acks: AcksArg,
    /// Send all records to this partition
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Send all records in a transaction of this id: readers with read_committed see all of them when the input ends, or none
    #[arg(long, value_name = "ID")]
    transactional_id: Option<String>,
    /// Abort the transaction if it takes longer than this
    #[arg(long, value_name = "MS", default_value_t = 60_000, requires = "transactional_id",
        value_parser = clap::value_parser!(u64).range(1..))]
    transaction_timeout_ms: u64,
    /// Show records and bytes per second on standard error
    #[arg(long)]
    progress: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The values of `--acks`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AcksArg {
    /// Do not wait
    #[value(name = "0")]
    None,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// All replicas in sync
    #[value(name = "all", alias = "-1")]
    All,
}

impl AcksArg {
    pub(super) fn acks(self) -> Acks {
        match self {
            Self::None => Acks::None,
            Self::Leader => Acks::Leader,
            Self::All => Acks::All,
        }
    }
}

pub(super) fn compression(name: &str) -> Result<Compression, String> {
    Compression::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Compression::ALL.iter().map(|codec| codec.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

impl ProduceArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (input, size) = self.input().await?;
        let client = self.cluster.connect_with(|config| config.allow_auto_create_topics = true).await?;
        let config = ProducerConfig {
            acks: self.acks.acks(),
            compression: self.compression,
            transactional_id: self.transactional_id.clone(),
            transaction_timeout: Duration::from_millis(self.transaction_timeout_ms),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(client, config).await?;
        let started = Instant::now();
        let bar = self.progress.then(|| progress_bar(size));
        let sent = self.send_all(&producer, input, bar.as_ref()).await;
        let flushed = match (&self.transactional_id, &sent) {
            (None, _) => producer.flush().await,
            (Some(_), Ok(End::Input)) => producer.commit().await,
            // An interrupted input is not the whole.
            (Some(_), Ok(End::Interrupted)) => {
                eprintln!("interrupted: aborting the transaction");
                producer.abort().await
            }
            (Some(_), Err(_)) => producer.abort().await,
        };
        if let Some(bar) = &bar {
            show_progress(bar, producer.stats(), started);
            bar.finish();
        }
        // A record that failed is what a later error comes from.
        flushed?;
        sent?;
        if self.json {
            let stats = producer.stats();
            print_json(&json!({
                "topic": self.topic,
                "records": stats.delivered.load(Ordering::Relaxed),
                "bytes": stats.delivered_bytes.load(Ordering::Relaxed),
                "batches": stats.batches.load(Ordering::Relaxed),
                "seconds": started.elapsed().as_secs_f64(),
            }))?;
        }
        Ok(())
    }

    /// Where the lines come from, and how many bytes that is.
    async fn input(&self) -> anyhow::Result<(Box<dyn AsyncRead + Send + Unpin>, Option<u64>)> {
        let Some(path) = &self.file else { return Ok((Box::new(tokio::io::stdin()), None)) };
        let file = tokio::fs::File::open(path).await;
        let file = file.map_err(|error| BadUsage(format!("cannot open {}: {error}", path.display())))?;
        let info = file.metadata().await?;
        Ok((Box::new(file), info.is_file().then_some(info.len())))
    }

    async fn send_all(
        &self,
        producer: &Producer,
        input: Box<dyn AsyncRead + Send + Unpin>,
        bar: Option<&ProgressBar>,
    ) -> anyhow::Result<End> {
        let mut signals = StopSignals::listen()?;
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let started = Instant::now();
        let headers: Vec<_> =
            self.header.iter().map(|(key, value)| (key.clone(), Some(Bytes::from(value.clone())))).collect();
        let mut lines = Lines { input, buffer: BytesMut::new(), searched: 0, number: 0 };
        loop {
            let line = tokio::select! {
                biased;
                () = signals.stop() => return Ok(End::Interrupted),
                _ = ticks.tick(), if bar.is_some() => {
                    bar.into_iter().for_each(|bar| show_progress(bar, producer.stats(), started));
                    continue;
                }
                line = lines.next() => line.context("cannot read the input")?,
            };
            let Some(line) = line else { break };
            if let Some(bar) = bar {
                bar.inc(line.len() as u64 + 1);
            }
            let record = Record {
                headers: headers.clone(),
                partition: self.partition,
                ..self.split(line, lines.number)?
            };
            producer.enqueue(&self.topic, record).await?;
            if producer.stats().failed.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        Ok(End::Input)
    }

    fn split(&self, line: Bytes, number: u64) -> anyhow::Result<Record> {
        let Some(separator) = &self.key_separator else { return Ok(Record::of_value(line)) };
        let at = line.windows(separator.len()).position(|window| window == separator.as_bytes());
        let at = at.with_context(|| format!("line {number} has no key separator '{separator}'"))?;
        Ok(Record::new(Some(line.slice(..at)), Some(line.slice(at + separator.len()..))))
    }
}

/// Why no more records are sent.
enum End {
    /// There are no more, or one has failed, which shows when the rest is waited for.
    Input,
    Interrupted,
}

/// The lines of an input, without their ends; slices of what was read.
struct Lines {
    input: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    /// So many bytes at the start of the buffer hold no end of line.
    searched: usize,
    number: u64,
}

impl Lines {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                self.number += 1;
                return Ok(Some(without_end(line.freeze())));
            }
            self.searched = self.buffer.len();
            self.buffer.reserve(READ_BYTES);
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                self.searched = 0;
                self.number += 1;
                return Ok(Some(without_end(self.buffer.split().freeze())));
            }
        }
    }
}

fn without_end(line: Bytes) -> Bytes {
    let end = line.strip_suffix(b"\n").unwrap_or(&line);
    let len = end.strip_suffix(b"\r").unwrap_or(end).len();
    line.slice(..len)
}

fn progress_bar(size: Option<u64>) -> ProgressBar {
    match size {
        Some(size) => {
            let style = "{elapsed:>5} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}";
            ProgressBar::new(size).with_style(template(style))
        }
        None => ProgressBar::new_spinner()
            .with_style(template("{spinner} {elapsed:>5} {bytes} {binary_bytes_per_sec} {msg}")),
    }
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).expect("the template is valid").progress_chars("=> ")
}

fn show_progress(bar: &ProgressBar, stats: &ProducerStats, started: Instant) {
    let records = stats.delivered.load(Ordering::Relaxed);
    let seconds = started.elapsed().as_secs_f64().max(0.001);
    bar.set_message(format!(
        "{} records, {}/s",
        HumanCount(records),
        HumanCount((records as f64 / seconds) as u64)
    ));
}
