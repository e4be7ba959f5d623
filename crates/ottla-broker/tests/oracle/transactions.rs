//! The transaction coordinator: InitProducerId with a transactional id, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit,
//! EndTxn, DescribeTransactions, ListTransactions, FindCoordinator.

use std::time::{Duration, Instant};

use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest, TxnOffsetCommitRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::requests::make_topic;

pub(crate) const TOPIC: &str = "transactional";
const CONCURRENT: i16 = 51;

pub(crate) fn script(peer: &mut Peer) {
    let id = make_topic(peer, TOPIC, 3, &[]);
    coordinator(peer);
    init(peer);
    add_partitions(peer);
    add_partitions_for_brokers(peer);
    add_offsets(peer);
    offset_commit(peer, id);
    end(peer);
    describe(peer);
    list(peer);
}

/// A producer of the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

pub(crate) fn init_request(id: &str) -> InitProducerIdRequest<'_> {
    InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    }
}

/// Takes a transactional id over, however long that takes. Writes nothing down.
pub(crate) fn take(peer: &mut Peer, id: &str) -> Known {
    let answer = peer.wait_for(4, &init_request(id), |answer| answer.error_code == 0);
    Known { id: answer.producer_id, epoch: answer.producer_epoch }
}

/// Waits until a transaction is in a state. Writes nothing down.
pub(crate) fn settled(peer: &mut Peer, id: &str, state: &str) {
    let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
    peer.wait_for(0, &request, |answer| answer.transaction_states[0].transaction_state == state);
}

fn topic(name: &str, partitions: &[i32]) -> AddPartitionsToTxnTopic<'static> {
    AddPartitionsToTxnTopic { name: name.to_owned().into(), partitions: partitions.to_vec() }
}

pub(crate) fn adding(
    id: &str,
    producer: Known,
    topics: Vec<AddPartitionsToTxnTopic<'static>>,
) -> AddPartitionsToTxnRequest<'static> {
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.to_owned().into(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: topics,
        ..AddPartitionsToTxnRequest::default()
    }
}

/// Adds a partition, however busy the id is. Writes nothing down.
pub(crate) fn add(peer: &mut Peer, id: &str, producer: Known, index: i32) {
    let request = adding(id, producer, vec![topic(TOPIC, &[index])]);
    peer.wait_for(3, &request, |answer| {
        let code = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
        assert!(code == 0 || code == CONCURRENT, "{answer:?}");
        code == 0
    });
}

pub(crate) fn ending(id: &str, producer: Known, committed: bool) -> EndTxnRequest<'static> {
    EndTxnRequest {
        transactional_id: id.to_owned().into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    }
}

fn coordinator(peer: &mut Peer) {
    let first = FindCoordinatorRequest {
        coordinator_keys: vec!["any".into()],
        key_type: 1,
        ..FindCoordinatorRequest::default()
    };
    peer.wait_for(4, &first, |answer| answer.coordinators.iter().all(|found| found.error_code == 0));
    take(peer, "first");
    for version in 1..=versions::<FindCoordinatorRequest<'_>>().max().expect("versions") {
        for (case, key) in [("transactional id", "an-id"), ("empty transactional id", "")] {
            let request = match version {
                1..=3 => FindCoordinatorRequest { key: key.into(), key_type: 1, ..Default::default() },
                _ => FindCoordinatorRequest {
                    coordinator_keys: vec![key.into()],
                    key_type: 1,
                    ..Default::default()
                },
            };
            peer.call(version, case, &request);
        }
    }
}

fn init(peer: &mut Peer) {
    for version in versions::<InitProducerIdRequest<'_>>() {
        let id = format!("init-{version}");
        let plain = init_request(&id);
        peer.call(version, "transactional, first", &plain);
        let known = peer.call(version, "transactional, again", &plain);
        let known = Known { id: known.producer_id, epoch: known.producer_epoch };
        for (case, transaction_timeout_ms) in [
            ("timeout zero", 0),
            ("timeout negative", -1),
            ("timeout too long", 900_001),
            ("timeout longest", 900_000),
        ] {
            let request = InitProducerIdRequest { transaction_timeout_ms, ..plain.clone() };
            peer.call(version, &format!("transactional, {case}"), &request);
        }
        if version >= 3 {
            let known = take(peer, &id);
            for (case, producer_id, producer_epoch) in [
                ("goes on", known.id, known.epoch),
                ("goes on, repeated", known.id, known.epoch),
                ("goes on, old epoch", known.id, known.epoch - 1),
                ("goes on, future epoch", known.id, known.epoch + 5),
                ("goes on, another's id", known.id + 1000, known.epoch),
                ("goes on, id only", known.id, -1),
                ("goes on, epoch only", -1, known.epoch),
            ] {
                let request = InitProducerIdRequest { producer_id, producer_epoch, ..plain.clone() };
                peer.call(version, &format!("transactional, {case}"), &request);
            }
        }
        // Who takes over an open transaction is asked to come again.
        let producer = take(peer, &id);
        add(peer, &id, producer, 0);
        peer.call(version, "transactional, open transaction", &plain);
        take(peer, &id);
        peer.call(version, "transactional, after the abort", &plain);
        let _ = known;
    }
}

