//! `ottla group describe`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{ArgGroup, Args};
use ottla_client::{Client, GroupDescription, GroupMember, Isolation, OffsetSpec};
use ottla_types::{Offset, TopicPartition};
use serde_json::{Value, json};

use super::named;
use crate::commands::ClusterArgs;
use crate::commands::values::{now_ms, shown_time};
use crate::commands::watch::{Frame, WatchArgs, Watched, rate, shown_rate, watch};
use crate::output::{OutputArgs, counted, or_dash, print_json, print_line, table};

/// Arguments of `group describe`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("view").args(["offsets", "members", "state"]))]
pub(crate) struct DescribeArgs {
    /// Ids of the groups
    #[arg(value_name = "GROUP", required_unless_present = "all_groups")]
    groups: Vec<String>,
    /// All groups
    #[arg(long, conflicts_with = "groups")]
    all_groups: bool,
    /// Show partitions with offsets and lag (the default)
    #[arg(long)]
    offsets: bool,
    /// Show members with the partitions that each reads
    #[arg(long)]
    members: bool,
    /// Show state, assignor and coordinator only
    #[arg(long)]
    state: bool,
    /// Show more: epochs, and what members are to read
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A group with its partitions.
struct Described {
    group: GroupDescription,
    rows: Vec<Row>,
}

/// A partition that the group has an offset for, or reads.
struct Row {
    partition: TopicPartition,
    committed: Option<Offset>,
    end: Option<Offset>,
    /// Place of the member that reads it.
    member: Option<usize>,
}

/// What changed per second: produced, consumed.
type Rates = (Option<f64>, Option<f64>);

struct GroupWatch<'a> {
    client: Client,
    groups: Vec<String>,
    args: &'a DescribeArgs,
}

impl DescribeArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let groups = named(&client, &self.groups, self.all_groups).await?;
        let is_json = self.output.is_json();
        let watched = GroupWatch { client, groups, args: &self };
        if self.watch.watch {
            return watch(&watched, &self.watch, is_json).await;
        }
        let described = watched.sample().await?;
        if !is_json {
            let texts: Vec<String> = described.iter().map(|described| described.text(&self, None)).collect();
            return Ok(print_line(&texts.join("\n\n"))?);
        }
        let mut groups: Vec<Value> = described.iter().map(|described| described.json(None)).collect();
        // One that was named is an object; more are a list.
        match (self.all_groups, groups.len()) {
            (false, 1) => Ok(print_json(&groups.remove(0))?),
            _ => Ok(print_json(&groups.into())?),
        }
    }
}

impl Watched for GroupWatch<'_> {
    type Sample = Vec<Described>;

    async fn sample(&self) -> anyhow::Result<Vec<Described>> {
        let mut described = Vec::new();
        for group in &self.groups {
            let group = self.client.describe_group(group).await?;
            let rows = rows(&self.client, &group).await?;
            described.push(Described { group, rows });
        }
        Ok(described)
    }

    fn frame(&self, now: &Vec<Described>, before: Option<(&Vec<Described>, Duration)>) -> Frame {
        let time = shown_time(now_ms());
        let earlier = |group: &Described| {
            let (before, elapsed) = before?;
            Some((before.iter().find(|it| it.group.group == group.group.group)?, elapsed))
        };
        let texts = now.iter().map(|group| group.text(self.args, Some(earlier(group))));
        let texts: Vec<String> = texts.collect();
        let groups: Vec<Value> = now.iter().map(|group| group.json(Some(earlier(group)))).collect();
        Frame {
            text: format!("{time}\n{}", texts.join("\n\n")),
            json: json!({ "time": time, "groups": groups }),
        }
    }
}

async fn rows(client: &Client, group: &GroupDescription) -> anyhow::Result<Vec<Row>> {
    let committed = client.group_offsets(&group.group, None).await?;
    let mut members = BTreeMap::<&TopicPartition, usize>::new();
    for (place, member) in group.members.iter().enumerate() {
        members.extend(member.partitions.iter().map(|partition| (partition, place)));
    }
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

impl Row {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }

    fn rates(&self, before: Option<(&Described, Duration)>) -> Rates {
        let earlier = before.and_then(|(group, elapsed)| Some((group.row(&self.partition)?, elapsed)));
        let Some((earlier, elapsed)) = earlier else { return (None, None) };
        let grown =
            |now: Option<Offset>, before: Option<Offset>| Some(rate(now?.value(), before?.value(), elapsed));
        (grown(self.end, earlier.end), grown(self.committed, earlier.committed))
    }
}

