//! Effective values with their origin: what DescribeConfigs answers (`ConfigHelper` in Kafka).

use crate::broker::BrokerConfig;
use crate::error::ConfigError;
use crate::group::{group_defaults, group_values};
use crate::key::{ConfigKey, Kind, Scope, Update};
use crate::synonyms::{broker_key_of_group, broker_keys_of_topic, broker_synonyms, listener_base_key};
use crate::table::{self, find};
use crate::topic::topic_values;
use crate::value::Value;
use crate::values::{Props, Values};

/// Where an effective value comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// An override of the topic.
    Topic = 1,
    /// Changed at run time for this broker.
    DynamicBroker = 2,
    /// Changed at run time for the whole cluster.
    DynamicDefaultBroker = 3,
    /// Given at the start.
    StaticBroker = 4,
    /// Not set by anyone.
    Default = 5,
    /// Level of a logger.
    DynamicBrokerLogger = 6,
    /// Setting of a client metrics subscription.
    ClientMetrics = 7,
    /// An override of the group.
    Group = 8,
}

impl ConfigSource {
    /// Number on the wire.
    pub const fn id(self) -> i8 {
        self as i8
    }
}

/// One name and value that takes part in deciding an effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The key that is set.
    pub name: String,
    /// Its text; `None` for secrets.
    pub value: Option<String>,
    /// Where it is set.
    pub source: ConfigSource,
}

/// One line of an answer to DescribeConfigs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Key.
    pub name: String,
    /// Effective value; `None` for null and for secrets.
    pub value: Option<String>,
    /// Cannot change at run time.
    pub read_only: bool,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Its text is not to be shown. Also true for names that are no key of ours.
    pub is_sensitive: bool,
    /// All that decides the value, strongest first.
    pub synonyms: Vec<Synonym>,
    /// [`Kind::config_type`], 0 for names that are no key of ours.
    pub config_type: i8,
    /// What the key does.
    pub documentation: Option<&'static str>,
}

