//! `ottla topic alter`.

use clap::{ArgGroup, Args};
use ottla_client::{AlterConfig, ConfigResource};
use serde_json::json;

use crate::commands::ClusterArgs;
use crate::commands::values::{key_value, topic_name};
use crate::output::{OutputArgs, print_line};

/// Arguments of `topic alter`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").args(["partitions", "add_config", "delete_config"]).required(true).multiple(true))]
pub(crate) struct AlterArgs {
    /// Name of the topic
    #[arg(value_parser = topic_name)]
    topic: String,
    /// Number of partitions that the topic is to have, the present ones included
    #[arg(long, value_name = "TOTAL", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Set a configuration key; can be repeated
    #[arg(long = "config", alias = "add-config", value_name = "KEY=VALUE", value_parser = key_value)]
    add_config: Vec<(String, String)>,
    /// Set a configuration key back to its default; can be repeated
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl AlterArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        client.topic(&self.topic).await?;
        let set = self.add_config.into_iter().map(|(key, value)| AlterConfig::Set(key, value));
        let changes: Vec<_> = set.chain(self.delete_config.into_iter().map(AlterConfig::Delete)).collect();
        if !changes.is_empty() {
            client.alter_configs(&ConfigResource::topic(&self.topic), &changes).await?;
            if !self.output.is_json() {
                print_line(&format!("configured topic {}", self.topic))?;
            }
        }
        if let Some(partitions) = self.partitions {
            client.create_partitions(&self.topic, partitions).await?;
            if !self.output.is_json() {
                print_line(&format!("topic {} has {partitions} partitions", self.topic))?;
            }
        }
        if self.output.is_json() {
            crate::output::print_json(&json!({
                "name": self.topic,
                "partitions": client.topic(&self.topic).await?.partitions.len(),
                "changedConfigs": changes.len(),
            }))?;
        }
        Ok(())
    }
}
