//! DescribeClientQuotas (48), versions 0–1: the quotas of the entities that a filter names (KIP-546).
//!
//! Version 1 has flexible fields. Errors: `INVALID_REQUEST` (a filter that makes no sense), `UNSUPPORTED_VERSION` (an entity type
//! that is not `user`, `client-id` or `ip`).

use std::sync::Arc;

use ottla_metadata::image::{QuotaEntity, Quotas};
use ottla_net::Outcome;
use ottla_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use ottla_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeClientQuotasRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let image = broker.image();
    match image.quotas().describe(&message) {
        Ok(found) => request.reply(&DescribeClientQuotasResponse {
            entries: Some(found.into_iter().map(entry).collect()),
            ..DescribeClientQuotasResponse::default()
        }),
        Err(error) => request.reply(&DescribeClientQuotasResponse {
            error_code: error.code.code(),
            error_message: error.message.map(Into::into),
            entries: None,
            ..DescribeClientQuotasResponse::default()
        }),
    }
}

fn entry((entity, quotas): (&QuotaEntity, &Quotas)) -> EntryData<'static> {
    let part = |(kind, name): (&String, &Option<String>)| EntityData {
        entity_type: kind.clone().into(),
        entity_name: name.clone().map(Into::into),
    };
    let value = |(key, value): (&String, &f64)| ValueData { key: key.clone().into(), value: *value };
    EntryData { entity: entity.0.iter().map(part).collect(), values: quotas.iter().map(value).collect() }
}
