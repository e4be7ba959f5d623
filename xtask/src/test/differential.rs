//! `cargo xtask differential`: sequences of requests on a node and on Apache Kafka; also a lane of `cargo xtask test`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::{Context, Outcome, run_command, setup};

/// Options of `cargo xtask differential`.
#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// How many sequences are drawn
    #[arg(long)]
    seeds: Option<u64>,
    /// Seed of the first
    #[arg(long)]
    from: Option<u64>,
    /// Steps of each
    #[arg(long)]
    ops: Option<usize>,
    /// How many are played at the same time
    #[arg(long)]
    workers: Option<usize>,
    /// Play the steps in this file, as a failure prints them, and nothing else
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Of the written sequences those with this in their names
    #[arg(long, value_name = "PART")]
    only: Option<String>,
}

/// Runs the sequences.
///
/// # Errors
/// When an answer differs, or there is no Java.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    match play(&Context::of(root), options)? {
        Outcome::Passed => Ok(()),
        Outcome::Skipped(why) => bail!("{why}"),
    }
}

/// The lane: the written sequences, the recorded ones and a bounded number of drawn ones.
pub(super) fn lane(context: &Context) -> Result<Outcome> {
    play(context, &Options::default())
}

fn play(context: &Context, options: &Options) -> Result<Outcome> {
    let Some(jars) = setup::kafka_jars(context)? else {
        return Ok(Outcome::Skipped("java or mvn is missing".into()));
    };
    let mut command = context.cargo();
    command.args(["test", "--workspace", "--quiet", "--test", "differential", "--"]);
    command.args(["--include-ignored", "--nocapture"]).env("OTTLA_KAFKA_CLASSPATH", jars);
    let numbers = [
        ("DIFFERENTIAL_SEEDS", options.seeds.map(|seeds| seeds.to_string())),
        ("DIFFERENTIAL_FROM", options.from.map(|from| from.to_string())),
        ("DIFFERENTIAL_OPS", options.ops.map(|ops| ops.to_string())),
        ("DIFFERENTIAL_WORKERS", options.workers.map(|workers| workers.to_string())),
        ("DIFFERENTIAL_ONLY", options.only.clone()),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            command.env(key, value);
        }
    }
    if let Some(script) = &options.script {
        command.env("DIFFERENTIAL_SCRIPT", script.canonicalize()?);
    }
    run_command(&mut command)?;
    Ok(Outcome::Passed)
}
