//! Transactions: through every state in both of their versions, with what partitions and groups show after each step.

use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnResponse, DescribeProducersRequest,
    DescribeTransactionsRequest, FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest,
    ListTransactionsRequest, OffsetFetchRequest, ProduceRequest, TxnOffsetCommitRequest,
};
use ottla_record::BatchBuilder;
use ottla_types::{ProducerEpoch, ProducerId, Sequence as Number, Uuid};

use super::Sequence;
use super::steps::{self, fetching};
use super::topics::delete;
use crate::client::Peer;
use crate::requests::{T0, append, barrier, batch, fill, list_offsets, make_topic, produce_to};
use crate::transactions::{Known, adding, ending, init_request, settled};

pub(super) const SEQUENCES: &[Sequence] = &[
    ("transactions whose partitions are added", |peer| life(peer, OLD, "w-txn-old")),
    ("transactions whose partitions add themselves", |peer| life(peer, NEW, "w-txn-new")),
    ("a second instance fences, older requests", |peer| fenced(peer, OLD, "w-fence-old")),
    ("a second instance fences, newer requests", |peer| fenced(peer, NEW, "w-fence-new")),
    ("offsets of groups in transactions, older requests", |peer| offsets(peer, OLD, "w-txn-offsets-old")),
    ("offsets of groups in transactions, newer requests", |peer| offsets(peer, NEW, "w-txn-offsets-new")),
    ("two transactions over each other", overlapping),
    ("a producer that changes from older to newer requests", changing_versions),
    ("requests that a transaction's state refuses", wrong_states),
    ("timeouts of transactions", timeouts),
    ("a transaction that nobody ends", silent_producer),
    ("a transaction over a topic that is deleted", deleted_topic),
    ("records deleted under an open transaction", records_deleted),
    ("a compacted topic with transactions", compacted),
];

/// The versions of requests that a producer uses.
#[derive(Clone, Copy, Debug)]
struct Requests {
    init: i16,
    produce: i16,
    commit: i16,
    end: i16,
    /// Whether the broker adds partitions and groups by itself, and every end gives another epoch (KIP-890).
    implicit: bool,
}

const OLD: Requests = Requests { init: 4, produce: 11, commit: 4, end: 4, implicit: false };
const NEW: Requests = Requests { init: 5, produce: 13, commit: 5, end: 5, implicit: true };

/// A transactional producer and the topic it writes to.
struct Txn<'a> {
    peer: &'a mut Peer,
    requests: Requests,
    id: String,
    topic: String,
    topic_id: Uuid,
    producer: Known,
    /// The next sequence number of each of its three partitions.
    next: [i32; 3],
}

impl<'a> Txn<'a> {
    /// Makes the topic of that name, and takes the id of that name.
    fn new(peer: &'a mut Peer, requests: Requests, name: &str) -> Self {
        let topic_id = make_topic(peer, name, 3, &[]);
        let coordinator = FindCoordinatorRequest {
            coordinator_keys: vec![name.into()],
            key_type: 1,
            ..FindCoordinatorRequest::default()
        };
        peer.wait_for(4, &coordinator, |answer| {
            answer.coordinators.iter().all(|found| found.error_code == 0)
        });
        let (id, topic) = (name.to_owned(), name.to_owned());
        let mut txn =
            Self { peer, requests, id, topic, topic_id, producer: Known { id: -1, epoch: -1 }, next: [0; 3] };
        txn.init("first");
        txn
    }

    /// Takes the id over, however long that takes; writes down what was given at last.
    fn init(&mut self, case: &str) {
        let request = init_request(&self.id);
        let given = self.peer.wait_for(self.requests.init, &request, |answer| answer.error_code == 0);
        self.producer = Known { id: given.producer_id, epoch: given.producer_epoch };
        self.next = [0; 3];
        self.peer.record_answer::<InitProducerIdRequest<'_>>(self.requests.init, case, given);
    }

