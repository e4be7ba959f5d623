//! SaslHandshake (17), versions 0–1: a PLAINTEXT listener has no SASL mechanisms.
//!
//! Version 1 announced that SaslAuthenticate carries the exchange. Errors: `ILLEGAL_SASL_STATE`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<SaslHandshakeRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    let error_code = ErrorCode::IllegalSaslState.code();
    request.reply(&SaslHandshakeResponse { error_code, ..SaslHandshakeResponse::default() })
}
