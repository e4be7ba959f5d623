//! DescribeClientQuotas, AlterClientQuotas, and that a client above its quota is throttled as long as Kafka does, roughly.

use std::ops::RangeInclusive;

use ottla_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::{
    AlterClientQuotasRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClientQuotasRequest,
    FetchRequest, MetadataRequest,
};
use ottla_record::BatchBuilder;

use crate::client::{Peer, versions};
use crate::requests::{T0, append, create, make_topic, metadata_of, new_topic, produce, ready};

/// Parts of an entity: type and name, `None` for the default.
type Entity = &'static [(&'static str, Option<&'static str>)];
/// A part of a filter: type, way to match, name.
type Part = (&'static str, i8, Option<&'static str>);
/// Changes: key and value, `None` to remove.
type Ops = &'static [(&'static str, Option<f64>)];

const NOBODY: Entity = &[];
const ALICE: Entity = &[("user", Some("alice"))];
const ALICE_APP: Entity = &[("user", Some("alice")), ("client-id", Some("app"))];
const ANY_USER: Entity = &[("user", None)];
const ANY_CLIENT: Entity = &[("client-id", None)];
const ANY_IP: Entity = &[("ip", None)];
const ADDRESS: Entity = &[("ip", Some("10.1.2.3"))];
/// The client id that all scripts have.
const ORACLE: Entity = &[("client-id", Some("oracle"))];

pub(crate) fn script(peer: &mut Peer) {
    for version in versions::<AlterClientQuotasRequest<'_>>() {
        alter(peer, version);
        describe(peer, version);
        clear(peer);
    }
    produce_is_throttled(peer);
    fetch_is_throttled(peer);
    requests_are_throttled(peer);
    mutations_are_throttled(peer);
}

fn entry(entity: Entity, ops: Ops) -> EntryData<'static> {
    let part = |(kind, name): &(&'static str, Option<&'static str>)| EntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(Into::into),
    };
    let op = |(key, value): &(&'static str, Option<f64>)| OpData {
        key: (*key).into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    };
    EntryData { entity: entity.iter().map(part).collect(), ops: ops.iter().map(op).collect() }
}

fn alteration(entries: &[(Entity, Ops)], validate_only: bool) -> AlterClientQuotasRequest<'static> {
    let entries = entries.iter().map(|(entity, ops)| entry(entity, ops)).collect();
    AlterClientQuotasRequest { entries, validate_only }
}

fn alter(peer: &mut Peer, version: i16) {
    let cases: &[(&str, &[(Entity, Ops)])] = &[
        ("nothing", &[]),
        ("a user", &[(ALICE, &[("producer_byte_rate", Some(1024.0))])]),
        ("the same again", &[(ALICE, &[("producer_byte_rate", Some(1024.0))])]),
        (
            "several",
            &[
                (ALICE_APP, &[("consumer_byte_rate", Some(2048.0)), ("request_percentage", Some(12.5))]),
                (ANY_USER, &[("controller_mutation_rate", Some(0.5))]),
                (ANY_CLIENT, &[("request_percentage", Some(1e9))]),
                (ANY_IP, &[("connection_creation_rate", Some(1e6))]),
                (ADDRESS, &[("connection_creation_rate", Some(10.0))]),
            ],
        ),
        ("no changes", &[(ALICE, &[])]),
        ("removing what is not there", &[(ALICE, &[("request_percentage", None)])]),
        ("no entity", &[(NOBODY, &[("producer_byte_rate", Some(1.0))])]),
        ("unknown type", &[(&[("group", Some("g"))], &[("producer_byte_rate", Some(1.0))])]),
        ("empty name", &[(&[("user", Some(""))], &[("producer_byte_rate", Some(1.0))])]),
        (
            "type twice",
            &[(&[("user", Some("a")), ("user", Some("alice"))], &[("request_percentage", Some(3.0))])],
        ),
        (
            "user and address",
            &[(&[("user", Some("a")), ("ip", None)], &[("connection_creation_rate", Some(1.0))])],
        ),
        ("no address", &[(&[("ip", Some("no address at all"))], &[("connection_creation_rate", Some(1.0))])]),
        ("address with another quota", &[(ADDRESS, &[("producer_byte_rate", Some(1.0))])]),
        ("user with an address's quota", &[(ALICE, &[("connection_creation_rate", Some(1.0))])]),
        ("unknown key", &[(ALICE, &[("no_such_rate", Some(1.0))])]),
        ("unknown key removed", &[(ALICE, &[("no_such_rate", None)])]),
        ("zero", &[(ALICE, &[("producer_byte_rate", Some(0.0))])]),
        ("negative", &[(ALICE, &[("request_percentage", Some(-1.0))])]),
        ("fraction of a byte", &[(ALICE, &[("producer_byte_rate", Some(1.5))])]),
        ("too many bytes", &[(ALICE, &[("producer_byte_rate", Some(1e300))])]),
        ("too many connections", &[(ADDRESS, &[("connection_creation_rate", Some(2_147_483_648.0))])]),
        ("key twice", &[(ALICE, &[("producer_byte_rate", Some(1.0)), ("producer_byte_rate", Some(2.0))])]),
        (
            "entity twice",
            &[(ALICE, &[("producer_byte_rate", Some(7.0))]), (ALICE, &[("producer_byte_rate", Some(8.0))])],
        ),
        (
            "good and bad",
            &[(ALICE, &[("consumer_byte_rate", Some(9.0))]), (ADDRESS, &[("nonsense", Some(8.0))])],
        ),
    ];
    for (case, entries) in cases {
        peer.call(version, &format!("{case}, checked"), &alteration(entries, true));
        peer.call(version, case, &alteration(entries, false));
    }
    shows(peer, ALICE, 3);
}

