//! Configuration of client metrics subscriptions (KIP-714, `ClientMetricsConfigs` in Kafka).

use std::collections::BTreeMap;

use regex::Regex;

use crate::error::ConfigError;
use crate::key::Scope;
use crate::table;
use crate::values::{Props, Values};

/// Attributes of a client that a subscription may match.
const ATTRIBUTES: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Checks the complete settings that a subscription would have after a change.
///
/// # Errors
/// The first thing that is wrong, with Kafka's text. Patterns are those of the `regex` crate: look-around and
/// back-references of Java are refused.
pub fn validate_client_metrics(subscription: &str, new: &Props) -> Result<(), ConfigError> {
    if subscription.is_empty() {
        return Err(ConfigError::request("Subscription name can't be empty"));
    }
    if let Some(name) = new.keys().find(|name| table::find(Scope::ClientMetrics, name).is_none()) {
        return Err(ConfigError::request(format!("Unknown client metrics configuration: {name}")));
    }
    let values = client_metrics_values(new)?;
    let interval = values.int("interval.ms");
    if new.contains_key("interval.ms") && !(100..=3_600_000).contains(&interval) {
        return Err(ConfigError::request(format!(
            "Invalid value {interval} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
        )));
    }
    parse_match_patterns(values.list("match")).map(|_| ())
}

/// Every key of a subscription with its effective value.
///
/// # Errors
/// A setting does not parse. That cannot come from a controller, which checked it.
pub fn client_metrics_values(props: &Props) -> Result<Values, ConfigError> {
    let parsed = Values::parse(Scope::ClientMetrics, props, &BTreeMap::new());
    parsed.map_err(|mut errors| errors.swap_remove(0))
}

/// The patterns of `match`: attribute → regular expression that the whole attribute must match.
///
/// # Errors
/// An entry is not `attribute=regex`, or names no known attribute.
pub fn parse_match_patterns(entries: &[String]) -> Result<BTreeMap<String, Regex>, ConfigError> {
    let mut patterns = BTreeMap::new();
    for entry in entries {
        let illegal = || ConfigError::config(format!("Illegal client matching pattern: {entry}"));
        let parts: Vec<&str> = entry.trim_end_matches('=').split('=').collect();
        let [attribute, pattern] = parts[..] else { return Err(illegal()) };
        let attribute = attribute.trim();
        if !ATTRIBUTES.contains(&attribute) {
            return Err(illegal());
        }
        let pattern = Regex::new(&format!("^(?:{})$", pattern.trim())).map_err(|_| illegal())?;
        patterns.insert(attribute.to_owned(), pattern);
    }
    Ok(patterns)
}
