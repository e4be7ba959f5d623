//! `ottla topic create`.

use clap::Args;
use ottla_client::NewTopic;
use ottla_protocol::ErrorCode;
use serde_json::json;

use crate::commands::ClusterArgs;
use crate::commands::values::{key_value, topic_name};
use crate::output::{OutputArgs, print_json, print_line};

/// Arguments of `topic create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_name)]
    topics: Vec<String>,
    /// Number of partitions; without it the broker's num.partitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition; without it the broker's default.replication.factor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// Brokers of each partition, the preferred leader first: 1:2,2:3 are two partitions with two replicas each
    #[arg(long, value_name = "ID:ID,ID:ID", value_parser = assignment,
        conflicts_with_all = ["partitions", "replication_factor"])]
    replica_assignment: Option<Assignment>,
    /// A configuration key of the topic; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Do not fail for a topic that exists
    #[arg(long)]
    if_not_exists: bool,
    /// Only ask the cluster whether it would
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Replicas by partition.
type Assignment = std::sync::Arc<Vec<Vec<i32>>>;

fn assignment(text: &str) -> Result<Assignment, String> {
    let id = |text: &str| text.trim().parse().ok().filter(|id: &i32| *id >= 0);
    let partition = |text: &str| text.split(':').map(id).collect::<Option<Vec<_>>>();
    let partitions: Option<Vec<_>> = text.split(',').map(partition).collect();
    let partitions = partitions.ok_or("expected ids of brokers like 1:2,2:3")?;
    let has_duplicate = |ids: &Vec<i32>| ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id));
    match partitions.iter().position(has_duplicate) {
        Some(partition) => Err(format!("partition {partition} names a broker twice")),
        None => Ok(partitions.into()),
    }
}

impl CreateArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let mut created = Vec::new();
        let is_json = self.output.is_json();
        for name in &self.topics {
            let topic = NewTopic {
                name: name.clone(),
                partitions: self.partitions,
                replication_factor: self.replication_factor,
                assignments: self.replica_assignment.as_deref().cloned().unwrap_or_default(),
                configs: self.config.clone(),
            };
            let id = match client.create_topic(&topic, self.dry_run).await {
                Err(error) if self.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                    created.push(json!({ "name": name, "created": false }));
                    if !is_json {
                        print_line(&format!("topic {name} exists already"))?;
                    }
                    continue;
                }
                result => result?,
            };
            if self.dry_run {
                created.push(json!({ "name": name, "created": false }));
            } else {
                created.push(json!({ "name": name, "created": true, "id": id.to_string() }));
            }
            if !is_json {
                let done = if self.dry_run { "could create" } else { "created" };
                print_line(&format!("{done} topic {name}"))?;
            }
        }
        if is_json {
            print_json(&created.into())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_those_of_kafka() {
        assert_eq!(*assignment("1:2,2:3").unwrap(), [vec![1, 2], vec![2, 3]]);
        for bad in ["", "1:", "a", "1:1", "-1"] {
            assert!(assignment(bad).is_err(), "{bad}");
        }
    }
}
