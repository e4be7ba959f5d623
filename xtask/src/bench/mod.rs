//! `cargo xtask bench`: ottla beside Apache Kafka, in the same run, with the same clients.
//!
//! Systems take turns (A B C A B C …), each time on an empty directory; a figure is the median of the repetitions, with its spread. The load
//! comes from Kafka's own tools and from librdkafka; the cost is the broker's CPU time and memory from `/proc`. Results are
//! kept below `target/bench`, so that a run of some scenarios changes their part of the document only.

mod clients;
mod machine;
mod progress;
mod report;
mod results;
mod scenarios;
mod server;
mod system;
mod trial;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::test::{Context, run_command, setup};
use clients::java::Tools;
use clients::librdkafka::Load;
use progress::Progress;
use report::Paths;
use results::Outcome;
use scenarios::Scenario;
use system::System;
use trial::{Kit, Trial};

/// Options of `cargo xtask bench`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Scenarios to run (see --list); without names, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// List the scenarios
    #[arg(long)]
    list: bool,
    /// One repetition with little data; without names, what the targets need. Changes no document
    #[arg(long)]
    quick: bool,
    /// Repetitions of each measurement; 3, or 1 with --quick
    #[arg(long)]
    repetitions: Option<usize>,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Keep the results, but do not write docs/benchmarks.md
    #[arg(long)]
    dry_run: bool,
    /// Measure nothing; write docs/benchmarks.md again from the kept results
    #[arg(long, conflicts_with_all = ["list", "quick", "names", "dry_run"])]
    render: bool,
}

/// What a run is told about in the document.
struct Setting {
    command: String,
    machine: String,
    versions: Vec<String>,
    repetitions: usize,
}

/// Runs scenarios, shows what they found and writes it down.
///
/// # Errors
/// When a name is unknown, a toolchain is missing, or a scenario failed; the others were run nevertheless.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.list {
        print!("{}", list());
        return Ok(());
    }
    let context = Context::of(root);
    let paths = Paths::new(&context, options.quick);
    if options.render {
        return report::write(&paths);
    }
    let chosen = chosen(options)?;
    let (Some(kafka), Some(tools)) = (setup::kafka_jars(&context)?, setup::tools_jars(&context)?) else {
        bail!("the comparison needs java and mvn");
    };
    let binary = ottla(&context, options)?;
    let kit = Kit {
        tools: Tools::new(&tools),
        load: Load::build(&context)?,
        scratch: context.target.join("bench/scratch"),
        quick: options.quick,
    };
    let setting = setting(root, options, &kit)?;
    let plan: Vec<(&Scenario, Vec<System>)> =
        chosen.into_iter().map(|s| (s, s.compared.systems(&kafka, &binary))).collect();
    let trials = plan.iter().map(|(_, systems)| systems.len() * setting.repetitions).sum();
    let progress = Progress::new(trials)?;
    let mut failed = Vec::new();
    for (scenario, systems) in &plan {
        match measure(scenario, systems, &kit, &setting, &progress) {
            Ok(outcome) => {
                outcome.save(&paths.results)?;
                progress.say(&report::section(&outcome, scenario));
            }
            Err(error) => {
                progress.say(&format!("FAILED: {}: {error:#}", scenario.name));
                failed.push(scenario.name);
            }
        }
    }
    drop(progress);
    if !options.dry_run {
        report::write(&paths)?;
    }
    println!("\n{}", report::targets(&paths)?);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The binary to measure.
fn ottla(context: &Context, options: &Options) -> Result<PathBuf> {
    if let Some(binary) = &options.binary {
        return Ok(binary.clone());
    }
    run_command(context.cargo().args(["build", "--release", "--package", "ottla"]))?;
    Ok(context.target.join("release/ottla"))
}

fn list() -> String {
    let line = |s: &Scenario| {
        let quick = if s.is_quick { "quick" } else { "" };
        format!("{:12} {:>3.0} min  {quick:5}  {}\n", s.name, s.minutes, s.title)
    };
    let total: f64 = scenarios::ALL.iter().map(|s| s.minutes).sum();
    format!("{}{:12} {total:>3.0} min\n", scenarios::ALL.iter().map(line).collect::<String>(), "all")
}

fn chosen(options: &Options) -> Result<Vec<&'static Scenario>> {
    let known = |name: &String| scenarios::ALL.iter().any(|s| s.name == name);
    if let Some(unknown) = options.names.iter().find(|name| !known(name)) {
        bail!("no scenario '{unknown}'; `cargo xtask bench --list` names them");
    }
    let is_chosen = |scenario: &&Scenario| match &options.names[..] {
        [] => !options.quick || scenario.is_quick,
        names => names.iter().any(|name| name == scenario.name),
    };
    Ok(scenarios::ALL.iter().filter(is_chosen).collect())
}

fn setting(root: &Path, options: &Options, kit: &Kit) -> Result<Setting> {
    let mut command = "cargo xtask bench".to_owned();
    if options.quick {
        command.push_str(" --quick");
    }
    let ottla = match &options.binary {
        Some(binary) => format!("ottla at {}", binary.display()),
        None => format!("ottla {} ({})", env!("CARGO_PKG_VERSION"), machine::commit(root)),
    };
    Ok(Setting {
        command,
        machine: machine::describe()?,
        versions: vec![
            ottla,
            system::KAFKA.to_owned(),
            format!("Kafka's tools {}", setup::KAFKA_TOOLS.rsplit(':').next().unwrap_or_default()),
            format!("librdkafka {}", kit.load.version()?),
        ],
        repetitions: options.repetitions.unwrap_or(if options.quick { 1 } else { 3 }).max(1),
    })
}

fn measure(
    scenario: &Scenario,
    systems: &[System],
    kit: &Kit,
    setting: &Setting,
    progress: &Progress,
) -> Result<Outcome> {
    let start = Instant::now();
    let mut outcome = Outcome {
        scenario: scenario.name.to_owned(),
        command: format!("{} {}", setting.command, scenario.name),
        machine: setting.machine.clone(),
        versions: setting.versions.clone(),
        date: machine::today()?,
        repetitions: setting.repetitions,
        systems: systems.iter().map(System::name).collect(),
        ..Outcome::default()
    };
    for round in 1..=setting.repetitions {
        for system in systems {
            let name = system.name();
            progress.trial(format!("{}, round {round} of {}: {name}", scenario.name, setting.repetitions));
            let mut trial = Trial { kit, system, progress, outcome: &mut outcome };
            let done = (scenario.run)(&mut trial);
            progress.trial_done();
            done.map_err(|error| error.context(name))?;
        }
    }
    outcome.seconds = start.elapsed().as_secs_f64();
    Ok(outcome)
}

impl Paths {
    fn new(context: &Context, quick: bool) -> Self {
        let bench = context.target.join("bench");
        let (results, document): (PathBuf, PathBuf) = if quick {
            (bench.join("quick"), bench.join("quick/benchmarks.md"))
        } else {
            (bench.join("results"), context.root.join("docs/benchmarks.md"))
        };
        let plots = document.with_extension("");
        Self { results, document, plots }
    }
}
