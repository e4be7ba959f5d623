//! Steps about consumer groups (KIP-848): heartbeats of members that join, have, give up, leave, right and wrong.

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use serde::{Deserialize, Serialize};

use super::draw::NOBODY;
use super::ops::changed;
use super::world::World;

/// A step. Groups are those of the classic protocol's steps, members are others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ConsumerOp {
    Join {
        group: u8,
        member: u8,
        instance: Option<u8>,
        reads: Reads,
        rebalance_timeout_ms: i32,
        assignor: Option<String>,
        version: i16,
    },
    Beat {
        group: u8,
        member: u8,
        /// How far from the right one.
        epoch: i32,
        owns: Owns,
        /// What it reads from now on.
        reads: Option<Reads>,
        assignor: Option<String>,
        rebalance_timeout_ms: i32,
        version: i16,
    },
    Leave {
        group: u8,
        member: u8,
        /// For a while only.
        away: bool,
        version: i16,
    },
    Describe {
        groups: Vec<u8>,
        version: i16,
    },
    List {
        states: Vec<String>,
        types: Vec<String>,
    },
    Commit {
        group: u8,
        member: u8,
        epoch: i32,
        topic: u8,
        partition: i32,
        offset: i64,
        version: i16,
    },
    Committed {
        group: u8,
        member: u8,
        epoch: i32,
        topic: Option<u8>,
        stable: bool,
        version: i16,
    },
    Forget {
        group: u8,
        topic: u8,
        partition: i32,
    },
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reads {
    pub(crate) topics: Option<Vec<u8>>,
    /// `~` stands for what the topics of a run begin with.
    pub(crate) regex: Option<String>,
}

/// What a member says that it has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Owns {
    /// It does not say.
    Unsaid,
    /// What it was told to have last.
    Given,
    /// A part of that.
    Less,
    Nothing,
    /// What it was never told to have.
    Foreign,
}

/// A member of a consumer group.
#[derive(Clone, Debug, Default)]
pub(super) struct Consumer {
    epoch: i32,
    instance: Option<u8>,
    given: Vec<TopicPartitions>,
}

/// Members with a rebalance timeout below this lose what they do not give up at once.
const AT_ONCE_MS: i32 = 100;

impl ConsumerOp {
    /// The same step, one thing of it plainer.
    pub(super) fn plainer(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| all.extend(changed(self, change));
        with(&|op| match op {
            Self::Join { instance, .. } => *instance = None,
            Self::Beat { rebalance_timeout_ms, .. } => *rebalance_timeout_ms = -1,
            Self::Describe { groups, .. } => groups.truncate(1),
            _ => {}
        });
        with(&|op| match op {
            Self::Join { assignor, .. } | Self::Beat { assignor, .. } => *assignor = None,
            _ => {}
        });
        with(&|op| match op {
            Self::Join { rebalance_timeout_ms, .. } => *rebalance_timeout_ms = 45_000,
            Self::Beat { reads, .. } => *reads = None,
            _ => {}
        });
        with(&|op| {
            if let Self::Join { reads, .. } = op {
                *reads = Reads { topics: Some(vec![0]), regex: None };
            }
        });
        all
    }
}

impl World {
    pub(super) fn consumer_id(&self, member: u8) -> String {
        format!("{}-consumer-{member}", self.prefix)
    }

    fn consumer(&self, group: u8, member: u8) -> Consumer {
        self.consumers.get(&(group, member)).cloned().unwrap_or_default()
    }

    /// A member's id, epoch or generation, and instance; that of the newer protocol if there is one.
    pub(super) fn membership(&self, group: u8, member: u8) -> (String, i32, Option<String>) {
        match self.consumers.get(&(group, member)) {
            Some(known) => {
                let instance = known.instance.map(|instance| format!("instance-{instance}"));
                (self.consumer_id(member), known.epoch, instance)
            }
            None => self.classic_membership(group, member),
        }
    }

