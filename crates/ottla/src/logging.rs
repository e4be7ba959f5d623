//! The server's log: where it goes, in which form, and levels that change while it is written.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use ottla_broker::{LevelSettings, LogLevel, LogLevels};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::commands::LogFormat;

/// What a filter says: levels of modules, which can change, and directives about spans and fields, which stay as they are.
#[derive(Debug)]
struct Filter {
    settings: LevelSettings,
    spans: Vec<String>,
}

impl Filter {
    /// Takes apart what `EnvFilter` has taken already: later directives replace earlier ones, no level for all means that nothing
    /// else is logged, and an empty filter lets errors through.
    fn parse(text: &str) -> Self {
        let directives: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let root = if directives.is_empty() { LogLevel::Error } else { LogLevel::Off };
        let mut filter =
            Self { settings: LevelSettings { root, modules: BTreeMap::new() }, spans: Vec::new() };
        for directive in directives {
            match directive.parse::<Targets>() {
                Ok(targets) if !directive.contains('[') => {
                    if let Some(default) = targets.default_level() {
                        filter.settings.root = level(default);
                    }
                    let modules = targets.iter().map(|(module, filter)| (module.to_owned(), level(filter)));
                    filter.settings.modules.extend(modules);
                }
                Ok(_) | Err(_) => filter.spans.push(directive.to_owned()),
            }
        }
        filter
    }
}

/// The filter of these levels, as text.
fn directives(settings: &LevelSettings, spans: &[String]) -> String {
    let modules = settings.modules.iter().map(|(module, level)| format!("{module}={}", directive(*level)));
    let root = directive(settings.root).to_owned();
    let all: Vec<String> = std::iter::once(root).chain(modules).chain(spans.iter().cloned()).collect();
    all.join(",")
}

fn level(filter: LevelFilter) -> LogLevel {
    match filter.into_level() {
        None => LogLevel::Off,
        Some(tracing::Level::ERROR) => LogLevel::Error,
        Some(tracing::Level::WARN) => LogLevel::Warn,
        Some(tracing::Level::INFO) => LogLevel::Info,
        Some(tracing::Level::DEBUG) => LogLevel::Debug,
        Some(tracing::Level::TRACE) => LogLevel::Trace,
    }
}

const fn directive(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Off => "off",
        LogLevel::Fatal | LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

/// Starts the log on standard error with a filter as `RUST_LOG` has it, and returns the handle on its levels.
pub(crate) fn start(text: &str, format: LogFormat) -> LogLevels {
    let (env_filter, text) = match EnvFilter::try_new(text) {
        Ok(filter) => (filter, text),
        Err(error) => {
            eprintln!("warning: --log {text}: {error}; using 'info'");
            (EnvFilter::new("info"), "info")
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(env_filter).with_writer(std::io::stderr);
    let Filter { settings, spans } = Filter::parse(text);
    match format {
        LogFormat::Text => {
            let log = log.with_ansi(std::io::stderr().is_terminal()).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            LogLevels::new(settings, move |settings| {
                handle.reload(env_filter_of(settings, &spans)?).map_err(|error| error.to_string())
            })
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            LogLevels::new(settings, move |settings| {
                handle.reload(env_filter_of(settings, &spans)?).map_err(|error| error.to_string())
            })
        }
    }
}

fn env_filter_of(settings: &LevelSettings, spans: &[String]) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives(settings, spans)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(text: &str) -> String {
        EnvFilter::try_new(text).expect("a filter");
        let Filter { settings, spans } = Filter::parse(text);
        let text = directives(&settings, &spans);
        EnvFilter::try_new(&text).expect("a filter");
        text
    }

    #[test]
    fn filters_are_taken_apart_and_put_together() {
        assert_eq!(there_and_back("info"), "info");
        assert_eq!(there_and_back("WARN,ottla_broker=debug"), "warn,ottla_broker=debug");
        assert_eq!(there_and_back("ottla_net=trace,info,ottla_net=5,error"), "error,ottla_net=trace");
        assert_eq!(there_and_back("ottla_broker::cleaner=off,3"), "info,ottla_broker::cleaner=off");
        assert_eq!(there_and_back(""), "error");
        assert_eq!(there_and_back("ottla_net=debug"), "off,ottla_net=debug");
        assert_eq!(there_and_back("hyper"), "off,hyper=trace");
        let spans = "info,[request{id=3}]=trace,ottla_net[request]=debug";
        assert_eq!(there_and_back(spans), spans);
    }

    #[test]
    fn the_worst_level_is_an_error_here() {
        let modules = BTreeMap::from([("ottla_net".to_owned(), LogLevel::Fatal)]);
        let settings = LevelSettings { root: LogLevel::Off, modules };
        assert_eq!(directives(&settings, &[]), "off,ottla_net=error");
    }
}
