//! `ottla completions`, `ottla man`, `ottla version`: the command line about itself.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde_json::json;

use super::Cli;
use crate::output::{BadUsage, OutputArgs, print_line};

/// The release of Apache Kafka whose protocols are spoken.
const KAFKA_RELEASE: &str = "4.4";

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ottla completions bash > /etc/bash_completion.d/ottla
  ottla completions zsh > ~/.zfunc/_ottla
  ottla completions fish > ~/.config/fish/completions/ottla.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ottla man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Directory to write the pages to; it is created if it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Arguments of `version`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ottla version\n  ottla version --json")]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    output: OutputArgs,
}

impl CompletionsArgs {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ottla", &mut script);
        Ok(print_line(String::from_utf8_lossy(&script).trim_end())?)
    }
}

impl ManArgs {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let bad =
            |error: std::io::Error| BadUsage(format!("cannot write to {}: {error}", self.dir.display()));
        std::fs::create_dir_all(&self.dir).map_err(bad)?;
        clap_mangen::generate_to(Cli::command(), &self.dir).map_err(bad)?;
        Ok(print_line(&format!("wrote manual pages to {}", self.dir.display()))?)
    }
}

impl VersionArgs {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        let json = || json!({ "version": version, "kafka": KAFKA_RELEASE });
        Ok(self
            .output
            .say(json, &format!("ottla {version}, speaks the protocols of Apache Kafka {KAFKA_RELEASE}"))?)
    }
}
