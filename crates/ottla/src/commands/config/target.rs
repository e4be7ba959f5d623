//! What a configuration belongs to, as arguments.

use clap::Args;
use ottla_client::{Client, ConfigResource, ResourceType};

use crate::output::BadUsage;

/// Whose configuration.
#[derive(Debug, Args)]
#[command(next_help_heading = "Whose")]
#[group(id = "whose", required = true, args = ["topic", "broker", "broker_defaults", "broker_logger", "group",
    "client_metrics", "entity_type"])]
pub(super) struct Target {
    /// A topic's
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// A broker's
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker: Option<i32>,
    /// The defaults of all brokers
    #[arg(long)]
    broker_defaults: bool,
    /// The log levels of a broker
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(i32).range(0..))]
    broker_logger: Option<i32>,
    /// A group's
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// A subscription to metrics of clients
    #[arg(long, value_name = "NAME")]
    client_metrics: Option<String>,
    /// As in kafka-configs.sh: topics, brokers, broker-loggers, groups or client-metrics
    #[arg(long, value_name = "TYPE", hide = true)]
    entity_type: Option<String>,
    #[arg(long, value_name = "NAME", hide = true, requires = "entity_type")]
    entity_name: Option<String>,
    #[arg(long, hide = true, requires = "entity_type", conflicts_with = "entity_name")]
    entity_default: bool,
}

impl Target {
    /// The resource that is meant.
    pub(super) fn one(&self) -> Result<ConfigResource, BadUsage> {
        match (self.resource()?, &self.entity_type) {
            (Some(resource), _) => Ok(resource),
            (None, _) => Err(BadUsage("--entity-type needs --entity-name or --entity-default".to_owned())),
        }
    }

    /// Whether the arguments make sense, before a cluster is asked.
    pub(super) fn check(&self) -> Result<(), BadUsage> {
        self.resource().map(|_| ())
    }

    /// The resources that are meant: all of a type, if no name is given.
    pub(super) async fn all(&self, client: &Client) -> anyhow::Result<Vec<ConfigResource>> {
        if let Some(resource) = self.resource()? {
            return Ok(vec![resource]);
        }
        let kind = self.kind()?;
        let names = match kind {
            ResourceType::Topic => {
                let topics = client.fetch_metadata(None).await?.topics;
                topics.into_keys().map(|name| name.to_string()).collect()
            }
            ResourceType::Broker | ResourceType::BrokerLogger => {
                client.brokers().iter().map(|broker| broker.id.to_string()).collect()
            }
            ResourceType::Group | ResourceType::ClientMetrics => client.list_config_resources(kind).await?,
        };
        Ok(names.into_iter().map(|name| ConfigResource { kind, name }).collect())
    }

    fn resource(&self) -> Result<Option<ConfigResource>, BadUsage> {
        let id = |id: Option<i32>| id.map(|id| id.to_string());
        let named = [
            (ResourceType::Topic, self.topic.clone()),
            (ResourceType::Broker, id(self.broker)),
            (ResourceType::Broker, self.broker_defaults.then(String::new)),
            (ResourceType::BrokerLogger, id(self.broker_logger)),
            (ResourceType::Group, self.group.clone()),
            (ResourceType::ClientMetrics, self.client_metrics.clone()),
        ];
        for (kind, name) in named {
            if let Some(name) = name {
                return Ok(Some(ConfigResource { kind, name }));
            }
        }
        let kind = self.kind()?;
        match (&self.entity_name, self.entity_default) {
            (Some(name), _) => Ok(Some(ConfigResource { kind, name: name.clone() })),
            (None, true) if kind == ResourceType::Broker => {
                Ok(Some(ConfigResource { kind, name: String::new() }))
            }
            (None, true) => Err(BadUsage("only brokers have defaults: --broker-defaults".to_owned())),
            (None, false) => Ok(None),
        }
    }

    fn kind(&self) -> Result<ResourceType, BadUsage> {
        match self.entity_type.as_deref().unwrap_or_default() {
            "topics" => Ok(ResourceType::Topic),
            "brokers" => Ok(ResourceType::Broker),
            "broker-loggers" => Ok(ResourceType::BrokerLogger),
            "groups" => Ok(ResourceType::Group),
            "client-metrics" => Ok(ResourceType::ClientMetrics),
            "users" | "clients" | "ips" => Err(BadUsage(
                "quotas of users, clients and ips have a command of their own: 'ottla quota'".to_owned(),
            )),
            other => Err(BadUsage(format!(
                "--entity-type is '{other}', expected topics, brokers, broker-loggers, groups or client-metrics"
            ))),
        }
    }
}
