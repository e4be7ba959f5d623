//! DescribeDelegationToken (41), versions 1–3: for authenticated clients only, and listeners here are PLAINTEXT.
//!
//! Version 2 has flexible fields, 3 the requester of a token. Errors: `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};

use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    if let Err(error) = request.decode::<DescribeDelegationTokenRequest<'_>>() {
        return Outcome::close(error.to_string());
    }
    request.reply(&DescribeDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        ..DescribeDelegationTokenResponse::default()
    })
}
