//! The `ottla` command: a node, and the tools to work with one. Exit codes: 0 done, 1 failed, 2 bad usage or
//! configuration.

mod commands;
mod format;
mod kafka_flags;
mod log_file;
mod logging;
mod output;
mod server;

use std::process::ExitCode;

use clap::Parser as _;

use crate::commands::{Cli, Command};
use crate::output::{BadUsage, is_broken_pipe, print_error, sentence};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse_from(kafka_flags::accept(std::env::args_os()));
    let tool = match cli.command.unwrap_or(Command::Server(cli.server)) {
        Command::Server(args) => {
            return server::run(
                args.node.config.as_deref(),
                &args.node.overrides,
                &args.log,
                args.log_format,
            );
        }
        Command::Format(args) => {
            let overrides = &args.node.overrides;
            let cluster_id = args.cluster_id.as_deref();
            return format::run(args.node.config.as_deref(), overrides, cluster_id, args.ignore_formatted);
        }
        Command::CheckDir(args) => return args.run(),
        Command::DumpLog(args) => return args.run(),
        Command::Completions(args) => return finish(args.run()),
        Command::Man(args) => return finish(args.run()),
        Command::Version(args) => return finish(args.run()),
        Command::Tool(tool) => tool,
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(tool.run());
    // A read of standard input may be under way for ever.
    runtime.shutdown_background();
    finish(result)
}

/// Says what went wrong, and makes an exit code of it.
fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&sentence(&error));
            if error.is::<BadUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
