//! SaslAuthenticate (36), versions 0–2: a PLAINTEXT listener authenticates nobody.
//!
//! Version 1 added the session's lifetime, 2 has flexible fields. Errors: `ILLEGAL_SASL_STATE`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<SaslAuthenticateRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    let text = "SaslAuthenticate request received after successful authentication";
    request.reply(&SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some(text.into()),
        ..SaslAuthenticateResponse::default()
    })
}