impl Described {
    fn row(&self, partition: &TopicPartition) -> Option<&Row> {
        self.rows.iter().find(|row| row.partition == *partition)
    }

    fn lag(&self) -> i64 {
        self.rows.iter().filter_map(Row::lag).sum()
    }

    /// Rates of all partitions together.
    fn rates(&self, before: Option<(&Self, Duration)>) -> Rates {
        let sum =
            |values: Vec<Option<f64>>| values.iter().flatten().copied().reduce(|total, rate| total + rate);
        let (produced, consumed) = self.rows.iter().map(|row| row.rates(before)).unzip();
        (sum(produced), sum(consumed))
    }

    /// `live` is there when rates are shown: what was known before, and how long ago.
    fn json(&self, live: Option<Option<(&Self, Duration)>>) -> Value {
        let group = &self.group;
        let partitions = self.rows.iter().map(|row| {
            let mut json = json!({
                "topic": row.partition.topic.as_str(),
                "partition": row.partition.partition,
                "committedOffset": row.committed.map(Offset::value),
                "endOffset": row.end.map(Offset::value),
                "lag": row.lag(),
                "memberId": row.member.and_then(|place| Some(&group.members.get(place)?.member_id)),
            });
            insert_rates(&mut json, live.map(|before| row.rates(before)));
            json
        });
        let members = group.members.iter().map(|member| {
            json!({
                "memberId": member.member_id,
                "instanceId": member.instance_id,
                "clientId": member.client_id,
                "host": member.host,
                "partitions": member.partitions.len(),
                "assignment": names(&member.partitions),
                "targetAssignment": member.target.as_ref().map(|(partitions, _)| names(partitions)),
                "memberEpoch": member.target.as_ref().map(|(_, epoch)| epoch),
                "upgraded": member.is_upgraded,
            })
        });
        let mut json = json!({
            "group": group.group,
            "type": group.kind,
            "state": group.state,
            "assignor": group.assignor,
            "coordinator": group.coordinator,
            "groupEpoch": group.epochs.map(|(epoch, _)| epoch),
            "targetAssignmentEpoch": group.epochs.map(|(_, epoch)| epoch),
            "members": members.collect::<Vec<_>>(),
            "partitions": partitions.collect::<Vec<_>>(),
            "lag": self.lag(),
        });
        insert_rates(&mut json, live.map(|before| self.rates(before)));
        json
    }

    fn text(&self, args: &DescribeArgs, live: Option<Option<(&Self, Duration)>>) -> String {
        let group = &self.group;
        let mut title = format!(
            "{}  {} {}  {}  lag {}  coordinator {}",
            group.group,
            group.kind,
            group.state,
            counted(group.members.len(), "member"),
            self.lag(),
            group.coordinator
        );
        if !group.assignor.is_empty() {
            title = format!("{title}  assignor {}", group.assignor);
        }
        if let (true, Some((epoch, target))) = (args.verbose, group.epochs) {
            title = format!("{title}  epoch {epoch}  target epoch {target}");
        }
        if let Some(before) = live {
            let (produced, consumed) = self.rates(before);
            title = format!("{title}  produce {}  consume {}", shown_rate(produced), shown_rate(consumed));
        }
        if args.state {
            return title;
        }
        let body = if args.members { self.member_table(args.verbose) } else { self.offset_table(live) };
        format!("{title}\n{body}")
    }

    fn offset_table(&self, live: Option<Option<(&Self, Duration)>>) -> String {
        let mut headings = vec!["  TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"];
        if live.is_some() {
            headings.extend(["PRODUCE", "CONSUME"]);
        }
        headings.extend(["CONSUMER-ID", "HOST", "CLIENT-ID"]);
        let rows = self.rows.iter().map(|row| {
            let member = row.member.and_then(|place| self.group.members.get(place));
            let of_member = |text: fn(&GroupMember) -> &str| or_dash(member.map(text));
            let mut cells = vec![
                format!("  {}", row.partition.topic),
                row.partition.partition.to_string(),
                or_dash(row.committed),
                or_dash(row.end),
                or_dash(row.lag()),
            ];
            if let Some(before) = live {
                let (produced, consumed) = row.rates(before);
                cells.extend([shown_rate(produced), shown_rate(consumed)]);
            }
            cells.extend([
                of_member(|it| &it.member_id),
                of_member(|it| &it.host),
                of_member(|it| &it.client_id),
            ]);
            cells
        });
        table(&headings, rows)
    }

