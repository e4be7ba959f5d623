//! Records: appended, read, deleted; sequences of producers; sessions and waits of consumers.

use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::fetch_request::ForgottenTopic;
use ottla_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla_protocol::messages::{
    DeleteRecordsRequest, FetchRequest, InitProducerIdRequest, OffsetForLeaderEpochRequest,
};
use ottla_record::BatchBuilder;
use ottla_types::{ProducerEpoch, ProducerId, Sequence as Number, Uuid};

use super::Sequence;
use super::steps::{self, fetching};
use super::topics::{delete, grow};
use crate::batches;
use crate::client::Peer;
use crate::requests::{T0, append, barrier, batch, fill, list_offsets, make_topic, produce, produce_to};

pub(super) const SEQUENCES: &[Sequence] = &[
    ("records deleted, then everything about offsets", records_deleted),
    ("a producer's sequences over several partitions", producer_sequences),
    ("a producer's epochs", producer_epochs),
    ("sequences after their records were deleted", sequences_after_deletion),
    ("a fetch session through changes of its topics", session_through_changes),
    ("a fetch waits for records, and for a deletion", long_polls),
    ("acks one and none, then read", acks),
];

pub(super) fn deleting(topic: &str, wanted: &[(i32, i64)]) -> DeleteRecordsRequest<'static> {
    let partition =
        |(index, offset): &(i32, i64)| DeleteRecordsPartition { partition_index: *index, offset: *offset };
    let partitions = wanted.iter().map(partition).collect();
    let topics = vec![DeleteRecordsTopic { name: topic.to_owned().into(), partitions }];
    DeleteRecordsRequest { topics, timeout_ms: 5000 }
}

fn records_deleted(peer: &mut Peer) {
    let name = "w-shrinking";
    let id = make_topic(peer, name, 2, &[]);
    for _ in 0..4 {
        append(peer, name, 0, batch(3));
    }
    for (case, offset) in [
        ("within a batch", 4),
        ("back", 2),
        ("same", 4),
        ("negative", -2),
        ("beyond the end", 13),
        ("to a batch's end", 6),
        ("to the high watermark", -1),
    ] {
        peer.call(2, case, &deleting(name, &[(0, offset)]));
        for timestamp in [-1, -2, -3, -4, -5, T0, T0 + 2, T0 + 99] {
            let request = list_offsets(name, &[(0, timestamp), (1, timestamp)]);
            peer.call(11, &format!("{timestamp} after {case}"), &request);
        }
        for offset in [0, 3, 4, 5, 6, 11, 12, 13] {
            let case = format!("{offset} after {case}");
            steps::fetch(peer, 12, &case, name, id, &[(0, offset)]);
        }
        let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch: -1, leader_epoch: 0 };
        let topics = vec![OffsetForLeaderTopic { topic: name.into(), partitions: vec![partition] }];
        peer.call(4, &format!("after {case}"), &OffsetForLeaderEpochRequest { replica_id: -1, topics });
    }
    peer.call(13, "after all were deleted", &produce(name, id, -1, Some(batch(2))));
    steps::fetch(peer, 12, "what came after", name, id, &[(0, 12)]);
    peer.call(11, "at the end", &list_offsets(name, &[(0, -1), (0, -2), (0, -3)]));
}

/// A batch of a producer.
pub(super) fn of_producer(id: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    fill(BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), Number(sequence)), count, T0)
}

fn new_producer(peer: &mut Peer, id: i64, epoch: i16) -> (i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: id,
        producer_epoch: epoch,
        ..InitProducerIdRequest::default()
    };
    let answer = peer.call(5, "a producer", &request);
    assert_eq!(answer.error_code, 0, "{answer:?}");
    (answer.producer_id, answer.producer_epoch)
}

