//! `ottla topic`: list, create, describe, configure, grow and delete topics.

use clap::{Args, Subcommand};
use ottla_client::{AlterConfig, Client, ConfigEntry, ConfigResource, NewTopic, TopicMetadata};
use ottla_protocol::ErrorCode;
use ottla_types::NodeId;
use serde_json::{Value, json};

use super::{ClusterArgs, key_value, topic_name};
use crate::output::{print_json, print_line, print_table};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// List all topics
    #[command(after_help = "Examples:\n  ottla topic list\n  ottla topic list --json --exclude-internal")]
    List(ListArgs),
    /// Create topics
    #[command(after_help = "\
Examples:
  ottla topic create orders --partitions 3
  ottla topic create users --config cleanup.policy=compact --if-not-exists
  ottla topic create audit --partitions 12 --replication-factor 3 --config min.insync.replicas=2")]
    Create(CreateArgs),
    /// Show partitions, leaders, replicas and configuration
    #[command(after_help = "Examples:\n  ottla topic describe orders\n  ottla topic describe --json")]
    Describe(DescribeArgs),
    /// Change the configuration of a topic
    #[command(after_help = "\
Examples:
  ottla topic configure orders --add-config retention.ms=86400000
  ottla topic configure orders --delete-config retention.ms")]
    Configure(ConfigureArgs),
    /// Add partitions to a topic; keys will map to other partitions than before
    #[command(after_help = "Example:\n  ottla topic add-partitions orders --partitions 6")]
    AddPartitions(AddPartitionsArgs),
    /// Delete topics and their records
    #[command(after_help = "Examples:\n  ottla topic delete orders\n  ottla topic delete a b c --if-exists")]
    Delete(DeleteArgs),
}

/// Arguments of `topic list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Leave out topics that the cluster keeps for itself
    #[arg(long)]
    exclude_internal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `topic create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_name)]
    topics: Vec<String>,
    /// Number of partitions; without it the broker's num.partitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition; without it the broker's default.replication.factor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A configuration key of the topic; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Do not fail for a topic that exists
    #[arg(long)]
    if_not_exists: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `topic describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Names of the topics; without any, all that are not internal
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `topic configure`.
#[derive(Debug, Args)]
pub(crate) struct ConfigureArgs {
    /// Name of the topic
    topic: String,
    /// Set a key; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, required_unless_present = "delete_config")]
    add_config: Vec<(String, String)>,
    /// Set a key back to its default; can be repeated
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `topic add-partitions`.
#[derive(Debug, Args)]
pub(crate) struct AddPartitionsArgs {
    /// Name of the topic
    topic: String,
    /// Number of partitions that the topic is to have, the present ones included
    #[arg(long, value_name = "TOTAL", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `topic delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Do not fail for a topic that does not exist
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl TopicCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => list(args).await,
            Self::Create(args) => create(args).await,
            Self::Describe(args) => describe(args).await,
            Self::Configure(args) => configure(args).await,
            Self::AddPartitions(args) => {
                let client = args.cluster.connect().await?;
                client.create_partitions(&args.topic, args.partitions).await?;
                Ok(print_line(&format!("topic {} has {} partitions", args.topic, args.partitions))?)
            }
            Self::Delete(args) => delete(args).await,
        }
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let client = args.cluster.connect().await?;
    let metadata = client.fetch_metadata(None).await?;
    let topics = metadata.topics.values().filter(|topic| !(args.exclude_internal && topic.is_internal));
    if args.json {
        let topics: Vec<Value> = topics
            .map(|topic| {
                json!({
                    "name": topic.name.as_str(),
                    "id": topic.id.to_string(),
                    "internal": topic.is_internal,
                    "partitions": topic.partitions.len(),
                    "replicationFactor": replication_factor(topic),
                })
            })
            .collect();
        return Ok(print_json(&topics.into())?);
    }
    let rows = topics.map(|topic| {
        let (partitions, replicas) =
            (topic.partitions.len().to_string(), replication_factor(topic).to_string());
        let internal = if topic.is_internal { "internal" } else { "" };
        vec![topic.name.to_string(), partitions, replicas, internal.to_owned()]
    });
    Ok(print_table(&["TOPIC", "PARTITIONS", "REPLICAS", ""], rows)?)
}

