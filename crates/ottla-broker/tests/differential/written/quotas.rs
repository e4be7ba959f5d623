//! Quotas of clients: altered, described after each step, removed.

use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use super::Sequence;
use crate::client::Peer;
use crate::requests::barrier;

pub(super) const SEQUENCES: &[Sequence] = &[("quotas through changes", through_changes)];

/// Parts of an entity: type and name, `None` for the default.
type Entity = [(&'static str, Option<&'static str>)];

/// What changes of an entity: keys and values, `None` to remove.
type Change<'a> = (&'a Entity, &'a [(&'static str, Option<f64>)]);

const USER: &Entity = &[("user", Some("w-user"))];
const CLIENT: &Entity = &[("client-id", Some("w-app"))];
const BOTH: &Entity = &[("user", Some("w-user")), ("client-id", Some("w-app"))];
const ANY_CLIENT_OF: &Entity = &[("user", Some("w-user")), ("client-id", None)];
const ADDRESS: &Entity = &[("ip", Some("10.9.8.7"))];

fn altering(entities: &[Change<'_>]) -> AlterClientQuotasRequest<'static> {
    let part = |(kind, name): &(&'static str, Option<&'static str>)| EntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(Into::into),
    };
    let op = |(key, value): &(&'static str, Option<f64>)| OpData {
        key: (*key).into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    let entry = |(entity, ops): &Change<'_>| EntryData {
        entity: entity.iter().map(part).collect(),
        ops: ops.iter().map(op).collect(),
    };
    AlterClientQuotasRequest { entries: entities.iter().map(entry).collect(), validate_only: false }
}

/// What is set of this sequence's entities, asked for in several ways.
fn show(peer: &mut Peer, case: &str) {
    barrier(peer);
    let filters: [(&str, &Entity); 5] =
        [("user", USER), ("client", CLIENT), ("both", BOTH), ("any client", ANY_CLIENT_OF), ("ip", ADDRESS)];
    for (name, entity) in filters {
        for strict in [false, true] {
            let component = |(kind, name): &(&'static str, Option<&'static str>)| ComponentData {
                entity_type: (*kind).into(),
                match_type: i8::from(name.is_none()),
                r#match: name.map(Into::into),
            };
            let components = entity.iter().map(component).collect();
            let request = DescribeClientQuotasRequest { components, strict };
            peer.call(1, &format!("{name} {case}, strict: {strict}"), &request);
        }
    }
}

fn through_changes(peer: &mut Peer) {
    show(peer, "before");
    let (produce, consume, percent) = ("producer_byte_rate", "consumer_byte_rate", "request_percentage");
    let steps: &[(&str, &[Change<'_>])] = &[
        ("a user", &[(USER, &[(produce, Some(1e6)), (percent, Some(50.5))])]),
        ("a client and both", &[(CLIENT, &[(consume, Some(2e6))]), (BOTH, &[(produce, Some(3e6))])]),
        ("any client of a user", &[(ANY_CLIENT_OF, &[(consume, Some(4e6))])]),
        ("an address", &[(ADDRESS, &[("connection_creation_rate", Some(100.0))])]),
        ("changed", &[(USER, &[(produce, Some(5e6)), (percent, None)])]),
        ("removed twice", &[(USER, &[(percent, None)])]),
        ("good and bad", &[(CLIENT, &[(produce, Some(6e6))]), (ADDRESS, &[(produce, Some(1.0))])]),
        ("bad keys in one", &[(CLIENT, &[(percent, Some(7.0)), ("what", Some(1.0))])]),
        ("the same twice", &[(CLIENT, &[(percent, Some(8.0))]), (CLIENT, &[(percent, Some(9.0))])]),
        ("turned around", &[(&[("client-id", Some("w-app")), ("user", Some("w-user"))], &[(produce, None)])]),
        ("all but one", &[(USER, &[(produce, None)]), (ANY_CLIENT_OF, &[(consume, None)])]),
        (
            "all",
            &[
                (CLIENT, &[(consume, None), (produce, None), (percent, None)]),
                (ADDRESS, &[("connection_creation_rate", None)]),
            ],
        ),
    ];
    for (case, entries) in steps {
        peer.call(1, case, &altering(entries));
        show(peer, case);
    }
}
