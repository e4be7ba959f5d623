//! Development tasks, one module per subcommand: `cargo xtask <task>`.

mod bench;
mod codegen;
mod compat;
mod kafka;
mod sim;
mod test;
mod tidy;

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Development tasks", version = None)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Generate the message code of ottla-protocol from schema/
    Codegen(codegen::Args),
    /// Run everything a pull request needs, in lanes
    Test(test::Options),
    /// Play sequences of requests on ottla and Apache Kafka and compare all answers
    Differential(test::differential::Options),
    /// Play many seeds of the simulation of storage: crashes, power cuts, failing disks
    Sim(sim::Options),
    /// Check crate levels, purity and file sizes
    Tidy,
    /// Run other people's software on top of ottla
    Compat(compat::Options),
    /// Measure ottla beside Apache Kafka and write docs/benchmarks.md
    Bench(bench::Options),
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace root")?;
    match Cli::parse().task {
        Task::Codegen(args) => codegen::run(root, &args),
        Task::Test(options) => test::run(root, &options),
        Task::Differential(options) => test::differential::run(root, &options),
        Task::Sim(options) => sim::run(root, &options),
        Task::Tidy => tidy::run(root),
        Task::Compat(options) => compat::run(root, &options),
        Task::Bench(options) => bench::run(root, &options),
    }
}
