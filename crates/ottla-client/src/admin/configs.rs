//! Reading and changing configurations.

use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::NodeId;

use crate::client::Attempt;
use crate::error::check;
use crate::{Client, ClientError, Connection, Result};

/// What a configuration belongs to (`ConfigResource.Type`); the number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic, by name.
    Topic = 2,
    /// A broker, by id; the empty name is the default of all brokers.
    Broker = 4,
    /// The log levels of a broker, by id.
    BrokerLogger = 8,
    /// What a broker asks of the metrics of clients (KIP-714), by name.
    ClientMetrics = 16,
    /// A group, by id.
    Group = 32,
}

impl ResourceType {
    /// Kafka's name of it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::BrokerLogger => "broker-logger",
            Self::ClientMetrics => "client-metrics",
            Self::Group => "group",
        }
    }
}

/// A thing that has a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigResource {
    /// Its kind.
    pub kind: ResourceType,
    /// Its name or id.
    pub name: String,
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: &str) -> Self {
        Self { kind: ResourceType::Topic, name: name.to_owned() }
    }

    /// How messages name it.
    pub fn shown(&self) -> String {
        let kind = match self.kind {
            ResourceType::Broker if self.name.is_empty() => return "the defaults of all brokers".to_owned(),
            ResourceType::Topic => "topic",
            ResourceType::Broker => "broker",
            ResourceType::BrokerLogger => "the loggers of broker",
            ResourceType::ClientMetrics => "client metrics",
            ResourceType::Group => "group",
        };
        format!("{kind} '{}'", self.name)
    }
}

/// Where the value of a key comes from (`ConfigEntry.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    DynamicTopic,
    /// Log levels of one broker.
    DynamicBrokerLogger,
    /// Set on one broker while it ran.
    DynamicBroker,
    /// Set for all brokers while they ran.
    DynamicDefaultBroker,
    /// From the file that the broker was started with.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// Set on the subscription to client metrics.
    ClientMetrics,
    /// Set on the group.
    Group,
    /// One that this client does not know.
    Unknown(i8),
}

impl ConfigSource {
    fn from_wire(code: i8) -> Self {
        match code {
            1 => Self::DynamicTopic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            other => Self::Unknown(other),
        }
    }

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::Group => "DYNAMIC_GROUP_CONFIG",
            Self::Unknown(_) => "UNKNOWN",
        }
    }

    /// Whether it is set on the resource itself, and not inherited or a default.
    fn is_own(self, kind: ResourceType, name: &str) -> bool {
        match self {
            Self::DynamicTopic => kind == ResourceType::Topic,
            Self::DynamicBroker => kind == ResourceType::Broker,
            Self::DynamicDefaultBroker => kind == ResourceType::Broker && name.is_empty(),
            Self::DynamicBrokerLogger => kind == ResourceType::BrokerLogger,
            Self::ClientMetrics => kind == ResourceType::ClientMetrics,
            Self::Group => kind == ResourceType::Group,
            Self::StaticBroker | Self::Default | Self::Unknown(_) => false,
        }
    }
}

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value; `None` when it is secret or unset.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether the value is secret.
    pub is_sensitive: bool,
    /// Whether it is set on the resource itself, and not inherited or a default.
    pub is_own: bool,
    /// The settings that could have decided the value, the one that did first: key, value, source.
    pub synonyms: Vec<(String, Option<String>, ConfigSource)>,
    /// The type of the value, such as `LONG`; empty from brokers that do not say.
    pub kind: &'static str,
    /// What the key is for, if it was asked for.
    pub documentation: Option<String>,
}

/// Kafka's names of the types of values, by number.
const TYPES: [&str; 10] =
    ["", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"];

impl ConfigEntry {
    fn from_wire(config: DescribeConfigsResourceResult<'_>, resource: &ConfigResource) -> Self {
        let source = ConfigSource::from_wire(config.config_source);
        let synonym = |synonym: DescribeConfigsSynonym<'_>| {
            let value = synonym.value.map(|value| value.into_owned());
            (synonym.name.into_owned(), value, ConfigSource::from_wire(synonym.source))
        };
        let kind = usize::try_from(config.config_type).ok().and_then(|kind| TYPES.get(kind));
        Self {
            name: config.name.into_owned(),
            value: config.value.map(|value| value.into_owned()),
            source,
            is_read_only: config.read_only,
            is_sensitive: config.is_sensitive,
            is_own: source.is_own(resource.kind, &resource.name),
            synonyms: config.synonyms.into_iter().map(synonym).collect(),
            kind: kind.copied().unwrap_or_default(),
            documentation: config.documentation.map(|text| text.into_owned()),
        }
    }
}

