//! `ottla server`: runs a node until it is told to stop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ottla_broker::{LogLevels, Node, Started};
use ottla_config::{BrokerConfig, Sources, parse_override};
use ottla_console::{Console, View};
use ottla_storage::fs::RealFs;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::commands::LogFormat;
use crate::logging;
use crate::output::sentence;

/// Exit code of a bad command line or configuration.
const BAD_CONFIG: u8 = 2;

/// Reads the configuration of a node; what is wrong with it is printed, with what is allowed.
///
/// # Errors
/// The exit code of a bad configuration.
pub(crate) fn load_config(file: Option<&Path>, overrides: &[String]) -> Result<BrokerConfig, ExitCode> {
    let bad = |message: String| {
        eprintln!("error: {message}");
        ExitCode::from(BAD_CONFIG)
    };
    let text = match file {
        None => None,
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) => return Err(bad(format!("cannot read {}: {error}", path.display()))),
        },
    };
    let mut parsed = Vec::with_capacity(overrides.len());
    for argument in overrides {
        parsed.push(parse_override(argument).map_err(|error| bad(error.to_string()))?);
    }
    let sources = Sources { properties: text.as_deref(), overrides: &parsed };
    match BrokerConfig::load(sources) {
        Ok((config, warnings)) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            Ok(config)
        }
        Err(errors) => {
            for error in errors {
                eprintln!("error: {error}");
            }
            Err(ExitCode::from(BAD_CONFIG))
        }
    }
}

/// Runs a node until SIGINT or SIGTERM. `log` is a filter as `RUST_LOG` has it.
pub(crate) fn run(file: Option<&Path>, overrides: &[String], log: &str, format: LogFormat) -> ExitCode {
    let config = match load_config(file, overrides) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let log_levels = logging::start(log, format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(config, log_levels))
}

/// What the HTTP listener shows of a node.
struct NodeView<R> {
    registry: Registry,
    ready: R,
}

impl<R: Fn() -> Result<(), String> + Send + Sync + 'static> View for NodeView<R> {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn ready(&self) -> Result<(), String> {
        (self.ready)()
    }
}

/// Opens the HTTP listener, if there is to be one (`ottla.http.listener`).
async fn open_console(node: &Node, address: Option<&str>) -> anyhow::Result<Option<Console>> {
    let Some(address) = address.filter(|address| !address.is_empty()) else { return Ok(None) };
    let mut registry = Registry::default();
    registry.register_collector(node.metrics());
    let view = Arc::new(NodeView { registry, ready: node.readiness() });
    let console = Console::serve(address, view).await;
    let console = console.with_context(|| format!("cannot listen on ottla.http.listener={address}"))?;
    println!("  HTTP       listens on {} (/metrics, /healthz, /readyz)", console.address());
    Ok(Some(console))
}

async fn serve(config: BrokerConfig, log_levels: LogLevels) -> ExitCode {
    // Each log in use holds a file open, each client a socket; shells and services often begin with 1,024.
    if let Err(error) = RealFs.raise_open_file_limit() {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    let (failed, mut failure) = mpsc::unbounded_channel();
    let http = config.values().string("ottla.http.listener").map(str::to_owned);
    let node = match Node::start(config, log_levels, move || _ = failed.send(())).await {
        Ok(node) => node,
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            return ExitCode::FAILURE;
        }
    };
    let console = match open_console(&node, http.as_deref()).await {
        Ok(console) => console,
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            // What was opened is closed in order.
            _ = node.stop().await;
            return ExitCode::FAILURE;
        }
    };
    announce(node.started());
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        eprintln!("error: cannot listen for signals");
        return ExitCode::FAILURE;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        // Sent only when the controller failed, not when it stopped.
        Some(()) = failure.recv() => {
            eprintln!("error: the node cannot go on; see the log above");
            return ExitCode::FAILURE;
        }
    }
    eprintln!("stopping (again Ctrl-C to stop at once)");
    tokio::select! {
        stopped = node.stop() => match stopped {
            Ok(()) => {
                // Until the very end it tells that the node is not ready.
                if let Some(console) = console {
                    console.stop();
                }
                eprintln!("stopped");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {}", sentence(&error));
                ExitCode::FAILURE
            }
        },
        _ = interrupt.recv() => {
            eprintln!("stopped at once; the next start recovers the logs");
            ExitCode::FAILURE
        }
    }
}

/// The first thing a user sees: what listens where, where the data is, how long it took.
fn announce(started: &Started) {
    let Started { cluster_id, node_id, listeners, log_dirs, topics, partitions, formatted, took } = started;
    println!("ottla {}: node {node_id} of cluster {cluster_id}", env!("CARGO_PKG_VERSION"));
    for (name, bound, advertised) in listeners {
        println!("  {name:<10} listens on {bound}, clients connect to {advertised}");
    }
    for (dir, is_online) in log_dirs {
        let shown = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        let state = match (is_online, formatted) {
            (false, _) => "offline",
            (true, true) => "formatted just now",
            (true, false) => "opened",
        };
        println!("  data       in {} ({state})", shown.display());
    }
    println!("  holds      {topics} topics, {partitions} partitions");
    println!("ready in {}", shown_duration(*took));
}

fn shown_duration(took: Duration) -> String {
    if took < Duration::from_secs(10) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}