fn producer_sequences(peer: &mut Peer) {
    let name = "w-sequences";
    let id = make_topic(peer, name, 3, &[]);
    let (producer, epoch) = new_producer(peer, -1, -1);
    let (other, _) = new_producer(peer, -1, -1);
    for (case, producer, partition, sequence, count) in [
        ("first", producer, 0, 0, 2),
        ("first of another partition", producer, 1, 0, 1),
        ("not the first of a third", producer, 2, 4, 1),
        ("next", producer, 0, 2, 2),
        ("another producer between", other, 0, 0, 1),
        ("again", producer, 0, 2, 2),
        ("again the first", producer, 0, 0, 2),
        ("third", producer, 0, 4, 1),
        ("fourth", producer, 0, 5, 1),
        ("fifth", producer, 0, 6, 1),
        ("sixth", producer, 0, 7, 1),
        ("again the third", producer, 0, 4, 1),
        ("again one that is forgotten", producer, 0, 0, 2),
        ("gap", producer, 0, 9, 1),
        ("after the gap", producer, 0, 8, 3),
        ("overlaps", producer, 0, 10, 3),
        ("the other again", other, 0, 0, 1),
        ("the other goes on", other, 0, 1, 1),
        ("the third partition goes on", producer, 2, 5, 1),
        ("the third partition from zero", producer, 2, 0, 1),
    ] {
        let records = of_producer(producer, epoch, sequence, count);
        peer.call(13, case, &produce_to(name, id, partition, -1, Some(records)));
    }
    steps::fetch(peer, 12, "all", name, id, &[(0, 0), (1, 0), (2, 0)]);
}

fn producer_epochs(peer: &mut Peer) {
    let name = "w-epochs";
    let id = make_topic(peer, name, 1, &[]);
    let (producer, first) = new_producer(peer, -1, -1);
    let send = |peer: &mut Peer, case: &str, epoch, sequence| {
        for version in [9, 13] {
            let records = of_producer(producer, epoch, sequence, 1);
            peer.call(version, case, &produce(name, id, -1, Some(records)));
        }
    };
    send(peer, "first", first, 0);
    send(peer, "newer epoch from one", first + 1, 1);
    send(peer, "newer epoch from zero", first + 1, 0);
    send(peer, "stale epoch", first, 1);
    send(peer, "stale epoch, its last again", first, 0);
    send(peer, "newer epoch goes on", first + 1, 1);
    send(peer, "much newer epoch", first + 9, 0);
    send(peer, "largest epoch", i16::MAX, 0);
    let (next, _) = new_producer(peer, producer, first);
    peer.note(5, "InitProducerId: the same producer goes on", &(next == producer));
    steps::fetch(peer, 12, "all", name, id, &[(0, 0)]);
}

fn sequences_after_deletion(peer: &mut Peer) {
    let name = "w-sequences-deleted";
    let id = make_topic(peer, name, 1, &[]);
    let (producer, epoch) = new_producer(peer, -1, -1);
    let send = |peer: &mut Peer, case: &str, sequence, count| {
        let records = of_producer(producer, epoch, sequence, count);
        peer.call(13, case, &produce(name, id, -1, Some(records)));
    };
    send(peer, "first", 0, 3);
    send(peer, "second", 3, 3);
    peer.call(2, "all", &deleting(name, &[(0, -1)]));
    send(peer, "second again", 3, 3);
    send(peer, "third", 6, 1);
    send(peer, "gap", 9, 1);
    peer.call(2, "all again", &deleting(name, &[(0, -1)]));
    send(peer, "from zero", 0, 1);
    send(peer, "fourth", 7, 1);
    peer.call(11, "at the end", &list_offsets(name, &[(0, -1), (0, -2)]));
}

fn session_through_changes(peer: &mut Peer) {
    let (name, other) = ("w-session", "w-session-other");
    let (id, other_id) = (make_topic(peer, name, 2, &[]), make_topic(peer, other, 1, &[]));
    append(peer, name, 0, batch(2));
    for version in [7, 12, 13, 17] {
        let mut session = fetching(name, id, &[(0, 0), (1, 0), (5, 0)]);
        session.topics.extend(fetching(other, other_id, &[(0, 0)]).topics);
        session.session_id = steps::fetch_with(peer, version, "opens", &session).session_id;
        let mut epoch = 0;
        let mut next = |peer: &mut Peer, case: &str, change: &dyn Fn(&mut FetchRequest<'static>)| {
            epoch += 1;
            let mut request = FetchRequest { topics: Vec::new(), session_epoch: epoch, ..session.clone() };
            change(&mut request);
            steps::fetch_with(peer, version, case, &request);
        };
        next(peer, "nothing new", &|_| {});
        append(peer, other, 0, batch(1));
        next(peer, "records of the other", &|_| {});
        next(peer, "the same again, not moved", &|_| {});
        next(peer, "moved", &|request| request.topics = fetching(other, other_id, &[(0, 1)]).topics);
        append(peer, name, 1, batch(1));
        append(peer, other, 0, batch(1));
        next(peer, "records of two", &|_| {});
        next(peer, "one forgotten", &|request| {
            request.forgotten_topics_data =
                vec![ForgottenTopic { topic: name.into(), topic_id: id, partitions: vec![0, 5] }];
        });
        next(peer, "moved beyond the end", &|request| {
            request.topics = fetching(name, id, &[(1, 99)]).topics;
        });
        next(peer, "still beyond the end", &|_| {});
        peer.ask(2, &deleting(name, &[(0, -1)])).expect("an answer");
        next(peer, "remembered before its start", &|request| {
            request.topics = fetching(name, id, &[(0, 0)]).topics;
        });
        append(peer, name, 0, batch(2));
    }
    let mut session = fetching(other, other_id, &[(0, 0)]);
    let opened = steps::fetch_with(peer, 17, "before the deletion", &session);
    (session.session_id, session.session_epoch) = (opened.session_id, 1);
    session.topics.clear();
    peer.call(6, "of a session's topic", &delete(other));
    barrier(peer);
    steps::fetch_with(peer, 17, "after the deletion", &session);
    session.session_epoch = 2;
    steps::fetch_with(peer, 17, "after the deletion, again", &session);
    make_topic(peer, other, 1, &[]);
    session.session_epoch = 3;
    steps::fetch_with(peer, 17, "after it was made again", &session);
}

