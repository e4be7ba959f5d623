//! `ottla transaction find-hanging`.

use std::collections::BTreeMap;

use clap::Args;
use ottla_client::{Client, ProducerState, TransactionDescription, TransactionFilter};
use ottla_types::{NodeId, TopicPartition};
use serde_json::{Value, json};

use crate::commands::ClusterArgs;
use crate::commands::values::{TopicPartitions, expand, now_ms, shown_time, topic_name};
use crate::output::{OutputArgs, or_dash};

const MS_PER_MINUTE: i64 = 60_000;

/// Arguments of `transaction find-hanging`.
#[derive(Debug, Args)]
pub(crate) struct HangingArgs {
    /// Only in partitions with a replica on this broker, as it has them
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker_id: Option<i32>,
    /// Only transactions that have been open for longer than any may last: transaction.max.timeout.ms of the brokers, in
    /// minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(i64).range(0..))]
    max_transaction_timeout: i64,
    /// Only in this topic
    #[arg(long, value_parser = topic_name)]
    topic: Option<String>,
    /// Only in this partition of the topic
    #[arg(long, value_name = "N", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl HangingArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let broker = self.broker_id.map(NodeId);
        let mut open = Vec::new();
        for partition in self.partitions(&client, broker).await? {
            let producers = client.describe_producers(&partition, broker).await?;
            let old = now_ms() - self.max_transaction_timeout * MS_PER_MINUTE;
            let producers =
                producers.into_iter().filter(|it| it.transaction_start.is_some() && it.last_timestamp < old);
            open.extend(producers.map(|producer| (partition.clone(), producer)));
        }
        let coordinated = coordinated(&client, &open).await?;
        open.retain(|(partition, producer)| is_hanging(partition, producer, &coordinated));
        self.show(&open)
    }

    async fn partitions(
        &self,
        client: &Client,
        broker: Option<NodeId>,
    ) -> anyhow::Result<Vec<TopicPartition>> {
        if let Some(topic) = &self.topic {
            let partitions = self.partition.into_iter().collect();
            return expand(client, &[TopicPartitions { topic: topic.clone(), partitions }]).await;
        }
        let mut found = Vec::new();
        for topic in client.fetch_metadata(None).await?.topics.values() {
            let partitions = topic.partitions.iter().filter(|partition| match broker {
                Some(broker) => partition.replicas.contains(&broker),
                None => partition.leader != NodeId::NONE,
            });
            found.extend(partitions.map(|partition| TopicPartition::new(&topic.name, partition.index)));
        }
        Ok(found)
    }

    fn show(&self, hanging: &[(TopicPartition, ProducerState)]) -> anyhow::Result<()> {
        let now = now_ms();
        let json = || {
            let hanging = hanging.iter().map(|(partition, producer)| {
                json!({
                    "topic": partition.topic.as_str(),
                    "partition": partition.partition,
                    "producerId": producer.producer_id,
                    "producerEpoch": producer.producer_epoch,
                    "coordinatorEpoch": producer.coordinator_epoch,
                    "startOffset": producer.transaction_start,
                    "lastTimestamp": producer.last_timestamp,
                })
            });
            hanging.collect::<Vec<Value>>().into()
        };
        let rows = hanging.iter().map(|(partition, producer)| {
            vec![
                partition.topic.to_string(),
                partition.partition.to_string(),
                producer.producer_id.to_string(),
                producer.producer_epoch.to_string(),
                or_dash(producer.coordinator_epoch),
                or_dash(producer.transaction_start),
                shown_time(producer.last_timestamp),
                ((now - producer.last_timestamp) / MS_PER_MINUTE).to_string(),
            ]
        });
        let headings = [
            "TOPIC",
            "PARTITION",
            "PRODUCER-ID",
            "EPOCH",
            "COORDINATOR-EPOCH",
            "START-OFFSET",
            "LAST-WRITE",
            "MINUTES",
        ];
        Ok(self.output.print(json, &headings, rows)?)
    }
}

/// What the coordinators know of the producers with open transactions.
async fn coordinated(
    client: &Client,
    open: &[(TopicPartition, ProducerState)],
) -> anyhow::Result<BTreeMap<i64, TransactionDescription>> {
    let mut known = BTreeMap::new();
    if open.is_empty() {
        return Ok(known);
    }
    let producer_ids = open.iter().map(|(_, producer)| producer.producer_id).collect();
    let filter = TransactionFilter { producer_ids, ..TransactionFilter::default() };
    for listed in client.list_transactions(&filter).await? {
        // One that is gone by now is not known.
        if let Ok(described) = client.describe_transaction(&listed.transactional_id).await {
            known.insert(described.producer_id, described);
        }
    }
    Ok(known)
}

/// Whether no coordinator is going to end the transaction that a partition has open.
fn is_hanging(
    partition: &TopicPartition,
    producer: &ProducerState,
    coordinated: &BTreeMap<i64, TransactionDescription>,
) -> bool {
    coordinated.get(&producer.producer_id).is_none_or(|described| !described.partitions.contains(partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_coordinator_knows_does_not_hang() {
        let producer = ProducerState {
            producer_id: 7,
            producer_epoch: 0,
            last_sequence: 0,
            last_timestamp: 0,
            coordinator_epoch: Some(0),
            transaction_start: Some(5),
        };
        let described = |partitions: Vec<TopicPartition>| TransactionDescription {
            transactional_id: "x".to_owned(),
            coordinator: String::new(),
            state: "Ongoing".to_owned(),
            timeout_ms: 0,
            started_at: None,
            producer_id: 7,
            producer_epoch: 0,
            partitions,
        };
        let partition = TopicPartition::new("t", 0);
        let known = |partitions| BTreeMap::from([(7, described(partitions))]);
        assert!(is_hanging(&partition, &producer, &BTreeMap::new()));
        assert!(is_hanging(&partition, &producer, &known(vec![TopicPartition::new("t", 1)])));
        assert!(!is_hanging(&partition, &producer, &known(vec![partition.clone()])));
    }
}
