//! DescribeAcls (29), versions 1–3: without an authorizer there are no access control lists.
//!
//! Version 2 has flexible fields, 3 user resources. Errors: `SECURITY_DISABLED`. A filter with an unknown element cannot be
//! read, and closes the connection.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use crate::acl_elements::are_known;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    let message: DescribeAclsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let is_known = are_known([
        message.resource_type_filter,
        message.pattern_type_filter,
        message.operation,
        message.permission_type,
    ]);
    if !is_known {
        return Outcome::close("the filter has unknown elements");
    }
    request.reply(&DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured on the broker".into()),
        ..DescribeAclsResponse::default()
    })
}
