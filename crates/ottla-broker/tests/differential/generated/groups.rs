//! Steps about groups: members, generations, committed offsets.

use std::borrow::Cow;

use ottla_protocol::messages::consumer_protocol_assignment as assignment;
use ottla_protocol::messages::consumer_protocol_subscription as subscription;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, DeleteGroupsRequest, DescribeGroupsRequest,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use ottla_protocol::wire::{Message as _, Reader};

use super::ops::Op;
use super::world::World;

/// What a member of a classic group knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    id: String,
    generation: i32,
    protocol: Option<String>,
    /// A static member keeps its name.
    instance: Option<String>,
    leads: bool,
    /// The topics of its subscription, when that is in the format of consumers.
    reads: Option<Vec<u8>>,
    /// What it was told to have, by topic, when that is in the format of consumers.
    has: Vec<(String, Vec<i32>)>,
}

/// A request whose answer may have to wait for other requests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    LongPoll,
    Join { group: u8, member: u8, version: i16 },
    Sync { group: u8, member: u8, version: i16 },
}

const MEMBER_ID_REQUIRED: i16 = 79;
const UNKNOWN_MEMBER_ID: i16 = 25;
const FENCED_INSTANCE_ID: i16 = 82;

/// What offsets can be committed with, in bytes.
const LONGEST_METADATA: usize = 4096;
/// The version of subscriptions and assignments.
const EMBEDDED: i16 = 1;

/// What an assignment in the format of consumers gives; nothing when it is in another.
fn assigned(bytes: &[u8]) -> Vec<(String, Vec<i32>)> {
    let Some((version, rest)) = bytes.split_first_chunk() else { return Vec::new() };
    let version = i16::from_be_bytes(*version);
    if !(0..=3).contains(&version) {
        return Vec::new();
    }
    let read = ConsumerProtocolAssignment::read(&mut Reader::new(rest), version);
    let topics = read.map(|read| read.assigned_partitions).unwrap_or_default();
    topics.into_iter().map(|topic| (topic.topic.into_owned(), topic.partitions)).collect()
}

/// Each member speaks on a connection of its own.
fn connection(group: u8, member: u8) -> usize {
    1 + usize::from(group) * 2 + usize::from(member)
}

impl World {
    pub(super) fn group(&self, group: u8) -> String {
        format!("{}-group-{group}", self.prefix)
    }

    fn member(&self, group: u8, member: u8) -> Member {
        self.members.get(&(group, member)).cloned().unwrap_or_default()
    }

    /// A member's id, generation and instance.
    pub(super) fn classic_membership(&self, group: u8, member: u8) -> (String, i32, Option<String>) {
        let known = self.member(group, member);
        (self.member_id(group, member), known.generation, known.instance)
    }

    /// A subscription to topics, with what the member has.
    fn subscription(&self, group: u8, member: u8, reads: &[u8]) -> Vec<u8> {
        let owned = |(topic, partitions): &(String, Vec<i32>)| subscription::TopicPartition {
            topic: topic.clone().into(),
            partitions: partitions.clone(),
        };
        let message = ConsumerProtocolSubscription {
            topics: reads.iter().map(|topic| self.topic(*topic).into()).collect(),
            owned_partitions: self.member(group, member).has.iter().map(owned).collect(),
            ..ConsumerProtocolSubscription::default()
        };
        let body = message.encode(EMBEDDED).expect("a subscription");
        [&EMBEDDED.to_be_bytes()[..], &body].concat()
    }

    /// The member's part of what it reads: of each topic the partition of its number.
    fn assignment(&self, member: u8, reads: &[u8]) -> Vec<u8> {
        let part = |topic: &u8| assignment::TopicPartition {
            topic: self.topic(*topic).into(),
            partitions: vec![i32::from(member)],
        };
        let message = ConsumerProtocolAssignment {
            assigned_partitions: reads.iter().map(part).collect(),
            user_data: None,
        };
        let body = message.encode(EMBEDDED).expect("an assignment");
        [&EMBEDDED.to_be_bytes()[..], &body].concat()
    }

    /// The id to send: that of nobody when there is none.
    fn member_id(&self, group: u8, member: u8) -> String {
        let known = self.member(group, member);
        if known.id.is_empty() { "nobody".to_owned() } else { known.id }
    }

    pub(super) fn take(&mut self, on: usize) {
        match self.pending.remove(&on) {
            Some(Waiting::LongPoll) => self.take_long_poll(),
            Some(Waiting::Join { group, member, version }) => {
                let answer = self.peer.receive::<JoinGroupRequest<'_>>(on, version, "a member");
                self.joined(group, member, &answer);
            }
            Some(Waiting::Sync { group, member, version }) => {
                let answer = self.peer.receive::<SyncGroupRequest<'_>>(on, version, "a member");
                if answer.error_code == 0
                    && let Some(known) = self.members.get_mut(&(group, member))
                {
                    known.has = assigned(&answer.assignment);
                }
            }
            None => {}
        }
    }

