//! Transactions, on servers that have them: one committed, one aborted, and the next epoch of the same id in each turn.

use ottla_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use ottla_protocol::messages::{
    AddPartitionsToTxnRequest, ApiKey, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
};
use ottla_record::BatchBuilder;
use ottla_types::{ProducerEpoch, ProducerId, Sequence};

use super::{make_topic, now_ms, try_produce_as};
use crate::peer::Peer;

const TOPIC: &str = "transactional";
const ID: &str = "the transaction's id";

/// Producer id and epoch of the last turn.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    last: Option<(i64, i16)>,
}

impl Transactions {
    pub(crate) fn work(&mut self, peer: &mut Peer, turn: usize) {
        if turn == 1 {
            make_topic(peer, TOPIC, 1, &[]);
        }
        if !peer.serves(ApiKey::EndTxn) {
            return;
        }
        let request = FindCoordinatorRequest {
            key_type: 1,
            coordinator_keys: vec![ID.into()],
            ..FindCoordinatorRequest::default()
        };
        peer.wait_for(4, &request, |answer| answer.coordinators[0].error_code == 0);
        for committed in [true, false] {
            let request = InitProducerIdRequest {
                transactional_id: Some(ID.into()),
                transaction_timeout_ms: 60_000,
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdRequest::default()
            };
            let given = peer.wait_for(4, &request, |answer| answer.error_code == 0);
            let (id, epoch) = (given.producer_id, given.producer_epoch);
            if let Some((last, before)) = self.last {
                assert!(id == last && epoch > before, "producer {id} epoch {epoch} after {last} {before}");
            }
            self.last = Some((id, epoch));
            let topics = vec![AddPartitionsToTxnTopic { name: TOPIC.into(), partitions: vec![0] }];
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: ID.into(),
                v3_and_below_producer_id: id,
                v3_and_below_producer_epoch: epoch,
                v3_and_below_topics: topics,
                ..AddPartitionsToTxnRequest::default()
            };
            // The markers of the transaction before may be on their way.
            peer.wait_for(3, &request, |answer| {
                answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0
            });
            let mut batch = BatchBuilder::new()
                .producer(ProducerId(id), ProducerEpoch(epoch), Sequence(0))
                .transactional(true);
            let value = format!("turn {turn}, committed: {committed}");
            batch.append(now_ms(), None, Some(value.as_bytes()), &[]).expect("a record");
            let batch = batch.build().expect("a batch");
            assert_eq!(try_produce_as(peer, Some(ID), TOPIC, 0, batch).0, 0);
            let request = EndTxnRequest {
                transactional_id: ID.into(),
                producer_id: id,
                producer_epoch: epoch,
                committed,
            };
            assert_eq!(peer.ask(3, &request).error_code, 0);
        }
        self.settle(peer);
    }

    /// Waits for the last marker: a producer of a next transaction is only let in after it.
    fn settle(&mut self, peer: &mut Peer) {
        let request = InitProducerIdRequest {
            transactional_id: Some(ID.into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let given = peer.wait_for(4, &request, |answer| answer.error_code == 0);
        self.last = Some((given.producer_id, given.producer_epoch));
    }
}
