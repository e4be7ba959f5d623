//! Classic groups: members through rebalances, their offsets, what survives and what does not.

use std::borrow::Cow;

use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use ottla_types::Uuid;

use super::Sequence;
use super::topics::delete;
use crate::client::Peer;
use crate::requests::{barrier, make_topic};

pub(super) const SEQUENCES: &[Sequence] = &[
    ("a group of three through every state", three_members),
    ("static members come, restart and go", static_members),
    ("a static member restarts while a rebalance goes on", static_restart_in_rebalance),
    ("members that are silent", silent_members),
    ("a member that does not come back to a rebalance", missed_rebalance),
    ("protocols that members agree on", protocols),
    ("offsets of a group whose topic is deleted", offsets_of_deleted_topics),
    ("offsets over the life of a group", offsets_over_a_life),
    ("a group that is deleted and made again", deleted_and_made_again),
    ("bad requests to a group of one", bad_requests),
];

/// A group, seen by its members: each speaks on a connection of its own.
struct Group<'a> {
    peer: &'a mut Peer,
    name: &'static str,
}

/// Versions of JoinGroup and SyncGroup used where a sequence does not say.
const JOIN: i16 = 9;
const SYNC: i16 = 5;
const BEAT: i16 = 4;

#[derive(Clone, Debug)]
struct Joined {
    id: String,
    generation: i32,
    leads: bool,
}

impl Joined {
    fn of(answer: &JoinGroupResponse<'_>) -> Self {
        let id = answer.member_id.to_string();
        Self { leads: answer.leader == id, generation: answer.generation_id, id }
    }
}

impl<'a> Group<'a> {
    fn new(peer: &'a mut Peer, name: &'static str) -> Self {
        Self { peer, name }
    }

