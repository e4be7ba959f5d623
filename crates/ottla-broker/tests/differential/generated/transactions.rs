//! Steps about transactions: every request that a transactional producer sends, right and wrong, and what can be seen of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    InitProducerIdRequest, ListTransactionsRequest, ProduceRequest, TxnOffsetCommitRequest,
};
use ottla_record::BatchBuilder;
use ottla_types::{ProducerEpoch, ProducerId, Sequence};
use serde::{Deserialize, Serialize};

use super::world::World;
use crate::requests::{T0, fill, produce_to};
use crate::transactions::{Known, adding, ending, init_request};

/// A step. Transactional ids are numbers; that of 9 is empty, and nobody ever takes 8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum TxnOp {
    Init {
        txn: u8,
        /// With the id and epoch that the producer has, or claims to have.
        goes_on: Option<Claim>,
        timeout_ms: i32,
        version: i16,
    },
    Add {
        txn: u8,
        claim: Claim,
        topic: u8,
        partitions: Vec<i32>,
        version: i16,
    },
    /// As brokers add or verify partitions, for several transactions at once.
    AddFor {
        txns: Vec<u8>,
        claim: Claim,
        topic: u8,
        partitions: Vec<i32>,
        verify: bool,
        version: i16,
    },
    AddGroup {
        txn: u8,
        claim: Claim,
        group: u8,
        version: i16,
    },
    Commit {
        txn: u8,
        claim: Claim,
        group: u8,
        member: Option<u8>,
        topic: u8,
        offsets: Vec<(i32, i64)>,
        version: i16,
    },
    Produce {
        txn: u8,
        claim: Claim,
        topic: u8,
        partition: i32,
        /// How far the sequence number is from the right one.
        sequence: i32,
        count: usize,
        /// Whether the batch says that it belongs to a transaction, and the request to which.
        transactional: bool,
        named: bool,
        version: i16,
    },
    End {
        txn: u8,
        claim: Claim,
        commit: bool,
        version: i16,
    },
    Describe {
        txns: Vec<u8>,
    },
    List {
        states: Vec<String>,
        /// Those of these transactional ids' producers only.
        producers: Vec<u8>,
        duration_ms: i64,
        /// `~` stands for what the ids of a run begin with.
        pattern: Option<String>,
        version: i16,
    },
    Producers {
        topic: u8,
        partitions: Vec<i32>,
    },
}

/// Which producer a request says that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Claim {
    /// The one that has the id.
    Right,
    /// The one that had it before.
    Before,
    /// Its epoch is so much greater.
    Epoch(i16),
    /// A producer that the server never gave out.
    Nobody,
    /// The one of another transactional id.
    Of(u8),
}

/// A transactional producer.
#[derive(Clone, Debug)]
pub(super) struct Txn {
    now: Known,
    before: Known,
    /// The next sequence, by topic and partition.
    next: BTreeMap<(u8, i32), i32>,
}

const NOBODY: Known = Known { id: 900_000, epoch: 0 };
/// In this time markers are written.
const ENDING: Duration = Duration::from_secs(3);
/// From these versions on the broker adds partitions by itself, and an end gives a new epoch.
const NEW_EPOCHS: i16 = 5;

impl TxnOp {
    /// The same step, one thing of it plainer.
    pub(super) fn plainer(&self) -> Vec<Self> {
        let mut plain = self.clone();
        match &mut plain {
            Self::Add { partitions, .. } | Self::Producers { partitions, .. } => partitions.truncate(1),
            Self::AddFor { txns, partitions, .. } => {
                txns.truncate(1);
                partitions.truncate(1);
            }
            Self::Commit { offsets, .. } => offsets.truncate(1),
            Self::Produce { count, .. } => *count = 1,
            Self::Describe { txns } => txns.truncate(1),
            Self::List { states, producers, pattern, .. } => {
                states.truncate(1);
                producers.truncate(1);
                *pattern = None;
            }
            Self::Init { .. } | Self::AddGroup { .. } | Self::End { .. } => {}
        }
        if plain == *self { Vec::new() } else { vec![plain] }
    }
}

impl World {
    fn txn_id(&self, txn: u8) -> String {
        if txn == 9 { String::new() } else { format!("{}-txn-{txn}", self.prefix) }
    }

