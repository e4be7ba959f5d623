//! AlterConfigs (33), versions 0–2: replaces all that is set on topics, brokers, groups and client metrics.
//!
//! What the request does not name goes back to its default; IncrementalAlterConfigs is the better request (KIP-339). Changes
//! of brokers are checked here, where the configuration is, then all is handed to the controller. Version 2 has flexible
//! fields. Errors per resource: `INVALID_CONFIG`, `INVALID_REQUEST` (also for loggers), `UNKNOWN_TOPIC_OR_PARTITION`,
//! `INVALID_TOPIC_EXCEPTION`, `NOT_CONTROLLER`.

use std::sync::Arc;

use ottla_metadata::image::ResourceKind;
use ottla_net::Outcome;
use ottla_protocol::messages::AlterConfigsRequest;
use ottla_protocol::messages::alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;

use crate::broker::Broker;
use crate::config_changes::{ChangedKey, Refusal, check_broker, check_resource, refuse_twins, unknown_kind};
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let refused = match request.decode::<AlterConfigsRequest<'_>>() {
        Ok(message) => refused(broker, &message),
        Err(error) => return Outcome::close(error.to_string()),
    };
    broker.controller.answer(request, move |controller, _, _, request| {
        let mut message: AlterConfigsRequest<'_> = request.decode().expect("decoded once already");
        let asked = std::mem::take(&mut message.resources);
        let remaining = asked.iter().zip(&refused).filter(|(_, refusal)| refusal.is_none());
        message.resources = remaining.map(|(resource, _)| resource.clone()).collect();
        let decision = controller.alter_configs(&message).map(|mut response| {
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
fn refused(broker: &Broker, message: &AlterConfigsRequest<'_>) -> Vec<Option<Refusal>> {
    let mut refused =
        refuse_twins(message.resources.iter().map(|r| (r.resource_type, r.resource_name.as_ref())));
    for (resource, refusal) in message.resources.iter().zip(&mut refused) {
        *refusal = refusal.take().or_else(|| check(broker, resource).err());
    }
    refused
}

fn check(broker: &Broker, resource: &AlterConfigsResource<'_>) -> Result<(), Refusal> {
    let keys = resource.configs.iter();
    let keys = keys.map(|change| ChangedKey { name: &change.name, lacks_value: change.value.is_none() });
    match check_resource(resource.resource_type, keys)? {
        ResourceKind::Broker => check_broker(broker, &resource.resource_name, |_| {
            let set = resource.configs.iter();
            Ok(set.map(|c| (c.name.to_string(), c.value.as_deref().unwrap_or_default().to_owned())).collect())
        }),
        ResourceKind::BrokerLogger => Err(unknown_kind(resource.resource_type)),
        ResourceKind::Topic | ResourceKind::ClientMetrics | ResourceKind::Group => Ok(()),
    }
}
