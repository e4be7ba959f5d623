//! CreateAcls (30), versions 1–3: without an authorizer nothing is created.
//!
//! Version 2 has flexible fields, 3 user resources. Errors per entry: `SECURITY_DISABLED`. An entry with an unknown element
//! cannot be read, and closes the connection.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_acls_request::AclCreation;
use ottla_protocol::messages::create_acls_response::AclCreationResult;
use ottla_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use crate::acl_elements::are_known;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    let message: CreateAclsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let is_known = |entry: &AclCreation<'_>| {
        let (resource, pattern) = (entry.resource_type, entry.resource_pattern_type);
        are_known([resource, pattern, entry.operation, entry.permission_type])
    };
    if !message.creations.iter().all(is_known) {
        return Outcome::close("an entry has unknown elements");
    }
    let refused = AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured.".into()),
    };
    request.reply(&CreateAclsResponse {
        results: vec![refused; message.creations.len()],
        ..CreateAclsResponse::default()
    })
}
