//! `ottla partition`: leaders and replicas of partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use ottla_client::{Client, ElectionType};
use ottla_protocol::ErrorCode;
use ottla_types::{NodeId, TopicPartition};
use serde_json::{Value, json};

use super::ClusterArgs;
use super::values::{TopicPartitions, expand, partition, topic_partitions};
use crate::output::{BadUsage, OutputArgs, or_dash};

/// What to do with partitions.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// Make the preferred replicas leaders, or any that lives
    #[command(after_help = "\
Examples:
  ottla partition elect-leaders --all-topic-partitions
  ottla partition elect-leaders orders:0,1
  ottla partition elect-leaders orders:0 --election-type unclean")]
    ElectLeaders(ElectArgs),
    /// Give partitions other replicas, or replicas other log directories
    #[command(after_help = "\
The file is that of kafka-reassign-partitions.sh; 'log_dirs', if it is there, names a directory for each replica, or \"any\":
{\"version\": 1, \"partitions\": [{\"topic\": \"orders\", \"partition\": 0, \"replicas\": [1, 2],
                               \"log_dirs\": [\"/disk1\", \"any\"]}]}

Examples:
  ottla partition reassign orders:0=1,2 orders:1=2,3
  ottla partition reassign --reassignment-json-file plan.json")]
    Reassign(ReassignArgs),
    /// List the reassignments under way
    #[command(after_help = "Example:\n  ottla partition list-reassignments")]
    ListReassignments(ListArgs),
    /// Stop reassignments and go back to the old replicas
    #[command(after_help = "Example:\n  ottla partition cancel-reassignment orders:0")]
    CancelReassignment(CancelArgs),
}

/// Arguments of `partition elect-leaders`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["topics", "all_topic_partitions"]).required(true))]
pub(crate) struct ElectArgs {
    /// Topics, or some of their partitions
    #[arg(value_name = "TOPIC[:PARTITION,…]", value_parser = topic_partitions)]
    topics: Vec<TopicPartitions>,
    /// All partitions of all topics
    #[arg(long)]
    all_topic_partitions: bool,
    /// Who may become leader
    #[arg(long, value_name = "TYPE", default_value = "preferred", ignore_case = true)]
    election_type: Election,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The values of `--election-type`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Election {
    /// The first replica, if it is in sync
    Preferred,
    /// Any replica that lives, where there is no leader; records may be lost
    Unclean,
}

/// Arguments of `partition reassign`.
#[derive(Debug, Args)]
pub(crate) struct ReassignArgs {
    /// A partition and its brokers, the preferred leader first
    #[arg(value_name = "TOPIC:PARTITION=ID,ID", value_parser = assignment, required_unless_present = "reassignment_json_file")]
    partitions: Vec<Assignment>,
    /// Take partitions and brokers from this file
    #[arg(long, value_name = "FILE", conflicts_with = "partitions")]
    reassignment_json_file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `partition list-reassignments`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `partition cancel-reassignment`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The partitions
    #[arg(required = true, value_name = "TOPIC:PARTITION", value_parser = partition)]
    partitions: Vec<TopicPartition>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A partition and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment {
    partition: TopicPartition,
    replicas: Vec<NodeId>,
    /// For each replica the directory where it shall be; none where that is the broker's choice.
    log_dirs: Vec<Option<String>>,
}

/// What a file says instead of a directory that does not matter.
const ANY_DIR: &str = "any";

fn assignment(text: &str) -> Result<Assignment, String> {
    let expected = "expected TOPIC:PARTITION=ID,ID";
    let (name, ids) = text.split_once('=').ok_or(expected)?;
    let id = |text: &str| text.trim().parse().ok().filter(|id: &i32| *id >= 0).map(NodeId);
    let ids = ids.split(',').map(id).collect::<Option<Vec<_>>>().ok_or(expected)?;
    let log_dirs = vec![None; ids.len()];
    Ok(Assignment { partition: partition(name)?, replicas: ids, log_dirs })
}

impl PartitionCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::ElectLeaders(args) => args.run().await,
            Self::Reassign(args) => args.run().await,
            Self::ListReassignments(args) => args.run().await,
            Self::CancelReassignment(args) => {
                let client = args.cluster.connect().await?;
                let changes = args.partitions.iter().map(|it| (it.clone(), None)).collect();
                client.reassign(&changes).await?;
                done(&args.output, "cancelled the reassignment of", changes.keys())
            }
        }
    }
}

