//! `ottla consume`: prints records.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgGroup, Args, ValueEnum};
use ottla_client::{
    Client, Consumer, ConsumerConfig, GroupProtocol, Isolation, OffsetReset, Position, ReceivedRecord,
};
use ottla_types::{Offset, TopicPartition};
use tokio::time::Instant;

use super::ClusterArgs;
use super::consume_format::{Format, Plain, json_line};
use super::signals::StopSignals;
use super::values::time_ms;
use crate::output::BadUsage;

const POLL: Duration = Duration::from_millis(500);
const MAX_RECORDS: usize = 500;

/// Arguments of `consume`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("start").args(["from_beginning", "offset"]),
    after_help = "\
Without --from-beginning or --offset only new records are shown. Without --group nothing is committed, and all partitions
are read; with it, the members of the group share the partitions and go on where the group has stopped. Ctrl-C ends it.

--format takes: %t topic, %p partition, %o offset, %T timestamp, %k key, %s value, %h headers, %K and %S sizes of key and
value, %% a percent sign; and \\n, \\t, \\r, \\0, \\\\. Nothing is added at the end of a record.

Examples:
  ottla consume orders --from-beginning
  ottla consume orders --group billing --max-messages 100
  ottla consume orders --partition 0 --offset 42 --print-key --print-headers
  ottla consume orders --offset @2026-01-01T00:00:00Z --json
  ottla consume orders --from-beginning --timeout-ms 2000 --format '%p/%o %k=%s\\n'"
)]
pub(crate) struct ConsumeArgs {
    /// Topics to read
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Join this group, and commit to it
    #[arg(long, short, value_name = "NAME", conflicts_with_all = ["partition", "offset"])]
    group: Option<String>,
    /// Who assigns partitions in the group: its members (classic) or the coordinator (consumer)
    #[arg(long, value_name = "PROTOCOL", default_value = "classic", requires = "group")]
    group_protocol: GroupProtocolArg,
    /// Start at the first record; with --group, only where the group has committed nothing
    #[arg(long)]
    from_beginning: bool,
    /// Start at an offset, 'earliest', 'latest', so many records before the end (-N), or a time: '@' and milliseconds since
    /// 1970 or RFC 3339
    #[arg(long, short, value_name = "WHERE", value_parser = start, allow_hyphen_values = true)]
    offset: Option<Start>,
    /// Read this partition only; can be repeated
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    max_messages: Option<u64>,
    /// End when no record comes for so long
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// Which transactional records to show
    #[arg(long, value_name = "LEVEL", default_value = "read_uncommitted")]
    isolation_level: IsolationArg,
    /// How to print a record; see below
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "print_key", "print_headers", "print_timestamp",
        "print_offset", "print_partition"])]
    format: Option<Format>,
    /// Print each record as a line of JSON
    #[arg(long, conflicts_with_all = ["print_key", "print_headers", "print_timestamp", "print_offset", "print_partition"])]
    json: bool,
    #[command(flatten)]
    plain: Plain,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The values of `--isolation-level`.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum IsolationArg {
    /// All
    ReadUncommitted,
    /// Only those of committed transactions
    ReadCommitted,
}

/// The values of `--group-protocol`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GroupProtocolArg {
    /// The members do, as in all releases
    Classic,
    /// The coordinator does (KIP-848)
    Consumer,
}

/// The values of `--offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    At(Position),
    BeforeEnd(i64),
}

fn start(text: &str) -> Result<Start, String> {
    if let Some(time) = text.strip_prefix('@') {
        return time_ms(time).map(|ms| Start::At(Position::Since(ms)));
    }
    match (text, text.parse::<i64>()) {
        ("earliest" | "beginning", _) => Ok(Start::At(Position::Earliest)),
        ("latest" | "end", _) => Ok(Start::At(Position::Latest)),
        (_, Ok(offset)) if offset >= 0 => Ok(Start::At(Position::At(Offset(offset)))),
        (_, Ok(offset)) => Ok(Start::BeforeEnd(-offset)),
        _ => Err("expected an offset, -N, 'earliest', 'latest' or @TIME".to_owned()),
    }
}

