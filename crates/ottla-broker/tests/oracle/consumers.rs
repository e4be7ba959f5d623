//! ConsumerGroupHeartbeat, ConsumerGroupDescribe, and everything else that may be asked of a consumer group (KIP-848).

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_group_heartbeat_response::Assignment;
use ottla_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DeleteGroupsRequest, DescribeGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::groups::{committing, list};
use crate::requests::make_topic;

const TOPIC: &str = "consumed";

pub(crate) fn script(peer: &mut Peer) {
    let topic = make_topic(peer, TOPIC, 4, &[]);
    for version in versions::<ConsumerGroupHeartbeatRequest<'_>>() {
        let mut group = Group { peer: &mut *peer, version, name: format!("consuming-{version}"), topic };
        group.refused();
        group.two_members();
        group.static_members();
        group.assignors();
        if version >= 1 {
            group.expressions();
        }
    }
}

struct Group<'p> {
    peer: &'p mut Peer,
    version: i16,
    name: String,
    topic: Uuid,
}

type Request = ConsumerGroupHeartbeatRequest<'static>;

fn partitions(answer: &ConsumerGroupHeartbeatResponse<'_>) -> Vec<TopicPartitions> {
    let assignment: Assignment = answer.assignment.clone().unwrap_or_default();
    let topic = |topic: ottla_protocol::messages::consumer_group_heartbeat_response::TopicPartitions| {
        TopicPartitions { topic_id: topic.topic_id, partitions: topic.partitions }
    };
    assignment.topic_partitions.into_iter().map(topic).collect()
}

