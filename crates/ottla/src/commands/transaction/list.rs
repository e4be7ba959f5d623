//! `ottla transaction list`.

use clap::Args;
use ottla_client::TransactionFilter;
use serde_json::{Value, json};

use crate::commands::ClusterArgs;
use crate::output::OutputArgs;

/// States of transactions (`TransactionState` of Kafka).
const STATES: [&str; 7] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "PrepareEpochFence",
];

/// Arguments of `transaction list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those in these states
    #[arg(long, value_name = "STATE,…", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(STATES))]
    state: Vec<String>,
    /// Only those of these producers
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    producer_id: Vec<i64>,
    /// Only transactions that have been running for longer than this
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    duration_filter: Option<i64>,
    /// Only transactional ids that match this regular expression
    #[arg(long, value_name = "REGEX")]
    transactional_id_pattern: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ListArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let filter = TransactionFilter {
            states: self.state,
            producer_ids: self.producer_id,
            running_longer_than_ms: self.duration_filter.filter(|ms| *ms >= 0),
            pattern: self.transactional_id_pattern,
        };
        let found = self.cluster.connect().await?.list_transactions(&filter).await?;
        let json = || {
            let found = found.iter().map(|listed| {
                json!({
                    "transactionalId": listed.transactional_id,
                    "coordinator": listed.coordinator.value(),
                    "producerId": listed.producer_id,
                    "state": listed.state,
                })
            });
            found.collect::<Vec<Value>>().into()
        };
        let rows = found.iter().map(|listed| {
            vec![
                listed.transactional_id.clone(),
                listed.coordinator.to_string(),
                listed.producer_id.to_string(),
                listed.state.clone(),
            ]
        });
        Ok(self.output.print(json, &["TRANSACTIONAL-ID", "COORDINATOR", "PRODUCER-ID", "STATE"], rows)?)
    }
}
