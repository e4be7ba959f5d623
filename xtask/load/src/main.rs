//! Load for the benchmark, from librdkafka: each command does one thing and prints its result as one line of JSON.

mod acks;
mod client;
mod echo;
mod flood;
mod groups;
mod limits;
mod rate;
mod read;
mod topics;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "ottla-load", about = "Load for the benchmark, from librdkafka")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print librdkafka's version
    Version,
    /// Create topics and wait until all their partitions have a leader
    Topics(topics::Args),
    /// Produce as fast as the server takes it
    Flood(flood::Args),
    /// Produce at a fixed rate and measure from the intended time of each record to its acknowledgement
    Rate(rate::Args),
    /// Read topics from the beginning, each consumer all of them
    Read(read::Args),
    /// Time how long a group takes to settle
    Rebalance(groups::RebalanceArgs),
    /// Commit offsets, each client again and again
    Commits(groups::CommitArgs),
    /// Do what any broker has to, without one
    Limits(limits::Args),
}

fn main() -> Result<()> {
    let line = match Cli::parse().command {
        Command::Version => serde_json::to_string(&rdkafka::util::get_rdkafka_version().1)?,
        Command::Topics(args) => serde_json::to_string(&topics::run(&args)?)?,
        Command::Flood(args) => serde_json::to_string(&flood::run(&args)?)?,
        Command::Rate(args) => serde_json::to_string(&rate::run(&args)?)?,
        Command::Read(args) => serde_json::to_string(&read::run(&args)?)?,
        Command::Rebalance(args) => serde_json::to_string(&groups::rebalance(&args)?)?,
        Command::Commits(args) => serde_json::to_string(&groups::commits(&args)?)?,
        Command::Limits(args) => serde_json::to_string(&limits::run(&args)?)?,
    };
    println!("{line}");
    Ok(())
}
