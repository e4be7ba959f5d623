//! Changing configurations at run time: the operations of IncrementalAlterConfigs, and whether a change of a broker's own
//! configuration is allowed.

use crate::broker::{BrokerConfig, is_per_broker_listener_key, is_security_key};
use crate::error::ConfigError;
use crate::key::{Kind, Scope, Update};
use crate::synonyms::listener_key;
use crate::table::{self, find};
use crate::values::Props;

/// Longest value that a configuration may have, in characters as Java counts them.
pub const MAX_VALUE_LENGTH: usize = i16::MAX as usize;

/// An operation of IncrementalAlterConfigs (`AlterConfigOp.OpType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    /// Give the key this value.
    Set,
    /// Back to the default.
    Delete,
    /// Add elements to a list.
    Append,
    /// Take elements out of a list.
    Subtract,
}

impl AlterOp {
    /// The operation of this id in the request; `None` is "Unknown operations type".
    pub const fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

/// The value of a key after an operation; `None` means that the override is gone. This is the controller's arithmetic
/// (`ConfigurationControlManager.incrementalAlterConfigResource`): lists begin from the current override, else from
/// Kafka's default.
///
/// # Errors
/// The key is no list; the value is missing or longer than [`MAX_VALUE_LENGTH`].
pub fn alter_value(
    scope: Scope,
    name: &str,
    current: Option<&str>,
    op: AlterOp,
    value: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    let key = find(scope, name);
    let new = match (op, value) {
        (AlterOp::Delete, _) => None,
        (AlterOp::Set, value) => value.map(str::to_owned),
        (_, None) => return Err(ConfigError::request(format!("Null value not supported for : {name}"))),
        (_, Some(_)) if key.is_none_or(|key| key.kind != Kind::List) => {
            let op = op.name();
            return Err(ConfigError::config(format!(
                "Can't {op} to key {name} because its type is not LIST."
            )));
        }
        (_, Some(value)) => {
            let current = current.or_else(|| key?.default_text()).unwrap_or_default();
            let mut parts: Vec<&str> = current.split(',').filter(|part| !part.is_empty()).collect();
            for part in java_split(value) {
                let found = parts.iter().position(|other| *other == part);
                match (op, found) {
                    (AlterOp::Append, None) => parts.push(part),
                    (AlterOp::Subtract, Some(index)) => drop(parts.remove(index)),
                    _ => {}
                }
            }
            Some(parts.join(","))
        }
    };
    if new.as_ref().is_some_and(|new| new.encode_utf16().count() > MAX_VALUE_LENGTH) {
        return Err(ConfigError::config(format!(
            "The configuration value cannot be added because it exceeds the maximum value size of {MAX_VALUE_LENGTH} \
             bytes."
        )));
    }
    Ok(new)
}

/// `String.split(",")` of Java: empty parts at the end go, but an empty text is one empty part.
fn java_split(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(',').collect();
    while parts.len() > 1 && parts.last() == Some(&"") {
        parts.pop();
    }
    if parts == [""] && !text.is_empty() { Vec::new() } else { parts }
}

/// One change of an IncrementalAlterConfigs request.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Key.
    pub name: &'a str,
    /// What to do.
    pub op: AlterOp,
    /// With what; null is allowed only for DELETE.
    pub value: Option<&'a str>,
}