/// Waits until a broker shows so many quotas of an entity, and a little longer: it enforces them only after that.
fn shows(peer: &mut Peer, entity: Entity, count: usize) {
    let exactly = |(kind, name): &(&'static str, Option<&'static str>)| {
        component(kind, i8::from(name.is_none()), *name)
    };
    let request =
        DescribeClientQuotasRequest { components: entity.iter().map(exactly).collect(), strict: true };
    peer.wait_for(1, &request, |answer| {
        answer.entries.iter().flatten().map(|entry| entry.values.len()).sum::<usize>() == count
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
}

fn component(kind: &'static str, match_type: i8, name: Option<&'static str>) -> ComponentData<'static> {
    ComponentData { entity_type: kind.into(), match_type, r#match: name.map(Into::into) }
}

fn describe(peer: &mut Peer, version: i16) {
    const EXACT: i8 = 0;
    const DEFAULT: i8 = 1;
    const ANY: i8 = 2;
    let cases: &[(&str, &[Part])] = &[
        ("everything", &[]),
        ("a user", &[("user", EXACT, Some("alice"))]),
        ("the default user", &[("user", DEFAULT, None)]),
        ("any user", &[("user", ANY, None)]),
        ("any user and client", &[("user", ANY, None), ("client-id", ANY, None)]),
        ("user and client", &[("user", EXACT, Some("alice")), ("client-id", EXACT, Some("app"))]),
        ("any client", &[("client-id", ANY, None)]),
        ("any address", &[("ip", ANY, None)]),
        ("an address", &[("ip", EXACT, Some("10.1.2.3"))]),
        ("nobody", &[("user", EXACT, Some("bob"))]),
        ("empty type", &[("", ANY, None)]),
        ("unknown type", &[("group", ANY, None)]),
        ("type twice", &[("user", ANY, None), ("user", DEFAULT, None)]),
        ("exact without name", &[("user", EXACT, None)]),
        ("default with name", &[("user", DEFAULT, Some("alice"))]),
        ("any with name", &[("user", ANY, Some("alice"))]),
        ("unknown match", &[("user", 9, None)]),
        ("address and user", &[("ip", ANY, None), ("user", ANY, None)]),
    ];
    for (case, components) in cases {
        for strict in [false, true] {
            let components =
                components.iter().map(|(kind, how, name)| component(kind, *how, *name)).collect();
            let case = if strict { format!("{case}, strictly") } else { (*case).to_owned() };
            peer.call(version, &case, &DescribeClientQuotasRequest { components, strict });
        }
    }
}

fn clear(peer: &mut Peer) {
    let request = alteration(
        &[
            (
                ALICE,
                &[("producer_byte_rate", None), ("consumer_byte_rate", None), ("request_percentage", None)],
            ),
            (ALICE_APP, &[("consumer_byte_rate", None), ("request_percentage", None)]),
            (ANY_USER, &[("controller_mutation_rate", None)]),
            (ANY_CLIENT, &[("request_percentage", None)]),
            (ANY_IP, &[("connection_creation_rate", None)]),
            (ADDRESS, &[("connection_creation_rate", None)]),
        ],
        false,
    );
    peer.call(1, "remove all", &request);
    shows(peer, NOBODY, 0);
    let everything = DescribeClientQuotasRequest::default();
    peer.wait_for(1, &everything, |answer| answer.entries.iter().flatten().count() == 0);
}

fn set(peer: &mut Peer, key: &'static str, value: Option<f64>) {
    let op = OpData { key: key.into(), value: value.unwrap_or_default(), remove: value.is_none() };
    let entry = EntryData { ops: vec![op], ..entry(ORACLE, &[]) };
    let request = AlterClientQuotasRequest { entries: vec![entry], validate_only: false };
    let answer = peer.ask(1, &request).expect("an answer");
    assert_eq!(answer.entries[0].error_code, 0, "{answer:?}");
    shows(peer, ORACLE, usize::from(value.is_some()));
}

/// What both servers must agree on: whether the time lies in the range.
fn within(throttle_time_ms: &mut i32, range: &RangeInclusive<i32>) {
    if range.contains(throttle_time_ms) {
        *throttle_time_ms = 1;
    }
}

fn batch_of(bytes: usize) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    batch.append(T0, None, Some(&vec![7; bytes]), &[]).expect("a record");
    batch.build().expect("a batch")
}

fn produce_is_throttled(peer: &mut Peer) {
    let id = make_topic(peer, "quota-produce", 1, &[("retention.ms", "-1")]);
    set(peer, "producer_byte_rate", Some(1000.0));
    let request = |bytes| produce("quota-produce", id, -1, Some(batch_of(bytes)));
    peer.call(11, "below the quota", &request(5000));
    // 12,000 bytes and some more over ten windows: a little above two seconds.
    peer.call_edited(11, "above the quota", &request(7000), |answer| {
        within(&mut answer.throttle_time_ms, &(1000..=3500));
    });
    set(peer, "producer_byte_rate", None);
    peer.call(11, "without the quota", &request(7000));
}

fn fetch_is_throttled(peer: &mut Peer) {
    let id = make_topic(peer, "quota-fetch", 1, &[("retention.ms", "-1")]);
    let records = batch_of(6000);
    let bytes = i32::try_from(records.len()).expect("a small batch");
    append(peer, "quota-fetch", 0, records);
    set(peer, "consumer_byte_rate", Some(1000.0));
    let partition = FetchPartition { partition_max_bytes: bytes, ..FetchPartition::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        max_bytes: bytes,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: "quota-fetch".into(), topic_id: id, partitions: vec![partition] }],
        ..FetchRequest::default()
    };
    let is_there = |answer: &ottla_protocol::messages::FetchResponse<'_>| !answer.responses.is_empty();
    peer.wait_for(12, &request, is_there);
    peer.call_edited(12, "above the quota", &request, |answer| {
        within(&mut answer.throttle_time_ms, &(1000..=3500));
    });
    set(peer, "consumer_byte_rate", None);
    peer.call_edited(12, "without the quota", &request, |answer| {
        answer.responses.iter_mut().flat_map(|t| &mut t.partitions).for_each(|p| p.records = None);
    });
}