    fn add(&mut self, case: &str, partitions: &[i32]) -> AddPartitionsToTxnResponse<'static> {
        let topic =
            AddPartitionsToTxnTopic { name: self.topic.clone().into(), partitions: partitions.to_vec() };
        let request = adding(&self.id, self.producer, vec![topic]);
        self.peer.call(3, case, &request)
    }

    fn records(&self, producer: Known, sequence: i32, count: usize) -> Vec<u8> {
        let builder = BatchBuilder::new().transactional(true).producer(
            ProducerId(producer.id),
            ProducerEpoch(producer.epoch),
            Number(sequence),
        );
        fill(builder, count, T0)
    }

    fn produce_as(&mut self, case: &str, producer: Known, partition: i32, sequence: i32, count: usize) {
        let records = self.records(producer, sequence, count);
        let request = ProduceRequest {
            transactional_id: Some(self.id.clone().into()),
            ..produce_to(&self.topic, self.topic_id, partition, -1, Some(records))
        };
        self.peer.call(self.requests.produce, case, &request);
    }

    /// Writes the next records to a partition; adds it before if requests of that version do not.
    fn write(&mut self, partition: usize, count: i32) {
        let index = i32::try_from(partition).expect("a small number");
        if !self.requests.implicit {
            self.add(&format!("partition {index}"), &[index]);
        }
        let sequence = self.next[partition];
        let len = usize::try_from(count).expect("a small number");
        self.produce_as(&format!("{count} to {index}"), self.producer, index, sequence, len);
        self.next[partition] += count;
    }

    fn end(&mut self, case: &str, committed: bool) {
        let request = ending(&self.id, self.producer, committed);
        let answer = self.peer.call(self.requests.end, case, &request);
        settled(self.peer, &self.id, if committed { "CompleteCommit" } else { "CompleteAbort" });
        if self.requests.implicit && answer.error_code == 0 {
            self.producer = Known { id: answer.producer_id, epoch: answer.producer_epoch };
            self.next = [0; 3];
        }
    }

    /// Everything that can be seen of transactions and of the topic.
    fn show(&mut self, case: &str) {
        let id = self.id.clone();
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.clone().into()] };
        self.peer.call(0, case, &request);
        self.peer.call_edited(2, case, &ListTransactionsRequest::default(), |answer| {
            answer.transaction_states.retain(|state| state.transactional_id == id);
        });
        let topic = TopicRequest { name: self.topic.clone().into(), partition_indexes: vec![0, 1, 2] };
        self.peer.call(0, case, &DescribeProducersRequest { topics: vec![topic] });
        for timestamp in [-1, -2, -3, T0 + 1] {
            for isolation_level in [0, 1] {
                let wanted = [(0, timestamp), (1, timestamp), (2, timestamp)];
                let request = ListOffsetsRequest { isolation_level, ..list_offsets(&self.topic, &wanted) };
                self.peer.call(9, &format!("{timestamp} {case}, isolation {isolation_level}"), &request);
            }
        }
        for (version, isolation_level, from) in [(12, 0, 0), (12, 1, 0), (16, 1, 3)] {
            let mut request = fetching(&self.topic, self.topic_id, &[(0, from), (1, 0), (2, 0)]);
            request.isolation_level = isolation_level;
            steps::fetch_with(self.peer, version, &format!("{case}, isolation {isolation_level}"), &request);
        }
    }
}

fn life(peer: &mut Peer, requests: Requests, name: &'static str) {
    let mut txn = Txn::new(peer, requests, name);
    append(txn.peer, name, 0, batch(2));
    txn.show("empty");
    txn.write(0, 2);
    txn.show("one partition");
    append(txn.peer, name, 0, batch(2));
    txn.write(1, 1);
    txn.write(0, 1);
    txn.show("two partitions");
    txn.end("commit", true);
    txn.show("committed");
    txn.end("commit again", true);
    txn.show("committed again");
    txn.write(0, 3);
    append(txn.peer, name, 0, batch(1));
    txn.show("the second");
    txn.end("abort", false);
    txn.show("aborted");
    txn.end("abort again", false);
    txn.show("aborted again");
    txn.write(2, 1);
    txn.write(0, 1);
    txn.end("abort the third", false);
    txn.write(2, 2);
    txn.end("commit the fourth", true);
    txn.show("at the end");
    txn.init("again");
    txn.show("taken over");
}

fn fenced(peer: &mut Peer, requests: Requests, name: &'static str) {
    let mut txn = Txn::new(peer, requests, name);
    txn.write(0, 2);
    let old = txn.producer;
    // The one that fences is told to come again while the open transaction is aborted.
    let request = init_request(name);
    txn.peer.call(requests.init, "a second instance", &request);
    settled(txn.peer, name, "CompleteAbort");
    txn.show("aborted by the second");
    txn.init("the second instance");
    let new = txn.producer;
    txn.show("taken over");
    txn.produce_as("of the first", old, 0, 2, 1);
    txn.produce_as("of the first, elsewhere", old, 1, 0, 1);
    for (case, producer) in [("the first", old), ("nobody", Known { id: old.id + 10_000, ..old })] {
        txn.producer = producer;
        txn.add(&format!("by {case}"), &[0]);
        for version in [3, requests.end] {
            txn.peer.call(version, &format!("commit by {case}"), &ending(name, producer, true));
            txn.peer.call(version, &format!("abort by {case}"), &ending(name, producer, false));
        }
        let request = InitProducerIdRequest {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..init_request(name)
        };
        txn.peer.call(requests.init, &format!("{case} goes on"), &request);
    }
    txn.show("after the first was refused");
    txn.producer = new;
    txn.write(0, 1);
    txn.produce_as("of the first, in the second's transaction", old, 0, 3, 1);
    txn.end("commit by the second", true);
    txn.show("committed by the second");
    // The second goes on after an error of its own.
    let producer = txn.producer;
    let goes_on = InitProducerIdRequest {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        ..init_request(name)
    };
    for case in ["goes on", "goes on, the answer got lost"] {
        let answer = txn.peer.call(requests.init, case, &goes_on);
        txn.producer = Known { id: answer.producer_id, epoch: answer.producer_epoch };
    }
    txn.next = [0; 3];
    txn.write(1, 1);
    txn.end("abort at last", false);
    txn.show("at the end");
}

