//! `ottla producer`: who writes to partitions.

use clap::{Args, Subcommand};
use ottla_client::{Client, ProducerState};
use ottla_types::{NodeId, TopicPartition};
use serde_json::{Value, json};

use super::ClusterArgs;
use super::values::{TopicPartitions, expand, shown_time, topic_name, topic_partitions};
use crate::output::{OutputArgs, or_dash};

/// What to do with producers.
#[derive(Debug, Subcommand)]
pub(crate) enum ProducerCommand {
    /// Show the idempotent and transactional producers that partitions remember
    #[command(
        visible_alias = "list",
        after_help = "\
Producers are forgotten some time after their last record (producer.id.expiration.ms).

Examples:
  ottla producer describe orders
  ottla producer describe orders:0,1 --json"
    )]
    Describe(DescribeArgs),
}

/// Arguments of `producer describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Topics, or some of their partitions
    #[arg(required = true, value_name = "TOPIC[:PARTITION,…]", value_parser = topic_partitions)]
    topics: Vec<TopicPartitions>,
    /// As this broker has them, instead of the leaders
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker_id: Option<i32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `transaction describe-producers`.
#[derive(Debug, Args)]
pub(crate) struct OfPartitionArgs {
    /// Name of the topic
    #[arg(long, value_parser = topic_name)]
    topic: String,
    /// The partition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// As this broker has them, instead of the leader
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker_id: Option<i32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ProducerCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Describe(args) = self;
        let client = args.cluster.connect().await?;
        let partitions = expand(&client, &args.topics).await?;
        show(&client, partitions, args.broker_id, &args.output).await
    }
}

impl OfPartitionArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let wanted = TopicPartitions { topic: self.topic, partitions: vec![self.partition] };
        let partitions = expand(&client, &[wanted]).await?;
        show(&client, partitions, self.broker_id, &self.output).await
    }
}

async fn show(
    client: &Client,
    partitions: Vec<TopicPartition>,
    broker: Option<i32>,
    output: &OutputArgs,
) -> anyhow::Result<()> {
    let mut found: Vec<(TopicPartition, ProducerState)> = Vec::new();
    for partition in partitions {
        let producers = client.describe_producers(&partition, broker.map(NodeId)).await?;
        found.extend(producers.into_iter().map(|producer| (partition.clone(), producer)));
    }
    let json = || {
        let found = found.iter().map(|(partition, producer)| {
            json!({
                "topic": partition.topic.as_str(),
                "partition": partition.partition,
                "producerId": producer.producer_id,
                "producerEpoch": producer.producer_epoch,
                "coordinatorEpoch": producer.coordinator_epoch,
                "lastSequence": producer.last_sequence,
                "lastTimestamp": producer.last_timestamp,
                "transactionStartOffset": producer.transaction_start,
            })
        });
        found.collect::<Vec<Value>>().into()
    };
    let rows = found.iter().map(|(partition, producer)| {
        vec![
            partition.topic.to_string(),
            partition.partition.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            or_dash(producer.coordinator_epoch),
            producer.last_sequence.to_string(),
            shown_time(producer.last_timestamp),
            or_dash(producer.transaction_start),
        ]
    });
    let headings = [
        "TOPIC",
        "PARTITION",
        "PRODUCER-ID",
        "EPOCH",
        "COORDINATOR-EPOCH",
        "LAST-SEQUENCE",
        "LAST-WRITE",
        "TRANSACTION-START",
    ];
    Ok(output.print(json, &headings, rows)?)
}
