//! ListConfigResources (74), versions 0–1: what has a configuration that can be described (KIP-1142).
//!
//! Version 0 was ListClientMetricsResources: only those (KIP-714). Version 1 lists the types asked for, or all: topics, brokers
//! and their loggers, and of groups and client metrics those that something is set on. Errors: `UNSUPPORTED_VERSION` (another
//! type).

use std::sync::Arc;

use ottla_metadata::image::{MetadataImage, ResourceKind};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::list_config_resources_response::ConfigResource;
use ottla_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::broker::Broker;
use crate::request::Request;

const ALL: &[ResourceKind] = &[
    ResourceKind::Group,
    ResourceKind::ClientMetrics,
    ResourceKind::BrokerLogger,
    ResourceKind::Broker,
    ResourceKind::Topic,
];

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: ListConfigResourcesRequest = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let served = if request.api_version == 0 { &[ResourceKind::ClientMetrics][..] } else { ALL };
    let is_served = |id: &i8| served.iter().any(|kind| kind.id() == *id);
    if !message.resource_types.iter().all(is_served) {
        return request.reply(&ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            ..ListConfigResourcesResponse::default()
        });
    }
    let image = broker.image();
    let is_wanted = |kind: &ResourceKind| {
        message.resource_types.is_empty() || message.resource_types.contains(&kind.id())
    };
    let listener = &request.session.connection.listener;
    let mut config_resources = Vec::new();
    for kind in served.iter().copied().filter(is_wanted) {
        let resource = |name: String| ConfigResource { resource_name: name.into(), resource_type: kind.id() };
        config_resources.extend(names(broker, &image, kind, listener).into_iter().map(resource));
    }
    request.reply(&ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() })
}

fn names(broker: &Broker, image: &MetadataImage, kind: ResourceKind, listener: &str) -> Vec<String> {
    match kind {
        ResourceKind::Topic => image.topics().iter().map(|topic| topic.name.to_string()).collect(),
        ResourceKind::Broker | ResourceKind::BrokerLogger => {
            broker.endpoints(image, listener).into_iter().map(|node| node.id.to_string()).collect()
        }
        ResourceKind::Group | ResourceKind::ClientMetrics => {
            let of_kind = image.configs().iter().filter(|(resource, _)| resource.kind == kind);
            of_kind.map(|(resource, _)| resource.name.to_string()).collect()
        }
    }
}
