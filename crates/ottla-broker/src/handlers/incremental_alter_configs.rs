//! IncrementalAlterConfigs (44), versions 0–1: changes single keys of topics, brokers, groups and client metrics.
//!
//! Log levels are changed here, for as long as the process runs. Changes of brokers are checked here, where the configuration is,
//! then all else is handed to the controller. Errors per resource: `INVALID_CONFIG`, `INVALID_REQUEST`,
//! `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`, `NOT_CONTROLLER`.

use std::sync::Arc;

use ottla_config::{AlterOp, Change, ConfigError, apply_broker_changes};
use ottla_metadata::image::ResourceKind;
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;

use crate::broker::Broker;
use crate::config_changes::{
    ChangedKey, Refusal, check_broker, check_is_this_broker, check_resource, refuse_twins,
};
use crate::logger_changes;
use crate::request::Request;

/// The operation that takes no value.
const DELETE: i8 = 1;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let settled = match request.decode::<IncrementalAlterConfigsRequest<'_>>() {
        Ok(message) => settled(broker, &message),
        Err(error) => return Outcome::close(error.to_string()),
    };
    broker.controller.answer(request, move |controller, _, _, request| {
        let mut message: IncrementalAlterConfigsRequest<'_> = request.decode().expect("decoded once already");
        let asked = std::mem::take(&mut message.resources);
        let remaining = asked.iter().zip(&settled).filter(|(_, settled)| settled.is_none());
        message.resources = remaining.map(|(resource, _)| resource.clone()).collect();
        let decision = controller.incremental_alter_configs(&message).map(|mut response| {
            let mut decided = response.responses.into_iter();
            let answers = asked.iter().zip(settled).map(|(resource, settled)| match settled {
                Some(result) => answer(resource, result),
                None => decided.next().expect("the controller answers for each resource, in order"),
            });
            response.responses = answers.collect();
            response
        });
        if message.validate_only { decision.without_records() } else { decision }
    })
}

fn answer(
    resource: &AlterConfigsResource<'_>,
    result: Result<(), Refusal>,
) -> AlterConfigsResourceResponse<'static> {
    let (error_code, error_message) = match result {
        Ok(()) => (ErrorCode::None, None),
        Err(refusal) => (refusal.code, Some(refusal.text.into())),
    };
    AlterConfigsResourceResponse {
        error_code: error_code.code(),
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string().into(),
    }
}

/// What a broker settles without the controller, for each resource: what it refuses, and log levels.
fn settled(
    broker: &Broker,
    message: &IncrementalAlterConfigsRequest<'_>,
) -> Vec<Option<Result<(), Refusal>>> {
    let twins = refuse_twins(message.resources.iter().map(|r| (r.resource_type, r.resource_name.as_ref())));
    let settle = |(resource, twin): (&AlterConfigsResource<'_>, Option<Refusal>)| match twin {
        Some(refusal) => Some(Err(refusal)),
        None => settle(broker, resource, message.validate_only).transpose(),
    };
    message.resources.iter().zip(twins).map(settle).collect()
}

/// `Some` when the change is made; `None` when the controller is to make it.
fn settle(
    broker: &Broker,
    resource: &AlterConfigsResource<'_>,
    validate_only: bool,
) -> Result<Option<()>, Refusal> {
    let lacks_value = |c: &AlterableConfig<'_>| c.config_operation != DELETE && c.value.is_none();
    let keys = resource.configs.iter();
    let keys = keys.map(|change| ChangedKey { name: &change.name, lacks_value: lacks_value(change) });
    match check_resource(resource.resource_type, keys)? {
        ResourceKind::Broker => {
            check_broker(broker, &resource.resource_name, |current| {
                let changes = resource.configs.iter().map(to_change).collect::<Result<Vec<_>, _>>()?;
                apply_broker_changes(current, &changes)
            })?;
            Ok(None)
        }
        ResourceKind::BrokerLogger => {
            check_is_this_broker(broker, &resource.resource_name)?;
            logger_changes::change(&broker.log_levels, &resource.configs, validate_only).map(Some)
        }
        ResourceKind::Topic | ResourceKind::ClientMetrics | ResourceKind::Group => Ok(None),
    }
}

fn to_change<'a>(change: &'a AlterableConfig<'a>) -> Result<Change<'a>, ConfigError> {
    let op = AlterOp::from_id(change.config_operation)
        .ok_or_else(|| ConfigError::request(format!("Unknown operation type {}", change.config_operation)))?;
    Ok(Change { name: &change.name, op, value: change.value.as_deref() })
}
