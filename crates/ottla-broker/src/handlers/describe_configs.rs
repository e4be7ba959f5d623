//! DescribeConfigs (32), versions 1–4: effective configuration of topics, brokers and groups, with where it comes from, and the
//! log levels of this process.
//!
//! Version 1 has synonyms, 3 types and documentation, 4 flexible fields. Errors per resource: `UNKNOWN_TOPIC_OR_PARTITION`,
//! `INVALID_TOPIC_EXCEPTION`, `INVALID_REQUEST` (another broker, an unknown type), `INVALID_CONFIG`.

use std::sync::Arc;

use ottla_config::{
    ConfigEntry, ConfigSource, describe_broker, describe_client_metrics, describe_cluster, describe_group,
    describe_topic,
};
use ottla_metadata::image::{ConfigResource, MetadataImage, ResourceKind};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use ottla_types::TopicName;

use crate::broker::{Broker, props, topic_overrides};
use crate::log_levels::LogLevel;
use crate::request::Request;

type Refusal = (ErrorCode, Option<String>);

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeConfigsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let image = broker.image();
    let describe = |resource: &DescribeConfigsResource<'_>| {
        let base = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.to_string().into(),
            ..DescribeConfigsResult::default()
        };
        match entries(broker, &image, resource) {
            Ok(entries) => DescribeConfigsResult {
                configs: entries
                    .into_iter()
                    .filter(|entry| is_wanted(resource, &entry.name))
                    .map(|entry| result(entry, &message))
                    .collect(),
                ..base
            },
            Err((code, text)) => {
                let text = text.unwrap_or_else(|| code.message().to_owned());
                DescribeConfigsResult { error_code: code.code(), error_message: Some(text.into()), ..base }
            }
        }
    };
    request.reply(&DescribeConfigsResponse {
        results: message.resources.iter().map(describe).collect(),
        ..DescribeConfigsResponse::default()
    })
}

fn is_wanted(resource: &DescribeConfigsResource<'_>, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    }
}

fn entries(
    broker: &Broker,
    image: &MetadataImage,
    resource: &DescribeConfigsResource<'_>,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let name = resource.resource_name.as_ref();
    let config = broker.config();
    let overrides = |kind| {
        let found = image.configs().config(&ConfigResource::new(kind, name));
        found.map(|config| props(config)).unwrap_or_default()
    };
    let invalid = |error: ottla_config::ConfigError| (ErrorCode::InvalidConfig, Some(error.message));
    match ResourceKind::from_id(resource.resource_type) {
        Some(ResourceKind::Topic) => {
            if let Err(error) = TopicName::check(name) {
                return Err((ErrorCode::InvalidTopicException, Some(error.to_string())));
            }
            if image.topics().by_name(name).is_none() {
                return Err((ErrorCode::UnknownTopicOrPartition, Some(String::new())));
            }
            describe_topic(&config, &topic_overrides(image, name)).map_err(invalid)
        }
        Some(ResourceKind::Broker) if name.is_empty() => Ok(describe_cluster(&config)),
        Some(ResourceKind::Broker) if name == broker.node_id.to_string() => Ok(describe_broker(&config)),
        Some(ResourceKind::BrokerLogger) if name.is_empty() => {
            Err((ErrorCode::InvalidRequest, Some("Broker id must not be empty".to_owned())))
        }
        Some(ResourceKind::BrokerLogger) if name == broker.node_id.to_string() => Ok(loggers(broker)),
        Some(ResourceKind::Broker | ResourceKind::BrokerLogger) => {
            let text = match name.parse::<i32>() {
                Ok(_) => format!(
                    "Unexpected broker id, expected {} or empty string, but received {name}",
                    broker.node_id
                ),
                Err(_) => format!("Broker id must be an integer, but it is: {name}"),
            };
            Err((ErrorCode::InvalidRequest, Some(text)))
        }
        Some(ResourceKind::ClientMetrics | ResourceKind::Group) if name.is_empty() => {
            Err((ErrorCode::InvalidRequest, Some("The name of the resource must not be empty".to_owned())))
        }
        Some(kind @ ResourceKind::ClientMetrics) => {
            describe_client_metrics(&overrides(kind)).map_err(invalid)
        }
        Some(kind @ ResourceKind::Group) => describe_group(&config, &overrides(kind)).map_err(invalid),
        None => {
            let text = format!("Unsupported resource type: {}", resource.resource_type);
            Err((ErrorCode::InvalidRequest, Some(text)))
        }
    }
}

fn loggers(broker: &Broker) -> Vec<ConfigEntry> {
    let entry = |(name, level): (String, LogLevel)| ConfigEntry {
        name,
        value: Some(level.name().to_owned()),
        read_only: false,
        source: ConfigSource::DynamicBrokerLogger,
        is_sensitive: false,
        synonyms: Vec::new(),
        config_type: 0,
        documentation: Some(""),
    };
    broker.log_levels.list().into_iter().map(entry).collect()
}

fn result(entry: ConfigEntry, asked: &DescribeConfigsRequest<'_>) -> DescribeConfigsResourceResult<'static> {
    // Kafka leaves that of loggers empty instead of null, whether it is asked for or not.
    let has_documentation = asked.include_documentation || entry.source == ConfigSource::DynamicBrokerLogger;
    let synonyms = entry.synonyms.into_iter().filter(|_| asked.include_synonyms);
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.is_sensitive,
        synonyms: synonyms
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name.into(),
                value: synonym.value.map(Into::into),
                source: synonym.source.id(),
            })
            .collect(),
        config_type: entry.config_type,
        documentation: entry.documentation.filter(|_| has_documentation).map(Into::into),
    }
}
