//! Groups that move between the classic and the newer protocol while members are in them: JoinGroup, SyncGroup, Heartbeat and
//! LeaveGroup of a consumer group, and what becomes of it when the last member of the newer protocol leaves.

use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeGroupsRequest, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use ottla_types::Uuid;

use crate::client::Peer;
use crate::groups::{committing, list};
use crate::requests::make_topic;

const TOPIC: &str = "moved";
/// `ConsumerProtocolSubscription` version 1: the topic, and nothing owned.
const READS: &[u8] = b"\0\x01\0\0\0\x01\0\x05moved\xff\xff\xff\xff\0\0\0\0";
/// The same with partition 0 owned.
const OWNS_ONE: &[u8] = b"\0\x01\0\0\0\x01\0\x05moved\xff\xff\xff\xff\0\0\0\x01\0\x05moved\0\0\0\x01\0\0\0\0";
/// `ConsumerProtocolAssignment` version 1: both partitions.
const HAS_ALL: &[u8] = b"\0\x01\0\0\0\x01\0\x05moved\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";

pub(crate) fn script(peer: &mut Peer) {
    let topic = make_topic(peer, TOPIC, 2, &[]);
    let mut group = Group { peer, name: "moving".to_owned(), topic };
    group.there_and_back();
    group.name = "moving-ids".to_owned();
    group.with_ids();
    group.name = "moving-static".to_owned();
    group.static_member();
}

struct Group<'p> {
    peer: &'p mut Peer,
    name: String,
    topic: Uuid,
}

