//! `ottla group delete`.

use clap::Args;
use serde_json::{Value, json};

use super::named;
use crate::commands::ClusterArgs;
use crate::output::{OutputArgs, print_json, print_line};

/// Arguments of `group delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Ids of the groups
    #[arg(value_name = "GROUP", required_unless_present = "all_groups")]
    groups: Vec<String>,
    /// All groups
    #[arg(long, conflicts_with = "groups")]
    all_groups: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl DeleteArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let mut deleted = Vec::<Value>::new();
        for group in named(&client, &self.groups, self.all_groups).await? {
            client.delete_group(&group).await?;
            if !self.output.is_json() {
                print_line(&format!("deleted group {group}"))?;
            }
            deleted.push(json!({ "group": group, "deleted": true }));
        }
        if self.output.is_json() {
            print_json(&deleted.into())?;
        }
        Ok(())
    }
}
