//! What transactions leave in partitions: Produce, Fetch and ListOffsets of committed records, DescribeProducers,
//! WriteTxnMarkers.

use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use ottla_protocol::messages::{
    DeleteRecordsRequest, DescribeProducersRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
    WriteTxnMarkersRequest,
};
use ottla_record::BatchBuilder;
use ottla_types::{ProducerEpoch, ProducerId, Sequence, Uuid};

use crate::client::{Peer, versions};
use crate::requests::{T0, append, batch, fill, list_offsets, make_topic, produce_to};
use crate::transactions::{Known, TOPIC, add, adding, ending, settled, take};

pub(crate) fn script(peer: &mut Peer) {
    produce(peer);
    read_committed(peer);
    describe_producers(peer);
    markers(peer);
    marker_behind_deleted_records(peer);
}

fn records(producer: Known, sequence: i32, count: usize) -> Vec<u8> {
    let builder = BatchBuilder::new().transactional(true).producer(
        ProducerId(producer.id),
        ProducerEpoch(producer.epoch),
        Sequence(sequence),
    );
    fill(builder, count, T0)
}

fn producing<'a>(
    id: &'a str,
    topic: &'a str,
    topic_id: Uuid,
    index: i32,
    records: Vec<u8>,
) -> ProduceRequest<'a> {
    ProduceRequest {
        transactional_id: Some(id.into()),
        ..produce_to(topic, topic_id, index, -1, Some(records))
    }
}

fn produce(peer: &mut Peer) {
    for version in versions::<ProduceRequest<'_>>() {
        let name = format!("produced-{version}");
        let topic_id = make_topic(peer, &name, 4, &[]);
        let id = format!("producer-{version}");
        let producer = take(peer, &id);
        let is_implicit = version >= 12;
        if !is_implicit {
            peer.call(
                version,
                "partition not added",
                &producing(&id, &name, topic_id, 0, records(producer, 0, 2)),
            );
            let topic = ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic {
                name: name.clone().into(),
                partitions: vec![0, 1],
            };
            let request = adding(&id, producer, vec![topic]);
            peer.wait_for(3, &request, |answer| {
                answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0
            });
        }
        let stale = Known { epoch: producer.epoch - 1, ..producer };
        let newer = Known { epoch: producer.epoch + 1, ..producer };
        let unknown = Known { id: 5_000_000 + i64::from(version), epoch: 0 };
        for (case, id, index, records) in [
            ("transactional, first batch", &*id, 0, records(producer, 0, 2)),
            ("transactional, second batch", &id, 0, records(producer, 2, 1)),
            ("transactional, repeated", &id, 0, records(producer, 2, 1)),
            ("transactional, out of order", &id, 0, records(producer, 7, 1)),
            ("transactional, other partition not from zero", &id, 1, records(producer, 3, 1)),
            ("transactional, other partition", &id, 1, records(producer, 0, 1)),
            ("transactional, unknown transactional id", "producer-none", 2, records(unknown, 0, 1)),
            ("transactional, empty transactional id", "", 2, records(unknown, 0, 1)),
            ("transactional, another's id", &id, 2, records(unknown, 0, 1)),
            ("transactional, newer epoch", &id, 2, records(newer, 0, 1)),
        ] {
            peer.call(version, case, &producing(id, &name, topic_id, index, records));
        }
        if producer.epoch > 0 {
            peer.call(
                version,
                "transactional, stale",
                &producing(&id, &name, topic_id, 2, records(stale, 0, 1)),
            );
        }
        // Outside of the transaction by the same producer.
        let builder =
            BatchBuilder::new().producer(ProducerId(producer.id), ProducerEpoch(producer.epoch), Sequence(3));
        peer.call(
            version,
            "not transactional in a transaction",
            &produce_to(&name, topic_id, 0, -1, Some(fill(builder, 1, T0))),
        );
        let mut both = producing(&id, &name, topic_id, 0, records(producer, 3, 1));
        let more = producing(&id, &name, topic_id, 3, records(unknown, 0, 1));
        both.topic_data[0].partition_data.extend(more.topic_data[0].partition_data.clone());
        peer.call(version, "transactional, two producers", &both);
        let end = if is_implicit { 5 } else { 3 };
        peer.call(11, &format!("open, after Produce v{version}"), &committed_offsets(&name));
        peer.wait_for(end, &ending(&id, producer, version % 2 == 0), |answer| answer.error_code == 0);
        settled(peer, &id, if version % 2 == 0 { "CompleteCommit" } else { "CompleteAbort" });
        peer.call(
            version,
            "transactional, after the end",
            &producing(&id, &name, topic_id, 0, records(producer, 4, 1)),
        );
        peer.call(11, &format!("ended, after Produce v{version}"), &committed_offsets(&name));
    }
}