impl Group<'_> {
    fn join(&self, member: &str, metadata: &'static [u8]) -> JoinGroupRequest<'static> {
        JoinGroupRequest {
            group_id: self.name.clone().into(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 45_000,
            member_id: member.to_owned().into(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: metadata.into() }],
            ..JoinGroupRequest::default()
        }
    }

    fn sync(&self, member: &str, generation: i32, own: Option<&'static [u8]>) -> SyncGroupRequest<'static> {
        let part = own.map(|assignment| SyncGroupRequestAssignment {
            member_id: member.to_owned().into(),
            assignment: assignment.into(),
        });
        SyncGroupRequest {
            group_id: self.name.clone().into(),
            generation_id: generation,
            member_id: member.to_owned().into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: part.into_iter().collect(),
            ..SyncGroupRequest::default()
        }
    }

    fn heartbeat(&mut self, case: &str, member: &str, generation: i32) {
        let request = HeartbeatRequest {
            group_id: self.name.clone().into(),
            generation_id: generation,
            member_id: member.to_owned().into(),
            ..HeartbeatRequest::default()
        };
        self.peer.call(4, case, &request);
    }

    fn consumer(&self, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest<'static> {
        let joins = epoch == 0;
        ConsumerGroupHeartbeatRequest {
            group_id: self.name.clone().into(),
            member_id: member.to_owned().into(),
            member_epoch: epoch,
            rebalance_timeout_ms: if joins { 45_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec![TOPIC.into()]),
            topic_partitions: joins.then(Vec::new),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn leave(&mut self, case: &str, member: &str) {
        let members =
            vec![MemberIdentity { member_id: member.to_owned().into(), ..MemberIdentity::default() }];
        let group_id = self.name.clone().into();
        let request = LeaveGroupRequest { group_id, members, ..LeaveGroupRequest::default() };
        self.peer.call(5, case, &request);
    }

    fn look(&mut self, case: &str) {
        let group_ids = vec![self.name.clone().into()];
        let request = ConsumerGroupDescribeRequest { group_ids, include_authorized_operations: false };
        self.peer.call(1, case, &request);
        let groups = vec![self.name.clone().into()];
        let request = DescribeGroupsRequest { groups, include_authorized_operations: false };
        self.peer.call(6, case, &request);
    }

    fn there_and_back(&mut self) {
        let request = self.join("", READS);
        let first = self.peer.call(3, "classic", &request);
        let one = first.member_id.into_owned();
        let request = self.sync(&one, first.generation_id, Some(HAS_ALL));
        self.peer.call(5, "classic", &request);
        let request = self.consumer("n", 0);
        let new = self.peer.call(1, "joins a classic group", &request);
        self.look("a group that moved");
        list(self.peer);
        self.heartbeat("classic, must join again", &one, first.generation_id);
        self.heartbeat("classic, wrong generation", &one, first.generation_id + 1);
        self.heartbeat("of a member of the newer protocol", "n", new.member_epoch);
        let request = self.sync(&one, first.generation_id, None);
        self.peer.call(5, "classic, must join again", &request);
        let request = self.join(&one, OWNS_ONE);
        let again = self.peer.call(3, "classic, gave one up", &request);
        self.look("a classic member gave one up");
        let request = self.sync(&one, again.generation_id, None);
        self.peer.call(5, "classic, gave one up", &request);
        self.heartbeat("classic, has its part", &one, again.generation_id);
        let request = self.consumer("n", new.member_epoch);
        self.peer.call(1, "takes from a classic member", &request);
        self.look("settled");
        self.wrong(&one, again.generation_id);
        self.commit(&one, again.generation_id);
        let request = self.consumer("n", -1);
        self.peer.call(1, "the last of the newer protocol leaves", &request);
        self.look("a group that moved back");
        list(self.peer);
        self.heartbeat("classic again, must join", &one, again.generation_id);
        let request = self.join(&one, OWNS_ONE);
        let back = self.peer.call(3, "classic again", &request);
        let request = self.sync(&one, back.generation_id, Some(HAS_ALL));
        self.peer.call(5, "classic again", &request);
        self.look("classic again");
        self.leave("classic again", &one);
    }

    fn wrong(&mut self, member: &str, generation: i32) {
        let mut other = self.join("", READS);
        other.protocols[0].name = "sticky".into();
        self.peer.call(3, "no common protocol with classic members", &other);
        let mut other = self.join("", READS);
        other.protocol_type = "connect".into();
        self.peer.call(3, "another protocol type", &other);
        let other = self.join("", b"\0");
        self.peer.call(3, "not a subscription", &other);
        let other =
            SyncGroupRequest { protocol_name: Some("sticky".into()), ..self.sync(member, generation, None) };
        self.peer.call(5, "another protocol of a consumer group", &other);
        let other = self.sync(member, generation - 1, None);
        self.peer.call(5, "old generation of a consumer group", &other);
        let other = self.sync("nobody", generation, None);
        self.peer.call(5, "nobody of a consumer group", &other);
        let other = self.sync("n", generation, None);
        self.peer.call(5, "a member of the newer protocol", &other);
        self.heartbeat("nobody of a consumer group", "nobody", generation);
        self.leave("nobody of a consumer group", "nobody");
    }

    fn commit(&mut self, member: &str, generation: i32) {
        for version in [8, 9] {
            for (case, generation) in [
                ("classic member", generation),
                ("classic member, old generation", generation - 1),
                ("classic member, new generation", generation + 1),
            ] {
                let request = OffsetCommitRequest {
                    generation_id_or_member_epoch: generation,
                    member_id: member.to_owned().into(),
                    ..committing(&self.name, TOPIC, self.topic, vec![OffsetCommitRequestPartition::default()])
                };
                self.peer.call(version, case, &request);
            }
        }
    }

    fn with_ids(&mut self) {
        let request = self.consumer("n", 0);
        let new = self.peer.call(1, "before a classic one", &request);
        let request = self.join("", READS);
        let told = self.peer.call(9, "a consumer group gives ids", &request);
        let request = self.join(&told.member_id, READS);
        let joined = self.peer.call(9, "a consumer group, with the id", &request);
        self.look("a classic member waits");
        let one = joined.member_id.into_owned();
        let request = self.sync(&one, joined.generation_id, None);
        self.peer.call(5, "nothing yet", &request);
        self.heartbeat("nothing yet", &one, joined.generation_id);
        let request = self.consumer("n", new.member_epoch);
        let told = self.peer.call(1, "told to give one up for a classic member", &request);
        let kept = told.assignment.unwrap_or_default().topic_partitions.into_iter().map(|topic| {
            ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions {
                topic_id: topic.topic_id,
                partitions: topic.partitions,
            }
        });
        let request = ConsumerGroupHeartbeatRequest {
            topic_partitions: Some(kept.collect()),
            ..self.consumer("n", new.member_epoch)
        };
        self.peer.call(1, "gave one up for a classic member", &request);
        self.heartbeat("something to fetch", &one, joined.generation_id);
        let request = self.join(&one, READS);
        let again = self.peer.call(9, "a consumer group, again", &request);
        let request = self.sync(&one, again.generation_id, None);
        self.peer.call(5, "something", &request);
        self.look("a classic member has its part");
        self.leave("a classic member of a consumer group", &one);
        self.look("a classic member left");
        let request = self.consumer("n", -1);
        self.peer.call(1, "the last one leaves", &request);
        let request = self.join("", READS);
        self.peer.call(3, "an empty consumer group", &request);
        self.look("classic in the place of an empty one");
    }

    fn static_member(&mut self) {
        let named = |request: ConsumerGroupHeartbeatRequest<'static>| ConsumerGroupHeartbeatRequest {
            instance_id: Some("i".into()),
            ..request
        };
        let request = named(self.consumer("n", 0));
        self.peer.call(1, "static, before a classic one", &request);
        let request = named(self.consumer("n", -2));
        self.peer.call(1, "static, away", &request);
        let request = JoinGroupRequest { group_instance_id: Some("i".into()), ..self.join("", READS) };
        let back = self.peer.call(9, "static, comes back as a classic one", &request);
        self.look("static, came back as a classic one");
        let one = back.member_id.into_owned();
        let request = SyncGroupRequest {
            group_instance_id: Some("i".into()),
            ..self.sync(&one, back.generation_id, None)
        };
        self.peer.call(5, "static, came back as a classic one", &request);
    }
}
