//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: a group of two through its rebalances.

use std::borrow::Cow;

use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::groups::{committing, list};
use crate::requests::make_topic;

/// `ConsumerProtocolSubscription` version 0: the topic `joined`.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x06joined\xff\xff\xff\xff";
const REBALANCE_IN_PROGRESS: i16 = 27;

pub(crate) fn script(peer: &mut Peer) {
    make_topic(peer, "joined", 2, &[]);
    for version in versions::<JoinGroupRequest<'_>>() {
        let mut group = Group { peer: &mut *peer, version, name: format!("joining-{version}") };
        group.refused();
        group.two_members();
        if version >= 5 {
            group.static_member();
        }
    }
}

struct Group<'p> {
    peer: &'p mut Peer,
    version: i16,
    name: String,
}

impl Group<'_> {
    fn join(&self, member: &str) -> JoinGroupRequest<'static> {
        JoinGroupRequest {
            group_id: self.name.clone().into(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 45_000,
            member_id: member.to_owned().into(),
            protocol_type: "consumer".into(),
            protocols: ["range", "roundrobin"]
                .map(|name| JoinGroupRequestProtocol { name: name.into(), metadata: SUBSCRIPTION.into() })
                .into(),
            ..JoinGroupRequest::default()
        }
    }

    fn sync(
        &self,
        member: &str,
        generation: i32,
        parts: &[(&str, &'static [u8])],
    ) -> SyncGroupRequest<'static> {
        let part = |(member, assignment): &(&str, &'static [u8])| SyncGroupRequestAssignment {
            member_id: (*member).to_owned().into(),
            assignment: Cow::Borrowed(*assignment),
        };
        SyncGroupRequest {
            group_id: self.name.clone().into(),
            generation_id: generation,
            member_id: member.to_owned().into(),
            protocol_type: (self.version >= 5).then_some("consumer".into()),
            protocol_name: (self.version >= 5).then_some("range".into()),
            assignments: parts.iter().map(part).collect(),
            ..SyncGroupRequest::default()
        }
    }

    fn beat(&self, member: &str, generation: i32) -> HeartbeatRequest<'static> {
        HeartbeatRequest {
            group_id: self.name.clone().into(),
            generation_id: generation,
            member_id: member.to_owned().into(),
            ..HeartbeatRequest::default()
        }
    }

    fn leave(&self, members: &[(&str, Option<&'static str>)]) -> LeaveGroupRequest<'static> {
        let identity = |(id, instance): &(&str, Option<&'static str>)| MemberIdentity {
            member_id: (*id).to_owned().into(),
            group_instance_id: instance.map(Into::into),
            reason: None,
        };
        let group_id = self.name.clone().into();
        match self.version {
            0..=2 => LeaveGroupRequest {
                group_id,
                member_id: members[0].0.to_owned().into(),
                ..LeaveGroupRequest::default()
            },
            _ => LeaveGroupRequest {
                group_id,
                members: members.iter().map(identity).collect(),
                ..LeaveGroupRequest::default()
            },
        }
    }

    fn describe(&mut self, case: &str) {
        let groups = vec![self.name.clone().into()];
        let request = DescribeGroupsRequest { groups, include_authorized_operations: false };
        self.peer.call(self.version.min(6), case, &request);
    }

    fn heartbeat(&mut self, case: &str, request: &HeartbeatRequest<'_>) {
        self.peer.call(self.version.min(4), case, request);
    }

    fn refused(&mut self) {
        let ok = self.join("");
        for (case, request) in [
            ("unknown member", self.join("nobody")),
            ("session too short", JoinGroupRequest { session_timeout_ms: 1, ..ok.clone() }),
            ("session too long", JoinGroupRequest { session_timeout_ms: i32::MAX, ..ok.clone() }),
            ("empty group", JoinGroupRequest { group_id: "".into(), ..ok.clone() }),
            ("no protocols", JoinGroupRequest { protocols: Vec::new(), ..ok.clone() }),
            ("no protocol type", JoinGroupRequest { protocol_type: "".into(), ..ok.clone() }),
        ] {
            self.peer.call(self.version, case, &request);
        }
        let request = self.sync("nobody", 1, &[]);
        self.peer.call(self.version.min(5), "unknown group", &request);
        let request = self.beat("nobody", 1);
        self.heartbeat("unknown group", &request);
        let request = self.leave(&[("nobody", None)]);
        self.peer.call(self.version.min(5), "unknown group", &request);
        self.name.clear();
        let request = self.sync("nobody", 1, &[]);
        self.peer.call(self.version.min(5), "empty group", &request);
        let request = self.beat("nobody", 1);
        self.heartbeat("empty group", &request);
        let request = self.leave(&[("nobody", None)]);
        self.peer.call(self.version.min(5), "empty group", &request);
        self.name = format!("joining-{}", self.version);
    }

    /// A member's id: from version 4 on a new member has to join with the id it is told.
    fn enter(&mut self, on: usize, case: &str) -> String {
        if self.version < 4 {
            return String::new();
        }
        let request = self.join("");
        self.peer.send(on, self.version, &request).expect("sent");
        let told = self.peer.receive::<JoinGroupRequest<'_>>(on, self.version, &format!("{case} gets an id"));
        told.member_id.into_owned()
    }

    fn two_members(&mut self) {
        let version = self.version;
        let id = self.enter(0, "first");
        self.describe("with a member to come");
        let request = self.join(&id);
        let first = self.peer.call(version, "first", &request);
        let one = first.member_id.into_owned();
        self.describe("waiting for an assignment");
        let request = self.sync(&one, first.generation_id, &[(&one, b"all")]);
        self.peer.call(version.min(5), "alone", &request);
        self.wrong_syncs(&one, first.generation_id);
        self.describe("of one");
        let request = self.join(&one);
        let again = self.peer.call(version, "first again", &request);
        let request = self.sync(&one, again.generation_id, &[(&one, b"all")]);
        self.peer.call(version.min(5), "alone again", &request);

        let id = self.enter(1, "second");
        let request = self.join(&id);
        self.peer.send(1, version, &request).expect("sent");
        let request = self.beat(&one, again.generation_id);
        self.peer.wait_for(0, &request, |answer| answer.error_code == REBALANCE_IN_PROGRESS);
        self.heartbeat("a rebalance begins", &request);
        self.describe("in a rebalance");
        let request = self.sync(&one, again.generation_id, &[]);
        self.peer.call(version.min(5), "a rebalance begins", &request);
        let request = self.join(&one);
        let leader = self.peer.call(version, "first of two", &request);
        let second = self.peer.receive::<JoinGroupRequest<'_>>(1, version, "second of two");
        let two = second.member_id.into_owned();
        let generation = leader.generation_id;

        let request = self.sync(&two, generation, &[]);
        self.peer.send(1, version.min(5), &request).expect("sent");
        let request = self.sync(&one, generation, &[(&one, b"a"), (&two, b"b"), ("nobody", b"c")]);
        self.peer.call(version.min(5), "leader", &request);
        self.peer.receive::<SyncGroupRequest<'_>>(1, version.min(5), "follower");
        self.describe("of two");
        self.stable(&one, &two, generation);
        self.part(&one, &two, generation);
    }

    fn wrong_syncs(&mut self, member: &str, generation: i32) {
        let version = self.version.min(5);
        let other = self.sync(member, generation + 1, &[]);
        self.peer.call(version, "wrong generation", &other);
        let other = self.sync("nobody", generation, &[]);
        self.peer.call(version, "unknown member", &other);
        if version >= 5 {
            let request = self.sync(member, generation, &[]);
            let other = SyncGroupRequest { protocol_name: Some("other".into()), ..request.clone() };
            self.peer.call(version, "another protocol", &other);
            let other = SyncGroupRequest { protocol_type: Some("other".into()), ..request.clone() };
            self.peer.call(version, "another protocol type", &other);
            let other = SyncGroupRequest { protocol_type: None, protocol_name: None, ..request };
            self.peer.call(version, "no protocol", &other);
        }
        let mut other = self.join("");
        other.protocol_type = "connect".into();
        self.peer.call(self.version, "another protocol type", &other);
        let mut other = self.join("");
        other.protocols.truncate(1);
        other.protocols[0].name = "sticky".into();
        self.peer.call(self.version, "no common protocol", &other);
        let other = self.join("nobody");
        self.peer.call(self.version, "unknown member of a group", &other);
    }

    fn stable(&mut self, one: &str, two: &str, generation: i32) {
        for (case, request) in [
            ("first", self.beat(one, generation)),
            ("second", self.beat(two, generation)),
            ("old generation", self.beat(one, generation - 1)),
            ("unknown member", self.beat("nobody", generation)),
        ] {
            self.heartbeat(case, &request);
        }
        let request = self.sync(two, generation, &[]);
        self.peer.call(self.version.min(5), "again when stable", &request);
        let version = self.version.clamp(2, 9);
        for (case, member, generation) in [
            ("member", two, generation),
            ("member, old generation", two, generation - 1),
            ("unknown member", "nobody", generation),
            ("no member of a group with members", "", -1),
        ] {
            let offsets = vec![Default::default()];
            let commit = OffsetCommitRequest {
                generation_id_or_member_epoch: generation,
                member_id: member.to_owned().into(),
                ..committing(&self.name, "joined", Uuid::ZERO, offsets)
            };
            self.peer.call(version, case, &commit);
        }
        if self.version >= 9 {
            for (case, member, epoch) in [("by a member", two, generation), ("by nobody", "nobody", 1)] {
                let group = OffsetFetchRequestGroup {
                    group_id: self.name.clone().into(),
                    member_id: Some(member.to_owned().into()),
                    member_epoch: epoch,
                    topics: None,
                };
                let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
                self.peer.call(9, case, &request);
            }
            list(self.peer);
        }
        if self.version == 9 {
            let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
            let topics = ["joined", "committed"]
                .map(|name| OffsetDeleteRequestTopic { name: name.into(), partitions: partitions.clone() });
            let group_id = self.name.clone().into();
            let request = OffsetDeleteRequest { group_id, topics: topics.into() };
            self.peer.call(0, "read and unread topics of a group with members", &request);
        }
        let request = DeleteGroupsRequest { groups_names: vec![self.name.clone().into()] };
        self.peer.call(self.version.min(3), "with members", &request);
    }

    fn part(&mut self, one: &str, two: &str, generation: i32) {
        let version = self.version.min(5);
        let request = self.leave(&[("nobody", None)]);
        self.peer.call(version, "unknown member", &request);
        let request = self.leave(&[(two, None)]);
        self.peer.call(version, "one of two", &request);
        let request = self.beat(two, generation);
        self.heartbeat("after leaving", &request);
        let request = self.beat(one, generation);
        self.heartbeat("the other left", &request);
        if version >= 3 {
            let request = self.leave(&[(one, None), ("nobody", None), ("", Some("not-static"))]);
            self.peer.call(version, "several", &request);
            let request = self.leave(&[]);
            self.peer.call(version, "nobody", &request);
        } else {
            let request = self.leave(&[(one, None)]);
            self.peer.call(version, "the last", &request);
        }
        self.describe("all left");
    }

    fn static_member(&mut self) {
        self.name = format!("static-{}", self.version);
        let version = self.version;
        let named = |join: JoinGroupRequest<'static>| JoinGroupRequest {
            group_instance_id: Some("i".into()),
            ..join
        };
        let request = named(self.join(""));
        let first = self.peer.call(version, "static", &request);
        let id = first.member_id.into_owned();
        let sync = |request: SyncGroupRequest<'static>| SyncGroupRequest {
            group_instance_id: Some("i".into()),
            ..request
        };
        let request = sync(self.sync(&id, first.generation_id, &[(&id, b"x")]));
        self.peer.call(version.min(5), "static", &request);
        self.describe("static");
        let again = self.peer.call(version, "static, started again", &named(self.join("")));
        let newer = again.member_id.into_owned();
        let beat = |request: HeartbeatRequest<'static>| HeartbeatRequest {
            group_instance_id: Some("i".into()),
            ..request
        };
        for (case, member) in
            [("static", &*newer), ("static, the old one", &id), ("static, unknown", "nobody")]
        {
            let request = beat(self.beat(member, again.generation_id));
            self.heartbeat(case, &request);
        }
        let request = named(self.join(&id));
        self.peer.call(version, "static, the old one", &request);
        let request = sync(self.sync(&id, again.generation_id, &[]));
        self.peer.call(version.min(5), "static, the old one", &request);
        let request = sync(self.sync(&newer, again.generation_id, &[(&newer, b"y")]));
        self.peer.call(version.min(5), "static, started again", &request);
        let mut other = beat(self.beat(&newer, again.generation_id));
        other.group_instance_id = Some("j".into());
        self.heartbeat("static, another instance", &other);
        let request = self.leave(&[(&id, Some("i")), ("", Some("j"))]);
        self.peer.call(version.min(5), "static, the old one", &request);
        let request = self.leave(&[("", Some("i"))]);
        self.peer.call(version.min(5), "static by instance", &request);
        self.describe("static left");
    }
}
