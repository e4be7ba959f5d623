//! `ottla topic`: list, create, describe, alter and delete topics.

mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod watch;

use std::collections::BTreeMap;

use clap::Subcommand;
use ottla_client::{Client, ClusterMetadata, TopicMetadata};
use ottla_types::TopicName;
use regex::Regex;

use crate::output::BadUsage;

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// List topics
    #[command(after_help = "\
Examples:
  ottla topic list
  ottla topic list 'orders-.*' --exclude-internal
  ottla topic list --json")]
    List(list::ListArgs),
    /// Create topics
    #[command(after_help = "\
Examples:
  ottla topic create orders --partitions 3
  ottla topic create users --config cleanup.policy=compact --if-not-exists
  ottla topic create audit --partitions 12 --replication-factor 3 --config min.insync.replicas=2
  ottla topic create placed --replica-assignment 1:2,2:3")]
    Create(create::CreateArgs),
    /// Show partitions with leaders, replicas, offsets and sizes, and what is configured
    #[command(after_help = "\
With --watch: records per second that are produced and that each group consumes, and how far it is behind.

Examples:
  ottla topic describe orders
  ottla topic describe orders --watch
  ottla topic describe --under-replicated-partitions
  ottla topic describe --json")]
    Describe(describe::DescribeArgs),
    /// Change the configuration of a topic or its number of partitions
    #[command(
        visible_aliases = ["configure", "add-partitions"],
        after_help = "\
Partitions can only be added; keys will map to other partitions than before.

Examples:
  ottla topic alter orders --partitions 6
  ottla topic alter orders --config retention.ms=86400000
  ottla topic alter orders --delete-config retention.ms"
    )]
    Alter(alter::AlterArgs),
    /// Delete topics and their records
    #[command(after_help = "Examples:\n  ottla topic delete orders\n  ottla topic delete a b c --if-exists")]
    Delete(delete::DeleteArgs),
}

impl TopicCommand {
    pub(in crate::commands) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => args.run().await,
            Self::Create(args) => args.run().await,
            Self::Describe(args) => args.run().await,
            Self::Alter(args) => args.run().await,
            Self::Delete(args) => args.run().await,
        }
    }
}

fn replication_factor(topic: &TopicMetadata) -> usize {
    topic.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0)
}

/// The topics that arguments mean: names, and regular expressions for whole names as Kafka's tools take them. All without
/// arguments.
async fn matching(client: &Client, wanted: &[String]) -> anyhow::Result<BTreeMap<TopicName, TopicMetadata>> {
    if wanted.is_empty() {
        return Ok(client.fetch_metadata(None).await?.topics);
    }
    let mut all: Option<ClusterMetadata> = None;
    let mut found = BTreeMap::new();
    for text in wanted {
        if TopicName::check(text).is_ok() {
            // Says what to do about one that is missing.
            let topic = client.topic(text).await?;
            found.insert(topic.name.clone(), TopicMetadata::clone(&topic));
            continue;
        }
        let pattern = pattern(text)?;
        if all.is_none() {
            all = Some(client.fetch_metadata(None).await?);
        }
        let topics = all.iter().flat_map(|metadata| &metadata.topics);
        found.extend(
            topics
                .filter(|(name, _)| pattern.is_match(name.as_str()))
                .map(|(name, topic)| (name.clone(), topic.clone())),
        );
    }
    Ok(found)
}

fn pattern(text: &str) -> Result<Regex, BadUsage> {
    // Kafka's tools take a list of names for one of them.
    let alternatives = text.replace(',', "|");
    Regex::new(&format!("^(?:{alternatives})$"))
        .map_err(|_| BadUsage(format!("'{text}' is neither the name of a topic nor a regular expression")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let pattern = pattern("orders-.*,users").unwrap();
        assert!(pattern.is_match("orders-1") && pattern.is_match("users"));
        assert!(!pattern.is_match("my-users") && !pattern.is_match("orders"));
        assert!(super::pattern("[").is_err());
    }
}
