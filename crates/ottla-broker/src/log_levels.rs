//! The levels of the server's log, which change while it runs: the resources of type `BROKER_LOGGER` (`LoggingController`).
//!
//! Here is what is set; whoever starts the node has the log itself, and is told of each change. Nothing is stored: a start begins
//! with the levels of its command line, as Kafka begins with those of its Log4j file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// How much a logger says (`LogLevelConfig`), the quietest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing. A start can have it; a request cannot ask for it.
    Off,
    /// As [`LogLevel::Error`]: nothing here is worse than an error.
    Fatal,
    /// What failed.
    Error,
    /// What may need a look.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Those that a request may set.
    const SETTABLE: [Self; 6] = [Self::Debug, Self::Error, Self::Fatal, Self::Info, Self::Trace, Self::Warn];

    /// Kafka's name of the level.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }

    /// The level that a request names, in upper case only, as Kafka has it; `None` when there is no such level to set.
    pub(crate) fn settable(name: &str) -> Option<Self> {
        Self::SETTABLE.into_iter().find(|level| level.name() == name)
    }

    /// What [`LogLevel::settable`] takes, for people.
    pub(crate) fn settable_names() -> String {
        Self::SETTABLE.map(Self::name).join(", ")
    }
}

/// The logger that all others inherit from.
pub(crate) const ROOT: &str = "root";

/// Loggers that are there without having been set: `ottla` for all of the program's own, and each crate that may log.
const CRATES: &[&str] = &[
    "ottla",
    "ottla_broker",
    "ottla_client",
    "ottla_config",
    "ottla_console",
    "ottla_coordinator",
    "ottla_metadata",
    "ottla_net",
    "ottla_protocol",
    "ottla_quorum",
    "ottla_record",
    "ottla_replica",
    "ottla_security",
    "ottla_storage",
];

/// What is set, as the log itself gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelSettings {
    /// The level of all loggers without one of their own.
    pub root: LogLevel,
    /// Levels of modules: of all whose path begins with the name, the longest name decides.
    pub modules: BTreeMap<String, LogLevel>,
}

impl LevelSettings {
    /// The level that holds for a logger.
    fn effective(&self, name: &str) -> LogLevel {
        let above = self.modules.iter().filter(|(module, _)| name.starts_with(module.as_str()));
        above.max_by_key(|(module, _)| module.len()).map_or(self.root, |(_, level)| *level)
    }
}

/// Changes the log itself; what is wrong goes into the node's log and to whoever asked for the change.
type Apply = dyn Fn(&LevelSettings) -> Result<(), String> + Send + Sync;

/// The loggers of this process and their levels.
pub struct LogLevels {
    settings: Mutex<LevelSettings>,
    known: BTreeSet<String>,
    apply: Box<Apply>,
}

impl std::fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogLevels").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Default for LogLevels {
    /// Levels that nothing is made of, for nodes in a process that has its own idea of a log.
    fn default() -> Self {
        Self::new(LevelSettings { root: LogLevel::Info, modules: BTreeMap::new() }, |_| Ok(()))
    }
}

impl LogLevels {
    /// Starts with the settings that the log has already. `apply` brings later ones into it, one call at a time; it must not
    /// write to the log.
    pub fn new(
        settings: LevelSettings,
        apply: impl Fn(&LevelSettings) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let crates = CRATES.iter().chain([&ROOT]).map(|name| (*name).to_owned());
        let known = crates.chain(settings.modules.keys().cloned()).collect();
        Self { settings: Mutex::new(settings), known, apply: Box::new(apply) }
    }

    /// Whether there is a logger of this name. Only these can be set, so that their number is bounded.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    /// All loggers with the levels that hold for them, by name.
    pub(crate) fn list(&self) -> Vec<(String, LogLevel)> {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |name: &String| if name == ROOT { settings.root } else { settings.effective(name) };
        self.known.iter().map(|name| (name.clone(), level(name))).collect()
    }

    /// Sets levels of known loggers, or takes them back to what they inherit (`None`); all together or none.
    ///
    /// # Errors
    /// The log cannot be changed; all stays as it was.
    pub(crate) fn change(&self, changes: &[(&str, Option<LogLevel>)]) -> Result<(), String> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = settings.clone();
        for (name, level) in changes.iter().filter(|(name, _)| self.is_known(name)) {
            match level {
                Some(level) if *name == ROOT => new.root = *level,
                Some(level) => _ = new.modules.insert((*name).to_owned(), *level),
                None => _ = new.modules.remove(*name),
            }
        }
        (self.apply)(&new)?;
        *settings = new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn level(levels: &LogLevels, name: &str) -> LogLevel {
        levels.list().into_iter().find(|(known, _)| known == name).expect("a known logger").1
    }

    fn with_module(
        apply: impl Fn(&LevelSettings) -> Result<(), String> + Send + Sync + 'static,
    ) -> LogLevels {
        let modules = BTreeMap::from([("ottla_broker::cleaner".to_owned(), LogLevel::Debug)]);
        LogLevels::new(LevelSettings { root: LogLevel::Warn, modules }, apply)
    }

    #[test]
    fn loggers_inherit_from_the_longest_name_above_them() {
        let levels = with_module(|_| Ok(()));
        assert_eq!(level(&levels, "root"), LogLevel::Warn);
        assert_eq!(level(&levels, "ottla_broker"), LogLevel::Warn);
        assert_eq!(level(&levels, "ottla_broker::cleaner"), LogLevel::Debug);
        levels.change(&[("ottla_broker", Some(LogLevel::Trace)), ("ottla", Some(LogLevel::Fatal))]).unwrap();
        assert_eq!(level(&levels, "ottla_broker"), LogLevel::Trace);
        assert_eq!(level(&levels, "ottla_broker::cleaner"), LogLevel::Debug);
        assert_eq!(level(&levels, "ottla_net"), LogLevel::Fatal);
        levels.change(&[("ottla_broker::cleaner", None), ("ottla", None)]).unwrap();
        assert_eq!(level(&levels, "ottla_broker::cleaner"), LogLevel::Trace);
        assert_eq!(level(&levels, "ottla_net"), LogLevel::Warn);
        levels.change(&[("root", Some(LogLevel::Error)), ("ottla_broker", None)]).unwrap();
        assert!(levels.list().iter().all(|(_, level)| *level == LogLevel::Error));
    }

    #[test]
    fn changes_reach_the_log_whole_or_not_at_all() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let levels = with_module(move |settings| {
            if settings.root == LogLevel::Trace {
                return Err("too much".to_owned());
            }
            told.lock().unwrap().push(settings.clone());
            Ok(())
        });
        levels.change(&[("ottla_net", Some(LogLevel::Debug)), ("nobody", Some(LogLevel::Debug))]).unwrap();
        let refused = levels.change(&[("ottla_net", None), ("root", Some(LogLevel::Trace))]);
        assert_eq!(refused, Err("too much".to_owned()));
        assert_eq!(level(&levels, "ottla_net"), LogLevel::Debug);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].root, LogLevel::Warn);
        let modules: Vec<_> = seen[0].modules.keys().collect();
        assert_eq!(modules, ["ottla_broker::cleaner", "ottla_net"]);
    }

    #[test]
    fn levels_are_named_as_in_kafka() {
        for name in ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"] {
            assert_eq!(LogLevel::settable(name).map(LogLevel::name), Some(name));
        }
        for name in ["OFF", "ALL", "info", ""] {
            assert_eq!(LogLevel::settable(name), None, "{name}");
        }
        assert_eq!(LogLevel::settable_names(), "DEBUG, ERROR, FATAL, INFO, TRACE, WARN");
    }
}
