//! `ottla group`: list, describe and delete consumer groups.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use ottla_client::{Client, GroupDescription, GroupMember, Isolation, OffsetSpec};
use ottla_types::{Offset, TopicPartition};
use serde_json::{Value, json};

use super::ClusterArgs;
use crate::output::{print_json, print_line, print_table};

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List all groups
    #[command(after_help = "Examples:\n  ottla group list\n  ottla group list --json")]
    List(ListArgs),
    /// Show members, offsets and lag: how many records a group is behind
    #[command(
        after_help = "Examples:\n  ottla group describe billing\n  ottla group describe billing --json"
    )]
    Describe(GroupArgs),
    /// Delete groups with their offsets; they must have no members
    #[command(after_help = "Example:\n  ottla group delete billing")]
    Delete(DeleteArgs),
}

/// Arguments of `group list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `group describe`.
#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    /// Id of the group
    group: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `group delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Ids of the groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl GroupCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => list(args).await,
            Self::Describe(args) => describe(args).await,
            Self::Delete(args) => {
                let client = args.cluster.connect().await?;
                for group in &args.groups {
                    client.delete_group(group).await?;
                    print_line(&format!("deleted group {group}"))?;
                }
                Ok(())
            }
        }
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let groups = args.cluster.connect().await?.list_groups().await?;
    if args.json {
        let groups: Vec<Value> = groups
            .iter()
            .map(|group| {
                json!({
                    "group": group.group,
                    "type": group.kind,
                    "protocolType": group.protocol_type,
                    "state": group.state,
                })
            })
            .collect();
        return Ok(print_json(&groups.into())?);
    }
    let rows =
        groups.into_iter().map(|group| vec![group.group, group.kind, group.protocol_type, group.state]);
    Ok(print_table(&["GROUP", "TYPE", "PROTOCOL", "STATE"], rows)?)
}

/// A partition that the group has an offset for, or reads.
struct Row<'a> {
    partition: TopicPartition,
    committed: Option<Offset>,
    end: Option<Offset>,
    member: Option<&'a GroupMember>,
}

impl Row<'_> {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

async fn describe(args: GroupArgs) -> anyhow::Result<()> {
    let client = args.cluster.connect().await?;
    let described = client.describe_group(&args.group).await?;
    let rows = rows(&client, &described).await?;
    if args.json {
        print_json(&group_json(&described, &rows))?
    } else {
        print_group(&described, &rows)?
    }
    Ok(())
}

async fn rows<'a>(client: &Client, group: &'a GroupDescription) -> anyhow::Result<Vec<Row<'a>>> {
    let committed = client.group_offsets(&group.group, None).await?;
    let members: BTreeMap<&TopicPartition, &GroupMember> = group
        .members
        .iter()
        .flat_map(|member| member.partitions.iter().map(move |partition| (partition, member)))
        .collect();
    let partitions: BTreeSet<&TopicPartition> = committed.keys().chain(members.keys().copied()).collect();
    // A topic may have been deleted under the group.
    let names: BTreeSet<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
    let existing = client.fetch_metadata(Some(&names.into_iter().collect::<Vec<_>>())).await?.topics;
    let exists =
        |it: &TopicPartition| existing.get(&it.topic).is_some_and(|t| t.partition(it.partition).is_some());
    let wanted: Vec<_> =
        partitions.iter().filter(|it| exists(it)).map(|it| ((*it).clone(), OffsetSpec::Latest)).collect();
    let ends = client.list_offsets(&wanted, Isolation::ReadUncommitted).await?;
    let row = |partition: &TopicPartition| Row {
        partition: partition.clone(),
        committed: committed.get(partition).map(|committed| committed.offset),
        end: ends.get(partition).and_then(|end| end.offset),
        member: members.get(partition).copied(),
    };
    Ok(partitions.into_iter().map(row).collect())
}

fn group_json(group: &GroupDescription, rows: &[Row<'_>]) -> Value {
    let partitions = rows.iter().map(|row| {
        json!({
            "topic": row.partition.topic.as_str(),
            "partition": row.partition.partition,
            "committedOffset": row.committed.map(Offset::value),
            "endOffset": row.end.map(Offset::value),
            "lag": row.lag(),
            "memberId": row.member.map(|member| &member.member_id),
        })
    });
    let members = group.members.iter().map(|member| {
        json!({
            "memberId": member.member_id,
            "instanceId": member.instance_id,
            "clientId": member.client_id,
            "host": member.host,
            "partitions": member.partitions.len(),
        })
    });
    json!({
        "group": group.group,
        "type": group.kind,
        "state": group.state,
        "assignor": group.assignor,
        "coordinator": group.coordinator,
        "members": members.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
        "lag": rows.iter().filter_map(Row::lag).sum::<i64>(),
    })
}

fn print_group(group: &GroupDescription, rows: &[Row<'_>]) -> std::io::Result<()> {
    let lag: i64 = rows.iter().filter_map(Row::lag).sum();
    print_line(&format!(
        "{}  {} {}  {} members  lag {lag}  coordinator {}",
        group.group,
        group.kind,
        group.state,
        group.members.len(),
        group.coordinator
    ))?;
    let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let member = |row: &Row<'_>, text: fn(&GroupMember) -> &str| row.member.map_or("-", text).to_owned();
    let table = rows.iter().map(|row| {
        vec![
            format!("  {}", row.partition.topic),
            row.partition.partition.to_string(),
            shown(row.committed.map(Offset::value)),
            shown(row.end.map(Offset::value)),
            shown(row.lag()),
            member(row, |it| &it.member_id),
            member(row, |it| &it.host),
        ]
    });
    print_table(&["  TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST"], table)
}