    fn join_request(&self, member: &str, instance: Option<&'static str>) -> JoinGroupRequest<'static> {
        JoinGroupRequest {
            group_id: self.name.into(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 45_000,
            member_id: member.to_owned().into(),
            group_instance_id: instance.map(Into::into),
            protocol_type: "consumer".into(),
            protocols: protocols_of(&["range", "roundrobin"], b"topics"),
            reason: None,
        }
    }

    /// Takes the answer to a join sent before.
    fn joined(&mut self, on: usize, case: &str) -> Joined {
        Joined::of(&self.peer.receive::<JoinGroupRequest<'_>>(on, JOIN, case))
    }

    fn send_join(&mut self, on: usize, member: &str, instance: Option<&'static str>) {
        let request = self.join_request(member, instance);
        self.peer.send(on, JOIN, &request).expect("sent");
    }

    fn join(&mut self, on: usize, case: &str, member: &str, instance: Option<&'static str>) -> Joined {
        self.send_join(on, member, instance);
        self.joined(on, case)
    }

    /// An id to join with.
    fn enter(&mut self, on: usize, case: &str) -> String {
        self.join(on, &format!("{case} asks for an id"), "", None).id
    }

    fn sync_request(&self, joined: &Joined, parts: &[(&str, &'static [u8])]) -> SyncGroupRequest<'static> {
        let part = |(member, assignment): &(&str, &'static [u8])| SyncGroupRequestAssignment {
            member_id: (*member).to_owned().into(),
            assignment: Cow::Borrowed(*assignment),
        };
        SyncGroupRequest {
            group_id: self.name.into(),
            generation_id: joined.generation,
            member_id: joined.id.clone().into(),
            group_instance_id: None,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: parts.iter().map(part).collect(),
        }
    }

    fn send_sync(&mut self, on: usize, joined: &Joined, parts: &[(&str, &'static [u8])]) {
        let request = self.sync_request(joined, parts);
        self.peer.send(on, SYNC, &request).expect("sent");
    }

    fn synced(&mut self, on: usize, case: &str) {
        self.peer.receive::<SyncGroupRequest<'_>>(on, SYNC, case);
    }

    fn sync(&mut self, on: usize, case: &str, joined: &Joined, parts: &[(&str, &'static [u8])]) {
        self.send_sync(on, joined, parts);
        self.synced(on, case);
    }

    fn beat_request(&self, joined: &Joined, instance: Option<&'static str>) -> HeartbeatRequest<'static> {
        HeartbeatRequest {
            group_id: self.name.into(),
            generation_id: joined.generation,
            member_id: joined.id.clone().into(),
            group_instance_id: instance.map(Into::into),
        }
    }

    fn beat(&mut self, case: &str, joined: &Joined) {
        let request = self.beat_request(joined, None);
        self.peer.call(BEAT, case, &request);
    }

    /// Until a heartbeat is answered with a code.
    fn beat_until(&mut self, joined: &Joined, code: i16) {
        let request = self.beat_request(joined, None);
        self.peer.wait_for(BEAT, &request, |answer| answer.error_code == code);
    }

    fn leave(&mut self, case: &str, members: &[(&str, Option<&'static str>)]) {
        let identity = |(id, instance): &(&str, Option<&'static str>)| MemberIdentity {
            member_id: (*id).to_owned().into(),
            group_instance_id: instance.map(Into::into),
            reason: None,
        };
        let request = LeaveGroupRequest {
            group_id: self.name.into(),
            members: members.iter().map(identity).collect(),
            ..LeaveGroupRequest::default()
        };
        self.peer.call(5, case, &request);
    }

    fn describe(&mut self, case: &str) {
        let groups = vec![self.name.into()];
        for version in [0, 4, 6] {
            let request =
                DescribeGroupsRequest { groups: groups.clone(), include_authorized_operations: false };
            self.peer.call(version, case, &request);
        }
        let name = self.name;
        self.peer.call_edited(5, case, &ListGroupsRequest::default(), |answer| {
            answer.groups.retain(|group| group.group_id == name);
        });
    }

    /// Until the group is in a state.
    fn until(&mut self, state: &str) {
        let request =
            DescribeGroupsRequest { groups: vec![self.name.into()], include_authorized_operations: false };
        self.peer.wait_for(5, &request, |answer| answer.groups[0].group_state == state);
    }

    fn commit(&mut self, case: &str, member: Option<&Joined>, topic: (&str, Uuid), offsets: &[(i32, i64)]) {
        let partition = |(index, offset): &(i32, i64)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(format!("at {offset}").into()),
        };
        let mut request = OffsetCommitRequest {
            group_id: self.name.into(),
            generation_id_or_member_epoch: member.map_or(-1, |joined| joined.generation),
            member_id: member.map_or_else(String::new, |joined| joined.id.clone()).into(),
            topics: vec![OffsetCommitRequestTopic {
                name: topic.0.to_owned().into(),
                topic_id: topic.1,
                partitions: offsets.iter().map(partition).collect(),
            }],
            ..OffsetCommitRequest::default()
        };
        for version in [2, 9, 10] {
            request.retention_time_ms = -1;
            self.peer.call(version, case, &request);
        }
    }

    fn committed(&mut self, case: &str, topic: (&str, Uuid), partitions: &[i32]) {
        for (version, all) in [(8, false), (9, true), (10, false), (10, true)] {
            let topics = vec![OffsetFetchRequestTopics {
                name: topic.0.to_owned().into(),
                topic_id: topic.1,
                partition_indexes: partitions.to_vec(),
            }];
            let group = OffsetFetchRequestGroup {
                group_id: self.name.into(),
                topics: (!all).then_some(topics),
                ..OffsetFetchRequestGroup::default()
            };
            let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
            self.peer.call(version, &format!("{case}, all: {all}"), &request);
        }
    }

    fn delete(&mut self, case: &str) {
        let request = DeleteGroupsRequest { groups_names: vec![self.name.into()] };
        self.peer.call(2, case, &request);
    }

    /// A member that joins an empty group and gets everything.
    fn first(&mut self, on: usize) -> Joined {
        let id = self.enter(on, "the first");
        let first = self.join(on, "the first", &id, None);
        self.sync(on, "the first", &first, &[(&first.id, b"everything")]);
        first
    }

    /// A second member beside the first.
    fn second(&mut self, (one, on): (&Joined, usize), other: usize) -> (Joined, Joined) {
        let id = self.enter(other, "the second");
        self.send_join(other, &id, None);
        self.beat_until(one, REBALANCE_IN_PROGRESS);
        let one = self.join(on, "the first of two", &one.id, None);
        let two = self.joined(other, "the second of two");
        self.send_sync(other, &two, &[]);
        self.sync(on, "the first of two", &one, &[(&one.id, b"one half"), (&two.id, b"other half")]);
        self.synced(other, "the second of two");
        (one, two)
    }
}

const REBALANCE_IN_PROGRESS: i16 = 27;
const UNKNOWN_MEMBER_ID: i16 = 25;

fn protocols_of(names: &[&'static str], metadata: &'static [u8]) -> Vec<JoinGroupRequestProtocol<'static>> {
    let protocol =
        |name: &&'static str| JoinGroupRequestProtocol { name: (*name).into(), metadata: metadata.into() };
    names.iter().map(protocol).collect()
}

fn three_members(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-three");
    group.describe("before");
    let one = group.first(1);
    group.describe("of one");
    let (one, two) = group.second((&one, 1), 2);
    group.describe("of two");
    let id = group.enter(3, "the third");
    group.describe("with a third to come");
    group.send_join(3, &id, None);
    group.beat_until(&one, REBALANCE_IN_PROGRESS);
    group.beat("the second in a rebalance", &two);
    group.describe("in a rebalance");
    group.send_join(1, &one.id, None);
    let two = group.join(2, "the second of three", &two.id, None);
    let one = group.joined(1, "the first of three");
    let three = group.joined(3, "the third of three");
    group.describe("waiting for an assignment");
    group.beat("before the assignment", &two);
    group.send_sync(2, &two, &[]);
    group.sync(1, "the first of three", &one, &[(&three.id, b"3"), (&two.id, b"2")]);
    group.synced(2, "the second of three");
    group.sync(3, "the third of three", &three, &[]);
    group.describe("of three");
    let old = Joined { generation: three.generation - 1, ..three.clone() };
    group.beat("an old generation", &old);
    group.sync(3, "an old generation", &old, &[]);
    group.leave("the second", &[(&two.id, None)]);
    group.beat("who left", &two);
    group.beat("who stayed", &three);
    group.send_join(1, &one.id, None);
    let three = group.join(3, "the third of two", &three.id, None);
    let one = group.joined(1, "the first of two again");
    group.leave("everybody", &[(&one.id, None), (&three.id, None), (&two.id, None)]);
    group.describe("of nobody");
    group.sync(3, "after everybody left", &three, &[]);
    group.delete("of nobody");
    group.describe("deleted");
}

fn static_members(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-static");
    let one = group.join(1, "a static member", "", Some("one"));
    group.sync(1, "a static member", &one, &[(&one.id, b"everything")]);
    group.describe("of a static member");
    let again = group.join(2, "restarted", "", Some("one"));
    group.describe("after the restart");
    group.sync(2, "restarted", &again, &[]);
    for (case, joined) in [("the old one", &one), ("the new one", &again)] {
        let request = group.beat_request(joined, Some("one"));
        group.peer.call(BEAT, case, &request);
        let request =
            SyncGroupRequest { group_instance_id: Some("one".into()), ..group.sync_request(joined, &[]) };
        group.peer.call(SYNC, case, &request);
    }
    // Another subscription: now there has to be a rebalance.
    let request = JoinGroupRequest {
        protocols: protocols_of(&["range", "roundrobin"], b"other topics"),
        ..group.join_request("", Some("one"))
    };
    let changed = Joined::of(&group.peer.call(JOIN, "restarted with other topics", &request));
    group.describe("restarted with other topics");
    group.sync(1, "restarted with other topics", &changed, &[(&changed.id, b"other")]);
    group.leave("by the old id", &[(&one.id, Some("one"))]);
    group.leave("another instance", &[("", Some("two"))]);
    group.leave("by id only", &[(&changed.id, None)]);
    group.describe("left by id");
    group.leave("by instance", &[("", Some("one"))]);
    group.describe("left");
}

fn static_restart_in_rebalance(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-static-rebalance");
    let one = group.join(1, "a static member", "", Some("one"));
    group.sync(1, "a static member", &one, &[(&one.id, b"everything")]);
    group.send_join(2, "", Some("two"));
    group.until("PreparingRebalance");
    group.describe("in a rebalance");
    let again = group.join(3, "restarted in a rebalance", "", Some("one"));
    let two = group.joined(2, "the other");
    group.describe("after the rebalance");
    group.send_sync(2, &two, &[]);
    group.sync(3, "restarted in a rebalance", &again, &[(&again.id, b"one half"), (&two.id, b"other")]);
    group.synced(2, "the other");
    // The leader restarts while all is well: nothing is to be assigned anew.
    let leader = group.join(1, "the leader restarted", "", Some("one"));
    group.peer.note(9, "JoinGroup: the restarted leader leads", &leader.leads);
    group.sync(1, "the leader restarted", &leader, &[(&leader.id, b"mine"), (&two.id, b"yours")]);
    group.describe("after the leader's restart");
}

fn silent_members(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-silent");
    let short = |join: JoinGroupRequest<'static>| JoinGroupRequest { session_timeout_ms: 300, ..join };
    let id = group.enter(1, "a member");
    let request = short(group.join_request(&id, None));
    let one = Joined::of(&group.peer.call(JOIN, "a member with a short session", &request));
    group.sync(1, "a member with a short session", &one, &[(&one.id, b"everything")]);
    group.until("Empty");
    group.describe("after its session");
    group.beat("after its session", &one);
    group.sync(1, "after its session", &one, &[]);
    group.join(1, "after its session", &one.id, None);
    // A static member is silent too.
    let request = short(group.join_request("", Some("quiet")));
    let quiet = Joined::of(&group.peer.call(JOIN, "a static member", &request));
    group.sync(1, "a static member", &quiet, &[(&quiet.id, b"everything")]);
    group.until("Empty");
    group.describe("after a static member's session");
    let request = short(group.join_request("", Some("quiet")));
    group.peer.call(JOIN, "a static member comes back", &request);
    // One that asked for an id and never came.
    let request = short(group.join_request("", None));
    group.peer.call(JOIN, "never comes", &request);
}

fn missed_rebalance(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-missed");
    let id = group.enter(1, "the first");
    let patient = |join: JoinGroupRequest<'static>| JoinGroupRequest { rebalance_timeout_ms: 400, ..join };
    let request = patient(group.join_request(&id, None));
    let one = Joined::of(&group.peer.call(JOIN, "the first", &request));
    group.sync(1, "the first", &one, &[(&one.id, b"everything")]);
    let id = group.enter(2, "the second");
    let request = patient(group.join_request(&id, None));
    group.peer.send(2, JOIN, &request).expect("sent");
    let two = group.joined(2, "the second after the first did not come back");
    group.describe("without the first");
    group.beat("the first", &one);
    // Nobody syncs: after the rebalance timeout the group begins anew.
    group.beat_until(&two, UNKNOWN_MEMBER_ID);
    group.describe("after nobody synced");
}

fn protocols(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-protocols");
    let with = |join: JoinGroupRequest<'static>, names: &[&'static str]| JoinGroupRequest {
        protocols: protocols_of(names, b"topics"),
        ..join
    };
    let id = group.enter(1, "the first");
    let request = with(group.join_request(&id, None), &["cooperative", "range"]);
    let one = Joined::of(&group.peer.call(JOIN, "prefers cooperative", &request));
    let request =
        SyncGroupRequest { protocol_name: Some("cooperative".into()), ..group.sync_request(&one, &[]) };
    group.peer.call(SYNC, "prefers cooperative", &request);
    let request = with(group.join_request("", None), &["sticky"]);
    group.peer.call(JOIN, "nothing in common", &request);
    let request = with(group.join_request("nobody", None), &["range"]);
    group.peer.call(JOIN, "an unknown member", &request);
    let id = group.enter(2, "the second");
    let request = with(group.join_request(&id, None), &["range", "sticky"]);
    group.peer.send(2, JOIN, &request).expect("sent");
    group.beat_until(&one, REBALANCE_IN_PROGRESS);
    let request = with(group.join_request(&one.id, None), &["cooperative", "range"]);
    let one = Joined::of(&group.peer.call(JOIN, "now range", &request));
    group.joined(2, "now range");
    group.describe("in range");
    let request =
        SyncGroupRequest { protocol_name: Some("cooperative".into()), ..group.sync_request(&one, &[]) };
    group.peer.call(SYNC, "no longer cooperative", &request);
    group.sync(1, "range", &one, &[]);
    group.describe("stable in range");
    let request = with(group.join_request(&one.id, None), &["sticky"]);
    group.peer.call(JOIN, "a member that changes to what the other has too", &request);
    let mut request = group.join_request("", None);
    request.protocol_type = "connect".into();
    group.peer.call(JOIN, "another type", &request);
}

fn offsets_of_deleted_topics(peer: &mut Peer) {
    let id = make_topic(peer, "w-offsets-gone", 2, &[]);
    let kept = make_topic(peer, "w-offsets-kept", 1, &[]);
    let mut group = Group::new(peer, "w-offsets");
    let (gone, kept) = (("w-offsets-gone", id), ("w-offsets-kept", kept));
    group.commit("before", None, gone, &[(0, 5), (1, 6)]);
    group.commit("before", None, kept, &[(0, 7)]);
    group.committed("before", gone, &[0, 1, 2]);
    group.peer.call(6, "with offsets", &delete("w-offsets-gone"));
    barrier(group.peer);
    group.committed("after the deletion", gone, &[0, 1]);
    group.committed("after the deletion", kept, &[0, 1]);
    group.commit("after the deletion", None, gone, &[(0, 9)]);
    let again = ("w-offsets-gone", make_topic(group.peer, "w-offsets-gone", 1, &[]));
    group.committed("made again", again, &[0, 1]);
    group.committed("made again, by the old id", gone, &[0]);
    group.commit("made again", None, again, &[(0, 3), (1, 3)]);
    group.committed("at the end", again, &[0, 1]);
}

fn offsets_over_a_life(peer: &mut Peer) {
    let topic = ("w-life-topic", make_topic(peer, "w-life-topic", 2, &[]));
    let mut group = Group::new(peer, "w-life");
    group.committed("before there is a group", topic, &[0]);
    group.commit("without members", None, topic, &[(0, 1)]);
    let one = group.first(1);
    group.commit("from outside while there is a member", None, topic, &[(0, 2)]);
    group.commit("by the member", Some(&one), topic, &[(0, 3), (1, 3)]);
    let id = group.enter(2, "the second");
    group.send_join(2, &id, None);
    group.beat_until(&one, REBALANCE_IN_PROGRESS);
    group.commit("in a rebalance", Some(&one), topic, &[(0, 4)]);
    let one = group.join(1, "the first", &one.id, None);
    let two = group.joined(2, "the second");
    group.commit("before the assignment", Some(&two), topic, &[(0, 5)]);
    group.send_sync(2, &two, &[]);
    group.sync(1, "the first", &one, &[]);
    group.synced(2, "the second");
    let old = Joined { generation: one.generation - 1, ..one.clone() };
    let next = Joined { generation: one.generation + 1, ..one.clone() };
    let nobody = Joined { id: "nobody".to_owned(), ..one.clone() };
    group.commit("by an old generation", Some(&old), topic, &[(0, 6)]);
    group.commit("by a generation to come", Some(&next), topic, &[(0, 6)]);
    group.commit("by nobody", Some(&nobody), topic, &[(0, 6)]);
    group.committed("with members", topic, &[0, 1]);
    group.delete("with members");
    group.leave("both", &[(&one.id, None), (&two.id, None)]);
    group.commit("by one that left", Some(&one), topic, &[(0, 7)]);
    group.commit("from outside again", None, topic, &[(0, 8)]);
    group.committed("without members", topic, &[0, 1]);
    group.delete("without members");
    group.committed("deleted", topic, &[0, 1]);
    group.describe("deleted");
}

fn deleted_and_made_again(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-phoenix");
    group.delete("before");
    let one = group.first(1);
    group.leave("the only one", &[(&one.id, None)]);
    group.delete("empty");
    group.delete("twice");
    group.beat("of a deleted group", &one);
    group.join(1, "of a deleted group", &one.id, None);
    group.leave("of a deleted group", &[(&one.id, None)]);
    let again = group.first(1);
    group.peer.note(9, "JoinGroup: generation of the new group", &again.generation);
    group.describe("made again");
}

fn bad_requests(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-bad");
    let one = group.first(1);
    for (case, session_timeout_ms) in [("short", 99), ("long", 1_800_001), ("zero", 0), ("negative", -1)] {
        for version in [0, 4, 9] {
            let request = JoinGroupRequest { session_timeout_ms, ..group.join_request(&one.id, None) };
            group.peer.call(version, &format!("session {case}"), &request);
        }
    }
    let name = |group_id: &'static str, group: &Group<'_>| JoinGroupRequest {
        group_id: group_id.into(),
        ..group.join_request("", None)
    };
    for group_id in ["", "   ", "with space", "tab\there"] {
        let request = name(group_id, &group);
        group.peer.call(9, &format!("group '{group_id}'"), &request);
    }
    let mut request = group.join_request(&one.id, None);
    request.protocols.clear();
    group.peer.call(9, "a member without protocols", &request);
    let mut request = group.join_request("", None);
    request.protocols.clear();
    request.group_id = "w-bad-new".into();
    group.peer.call(9, "a new group without protocols", &request);
    for (instance, group_id) in
        [("", "w-bad-1"), (".", "w-bad-2"), ("..", "w-bad-3"), ("with space", "w-bad-4")]
    {
        let request =
            JoinGroupRequest { group_id: group_id.into(), ..group.join_request("", Some(instance)) };
        group.peer.call(9, &format!("instance '{instance}'"), &request);
    }
    group.describe("at the end");
}
