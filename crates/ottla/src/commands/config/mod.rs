//! `ottla config`: reads and changes what is configured while the cluster runs.

mod alter;
mod describe;
mod list;
mod target;

use clap::Subcommand;

/// What to do with configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List what has a configuration of its own
    #[command(after_help = "Examples:\n  ottla config list\n  ottla config list --type topic --json")]
    List(list::ListArgs),
    /// Show a configuration: what is set, or with --all every key with its source
    #[command(after_help = "\
Examples:
  ottla config describe --topic orders
  ottla config describe --broker 1 --all
  ottla config describe --broker-defaults
  ottla config describe --topic orders --all --verbose
  ottla config describe --group billing --json")]
    Describe(describe::DescribeArgs),
    /// Set keys, or take them back
    #[command(after_help = "\
Examples:
  ottla config alter --topic orders --add-config retention.ms=3600000,cleanup.policy=[compact,delete]
  ottla config alter --topic orders --delete-config retention.ms
  ottla config alter --broker 1 --add-config log.cleaner.threads=2
  ottla config alter --broker-defaults --add-config message.max.bytes=2000000
  ottla config alter --group billing --add-config consumer.session.timeout.ms=50000
  ottla config alter --client-metrics basic --add-config metrics=[org.apache.kafka.producer.],interval.ms=30000")]
    Alter(alter::AlterArgs),
    /// Take keys back to what they inherit, or all that are set with --all
    #[command(after_help = "\
Examples:
  ottla config delete --topic orders retention.ms
  ottla config delete --group billing --all")]
    Delete(alter::DeleteArgs),
}

impl ConfigCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(args) => args.run().await,
            Self::Describe(args) => args.run().await,
            Self::Alter(args) => args.run().await,
            Self::Delete(args) => args.run().await,
        }
    }
}