fn replication_factor(topic: &TopicMetadata) -> usize {
    topic.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0)
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let client = args.cluster.connect().await?;
    let mut created = Vec::new();
    for name in &args.topics {
        let topic = NewTopic {
            name: name.clone(),
            partitions: args.partitions,
            replication_factor: args.replication_factor,
            configs: args.config.clone(),
        };
        let id = match client.create_topic(&topic, false).await {
            Err(error) if args.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                created.push(json!({ "name": name, "created": false }));
                if !args.json {
                    print_line(&format!("topic {name} exists already"))?;
                }
                continue;
            }
            result => result?,
        };
        created.push(json!({ "name": name, "created": true, "id": id.to_string() }));
        if !args.json {
            print_line(&format!("created topic {name}"))?;
        }
    }
    if args.json {
        print_json(&created.into())?;
    }
    Ok(())
}

async fn describe(args: DescribeArgs) -> anyhow::Result<()> {
    let client = args.cluster.connect().await?;
    let names: Vec<&str> = args.topics.iter().map(String::as_str).collect();
    for name in &names {
        // Says what to do about one that is missing.
        client.topic(name).await?;
    }
    let metadata = client.fetch_metadata((!names.is_empty()).then_some(&names)).await?;
    let mut described = Vec::new();
    for topic in metadata.topics.values().filter(|topic| !names.is_empty() || !topic.is_internal) {
        let configs = own_configs(&client, &topic.name).await?;
        if args.json {
            described.push(topic_json(topic, &configs));
        } else {
            print_topic(topic, &configs)?;
        }
    }
    if args.json {
        print_json(&described.into())?;
    }
    Ok(())
}

async fn own_configs(client: &Client, topic: &str) -> anyhow::Result<Vec<ConfigEntry>> {
    let configs = client.describe_configs(&ConfigResource::topic(topic)).await?;
    Ok(configs.into_iter().filter(|config| config.is_own).collect())
}

fn topic_json(topic: &TopicMetadata, configs: &[ConfigEntry]) -> Value {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|id| id.value()).collect::<Vec<_>>();
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.index,
            "leader": partition.leader.value(),
            "leaderEpoch": partition.leader_epoch.value(),
            "replicas": ids(&partition.replicas),
            "isr": ids(&partition.isr),
            "offline": ids(&partition.offline),
        })
    });
    let configs: serde_json::Map<String, Value> =
        configs.iter().map(|config| (config.name.clone(), json!(config.value))).collect();
    json!({
        "name": topic.name.as_str(),
        "id": topic.id.to_string(),
        "internal": topic.is_internal,
        "partitions": partitions.collect::<Vec<_>>(),
        "configs": configs,
    })
}

fn print_topic(topic: &TopicMetadata, configs: &[ConfigEntry]) -> std::io::Result<()> {
    let configs: Vec<String> = configs
        .iter()
        .map(|config| format!("{}={}", config.name, config.value.as_deref().unwrap_or("(secret)")))
        .collect();
    print_line(&format!("{}  id {}  {}", topic.name, topic.id, configs.join(" ")))?;
    let ids = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rows = topic.partitions.iter().map(|partition| {
        let leader =
            if partition.leader == NodeId::NONE { "none".to_owned() } else { partition.leader.to_string() };
        let (replicas, isr) = (ids(&partition.replicas), ids(&partition.isr));
        vec![format!("  {}", partition.index), leader, replicas, isr, ids(&partition.offline)]
    });
    print_table(&["  PARTITION", "LEADER", "REPLICAS", "IN-SYNC", "OFFLINE"], rows)
}

async fn configure(args: ConfigureArgs) -> anyhow::Result<()> {
    let client = args.cluster.connect().await?;
    client.topic(&args.topic).await?;
    let set = args.add_config.into_iter().map(|(key, value)| AlterConfig::Set(key, value));
    let changes: Vec<_> = set.chain(args.delete_config.into_iter().map(AlterConfig::Delete)).collect();
    client.alter_configs(&ConfigResource::topic(&args.topic), &changes).await?;
    Ok(print_line(&format!("configured topic {}", args.topic))?)
}

async fn delete(args: DeleteArgs) -> anyhow::Result<()> {
    let client = args.cluster.connect().await?;
    for name in &args.topics {
        let is_missing = args.if_exists && client.fetch_metadata(Some(&[name])).await?.topics.is_empty();
        if is_missing {
            print_line(&format!("topic {name} does not exist"))?;
        } else {
            client.delete_topic(name).await?;
            print_line(&format!("deleted topic {name}"))?;
        }
    }
    Ok(())
}
