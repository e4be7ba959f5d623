//! IncrementalAlterConfigs (44), versions 0–1: changes single keys of topics, brokers, groups and client metrics.
//!
//! Changes of brokers are checked here, where the configuration is, then all is handed to the controller. Errors per
//! resource: `INVALID_CONFIG`, `INVALID_REQUEST`, `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`, `NOT_CONTROLLER`.

use std::sync::Arc;

use ottla_config::{AlterOp, Change, ConfigError, apply_broker_changes};
use ottla_metadata::image::ResourceKind;
use ottla_net::Outcome;
use ottla_protocol::messages::IncrementalAlterConfigsRequest;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;

use crate::broker::Broker;
use crate::config_changes::{ChangedKey, Refusal, check_broker, check_resource, refuse_twins};
use crate::request::Request;

/// The operation that takes no value.
const DELETE: i8 = 1;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let refused = match request.decode::<IncrementalAlterConfigsRequest<'_>>() {
        Ok(message) => refused(broker, &message),
        Err(error) => return Outcome::close(error.to_string()),
    };
    broker.controller.answer(request, move |controller, _, _, request| {
        let mut message: IncrementalAlterConfigsRequest<'_> = request.decode().expect("decoded once already");
        let asked = std::mem::take(&mut message.resources);
        let remaining = asked.iter().zip(&refused).filter(|(_, refusal)| refusal.is_none());
        message.resources = remaining.map(|(resource, _)| resource.clone()).collect();
        let decision = controller.incremental_alter_configs(&message).map(|mut response| {
            let mut decided = response.responses.into_iter();
            let answers = asked.iter().zip(refused).map(|(resource, refusal)| match refusal {
                Some(refusal) => refuse(resource, refusal),
                None => decided.next().expect("the controller answers for each resource, in order"),
            });
            response.responses = answers.collect();
            response
        });
        if message.validate_only { decision.without_records() } else { decision }
    })
}

fn refuse(resource: &AlterConfigsResource<'_>, refusal: Refusal) -> AlterConfigsResourceResponse<'static> {
    AlterConfigsResourceResponse {
        error_code: refusal.code.code(),
        error_message: Some(refusal.text.into()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_string().into(),
    }
}

/// What a broker must refuse before the controller sees it, for each resource.
fn refused(broker: &Broker, message: &IncrementalAlterConfigsRequest<'_>) -> Vec<Option<Refusal>> {
    let mut refused =
        refuse_twins(message.resources.iter().map(|r| (r.resource_type, r.resource_name.as_ref())));
    for (resource, refusal) in message.resources.iter().zip(&mut refused) {
        *refusal = refusal.take().or_else(|| check(broker, resource).err());
    }
    refused
}

fn check(broker: &Broker, resource: &AlterConfigsResource<'_>) -> Result<(), Refusal> {
    let lacks_value = |c: &AlterableConfig<'_>| c.config_operation != DELETE && c.value.is_none();
    let keys = resource.configs.iter();
    let keys = keys.map(|change| ChangedKey { name: &change.name, lacks_value: lacks_value(change) });
    match check_resource(resource.resource_type, keys)? {
        ResourceKind::Broker => check_broker(broker, &resource.resource_name, |current| {
            let changes = resource.configs.iter().map(to_change).collect::<Result<Vec<_>, _>>()?;
            apply_broker_changes(current, &changes)
        }),
        ResourceKind::BrokerLogger => Err(Refusal::request(
            "Log levels cannot be changed over the wire; use the --log option of the server",
        )),
        ResourceKind::Topic | ResourceKind::ClientMetrics | ResourceKind::Group => Ok(()),
    }
}

fn to_change<'a>(change: &'a AlterableConfig<'a>) -> Result<Change<'a>, ConfigError> {
    let op = AlterOp::from_id(change.config_operation)
        .ok_or_else(|| ConfigError::request(format!("Unknown operation type {}", change.config_operation)))?;
    Ok(Change { name: &change.name, op, value: change.value.as_deref() })
}