fn add_partitions(peer: &mut Peer) {
    for version in 0..=3 {
        let id = format!("add-{version}");
        let producer = take(peer, &id);
        let known = vec![topic(TOPIC, &[1, 0])];
        let other = |id: i64, epoch: i16| Known { id: producer.id + id, epoch: producer.epoch + epoch };
        for (case, request) in [
            ("unknown partition", adding(&id, producer, vec![topic(TOPIC, &[0, 9])])),
            (
                "unknown topic",
                adding(&id, producer, vec![topic("transactional-none", &[0]), topic(TOPIC, &[0])]),
            ),
            ("first", adding(&id, producer, known.clone())),
            ("again", adding(&id, producer, known.clone())),
            ("one more", adding(&id, producer, vec![topic(TOPIC, &[1, 2])])),
            ("internal topic", adding(&id, producer, vec![topic("__consumer_offsets", &[0])])),
            ("another producer id", adding(&id, other(1000, 0), known.clone())),
            ("a newer epoch", adding(&id, other(0, 1), known.clone())),
            ("an older epoch", adding(&id, other(0, -1), known.clone())),
            ("unknown id", adding("add-none", producer, known.clone())),
            ("empty id", adding("", producer, known.clone())),
            ("nothing", adding(&id, producer, Vec::new())),
        ] {
            peer.call(version, case, &request);
        }
    }
}

fn add_partitions_for_brokers(peer: &mut Peer) {
    for version in 4..=versions::<AddPartitionsToTxnRequest<'_>>().max().expect("versions") {
        let (one, two) = (format!("brokers-{version}"), format!("brokers-{version}-b"));
        let (first, second) = (take(peer, &one), take(peer, &two));
        let transaction = |id: &str, producer: Known, verify_only, topics| AddPartitionsToTxnTransaction {
            transactional_id: id.to_owned().into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            verify_only,
            topics,
        };
        let known = vec![topic(TOPIC, &[0, 1])];
        let stale = Known { epoch: first.epoch - 1, ..first };
        let wrong = Known { id: first.id + 1000, ..first };
        for (case, transactions) in [
            ("verify nothing added", vec![transaction(&one, first, true, known.clone())]),
            ("add", vec![transaction(&one, first, false, known.clone())]),
            ("verify", vec![transaction(&one, first, true, known.clone())]),
            (
                "verify one that was not added",
                vec![transaction(&one, first, true, vec![topic(TOPIC, &[0, 2])])],
            ),
            ("verify what does not exist", vec![transaction(&one, first, true, vec![topic(TOPIC, &[0, 8])])]),
            ("verify a stale epoch", vec![transaction(&one, stale, true, known.clone())]),
            ("verify another producer id", vec![transaction(&one, wrong, true, known.clone())]),
            ("verify an unknown id", vec![transaction("brokers-none", first, true, known.clone())]),
            ("verify an empty id", vec![transaction("", first, true, known.clone())]),
            ("add with a stale epoch", vec![transaction(&one, stale, false, known.clone())]),
            (
                "several",
                vec![
                    transaction(&one, first, true, known.clone()),
                    transaction(&two, second, false, known.clone()),
                ],
            ),
        ] {
            peer.call(version, case, &AddPartitionsToTxnRequest { transactions, ..Default::default() });
        }
    }
}

fn add_offsets(peer: &mut Peer) {
    for version in versions::<AddOffsetsToTxnRequest<'_>>() {
        let id = format!("offsets-{version}");
        let producer = take(peer, &id);
        let request = |id: &str, producer: Known, group: &'static str| AddOffsetsToTxnRequest {
            transactional_id: id.to_owned().into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            group_id: group.into(),
        };
        for (case, request) in [
            ("first", request(&id, producer, "a-group")),
            ("again", request(&id, producer, "a-group")),
            ("empty group", request(&id, producer, "")),
            ("stale epoch", request(&id, Known { epoch: producer.epoch - 1, ..producer }, "a-group")),
            ("another producer id", request(&id, Known { id: producer.id + 1000, ..producer }, "a-group")),
            ("unknown id", request("offsets-none", producer, "a-group")),
            ("empty id", request("", producer, "a-group")),
        ] {
            peer.call(version, case, &request);
        }
    }
}

