//! Configuration of a group: its overrides over the broker's values (`GroupConfig` in Kafka).

use std::collections::BTreeMap;

use crate::broker::BrokerConfig;
use crate::error::ConfigError;
use crate::key::Scope;
use crate::synonyms::broker_key_of_group;
use crate::table;
use crate::value::{Value, java_trim, split_list};
use crate::values::{Props, Values};

/// The bounds that the broker sets for keys of groups: key, lower bound, upper bound.
const BOUNDS: &[(&str, Option<&str>, Option<&str>)] = &[
    range(
        "consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    range(
        "consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
    range(
        "consumer.assignment.interval.ms",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms",
    ),
    range(
        "share.heartbeat.interval.ms",
        "group.share.min.heartbeat.interval.ms",
        "group.share.max.heartbeat.interval.ms",
    ),
    range(
        "share.session.timeout.ms",
        "group.share.min.session.timeout.ms",
        "group.share.max.session.timeout.ms",
    ),
    range(
        "share.record.lock.duration.ms",
        "group.share.min.record.lock.duration.ms",
        "group.share.max.record.lock.duration.ms",
    ),
    range(
        "share.delivery.count.limit",
        "group.share.min.delivery.count.limit",
        "group.share.max.delivery.count.limit",
    ),
    range(
        "share.partition.max.record.locks",
        "group.share.min.partition.max.record.locks",
        "group.share.max.partition.max.record.locks",
    ),
    range(
        "share.assignment.interval.ms",
        "group.share.min.assignment.interval.ms",
        "group.share.max.assignment.interval.ms",
    ),
    range(
        "streams.heartbeat.interval.ms",
        "group.streams.min.heartbeat.interval.ms",
        "group.streams.max.heartbeat.interval.ms",
    ),
    range(
        "streams.session.timeout.ms",
        "group.streams.min.session.timeout.ms",
        "group.streams.max.session.timeout.ms",
    ),
    ("streams.num.standby.replicas", None, Some("group.streams.max.standby.replicas")),
    range(
        "streams.assignment.interval.ms",
        "group.streams.min.assignment.interval.ms",
        "group.streams.max.assignment.interval.ms",
    ),
    ("streams.task.offset.interval.ms", Some("group.streams.min.task.offset.interval.ms"), None),
    ("streams.num.warmup.replicas", None, Some("group.streams.max.warmup.replicas")),
];

const fn range(
    key: &'static str,
    min: &'static str,
    max: &'static str,
) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    (key, Some(min), Some(max))
}

/// The defaults that a broker gives to its groups (`AbstractKafkaConfig.extractGroupConfigMap`).
pub fn group_defaults(broker: &Values) -> BTreeMap<&'static str, Value> {
    let default = |key: &'static crate::ConfigKey| {
        let value = broker.get(&broker_key_of_group(key.name)?).clone();
        let value = match (key.name, value) {
            ("streams.assignor.name", Value::List(names)) => {
                names.into_iter().next().map_or(Value::Null, Value::String)
            }
            (_, value) => value,
        };
        Some((key.name, value))
    };
    table::keys(Scope::Group).iter().filter_map(|key| default(key)).collect()
}

/// Checks the complete overrides that a group would have after a change (`GroupConfig.validate`).
///
/// # Errors
/// The first thing that is wrong, with Kafka's text.
pub fn validate_group(broker: &BrokerConfig, new: &Props) -> Result<(), ConfigError> {
    const TAGS: &str = "streams.rack.aware.assignment.tags";
    if let Some(name) = new.keys().find(|name| table::find(Scope::Group, name).is_none()) {
        return Err(ConfigError::config(format!("Unknown group config name: {name}")));
    }
    if let Some(tags) = new.get(TAGS).map(|text| split_list(java_trim(text)))
        && tags.iter().enumerate().any(|(index, tag)| tags[..index].contains(tag))
    {
        return Err(ConfigError::config(format!("{TAGS} must not contain duplicate tag keys.")));
    }
    let parsed = Values::parse(Scope::Group, new, &BTreeMap::new());
    let parsed = parsed.map_err(|mut errors| errors.swap_remove(0))?;
    let broker = broker.values();
    check_bounds(broker, &parsed, new)?;
    if new.contains_key("streams.assignor.name") {
        let name = parsed.string("streams.assignor.name").unwrap_or("null");
        let registered = broker.list("group.streams.assignors");
        if !registered.iter().any(|assignor| assignor == name) {
            return Err(ConfigError::config(format!(
                "streams.assignor.name '{name}' is not a registered task assignor. Registered assignors are: {}.",
                broker.get("group.streams.assignors")
            )));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let (session, heartbeat) =
            (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        let effective = |key: &String| {
            if new.contains_key(key) { parsed.int(key) } else { broker.int(&format!("group.{key}")) }
        };
        let touched = new.contains_key(&session) || new.contains_key(&heartbeat);
        if touched && effective(&session) <= effective(&heartbeat) {
            return Err(ConfigError::config(format!("{session} must be greater than {heartbeat}")));
        }
    }
    let dead_letters = parsed.string("errors.deadletterqueue.topic.name").unwrap_or_default();
    if dead_letters.starts_with("__") {
        return Err(ConfigError::config(
            "errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'",
        ));
    }
    Ok(())
}

fn check_bounds(broker: &Values, parsed: &Values, new: &Props) -> Result<(), ConfigError> {
    for (key, min, max) in BOUNDS.iter().filter(|(key, ..)| new.contains_key(*key)) {
        let value = parsed.int(key);
        let bounds = (min.map(|key| broker.int(key)), max.map(|key| broker.int(key)));
        let text = match bounds {
            (Some(min), Some(max)) if value < min || value > max => {
                format!("{key} must be in the range {min} to {max} inclusive.")
            }
            (None, Some(max)) if value > max => format!("{key} must be less than or equal to {max}"),
            (Some(min), None) if value < min => format!("{key} must be greater than or equal to {min}"),
            _ => continue,
        };
        return Err(ConfigError::config(text));
    }
    Ok(())
}

/// Every group key with its effective value. Overrides that a later change of the broker put out of bounds count as the
/// bound (`GroupConfig.evaluate`).
///
/// # Errors
/// An override does not parse. That cannot come from a controller, which checked it.
pub fn group_values(broker: &BrokerConfig, overrides: &Props) -> Result<Values, ConfigError> {
    let defaults = group_defaults(broker.values());
    let mut props = overrides.clone();
    for (key, min, max) in BOUNDS {
        let Some(text) = props.get_mut(*key) else { continue };
        let Ok(value) = text.trim().parse::<i32>() else { continue };
        let min = min.map_or(i32::MIN, |key| broker.values().int(key));
        let max = max.map_or(i32::MAX, |key| broker.values().int(key));
        // Not `clamp`: as in Kafka the lower bound wins should they cross.
        *text = if value < min { min } else { value.min(max) }.to_string();
    }
    Values::parse(Scope::Group, &props, &defaults).map_err(|mut errors| errors.swap_remove(0))
}
