//! Reading and changing configurations.

use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
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
    /// A group, by id.
    Group = 32,
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
}

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value; `None` when it is secret or unset.
    pub value: Option<String>,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether the value is secret.
    pub is_sensitive: bool,
    /// Whether it is set on the resource itself, and not inherited or a default.
    pub is_own: bool,
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

/// `ConfigSource` on the wire: topic, dynamic broker, dynamic default broker, group.
const OWN_SOURCES: [i8; 4] = [1, 2, 3, 8];

impl Client {
    /// The configuration of a resource, by key.
    ///
    /// # Errors
    /// The resource does not exist, or no broker answers.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>> {
        let what = || format!("reading the configuration of '{}'", resource.name);
        let mut entries = self
            .with_owner(resource, |connection| {
                Box::pin(async move {
                    let request = DescribeConfigsRequest {
                        resources: vec![DescribeConfigsResource {
                            resource_type: resource.kind as i8,
                            resource_name: resource.name.as_str().into(),
                            configuration_keys: None,
                        }],
                        ..DescribeConfigsRequest::default()
                    };
                    let response = connection.call_with(VersionRange::new(1, 4), |_| request).await?;
                    let Some(result) = response.results.into_iter().next() else {
                        return Err(ClientError::broker(what(), ErrorCode::UnknownServerError));
                    };
                    check(result.error_code, result.error_message.as_deref(), what)?;
                    Ok(result.configs)
                })
            })
            .await?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let entry =
            |config: ottla_protocol::messages::describe_configs_response::DescribeConfigsResourceResult<
                '_,
            >| {
                ConfigEntry {
                    name: config.name.into_owned(),
                    value: config.value.map(|value| value.into_owned()),
                    is_read_only: config.read_only,
                    is_sensitive: config.is_sensitive,
                    is_own: OWN_SOURCES.contains(&config.config_source),
                }
            };
        Ok(entries.into_iter().map(entry).collect())
    }

    /// Changes keys of a configuration, all or none.
    ///
    /// # Errors
    /// A key or value is refused, or no broker answers.
    pub async fn alter_configs(&self, resource: &ConfigResource, changes: &[AlterConfig]) -> Result<()> {
        let what = || format!("changing the configuration of '{}'", resource.name);
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
            (ResourceType::Broker, Ok(id)) => call(self.node(NodeId(id)).await?).await,
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
