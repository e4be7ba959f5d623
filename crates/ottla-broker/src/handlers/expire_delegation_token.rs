//! ExpireDelegationToken (40), versions 1–2: for authenticated clients only, and listeners here are PLAINTEXT.
//!
//! Version 2 has flexible fields. Errors: `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<ExpireDelegationTokenRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    request.reply(&ExpireDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        expiry_timestamp_ms: -1,
        ..ExpireDelegationTokenResponse::default()
    })
}
