//! `ottla transaction describe`.

use clap::Args;
use ottla_types::TopicPartition;
use serde_json::json;

use crate::commands::ClusterArgs;
use crate::commands::values::{now_ms, shown_time};
use crate::output::{OutputArgs, or_dash};

/// Arguments of `transaction describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The transactional id
    transactional_id: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl DescribeArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.cluster.connect().await?;
        let found = client.describe_transaction(&self.transactional_id).await?;
        let partitions: Vec<String> = found.partitions.iter().map(TopicPartition::to_string).collect();
        let duration_ms = found.started_at.map(|started| (now_ms() - started).max(0));
        let json = || {
            json!({
                "transactionalId": found.transactional_id,
                "coordinator": found.coordinator,
                "producerId": found.producer_id,
                "producerEpoch": found.producer_epoch,
                "state": found.state,
                "timeoutMs": found.timeout_ms,
                "startTimeMs": found.started_at,
                "durationMs": duration_ms,
                "partitions": partitions,
            })
        };
        let row = vec![
            found.coordinator.clone(),
            found.transactional_id.clone(),
            found.producer_id.to_string(),
            found.producer_epoch.to_string(),
            found.state.clone(),
            found.timeout_ms.to_string(),
            or_dash(found.started_at.map(shown_time)),
            or_dash(duration_ms),
            or_dash(Some(partitions.join(",")).filter(|text| !text.is_empty())),
        ];
        let headings = [
            "COORDINATOR",
            "TRANSACTIONAL-ID",
            "PRODUCER-ID",
            "EPOCH",
            "STATE",
            "TIMEOUT-MS",
            "STARTED",
            "DURATION-MS",
            "PARTITIONS",
        ];
        Ok(self.output.print(json, &headings, [row])?)
    }
}
