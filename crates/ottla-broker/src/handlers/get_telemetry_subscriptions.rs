//! GetTelemetrySubscriptions (71), version 0: which metrics a client is to push, and how often (KIP-714).
//!
//! Answered always, advertised only with `ottla.client.telemetry.enable`. Error: `THROTTLING_QUOTA_EXCEEDED` (asked again before the
//! push interval is over).

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
use ottla_record::Compression;

use crate::broker::Broker;
use crate::request::Request;
use crate::telemetry::Caller;

/// Codecs of pushes, best first.
const ACCEPTED: [Compression; 4] =
    [Compression::Zstd, Compression::Lz4, Compression::Gzip, Compression::Snappy];

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: GetTelemetrySubscriptionsRequest = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let attributes = request.session.telemetry_client(request.client_id());
    let caller = Caller { connection: request.session.connection.id, attributes: &attributes };
    match broker.telemetry.get(message.client_instance_id, caller) {
        Ok(granted) => request.reply(&GetTelemetrySubscriptionsResponse {
            client_instance_id: granted.instance,
            subscription_id: granted.subscription_id,
            accepted_compression_types: ACCEPTED.iter().map(|codec| codec.id().cast_signed()).collect(),
            push_interval_ms: granted.interval_ms,
            telemetry_max_bytes: broker.telemetry.max_bytes(),
            delta_temporality: true,
            requested_metrics: granted.metrics.into_iter().map(Into::into).collect(),
            ..GetTelemetrySubscriptionsResponse::default()
        }),
        Err(code) => request.reply(&GetTelemetrySubscriptionsResponse {
            error_code: code.code(),
            ..GetTelemetrySubscriptionsResponse::default()
        }),
    }
}