impl Txn<'_> {
    fn add_group(&mut self, case: &str, group: &str) {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id.clone().into(),
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            group_id: group.to_owned().into(),
        };
        self.peer.call(4, case, &request);
    }

    fn commit(&mut self, case: &str, producer: Known, group: &str, offsets: &[(i32, i64)]) {
        let partition = |(index, offset): &(i32, i64)| TxnOffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_leader_epoch: 0,
            committed_metadata: Some(format!("at {offset}").into()),
        };
        let topic = TxnOffsetCommitRequestTopic {
            name: self.topic.clone().into(),
            topic_id: self.topic_id,
            partitions: offsets.iter().map(partition).collect(),
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.clone().into(),
            group_id: group.to_owned().into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..TxnOffsetCommitRequest::default()
        };
        self.peer.call(self.requests.commit, case, &request);
    }

    fn committed(&mut self, case: &str, group: &str) {
        for (version, all, require_stable) in
            [(8, false, false), (8, false, true), (9, true, false), (9, true, true), (10, false, true)]
        {
            let topics = vec![OffsetFetchRequestTopics {
                name: self.topic.clone().into(),
                topic_id: self.topic_id,
                partition_indexes: vec![0, 1, 2],
            }];
            let group = OffsetFetchRequestGroup {
                group_id: group.to_owned().into(),
                topics: (!all).then_some(topics),
                ..OffsetFetchRequestGroup::default()
            };
            let request =
                OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() };
            self.peer.call(version, &format!("{case}, all: {all}, stable: {require_stable}"), &request);
        }
    }
}

fn offsets(peer: &mut Peer, requests: Requests, name: &'static str) {
    let group = format!("{name}-group");
    let mut txn = Txn::new(peer, requests, name);
    txn.committed("of nothing", &group);
    if !requests.implicit {
        txn.commit("before the group is added", txn.producer, &group, &[(0, 1)]);
        txn.add_group("the group", &group);
    }
    txn.commit("first", txn.producer, &group, &[(0, 1), (1, 1)]);
    txn.show("with a group");
    txn.committed("in the first", &group);
    txn.commit("more", txn.producer, &group, &[(0, 2)]);
    txn.end("commit", true);
    txn.show("committed");
    txn.committed("after the first", &group);
    if !requests.implicit {
        txn.add_group("the group again", &group);
    }
    txn.write(0, 1);
    let producer = txn.producer;
    txn.commit("second", producer, &group, &[(0, 7), (2, 7)]);
    txn.commit("of a stale epoch", Known { epoch: producer.epoch - 1, ..producer }, &group, &[(1, 9)]);
    txn.commit("of a newer epoch", Known { epoch: producer.epoch + 1, ..producer }, &group, &[(1, 9)]);
    txn.commit("of a partition that is not there", producer, &group, &[(1, 8), (9, 8)]);
    txn.committed("in the second", &group);
    txn.show("the second");
    txn.end("abort", false);
    txn.committed("after the second", &group);
    txn.show("aborted");
    if !requests.implicit {
        txn.add_group("the group once more", &group);
    }
    txn.commit("third", txn.producer, &group, &[(2, 3)]);
    txn.committed("in the third", &group);
    txn.init("taken over, which aborts");
    txn.committed("after the third", &group);
    txn.add_group("no name", "");
    txn.show("at the end");
}