    fn claimed(&self, txn: u8, claim: Claim) -> Known {
        let known = |txn: u8| self.txns.get(&txn).map_or(NOBODY, |known| known.now);
        match claim {
            Claim::Right => known(txn),
            Claim::Before => self.txns.get(&txn).map_or(NOBODY, |known| known.before),
            Claim::Epoch(shift) => Known { epoch: known(txn).epoch + shift, ..known(txn) },
            Claim::Nobody => NOBODY,
            Claim::Of(other) => known(other),
        }
    }

    fn given(&mut self, txn: u8, id: i64, epoch: i16) {
        let now = Known { id, epoch };
        let known =
            self.txns.entry(txn).or_insert_with(|| Txn { now, before: NOBODY, next: BTreeMap::new() });
        if (known.now.id, known.now.epoch) != (id, epoch) {
            *known = Txn { now, before: known.now, next: BTreeMap::new() };
        }
    }

    pub(super) fn play_transactions(&mut self, op: &TxnOp) {
        match op {
            TxnOp::Init { txn, goes_on, timeout_ms, version } => {
                let id = self.txn_id(*txn);
                let mut request =
                    InitProducerIdRequest { transaction_timeout_ms: *timeout_ms, ..init_request(&id) };
                if let Some(claim) = goes_on.filter(|_| *version >= 3) {
                    let known = self.claimed(*txn, claim);
                    (request.producer_id, request.producer_epoch) = (known.id, known.epoch);
                }
                let answer = self.peer.call(*version, "of a transaction", &request);
                if answer.error_code == 0 {
                    self.given(*txn, answer.producer_id, answer.producer_epoch);
                }
                self.until_ended();
            }
            TxnOp::Add { .. } | TxnOp::AddFor { .. } | TxnOp::AddGroup { .. } => self.add(op),
            TxnOp::Commit { .. } => self.commit_in_transaction(op),
            TxnOp::Produce { .. } => self.produce_in_transaction(op),
            TxnOp::End { txn, claim, commit, version } => {
                let id = self.txn_id(*txn);
                let request = ending(&id, self.claimed(*txn, *claim), *commit);
                let answer = self.peer.call(*version, "of a transaction", &request);
                if answer.error_code == 0 && *version >= NEW_EPOCHS {
                    self.given(*txn, answer.producer_id, answer.producer_epoch);
                }
                self.until_ended();
            }
            TxnOp::Describe { txns } => {
                let transactional_ids = txns.iter().map(|txn| self.txn_id(*txn).into()).collect();
                self.peer.call(0, "several", &DescribeTransactionsRequest { transactional_ids });
            }
            TxnOp::List { states, producers, duration_ms, pattern, version } => {
                let request = ListTransactionsRequest {
                    state_filters: states.iter().map(|state| state.clone().into()).collect(),
                    producer_id_filters: producers
                        .iter()
                        .map(|txn| self.claimed(*txn, Claim::Right).id)
                        .collect(),
                    duration_filter: if *version >= 1 { *duration_ms } else { -1 },
                    transactional_id_pattern: pattern
                        .as_ref()
                        .filter(|_| *version >= 2)
                        .map(|pattern| pattern.replace('~', &self.prefix).into()),
                };
                let own = format!("{}-", self.prefix);
                self.peer.call_edited(*version, "of this run", &request, |answer| {
                    answer.transaction_states.retain(|state| state.transactional_id.starts_with(&own));
                });
            }
            TxnOp::Producers { topic, partitions } => {
                let topic =
                    TopicRequest { name: self.topic(*topic).into(), partition_indexes: partitions.clone() };
                self.peer.call(0, "of a topic", &DescribeProducersRequest { topics: vec![topic] });
            }
        }
    }

    fn add(&mut self, op: &TxnOp) {
        let of_topic = |world: &Self, topic: u8, partitions: &[i32]| AddPartitionsToTxnTopic {
            name: world.topic(topic).into(),
            partitions: partitions.to_vec(),
        };
        match op {
            TxnOp::Add { txn, claim, topic, partitions, version } => {
                let topic = of_topic(self, *topic, partitions);
                let request = adding(&self.txn_id(*txn), self.claimed(*txn, *claim), vec![topic]);
                self.peer.call(*version, "by a client", &request);
            }
            TxnOp::AddFor { txns, claim, topic, partitions, verify, version } => {
                let transaction = |txn: &u8| {
                    let known = self.claimed(*txn, *claim);
                    AddPartitionsToTxnTransaction {
                        transactional_id: self.txn_id(*txn).into(),
                        producer_id: known.id,
                        producer_epoch: known.epoch,
                        verify_only: *verify,
                        topics: vec![of_topic(self, *topic, partitions)],
                    }
                };
                let transactions = txns.iter().map(transaction).collect();
                let request =
                    AddPartitionsToTxnRequest { transactions, ..AddPartitionsToTxnRequest::default() };
                self.peer.call(*version, "by a broker", &request);
            }
            TxnOp::AddGroup { txn, claim, group, version } => {
                let known = self.claimed(*txn, *claim);
                let request = AddOffsetsToTxnRequest {
                    transactional_id: self.txn_id(*txn).into(),
                    producer_id: known.id,
                    producer_epoch: known.epoch,
                    group_id: self.group(*group).into(),
                };
                self.peer.call(*version, "a group", &request);
            }
            _ => unreachable!("only steps that add come here"),
        }
    }