fn offset_commit(peer: &mut Peer, topic_id: Uuid) {
    for version in versions::<TxnOffsetCommitRequest<'_>>() {
        let id = format!("commit-{version}");
        let producer = take(peer, &id);
        let group = format!("commit-group-{version}");
        let fine = TxnOffsetCommitRequest {
            transactional_id: id.clone().into(),
            group_id: group.clone().into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            generation_id_or_member_epoch: -1,
            topics: vec![offsets(TOPIC, topic_id, &[(0, "note"), (1, "")])],
            ..TxnOffsetCommitRequest::default()
        };
        if version < 5 {
            peer.call(version, "group not added", &fine);
            let request = AddOffsetsToTxnRequest {
                transactional_id: id.clone().into(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                group_id: group.clone().into(),
            };
            peer.wait_for(3, &request, |answer| answer.error_code == 0);
        }
        commit_variants(peer, version, topic_id, &fine);
        fetch_offsets(peer, version, &group, "open");
        let version_of_end = if version < 5 { 3 } else { 5 };
        peer.wait_for(version_of_end, &ending(&id, producer, true), |answer| answer.error_code == 0);
        settled(peer, &id, "CompleteCommit");
        fetch_offsets(peer, version, &group, "committed");
    }
}

fn offsets(
    name: &'static str,
    topic_id: Uuid,
    partitions: &[(i32, &str)],
) -> TxnOffsetCommitRequestTopic<'static> {
    let partition = |(index, metadata): &(i32, &str)| TxnOffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: 5,
        committed_metadata: Some((*metadata).to_owned().into()),
        ..TxnOffsetCommitRequestPartition::default()
    };
    TxnOffsetCommitRequestTopic {
        name: name.into(),
        topic_id,
        partitions: partitions.iter().map(partition).collect(),
    }
}

fn commit_variants(peer: &mut Peer, version: i16, topic_id: Uuid, fine: &TxnOffsetCommitRequest<'static>) {
    let with = |topics| TxnOffsetCommitRequest { topics, ..fine.clone() };
    let nowhere = || offsets("transactional-none", Uuid::from_parts(77, 88), &[(0, "")]);
    let long = "m".repeat(5000);
    for (case, request) in [
        ("ok", fine.clone()),
        ("mixed", with(vec![offsets(TOPIC, topic_id, &[(0, "x"), (9, "")]), nowhere()])),
        ("only unknown topics", with(vec![nowhere()])),
        ("metadata too long", with(vec![offsets(TOPIC, topic_id, &[(0, &long), (1, "")])])),
        ("stale epoch", TxnOffsetCommitRequest { producer_epoch: fine.producer_epoch - 1, ..fine.clone() }),
        (
            "another producer id",
            TxnOffsetCommitRequest { producer_id: fine.producer_id + 1000, ..fine.clone() },
        ),
        (
            "unknown id",
            TxnOffsetCommitRequest {
                transactional_id: "commit-none".into(),
                producer_id: 4_000_000 + i64::from(version),
                ..fine.clone()
            },
        ),
        ("empty group", TxnOffsetCommitRequest { group_id: "".into(), ..fine.clone() }),
    ] {
        peer.call(version, case, &request);
    }
    if version >= 3 {
        for (case, generation, member) in [
            ("member unknown", -1, "nobody"),
            ("generation of no group", 3, "nobody"),
            ("generation without a member", 3, ""),
        ] {
            let request = TxnOffsetCommitRequest {
                generation_id_or_member_epoch: generation,
                member_id: member.into(),
                ..fine.clone()
            };
            peer.call(version, case, &request);
        }
    }
}

/// What a group has committed, with and without open transactions.
fn fetch_offsets(peer: &mut Peer, version: i16, group: &str, when: &str) {
    use ottla_protocol::messages::OffsetFetchRequest;
    use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    for require_stable in [false, true] {
        let topics = vec![OffsetFetchRequestTopics {
            name: TOPIC.into(),
            partition_indexes: vec![0, 1, 2],
            ..OffsetFetchRequestTopics::default()
        }];
        let group = OffsetFetchRequestGroup {
            group_id: group.to_owned().into(),
            topics: Some(topics),
            ..OffsetFetchRequestGroup::default()
        };
        let request =
            OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() };
        let case = format!("{when} after TxnOffsetCommit v{version}, stable {require_stable}");
        peer.call(8, &case, &request);
    }
}

