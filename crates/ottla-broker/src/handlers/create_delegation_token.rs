//! CreateDelegationToken (38), versions 1–3: tokens are given to authenticated clients only, and listeners here are PLAINTEXT.
//!
//! Version 2 has flexible fields, 3 an owner other than the requester. Errors: `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`,
//! `UNKNOWN_SERVER_ERROR` (an owner without a type).

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};

use crate::broker::Broker;
use crate::principal::{ANONYMOUS, USER};
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    let message: CreateDelegationTokenRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let owner = message.owner_principal_name.as_deref().filter(|name| !name.is_empty());
    let (code, principal_type, principal_name) = match (message.owner_principal_type.as_deref(), owner) {
        (_, None) => (ErrorCode::DelegationTokenRequestNotAllowed, USER, ANONYMOUS),
        (Some(kind), Some(name)) => (ErrorCode::DelegationTokenRequestNotAllowed, kind, name),
        // An owner without a type is no principal; Kafka fails on it.
        (None, Some(_)) => (ErrorCode::UnknownServerError, USER, ANONYMOUS),
    };
    let is_v3 = request.api_version >= 3;
    request.reply(&CreateDelegationTokenResponse {
        error_code: code.code(),
        principal_type: principal_type.into(),
        principal_name: principal_name.into(),
        token_requester_principal_type: if is_v3 { USER } else { "" }.into(),
        token_requester_principal_name: if is_v3 { ANONYMOUS } else { "" }.into(),
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
        ..CreateDelegationTokenResponse::default()
    })
}
