//! `ottla broker`: which brokers there are, and what they speak.

use clap::{Args, Subcommand};
use ottla_client::{Broker, Client, NodeVersions};
use ottla_protocol::{ApiKey, VersionRange};
use serde_json::{Value, json};

use super::ClusterArgs;
use crate::output::{OutputArgs, or_dash, print_json, print_line, print_table};

/// What to do with brokers.
#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// List the brokers of the cluster
    #[command(
        after_help = "Examples:\n  ottla broker list\n  ottla broker list --include-fenced-brokers --json"
    )]
    List(ListArgs),
    /// Show which versions of which requests brokers speak
    #[command(after_help = "\
Examples:
  ottla broker api-versions
  ottla broker api-versions --broker-id 1 --json")]
    ApiVersions(VersionsArgs),
}

/// Arguments of `broker list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Show those too that are registered but do not serve
    #[arg(long)]
    include_fenced_brokers: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `broker api-versions`.
#[derive(Debug, Args)]
pub(crate) struct VersionsArgs {
    /// Only of this broker
    #[arg(long, value_name = "ID")]
    broker_id: Option<i32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl BrokerCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => args.run().await,
            Self::ApiVersions(args) => args.run().await,
        }
    }
}

impl ListArgs {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let described = client.describe_cluster(self.include_fenced_brokers).await?;
        let json = || {
            let brokers = described.brokers.iter().map(|(broker, is_fenced)| {
                json!({
                    "id": broker.id.value(),
                    "host": broker.host,
                    "port": broker.port,
                    "rack": broker.rack,
                    "fenced": is_fenced,
                })
            });
            json!({
                "clusterId": described.cluster_id,
                "controller": described.controller.value(),
                "brokers": brokers.collect::<Vec<_>>(),
            })
        };
        if !self.output.is_json() {
            print_line(&format!("cluster {}", described.cluster_id))?;
        }
        let rows = described.brokers.iter().map(|(broker, is_fenced)| {
            let state = if *is_fenced { "fenced" } else { "" };
            vec![broker.id.to_string(), broker.address(), or_dash(broker.rack.as_deref()), state.to_owned()]
        });
        Ok(self.output.print(json, &["BROKER", "ADDRESS", "RACK", ""], rows)?)
    }
}

impl VersionsArgs {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let mut brokers = client.brokers();
        if let Some(id) = self.broker_id {
            brokers.retain(|broker| broker.id.value() == id);
            anyhow::ensure!(
                !brokers.is_empty(),
                "there is no broker {id}; 'ottla broker list' shows which there are"
            );
        }
        let mut shown = Vec::new();
        for broker in &brokers {
            shown.push(self.one(&client, broker).await?);
        }
        if self.output.is_json() {
            print_json(&shown.into())?;
        }
        Ok(())
    }

    async fn one(&self, client: &Client, broker: &Broker) -> anyhow::Result<Value> {
        let versions = client.node_versions(Some(broker.id)).await?;
        if !self.output.is_json() {
            print_line(&format!("broker {} at {}", broker.id, broker.address()))?;
            print_table(&["  REQUEST", "KEY", "VERSIONS", "USED HERE"], rows(&versions))?;
        }
        let apis = versions.apis.iter().map(|(key, range)| {
            json!({ "key": key, "name": name(*key), "min": range.low, "max": range.high, "used": used(*key, *range) })
        });
        Ok(
            json!({ "broker": broker.id.value(), "address": broker.address(), "apis": apis.collect::<Vec<_>>() }),
        )
    }
}

fn rows(versions: &NodeVersions) -> impl Iterator<Item = Vec<String>> {
    versions.apis.iter().map(|(key, range)| {
        let name = name(*key).unwrap_or("(unknown to this client)");
        vec![
            format!("  {name}"),
            key.to_string(),
            if range.low == range.high {
                range.low.to_string()
            } else {
                format!("{} to {}", range.low, range.high)
            },
            or_dash(used(*key, *range)),
        ]
    })
}

fn name(key: i16) -> Option<&'static str> {
    ApiKey::from_code(key).map(ApiKey::name)
}

/// The version that both sides would use, as `kafka-broker-api-versions.sh` shows it.
fn used(key: i16, theirs: VersionRange) -> Option<i16> {
    let ours = ApiKey::from_code(key)?.stable_versions()?;
    let (low, high) = (ours.low.max(theirs.low), ours.high.min(theirs.high));
    (low <= high).then_some(high)
}