fn end(peer: &mut Peer) {
    for version in versions::<EndTxnRequest<'_>>() {
        let id = format!("end-{version}");
        let producer = take(peer, &id);
        let with = |id: i64, epoch: i16| Known { id: producer.id + id, epoch: producer.epoch + epoch };
        peer.call(version, "commit without a transaction", &ending(&id, producer, true));
        add(peer, &id, producer, 0);
        for (case, request) in [
            ("another producer id", ending(&id, with(1000, 0), true)),
            ("older epoch", ending(&id, with(0, -1), true)),
            ("newer epoch", ending(&id, with(0, 1), true)),
            ("unknown id", ending("end-none", producer, true)),
            ("empty id", ending("", producer, true)),
        ] {
            peer.call(version, case, &request);
        }
        let after = peer.call(version, "commit", &ending(&id, producer, true));
        settled(peer, &id, "CompleteCommit");
        peer.call(version, "commit, repeated", &ending(&id, producer, true));
        peer.call(version, "abort after the commit", &ending(&id, producer, false));
        // From version 5 on the transaction that follows has the next epoch.
        let next = match version {
            0..=4 => producer,
            _ => Known { id: after.producer_id, epoch: after.producer_epoch },
        };
        if version >= 5 {
            peer.call(version, "commit without the next transaction", &ending(&id, next, true));
        }
        add(peer, &id, next, 1);
        let after = peer.call(version, "abort", &ending(&id, next, false));
        settled(peer, &id, "CompleteAbort");
        peer.call(version, "abort, repeated", &ending(&id, next, false));
        peer.call(version, "commit after the abort", &ending(&id, next, true));
        if version >= 5 {
            let next = Known { id: after.producer_id, epoch: after.producer_epoch };
            let after = peer.call(version, "abort without a transaction", &ending(&id, next, false));
            settled(peer, &id, "CompleteAbort");
            let next = Known { id: after.producer_id, epoch: after.producer_epoch };
            add(peer, &id, next, 1);
        }
        state_of(peer, &id, &format!("after EndTxn v{version}"));
    }
}

fn state_of(peer: &mut Peer, id: &str, case: &str) {
    let request = DescribeTransactionsRequest { transactional_ids: vec![id.to_owned().into()] };
    peer.call(0, case, &request);
}

fn describe(peer: &mut Peer) {
    let producer = take(peer, "described");
    state_of(peer, "described", "empty");
    add(peer, "described", producer, 1);
    add(peer, "described", producer, 0);
    state_of(peer, "described", "ongoing");
    let ids = vec!["described".into(), "described-none".into(), "".into(), "described".into()];
    peer.call(0, "several", &DescribeTransactionsRequest { transactional_ids: ids });
    peer.call(0, "none", &DescribeTransactionsRequest::default());
    peer.wait_for(3, &ending("described", producer, false), |answer| answer.error_code == 0);
    settled(peer, "described", "CompleteAbort");
    state_of(peer, "described", "aborted");
}

fn list(peer: &mut Peer) {
    let empty = take(peer, "listed-empty");
    let open = take(peer, "listed-open");
    add(peer, "listed-open", open, 0);
    // Long enough ago for the filter by duration.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(50) {
        std::thread::sleep(Duration::from_millis(10));
    }
    for version in versions::<ListTransactionsRequest<'_>>() {
        let ids = vec![empty.id, open.id];
        let request = |states: &[&'static str], producer_id_filters: Vec<i64>| ListTransactionsRequest {
            state_filters: states.iter().map(|state| (*state).into()).collect(),
            producer_id_filters,
            ..ListTransactionsRequest::default()
        };
        for (case, request) in [
            ("by producer", request(&[], ids.clone())),
            ("by producer, one", request(&[], vec![open.id])),
            ("by producer, unknown", request(&[], vec![1_000_000_000])),
            ("by state", request(&["Ongoing"], ids.clone())),
            ("by several states", request(&["Empty", "Ongoing"], ids.clone())),
            ("by unknown state", request(&["ongoing", "What"], ids.clone())),
            ("by known and unknown state", request(&["Empty", "What"], ids.clone())),
            ("by a state that is not listed", request(&["Dead"], ids.clone())),
            ("all", request(&[], Vec::new())),
        ] {
            peer.call(version, case, &request);
        }
        let by_duration = |duration_filter| ListTransactionsRequest {
            duration_filter,
            ..request(&["Ongoing"], ids.clone())
        };
        if version >= 1 {
            peer.call(version, "longer than nothing", &by_duration(0));
            peer.call(version, "longer than an hour", &by_duration(3_600_000));
        }
        let by_pattern = |pattern: &'static str| ListTransactionsRequest {
            transactional_id_pattern: Some(pattern.into()),
            ..ListTransactionsRequest::default()
        };
        if version >= 2 {
            for (case, pattern) in [
                ("pattern", "listed-.*"),
                ("pattern of a part", "listed"),
                ("pattern of several", "listed-open|listed-empty|x"),
                ("pattern, empty", ""),
                ("pattern, invalid", "[a"),
            ] {
                peer.call(version, case, &by_pattern(pattern));
            }
        }
    }
}
