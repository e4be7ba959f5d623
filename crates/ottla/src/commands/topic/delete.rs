//! `ottla topic delete`.

use clap::Args;
use serde_json::json;

use crate::commands::ClusterArgs;
use crate::output::{OutputArgs, print_json, print_line};

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
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl DeleteArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let mut deleted = Vec::new();
        for name in &self.topics {
            let is_missing = self.if_exists && client.fetch_metadata(Some(&[name])).await?.topics.is_empty();
            if !is_missing {
                client.delete_topic(name).await?;
            }
            deleted.push(json!({ "name": name, "deleted": !is_missing }));
            if !self.output.is_json() {
                let text = if is_missing {
                    format!("topic {name} does not exist")
                } else {
                    format!("deleted topic {name}")
                };
                print_line(&text)?;
            }
        }
        if self.output.is_json() {
            print_json(&deleted.into())?;
        }
        Ok(())
    }
}
