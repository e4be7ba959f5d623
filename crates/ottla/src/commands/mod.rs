//! The command line: one file per subcommand, arguments and work together.

mod broker;
mod check_dir;
mod cluster_args;
mod config;
mod consume;
mod consume_format;
mod delete_records;
#[cfg(test)]
mod docs;
mod dump_log;
mod feature;
mod group;
mod log_dirs;
mod partition;
mod perf;
mod produce;
mod producer;
mod quorum;
mod quota;
mod shell;
mod signals;
mod topic;
mod transaction;
mod values;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::cluster_args::ClusterArgs;

const EXAMPLES: &str = "\
Examples:
  ottla                                          a node on localhost:9092, data in ./ottla-data
  ottla server --config server.properties
  ottla topic create orders --partitions 3
  echo hello | ottla produce orders
  ottla consume orders --from-beginning
  ottla group describe billing --watch

Commands that work on a cluster take --bootstrap-server (localhost:9092 without it, or what OTTLA_BOOTSTRAP_SERVER says) and
print tables, or JSON with --json. The flags of Kafka's own tools are understood where they say the same.

Every subcommand has its own --help with examples. Exit codes: 0 done, 1 failed, 2 bad usage or configuration.";

/// An event streaming platform that speaks Apache Kafka's protocols. Without a subcommand it runs a node.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node: a broker, a controller or both (the default)
    Server(ServerArgs),
    /// Prepare the data directories of a node for a cluster
    Format(FormatArgs),
    /// Say whether and how a data directory would open, without changing it
    CheckDir(check_dir::CheckDirArgs),
    /// Print what is in the files of a data directory
    DumpLog(dump_log::DumpLogArgs),
    #[command(flatten)]
    Tool(Box<Tool>),
    /// Print a script that completes commands in a shell
    Completions(shell::CompletionsArgs),
    /// Write manual pages
    Man(shell::ManArgs),
    /// Print the version
    Version(shell::VersionArgs),
}

/// What works on a running cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// List, create, describe, alter and delete topics
    #[command(subcommand, alias = "topics")]
    Topic(topic::TopicCommand),
    /// Send records, one per line
    Produce(Box<produce::ProduceArgs>),
    /// Receive records
    Consume(Box<consume::ConsumeArgs>),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand, alias = "groups")]
    Group(group::GroupCommand),
    /// Read and change configurations of topics, brokers, groups and client metrics
    #[command(subcommand, alias = "configs")]
    Config(config::ConfigCommand),
    /// Read and change limits of users, clients and addresses
    #[command(subcommand, alias = "quotas")]
    Quota(quota::QuotaCommand),
    /// Look at transactions and end those that hang
    #[command(subcommand, alias = "transactions")]
    Transaction(transaction::TransactionCommand),
    /// Look at the producers that write to partitions
    #[command(subcommand, alias = "producers")]
    Producer(producer::ProducerCommand),
    /// Delete the first records of partitions
    DeleteRecords(delete_records::DeleteRecordsArgs),
    /// Look into the directories of brokers, and move partitions between them
    #[command(subcommand, alias = "log-dir")]
    LogDirs(log_dirs::LogDirsCommand),
    /// List brokers, and the requests that they serve
    #[command(subcommand, alias = "brokers")]
    Broker(broker::BrokerCommand),
    /// Read and change feature levels
    #[command(subcommand, alias = "features")]
    Feature(feature::FeatureCommand),
    /// Look at the quorum of the controllers
    #[command(subcommand)]
    Quorum(quorum::QuorumCommand),
    /// Elect leaders of partitions, and give them other replicas
    #[command(subcommand, alias = "partitions")]
    Partition(partition::PartitionCommand),
    /// Measure how fast a cluster takes and gives records
    #[command(subcommand)]
    Perf(Box<perf::PerfCommand>),
}

impl Tool {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Topic(command) => command.run().await,
            Self::Produce(args) => args.run().await,
            Self::Consume(args) => args.run().await,
            Self::Group(command) => command.run().await,
            Self::Config(command) => command.run().await,
            Self::Quota(command) => command.run().await,
            Self::Transaction(command) => command.run().await,
            Self::Producer(command) => command.run().await,
            Self::DeleteRecords(args) => args.run().await,
            Self::LogDirs(command) => command.run().await,
            Self::Broker(command) => command.run().await,
            Self::Feature(command) => command.run().await,
            Self::Quorum(command) => command.run().await,
            Self::Partition(command) => command.run().await,
            Self::Perf(command) => command.run().await,
        }
    }
}

/// Where a node's configuration comes from.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// File in the format of Kafka's server.properties; without it the defaults hold
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set a configuration key, over what the file says; can be repeated
    #[arg(long = "override", short, value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

/// Arguments of `server`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ottla server
  ottla server -o listeners=PLAINTEXT://:9092 -o log.dirs=/var/lib/ottla
  ottla server --config server.properties --log info,ottla_broker=debug")]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// What goes into the log on standard error: a level, or levels by module
    #[arg(long, env = "RUST_LOG", hide_env_values = true, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// How the log is written: lines for people, or a JSON object per line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// Arguments of `format`.
#[derive(Debug, Args)]
#[command(after_help = "\
A node that finds its directories empty formats them itself, for a cluster of its own. Format them before the first start
to choose the cluster id.

Examples:
  ottla format --config server.properties
  ottla format -o log.dirs=/var/lib/ottla --cluster-id 4L6g3nShT-eMCtK--X86sw")]
pub(crate) struct FormatArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Id of the cluster, 22 characters of URL-safe base64; without it a new one is drawn
    #[arg(long, short = 't', value_name = "ID", allow_hyphen_values = true)]
    pub(crate) cluster_id: Option<String>,
    /// Leave directories alone that are formatted already, instead of failing
    #[arg(long, short = 'g')]
    pub(crate) ignore_formatted: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