impl ElectArgs {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let kind = match self.election_type {
            Election::Preferred => ElectionType::Preferred,
            Election::Unclean => ElectionType::Unclean,
        };
        let partitions = expand(&client, &self.topics).await?;
        let wanted = (!self.all_topic_partitions).then_some(&*partitions);
        let results = client.elect_leaders(kind, wanted).await?;
        let outcome = |code: &ErrorCode| match code {
            ErrorCode::None => "elected",
            ErrorCode::ElectionNotNeeded => "not needed",
            _ => "failed",
        };
        let json = || {
            let results = results.iter().map(|(partition, (code, message))| {
                json!({
                    "topic": partition.topic.as_str(),
                    "partition": partition.partition,
                    "outcome": outcome(code),
                    "error": (outcome(code) == "failed").then(|| message.clone().unwrap_or_else(|| code.message().to_owned())),
                })
            });
            results.collect::<Vec<Value>>().into()
        };
        let rows = results.iter().map(|(partition, (code, message))| {
            let failure = (outcome(code) == "failed").then(|| message.as_deref().unwrap_or(code.message()));
            let index = partition.partition.to_string();
            vec![partition.topic.to_string(), index, outcome(code).to_owned(), or_dash(failure)]
        });
        self.output.print(json, &["TOPIC", "PARTITION", "OUTCOME", "WHY"], rows)?;
        let failed = results.values().filter(|(code, _)| outcome(code) == "failed").count();
        anyhow::ensure!(failed == 0, "no leader could be elected for {failed} partitions");
        Ok(())
    }
}

