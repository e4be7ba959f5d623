//! The configuration of a node: static properties, dynamic changes on top, and what both result in.

use std::collections::BTreeMap;
use std::fmt;

use crate::checks;
use crate::embedded;
use crate::error::ConfigError;
use crate::key::{ConfigKey, Effect, Scope, Update};
use crate::node::NodeConfig;
use crate::properties::parse_properties;
use crate::synonyms::{broker_synonyms, listener_base_key, listener_key};
use crate::table::find;
use crate::values::{Props, Values};

/// What a start is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// Text of a `server.properties`; without one the [embedded properties](crate::embedded) apply.
    pub properties: Option<&'a str>,
    /// `key=value` pairs that win over the file, from the command line.
    pub overrides: &'a [(String, String)],
}

/// Splits a `key=value` argument.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub fn parse_override(argument: &str) -> Result<(String, String), ConfigError> {
    match argument.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(ConfigError::config(format!("'{argument}' is no setting: it must be key=value."))),
    }
}

/// The configuration of a node, valid as a whole.
#[derive(Clone)]
pub struct BrokerConfig {
    static_props: Props,
    cluster_props: Props,
    broker_props: Props,
    current_props: Props,
    values: Values,
    node: NodeConfig,
}

impl fmt::Debug for BrokerConfig {
    /// The node only: the properties may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerConfig").field("node", &self.node).finish_non_exhaustive()
    }
}

impl BrokerConfig {
    /// Reads and checks the sources. The second value are warnings, one sentence each: unknown and repeated keys,
    /// settings without effect, combinations that work but are unwise.
    ///
    /// # Errors
    /// Everything that is wrong, one sentence each.
    pub fn load(sources: Sources<'_>) -> Result<(Self, Vec<String>), Vec<ConfigError>> {
        let overrides: Props = sources.overrides.iter().cloned().collect();
        let mut warnings = Vec::new();
        let (given, mut props) = match sources.properties {
            Some(text) => {
                let mut props = read_file(text, &mut warnings).map_err(|error| vec![error])?;
                props.extend(overrides);
                (props.clone(), props)
            }
            None => {
                let props = embedded::properties(&overrides);
                (overrides, props)
            }
        };
        share_node_id(&mut props);
        warnings.extend(props.keys().filter(|key| !is_known(key)).map(|key| unknown(key)));
        warnings.extend(without_effect(&given));
        let config = Self::resolve(props, Props::new(), Props::new(), &mut warnings)?;
        Ok((config, warnings))
    }

    /// This configuration with other dynamic changes: those of the whole cluster (the broker resource without a name) and
    /// those of this broker. What does not belong there or is invalid is left out and named in the warnings
    /// (`DynamicBrokerConfig.fromPersistentProps`).
    ///
    /// # Errors
    /// The changes are invalid in combination; keep the old configuration then.
    pub fn with_dynamic(
        &self,
        cluster: &Props,
        broker: &Props,
    ) -> Result<(Self, Vec<String>), Vec<ConfigError>> {
        let mut warnings = Vec::new();
        let cluster = usable(cluster, false, &mut warnings);
        let broker = usable(broker, true, &mut warnings);
        let config = Self::resolve(self.static_props.clone(), cluster, broker, &mut warnings)?;
        Ok((config, warnings))
    }

    /// What makes up the node.
    pub fn node(&self) -> &NodeConfig {
        &self.node
    }

    /// The authorizer that the node is to ask (`authorizer.class.name`).
    pub fn authorizer(&self) -> Option<&str> {
        self.values.string("authorizer.class.name").filter(|class| !class.is_empty())
    }

    /// The value of every broker key.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The value of a key for one listener: `listener.name.{listener}.{key}` if set, else the plain key's text.
    /// With a SASL `mechanism` the override may also be `listener.name.{listener}.{mechanism}.{key}`.
    pub fn listener_text(&self, listener: &str, mechanism: Option<&str>, key: &str) -> Option<String> {
        let listener = listener.to_lowercase();
        let with_mechanism =
            mechanism.map(|mechanism| format!("listener.name.{listener}.{}.{key}", mechanism.to_lowercase()));
        let plain = format!("listener.name.{listener}.{key}");
        let found = with_mechanism.and_then(|name| self.current_props.get(&name));
        let found = found.or_else(|| self.current_props.get(&plain)).or_else(|| self.current_props.get(key));
        found.cloned().or_else(|| find(Scope::Broker, key)?.default_text().map(str::to_owned))
    }

    /// Properties given at the start: file or embedded, with the overrides.
    pub fn static_props(&self) -> &Props {
        &self.static_props
    }

    /// Dynamic changes that hold for the whole cluster.
    pub fn cluster_props(&self) -> &Props {
        &self.cluster_props
    }

    /// Dynamic changes that hold for this broker.
    pub fn broker_props(&self) -> &Props {
        &self.broker_props
    }

    /// Everything that is set, after precedence: static, then cluster, then broker.
    pub fn current_props(&self) -> &Props {
        &self.current_props
    }

