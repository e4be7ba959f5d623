//! One server in a sequence: what was learned from its answers, and how a step becomes requests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_topics_request::CreatableTopic;
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::describe_topic_partitions_request::TopicRequest;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest,
    MetadataRequest,
};
use ottla_types::Uuid;

use super::consumers::Consumer;
use super::draw::NOBODY;
use super::groups::{Member, Waiting};
use super::ids::DrawnIds;
use super::ops::Op;
use super::quotas::Part;
use super::records::{Producer, Session};
use super::transactions::Txn;
use crate::client::Peer;
use crate::requests::{TOPIC, alter, barrier, create, describe, metadata_of, new_topic};

/// One server as a sequence sees it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) peer: Peer,
    pub(super) prefix: String,
    topic_ids: BTreeMap<u8, Uuid>,
    pub(super) producers: BTreeMap<u8, Producer>,
    /// By group and number.
    pub(super) members: BTreeMap<(u8, u8), Member>,
    /// Groups of which something is written down. Kafka lists one of which nothing is, with members to come only, as soon
    /// as anything else is written beside it, so whether it is listed depends on other groups.
    pub(super) founded: BTreeSet<u8>,
    /// Ids on which assignments hang.
    pub(super) ids: DrawnIds,
    /// Members of the newer protocol, by group and number.
    pub(super) consumers: BTreeMap<(u8, u8), Consumer>,
    /// Whether there is a member that is late as soon as it has to give something up.
    pub(super) is_hasty: bool,
    pub(super) txns: BTreeMap<u8, Txn>,
    /// Transactional ids whose transactions do not end.
    pub(super) stuck: BTreeSet<u8>,
    /// Entities that may have quotas.
    pub(super) limited: Vec<Vec<Part>>,
    /// How long what happens behind answers is given.
    pub(super) grace: Duration,
    /// When records were deleted last.
    pub(super) deleted: Option<Instant>,
    pub(super) session: Session,
    /// Requests without an answer yet, by connection.
    pub(super) pending: BTreeMap<usize, Waiting>,
}

impl World {
    pub(super) fn new(address: SocketAddr, prefix: &str, grace: Duration) -> Self {
        let mut peer = Peer::new(address);
        peer.client_ids = true;
        Self {
            peer,
            prefix: prefix.to_owned(),
            topic_ids: BTreeMap::new(),
            producers: BTreeMap::new(),
            members: BTreeMap::new(),
            founded: BTreeSet::new(),
            ids: DrawnIds::default(),
            consumers: BTreeMap::new(),
            is_hasty: false,
            txns: BTreeMap::new(),
            stuck: BTreeSet::new(),
            limited: Vec::new(),
            grace,
            deleted: None,
            session: Session::default(),
            pending: BTreeMap::new(),
        }
    }

    pub(super) fn topic(&self, topic: u8) -> String {
        if topic == 9 {
            format!("{} not allowed", self.prefix)
        } else {
            format!("{}-topic-{topic}", self.prefix)
        }
    }

    pub(super) fn topic_id(&self, topic: u8) -> Uuid {
        self.topic_ids.get(&topic).copied().unwrap_or(NOBODY)
    }

    /// The connections that wait for an answer.
    pub(super) fn waiting(&self) -> Vec<usize> {
        self.pending.keys().copied().collect()
    }

