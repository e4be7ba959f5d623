//! `ottla topic describe`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use ottla_client::{
    Client, ConfigEntry, ConfigResource, Isolation, OffsetSpec, PartitionMetadata, TopicMetadata,
};
use ottla_types::{NodeId, Offset, TopicPartition};
use serde_json::{Map, Value, json};

use super::matching;
use super::watch::TopicWatch;
use crate::commands::ClusterArgs;
use crate::commands::values::shown_bytes;
use crate::commands::watch::{WatchArgs, watch};
use crate::output::{BadUsage, OutputArgs, or_dash, print_json, print_line, print_table};

const MIN_IN_SYNC: &str = "min.insync.replicas";

/// Arguments of `topic describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Names of the topics, or regular expressions for whole names; without any, all that are not internal
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// The topic of this id
    #[arg(long, value_name = "ID", conflicts_with = "topics", allow_hyphen_values = true)]
    topic_id: Option<String>,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What is left out; partitions that meet one of the conditions are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
struct Only {
    /// Partitions with replicas that are not in sync
    #[arg(long)]
    under_replicated_partitions: bool,
    /// Partitions without a leader
    #[arg(long)]
    unavailable_partitions: bool,
    /// Partitions with fewer replicas in sync than min.insync.replicas
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// Partitions with just as many replicas in sync as min.insync.replicas
    #[arg(long)]
    at_min_isr_partitions: bool,
    /// Topics with a configuration of their own, without their partitions
    #[arg(long)]
    topics_with_overrides: bool,
    /// Leave out topics that the cluster keeps for itself
    #[arg(long)]
    exclude_internal: bool,
}

impl Only {
    fn has_filter(&self) -> bool {
        self.under_replicated_partitions
            || self.unavailable_partitions
            || self.under_min_isr_partitions
            || self.at_min_isr_partitions
    }

    fn keeps(&self, partition: &PartitionMetadata, min_in_sync: usize) -> bool {
        let in_sync = partition.isr.len();
        !self.has_filter()
            || (self.under_replicated_partitions && in_sync < partition.replicas.len())
            || (self.unavailable_partitions && partition.leader == NodeId::NONE)
            || (self.under_min_isr_partitions && in_sync < min_in_sync)
            || (self.at_min_isr_partitions && in_sync == min_in_sync)
    }
}

/// A topic with what is shown of it.
struct Described {
    topic: TopicMetadata,
    configs: Vec<ConfigEntry>,
}

/// First offset, end and size of partitions, as far as they can be had.
#[derive(Default)]
struct Extents {
    starts: BTreeMap<TopicPartition, Offset>,
    ends: BTreeMap<TopicPartition, Offset>,
    sizes: BTreeMap<TopicPartition, i64>,
}

impl DescribeArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let topics = self.wanted(&client).await?;
        if self.watch.watch {
            let names = topics.into_iter().map(|topic| topic.name.to_string()).collect();
            let watched = TopicWatch::new(client, names);
            return watch(&watched, &self.watch, self.output.is_json()).await;
        }
        let mut described = Vec::new();
        for mut topic in topics {
            let mut configs = client.describe_configs(&ConfigResource::topic(&topic.name), false).await?;
            let min_in_sync = configs.iter().find(|config| config.name == MIN_IN_SYNC);
            let min_in_sync = min_in_sync.and_then(|config| config.value.as_ref()?.parse().ok()).unwrap_or(1);
            configs.retain(|config| config.is_own);
            topic.partitions.retain(|partition| self.only.keeps(partition, min_in_sync));
            let is_shown = if self.only.topics_with_overrides {
                !configs.is_empty()
            } else {
                !topic.partitions.is_empty()
            };
            if is_shown {
                described.push(Described { topic, configs });
            }
        }
        let extents = if self.only.topics_with_overrides {
            Extents::default()
        } else {
            Extents::of(&client, &described).await?
        };
        if self.output.is_json() {
            let topics = described.iter().map(|topic| topic.json(&extents));
            return Ok(print_json(&topics.collect::<Vec<Value>>().into())?);
        }
        for topic in &described {
            topic.print(&extents, !self.only.topics_with_overrides)?;
        }
        Ok(())
    }

    async fn wanted(&self, client: &Client) -> anyhow::Result<Vec<TopicMetadata>> {
        let mut topics: Vec<_> = matching(client, &self.topics).await?.into_values().collect();
        if let Some(id) = &self.topic_id {
            topics.retain(|topic| topic.id.to_string() == *id);
            if topics.is_empty() {
                return Err(BadUsage(format!(
                    "no topic has id '{id}'; 'ottla topic list --json' shows the ids"
                ))
                .into());
            }
            return Ok(topics);
        }
        let without_internal =
            self.only.exclude_internal || (self.topics.is_empty() && !self.only.has_filter());
        topics.retain(|topic| !(without_internal && topic.is_internal));
        Ok(topics)
    }
}

