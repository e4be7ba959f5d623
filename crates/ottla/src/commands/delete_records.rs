//! `ottla delete-records`: deletes the first records of partitions.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ottla_types::{Offset, TopicPartition};
use serde_json::{Value, json};

use super::ClusterArgs;
use super::values::topic_name;
use crate::output::{BadUsage, OutputArgs};

/// Arguments of `delete-records`.
#[derive(Debug, Args)]
#[command(after_help = "\
The records before the offset are gone for all readers at once; their space is freed segment by segment. Offset -1 means the
end: all records.

The file is that of kafka-delete-records.sh: {\"partitions\": [{\"topic\": \"orders\", \"partition\": 0, \"offset\": 1000}], \"version\": 1}

Examples:
  ottla delete-records orders:0:1000 orders:1:-1
  ottla delete-records --offset-json-file offsets.json")]
pub(crate) struct DeleteRecordsArgs {
    /// Partition and first offset to keep
    #[arg(value_name = "TOPIC:PARTITION:OFFSET", value_parser = before, required_unless_present = "offset_json_file")]
    partitions: Vec<(TopicPartition, Offset)>,
    /// Take partitions and offsets from this file
    #[arg(long, value_name = "FILE", conflicts_with = "partitions")]
    offset_json_file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn before(text: &str) -> Result<(TopicPartition, Offset), String> {
    let expected = || "expected TOPIC:PARTITION:OFFSET, where offset -1 means the end".to_owned();
    let mut parts = text.splitn(3, ':');
    let (Some(topic), Some(partition), Some(offset)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(expected());
    };
    let partition = partition.parse().ok().filter(|index: &i32| *index >= 0).ok_or_else(expected)?;
    let offset = offset.parse().ok().filter(|offset: &i64| *offset >= -1).ok_or_else(expected)?;
    Ok((TopicPartition::new(&topic_name(topic)?, partition), Offset(offset)))
}

impl DeleteRecordsArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let wanted = match &self.offset_json_file {
            None => self.partitions,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| BadUsage(format!("cannot read {}: {error}", path.display())))?;
                from_json(&text).map_err(|error| BadUsage(format!("{}: {error:#}", path.display())))?
            }
        };
        let client = self.cluster.connect().await?;
        let mut done = Vec::new();
        for (partition, offset) in wanted {
            let start = client.delete_records(&partition, offset).await?;
            done.push((partition, start));
        }
        let json = || {
            let done = done.iter().map(|(partition, start)| {
                json!({
                    "topic": partition.topic.as_str(),
                    "partition": partition.partition,
                    "lowWatermark": start.value(),
                })
            });
            done.collect::<Vec<Value>>().into()
        };
        let rows = done.iter().map(|(partition, start)| {
            vec![partition.topic.to_string(), partition.partition.to_string(), start.to_string()]
        });
        Ok(self.output.print(json, &["TOPIC", "PARTITION", "FIRST-OFFSET"], rows)?)
    }
}

/// What `kafka-delete-records.sh` takes.
fn from_json(text: &str) -> anyhow::Result<Vec<(TopicPartition, Offset)>> {
    let json: Value = serde_json::from_str(text)?;
    match json.get("version") {
        None => {}
        Some(version) if version == 1 => {}
        Some(version) => anyhow::bail!("version {version} is not supported, expected 1"),
    }
    let partitions = json.get("partitions").and_then(Value::as_array);
    let partitions = partitions.context("there is no list 'partitions'")?;
    let mut wanted: Vec<(TopicPartition, Offset)> = Vec::new();
    for entry in partitions {
        let topic = entry.get("topic").and_then(Value::as_str);
        let partition = entry.get("partition").and_then(Value::as_i64);
        let offset = entry.get("offset").and_then(Value::as_i64);
        let (Some(topic), Some(partition), Some(offset)) = (topic, partition, offset) else {
            anyhow::bail!("{entry} lacks 'topic', 'partition' or 'offset'");
        };
        let parsed = before(&format!("{topic}:{partition}:{offset}")).map_err(anyhow::Error::msg)?;
        if wanted.iter().any(|(other, _)| *other == parsed.0) {
            anyhow::bail!("{} is there twice", parsed.0);
        }
        wanted.push(parsed);
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_files_say_the_same() {
        let expected = (TopicPartition::new("a", 2), Offset(7));
        assert_eq!(before("a:2:7"), Ok(expected.clone()));
        let file = r#"{"partitions": [{"topic": "a", "partition": 2, "offset": 7}], "version": 1}"#;
        assert_eq!(from_json(file).unwrap(), [expected]);
        for bad in ["", "a", "a:0", "a:x:1", "a:0:-2", "a b:0:1"] {
            assert!(before(bad).is_err(), "{bad}");
        }
        for bad in ["", "{}", r#"{"partitions": [{}]}"#, r#"{"partitions": [], "version": 2}"#] {
            assert!(from_json(bad).is_err(), "{bad}");
        }
    }
}