    fn member_table(&self, verbose: bool) -> String {
        let mut headings =
            vec!["  CONSUMER-ID", "INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "LAG", "ASSIGNMENT"];
        if verbose {
            headings.extend(["EPOCH", "TARGET-ASSIGNMENT", "UPGRADED"]);
        }
        let rows = self.group.members.iter().enumerate().map(|(place, member)| {
            let mine = self.rows.iter().filter(|row| row.member == Some(place));
            let mut cells = vec![
                format!("  {}", member.member_id),
                or_dash(member.instance_id.as_deref()),
                member.host.clone(),
                member.client_id.clone(),
                member.partitions.len().to_string(),
                mine.filter_map(Row::lag).sum::<i64>().to_string(),
                joined(&member.partitions),
            ];
            if verbose {
                cells.push(or_dash(member.target.as_ref().map(|(_, epoch)| epoch)));
                cells.push(or_dash(member.target.as_ref().map(|(partitions, _)| joined(partitions))));
                cells.push(or_dash(member.is_upgraded));
            }
            cells
        });
        table(&headings, rows)
    }
}

fn insert_rates(json: &mut Value, rates: Option<Rates>) {
    if let (Some((produced, consumed)), Some(fields)) = (rates, json.as_object_mut()) {
        fields.insert("produceRate".to_owned(), json!(produced));
        fields.insert("consumeRate".to_owned(), json!(consumed));
    }
}

fn names(partitions: &[TopicPartition]) -> Vec<String> {
    partitions.iter().map(TopicPartition::to_string).collect()
}

/// Partitions by topic: `a(0,1) b(2)`.
fn joined(partitions: &[TopicPartition]) -> String {
    let mut topics = BTreeMap::<&str, Vec<String>>::new();
    for partition in partitions {
        topics.entry(partition.topic.as_str()).or_default().push(partition.partition.to_string());
    }
    let shown: Vec<String> =
        topics.iter().map(|(topic, indexes)| format!("{topic}({})", indexes.join(","))).collect();
    or_dash(Some(shown.join(" ")).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(offsets: &[(i32, Option<i64>, i64)]) -> Described {
        let row = |(index, committed, end): &(i32, Option<i64>, i64)| Row {
            partition: TopicPartition::new("t", *index),
            committed: committed.map(Offset),
            end: Some(Offset(*end)),
            member: None,
        };
        Described {
            group: GroupDescription {
                group: "g".to_owned(),
                state: "Empty".to_owned(),
                kind: "classic",
                assignor: String::new(),
                coordinator: "h:1".to_owned(),
                epochs: None,
                members: Vec::new(),
            },
            rows: offsets.iter().map(row).collect(),
        }
    }

    #[test]
    fn lag_and_rates_add_up() {
        let before = described(&[(0, Some(10), 20), (1, None, 5)]);
        let now = described(&[(0, Some(16), 30), (1, None, 9)]);
        assert_eq!(now.lag(), 14);
        assert_eq!(now.rates(Some((&before, Duration::from_secs(2)))), (Some(7.0), Some(3.0)));
        assert_eq!(now.rates(None), (None, None));
        let json = now.json(Some(Some((&before, Duration::from_secs(2)))));
        assert_eq!((&json["lag"], &json["consumeRate"]), (&14.into(), &3.0.into()));
        assert_eq!(json["partitions"][1]["lag"], Value::Null);
        assert!(before.json(None).get("consumeRate").is_none());
    }

    #[test]
    fn assignments_are_grouped_by_topic() {
        let partitions =
            [("a", 0), ("a", 1), ("b", 2)].map(|(topic, index)| TopicPartition::new(topic, index));
        assert_eq!(joined(&partitions), "a(0,1) b(2)");
        assert_eq!(joined(&[]), "-");
    }
}
