//! The command line: one file per subcommand, arguments and work together.

mod consume;
mod consume_format;
mod group;
mod produce;
mod signals;
mod topic;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ottla_client::{Client, ClientConfig};

const EXAMPLES: &str = "\
Examples:
  ottla                                          a node on localhost:9092, data in ./ottla-data
  ottla server --config server.properties
  ottla topic create orders --partitions 3
  echo hello | ottla produce orders
  ottla consume orders --from-beginning

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
    #[command(flatten)]
    Tool(Tool),
}

/// What works on a running cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// List, create, describe, change and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Send records, one per line
    Produce(produce::ProduceArgs),
    /// Receive records
    Consume(consume::ConsumeArgs),
    /// List, describe and delete consumer groups
    #[command(subcommand)]
    Group(group::GroupCommand),
}

impl Tool {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Topic(command) => command.run().await,
            Self::Produce(args) => args.run().await,
            Self::Consume(args) => args.run().await,
            Self::Group(command) => command.run().await,
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
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
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

/// How to reach the cluster.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Brokers to find the cluster by, separated by commas; the port may be left out (9092)
    #[arg(
        long,
        short,
        env = "OTTLA_BOOTSTRAP_SERVER",
        default_value = "localhost:9092",
        value_name = "HOST:PORT,…",
        hide_env_values = true
    )]
    bootstrap_server: String,
}

impl ClusterArgs {
    async fn connect(&self) -> anyhow::Result<Client> {
        self.connect_with(|_| ()).await
    }

    async fn connect_with(&self, change: impl FnOnce(&mut ClientConfig)) -> anyhow::Result<Client> {
        let mut config = ClientConfig::new(&self.bootstrap_server);
        config.connection.client_id = format!("ottla-cli-{}", std::process::id());
        change(&mut config);
        Client::connect(config).await.map_err(|error| {
            if error.is_connection() {
                anyhow::anyhow!(
                    "{error} Start one with 'ottla', or name another one with --bootstrap-server."
                )
            } else {
                error.into()
            }
        })
    }
}

/// A `key=value` argument.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A topic name that the broker would not refuse.
fn topic_name(text: &str) -> Result<String, String> {
    ottla_types::TopicName::check(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}