fn long_polls(peer: &mut Peer) {
    let name = "w-waiting";
    let id = make_topic(peer, name, 2, &[]);
    let waiting = |partitions: &[(i32, i64)], min_bytes| FetchRequest {
        max_wait_ms: 10_000,
        min_bytes,
        ..fetching(name, id, partitions)
    };
    let play = |peer: &mut Peer, case: &str, request: &FetchRequest<'_>, act: &dyn Fn(&mut Peer)| {
        peer.send(1, 17, request).expect("sent");
        std::thread::sleep(std::time::Duration::from_millis(50));
        act(peer);
        let answer = peer.receive_edited::<FetchRequest<'_>>(1, 17, case, batches::take_out);
        peer.note(17, &format!("Batches: {case}"), &batches::of(&answer));
    };
    let both = waiting(&[(0, 0), (1, 0)], 1);
    play(peer, "woken by the first", &both, &|peer| append(peer, name, 0, batch(1)));
    let end = waiting(&[(0, 1), (1, 0)], 1);
    play(peer, "woken by the second", &end, &|peer| append(peer, name, 1, batch(2)));
    let much = waiting(&[(0, 1), (1, 2)], 200);
    play(peer, "woken when there is enough", &much, &|peer| {
        append(peer, name, 0, batch(1));
        append(peer, name, 1, batch(1));
        append(peer, name, 1, batch(1));
    });
    let late = FetchRequest { max_wait_ms: 150, ..waiting(&[(0, 2), (1, 4)], 1) };
    play(peer, "never woken", &late, &|_| {});
    let wrong = waiting(&[(0, 2), (1, 99)], 1);
    play(peer, "an error does not wait", &wrong, &|_| {});
    let end = waiting(&[(0, 2), (1, 4)], 1);
    play(peer, "woken by other partitions that come", &end, &|peer| {
        peer.ask(3, &grow(name, 3)).expect("an answer");
        append(peer, name, 0, batch(1));
    });
    let end = FetchRequest { max_wait_ms: 3000, ..waiting(&[(0, 3)], 1) };
    play(peer, "its topic deleted", &end, &|peer| {
        peer.ask(6, &delete(name)).expect("an answer");
    });
}

fn acks(peer: &mut Peer) {
    let name = "w-acks";
    let id: Uuid = make_topic(peer, name, 1, &[]);
    for (version, acks) in [(3, 1), (13, 1), (3, -1), (13, -1), (13, 5)] {
        let answer = peer.call(version, &format!("acks {acks}"), &produce(name, id, acks, Some(batch(2))));
        let end = answer.responses[0].partition_responses[0].base_offset + 2;
        steps::until_readable(peer, name, 0, end);
        peer.call(11, &format!("after acks {acks}"), &list_offsets(name, &[(0, -1)]));
    }
    peer.send(1, 13, &produce(name, id, 0, Some(batch(2)))).expect("sent");
    peer.send(1, 13, &produce(name, id, -1, Some(batch(1)))).expect("sent");
    peer.receive::<ottla_protocol::messages::ProduceRequest<'_>>(1, 13, "after one without an answer");
    steps::fetch(peer, 12, "all", name, id, &[(0, 0)]);
}