/// All keys of a broker: the answer for its own id.
pub fn describe_broker(config: &BrokerConfig) -> Vec<ConfigEntry> {
    let mut entries = Vec::new();
    for (name, value) in config.values().iter() {
        let key = find(Scope::Broker, name).expect("values come from the table");
        if !key.is_internal() && key.update != Update::DynamicOnly {
            entries.push(broker_entry(config, name, value.to_text(), true));
        }
    }
    for (name, text) in config.current_props() {
        let is_listed = |key: &ConfigKey| !key.is_internal() && key.update != Update::DynamicOnly;
        if !find(Scope::Broker, name).is_some_and(is_listed) {
            entries.push(broker_entry(config, name, Some(text.clone()), true));
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// The dynamic defaults of the cluster: the answer for the broker resource without a name.
pub fn describe_cluster(config: &BrokerConfig) -> Vec<ConfigEntry> {
    let entry = |(name, text): (&String, &String)| broker_entry(config, name, Some(text.clone()), false);
    config.cluster_props().iter().map(entry).collect()
}

/// All keys of a topic with these overrides.
///
/// # Errors
/// An override does not parse.
pub fn describe_topic(config: &BrokerConfig, overrides: &Props) -> Result<Vec<ConfigEntry>, ConfigError> {
    let values = topic_values(config, overrides)?;
    Ok(describe(Scope::Topic, &values, overrides, ConfigSource::Topic, |key| {
        match broker_keys_of_topic(key.name).first() {
            Some((name, _)) => broker_synonym_values(config, name, key.is_sensitive()),
            None => Vec::new(),
        }
    }))
}

/// All keys of a group with these overrides.
///
/// # Errors
/// An override does not parse.
pub fn describe_group(config: &BrokerConfig, overrides: &Props) -> Result<Vec<ConfigEntry>, ConfigError> {
    let mut defaults = group_defaults(config.values());
    // A hidden key shows once the broker sets it, or the group does.
    let is_set = |key: &ConfigKey| {
        let broker_key = broker_key_of_group(key.name);
        broker_key.is_some_and(|name| config.current_props().contains_key(&name))
    };
    defaults.retain(|name, _| find(Scope::Group, name).is_some_and(|key| !key.is_internal() || is_set(key)));
    let values = group_values(config, overrides)?;
    let mut shown = overrides.clone();
    for (name, value) in &defaults {
        if let Some(text) = value.to_text() {
            shown.entry((*name).to_owned()).or_insert(text);
        }
    }
    let mut entries = describe(Scope::Group, &values, overrides, ConfigSource::Group, |key| {
        if let Some(name) = broker_key_of_group(key.name) {
            return broker_synonym_values(config, &name, key.is_sensitive());
        }
        default_synonym(key).into_iter().collect()
    });
    for name in shown.keys().filter(|name| find(Scope::Group, name).is_some_and(ConfigKey::is_internal)) {
        if entries.iter().all(|entry| entry.name != *name) {
            let key = find(Scope::Group, name).expect("found above");
            let broker_key = broker_key_of_group(name).unwrap_or_default();
            let synonyms = broker_synonym_values(config, &broker_key, false);
            entries.push(entry(key, values.get(name), synonyms, false));
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// All keys of a client metrics subscription with these settings.
///
/// # Errors
/// A setting does not parse.
pub fn describe_client_metrics(props: &Props) -> Result<Vec<ConfigEntry>, ConfigError> {
    let values = crate::client_metrics::client_metrics_values(props)?;
    Ok(describe(Scope::ClientMetrics, &values, props, ConfigSource::ClientMetrics, |_| Vec::new()))
}

fn describe(
    scope: Scope,
    values: &Values,
    overrides: &Props,
    source: ConfigSource,
    below: impl Fn(&ConfigKey) -> Vec<Synonym>,
) -> Vec<ConfigEntry> {
    let mut entries = Vec::new();
    for key in table::keys(scope) {
        let is_set = overrides.contains_key(key.name);
        if key.is_internal() && !is_set {
            continue;
        }
        let value = values.get(key.name);
        let mut synonyms = below(key);
        if is_set {
            let value = value.to_text().filter(|_| !key.is_sensitive());
            synonyms.insert(0, Synonym { name: key.name.to_owned(), value, source });
        }
        entries.push(entry(key, value, synonyms, false));
    }
    entries
}

fn entry(key: &ConfigKey, value: &Value, synonyms: Vec<Synonym>, read_only: bool) -> ConfigEntry {
    ConfigEntry {
        name: key.name.to_owned(),
        value: value.to_text().filter(|_| !key.is_sensitive()),
        read_only,
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        is_sensitive: key.is_sensitive(),
        synonyms,
        config_type: key.kind.config_type(),
        documentation: Some(key.doc),
    }
}

fn broker_entry(config: &BrokerConfig, name: &str, value: Option<String>, per_broker: bool) -> ConfigEntry {
    let key = find(Scope::Broker, listener_base_key(name).unwrap_or(name));
    let is_sensitive = key.is_none_or(ConfigKey::is_sensitive);
    let mut synonyms = broker_synonym_values(config, name, is_sensitive);
    if !per_broker {
        synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
    }
    let exact = find(Scope::Broker, name);
    ConfigEntry {
        name: name.to_owned(),
        value: value.filter(|_| !is_sensitive),
        read_only: exact.is_none_or(|key| key.update == Update::ReadOnly),
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        is_sensitive,
        synonyms,
        config_type: key.map_or(0, |key| Kind::config_type(key.kind)),
        documentation: exact.map(|key| key.doc),
    }
}

/// The settings that decide a broker key, strongest first. As in Kafka, names that come before `name` are left out, so that a
/// key in milliseconds which nobody set shows no synonyms at all.
fn broker_synonym_values(config: &BrokerConfig, name: &str, is_sensitive: bool) -> Vec<Synonym> {
    let names = broker_synonyms(name, true);
    let mut synonyms = Vec::new();
    for (props, source) in [
        (config.broker_props(), ConfigSource::DynamicBroker),
        (config.cluster_props(), ConfigSource::DynamicDefaultBroker),
        (config.static_props(), ConfigSource::StaticBroker),
    ] {
        for name in &names {
            if let Some(text) = props.get(*name) {
                let value = Some(text.clone()).filter(|_| !is_sensitive);
                synonyms.push(Synonym { name: (*name).to_owned(), value, source });
            }
        }
    }
    let keys = names.iter().filter_map(|name| find(Scope::Broker, name));
    let defaults = keys.filter(|key| key.update != Update::DynamicOnly).filter_map(default_synonym);
    synonyms.extend(defaults);
    let first = synonyms.iter().position(|synonym| synonym.name == name).unwrap_or(synonyms.len());
    synonyms.split_off(first)
}

fn default_synonym(key: &ConfigKey) -> Option<Synonym> {
    let text = key.default_text()?.to_owned();
    let value = Some(text).filter(|_| !key.is_sensitive());
    Some(Synonym { name: key.name.to_owned(), value, source: ConfigSource::Default })
}