fn requests_are_throttled(peer: &mut Peer) {
    set(peer, "request_percentage", Some(0.000_001));
    let request: MetadataRequest<'_> = metadata_of(&["quota-fetch"]);
    peer.call_edited(12, "above the request quota", &request, |answer| {
        within(&mut answer.throttle_time_ms, &(1..=1000));
    });
    set(peer, "request_percentage", None);
    peer.call(12, "without the request quota", &request);
}

fn mutations_are_throttled(peer: &mut Peer) {
    set(peer, "controller_mutation_rate", Some(0.5));
    let request = |name: &str, partitions| create(vec![new_topic(name, partitions, &[])]);
    let made: CreateTopicsRequest<'_> = request("quota-made", 6);
    peer.call(7, "the last that is let through", &made);
    ready(peer, "quota-made", 6);
    peer.call_edited(7, "refused by the quota", &request("quota-refused", 1), |answer| {
        within(&mut answer.throttle_time_ms, &(1..=1500));
    });
    // Half a token a second: five for these, and what is still missing.
    peer.call_edited(5, "delayed by the quota", &request("quota-delayed", 3), |answer| {
        within(&mut answer.throttle_time_ms, &(3000..=7000));
    });
    set(peer, "controller_mutation_rate", None);
    let delete = DeleteTopicsRequest {
        topic_names: vec!["quota-made".into(), "quota-delayed".into()],
        timeout_ms: 5000,
        ..DeleteTopicsRequest::default()
    };
    peer.call(4, "without the quota", &delete);
}
