//! Transactions that are open while the servers change. The next server commits one for a producer of transaction version 1
//! (with offsets in it) and one for a producer of version 2; a third is aborted by who takes its id over.

use std::collections::BTreeMap;

use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, DescribeTransactionsRequest, EndTxnRequest,
    FindCoordinatorRequest, InitProducerIdRequest, TxnOffsetCommitRequest,
};
use ottla_record::BatchBuilder;
use ottla_types::{ProducerEpoch, ProducerId, Sequence, Uuid};

use super::{PLAIN, make_topic, now_ms, produce_in};
use crate::peer::Peer;
use crate::view;

const FIRST: &str = "open, version 1";
const SECOND: &str = "open, version 2";
const TAKEN: &str = "open, taken over";
const GROUP: &str = "offsets in transactions";

/// A topic for each, so that one does not hold back the others' readers.
pub(super) fn topic_of(id: &str) -> &'static str {
    match id {
        FIRST => "open-first",
        SECOND => "open-second",
        "decided, to commit" => "decided-commit",
        "decided, to abort" => "decided-abort",
        _ => "open-taken",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    id: i64,
    epoch: i16,
    /// The next sequence.
    next: i32,
}

/// The producers, as they were left.
#[derive(Debug, Default)]
pub(crate) struct Open(BTreeMap<&'static str, Producer>);

impl Open {
    pub(crate) fn work(&mut self, peer: &mut Peer, turn: usize) {
        let ids = [FIRST, SECOND, TAKEN];
        if turn == 1 {
            ids.iter().for_each(|id| make_topic(peer, topic_of(id), 1, &[]));
        }
        if !peer.serves(ApiKey::EndTxn) {
            return;
        }
        for id in ids {
            let request = FindCoordinatorRequest {
                key_type: 1,
                coordinator_keys: vec![id.into()],
                ..FindCoordinatorRequest::default()
            };
            peer.wait_for(4, &request, |answer| answer.coordinators[0].error_code == 0);
            if let Some(producer) = self.0.get(id).copied() {
                Self::is_open(peer, id, producer);
                let readable = readable(peer, id);
                match id {
                    FIRST | SECOND => {
                        self.goes_on(peer, id, turn);
                        let now = wait_for_end(peer, id);
                        assert_eq!(now.len(), readable.len() + 2, "committed once: {now:#?}");
                    }
                    _ => {
                        let taken = init(peer, id);
                        assert!(taken.id == producer.id && taken.epoch > producer.epoch, "{taken:?}");
                        let (error, _) = Self::append(peer, id, producer, "after the end", false);
                        // INVALID_PRODUCER_EPOCH, or PRODUCER_FENCED.
                        assert!([47, 90].contains(&error), "the old producer: error {error}");
                        let now = wait_for_end(peer, id);
                        assert_eq!(now, readable, "nothing of it is seen");
                    }
                }
            }
        }
        for id in ids {
            self.begins(peer, id, turn);
        }
    }

    /// The coordinator knows the transaction, and the log holds readers back.
    fn is_open(peer: &mut Peer, id: &'static str, producer: Producer) {
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
        let answer = peer.wait_for(0, &request, |answer| answer.transaction_states[0].error_code == 0);
        let found = &answer.transaction_states[0];
        assert_eq!(found.transaction_state, "Ongoing", "{found:?}");
        assert_eq!((found.producer_id, found.producer_epoch), (producer.id, producer.epoch), "{found:?}");
        assert!(found.topics.iter().any(|topic| topic.topic == topic_of(id)), "{found:?}");
        let (stable, end) = ends(peer, id);
        assert!(stable < end, "{id}: stable up to {stable} of {end}");
    }

    /// The producer adds its next batch and commits, as if nothing had happened.
    fn goes_on(&mut self, peer: &mut Peer, id: &'static str, turn: usize) {
        let second = id == SECOND;
        let producer = self.0.get_mut(id).expect("it was open");
        let (error, _) = Self::append(peer, id, *producer, &format!("turn {turn}, the end"), second);
        assert_eq!(error, 0, "{id} goes on");
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: true,
        };
        let answer = peer.ask(if second { 5 } else { 3 }, &request);
        assert_eq!(answer.error_code, 0, "{answer:?}");
    }

    fn begins(&mut self, peer: &mut Peer, id: &'static str, turn: usize) {
        let mut producer = init(peer, id);
        if id != SECOND {
            add(peer, id, producer);
        }
        let (error, _) = Self::append(peer, id, producer, &format!("turn {turn}, the begin"), id == SECOND);
        assert_eq!(error, 0, "{id} begins");
        producer.next += 1;
        if id == FIRST {
            add_offset(peer, id, producer, i64::try_from(turn).expect("few"));
        }
        self.0.insert(id, producer);
    }

    /// Error and offset. `second`: the append itself adds the partition to the transaction.
    pub(super) fn append(
        peer: &mut Peer,
        id: &'static str,
        producer: Producer,
        value: &str,
        second: bool,
    ) -> (i16, i64) {
        let mut batch = BatchBuilder::new()
            .producer(ProducerId(producer.id), ProducerEpoch(producer.epoch), Sequence(producer.next))
            .transactional(true);
        batch.append(now_ms(), None, Some(value.as_bytes()), &[]).expect("a record");
        let batch = batch.build().expect("a batch");
        produce_in(peer, if second { 12 } else { 9 }, Some(id), topic_of(id), 0, batch)
    }
}

