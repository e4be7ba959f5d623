//! `ottla transaction`: what transactions do, and ending those that hang.

mod abort;
mod describe;
mod hanging;
mod list;

use clap::Subcommand;

use super::producer;

/// What to do with transactions.
#[derive(Debug, Subcommand)]
pub(crate) enum TransactionCommand {
    /// List transactional ids with their state
    #[command(after_help = "\
Examples:
  ottla transaction list
  ottla transaction list --state Ongoing --duration-filter 60000
  ottla transaction list --transactional-id-pattern 'billing-.*' --json")]
    List(list::ListArgs),
    /// Show the transaction of a transactional id
    #[command(after_help = "Example:\n  ottla transaction describe billing-1")]
    Describe(describe::DescribeArgs),
    /// Show the producers that write to a partition, with their open transactions
    #[command(after_help = "Example:\n  ottla transaction describe-producers --topic orders --partition 0")]
    DescribeProducers(producer::OfPartitionArgs),
    /// Find transactions that hold up readers and that no coordinator will end
    #[command(after_help = "\
A transaction hangs when a partition has had it open for longer than any transaction may last, and its coordinator does not
know it. Consumers with isolation level read_committed wait for it for ever. 'ottla transaction abort' ends it.

Examples:
  ottla transaction find-hanging
  ottla transaction find-hanging --topic orders --partition 0
  ottla transaction find-hanging --broker-id 1 --max-transaction-timeout 30")]
    FindHanging(hanging::HangingArgs),
    /// End a hanging transaction in one partition
    #[command(after_help = "\
Take topic, partition and start offset from 'ottla transaction find-hanging'.

Example:
  ottla transaction abort --topic orders --partition 0 --start-offset 4711")]
    Abort(abort::AbortArgs),
    /// Fence the producers of a transactional id, which aborts its open transaction
    #[command(
        alias = "forceTerminateTransaction",
        after_help = "Example:\n  ottla transaction force-terminate billing-1"
    )]
    ForceTerminate(abort::ForceTerminateArgs),
}

impl TransactionCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => args.run().await,
            Self::Describe(args) => args.run().await,
            Self::DescribeProducers(args) => args.run().await,
            Self::FindHanging(args) => args.run().await,
            Self::Abort(args) => args.run().await,
            Self::ForceTerminate(args) => args.run().await,
        }
    }
}