impl ConsumeArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let mut signals = StopSignals::listen()?;
        let mut consumer = self.start(&client).await?;
        let mut printed = 0;
        let result = tokio::select! {
            biased;
            () = signals.stop() => Ok(()),
            result = self.print_all(&mut consumer, &mut printed) => result,
        };
        match result {
            // What was read but not printed stays with the group.
            Err(error) if crate::output::is_broken_pipe(&error) => Ok(consumer.leave().await?),
            Err(error) => {
                _ = consumer.leave().await;
                Err(error)
            }
            Ok(()) => Ok(consumer.close().await?),
        }
    }

    async fn start(&self, client: &Client) -> anyhow::Result<Consumer> {
        let config = ConsumerConfig {
            group: self.group.clone(),
            protocol: match self.group_protocol {
                GroupProtocolArg::Classic => GroupProtocol::Classic,
                GroupProtocolArg::Consumer => GroupProtocol::Consumer,
            },
            reset: if self.from_beginning { OffsetReset::Earliest } else { OffsetReset::Latest },
            isolation: match self.isolation_level {
                IsolationArg::ReadUncommitted => Isolation::ReadUncommitted,
                IsolationArg::ReadCommitted => Isolation::ReadCommitted,
            },
            ..ConsumerConfig::default()
        };
        let isolation = config.isolation;
        let mut consumer = Consumer::new(client.clone(), config);
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        for topic in &topics {
            // Says what to do about one that is missing.
            client.topic(topic).await?;
        }
        if self.group.is_some() {
            consumer.subscribe(&topics)?;
        } else {
            consumer.assign(self.positions(client, isolation).await?);
        }
        Ok(consumer)
    }

    async fn positions(
        &self,
        client: &Client,
        isolation: Isolation,
    ) -> anyhow::Result<Vec<(TopicPartition, Position)>> {
        let mut partitions = Vec::new();
        for name in &self.topics {
            let topic = client.topic(name).await?;
            if let Some(missing) = self.partition.iter().find(|index| topic.partition(**index).is_none()) {
                let last = topic.partitions.len() - 1;
                return Err(BadUsage(format!(
                    "topic '{name}' has no partition {missing}: it has partitions 0 to {last}"
                ))
                .into());
            }
            let indexes = topic.partitions.iter().map(|partition| partition.index);
            let wanted = indexes.filter(|index| self.partition.is_empty() || self.partition.contains(index));
            partitions.extend(wanted.map(|index| TopicPartition::new(name, index)));
        }
        let position = match (self.from_beginning, self.offset) {
            (true, _) => Position::Earliest,
            (false, None) => Position::Latest,
            (false, Some(Start::At(position))) => position,
            (false, Some(Start::BeforeEnd(count))) => {
                return before_end(client, partitions, count, isolation).await;
            }
        };
        Ok(partitions.into_iter().map(|partition| (partition, position)).collect())
    }

    /// Prints until one of the limits is reached. Every record that was printed is past the consumer's position, and no
    /// other.
    async fn print_all(&self, consumer: &mut Consumer, printed: &mut u64) -> anyhow::Result<()> {
        let patience = self.timeout_ms.map(Duration::from_millis);
        let mut last = Instant::now();
        loop {
            let left = self.max_messages.map_or(u64::MAX, |max| max - *printed);
            if left == 0 {
                return Ok(());
            }
            let wait = patience.map_or(POLL, |patience| patience.saturating_sub(last.elapsed()).min(POLL));
            let max_records = MAX_RECORDS.min(usize::try_from(left).unwrap_or(MAX_RECORDS));
            let records = consumer.poll(wait, max_records).await?;
            if records.is_empty() {
                if patience.is_some_and(|patience| last.elapsed() >= patience) {
                    return Ok(());
                }
                continue;
            }
            self.print(&records)?;
            *printed += records.len() as u64;
            last = Instant::now();
        }
    }

    fn print(&self, records: &[ReceivedRecord]) -> io::Result<()> {
        let mut text = Vec::with_capacity(records.len() * 64);
        for record in records {
            match &self.format {
                Some(format) => format.write(record, &mut text),
                None if self.json => json_line(record, &mut text),
                None => self.plain.write(record, &mut text),
            }
        }
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()
    }
}

async fn before_end(
    client: &Client,
    partitions: Vec<TopicPartition>,
    count: i64,
    isolation: Isolation,
) -> anyhow::Result<Vec<(TopicPartition, Position)>> {
    use ottla_client::OffsetSpec::{Earliest, Latest};
    let all = |spec| partitions.iter().map(|it| (it.clone(), spec)).collect::<Vec<_>>();
    let starts = client.list_offsets(&all(Earliest), isolation).await?;
    let ends = client.list_offsets(&all(Latest), isolation).await?;
    let position = |partition: TopicPartition| {
        let start = starts.get(&partition).and_then(|listed| listed.offset).unwrap_or(Offset::ZERO);
        let end = ends.get(&partition).and_then(|listed| listed.offset).context("a partition has an end")?;
        Ok((partition, Position::At(Offset(end.value().saturating_sub(count)).max(start))))
    };
    partitions.iter().cloned().map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_offsets_ends_and_times() {
        assert_eq!(start("7"), Ok(Start::At(Position::At(Offset(7)))));
        assert_eq!(start("-7"), Ok(Start::BeforeEnd(7)));
        assert_eq!(start("earliest"), Ok(Start::At(Position::Earliest)));
        assert_eq!(start("@1700000000000"), Ok(Start::At(Position::Since(1_700_000_000_000))));
        assert_eq!(start("@1970-01-01T00:00:01Z"), Ok(Start::At(Position::Since(1_000))));
        assert_eq!(start("@2024-02-29T12:34:56.789Z"), Ok(Start::At(Position::Since(1_709_210_096_789))));
        assert_eq!(start("@2023-11-14T22:13:20Z"), Ok(Start::At(Position::Since(1_700_000_000_000))));
        for bad in ["", "x", "@", "@2024-13-01T00:00:00Z", "@2024-02-29", "1.5"] {
            assert!(start(bad).is_err(), "{bad}");
        }
    }
}
