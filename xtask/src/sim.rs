//! `cargo xtask sim`: many seeds of the simulation of a node's storage (`crates/ottla-replica/tests/sim`). The tests of the
//! crate play a few hundred of them.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::test::{Context, run_command};

/// Options of `cargo xtask sim`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How many seeds are played
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play this one alone, and tell what happens in it
    #[arg(long, conflicts_with_all = ["seeds", "from", "jobs"])]
    seed: Option<u64>,
    /// How many are played at the same time [default: one per processor]
    #[arg(long)]
    jobs: Option<u64>,
    /// Play on after a seed has failed, and name all that did at the end
    #[arg(long, conflicts_with = "seed")]
    keep_going: bool,
}

/// Plays seeds until one fails, or all of them, with a line now and then that says how far it is.
///
/// # Errors
/// When a seed fails; what is printed before tells how to play it again.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut command = Context::of(root).cargo();
    command.args(["test", "--quiet", "--profile", "sim", "--package", "ottla-replica", "--test", "sim"]);
    command.args(["what_was_promised_is_kept", "--", "--exact", "--nocapture"]);
    if let Some(seed) = options.seed {
        command.env("OTTLA_SIM_SEED", seed.to_string());
    } else {
        command.env("OTTLA_SIM_SEEDS", options.seeds.to_string());
        command.env("OTTLA_SIM_FIRST", options.from.to_string());
    }
    if options.keep_going {
        command.env("OTTLA_SIM_KEEP_GOING", "1");
    }
    if let Some(jobs) = options.jobs {
        command.env("OTTLA_SIM_JOBS", jobs.to_string());
    }
    run_command(&mut command)
}