impl Group<'_> {
    /// A member's first heartbeat.
    fn join(&self, member: &str) -> Request {
        Request {
            group_id: self.name.clone().into(),
            member_id: member.to_owned().into(),
            member_epoch: 0,
            rebalance_timeout_ms: 45_000,
            subscribed_topic_names: Some(vec![TOPIC.into()]),
            topic_partitions: Some(Vec::new()),
            ..Request::default()
        }
    }

    /// A heartbeat that says nothing.
    fn beat(&self, member: &str, member_epoch: i32) -> Request {
        Request {
            group_id: self.name.clone().into(),
            member_id: member.to_owned().into(),
            member_epoch,
            rebalance_timeout_ms: -1,
            ..Request::default()
        }
    }

    fn has(&self, member: &str, epoch: i32, has: &[TopicPartitions]) -> Request {
        Request { topic_partitions: Some(has.to_vec()), ..self.beat(member, epoch) }
    }

    fn call(&mut self, case: &str, request: &Request) -> ConsumerGroupHeartbeatResponse<'static> {
        self.peer.call(self.version, case, request)
    }

    fn describe(&mut self, case: &str) {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![self.name.clone().into()],
            include_authorized_operations: true,
        };
        self.peer.call(self.version, case, &request);
    }

    fn refused(&mut self) {
        let ok = self.join("m");
        for (case, request) in [
            ("no member id", Request { member_id: "".into(), member_epoch: 1, ..ok.clone() }),
            ("no group id", Request { group_id: "".into(), ..ok.clone() }),
            ("blank group id", Request { group_id: " ".into(), ..ok.clone() }),
            ("empty instance id", Request { instance_id: Some("".into()), ..ok.clone() }),
            ("empty rack", Request { rack_id: Some("".into()), ..ok.clone() }),
            ("no rebalance timeout", Request { rebalance_timeout_ms: -1, ..ok.clone() }),
            ("no partitions", Request { topic_partitions: None, ..ok.clone() }),
            (
                "partitions of a new member",
                Request {
                    topic_partitions: Some(vec![TopicPartitions {
                        topic_id: self.topic,
                        partitions: vec![0],
                    }]),
                    ..ok.clone()
                },
            ),
            ("no subscription", Request { subscribed_topic_names: None, ..ok.clone() }),
            ("epoch too low", Request { member_epoch: -3, ..ok.clone() }),
            ("leaving for a while without instance", Request { member_epoch: -2, ..ok.clone() }),
            ("unknown assignor", Request { server_assignor: Some("best".into()), ..ok.clone() }),
            ("unknown group", Request { member_epoch: 5, ..ok.clone() }),
            ("leaving an unknown group", Request { member_epoch: -1, ..ok.clone() }),
        ] {
            self.call(case, &request);
        }
        for (case, names) in [
            ("unknown", vec!["consuming-none".into()]),
            ("without name", vec!["".into()]),
            ("none", Vec::new()),
            ("of another kind", vec!["simple-8".into()]),
        ] {
            let group_ids = names;
            let request = ConsumerGroupDescribeRequest { group_ids, include_authorized_operations: false };
            self.peer.call(self.version, case, &request);
        }
    }

    fn two_members(&mut self) {
        let request =
            Request { member_id: if self.version == 0 { "" } else { "one" }.into(), ..self.join("") };
        let first = self.call("first", &request);
        let one = first.member_id.clone().expect("an id").into_owned();
        self.describe("of one");
        let all = partitions(&first);
        let request = self.has(&one, first.member_epoch, &all);
        self.call("first has all", &request);
        let request = self.beat(&one, first.member_epoch);
        self.call("nothing new", &request);
        let full =
            Request { member_epoch: first.member_epoch, topic_partitions: Some(all), ..self.join(&one) };
        self.call("a full request", &full);
        self.wrong_epochs(&one, first.member_epoch);
        self.offsets(&one, first.member_epoch);

        let request =
            Request { member_id: if self.version == 0 { "" } else { "two" }.into(), ..self.join("") };
        let second = self.call("second", &request);
        let two = second.member_id.clone().expect("an id").into_owned();
        self.describe("of two, one must give up");
        let request = self.beat(&two, second.member_epoch);
        self.call("second waits", &request);
        let request = self.beat(&one, first.member_epoch);
        let told = self.call("first is told to give up", &request);
        self.describe("of two, one gives up");
        self.offsets_of_revoked(&one, first.member_epoch);
        let request = self.beat(&one, first.member_epoch);
        self.call("first still has it", &request);
        let request = self.has(&one, first.member_epoch, &partitions(&told));
        let given = self.call("first gave up", &request);
        let request = self.beat(&two, second.member_epoch);
        let taken = self.call("second takes", &request);
        self.describe("of two");
        let request = self.has(&two, taken.member_epoch, &partitions(&taken));
        self.call("second has its part", &request);
        let old = given.member_epoch - 1;
        let request = self.has(&one, old, &partitions(&told));
        self.call("an answer got lost", &request);
        let request = self.has(&one, old, &partitions(&taken));
        self.call("an old epoch with other partitions", &request);
        self.others(&one, given.member_epoch);
        self.change_subscription(&two, taken.member_epoch);

        let request = self.beat(&one, -1);
        self.call("first leaves", &request);
        self.describe("one left");
        let request = self.beat(&one, given.member_epoch);
        self.call("after leaving", &request);
        let request = self.beat("nobody", -1);
        self.call("nobody leaves", &request);
        let request = self.beat(&two, -1);
        self.call("second leaves", &request);
        self.describe("all left");
        self.empty();
    }

    fn wrong_epochs(&mut self, member: &str, epoch: i32) {
        for (case, request) in [
            ("a newer epoch", self.beat(member, epoch + 1)),
            ("an older epoch", self.beat(member, epoch - 1)),
            ("unknown member", self.beat("nobody", epoch)),
            ("unknown instance", Request { instance_id: Some("i".into()), ..self.beat(member, epoch) }),
        ] {
            self.call(case, &request);
        }
    }

    fn committing(&self, member: &str, epoch: i32, index: i32) -> OffsetCommitRequest<'static> {
        let offset = OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: 3,
            ..OffsetCommitRequestPartition::default()
        };
        OffsetCommitRequest {
            generation_id_or_member_epoch: epoch,
            member_id: member.to_owned().into(),
            ..committing(&self.name, TOPIC, self.topic, vec![offset])
        }
    }

    fn offsets(&mut self, member: &str, epoch: i32) {
        for version in [8, 9, 10] {
            for (case, member, epoch) in [
                ("by a member", member, epoch),
                ("by a member of a newer epoch", member, epoch + 1),
                ("by a member of an older epoch", member, epoch - 1),
                ("by nobody", "nobody", epoch),
                ("by an administrator", "", -1),
                ("by a member without epoch", member, -1),
            ] {
                let request = self.committing(member, epoch, 0);
                self.peer.call(version, &format!("consumer group, {case}"), &request);
                if version < 9 {
                    continue;
                }
                for require_stable in [false, true] {
                    let group = OffsetFetchRequestGroup {
                        group_id: self.name.clone().into(),
                        member_id: (!member.is_empty()).then(|| member.to_owned().into()),
                        member_epoch: epoch,
                        topics: None,
                    };
                    let groups = vec![group];
                    let request =
                        OffsetFetchRequest { groups, require_stable, ..OffsetFetchRequest::default() };
                    self.peer.call(version, &format!("consumer group, {case}, {require_stable}"), &request);
                }
            }
        }
    }

    fn offsets_of_revoked(&mut self, member: &str, epoch: i32) {
        for index in 0..4 {
            let request = self.committing(member, epoch, index);
            self.peer.call(9, "consumer group, while giving up", &request);
            let request = self.committing(member, epoch - 1, index);
            self.peer.call(9, "consumer group, old epoch while giving up", &request);
        }
    }

    /// Requests that are not only for consumer groups.
    fn others(&mut self, member: &str, epoch: i32) {
        list(self.peer);
        for version in [5, 6] {
            let groups = vec![self.name.clone().into()];
            let request = DescribeGroupsRequest { groups, include_authorized_operations: false };
            self.peer.call(version, "consumer group", &request);
        }
        let request = DeleteGroupsRequest { groups_names: vec![self.name.clone().into()] };
        self.peer.call(2, "consumer group with members", &request);
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
        let topics = [TOPIC, "committed"]
            .map(|name| OffsetDeleteRequestTopic { name: name.into(), partitions: partitions.clone() });
        let request = OffsetDeleteRequest { group_id: self.name.clone().into(), topics: topics.into() };
        self.peer.call(0, "read and unread topics of a consumer group", &request);
        let request = self.committing(member, epoch, 0);
        self.peer.call(9, "consumer group, member of two", &request);
    }

    fn change_subscription(&mut self, member: &str, epoch: i32) {
        let more = vec![TOPIC.into(), "consumed-none".into()];
        let request = Request { subscribed_topic_names: Some(more), ..self.beat(member, epoch) };
        let answer = self.call("a topic that is not there", &request);
        self.describe("different subscriptions");
        let request =
            Request { subscribed_topic_names: Some(Vec::new()), ..self.beat(member, answer.member_epoch) };
        self.call("no topic", &request);
        self.describe("one reads nothing");
        let owned = self.has(member, answer.member_epoch, &[]);
        let answer = self.call("no topic, has nothing", &owned);
        let again = vec![TOPIC.into()];
        let request =
            Request { subscribed_topic_names: Some(again), ..self.beat(member, answer.member_epoch) };
        self.call("the topic again", &request);
        self.describe("subscribed again");
    }

    fn empty(&mut self) {
        for (case, epoch, member) in [("by an administrator", -1, ""), ("by a former member", 3, "one")] {
            let request = self.committing(member, epoch, 1);
            self.peer.call(9, &format!("empty consumer group, {case}"), &request);
        }
        list(self.peer);
        let request = DeleteGroupsRequest { groups_names: vec![self.name.clone().into()] };
        self.peer.call(2, "empty consumer group", &request);
        self.describe("deleted");
    }

    fn static_members(&mut self) {
        self.name = format!("consuming-static-{}", self.version);
        let named = |request: Request| Request { instance_id: Some("i".into()), ..request };
        let request = named(self.join("s1"));
        let first = self.call("static", &request);
        let request = named(self.join("s2"));
        self.call("static, a second one of the instance", &request);
        let request = named(self.beat("s2", first.member_epoch));
        self.call("static, another's heartbeat", &request);
        let request = named(self.beat("s1", first.member_epoch));
        self.call("static, heartbeat", &request);
        let request = named(self.beat("s2", -2));
        self.call("static, another leaves for a while", &request);
        let request = named(self.beat("s1", -2));
        self.call("static, leaves for a while", &request);
        self.describe("static away");
        let request = named(self.beat("s1", first.member_epoch));
        self.call("static, heartbeat while away", &request);
        let request = self.join("d");
        let dynamic = self.call("dynamic beside a static member", &request);
        self.describe("static away, a dynamic one joined");
        let request = named(self.join("s2"));
        let back = self.call("static, comes back", &request);
        self.describe("static came back");
        let request = named(self.beat("s1", first.member_epoch));
        self.call("static, the old one", &request);
        let request = named(self.has("s2", back.member_epoch, &partitions(&back)));
        self.call("static, heartbeat of the new one", &request);
        let request = self.beat("d", dynamic.member_epoch);
        self.call("dynamic, heartbeat", &request);
        let request = named(self.beat("s2", -1));
        self.call("static, leaves", &request);
        let request = Request { instance_id: Some("j".into()), ..self.beat("s2", -1) };
        self.call("static, unknown instance leaves", &request);
        let request = self.beat("d", -1);
        self.call("dynamic, leaves", &request);
        self.describe("static and dynamic left");
    }

    fn assignors(&mut self) {
        for assignor in ["range", "uniform"] {
            self.name = format!("consuming-{assignor}-{}", self.version);
            let chosen = |request: Request| Request { server_assignor: Some(assignor.into()), ..request };
            for member in ["a", "b", "c"] {
                let request = chosen(self.join(member));
                self.call(&format!("{assignor}, {member}"), &request);
            }
            self.describe(assignor);
            let request = Request { server_assignor: Some("range".into()), ..self.beat("c", 4) };
            self.call(&format!("{assignor}, changes to range"), &request);
            self.describe(&format!("{assignor}, then one range"));
            for member in ["a", "b", "c"] {
                let request = self.beat(member, -1);
                self.call(&format!("{assignor}, {member} leaves"), &request);
            }
        }
    }

    /// Resolved in the background: asked until it is.
    fn expressions(&mut self) {
        self.name = format!("consuming-regex-{}", self.version);
        let by = |request: Request, regex: &'static str| Request {
            subscribed_topic_names: None,
            subscribed_topic_regex: Some(regex.into()),
            ..request
        };
        for (case, regex) in
            [("cannot be read", "(a"), ("looks ahead", "(?=a)b"), ("repeats a repetition", "a**")]
        {
            let request = by(self.join("r"), regex);
            self.call(&format!("an expression that {case}"), &request);
        }
        let request = by(self.join("r"), "consum.*");
        self.peer.wait_for(self.version, &request, |answer| {
            answer.assignment.as_ref().is_some_and(|assignment| !assignment.topic_partitions.is_empty())
        });
        self.describe("by expression");
        let request = by(self.join("q"), "consum.*");
        self.call("the same expression", &request);
        self.describe("two by expression");
        let request = by(self.beat("r", 3), "");
        self.call("no expression any more", &request);
        self.describe("one by expression");
        for member in ["q", "r"] {
            let request = self.beat(member, -1);
            self.call(&format!("by expression, {member} leaves"), &request);
        }
        self.describe("by expression, all left");
    }
}