    fn beat_request(&self, group: u8, member: u8, epoch: i32) -> ConsumerGroupHeartbeatRequest<'static> {
        let instance = self.consumer(group, member).instance;
        ConsumerGroupHeartbeatRequest {
            group_id: self.group(group).into(),
            member_id: self.consumer_id(member).into(),
            member_epoch: epoch,
            instance_id: instance.map(|instance| format!("instance-{instance}").into()),
            rebalance_timeout_ms: -1,
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn subscribe(&self, request: &mut ConsumerGroupHeartbeatRequest<'static>, reads: &Reads, version: i16) {
        let names = |topics: &Vec<u8>| topics.iter().map(|topic| self.topic(*topic).into()).collect();
        request.subscribed_topic_names = reads.topics.as_ref().map(names);
        if version >= 1 {
            let regex = reads.regex.as_ref();
            request.subscribed_topic_regex = regex.map(|regex| regex.replace('~', &self.prefix).into());
        }
    }

    fn owned(&self, group: u8, member: u8, owns: Owns) -> Option<Vec<TopicPartitions>> {
        let mut given = self.consumer(group, member).given;
        match owns {
            Owns::Unsaid => None,
            Owns::Given => Some(given),
            Owns::Nothing => Some(Vec::new()),
            Owns::Less => {
                if let Some(last) = given.last_mut() {
                    _ = last.partitions.pop();
                }
                given.retain(|topic| !topic.partitions.is_empty());
                Some(given)
            }
            Owns::Foreign => {
                given.push(TopicPartitions { topic_id: NOBODY, partitions: vec![0] });
                Some(given)
            }
        }
    }

    /// Takes an answer in; what happens behind a heartbeat gets its time.
    fn told(&mut self, group: u8, member: u8, answer: &ConsumerGroupHeartbeatResponse<'_>) {
        if answer.error_code != 0 {
            return;
        }
        self.founded.insert(group);
        let known = self.consumers.entry((group, member)).or_default();
        known.epoch = answer.member_epoch;
        if let Some(assignment) = &answer.assignment {
            let topic =
                |topic: &ottla_protocol::messages::consumer_group_heartbeat_response::TopicPartitions| {
                    TopicPartitions { topic_id: topic.topic_id, partitions: topic.partitions.clone() }
                };
            known.given = assignment.topic_partitions.iter().map(topic).collect();
        }
    }

    pub(super) fn play_consumers(&mut self, op: &ConsumerOp) {
        match op {
            ConsumerOp::Join { .. } => self.join_consumer(op),
            ConsumerOp::Beat { .. } => self.beat_consumer(op),
            ConsumerOp::Leave { group, member, away, version } => {
                let epoch = if *away { -2 } else { -1 };
                let request = self.beat_request(*group, *member, epoch);
                let answer = self.peer.call(*version, "leaves", &request);
                if answer.error_code == 0 && !away {
                    self.consumers.remove(&(*group, *member));
                }
            }
            ConsumerOp::Describe { groups, version } => {
                let request = ConsumerGroupDescribeRequest {
                    group_ids: groups.iter().map(|group| self.group(*group).into()).collect(),
                    include_authorized_operations: false,
                };
                self.peer.call(*version, "of groups", &request);
            }
            ConsumerOp::List { states, types } => {
                let request = ListGroupsRequest {
                    states_filter: states.iter().map(|state| state.clone().into()).collect(),
                    types_filter: types.iter().map(|kind| kind.clone().into()).collect(),
                };
                let founded: Vec<String> = self.founded.iter().map(|group| self.group(*group)).collect();
                self.peer.call_edited(5, "of this run", &request, |answer| {
                    answer.groups.retain(|group| founded.iter().any(|name| *name == group.group_id));
                });
            }
            ConsumerOp::Commit { .. } => self.commit_as_consumer(op),
            ConsumerOp::Committed { .. } => self.committed_as_consumer(op),
            ConsumerOp::Forget { group, topic, partition } => {
                let topic = OffsetDeleteRequestTopic {
                    name: self.topic(*topic).into(),
                    partitions: vec![OffsetDeleteRequestPartition { partition_index: *partition }],
                };
                let request =
                    OffsetDeleteRequest { group_id: self.group(*group).into(), topics: vec![topic] };
                self.peer.call(0, "of a group", &request);
            }
        }
    }

    fn join_consumer(&mut self, op: &ConsumerOp) {
        let ConsumerOp::Join { group, member, instance, reads, rebalance_timeout_ms, assignor, version } = op
        else {
            unreachable!("only members that join come here")
        };
        let mut request = self.beat_request(*group, *member, 0);
        request.instance_id = instance.map(|instance| format!("instance-{instance}").into());
        request.rebalance_timeout_ms = *rebalance_timeout_ms;
        request.server_assignor = assignor.clone().map(Into::into);
        request.topic_partitions = Some(Vec::new());
        self.subscribe(&mut request, reads, *version);
        self.ids.note_chosen(*group, *member);
        let answer = self.peer.call(*version, "joins", &request);
        self.told(*group, *member, &answer);
        if let Some(known) = self.consumers.get_mut(&(*group, *member))
            && answer.error_code == 0
        {
            known.instance = *instance;
        }
        self.let_happen(reads.regex.is_some(), *rebalance_timeout_ms);
    }

    fn beat_consumer(&mut self, op: &ConsumerOp) {
        let ConsumerOp::Beat { group, member, epoch, owns, reads, assignor, rebalance_timeout_ms, version } =
            op
        else {
            unreachable!("only heartbeats come here")
        };
        // Of one that is no member any epoch is wrong; 0 would be a bad request to join.
        let right = self.consumer(*group, *member).epoch.max(1);
        let mut request = self.beat_request(*group, *member, right + epoch);
        request.rebalance_timeout_ms = *rebalance_timeout_ms;
        request.server_assignor = assignor.clone().map(Into::into);
        request.topic_partitions = self.owned(*group, *member, *owns);
        if let Some(reads) = reads {
            self.subscribe(&mut request, reads, *version);
        }
        let answer = self.peer.call(*version, "heartbeat", &request);
        self.told(*group, *member, &answer);
        let is_regex = reads.as_ref().is_some_and(|reads| reads.regex.is_some());
        self.let_happen(is_regex, *rebalance_timeout_ms);
    }

    /// Expressions are resolved, and members that are late are removed, behind the answer.
    fn let_happen(&mut self, is_regex: bool, rebalance_timeout_ms: i32) {
        self.is_hasty |= rebalance_timeout_ms != -1 && rebalance_timeout_ms < AT_ONCE_MS;
        if is_regex || self.is_hasty {
            std::thread::sleep(2 * self.grace);
        }
    }

    fn commit_as_consumer(&mut self, op: &ConsumerOp) {
        let ConsumerOp::Commit { group, member, epoch, topic, partition, offset, version } = op else {
            unreachable!("only commits come here")
        };
        let partition = OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..OffsetCommitRequestPartition::default()
        };
        let request = OffsetCommitRequest {
            group_id: self.group(*group).into(),
            member_id: self.consumer_id(*member).into(),
            generation_id_or_member_epoch: self.consumer(*group, *member).epoch + epoch,
            topics: vec![OffsetCommitRequestTopic {
                name: self.topic(*topic).into(),
                topic_id: self.topic_id(*topic),
                partitions: vec![partition],
            }],
            ..OffsetCommitRequest::default()
        };
        let answer = self.peer.call(*version, "by a consumer", &request);
        if answer.topics.iter().flat_map(|topic| &topic.partitions).any(|one| one.error_code == 0) {
            self.founded.insert(*group);
        }
    }

    fn committed_as_consumer(&mut self, op: &ConsumerOp) {
        let ConsumerOp::Committed { group, member, epoch, topic, stable, version } = op else {
            unreachable!("only questions for committed offsets come here")
        };
        let topics = topic.map(|topic| {
            let (name, topic_id) = (self.topic(topic).into(), self.topic_id(topic));
            vec![OffsetFetchRequestTopics { name, topic_id, partition_indexes: vec![0, 1, 7] }]
        });
        let group = OffsetFetchRequestGroup {
            group_id: self.group(*group).into(),
            member_id: Some(self.consumer_id(*member).into()),
            member_epoch: self.consumer(*group, *member).epoch + epoch,
            topics,
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable: *stable,
            ..OffsetFetchRequest::default()
        };
        self.peer.call(*version, "by a consumer", &request);
    }
}