    pub(super) fn play_groups(&mut self, op: &Op) {
        match op {
            Op::Join { group, member, .. }
            | Op::Sync { group, member, .. }
            | Op::Beat { group, member, .. }
            | Op::Leave { group, member, .. }
                if self.pending.contains_key(&connection(*group, *member)) => {}
            Op::Join { .. } => self.join(op),
            Op::Sync { group, member, generation, version } => {
                let request = self.sync_request(*group, *member, *generation, *version);
                let on = connection(*group, *member);
                self.peer.send(on, *version, &request).expect("sent");
                let (group, member, version) = (*group, *member, *version);
                self.pending.insert(on, Waiting::Sync { group, member, version });
            }
            Op::Beat { group, member, generation, version } => {
                let known = self.member(*group, *member);
                let request = HeartbeatRequest {
                    group_id: self.group(*group).into(),
                    generation_id: known.generation + generation,
                    member_id: self.member_id(*group, *member).into(),
                    group_instance_id: known.instance.filter(|_| *version >= 3).map(Into::into),
                };
                self.peer.call(*version, "a member", &request);
            }
            Op::Leave { group, member, by_instance, version } => {
                self.leave(*group, *member, *by_instance, *version);
            }
            Op::Commit { .. } => self.commit(op),
            Op::Committed { group, topic, stable, version } => {
                let mut request = self.offset_fetch_request(*group, *topic, *version);
                request.require_stable = *stable;
                self.peer.call(*version, "of a group", &request);
            }
            Op::Groups { groups, version } => {
                let groups = groups.iter().map(|group| self.group(*group).into()).collect();
                let request = DescribeGroupsRequest { groups, include_authorized_operations: *version >= 3 };
                self.peer.call(*version, "of groups", &request);
            }
            Op::ListGroups { states, version } => {
                let states_filter = states.iter().map(|state| state.clone().into()).collect();
                let request = ListGroupsRequest { states_filter, types_filter: Vec::new() };
                let founded: Vec<String> = self.founded.iter().map(|group| self.group(*group)).collect();
                self.peer.call_edited(*version, "of this run", &request, |answer| {
                    answer.groups.retain(|group| founded.iter().any(|name| *name == group.group_id));
                });
            }
            Op::DeleteGroups { groups, version } => {
                let groups_names = groups.iter().map(|group| self.group(*group).into()).collect();
                let answer = self.peer.call(*version, "of groups", &DeleteGroupsRequest { groups_names });
                for group in groups {
                    let deleted = self.group(*group);
                    if answer.results.iter().any(|one| one.group_id == deleted && one.error_code == 0) {
                        self.founded.remove(group);
                    }
                }
            }
            _ => unreachable!("only steps about groups come here"),
        }
    }

    fn join(&mut self, op: &Op) {
        let Op::Join { group, member, named, protocols, reads, session_timeout_ms, version } = op else {
            unreachable!("a step that joins")
        };
        let mut request =
            self.join_request((*group, *member), *named && *version >= 5, protocols, *session_timeout_ms);
        request.group_instance_id = request.group_instance_id.filter(|_| *version >= 5);
        self.members.entry((*group, *member)).or_default().reads.clone_from(reads);
        if let Some(reads) = reads {
            let metadata = self.subscription(*group, *member, reads);
            for protocol in &mut request.protocols {
                protocol.metadata = Cow::Owned(metadata.clone());
            }
        }
        let on = connection(*group, *member);
        self.peer.send(on, *version, &request).expect("sent");
        self.pending.insert(on, Waiting::Join { group: *group, member: *member, version: *version });
    }