fn overlapping(peer: &mut Peer) {
    let name = "w-txn-over";
    let mut txn = Txn::new(peer, NEW, name);
    let other = crate::transactions::take(txn.peer, "w-txn-over-other");
    let write_other = |txn: &mut Txn<'_>, case: &str, sequence| {
        let records = txn.records(other, sequence, 1);
        let request = ProduceRequest {
            transactional_id: Some("w-txn-over-other".into()),
            ..produce_to(name, txn.topic_id, 0, -1, Some(records))
        };
        txn.peer.call(12, case, &request);
    };
    txn.write(0, 1);
    write_other(&mut txn, "the other", 0);
    txn.write(0, 1);
    txn.show("both open");
    txn.end("abort the first", false);
    txn.show("the first aborted");
    write_other(&mut txn, "the other goes on", 1);
    txn.write(0, 2);
    txn.show("the first again");
    txn.peer.call(5, "abort the other", &ending("w-txn-over-other", other, false));
    settled(txn.peer, "w-txn-over-other", "CompleteAbort");
    txn.show("the other aborted");
    txn.end("commit the first", true);
    txn.show("all ended");
    for offset in 0..10 {
        let mut request = fetching(name, txn.topic_id, &[(0, offset)]);
        request.isolation_level = 1;
        steps::fetch_with(txn.peer, 13, &format!("committed from {offset}"), &request);
    }
}

fn changing_versions(peer: &mut Peer) {
    let name = "w-txn-change";
    let mut txn = Txn::new(peer, OLD, name);
    txn.write(0, 1);
    txn.end("commit, older", true);
    txn.show("committed by older requests");
    txn.requests = NEW;
    txn.write(1, 1);
    txn.show("written by newer requests");
    txn.end("commit, newer", true);
    txn.show("committed by newer requests");
    txn.init("taken over by newer requests");
    txn.write(0, 1);
    txn.end("abort, newer", false);
    txn.requests = OLD;
    txn.init("taken over by older requests");
    txn.write(0, 1);
    txn.show("written by older requests");
    txn.end("abort, older", false);
    txn.show("at the end");
}

fn wrong_states(peer: &mut Peer) {
    for (requests, name) in [(OLD, "w-txn-wrong-old"), (NEW, "w-txn-wrong-new")] {
        let mut txn = Txn::new(peer, requests, name);
        txn.peer.call(requests.end, "commit of nothing", &ending(name, txn.producer, true));
        txn.show("after the commit of nothing");
        if !requests.implicit {
            txn.peer.call(requests.end, "abort of nothing", &ending(name, txn.producer, false));
            txn.produce_as("not added", txn.producer, 1, 0, 1);
        }
        txn.write(0, 1);
        txn.produce_as("a gap", txn.producer, 0, 5, 1);
        txn.produce_as("again", txn.producer, 0, 0, 1);
        let newer = Known { epoch: txn.producer.epoch + 1, ..txn.producer };
        txn.produce_as("a newer epoch", newer, 0, 0, 1);
        let plain = BatchBuilder::new().producer(
            ProducerId(txn.producer.id),
            ProducerEpoch(txn.producer.epoch),
            Number(1),
        );
        let request = produce_to(name, txn.topic_id, 0, -1, Some(fill(plain, 1, T0)));
        txn.peer.call(13, "not transactional in a transaction", &request);
        let before = txn.producer;
        txn.end("commit", true);
        for (case, committed) in [("commit", true), ("abort", false)] {
            let request = ending(name, before, committed);
            txn.peer.call(requests.end, &format!("{case} by the epoch before"), &request);
        }
        txn.show("after ends by the epoch before");
        txn.write(0, 1);
        txn.produce_as("by the epoch before", Known { epoch: before.epoch - 1, ..before }, 0, 2, 1);
        txn.end("abort", false);
        txn.show("at the end");
    }
}

