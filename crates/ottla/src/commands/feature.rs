//! `ottla feature`: feature levels of the cluster, such as metadata.version.

use clap::{Args, Subcommand};
use ottla_client::FeatureChange;
use serde_json::{Value, json};

use super::ClusterArgs;
use crate::output::{OutputArgs, or_dash};

/// What to do with features.
#[derive(Debug, Subcommand)]
pub(crate) enum FeatureCommand {
    /// Show which levels brokers support and which are in force
    #[command(after_help = "Examples:\n  ottla feature describe\n  ottla feature describe --json")]
    Describe(DescribeArgs),
    /// Raise levels
    #[command(after_help = "Example:\n  ottla feature upgrade --feature group.version=1 --dry-run")]
    Upgrade(ChangeArgs),
    /// Lower levels; level 0 switches a feature off
    #[command(after_help = "Example:\n  ottla feature downgrade --feature group.version=0")]
    Downgrade(DowngradeArgs),
}

/// Arguments of `feature describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `feature upgrade`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// The level of a feature; can be repeated
    #[arg(long, required = true, value_name = "FEATURE=LEVEL", value_parser = level)]
    feature: Vec<(String, i16)>,
    /// Only ask the cluster whether it would
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `feature downgrade`.
#[derive(Debug, Args)]
pub(crate) struct DowngradeArgs {
    /// Go down even if metadata is lost by it
    #[arg(long = "unsafe")]
    is_unsafe: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

fn level(text: &str) -> Result<(String, i16), String> {
    let (feature, level) = super::values::key_value(text)?;
    let level = level.parse().ok().filter(|level: &i16| *level >= 0);
    Ok((feature, level.ok_or("expected FEATURE=LEVEL with a level of 0 or more")?))
}

impl FeatureCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Describe(args) => args.run().await,
            Self::Upgrade(args) => args.run(FeatureChange::Upgrade).await,
            Self::Downgrade(args) if args.is_unsafe => args.change.run(FeatureChange::UnsafeDowngrade).await,
            Self::Downgrade(args) => args.change.run(FeatureChange::SafeDowngrade).await,
        }
    }
}

impl DescribeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let versions = self.cluster.connect().await?.node_versions(None).await?;
        let json = || {
            let features = versions.supported_features.iter().map(|(feature, range)| {
                json!({
                    "feature": feature,
                    "supportedMinVersion": range.low,
                    "supportedMaxVersion": range.high,
                    "finalizedVersionLevel": versions.finalized_features.get(feature).copied().unwrap_or(0),
                })
            });
            json!({ "epoch": versions.finalized_epoch, "features": features.collect::<Vec<Value>>() })
        };
        let rows = versions.supported_features.iter().map(|(feature, range)| {
            let finalized = versions.finalized_features.get(feature).filter(|level| **level > 0);
            vec![feature.clone(), range.low.to_string(), range.high.to_string(), or_dash(finalized)]
        });
        Ok(self.output.print(json, &["FEATURE", "SUPPORTED-MIN", "SUPPORTED-MAX", "IN FORCE"], rows)?)
    }
}

impl ChangeArgs {
    async fn run(self, kind: FeatureChange) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        client.update_features(&self.feature, kind, self.dry_run).await?;
        let changed: Vec<String> =
            self.feature.iter().map(|(feature, level)| format!("{feature}={level}")).collect();
        let done = if self.dry_run { "could change" } else { "changed" };
        let json = || json!({ "features": changed, "dryRun": self.dry_run });
        Ok(self.output.say(json, &format!("{done} {}", changed.join(", ")))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_small_numbers() {
        assert_eq!(level("a.b=2"), Ok(("a.b".to_owned(), 2)));
        assert!(level("a=-1").is_err() && level("a=x").is_err() && level("a").is_err());
    }
}
