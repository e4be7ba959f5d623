//! `ottla group delete-offsets`.

use clap::Args;
use ottla_types::TopicPartition;
use serde_json::json;

use crate::commands::ClusterArgs;
use crate::commands::values::{TopicPartitions, expand, topic_partitions};
use crate::output::OutputArgs;

/// Arguments of `group delete-offsets`.
#[derive(Debug, Args)]
pub(crate) struct DeleteOffsetsArgs {
    /// Id of the group
    group: String,
    /// A topic, or some of its partitions; can be repeated
    #[arg(long, required = true, value_name = "TOPIC[:PARTITION,…]", value_parser = topic_partitions)]
    topic: Vec<TopicPartitions>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl DeleteOffsetsArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let partitions = expand(&client, &self.topic).await?;
        client.delete_group_offsets(&self.group, &partitions).await?;
        let names: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
        let json = || json!({ "group": self.group, "partitions": names });
        Ok(self
            .output
            .say(json, &format!("deleted offsets of group {} for {}", self.group, names.join(", ")))?)
    }
}
