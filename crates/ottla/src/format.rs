//! `ottla format`: prepares the directories of a node.

use std::path::Path;
use std::process::ExitCode;

use crate::output::sentence;
use crate::server::load_config;

/// Formats the configured directories for a new cluster, or for the given one.
pub(crate) fn run(
    file: Option<&Path>,
    overrides: &[String],
    cluster_id: Option<&str>,
    ignore_formatted: bool,
) -> ExitCode {
    let config = match load_config(file, overrides) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match ottla_broker::format(&config, cluster_id, ignore_formatted) {
        Ok((cluster_id, dirs)) => {
            for dir in &dirs {
                println!("formatted {} for cluster {cluster_id}", dir.display());
            }
            if dirs.is_empty() {
                println!("all directories were formatted already");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}
