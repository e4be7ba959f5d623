//! `ottla transaction abort` and `ottla transaction force-terminate`.

use clap::{ArgGroup, Args};
use ottla_types::TopicPartition;
use serde_json::json;

use crate::commands::ClusterArgs;
use crate::commands::values::topic_name;
use crate::output::OutputArgs;

/// Arguments of `transaction abort`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["start_offset", "producer_id"]).required(true))]
pub(crate) struct AbortArgs {
    /// Name of the topic
    #[arg(long, value_parser = topic_name)]
    topic: String,
    /// The partition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// Where the transaction begins
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    start_offset: Option<i64>,
    /// Id of its producer, for brokers that cannot describe producers
    #[arg(long, value_name = "ID", requires_all = ["producer_epoch", "coordinator_epoch"])]
    producer_id: Option<i64>,
    /// Epoch of its producer
    #[arg(long, value_name = "EPOCH", requires = "producer_id")]
    producer_epoch: Option<i16>,
    /// Epoch of its coordinator
    #[arg(long, value_name = "EPOCH", requires = "producer_id")]
    coordinator_epoch: Option<i32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Arguments of `transaction force-terminate`.
#[derive(Debug, Args)]
pub(crate) struct ForceTerminateArgs {
    /// The transactional id
    transactional_id: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl AbortArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let partition = TopicPartition::new(&self.topic, self.partition);
        let (id, epoch, coordinator_epoch) = match (
            self.producer_id,
            self.producer_epoch,
            self.coordinator_epoch,
        ) {
            (Some(id), Some(epoch), Some(coordinator_epoch)) => (id, epoch, coordinator_epoch),
            _ => {
                let producers = client.describe_producers(&partition, None).await?;
                let found = producers.iter().find(|producer| producer.transaction_start == self.start_offset);
                let Some(found) = found else {
                    anyhow::bail!(
                        "{partition} has no open transaction that begins at offset {}; 'ottla transaction \
                         describe-producers' shows which there are",
                        self.start_offset.unwrap_or_default()
                    );
                };
                // As Kafka's tool: no coordinator has written a marker yet.
                let coordinator_epoch = found.coordinator_epoch.unwrap_or(0);
                (found.producer_id, i16::try_from(found.producer_epoch).unwrap_or(-1), coordinator_epoch)
            }
        };
        client.abort_in_partition(&partition, id, epoch, coordinator_epoch).await?;
        let json = || json!({ "partition": partition.to_string(), "producerId": id, "aborted": true });
        Ok(self.output.say(json, &format!("aborted the transaction of producer {id} in {partition}"))?)
    }
}

impl ForceTerminateArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        // Fencing would create an id that nobody has used.
        client.describe_transaction(&self.transactional_id).await?;
        client.fence_producers(&self.transactional_id).await?;
        let id = &self.transactional_id;
        let json = || json!({ "transactionalId": id, "terminated": true });
        Ok(self.output.say(json, &format!("fenced the producers of {id}"))?)
    }
}
