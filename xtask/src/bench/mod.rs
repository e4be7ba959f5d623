//! `cargo xtask bench`: ottla beside Apache Kafka, in the same run, with the same clients.
//!
//! Systems take turns (A B C A B C …), each time on an empty directory; a figure is the median of the repetitions, with its spread. The load
//! comes from Kafka's own tools and from librdkafka; the cost is the broker's CPU time and memory from `/proc`. Results are
//! kept below `target/bench`, so that a run of some scenarios changes their part of the document only.

mod clients;
mod machine;
mod memory;
mod probe;
mod progress;
mod report;
mod rest;
mod results;
mod scenarios;
mod server;
mod system;
mod trial;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::test::{Context, run_command, setup};
use clients::java::Tools;
use clients::librdkafka::Load;
use memory::Filler;
use progress::Progress;
use report::Paths;
use rest::Rest;
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
    /// Go on with a run that was cut off, or had fewer repetitions: what it measured of the same versions is kept and not measured again
    #[arg(long)]
    resume: bool,
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
    let bench = context.target.join("bench");
    room(&bench, if options.quick { 10 } else { 24 })?;
    let binary = ottla(&context, options)?;
    let kit = Kit {
        tools: Tools::new(&tools),
        load: Load::build(&context)?,
        rest: Rest::new(),
        filler: Filler::new(&bench)?,
        scratch: bench.join("scratch"),
        quick: options.quick,
    };
    let setting = setting(root, options, &kit)?;
    let plan: Vec<(&Scenario, Vec<System>)> =
        chosen.into_iter().map(|s| (s, s.compared.systems(&kafka, &binary))).collect();
    let trials = plan.iter().map(|(_, systems)| systems.len() * setting.repetitions).sum();
    let minutes: f64 = plan.iter().map(|(scenario, _)| scenario.minutes).sum();
    // A quick run takes about a third of the time.
    let pace = if options.quick { 0.35 } else { 1.0 };
    let progress = Progress::new(trials, minutes * setting.repetitions as f64, pace)?;
    let mut failed = Vec::new();
    kit.forget_kept()?;
    for (scenario, systems) in &plan {
        let outcome = begin(scenario, systems, &setting, options.resume.then_some(&paths))?;
        let outcome = measure(outcome, scenario, systems, &kit, &paths, &progress)?;
        if !outcome.failures.is_empty() {
            failed.push(scenario.name);
        }
        progress.say(&report::section(&outcome, scenario));
    }
    drop(progress);
    kit.forget_kept()?;
    if !options.dry_run {
        report::write(&paths)?;
    }
    println!("\n{}", report::targets(&paths)?);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Refuses to begin when there is no room for what the largest case writes: it would fail in the middle.
fn room(dir: &Path, gigabytes: u64) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let volume = rustix::fs::statvfs(dir)?;
    let free = volume.f_bavail * volume.f_frsize / 1_000_000_000;
    ensure!(
        free >= gigabytes,
        "{} has {free} GB free; a run writes up to {gigabytes} GB there",
        dir.display()
    );
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
        format!("{:12} {:>4.1} min  {quick:5}  {}\n", s.name, s.minutes, s.title)
    };
    let total: f64 = scenarios::ALL.iter().map(|s| s.minutes).sum();
    format!(
        "{}{:12} {total:>4.1} min for each repetition\n",
        scenarios::ALL.iter().map(line).collect::<String>(),
        "all"
    )
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
    if let Some(repetitions) = options.repetitions {
        command.push_str(&format!(" --repetitions {repetitions}"));
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

/// The outcome to add to: an empty one, or what a run of the same versions left that was cut off or had fewer repetitions.
fn begin(
    scenario: &Scenario,
    systems: &[System],
    setting: &Setting,
    resumed: Option<&Paths>,
) -> Result<Outcome> {
    let outcome = Outcome {
        scenario: scenario.name.to_owned(),
        command: format!("{} {}", setting.command, scenario.name),
        machine: setting.machine.clone(),
        versions: setting.versions.clone(),
        date: machine::today()?,
        repetitions: setting.repetitions,
        systems: systems.iter().map(System::name).collect(),
        ..Outcome::default()
    };
    let kept = match resumed {
        Some(paths) => Outcome::load(&paths.results, scenario.name)?,
        None => None,
    };
    let same = |kept: &Outcome| {
        kept.versions == outcome.versions
            && kept.machine == outcome.machine
            && kept.repetitions <= outcome.repetitions
            && kept.systems == outcome.systems
    };
    Ok(match kept.filter(same) {
        Some(kept) => Outcome { command: outcome.command, repetitions: outcome.repetitions, ..kept },
        None => outcome,
    })
}

/// Makes all trials of a scenario that `outcome` has not, and saves it after each; one that fails is noted and does not stop the others.
fn measure(
    mut outcome: Outcome,
    scenario: &Scenario,
    systems: &[System],
    kit: &Kit,
    paths: &Paths,
    progress: &Progress,
) -> Result<Outcome> {
    let minutes = scenario.minutes / systems.len() as f64;
    for round in 1..=outcome.repetitions {
        for system in systems {
            let name = system.name();
            let turn = format!("{round} {name}");
            if outcome.turns.contains(&turn) {
                progress.trial_skipped(minutes);
                continue;
            }
            progress.trial(&format!("{}, round {round} of {}: {name}", scenario.name, outcome.repetitions));
            let start = Instant::now();
            let mut trial = Trial { kit, system, progress, outcome: &mut outcome, is_filled: false };
            let done = (scenario.run)(&mut trial);
            if let Err(error) = done {
                let failure = format!("{name}, round {round}: {error:#}");
                progress.say(&format!("FAILED: {}: {failure}", scenario.name));
                outcome.failures.push(failure);
            }
            outcome.turns.push(turn);
            outcome.seconds += start.elapsed().as_secs_f64();
            outcome.save(&paths.results)?;
            progress.trial_done(minutes);
        }
    }
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
