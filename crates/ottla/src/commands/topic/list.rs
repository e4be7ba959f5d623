//! `ottla topic list`.

use clap::Args;
use serde_json::{Value, json};

use super::{matching, replication_factor};
use crate::commands::ClusterArgs;
use crate::output::OutputArgs;

/// Arguments of `topic list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only topics of these names, or whose whole name matches these regular expressions
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Leave out topics that the cluster keeps for itself
    #[arg(long)]
    exclude_internal: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ListArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let topics = matching(&client, &self.topics).await?;
        let topics: Vec<_> =
            topics.values().filter(|topic| !(self.exclude_internal && topic.is_internal)).collect();
        let json = || {
            let topics = topics.iter().map(|topic| {
                json!({
                    "name": topic.name.as_str(),
                    "id": topic.id.to_string(),
                    "internal": topic.is_internal,
                    "partitions": topic.partitions.len(),
                    "replicationFactor": replication_factor(topic),
                })
            });
            topics.collect::<Vec<Value>>().into()
        };
        let rows = topics.iter().map(|topic| {
            let (partitions, replicas) =
                (topic.partitions.len().to_string(), replication_factor(topic).to_string());
            let internal = if topic.is_internal { "internal" } else { "" };
            vec![topic.name.to_string(), partitions, replicas, internal.to_owned()]
        });
        Ok(self.output.print(json, &["TOPIC", "PARTITIONS", "REPLICAS", ""], rows)?)
    }
}
