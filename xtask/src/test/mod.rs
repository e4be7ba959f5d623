//! `cargo xtask test`: everything a pull request needs, in lanes.
//!
//! Each lane is one check that can pass, fail, or be skipped because a toolchain is missing; a skip is said loudly and CI has
//! none. What lanes need (Python clients, kafkajs, kcat, Apache Kafka's jars) is set up below `target/`. Lanes that take long run
//! side by side, because much of their time is spent waiting, for servers, sessions and downloads.

pub(crate) mod differential;
mod executables;
mod lanes;
pub(crate) mod node;
pub(crate) mod setup;
mod side_by_side;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

/// Options of `cargo xtask test`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run only these lanes (see --list)
    #[arg(long = "lane", value_name = "NAME")]
    lanes: Vec<String>,
    /// List the lanes and what they check
    #[arg(long)]
    list: bool,
}

/// What lanes share.
pub(crate) struct Context {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// `target/`, or where `CARGO_TARGET_DIR` says.
    pub(crate) target: PathBuf,
}

/// How a lane ended, if not in failure.
pub(crate) enum Outcome {
    /// All its checks held.
    Passed,
    /// It could not run here; says why.
    Skipped(String),
}

struct Lane {
    name: &'static str,
    about: &'static str,
    run: fn(&Context) -> Result<Outcome>,
}

/// These few seconds come first in a whole run, one after the other.
const FIRST: &[&str] = &["format", "tidy", "codegen"];
/// How many of the others run at the same time.
const WORKERS: usize = 3;

const LANES: &[Lane] = &[
    Lane { name: "format", about: "rustfmt leaves every file as it is", run: lanes::format },
    Lane { name: "tidy", about: "crate levels, purity, file sizes", run: lanes::tidy },
    Lane { name: "codegen", about: "regenerating the wire messages changes nothing", run: lanes::codegen },
    Lane { name: "clippy", about: "no warning in any crate or test", run: lanes::clippy },
    Lane { name: "rust", about: "unit, property, scenario and JVM comparison tests", run: executables::lane },
    Lane {
        name: "python",
        about: "kafka-python, confluent-kafka, aiokafka; restart; kill -9",
        run: lanes::python,
    },
    Lane {
        name: "differential",
        about: "sequences of requests, answered as Apache Kafka answers them",
        run: differential::lane,
    },
    Lane {
        name: "interchange",
        about: "Apache Kafka 4.0, 4.2, 4.4 and ottla take turns in one data directory",
        run: lanes::interchange,
    },
    Lane { name: "examples", about: "the examples of the README", run: lanes::examples },
    Lane { name: "kafkajs", about: "kafkajs against the built binary", run: lanes::kafkajs },
    Lane {
        name: "go",
        about: "franz-go, sarama, kafka-go against the built binary",
        run: crate::compat::go_clients,
    },
    Lane { name: "kcat", about: "kcat against the built binary", run: lanes::kcat },
    Lane {
        name: "java",
        about: "Apache Kafka's console tools; DumpLogSegments on our files",
        run: lanes::java,
    },
    Lane {
        name: "tools",
        about: "Apache Kafka's administration tools say the same of Apache Kafka and of ottla",
        run: tools::lane,
    },
];

/// Runs the lanes and prints what became of each.
///
/// # Errors
/// When a lane fails, or a name is unknown.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.list {
        for lane in LANES {
            println!("{:12} {}", lane.name, lane.about);
        }
        return Ok(());
    }
    if let Some(unknown) = options.lanes.iter().find(|name| !LANES.iter().any(|lane| lane.name == **name)) {
        bail!("no lane '{unknown}'; `cargo xtask test --list` names them");
    }
    let context = Context::of(root);
    let is_chosen = |lane: &&Lane| match &*options.lanes {
        [] => FIRST.contains(&lane.name),
        names => names.iter().any(|name| name == lane.name),
    };
    let mut summary: Vec<(String, bool)> =
        LANES.iter().filter(is_chosen).map(|lane| run_lane(&context, lane)).collect();
    if options.lanes.is_empty() {
        let others: Vec<_> =
            LANES.iter().map(|lane| lane.name).filter(|name| !FIRST.contains(name)).collect();
        summary.extend(side_by_side::lanes(&context, &others, WORKERS)?);
    }
    println!();
    summary.iter().for_each(|(line, _)| println!("{line}"));
    if !summary.iter().all(|(_, succeeded)| *succeeded) {
        bail!("at least one lane failed");
    }
    Ok(())
}

/// Runs a lane; the line that sums it up, and whether it did not fail.
fn run_lane(context: &Context, lane: &Lane) -> (String, bool) {
    println!("\n=== {}: {}", lane.name, lane.about);
    let start = Instant::now();
    let (word, succeeded) = match (lane.run)(context) {
        Ok(Outcome::Passed) => ("ok".to_owned(), true),
        Ok(Outcome::Skipped(why)) => {
            eprintln!("SKIPPED: lane {}: {why}", lane.name);
            (format!("SKIPPED: {why}"), true)
        }
        Err(error) => {
            eprintln!("FAILED: lane {}: {error:#}", lane.name);
            ("FAILED".to_owned(), false)
        }
    };
    (format!("{:12} {:>6.1} s  {word}", lane.name, start.elapsed().as_secs_f64()), succeeded)
}

impl Context {
    /// The context of the checkout at `root`.
    pub(crate) fn of(root: &Path) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Self { root: root.to_owned(), target }
    }

    /// The built binary that lanes start; builds it first, with debug assertions.
    ///
    /// It is built as for the tests of the whole workspace, as is everything here: for a package alone cargo chooses other
    /// features of dependencies, and builds nearly everything again.
    pub(crate) fn ottla(&self) -> Result<PathBuf> {
        run_command(self.cargo().args(["test", "--workspace", "--no-run", "--quiet", "--test", "process"]))?;
        Ok(self.target.join("debug/ottla"))
    }

    /// A cargo command in the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        command.current_dir(&self.root);
        command
    }
}

/// Runs a command to its end, its output going to ours.
pub(crate) fn run_command(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("starting {shown}"))?;
    if !status.success() {
        bail!("{status}: {shown}");
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed; on failure the error holds its output.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("starting {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{}: {shown}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}