    pub(super) fn play(&mut self, op: &Op) {
        match op {
            Op::Create { .. } | Op::Delete { .. } | Op::Grow { .. } | Op::Alter { .. } => self.change(op),
            Op::Configs { topic, keys, version } => {
                let (name, keys) = (self.topic(*topic), keys.iter().map(String::as_str).collect::<Vec<_>>());
                let mut request = describe(TOPIC, &name, (!keys.is_empty()).then_some(&keys[..]));
                request.include_synonyms = *version >= 1;
                self.peer.call(*version, "of a topic", &request);
            }
            Op::Metadata { topics, version } => {
                let names: Vec<String> = topics.iter().map(|topic| self.topic(*topic)).collect();
                let mut request = metadata_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
                request.include_topic_authorized_operations = *version >= 8;
                self.peer.call(*version, "of topics", &request);
                if *version >= 12 {
                    let topics = topics
                        .iter()
                        .map(|topic| MetadataRequestTopic { topic_id: self.topic_id(*topic), name: None });
                    let topics = Some(topics.collect());
                    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..request };
                    self.peer.call(*version, "of topics by id", &request);
                }
            }
            Op::Partitions { topics, limit } => {
                let topics = topics.iter().map(|topic| TopicRequest { name: self.topic(*topic).into() });
                let topics = topics.collect();
                let request =
                    DescribeTopicPartitionsRequest { topics, response_partition_limit: *limit, cursor: None };
                self.peer.call(0, "of topics", &request);
            }
            Op::InitProducer { .. }
            | Op::Produce { .. }
            | Op::Fetch { .. }
            | Op::LongPoll { .. }
            | Op::Session { .. }
            | Op::Offsets { .. }
            | Op::DeleteRecords { .. }
            | Op::Epochs { .. } => self.play_records(op),
            Op::Txn(op) => self.play_transactions(op),
            Op::Consumer(op) => self.play_consumers(op),
            Op::Quota(op) => self.play_quotas(op),
            _ => self.play_groups(op),
        }
    }

    /// Leaves the server as it was found, as far as it matters to others.
    pub(super) fn clean(&mut self) {
        self.lift_limits();
        let topic_names = (0..3).map(|topic| self.topic(topic).into()).collect();
        let request =
            DeleteTopicsRequest { topic_names, timeout_ms: 10_000, ..DeleteTopicsRequest::default() };
        _ = self.peer.ask(5, &request);
    }

    /// A change of topics; what follows must see it.
    fn change(&mut self, op: &Op) {
        match op {
            Op::Create { topic, partitions, replicas, configs, check, version } => {
                let name = self.topic(*topic);
                let configs: Vec<(&str, &str)> =
                    configs.iter().map(|(key, value)| (&**key, &**value)).collect();
                let wanted = CreatableTopic {
                    replication_factor: *replicas,
                    ..new_topic(&name, *partitions, &configs)
                };
                let request =
                    CreateTopicsRequest { validate_only: *check && *version >= 1, ..create(vec![wanted]) };
                self.peer.call(*version, "a topic", &request);
                barrier(&mut self.peer);
                let seen = self.peer.ask(12, &metadata_of(&[&name])).expect("an answer");
                if let Some(seen) = seen.topics.first().filter(|seen| seen.error_code == 0) {
                    self.topic_ids.insert(*topic, seen.topic_id);
                }
            }
            Op::Delete { topic, version } => {
                let mut request =
                    DeleteTopicsRequest { timeout_ms: 10_000, ..DeleteTopicsRequest::default() };
                if *version >= 6 {
                    let by_id = self.topic_ids.get(topic).copied();
                    let name = by_id.is_none().then(|| self.topic(*topic).into());
                    request.topics.push(DeleteTopicState { name, topic_id: by_id.unwrap_or(Uuid::ZERO) });
                } else {
                    request.topic_names.push(self.topic(*topic).into());
                }
                self.peer.call(*version, "a topic", &request);
                barrier(&mut self.peer);
            }
            Op::Grow { topic, count, check, version } => {
                let name = self.topic(*topic).into();
                let topics = vec![CreatePartitionsTopic { name, count: *count, assignments: None }];
                let request = CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: *check };
                self.peer.call(*version, "of a topic", &request);
                barrier(&mut self.peer);
            }
            Op::Alter { topic, key, operation, value, check, version } => {
                let name = self.topic(*topic);
                let mut request = alter(TOPIC, &name, &[(key, *operation, value.as_deref())]);
                request.validate_only = *check;
                self.peer.call(*version, "of a topic", &request);
                barrier(&mut self.peer);
            }
            _ => unreachable!("only changes come here"),
        }
    }
}
