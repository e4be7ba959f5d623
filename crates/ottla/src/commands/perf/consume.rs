//! `ottla perf consume`, the like of `kafka-consumer-perf-test.sh`.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ottla_client::{Client, Consumer, ConsumerConfig, OffsetReset, Position, ReceivedRecord};
use ottla_types::TopicPartition;
use serde_json::json;

use super::megabytes;
use crate::commands::ClusterArgs;
use crate::commands::signals::StopSignals;
use crate::commands::values::{now_ms, shown_time, topic_name};
use crate::output::{OutputArgs, print_json, print_line};

const POLL: Duration = Duration::from_millis(200);
const MAX_RECORDS: usize = 5_000;

/// Arguments of `perf consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// Topics to read
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_name)]
    topics: Vec<String>,
    /// End after so many records
    #[arg(long, alias = "messages", short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,
    /// Read as a member of this group; without it all partitions are read, and nothing is committed
    #[arg(long, short, value_name = "NAME")]
    group: Option<String>,
    /// Start at the end, where the group has committed nothing
    #[arg(long)]
    from_latest: bool,
    /// Most bytes of a partition in one answer
    #[arg(long, value_name = "BYTES", default_value_t = 1_048_576, value_parser = clap::value_parser!(i32).range(1..))]
    fetch_size: i32,
    /// End when no record comes for so long
    #[arg(long, alias = "timeout", value_name = "MS", default_value_t = 10_000)]
    timeout_ms: u64,
    /// Print a line for each interval
    #[arg(long)]
    show_detailed_stats: bool,
    /// Length of these intervals
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    reporting_interval: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What has been received.
#[derive(Clone, Copy)]
struct Counted {
    records: u64,
    bytes: u64,
    at: Instant,
}

/// A measurement that goes on.
struct Run {
    started: Counted,
    now: Counted,
    /// When the first record came; before it were joining and the first fetch.
    first: Option<Instant>,
    /// Where the present interval begins.
    interval: Counted,
    bar: Option<ProgressBar>,
}

impl ConsumeArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let mut signals = StopSignals::listen()?;
        let started_ms = now_ms();
        let start = Counted { records: 0, bytes: 0, at: Instant::now() };
        let mut run = Run { started: start, now: start, first: None, interval: start, bar: self.bar() };
        let mut consumer = self.consumer(&client).await?;
        let result = tokio::select! {
            biased;
            () = signals.stop() => Ok(()),
            result = self.receive(&mut consumer, &mut run) => result,
        };
        if let Some(bar) = &run.bar {
            bar.finish_and_clear();
        }
        let closed = consumer.close().await;
        result?;
        closed?;
        self.report(&run, started_ms)?;
        if run.now.records < self.num_records {
            eprintln!(
                "warning: only {} of {} records came within {} ms of each other",
                run.now.records, self.num_records, self.timeout_ms
            );
        }
        Ok(())
    }

    async fn consumer(&self, client: &Client) -> anyhow::Result<Consumer> {
        let config = ConsumerConfig {
            group: self.group.clone(),
            reset: if self.from_latest { OffsetReset::Latest } else { OffsetReset::Earliest },
            partition_max_bytes: self.fetch_size,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(client.clone(), config);
        let position = if self.from_latest { Position::Latest } else { Position::Earliest };
        let mut partitions = Vec::new();
        for name in &self.topics {
            let topic = client.topic(name).await?;
            let all = topic.partitions.iter().map(|it| (TopicPartition::new(name, it.index), position));
            partitions.extend(all);
        }
        if self.group.is_some() {
            consumer.subscribe(&self.topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        } else {
            consumer.assign(partitions);
        }
        Ok(consumer)
    }

    async fn receive(&self, consumer: &mut Consumer, run: &mut Run) -> anyhow::Result<()> {
        let patience = Duration::from_millis(self.timeout_ms);
        let mut last = Instant::now();
        loop {
            let left = self.num_records.saturating_sub(run.now.records);
            if left == 0 || last.elapsed() >= patience {
                return Ok(());
            }
            let count = MAX_RECORDS.min(usize::try_from(left).unwrap_or(MAX_RECORDS));
            let records = consumer.poll(POLL, count).await?;
            if records.is_empty() {
                continue;
            }
            last = Instant::now();
            run.add(&records);
            let length = run.interval.at.elapsed();
            if self.show_detailed_stats && length >= Duration::from_millis(self.reporting_interval) {
                eprintln!("{}", between(run.interval, run.now));
                run.interval = run.now;
            }
        }
    }

    fn bar(&self) -> Option<ProgressBar> {
        let is_wanted = std::io::stderr().is_terminal() && !self.show_detailed_stats;
        let style = "{elapsed:>5} [{bar:30}] {human_pos}/{human_len} records {per_sec}";
        let style = ProgressStyle::with_template(style).expect("the template is valid");
        is_wanted.then(|| ProgressBar::new(self.num_records).with_style(style.progress_chars("=> ")))
    }

    fn report(&self, run: &Run, started_ms: i64) -> anyhow::Result<()> {
        // From the first records on: joining a group waits on purpose.
        let fetching = run.first.map_or(Duration::ZERO, |first| run.now.at.duration_since(first));
        let waited = run.first.map_or(Duration::ZERO, |first| first.duration_since(run.started.at));
        let whole = run.now.at.duration_since(run.started.at).as_secs_f64().max(0.001);
        let (records, megabytes) = (run.now.records, megabytes(run.now.bytes));
        if self.output.is_json() {
            return Ok(print_json(&json!({
                "startTime": shown_time(started_ms),
                "records": records,
                "bytes": run.now.bytes,
                "seconds": whole,
                "recordsPerSecond": records as f64 / whole,
                "megabytesPerSecond": megabytes / whole,
                "waitedForFirstMs": waited.as_secs_f64() * 1000.0,
                "fetchSeconds": fetching.as_secs_f64(),
            }))?);
        }
        Ok(print_line(&format!(
            "{}; the first came after {:.0} ms",
            between(run.started, run.now),
            waited.as_secs_f64() * 1000.0
        ))?)
    }
}

impl Run {
    fn add(&mut self, records: &[ReceivedRecord]) {
        let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        let bytes: usize = records.iter().map(|record| len(&record.key) + len(&record.value)).sum();
        self.now = Counted {
            records: self.now.records + records.len() as u64,
            bytes: self.now.bytes + bytes as u64,
            at: Instant::now(),
        };
        self.first.get_or_insert(self.now.at);
        if let Some(bar) = &self.bar {
            bar.inc(records.len() as u64);
        }
    }
}

/// What came between two moments, in a line.
fn between(from: Counted, to: Counted) -> String {
    let seconds = to.at.duration_since(from.at).as_secs_f64().max(0.001);
    let (records, megabytes) = (to.records - from.records, megabytes(to.bytes - from.bytes));
    format!(
        "{records} records received, {megabytes:.2} MB in {seconds:.2} s, {:.1} records/sec ({:.2} MB/sec)",
        records as f64 / seconds,
        megabytes / seconds
    )
}
