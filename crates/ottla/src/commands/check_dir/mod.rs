//! `ottla check-dir`: what a start would find in a data directory, and what it would do, without doing it.
//!
//! The start itself runs, over a file system that keeps all changes in memory: what is said here is what would happen.

mod contents;
mod inspect;
mod metadata;
mod partitions;
mod print;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ottla_config::{BrokerConfig, Sources};

use self::inspect::Place;
use self::report::Verdict;
use crate::output::{print_error, print_json, print_line, sentence};

/// Arguments of `check-dir`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed, created or locked. A directory that a running node holds is not looked into.

Examples:
  ottla check-dir /var/lib/kafka-logs
  ottla check-dir /data/a /data/b              all of log.dirs; the first has the metadata log
  ottla check-dir --config server.properties
  ottla check-dir /var/lib/kafka-logs --json

Exit codes: 0 opens cleanly, 1 opens with repairs, 2 cannot be opened.")]
pub(crate) struct CheckDirArgs {
    /// The log directories of one node (all of log.dirs)
    #[arg(value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    dirs: Vec<PathBuf>,
    /// Take the directories, the node id and the voters from a file in the format of Kafka's server.properties
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory with the metadata log, when it is not the first (metadata.log.dir)
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    metadata_log_dir: Option<PathBuf>,
    /// Do not read the headers of all batches: formats and codecs stay unknown, and large directories take less time
    #[arg(long)]
    no_scan: bool,
    /// List every partition, not only those with something to say about
    #[arg(long, short)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CheckDirArgs {
    pub(crate) fn run(self) -> ExitCode {
        match self.try_run() {
            Ok(verdict) => ExitCode::from(verdict.exit_code()),
            Err(error) if crate::output::is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                print_error(&sentence(&error));
                ExitCode::from(2)
            }
        }
    }

    fn try_run(&self) -> anyhow::Result<Verdict> {
        let place = self.place()?;
        let report = inspect::inspect(&place, !self.no_scan);
        if self.json {
            print_json(&report.to_json())?;
        } else {
            print_line(print::text(&report, self.verbose).trim_end())?;
        }
        Ok(report.verdict())
    }

    fn place(&self) -> anyhow::Result<Place> {
        let Some(path) = &self.config else {
            let first = self.dirs.first().cloned().unwrap_or_default();
            let metadata_dir = self.metadata_log_dir.clone().unwrap_or(first);
            return Ok(Place { dirs: self.dirs.clone(), metadata_dir, node_id: None, config: None });
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
        let (config, _) =
            BrokerConfig::load(Sources { properties: Some(&text), overrides: &[] }).map_err(|errors| {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("{}: {}", path.display(), all.join("; "))
            })?;
        let node = config.node();
        Ok(Place {
            dirs: node.log_dirs.iter().map(PathBuf::from).collect(),
            metadata_dir: PathBuf::from(&node.metadata_log_dir),
            node_id: Some(node.node_id),
            config: Some(config),
        })
    }
}