/// A change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterConfig {
    /// Sets the value.
    Set(String, String),
    /// Goes back to the inherited value or the default.
    Delete(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes out of a list.
    Subtract(String, String),
}

impl Client {
    /// The configuration of a resource, by key. `documented` asks for the documentation of the keys too.
    ///
    /// # Errors
    /// The resource does not exist, or no broker answers.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        documented: bool,
    ) -> Result<Vec<ConfigEntry>> {
        let what = || format!("reading the configuration of {}", resource.shown());
        let mut entries = self
            .with_owner(resource, |connection| {
                Box::pin(async move {
                    let make = |version| DescribeConfigsRequest {
                        resources: vec![DescribeConfigsResource {
                            resource_type: resource.kind as i8,
                            resource_name: resource.name.as_str().into(),
                            configuration_keys: None,
                        }],
                        include_synonyms: true,
                        include_documentation: documented && version >= 3,
                    };
                    let response = connection.call_with(VersionRange::new(1, 4), make).await?;
                    let Some(result) = response.results.into_iter().next() else {
                        return Err(ClientError::broker(what(), ErrorCode::UnknownServerError));
                    };
                    check(result.error_code, result.error_message.as_deref(), what)?;
                    Ok(result.configs)
                })
            })
            .await?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries.into_iter().map(|entry| ConfigEntry::from_wire(entry, resource)).collect())
    }

    /// The names of the resources of a type that have a configuration (KIP-1142).
    ///
    /// # Errors
    /// The broker does not list such resources, or does not answer.
    pub async fn list_config_resources(&self, kind: ResourceType) -> Result<Vec<String>> {
        let response = self
            .with_any(|connection| {
                Box::pin(async move {
                    // Version 0 could list client metrics only, without being told so.
                    let usable = match kind {
                        ResourceType::ClientMetrics => VersionRange::new(0, 1),
                        _ => VersionRange::new(1, 1),
                    };
                    let make = |version| ListConfigResourcesRequest {
                        resource_types: if version >= 1 { vec![kind as i8] } else { Vec::new() },
                    };
                    let response = connection.call_with(usable, make).await?;
                    check(response.error_code, None, || "listing what has a configuration".to_owned())?;
                    Ok(response)
                })
            })
            .await?;
        let names = response.config_resources.into_iter().map(|resource| resource.resource_name.into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Changes keys of a configuration, all or none.
    ///
    /// # Errors
    /// A key or value is refused, or no broker answers.
    pub async fn alter_configs(&self, resource: &ConfigResource, changes: &[AlterConfig]) -> Result<()> {
        let what = || format!("changing the configuration of {}", resource.shown());
        self.with_owner(resource, |connection| {
            Box::pin(async move {
                let request = IncrementalAlterConfigsRequest {
                    resources: vec![AlterConfigsResource {
                        resource_type: resource.kind as i8,
                        resource_name: resource.name.as_str().into(),
                        configs: changes.iter().map(alterable).collect(),
                    }],
                    validate_only: false,
                };
                let response = connection.call(&request).await?;
                let result = response.responses.first();
                let result =
                    result.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
                check(result.error_code, result.error_message.as_deref(), what)
            })
        })
        .await
    }

    /// A broker answers for itself; any answers for the rest.
    async fn with_owner<'a, T>(
        &'a self,
        resource: &ConfigResource,
        call: impl Fn(Connection) -> Attempt<'a, T>,
    ) -> Result<T> {
        match (resource.kind, resource.name.parse()) {
            (ResourceType::Broker | ResourceType::BrokerLogger, Ok(id)) => {
                call(self.node(NodeId(id)).await?).await
            }
            _ => self.with_any(call).await,
        }
    }
}

fn alterable(change: &AlterConfig) -> AlterableConfig<'_> {
    let (name, config_operation, value) = match change {
        AlterConfig::Set(name, value) => (name, 0, Some(value)),
        AlterConfig::Delete(name) => (name, 1, None),
        AlterConfig::Append(name, value) => (name, 2, Some(value)),
        AlterConfig::Subtract(name, value) => (name, 3, Some(value)),
    };
    AlterableConfig {
        name: name.as_str().into(),
        config_operation,
        value: value.map(|value| value.as_str().into()),
    }
}
