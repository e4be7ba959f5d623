//! `ottla group reset-offsets`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use ottla_client::{Client, Isolation, OffsetSpec};
use ottla_protocol::ErrorCode;
use ottla_types::{Offset, TimestampMs, TopicPartition};
use serde_json::{Value, json};

use super::plan::{Known, Target};
use super::{csv, named};
use crate::commands::ClusterArgs;
use crate::commands::values::{TopicPartitions, duration, expand, now_ms, time_ms, topic_partitions};
use crate::output::{BadUsage, OutputArgs, or_dash};

/// Arguments of `group reset-offsets`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("target").required(true).args(["to_earliest", "to_latest", "to_current", "to_offset",
        "shift_by", "to_datetime", "by_duration", "from_file"]),
)]
pub(crate) struct ResetArgs {
    /// Ids of the groups
    #[arg(value_name = "GROUP", required_unless_present = "all_groups")]
    groups: Vec<String>,
    /// All groups
    #[arg(long, conflicts_with = "groups")]
    all_groups: bool,
    /// A topic, or some of its partitions; can be repeated
    #[arg(long, value_name = "TOPIC[:PARTITION,…]", value_parser = topic_partitions)]
    topic: Vec<TopicPartitions>,
    /// All partitions that the group has committed offsets for
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    /// To the first record there is
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To where the group is (with --export, to keep it)
    #[arg(long)]
    to_current: bool,
    /// To this offset
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// So many records on, or back
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To the first record of this time or later: 2026-01-31T12:00:00Z, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    to_datetime: Option<TimestampMs>,
    /// To the first record that is so old or younger: 2h, 7d, PT10M
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    by_duration: Option<Duration>,
    /// To the offsets in a CSV file as --export writes it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topic", "all_topics"])]
    from_file: Option<PathBuf>,
    /// Do it; otherwise it is only shown
    #[arg(long)]
    execute: bool,
    /// Only show what would be done (the default)
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Print CSV that --from-file takes
    #[arg(long, conflicts_with_all = ["json", "format"])]
    export: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A new offset of a group.
struct Change {
    group: String,
    partition: TopicPartition,
    before: Option<Offset>,
    after: Offset,
}

impl ResetArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.topic.is_empty() && !self.all_topics && self.from_file.is_none() {
            return Err(BadUsage("name topics with --topic, or pass --all-topics".to_owned()).into());
        }
        let lines = self.lines()?;
        let client = self.cluster.connect().await?;
        let groups = named(&client, &self.groups, self.all_groups).await?;
        let mut changes = Vec::new();
        for group in &groups {
            self.check_idle(&client, group).await?;
            changes.extend(self.plan(&client, group, lines.as_deref()).await?);
        }
        if self.execute {
            for group in &groups {
                let of_group = changes.iter().filter(|change| change.group == *group);
                let offsets: Vec<_> =
                    of_group.map(|change| (change.partition.clone(), change.after)).collect();
                if !offsets.is_empty() {
                    client.set_group_offsets(group, &offsets).await?;
                }
            }
        } else if !self.export && !self.output.is_json() {
            eprintln!("nothing is changed yet: add --execute to do this");
        }
        self.show(&changes, groups.len() > 1)
    }

    fn lines(&self) -> anyhow::Result<Option<Vec<csv::Line>>> {
        let Some(path) = &self.from_file else { return Ok(None) };
        let shown = path.display();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| BadUsage(format!("cannot read {shown}: {error}")))?;
        let lines = csv::parse(&text).map_err(|error| BadUsage(format!("{shown}: {error}")))?;
        Ok(Some(lines))
    }

    /// A member would go on where it is, and commit that.
    async fn check_idle(&self, client: &Client, group: &str) -> anyhow::Result<()> {
        let described = match client.describe_group(group).await {
            // It begins to exist with these offsets.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => return Ok(()),
            described => described?,
        };
        match described.state.as_str() {
            "Empty" | "Dead" => Ok(()),
            state => anyhow::bail!(
                "the offsets of group '{group}' cannot be reset while it is {state}: stop its consumers first"
            ),
        }
    }

    async fn plan(
        &self,
        client: &Client,
        group: &str,
        lines: Option<&[csv::Line]>,
    ) -> anyhow::Result<Vec<Change>> {
        let committed = client.group_offsets(group, None).await?;
        let mut partitions: BTreeMap<TopicPartition, Target> = BTreeMap::new();
        if let Some(lines) = lines {
            let lines = lines.iter().filter(|line| line.group.as_deref().is_none_or(|of| of == group));
            partitions.extend(lines.map(|line| (line.partition.clone(), Target::At(line.offset))));
        } else {
            let target = self.target()?;
            let wanted = if self.all_topics {
                committed.keys().cloned().collect()
            } else {
                expand(client, &self.topic).await?
            };
            partitions.extend(wanted.into_iter().map(|partition| (partition, target.clone())));
        }
        let wanted = |spec| partitions.keys().map(|it| (it.clone(), spec)).collect::<Vec<_>>();
        let isolation = Isolation::ReadUncommitted;
        let starts = client.list_offsets(&wanted(OffsetSpec::Earliest), isolation).await?;
        let ends = client.list_offsets(&wanted(OffsetSpec::Latest), isolation).await?;
        let at_time = match partitions.values().next() {
            Some(Target::Time(ms)) => {
                client.list_offsets(&wanted(OffsetSpec::Timestamp(*ms)), isolation).await?
            }
            _ => BTreeMap::new(),
        };
        let mut changes = Vec::new();
        for (partition, target) in &partitions {
            let before = committed.get(partition).map(|committed| committed.offset);
            let known = Known {
                start: starts.get(partition).and_then(|listed| listed.offset),
                end: ends.get(partition).and_then(|listed| listed.offset),
                committed: before,
                at_time: at_time.get(partition).and_then(|listed| listed.offset),
            };
            let after = target.offset(known).map_err(|why| {
                anyhow::anyhow!("the offset of group '{group}' for {partition} cannot be reset: {why}")
            })?;
            if let Target::At(asked) = target
                && *asked != after
            {
                eprintln!("warning: {partition} has no offset {asked}; taking {after}");
            }
            changes.push(Change { group: group.to_owned(), partition: partition.clone(), before, after });
        }
        Ok(changes)
    }

    fn target(&self) -> anyhow::Result<Target> {
        let by_duration = self.by_duration.map(|ago| {
            let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Target::Time(now_ms().saturating_sub(ago).max(0))
        });
        let flags = [
            (self.to_earliest, Target::Earliest),
            (self.to_latest, Target::Latest),
            (self.to_current, Target::Current),
        ];
        let flag = flags.into_iter().find_map(|(is_set, target)| is_set.then_some(target));
        flag.or(self.to_offset.map(|offset| Target::At(Offset(offset))))
            .or(self.shift_by.map(Target::ShiftBy))
            .or(self.to_datetime.map(Target::Time))
            .or(by_duration)
            .ok_or_else(|| BadUsage("say where to, for example with --to-earliest".to_owned()).into())
    }

    fn show(&self, changes: &[Change], several_groups: bool) -> anyhow::Result<()> {
        if self.export {
            let lines: Vec<_> = changes
                .iter()
                .map(|change| (change.group.clone(), change.partition.clone(), change.after))
                .collect();
            let text = csv::format(&lines, several_groups);
            return Ok(crate::output::print_line(text.trim_end())?);
        }
        let json = || {
            let changes = changes.iter().map(|change| {
                json!({
                    "group": change.group,
                    "topic": change.partition.topic.as_str(),
                    "partition": change.partition.partition,
                    "offset": change.before.map(Offset::value),
                    "newOffset": change.after.value(),
                    "executed": self.execute,
                })
            });
            changes.collect::<Vec<Value>>().into()
        };
        let rows = changes.iter().map(|change| {
            vec![
                change.group.clone(),
                change.partition.topic.to_string(),
                change.partition.partition.to_string(),
                or_dash(change.before),
                change.after.to_string(),
            ]
        });
        Ok(self.output.print(json, &["GROUP", "TOPIC", "PARTITION", "OFFSET", "NEW-OFFSET"], rows)?)
    }
}
