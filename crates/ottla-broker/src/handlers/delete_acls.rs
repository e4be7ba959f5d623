//! DeleteAcls (31), versions 1–3: without an authorizer there is nothing to delete.
//!
//! Version 2 has flexible fields, 3 user resources. Errors per filter: `SECURITY_DISABLED`. A filter with an unknown element
//! cannot be read, and closes the connection.

use std::sync::Arc;

use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_acls_request::DeleteAclsFilter;
use ottla_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use ottla_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use crate::acl_elements::are_known;
use crate::broker::Broker;
use crate::request::Request;

pub(crate) fn handle(_: &Arc<Broker>, request: Request) -> Outcome {
    let message: DeleteAclsRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let is_known = |filter: &DeleteAclsFilter<'_>| {
        let (resource, pattern) = (filter.resource_type_filter, filter.pattern_type_filter);
        are_known([resource, pattern, filter.operation, filter.permission_type])
    };
    if !message.filters.iter().all(is_known) {
        return Outcome::close("a filter has unknown elements");
    }
    let refused = DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured.".into()),
        ..DeleteAclsFilterResult::default()
    };
    request.reply(&DeleteAclsResponse {
        filter_results: vec![refused; message.filters.len()],
        ..DeleteAclsResponse::default()
    })
}