/// The id's producer, after what was open has ended.
pub(super) fn init(peer: &mut Peer, id: &'static str) -> Producer {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        // The longest: on a busy machine too it does not end by itself.
        transaction_timeout_ms: 900_000,
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let given = peer.wait_for(4, &request, |answer| answer.error_code == 0);
    Producer { id: given.producer_id, epoch: given.producer_epoch, next: 0 }
}

pub(super) fn add(peer: &mut Peer, id: &'static str, producer: Producer) {
    let topics = vec![AddPartitionsToTxnTopic { name: topic_of(id).into(), partitions: vec![0] }];
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.into(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: topics,
        ..AddPartitionsToTxnRequest::default()
    };
    peer.wait_for(3, &request, |answer| {
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0
    });
}

/// An offset that is committed with the transaction.
fn add_offset(peer: &mut Peer, id: &'static str, producer: Producer, offset: i64) {
    let request =
        FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..FindCoordinatorRequest::default() };
    peer.wait_for(4, &request, |answer| answer.coordinators[0].error_code == 0);
    let request = AddOffsetsToTxnRequest {
        transactional_id: id.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: GROUP.into(),
    };
    peer.wait_for(3, &request, |answer| answer.error_code == 0);
    let partition = TxnOffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: 0,
        committed_metadata: Some("in a transaction".into()),
    };
    let topic =
        TxnOffsetCommitRequestTopic { name: PLAIN.into(), topic_id: Uuid::ZERO, partitions: vec![partition] };
    let request = TxnOffsetCommitRequest {
        transactional_id: id.into(),
        group_id: GROUP.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id_or_member_epoch: -1,
        member_id: "".into(),
        group_instance_id: None,
        topics: vec![topic],
    };
    peer.wait_for(3, &request, |answer| answer.topics[0].partitions[0].error_code == 0);
}

/// Last stable offset and high watermark.
fn ends(peer: &mut Peer, id: &str) -> (i64, i64) {
    let topic = topic_of(id);
    view::offset_of(peer, topic, 0, -1);
    view::ends(peer, topic)
}

fn readable(peer: &mut Peer, id: &str) -> Vec<String> {
    view::committed(peer, topic_of(id))
}

/// Everything that a reader of committed records sees, as soon as nothing is open.
fn wait_for_end(peer: &mut Peer, id: &str) -> Vec<String> {
    let begin = std::time::Instant::now();
    loop {
        let (stable, end) = ends(peer, id);
        if stable == end {
            return readable(peer, id);
        }
        assert!(begin.elapsed().as_secs() < 60, "{id}: stable up to {stable} of {end}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
