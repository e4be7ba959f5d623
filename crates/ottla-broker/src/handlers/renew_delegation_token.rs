//! RenewDelegationToken (39), versions 1–2: for authenticated clients only, and listeners here are PLAINTEXT.
//!
//! Version 2 has flexible fields. Errors: `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<RenewDelegationTokenRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    request.reply(&RenewDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        expiry_timestamp_ms: -1,
        ..RenewDelegationTokenResponse::default()
    })
}