    fn commit_in_transaction(&mut self, op: &TxnOp) {
        let TxnOp::Commit { txn, claim, group, member, topic, offsets, version } = op else {
            unreachable!("only commits come here")
        };
        let known = self.claimed(*txn, *claim);
        let partition = |(index, offset): &(i32, i64)| TxnOffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_leader_epoch: 0,
            committed_metadata: Some(format!("at {offset}").into()),
        };
        let of_topic = TxnOffsetCommitRequestTopic {
            name: self.topic(*topic).into(),
            topic_id: self.topic_id(*topic),
            partitions: offsets.iter().map(partition).collect(),
        };
        let mut request = TxnOffsetCommitRequest {
            transactional_id: self.txn_id(*txn).into(),
            group_id: self.group(*group).into(),
            producer_id: known.id,
            producer_epoch: known.epoch,
            generation_id_or_member_epoch: -1,
            topics: vec![of_topic],
            ..TxnOffsetCommitRequest::default()
        };
        if let Some(member) = member.filter(|_| *version >= 3) {
            let (id, generation, instance) = self.membership(*group, member);
            request.member_id = id.into();
            request.generation_id_or_member_epoch = generation;
            request.group_instance_id = instance.map(Into::into);
        }
        let answer = self.peer.call(*version, "of a group", &request);
        if answer.topics.iter().flat_map(|topic| &topic.partitions).any(|one| one.error_code == 0) {
            self.founded.insert(*group);
        }
    }

    fn produce_in_transaction(&mut self, op: &TxnOp) {
        let TxnOp::Produce { txn, claim, topic, partition, sequence, count, transactional, named, version } =
            op
        else {
            unreachable!("only batches come here")
        };
        let producer = self.claimed(*txn, *claim);
        let next = self.txns.get(txn).and_then(|known| known.next.get(&(*topic, *partition))).copied();
        let first = next.unwrap_or(0) + sequence;
        let builder = BatchBuilder::new().transactional(*transactional).producer(
            ProducerId(producer.id),
            ProducerEpoch(producer.epoch),
            Sequence(first),
        );
        let name = self.topic(*topic);
        let records = fill(builder, *count, T0);
        let request = ProduceRequest {
            transactional_id: named.then(|| self.txn_id(*txn).into()),
            ..produce_to(&name, self.topic_id(*topic), *partition, -1, Some(records))
        };
        let answer = self.peer.call(*version, "in a transaction", &request);
        let is_done = answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first())
            .is_some_and(|answered| answered.error_code == 0);
        if is_done
            && *claim == Claim::Right
            && *sequence >= 0
            && let Some(known) = self.txns.get_mut(txn)
        {
            let count = i32::try_from(*count).expect("few");
            known.next.insert((*topic, *partition), first + count);
        }
    }

    /// When the markers of an ended transaction are written is the server's choice: waits until they are. A partition may
    /// refuse a marker for good, when a batch of a greater epoch came there; then the transaction ends never, which is noted.
    fn until_ended(&mut self) {
        let waiting: Vec<u8> = self.txns.keys().copied().filter(|txn| !self.stuck.contains(txn)).collect();
        let transactional_ids = waiting.iter().map(|txn| self.txn_id(*txn).into()).collect();
        let request = DescribeTransactionsRequest { transactional_ids };
        let begin = Instant::now();
        loop {
            let answer = self.peer.ask(0, &request).expect("an answer");
            let states = answer.transaction_states.iter().zip(&waiting);
            let ending: Vec<u8> = states
                .filter(|(state, _)| state.transaction_state.starts_with("Prepare"))
                .map(|(_, txn)| *txn)
                .collect();
            if !ending.is_empty() && begin.elapsed() < ENDING {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            if !ending.is_empty() {
                self.peer.note(0, "Transactions: that do not end", &ending);
                self.stuck.extend(ending);
            }
            return;
        }
    }
}
