//! `ottla group list`.

use clap::Args;
use serde_json::{Value, json};

use crate::commands::ClusterArgs;
use crate::output::OutputArgs;

/// States of groups, all types together.
const STATES: [&str; 7] =
    ["PreparingRebalance", "CompletingRebalance", "Stable", "Empty", "Dead", "Assigning", "Reconciling"];
/// Types of groups (KIP-848, KIP-932, KIP-1071).
const TYPES: [&str; 4] = ["classic", "consumer", "share", "streams"];

/// Arguments of `group list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only groups in these states
    #[arg(long, value_name = "STATE,…", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    /// Only groups of these types
    #[arg(long = "type", value_name = "TYPE,…", value_delimiter = ',', value_parser = kind)]
    kind: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// As Kafka's tools, takes upper and lower case.
fn one_of(text: &str, names: &[&str]) -> Result<String, String> {
    let found = names.iter().find(|name| name.eq_ignore_ascii_case(text));
    found.map(|name| (*name).to_owned()).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

fn state(text: &str) -> Result<String, String> {
    one_of(text, &STATES)
}

fn kind(text: &str) -> Result<String, String> {
    one_of(text, &TYPES)
}

impl ListArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let groups = self.cluster.connect().await?.list_groups(&self.state, &self.kind).await?;
        let json = || {
            let groups = groups.iter().map(|group| {
                json!({
                    "group": group.group,
                    "type": group.kind,
                    "protocolType": group.protocol_type,
                    "state": group.state,
                })
            });
            groups.collect::<Vec<Value>>().into()
        };
        let rows = groups.iter().map(|group| {
            vec![group.group.clone(), group.kind.clone(), group.protocol_type.clone(), group.state.clone()]
        });
        Ok(self.output.print(json, &["GROUP", "TYPE", "PROTOCOL", "STATE"], rows)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_taken_in_any_case() {
        assert_eq!(state("stable"), Ok("Stable".to_owned()));
        assert_eq!(kind("CONSUMER"), Ok("consumer".to_owned()));
        assert!(state("x").unwrap_err().contains("Stable, Empty"));
    }
}