impl Extents {
    async fn of(client: &Client, topics: &[Described]) -> anyhow::Result<Self> {
        let mut led = Vec::new();
        for described in topics {
            let partitions = described.topic.partitions.iter().filter(|it| it.leader != NodeId::NONE);
            led.extend(
                partitions.map(|it| (TopicPartition::new(&described.topic.name, it.index), it.leader)),
            );
        }
        let wanted = |spec| led.iter().map(|(it, _)| (it.clone(), spec)).collect::<Vec<_>>();
        let mut extents = Self::default();
        for (spec, into) in
            [(OffsetSpec::Earliest, &mut extents.starts), (OffsetSpec::Latest, &mut extents.ends)]
        {
            let listed = client.list_offsets(&wanted(spec), Isolation::ReadUncommitted).await?;
            into.extend(listed.into_iter().filter_map(|(it, listed)| Some((it, listed.offset?))));
        }
        for leader in led.iter().map(|(_, leader)| *leader).collect::<BTreeSet<_>>() {
            let of_leader = led.iter().filter(|(_, other)| *other == leader).map(|(it, _)| it.clone());
            let of_leader: Vec<_> = of_leader.collect();
            // Brokers may lack the request, or not allow it: the size is a nicety.
            let Ok(dirs) = client.describe_log_dirs(leader, Some(&of_leader)).await else { continue };
            let replicas = dirs.into_iter().flat_map(|dir| dir.replicas).filter(|replica| !replica.is_future);
            extents.sizes.extend(replicas.map(|replica| (replica.partition, replica.size_bytes)));
        }
        Ok(extents)
    }
}

impl Described {
    fn json(&self, extents: &Extents) -> Value {
        let topic = &self.topic;
        let ids = |nodes: &[NodeId]| nodes.iter().map(|id| id.value()).collect::<Vec<_>>();
        let partitions = topic.partitions.iter().map(|partition| {
            let key = TopicPartition::new(&topic.name, partition.index);
            json!({
                "partition": partition.index,
                "leader": partition.leader.value(),
                "leaderEpoch": partition.leader_epoch.value(),
                "replicas": ids(&partition.replicas),
                "isr": ids(&partition.isr),
                "offline": ids(&partition.offline),
                "startOffset": extents.starts.get(&key).map(|offset| offset.value()),
                "endOffset": extents.ends.get(&key).map(|offset| offset.value()),
                "sizeBytes": extents.sizes.get(&key),
            })
        });
        let configs: Map<String, Value> =
            self.configs.iter().map(|config| (config.name.clone(), json!(config.value))).collect();
        json!({
            "name": topic.name.as_str(),
            "id": topic.id.to_string(),
            "internal": topic.is_internal,
            "partitions": partitions.collect::<Vec<_>>(),
            "configs": configs,
        })
    }

    fn print(&self, extents: &Extents, with_partitions: bool) -> std::io::Result<()> {
        let topic = &self.topic;
        let shown = |config: &ConfigEntry| {
            format!("{}={}", config.name, config.value.as_deref().unwrap_or("(secret)"))
        };
        let configs: Vec<String> = self.configs.iter().map(shown).collect();
        print_line(format!("{}  id {}  {}", topic.name, topic.id, configs.join(" ")).trim_end())?;
        if !with_partitions {
            return Ok(());
        }
        let ids = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let rows = topic.partitions.iter().map(|partition| {
            let key = TopicPartition::new(&topic.name, partition.index);
            let leader = Some(partition.leader).filter(|leader| *leader != NodeId::NONE);
            vec![
                format!("  {}", partition.index),
                leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
                ids(&partition.replicas),
                ids(&partition.isr),
                or_dash(Some(ids(&partition.offline)).filter(|ids| !ids.is_empty())),
                or_dash(extents.starts.get(&key)),
                or_dash(extents.ends.get(&key)),
                or_dash(extents.sizes.get(&key).map(|bytes| shown_bytes(*bytes))),
            ]
        });
        let headings = ["  PARTITION", "LEADER", "REPLICAS", "ISR", "OFFLINE", "START", "END", "SIZE"];
        print_table(&headings, rows)
    }
}