fn committed_offsets(topic: &str) -> ListOffsetsRequest<'_> {
    ListOffsetsRequest { isolation_level: 1, ..list_offsets(topic, &[(0, -1), (1, -1), (2, -1), (3, -1)]) }
}

/// A topic with an aborted, a committed and an open transaction among plain records.
fn history(peer: &mut Peer) -> Uuid {
    let topic_id = make_topic(peer, "isolated", 1, &[]);
    let mut write = |id: &str, count, committed: Option<bool>| {
        let producer = take(peer, id);
        let topic = ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic {
            name: "isolated".into(),
            partitions: vec![0],
        };
        peer.wait_for(3, &adding(id, producer, vec![topic]), |answer| {
            answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0
        });
        let request = producing(id, "isolated", topic_id, 0, records(producer, 0, count));
        let answer = peer.ask(9, &request).expect("an answer");
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
        if let Some(committed) = committed {
            peer.wait_for(3, &ending(id, producer, committed), |answer| answer.error_code == 0);
            settled(peer, id, if committed { "CompleteCommit" } else { "CompleteAbort" });
        }
        append(peer, "isolated", 0, batch(2));
    };
    write("isolated-aborted", 3, Some(false));
    write("isolated-committed", 3, Some(true));
    write("isolated-aborted-2", 1, Some(false));
    write("isolated-open", 2, None);
    topic_id
}

fn read_committed(peer: &mut Peer) {
    let topic_id = history(peer);
    for version in versions::<FetchRequest<'_>>() {
        for isolation_level in [0, 1] {
            for offset in [0, 3, 4, 6, 10, 14, 16, 18, 99] {
                let partition = FetchPartition {
                    fetch_offset: offset,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                };
                let topic = FetchTopic { topic: "isolated".into(), topic_id, partitions: vec![partition] };
                let request = FetchRequest {
                    min_bytes: 1,
                    max_bytes: 1 << 20,
                    isolation_level,
                    topics: vec![topic],
                    ..FetchRequest::default()
                };
                let case = format!("isolation {isolation_level}, from {offset}");
                // Producer ids and the time of markers are in the bytes.
                peer.call_edited(version, &case, &request, |answer| {
                    for partition in answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
                        let len =
                            partition.records.as_ref().and_then(|r| r.as_slice()).map_or(0, <[u8]>::len);
                        partition.records = Some(vec![0; len].into());
                    }
                });
            }
        }
    }
    for version in 2..=versions::<ListOffsetsRequest<'_>>().max().expect("versions") {
        for (case, timestamp) in [
            ("latest", -1),
            ("earliest", -2),
            ("largest timestamp", -3),
            ("first", T0),
            ("third", T0 + 2),
            ("none", i64::MAX),
        ] {
            let request =
                ListOffsetsRequest { isolation_level: 1, ..list_offsets("isolated", &[(0, timestamp)]) };
            // Markers have the time at which they were written.
            peer.call_edited(version, &format!("committed, {case}"), &request, |answer| {
                for partition in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.timestamp = partition.timestamp.min(T0 + 1000);
                }
            });
        }
    }
}

