//! `cargo xtask test`: everything a pull request needs, in lanes.
//!
//! Each lane is one check that can pass, fail, or be skipped because a toolchain is missing; a skip is said loudly and CI has
//! none. What lanes need (Python clients, kafkajs, kcat, Apache Kafka's jars) is set up below `target/`.

pub(crate) mod differential;
mod lanes;
pub(crate) mod node;
pub(crate) mod setup;
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

const LANES: &[Lane] = &[
    Lane { name: "format", about: "rustfmt leaves every file as it is", run: lanes::format },
    Lane { name: "tidy", about: "crate levels, purity, file sizes", run: lanes::tidy },
    Lane { name: "codegen", about: "regenerating the wire messages changes nothing", run: lanes::codegen },
    Lane { name: "clippy", about: "no warning in any crate or test", run: lanes::clippy },
    Lane { name: "rust", about: "unit, property, scenario and JVM comparison tests", run: lanes::rust },
    Lane {
        name: "differential",
        about: "sequences of requests, answered as Apache Kafka answers them",
        run: differential::lane,
    },
    Lane {
        name: "python",
        about: "kafka-python, confluent-kafka, aiokafka; restart; kill -9",
        run: lanes::python,
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
    Lane {
        name: "interchange",
        about: "Apache Kafka 4.0, 4.2, 4.4 and ottla take turns in one data directory",
        run: lanes::interchange,
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
    let chosen =
        LANES.iter().filter(|l| options.lanes.is_empty() || options.lanes.iter().any(|n| n == l.name));
    let mut summary = Vec::new();
    let mut failed = false;
    for lane in chosen {
        println!("\n=== {}: {}", lane.name, lane.about);
        let start = Instant::now();
        let word = match (lane.run)(&context) {
            Ok(Outcome::Passed) => "ok".to_owned(),
            Ok(Outcome::Skipped(why)) => {
                eprintln!("SKIPPED: lane {}: {why}", lane.name);
                format!("SKIPPED: {why}")
            }
            Err(error) => {
                failed = true;
                eprintln!("FAILED: lane {}: {error:#}", lane.name);
                "FAILED".to_owned()
            }
        };
        summary.push(format!("{:12} {:>6.1} s  {word}", lane.name, start.elapsed().as_secs_f64()));
    }
    println!("\n{}", summary.join("\n"));
    if failed {
        bail!("at least one lane failed");
    }
    Ok(())
}

impl Context {
    /// The context of the checkout at `root`.
    pub(crate) fn of(root: &Path) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Self { root: root.to_owned(), target }
    }

    /// The built binary that lanes start; builds it first, with debug assertions.
    pub(crate) fn ottla(&self) -> Result<PathBuf> {
        run_command(self.cargo().args(["build", "--quiet", "--package", "ottla"]))?;
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
