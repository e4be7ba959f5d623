//! `ottla perf`: how fast a cluster takes and gives records.

mod consume;
mod latency;
mod payload;
mod produce;

use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum PerfCommand {
    /// Send records as fast as wanted, and measure throughput and latency
    #[command(after_help = "\
Latency is from handing a record to the producer to its acknowledgement.

Examples:
  ottla perf produce test --num-records 1000000 --record-size 100
  ottla perf produce test --num-records 100000 --record-size 1000 --throughput 5000 --acks all
  ottla perf produce test --num-records 100000 --payload-file lines.txt --compression zstd --json")]
    Produce(produce::ProduceArgs),
    /// Receive records as fast as possible, and measure throughput
    #[command(after_help = "\
Examples:
  ottla perf consume test --num-records 1000000
  ottla perf consume test --num-records 1000000 --group perf --json")]
    Consume(consume::ConsumeArgs),
}

impl PerfCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Produce(args) => args.run().await,
            Self::Consume(args) => args.run().await,
        }
    }
}

/// Bytes as the MB of Kafka's tools, which are 2^20.
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