fn timeouts(peer: &mut Peer) {
    let name = "w-txn-timeouts";
    let mut txn = Txn::new(peer, NEW, name);
    for version in 0..=5 {
        for transaction_timeout_ms in [0, -1, 1, 900_000, 900_001, i32::MAX] {
            let request = InitProducerIdRequest { transaction_timeout_ms, ..init_request(name) };
            let case = format!("a timeout of {transaction_timeout_ms}");
            let answer = txn.peer.call(version, &case, &request);
            if answer.error_code == 0 {
                txn.producer = Known { id: answer.producer_id, epoch: answer.producer_epoch };
            }
        }
        txn.show("after timeouts");
        // Without an id any timeout is fine, with an empty one none is.
        for (case, transactional_id) in [("without an id", None), ("with an empty id", Some("".into()))] {
            let request = InitProducerIdRequest {
                transactional_id,
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            txn.peer.call(version, case, &request);
        }
    }
}

fn silent_producer(peer: &mut Peer) {
    let name = "w-txn-silent";
    let mut txn = Txn::new(peer, NEW, name);
    let request = InitProducerIdRequest { transaction_timeout_ms: 300, ..init_request(name) };
    let given = txn.peer.call(5, "with a short timeout", &request);
    txn.producer = Known { id: given.producer_id, epoch: given.producer_epoch };
    txn.write(0, 2);
    settled(txn.peer, name, "CompleteAbort");
    txn.show("after the timeout");
    txn.produce_as("after the timeout", txn.producer, 0, 2, 1);
    txn.add("after the timeout", &[0]);
    for version in [4, 5] {
        txn.peer.call(version, "commit after the timeout", &ending(name, txn.producer, true));
        txn.peer.call(version, "abort after the timeout", &ending(name, txn.producer, false));
    }
    txn.init("comes back");
    txn.write(0, 1);
    txn.end("commit", true);
    txn.show("at the end");
}

fn deleted_topic(peer: &mut Peer) {
    let name = "w-txn-deleted";
    let mut txn = Txn::new(peer, NEW, name);
    txn.write(0, 2);
    txn.peer.call(6, "under a transaction", &delete(name));
    barrier(txn.peer);
    txn.show("deleted");
    txn.end("commit", true);
    txn.show("committed");
    txn.topic_id = make_topic(txn.peer, name, 3, &[]);
    txn.write(0, 1);
    txn.end("abort", false);
    txn.show("made again");
}

fn records_deleted(peer: &mut Peer) {
    let name = "w-txn-records";
    let mut txn = Txn::new(peer, NEW, name);
    append(txn.peer, name, 0, batch(2));
    txn.write(0, 3);
    append(txn.peer, name, 0, batch(2));
    for offset in [1, 3, 5, 6] {
        let request = super::records::deleting(name, &[(0, offset)]);
        txn.peer.call(2, &format!("to {offset}"), &request);
        txn.show(&format!("deleted to {offset}"));
    }
    txn.end("abort", false);
    txn.show("aborted");
    // The marker is in a segment of its own: it is years later than the records. As long as the segment before it is there,
    // no offset is found by time, after that the marker is.
    txn.peer.call(2, "all but the marker", &super::records::deleting(name, &[(0, MARKER)]));
    let by_time = list_offsets(name, &[(0, T0)]);
    txn.peer.wait_for(5, &by_time, |answer| answer.topics[0].partitions[0].offset == MARKER);
    txn.show("deleted to the marker");
    txn.peer.call(2, "the marker too", &super::records::deleting(name, &[(0, MARKER + 1)]));
    txn.show("deleted behind the marker");
}

/// The last offset of [`records_deleted`].
const MARKER: i64 = 7;

/// The last offset of [`compacted`] that can be compacted.
const LAST_MARKER: i64 = 20;

/// What compaction leaves of committed and aborted transactions and of plain records with the same keys.
fn compacted(peer: &mut Peer) {
    let name = "w-txn-compacted";
    let mut txn = Txn::new(peer, NEW, name);
    for (key, value) in
        [("segment.ms", "1000"), ("min.cleanable.dirty.ratio", "0.01"), ("cleanup.policy", "compact")]
    {
        steps::config(txn.peer, name, key, value);
    }
    let plain = |peer: &mut Peer, hours: i64, count: usize| {
        append(peer, name, 0, fill(BatchBuilder::new(), count, T0 + hours * 3_600_000));
    };
    plain(txn.peer, 0, 6);
    txn.write(0, 3);
    txn.end("commit", true);
    plain(txn.peer, 1, 1);
    txn.write(0, 5);
    txn.end("abort", false);
    plain(txn.peer, 2, 2);
    txn.write(0, 1);
    txn.end("commit the last", true);
    // Its marker has the time of now; a batch that is later still begins the segment that stays as it is.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let soon = i64::try_from(now.as_millis()).expect("a time") + 1_800_000;
    append(txn.peer, name, 0, fill(BatchBuilder::new(), 1, soon));
    let first = fetching(name, Uuid::ZERO, &[(0, 0)]);
    // An answer has the batches of one segment: all that was compacted becomes one, up to the last marker.
    txn.peer.wait_for(12, &first, |answer| {
        let records = answer.responses[0].partitions[0].records.as_ref();
        let mut left = records.and_then(|records| records.as_slice()).unwrap_or_default();
        let (mut count, mut last) = (0, -1);
        while let Ok((batch, rest)) = ottla_record::BatchView::parse(left) {
            last = batch.last_offset().value();
            if last <= LAST_MARKER && !batch.attributes().is_control() {
                count += batch.record_count();
            }
            left = rest;
        }
        // There are six keys.
        last >= LAST_MARKER && count <= 6
    });
    txn.show("compacted");
}