impl ReassignArgs {
    async fn run(self) -> anyhow::Result<()> {
        let wanted = match &self.reassignment_json_file {
            None => self.partitions,
            Some(path) => {
                let bad = |error: String| BadUsage(format!("{}: {error}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
                from_json(&text).map_err(|error| bad(format!("{error:#}")))?
            }
        };
        let (mut changes, mut moves) = (BTreeMap::new(), Moves::new());
        for Assignment { partition, replicas, log_dirs } in wanted {
            if replicas.iter().collect::<BTreeSet<_>>().len() < replicas.len() {
                return Err(BadUsage(format!("{partition}: a broker is named twice")).into());
            }
            for (broker, dir) in replicas.iter().zip(log_dirs) {
                let Some(dir) = dir else { continue };
                moves.entry((*broker, dir)).or_default().push(partition.clone());
            }
            if changes.insert(partition.clone(), Some(replicas)).is_some() {
                return Err(BadUsage(format!("{partition} is there twice")).into());
            }
        }
        let client = self.cluster.connect().await?;
        move_all(&client, &moves).await?;
        client.reassign(&changes).await?;
        done(&self.output, "reassigning", changes.keys())
    }
}

/// Partitions by the broker and the directory of it that they shall be in.
type Moves = BTreeMap<(NodeId, String), Vec<TopicPartition>>;

async fn move_all(client: &Client, moves: &Moves) -> ottla_client::Result<()> {
    for ((broker, dir), partitions) in moves {
        match client.move_replicas(*broker, partitions, dir).await {
            // The broker remembers where a replica shall be that it does not have yet.
            Err(error) if error.code() == Some(ErrorCode::ReplicaNotAvailable) => {}
            moved => moved?,
        }
    }
    Ok(())
}

/// What `kafka-reassign-partitions.sh` takes.
fn from_json(text: &str) -> anyhow::Result<Vec<Assignment>> {
    let json: Value = serde_json::from_str(text)?;
    let entries =
        json.get("partitions").and_then(Value::as_array).context("there is no list 'partitions'")?;
    let mut wanted = Vec::new();
    for entry in entries {
        let topic = entry.get("topic").and_then(Value::as_str);
        let index = entry.get("partition").and_then(Value::as_i64);
        let ids = entry.get("replicas").and_then(Value::as_array);
        let (Some(topic), Some(index), Some(ids)) = (topic, index, ids) else {
            anyhow::bail!("{entry} lacks 'topic', 'partition' or 'replicas'");
        };
        let ids: Vec<String> = ids.iter().map(Value::to_string).collect();
        let mut read =
            assignment(&format!("{topic}:{index}={}", ids.join(","))).map_err(anyhow::Error::msg)?;
        if let Some(dirs) = entry.get("log_dirs") {
            let dirs = dirs.as_array().filter(|dirs| dirs.len() == ids.len());
            let dirs =
                dirs.with_context(|| format!("{entry} has another number of 'log_dirs' than 'replicas'"))?;
            let dir = |dir: &Value| match dir.as_str() {
                Some(ANY_DIR) => Ok(None),
                Some(dir) => Ok(Some(dir.to_owned())),
                None => anyhow::bail!("{entry}: a log directory is a string"),
            };
            read.log_dirs = dirs.iter().map(dir).collect::<anyhow::Result<_>>()?;
        }
        wanted.push(read);
    }
    Ok(wanted)
}

impl ListArgs {
    async fn run(self) -> anyhow::Result<()> {
        let found = self.cluster.connect().await?.list_reassignments().await?;
        let ids = |ids: &[NodeId]| ids.iter().map(|id| id.value()).collect::<Vec<_>>();
        let json = || {
            let found = found.iter().map(|it| {
                json!({
                    "topic": it.partition.topic.as_str(),
                    "partition": it.partition.partition,
                    "replicas": ids(&it.replicas),
                    "adding": ids(&it.adding),
                    "removing": ids(&it.removing),
                })
            });
            found.collect::<Vec<Value>>().into()
        };
        let shown = |ids: &[NodeId]| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            or_dash(Some(ids.join(",")).filter(|text| !text.is_empty()))
        };
        let rows = found.iter().map(|it| {
            let index = it.partition.partition.to_string();
            vec![
                it.partition.topic.to_string(),
                index,
                shown(&it.replicas),
                shown(&it.adding),
                shown(&it.removing),
            ]
        });
        Ok(self.output.print(json, &["TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING"], rows)?)
    }
}

fn done<'a>(
    output: &OutputArgs,
    verb: &str,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> anyhow::Result<()> {
    let names: Vec<String> = partitions.map(TopicPartition::to_string).collect();
    Ok(output.say(|| json!({ "partitions": names }), &format!("{verb} {}", names.join(", ")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_files_say_the_same() {
        let mut expected = Assignment {
            partition: TopicPartition::new("a", 0),
            replicas: vec![NodeId(1), NodeId(2)],
            log_dirs: vec![None, None],
        };
        assert_eq!(assignment("a:0=1,2"), Ok(expected.clone()));
        let file = r#"{"version": 1, "partitions": [{"topic": "a", "partition": 0, "replicas": [1, 2]}]}"#;
        assert_eq!(from_json(file).unwrap(), [expected.clone()]);
        expected.log_dirs = vec![Some("/disk".to_owned()), None];
        let with_dirs = file.replace("]}]}", r#"], "log_dirs": ["/disk", "any"]}]}"#);
        assert_eq!(from_json(&with_dirs).unwrap(), [expected]);
        assert!(from_json(&with_dirs.replace(r#", "any""#, "")).is_err());
        for bad in ["", "a:0", "a:0=", "a:0=x", "a=1", "a:0=-1"] {
            assert!(assignment(bad).is_err(), "{bad}");
        }
        assert!(from_json(r#"{"partitions": [{"topic": "a"}]}"#).is_err());
    }
}