    fn join_request(
        &mut self,
        (group, member): (u8, u8),
        named: bool,
        protocols: &[String],
        session_timeout_ms: i32,
    ) -> JoinGroupRequest<'static> {
        let instance = format!("instance-{member}");
        let known = self.members.entry((group, member)).or_default();
        if known.id.is_empty() {
            known.instance = named.then_some(instance);
        }
        let known = known.clone();
        let protocol = |name: &String| JoinGroupRequestProtocol {
            name: name.clone().into(),
            metadata: Cow::Owned(format!("{name} of {member}").into_bytes()),
        };
        JoinGroupRequest {
            group_id: self.group(group).into(),
            session_timeout_ms,
            rebalance_timeout_ms: 60_000,
            member_id: known.id.into(),
            group_instance_id: known.instance.map(Into::into),
            protocol_type: "consumer".into(),
            protocols: protocols.iter().map(protocol).collect(),
            reason: None,
        }
    }

    fn joined(&mut self, group: u8, member: u8, answer: &JoinGroupResponse<'_>) {
        if answer.error_code == 0 {
            self.founded.insert(group);
        }
        let known = self.members.entry((group, member)).or_default();
        match answer.error_code {
            0 | MEMBER_ID_REQUIRED => {
                known.id = answer.member_id.to_string();
                self.ids.note_drawn(group, &answer.member_id);
                known.generation = answer.generation_id;
                known.protocol = answer.protocol_name.as_ref().map(ToString::to_string);
                known.leads = answer.error_code == 0 && answer.leader == answer.member_id;
            }
            UNKNOWN_MEMBER_ID | FENCED_INSTANCE_ID => *known = Member::default(),
            _ => {}
        }
    }

    fn sync_request(
        &self,
        group: u8,
        member: u8,
        generation: i32,
        version: i16,
    ) -> SyncGroupRequest<'static> {
        let known = self.member(group, member);
        let mut assignments = Vec::new();
        if known.leads {
            for ((_, number), other) in self.members.range((group, 0)..=(group, u8::MAX)) {
                let assignment = match &other.reads {
                    None => format!("part of {number}").into_bytes(),
                    Some(reads) => self.assignment(*number, reads),
                };
                assignments.push(SyncGroupRequestAssignment {
                    member_id: other.id.clone().into(),
                    assignment: Cow::Owned(assignment),
                });
            }
        }
        SyncGroupRequest {
            group_id: self.group(group).into(),
            generation_id: known.generation + generation,
            member_id: self.member_id(group, member).into(),
            group_instance_id: known.instance.filter(|_| version >= 3).map(Into::into),
            protocol_type: (version >= 5).then_some("consumer".into()),
            protocol_name: known.protocol.filter(|_| version >= 5).map(Into::into),
            assignments,
        }
    }

    fn leave(&mut self, group: u8, member: u8, by_instance: bool, version: i16) {
        let known = self.member(group, member);
        let id = self.member_id(group, member);
        let mut request =
            LeaveGroupRequest { group_id: self.group(group).into(), ..LeaveGroupRequest::default() };
        if version < 3 {
            request.member_id = id.into();
        } else {
            request.members = vec![MemberIdentity {
                member_id: if by_instance { "".into() } else { id.into() },
                group_instance_id: known.instance.map(Into::into),
                reason: None,
            }];
        }
        let answer = self.peer.call(version, "a member", &request);
        if answer.error_code == 0 && answer.members.iter().all(|member| member.error_code == 0) {
            self.members.insert((group, member), Member::default());
        }
    }

    fn commit(&mut self, op: &Op) {
        let Op::Commit { group, member, generation, topic, partition, offset, metadata, version } = op else {
            unreachable!("only commits come here")
        };
        let is_too_long = metadata.as_ref().is_some_and(|text| text.len() > LONGEST_METADATA);
        if is_too_long && !self.founded.contains(group) {
            // Kafka would begin a group of which nothing is written; see `founded`.
            return;
        }
        let mut request = OffsetCommitRequest {
            group_id: self.group(*group).into(),
            topics: vec![OffsetCommitRequestTopic {
                name: self.topic(*topic).into(),
                topic_id: self.topic_id(*topic),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: *partition,
                    committed_offset: *offset,
                    committed_leader_epoch: -1,
                    committed_metadata: metadata.clone().map(Into::into),
                }],
            }],
            ..OffsetCommitRequest::default()
        };
        request.generation_id_or_member_epoch = -1;
        if let Some(member) = member {
            let known = self.member(*group, *member);
            request.member_id = self.member_id(*group, *member).into();
            request.generation_id_or_member_epoch = known.generation + generation;
            request.group_instance_id = known.instance.filter(|_| *version >= 7).map(Into::into);
        }
        let answer = self.peer.call(*version, "of a group", &request);
        if answer.topics.iter().flat_map(|topic| &topic.partitions).any(|one| one.error_code == 0) {
            self.founded.insert(*group);
        }
    }

    fn offset_fetch_request(
        &self,
        group: u8,
        topic: Option<u8>,
        version: i16,
    ) -> OffsetFetchRequest<'static> {
        let partition_indexes = vec![0, 1, 7];
        if version < 8 {
            let topics = topic.map(|topic| {
                vec![OffsetFetchRequestTopic { name: self.topic(topic).into(), partition_indexes }]
            });
            return OffsetFetchRequest {
                group_id: self.group(group).into(),
                topics,
                ..OffsetFetchRequest::default()
            };
        }
        let topics = topic.map(|topic| {
            let (name, topic_id) = (self.topic(topic).into(), self.topic_id(topic));
            vec![OffsetFetchRequestTopics { name, topic_id, partition_indexes }]
        });
        let group = OffsetFetchRequestGroup {
            group_id: self.group(group).into(),
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() }
    }
}
