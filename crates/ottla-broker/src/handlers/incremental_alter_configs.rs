//! IncrementalAlterConfigs (44), versions 0–1: changes single keys of topics, brokers, groups and client metrics.
//!
//! Changes of brokers are checked here, where the configuration is, then all is handed to the controller. Errors per
//! resource: `INVALID_CONFIG`, `INVALID_REQUEST`, `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`, `NOT_CONTROLLER`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_config::{AlterOp, Change, ConfigError, ErrorKind, apply_broker_changes, validate_broker_change};
use ottla_metadata::image::ResourceKind;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;

use crate::broker::Broker;
use crate::request::Request;

/// The operation that takes no value.
const DELETE: i8 = 1;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let refused: Vec<AlterConfigsResourceResponse<'static>> = {
        let message: IncrementalAlterConfigsRequest<'_> = match request.decode() {
            Ok(message) => message,
            Err(error) => return Outcome::close(error.to_string()),
        };
        let is_same = |a: &AlterConfigsResource<'_>, b: &AlterConfigsResource<'_>| {
            a.resource_type == b.resource_type && a.resource_name == b.resource_name
        };
        let check = |resource: &AlterConfigsResource<'_>| {
            if message.resources.iter().filter(|other| is_same(other, resource)).count() > 1 {
                let text = "Each resource must appear at most once.".to_owned();
                return Some(refuse(resource, ErrorCode::InvalidRequest, text));
            }
            check(broker, resource).err()
        };
        message.resources.iter().filter_map(check).collect()
    };
    broker.controller.answer(request, move |controller, _, _, request| {
        let mut message: IncrementalAlterConfigsRequest<'_> = request.decode().expect("decoded once already");
        let is_refused = |resource: &AlterConfigsResource<'_>| {
            refused.iter().any(|answer| {
                answer.resource_type == resource.resource_type
                    && answer.resource_name == resource.resource_name
            })
        };
        message.resources.retain(|resource| !is_refused(resource));
        let decision = controller.incremental_alter_configs(&message).map(|mut response| {
            response.responses.extend(refused);
            response
        });
        if message.validate_only { decision.without_records() } else { decision }
    })
}

fn refuse(
    resource: &AlterConfigsResource<'_>,
    code: ErrorCode,
    text: String,
) -> AlterConfigsResourceResponse<'static> {
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: Some(text.into()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string().into(),
    }
}

/// What is wrong with a change of any kind of resource (`ConfigAdminManager.preprocess`).
fn malformed(resource: &AlterConfigsResource<'_>) -> Option<String> {
    let mut keys = BTreeSet::new();
    if !resource.configs.iter().all(|change| keys.insert(change.name.as_ref())) {
        return Some("Error due to duplicate config keys".to_owned());
    }
    let has_no_value =
        |change: &&AlterableConfig<'_>| change.config_operation != DELETE && change.value.is_none();
    let nulls = resource.configs.iter().filter(has_no_value).map(|change| change.name.as_ref());
    let nulls = nulls.collect::<Vec<_>>().join(", ");
    (!nulls.is_empty()).then(|| format!("Null value not supported for: {nulls}"))
}

/// What a broker must refuse before the controller sees it.
fn check(
    broker: &Broker,
    resource: &AlterConfigsResource<'_>,
) -> Result<(), AlterConfigsResourceResponse<'static>> {
    let refuse = |code: ErrorCode, text: String| refuse(resource, code, text);
    if let Some(text) = malformed(resource) {
        return Err(refuse(ErrorCode::InvalidRequest, text));
    }
    match ResourceKind::from_id(resource.resource_type) {
        Some(ResourceKind::Broker) => {}
        Some(ResourceKind::BrokerLogger) => {
            let text =
                "Log levels cannot be changed over the wire; use the --log option of the server".to_owned();
            return Err(refuse(ErrorCode::InvalidRequest, text));
        }
        Some(_) => return Ok(()),
        None => {
            let text = format!("Unknown resource type {}", resource.resource_type);
            return Err(refuse(ErrorCode::InvalidRequest, text));
        }
    }
    let name = resource.resource_name.as_ref();
    let per_broker = !name.is_empty();
    if per_broker && name != broker.node_id.to_string() {
        let text = format!("Unexpected broker id, expected {}, but received {name}", broker.node_id);
        return Err(refuse(ErrorCode::InvalidRequest, text));
    }
    let config = broker.config();
    let checked = || -> Result<(), ConfigError> {
        let changes = resource
            .configs
            .iter()
            .map(|change| {
                let op = AlterOp::from_id(change.config_operation).ok_or_else(|| {
                    ConfigError::request(format!("Unknown operation type {}", change.config_operation))
                })?;
                Ok(Change { name: &change.name, op, value: change.value.as_deref() })
            })
            .collect::<Result<Vec<_>, ConfigError>>()?;
        let current = if per_broker { config.broker_props() } else { config.cluster_props() };
        let new = apply_broker_changes(current, &changes)?;
        validate_broker_change(&config, &new, per_broker)
    };
    checked().map_err(|error| {
        let code = match error.kind {
            ErrorKind::InvalidConfig => ErrorCode::InvalidConfig,
            ErrorKind::InvalidRequest => ErrorCode::InvalidRequest,
        };
        refuse(code, error.message)
    })
}