/// Applies changes to the dynamic properties of a broker resource before they are validated and forwarded
/// (`ConfigAdminManager.prepareIncrementalConfigs`).
///
/// # Errors
/// A key is no list; a value is missing; a key occurs twice.
pub fn apply_broker_changes(current: &Props, changes: &[Change<'_>]) -> Result<Props, ConfigError> {
    check_changes(changes)?;
    let mut props = current.clone();
    for change in changes {
        let name = change.name;
        let value = change.value.unwrap_or_default();
        let list = || match find(Scope::Broker, name).filter(|key| key.update != Update::DynamicOnly) {
            None => Err(ConfigError::config(format!("Unknown config name: {name}"))),
            Some(key) if key.kind == Kind::List => Ok(key.default_text().unwrap_or_default()),
            Some(_) => {
                let op = change.op.name().to_lowercase();
                Err(ConfigError::config(format!("Config value {op} is not allowed for config key: {name}")))
            }
        };
        match change.op {
            AlterOp::Set => drop(props.insert(name.to_owned(), value.to_owned())),
            AlterOp::Delete => drop(props.remove(name)),
            AlterOp::Append => {
                let old = props.get(name).cloned().unwrap_or(list()?.to_owned());
                list()?;
                let mut parts = if old.is_empty() { Vec::new() } else { java_split(&old) };
                let known = parts.clone();
                parts.extend(java_split(value).into_iter().filter(|part| !known.contains(part)));
                props.insert(name.to_owned(), parts.join(","));
            }
            AlterOp::Subtract => {
                let old = props.get(name).cloned().unwrap_or(list()?.to_owned());
                list()?;
                let mut parts = java_split(&old);
                for part in java_split(value) {
                    if let Some(index) = parts.iter().position(|other| *other == part) {
                        parts.remove(index);
                    }
                }
                props.insert(name.to_owned(), parts.join(","));
            }
        }
    }
    Ok(props)
}

/// What is wrong with the changes of any resource whatever their keys: a key twice, or null as a value
/// (`ConfigAdminManager.preprocess`).
///
/// # Errors
/// An INVALID_REQUEST with Kafka's text.
pub fn check_changes(changes: &[Change<'_>]) -> Result<(), ConfigError> {
    let twice = |(index, change): (usize, &Change<'_>)| {
        changes[..index].iter().any(|other| other.name == change.name)
    };
    if changes.iter().enumerate().any(twice) {
        return Err(ConfigError::request("Error due to duplicate config keys"));
    }
    let nulls = changes.iter().filter(|change| change.value.is_none() && change.op != AlterOp::Delete);
    let nulls: Vec<&str> = nulls.map(|change| change.name).collect();
    if !nulls.is_empty() {
        return Err(ConfigError::request(format!("Null value not supported for : {}", nulls.join(", "))));
    }
    Ok(())
}

/// Checks the complete dynamic properties that a broker resource would have after a change, on the broker that received the
/// request (`DynamicBrokerConfig.validate`). `per_broker` tells the broker's own resource from the cluster's default.
///
/// # Errors
/// An INVALID_REQUEST, with Kafka's text where it has one: read-only keys, security keys without a listener, per-broker
/// keys for the whole cluster, values that do not parse, and combinations that would not start.
pub fn validate_broker_change(
    config: &BrokerConfig,
    new: &Props,
    per_broker: bool,
) -> Result<(), ConfigError> {
    let names = |test: &dyn Fn(&str) -> bool| -> Vec<&str> {
        new.keys().map(String::as_str).filter(|name| test(name)).collect()
    };
    let refuse = |names: Vec<&str>, why: &str| {
        if names.is_empty() {
            return Ok(());
        }
        Err(ConfigError::request(format!("{why}: [{}]", names.join(", "))))
    };
    let mode = |name: &str| find(Scope::Broker, name).map(|key| key.update);
    refuse(names(&|name| mode(name) == Some(Update::ReadOnly)), "Cannot update these configs dynamically")?;
    refuse(
        names(&is_security_key),
        "These security configs can be dynamically updated only per-listener using the listener prefix",
    )?;
    for (name, value) in new {
        let key = find(Scope::Broker, listener_key(name).unwrap_or(name));
        if let Some(key) = key.filter(|key| key.update != Update::ReadOnly) {
            key.parse(value).map_err(ConfigError::into_request)?;
            check_no_twins(key, value)?;
        }
    }
    if !per_broker {
        refuse(
            names(&|name| mode(name) == Some(Update::PerBroker) || is_per_broker_listener_key(name)),
            "Cannot update these configs at default cluster level, broker id must be specified",
        )?;
    }
    let changed = if per_broker {
        config.with_dynamic(config.cluster_props(), new)
    } else {
        config.with_dynamic(new, config.broker_props())
    };
    let (changed, _) = changed.map_err(|mut errors| errors.swap_remove(0).into_request())?;
    check_thread_counts(config, &changed)
}

/// Lists that may hold each value once: a file with a value twice is read as if it stood there once, a change is refused.
fn check_no_twins(key: &crate::ConfigKey, value: &str) -> Result<(), ConfigError> {
    let values: Vec<&str> = value.split(',').map(str::trim).collect();
    let has_twins = values.iter().enumerate().any(|(index, value)| values[..index].contains(value));
    if has_twins && key.kind == Kind::List && key.rule.is_set() {
        return Err(ConfigError::request(format!(
            "Configuration '{}' values must not be duplicated.",
            key.name
        )));
    }
    Ok(())
}

/// Numbers of threads, which change by at most a factor of two at a time (`DynamicThreadPool`, `SocketServer`, `LogCleaner`).
/// They mean nothing here, but a change that Kafka refuses must not be kept for the day when it reads this directory.
const THREAD_COUNTS: &[&str] = &[
    "num.io.threads",
    "num.replica.fetchers",
    "num.recovery.threads.per.data.dir",
    "background.threads",
    "num.network.threads",
    "log.cleaner.threads",
];

fn check_thread_counts(old: &BrokerConfig, new: &BrokerConfig) -> Result<(), ConfigError> {
    for name in THREAD_COUNTS {
        let (old, new) = (old.values().int(name), new.values().int(name));
        if new == old {
            continue;
        }
        let refuse = |why: String| {
            Err(ConfigError::request(format!(
                "Dynamic thread count update validation failed for {name}={new}, {why}"
            )))
        };
        if new <= 0 {
            return refuse("value should be at least 1".to_owned());
        }
        if new < old / 2 {
            return refuse(format!("value should be at least half the current value {old}"));
        }
        if new > old.saturating_mul(2) {
            return refuse(format!("value should not be greater than double the current value {old}"));
        }
    }
    Ok(())
}

/// Keys that may be set in the dynamic properties of the cluster or of a broker (`DynamicBrokerConfig.ALL_DYNAMIC_CONFIGS`).
pub fn dynamic_broker_keys() -> impl Iterator<Item = &'static crate::ConfigKey> {
    table::keys(Scope::Broker).iter().copied().filter(|key| key.update != Update::ReadOnly)
}
