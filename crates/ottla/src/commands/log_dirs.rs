//! `ottla log-dirs`: what is in the directories of brokers.

use clap::{Args, Subcommand};
use ottla_client::{Client, LogDirDescription};
use ottla_types::{NodeId, TopicPartition};
use serde_json::{Value, json};

use super::ClusterArgs;
use super::values::{TopicPartitions, expand, shown_bytes, topic_name, topic_partitions};
use crate::output::{BadUsage, OutputArgs, counted, or_dash, print_json, print_line, print_table};

/// What to do with log directories.
#[derive(Debug, Subcommand)]
pub(crate) enum LogDirsCommand {
    /// Show directories with their size, and the partitions in them
    #[command(after_help = "\
Examples:
  ottla log-dirs describe
  ottla log-dirs describe --broker-list 1,2 --topic-list orders
  ottla log-dirs describe --json")]
    Describe(DescribeArgs),
    /// Move partitions into another directory of the same broker
    #[command(after_help = "\
The partitions stay in use while they are copied; 'ottla log-dirs describe' shows how far that is.

Example:
  ottla log-dirs move orders:0,1 --broker 1 --to /data/disk2")]
    Move(MoveArgs),
}

/// Arguments of `log-dirs describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Only of these brokers
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    broker_list: Vec<i32>,
    /// Only the partitions of these topics
    #[arg(long, value_name = "TOPIC,…", value_delimiter = ',', value_parser = topic_name)]
    topic_list: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `log-dirs move`.
#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    /// Topics, or some of their partitions
    #[arg(required = true, value_name = "TOPIC[:PARTITION,…]", value_parser = topic_partitions)]
    topics: Vec<TopicPartitions>,
    /// The broker
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker: i32,
    /// The directory, as it stands in log.dirs of the broker
    #[arg(long, value_name = "PATH")]
    to: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl LogDirsCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Describe(args) => args.run().await,
            Self::Move(args) => args.run().await,
        }
    }
}

impl DescribeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let topics = self.topic_list.iter().cloned();
        let topics: Vec<_> = topics.map(|topic| TopicPartitions { topic, partitions: Vec::new() }).collect();
        let partitions = expand(&client, &topics).await?;
        let wanted = (!topics.is_empty()).then_some(&*partitions);
        let mut described = Vec::new();
        for broker in brokers(&client, &self.broker_list)? {
            described.push((broker, client.describe_log_dirs(broker, wanted).await?));
        }
        if self.output.is_json() {
            let brokers = described.iter().map(|(broker, dirs)| {
                json!({ "broker": broker.value(), "logDirs": dirs.iter().map(dir_json).collect::<Vec<_>>() })
            });
            return Ok(print_json(&brokers.collect::<Vec<Value>>().into())?);
        }
        for (broker, dirs) in &described {
            for dir in dirs {
                print_dir(*broker, dir)?;
            }
        }
        Ok(())
    }
}

fn brokers(client: &Client, wanted: &[i32]) -> anyhow::Result<Vec<NodeId>> {
    let known: Vec<NodeId> = client.brokers().iter().map(|broker| broker.id).collect();
    if wanted.is_empty() {
        return Ok(known);
    }
    let missing = wanted.iter().find(|id| !known.contains(&NodeId(**id)));
    if let Some(missing) = missing {
        let ids: Vec<String> = known.iter().map(ToString::to_string).collect();
        return Err(BadUsage(format!("there is no broker {missing}; there are {}", ids.join(", "))).into());
    }
    Ok(wanted.iter().copied().map(NodeId).collect())
}

fn dir_json(dir: &LogDirDescription) -> Value {
    let replicas = dir.replicas.iter().map(|replica| {
        json!({
            "topic": replica.partition.topic.as_str(),
            "partition": replica.partition.partition,
            "sizeBytes": replica.size_bytes,
            "offsetLag": replica.offset_lag,
            "isFuture": replica.is_future,
        })
    });
    json!({
        "logDir": dir.path,
        "error": (!dir.error.is_none()).then(|| dir.error.name()),
        "totalBytes": dir.total_bytes,
        "usableBytes": dir.usable_bytes,
        "isCordoned": dir.is_cordoned,
        "partitions": replicas.collect::<Vec<_>>(),
    })
}

fn print_dir(broker: NodeId, dir: &LogDirDescription) -> std::io::Result<()> {
    let bytes = |bytes: Option<i64>| or_dash(bytes.map(shown_bytes));
    let used: i64 = dir.replicas.iter().map(|replica| replica.size_bytes).sum();
    let mut title = format!(
        "broker {broker}  {}  {}  {}  free {} of {}",
        dir.path,
        counted(dir.replicas.len(), "partition"),
        shown_bytes(used),
        bytes(dir.usable_bytes),
        bytes(dir.total_bytes)
    );
    if dir.is_cordoned {
        title.push_str("  cordoned");
    }
    if !dir.error.is_none() {
        title = format!("{title}  {}", dir.error.name());
    }
    print_line(&title)?;
    if dir.replicas.is_empty() {
        return Ok(());
    }
    let rows = dir.replicas.iter().map(|replica| {
        vec![
            format!("  {}", replica.partition.topic),
            replica.partition.partition.to_string(),
            shown_bytes(replica.size_bytes),
            replica.offset_lag.to_string(),
            if replica.is_future { "moving here".to_owned() } else { String::new() },
        ]
    });
    print_table(&["  TOPIC", "PARTITION", "SIZE", "OFFSET-LAG", ""], rows)
}

impl MoveArgs {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let partitions = expand(&client, &self.topics).await?;
        let broker = *brokers(&client, &[self.broker])?.first().unwrap_or(&NodeId(self.broker));
        client.move_replicas(broker, &partitions, &self.to).await?;
        let names: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
        let json = || json!({ "broker": self.broker, "logDir": self.to, "partitions": names });
        Ok(self.output.say(json, &format!("moving {} to {}", names.join(", "), self.to))?)
    }
}
