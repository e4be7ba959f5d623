//! PushTelemetry (72), version 0: takes the metrics that a client was asked for (KIP-714).
//!
//! Errors: `INVALID_REQUEST`, `THROTTLING_QUOTA_EXCEEDED`, `UNKNOWN_SUBSCRIPTION_ID`, `UNSUPPORTED_COMPRESSION_TYPE`,
//! `TELEMETRY_TOO_LARGE`, `INVALID_RECORD` (metrics that cannot be read).

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};

use crate::broker::Broker;
use crate::request::Request;
use crate::telemetry::{Caller, Push};

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: PushTelemetryRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let attributes = request.session.telemetry_client(request.client_id());
    let caller = Caller { connection: request.session.connection.id, attributes: &attributes };
    let push = Push {
        instance: message.client_instance_id,
        subscription_id: message.subscription_id,
        terminating: message.terminating,
        compression_type: message.compression_type,
        bytes: message.metrics.len(),
    };
    let error_code =
        broker.telemetry.push(push, &message.metrics, caller).err().map_or(0, |code| code.code());
    request.reply(&PushTelemetryResponse { error_code, ..PushTelemetryResponse::default() })
}