    pub(crate) fn resolve(
        static_props: Props,
        cluster_props: Props,
        broker_props: Props,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut current_props = static_props.clone();
        override_props(&mut current_props, &cluster_props);
        override_props(&mut current_props, &broker_props);
        if !cluster_props.is_empty() || !broker_props.is_empty() {
            checks::clamp_assignment_intervals(&mut current_props, warnings);
        }
        let mut errors = listener_errors(&current_props);
        let values = match Values::parse(Scope::Broker, &current_props, &BTreeMap::new()) {
            Ok(values) => values,
            Err(found) => {
                errors.extend(found);
                return Err(errors);
            }
        };
        let node = match NodeConfig::resolve(&values, &current_props) {
            Ok(node) => node,
            Err(error) => {
                errors.push(error);
                errors.extend(checks::errors(&values));
                return Err(errors);
            }
        };
        errors.extend(checks::errors(&values));
        errors.extend(checks::node_errors(&values, &node));
        if !errors.is_empty() {
            return Err(errors);
        }
        warnings.extend(checks::warnings(&values, &node, &current_props));
        Ok(Self { static_props, cluster_props, broker_props, current_props, values, node })
    }
}

fn read_file(text: &str, warnings: &mut Vec<String>) -> Result<Props, ConfigError> {
    let mut props = Props::new();
    for property in parse_properties(text)? {
        let key = property.key.clone();
        if props.insert(property.key, property.value).is_some() {
            warnings.push(format!("Line {}: {key} is set again; the last value counts.", property.line));
        }
    }
    Ok(props)
}

/// `broker.id` and `node.id` are one setting (`AbstractKafkaConfig.populateSynonyms`).
fn share_node_id(props: &mut Props) {
    for (from, to) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
        if let (Some(id), None) = (props.get(from).cloned(), props.get(to)) {
            props.insert(to.to_owned(), id);
        }
    }
}

/// Whether a name is a key, an override of one for a listener, or passed on to a remote store.
fn is_known(name: &str) -> bool {
    let key = listener_base_key(name).unwrap_or(name);
    let static_key = find(Scope::Broker, key).is_some_and(|key| key.update != Update::DynamicOnly);
    static_key || name.starts_with("rsm.config.") || name.starts_with("rlmm.config.")
}

fn unknown(name: &str) -> String {
    format!("{name} is no configuration key; it is ignored.")
}

/// One sentence about all keys that are set to something else than their default and have no effect.
fn without_effect(given: &Props) -> Option<String> {
    let is_idle = |(name, value): &(&String, &String)| {
        let key = find(Scope::Broker, listener_base_key(name).unwrap_or(name));
        key.is_some_and(|key| key.effect != Effect::Yes && key.default_text() != Some(value.trim()))
    };
    let idle: Vec<&str> = given.iter().filter(is_idle).map(|(name, _)| name.as_str()).collect();
    (!idle.is_empty()).then(|| {
        format!("Set, but without effect here (see \"Works\" in docs/configuration.md): {}.", idle.join(", "))
    })
}

/// Values of `listener.name.…` keys are checked as those of the plain key are.
fn listener_errors(props: &Props) -> Vec<ConfigError> {
    let check = |(name, text): (&String, &String)| {
        let key = find(Scope::Broker, listener_base_key(name)?)?;
        ConfigKey { name: key.name, ..*key }.parse(text).err()
    };
    props.iter().filter_map(check).collect()
}

/// Sets properties, and unsets the other names of the same setting, so that `log.roll.hours` set at run time wins over
/// `log.roll.ms` in the file (`DynamicBrokerConfig.overrideProps`).
fn override_props(props: &mut Props, with: &Props) {
    for (name, value) in with {
        for synonym in broker_synonyms(name, false) {
            props.remove(synonym);
        }
        props.insert(name.clone(), value.clone());
    }
}

/// The dynamic properties that may be used.
fn usable(props: &Props, per_broker: bool, warnings: &mut Vec<String>) -> Props {
    let mut usable = Props::new();
    for (name, value) in props {
        let base = listener_base_key(name);
        let key = find(Scope::Broker, base.unwrap_or(name));
        let reason = match key.map(|key| key.update) {
            _ if key.is_some_and(|key| key.parse(value).is_err()) => "its value is invalid",
            Some(Update::ReadOnly) if base.is_none() => "it cannot change at run time",
            _ if is_security_key(name) => "it can change at run time only for one listener",
            Some(Update::PerBroker) if !per_broker => "it can be set only for one broker",
            _ if !per_broker && is_per_broker_listener_key(name) => "it can be set only for one broker",
            _ => {
                usable.insert(name.clone(), value.clone());
                continue;
            }
        };
        let whose = if per_broker { "broker" } else { "cluster" };
        warnings.push(format!("The {whose}'s dynamic setting of {name} is ignored: {reason}."));
    }
    usable
}

/// Keys that can change at run time only under `listener.name.…` (`SslConfigs.RECONFIGURABLE_CONFIGS`).
pub(crate) fn is_security_key(name: &str) -> bool {
    const KEYS: &[&str] = &[
        "ssl.key.password",
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.keystore.type",
        "ssl.truststore.certificates",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.type",
    ];
    KEYS.contains(&name)
}

/// Overrides for a listener belong to one broker, but for connection limits and threads.
pub(crate) fn is_per_broker_listener_key(name: &str) -> bool {
    const CLUSTER: &[&str] = &["max.connection.creation.rate", "max.connections", "num.network.threads"];
    listener_key(name).is_some_and(|key| !CLUSTER.contains(&key))
}