fn describe_producers(peer: &mut Peer) {
    let topic = |name: &'static str, indexes: &[i32]| TopicRequest {
        name: name.into(),
        partition_indexes: indexes.to_vec(),
    };
    for (case, topics) in [
        ("ended and open", vec![topic("isolated", &[0])]),
        ("nobody", vec![topic(TOPIC, &[2])]),
        ("unknown partition", vec![topic("isolated", &[0, 7])]),
        ("unknown topic", vec![topic("isolated-none", &[0])]),
        ("invalid topic", vec![topic("a b", &[0])]),
        ("several", vec![topic("isolated-none", &[0, 1]), topic("isolated", &[0])]),
        ("none", Vec::new()),
    ] {
        peer.call(0, case, &DescribeProducersRequest { topics });
    }
}

fn markers(peer: &mut Peer) {
    for version in versions::<WriteTxnMarkersRequest<'_>>() {
        let id = format!("marked-{version}");
        take(peer, &id);
        let producer = take(peer, &id);
        add(peer, &id, producer, 2);
        let request = producing(&id, TOPIC, Uuid::ZERO, 2, records(producer, 0, 1));
        let answer = peer.ask(9, &request).expect("an answer");
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
        let marker = |producer: Known, coordinator_epoch, transaction_version, topics| WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            transaction_result: false,
            topics,
            coordinator_epoch,
            transaction_version: if version >= 2 { transaction_version } else { 0 },
        };
        let topic = |name: &'static str, indexes: &[i32]| WritableTxnMarkerTopic {
            name: name.into(),
            partition_indexes: indexes.to_vec(),
        };
        let here = || vec![topic(TOPIC, &[2])];
        let next = Known { epoch: producer.epoch + 1, ..producer };
        let older = Known { epoch: producer.epoch - 1, ..producer };
        for (case, markers) in [
            ("none", Vec::new()),
            (
                "unknown partitions",
                vec![marker(producer, 0, 0, vec![topic(TOPIC, &[2, 9]), topic("marked-none", &[0])])],
            ),
            ("only unknown partitions", vec![marker(producer, 0, 0, vec![topic("marked-none", &[0])])]),
            ("older epoch", vec![marker(older, 0, 0, here())]),
            ("negative epoch", vec![marker(Known { epoch: -1, ..producer }, 0, 0, here())]),
            ("negative id", vec![marker(Known { id: -1, ..producer }, 0, 0, here())]),
            ("same epoch, strict", vec![marker(producer, 0, 2, here())]),
            ("next epoch, strict", vec![marker(next, 5, 2, here())]),
            ("older coordinator", vec![marker(next, 1, 0, here())]),
            ("offsets", vec![marker(producer, 0, 0, vec![topic("__consumer_offsets", &[0])])]),
            (
                "two for one producer",
                vec![marker(next, 6, 0, here()), marker(next, 6, 0, vec![topic(TOPIC, &[1])])],
            ),
        ] {
            peer.call(version, case, &WriteTxnMarkersRequest { markers });
        }
    }
}

/// A marker has a segment of its own when the records before it are old. When all of them are deleted their segment is still
/// there for a while; offsets are looked for by time in it, and in no other.
fn marker_behind_deleted_records(peer: &mut Peer) {
    let (name, id) = ("marked", "marked-producer");
    let topic_id = make_topic(peer, name, 1, &[]);
    let producer = take(peer, id);
    let request = producing(id, name, topic_id, 0, records(producer, 0, 3));
    peer.wait_for(12, &request, |answer| answer.responses[0].partition_responses[0].error_code == 0);
    peer.wait_for(5, &ending(id, producer, true), |answer| answer.error_code == 0);
    settled(peer, id, "CompleteCommit");
    for offset in [2, 3, 4] {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
        let topics = vec![DeleteRecordsTopic { name: name.into(), partitions }];
        peer.call(2, &format!("to {offset}"), &DeleteRecordsRequest { topics, timeout_ms: 5000 });
        for timestamp in [0, T0, T0 + 2, T0 + 3, -1, -2, -3, -4] {
            let case = format!("time {timestamp}, records deleted to {offset} of a marker at 3");
            peer.call(10, &case, &list_offsets(name, &[(0, timestamp)]));
        }
    }
}
