//! Configuration: one definition per key of Kafka 4.4, and everything that follows from it.
//!
//! [`table`] holds the keys; a [`ConfigKey`] parses and checks values with Kafka's messages. [`BrokerConfig`] is the
//! configuration of a node, from its properties and from dynamic changes.

mod address;
mod alter;
mod broker;
mod checks;
mod client_metrics;
mod describe;
mod docs;
mod duration;
pub mod embedded;
mod error;
mod group;
mod key;
mod node;
mod properties;
mod rule;
pub mod synonyms;
pub mod table;
mod topic;
mod value;
mod values;

pub use address::{HostPort, parse_bootstrap_servers, parse_voters};
pub use alter::{
    AlterOp, Change, MAX_VALUE_LENGTH, alter_value, apply_broker_changes, check_changes, dynamic_broker_keys,
    validate_broker_change,
};
pub use broker::{BrokerConfig, Sources, parse_override};
pub use client_metrics::{client_metrics_values, parse_match_patterns, validate_client_metrics};
pub use describe::{
    ConfigEntry, ConfigSource, Synonym, describe_broker, describe_client_metrics, describe_cluster,
    describe_group, describe_topic,
};
pub use docs::markdown;
pub use duration::parse_iso8601_ms;
pub use error::{ConfigError, ErrorKind};
pub use group::{group_defaults, group_values, validate_group};
pub use key::{ConfigKey, Effect, Importance, Kind, Origin, Preset, Scope, Update};
pub use node::{Endpoint, NodeConfig, Roles, SecurityProtocol};
pub use properties::{Property, parse_properties};
pub use rule::Rule;
pub use table::{find, keys};
pub use topic::{
    Durability, LogSettings, TopicCompression, TopicTimestamp, topic_defaults, topic_values, validate_topic,
};
pub use value::{Password, Value};
pub use values::{Props, Values};
