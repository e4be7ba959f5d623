//! Requests about security where there is none: access control lists without an authorizer, tokens and SASL on PLAINTEXT.

use ottla_protocol::messages::create_acls_request::AclCreation;
use ottla_protocol::messages::create_delegation_token_request::CreatableRenewers;
use ottla_protocol::messages::delete_acls_request::DeleteAclsFilter;
use ottla_protocol::messages::describe_delegation_token_request::DescribeDelegationTokenOwner;
use ottla_protocol::messages::{
    CreateAclsRequest, CreateDelegationTokenRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeDelegationTokenRequest, ExpireDelegationTokenRequest, RenewDelegationTokenRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest,
};

use crate::client::{Peer, versions};

pub(crate) fn script(peer: &mut Peer) {
    acls(peer);
    tokens(peer);
    sasl(peer);
}

/// Resource, pattern, operation, permission: from right to out of range on either side.
const ELEMENTS: &[(&str, [i8; 4])] = &[
    ("literal topic", [2, 3, 3, 3]),
    ("any", [1, 1, 1, 1]),
    ("match", [2, 2, 2, 2]),
    ("prefixed user", [7, 4, 15, 3]),
    ("cluster", [4, 3, 9, 2]),
    ("unknown resource", [0, 3, 3, 3]),
    ("no such resource", [8, 3, 3, 3]),
    ("unknown pattern", [2, 0, 3, 3]),
    ("no such pattern", [2, 5, 3, 3]),
    ("unknown operation", [2, 3, 0, 3]),
    ("no such operation", [2, 3, 16, 3]),
    ("unknown permission", [2, 3, 3, 0]),
    ("no such permission", [2, 3, 3, 4]),
    ("negative", [-1, -1, -1, -1]),
];

fn acls(peer: &mut Peer) {
    for version in versions::<DescribeAclsRequest<'_>>() {
        for (case, [resource_type_filter, pattern_type_filter, operation, permission_type]) in ELEMENTS {
            let filter = DescribeAclsRequest {
                resource_type_filter: *resource_type_filter,
                resource_name_filter: Some("name".into()),
                pattern_type_filter: *pattern_type_filter,
                principal_filter: None,
                host_filter: Some("*".into()),
                operation: *operation,
                permission_type: *permission_type,
            };
            peer.call(version, case, &filter);
        }
    }
    for version in versions::<CreateAclsRequest<'_>>() {
        for (case, [resource_type, resource_pattern_type, operation, permission_type]) in ELEMENTS {
            let entry = AclCreation {
                resource_type: *resource_type,
                resource_name: "name".into(),
                resource_pattern_type: *resource_pattern_type,
                principal: "User:alice".into(),
                host: "*".into(),
                operation: *operation,
                permission_type: *permission_type,
            };
            peer.call(version, case, &CreateAclsRequest { creations: vec![entry] });
        }
        let entry = AclCreation {
            resource_type: 2,
            resource_name: "".into(),
            resource_pattern_type: 3,
            principal: "alice".into(),
            host: "".into(),
            operation: 3,
            permission_type: 3,
        };
        peer.call(version, "two odd ones", &CreateAclsRequest { creations: vec![entry.clone(), entry] });
        peer.call(version, "none", &CreateAclsRequest::default());
    }
    for version in versions::<DeleteAclsRequest<'_>>() {
        for (case, [resource_type_filter, pattern_type_filter, operation, permission_type]) in ELEMENTS {
            let filter = DeleteAclsFilter {
                resource_type_filter: *resource_type_filter,
                resource_name_filter: None,
                pattern_type_filter: *pattern_type_filter,
                principal_filter: Some("User:alice".into()),
                host_filter: None,
                operation: *operation,
                permission_type: *permission_type,
            };
            peer.call(version, case, &DeleteAclsRequest { filters: vec![filter.clone()] });
            if *case == "any" {
                peer.call(version, "two", &DeleteAclsRequest { filters: vec![filter.clone(), filter] });
            }
        }
        peer.call(version, "none", &DeleteAclsRequest::default());
    }
}

fn tokens(peer: &mut Peer) {
    for version in versions::<CreateDelegationTokenRequest<'_>>() {
        let renewer = |kind: &'static str| CreatableRenewers {
            principal_type: kind.into(),
            principal_name: "alice".into(),
        };
        let plain = CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() };
        peer.call(version, "plain", &plain);
        let renewers = vec![renewer("User"), renewer("Other")];
        peer.call(version, "renewers", &CreateDelegationTokenRequest { renewers, ..plain.clone() });
        if version >= 3 {
            for (case, kind, name) in [
                ("owner", Some("User"), Some("alice")),
                ("owner of another type", Some("Other"), Some("alice")),
                ("owner without name", Some("User"), None),
                ("owner with an empty name", Some("User"), Some("")),
                ("owner without type", None, Some("alice")),
                ("owner with an empty type", Some(""), Some("alice")),
            ] {
                let request = CreateDelegationTokenRequest {
                    owner_principal_type: kind.map(Into::into),
                    owner_principal_name: name.map(Into::into),
                    ..plain.clone()
                };
                peer.call(version, case, &request);
            }
        }
    }
    for version in versions::<RenewDelegationTokenRequest<'_>>() {
        let request = RenewDelegationTokenRequest { hmac: vec![1; 8].into(), renew_period_ms: 5 };
        peer.call(version, "any", &request);
    }
    for version in versions::<ExpireDelegationTokenRequest<'_>>() {
        let request = ExpireDelegationTokenRequest { hmac: vec![1; 8].into(), expiry_time_period_ms: -1 };
        peer.call(version, "any", &request);
    }
    for version in versions::<DescribeDelegationTokenRequest<'_>>() {
        let owner =
            DescribeDelegationTokenOwner { principal_type: "User".into(), principal_name: "alice".into() };
        for (case, owners) in [("all", None), ("none", Some(vec![])), ("one", Some(vec![owner]))] {
            peer.call(version, case, &DescribeDelegationTokenRequest { owners });
        }
    }
}

fn sasl(peer: &mut Peer) {
    for version in versions::<SaslHandshakeRequest<'_>>() {
        for mechanism in ["PLAIN", "NO-SUCH", ""] {
            peer.call(version, mechanism, &SaslHandshakeRequest { mechanism: mechanism.into() });
        }
    }
    for version in versions::<SaslAuthenticateRequest<'_>>() {
        peer.call(
            version,
            "plain",
            &SaslAuthenticateRequest { auth_bytes: b"\0user\0password".to_vec().into() },
        );
        peer.call(version, "empty", &SaslAuthenticateRequest { auth_bytes: vec![].into() });
    }
}
