//! Consumer groups (KIP-848): heartbeats, and what ConsumerGroupDescribe shows after each.

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    DeleteGroupsRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use ottla_types::Uuid;

use super::Sequence;
use super::topics::{delete, grow};
use crate::client::Peer;
use crate::requests::{barrier, make_topic};

pub(super) const SEQUENCES: &[Sequence] = &[
    ("a consumer group of three through every epoch", three_members),
    ("a consumer that does not give up what it should", slow_to_give_up),
    ("consumers that have no time to give up", no_time_to_give_up),
    ("a static consumer restarts, is away, is replaced", static_consumers),
    ("consumers by expression", expressions),
    ("bad heartbeats", bad_heartbeats),
    ("a consumer group whose topics change", changing_topics),
    ("a consumer group that is deleted and made again", made_again),
    ("offsets of groups deleted by OffsetDelete", offsets_deleted),
];

type Request = ConsumerGroupHeartbeatRequest<'static>;
type Answer = ConsumerGroupHeartbeatResponse<'static>;

struct Group<'p> {
    peer: &'p mut Peer,
    name: &'static str,
    topic: Uuid,
}

fn given(answer: &Answer) -> Vec<TopicPartitions> {
    let topics = answer.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    topics
        .map(|topic| TopicPartitions { topic_id: topic.topic_id, partitions: topic.partitions.clone() })
        .collect()
}

impl<'p> Group<'p> {
    /// A group with a topic of its name and four partitions.
    fn new(peer: &'p mut Peer, name: &'static str) -> Self {
        let topic = make_topic(peer, name, 4, &[]);
        barrier(peer);
        Self { peer, name, topic }
    }

    /// A member's first heartbeat.
    fn join(&self, member: &str) -> Request {
        Request {
            group_id: self.name.into(),
            member_id: member.to_owned().into(),
            rebalance_timeout_ms: 45_000,
            subscribed_topic_names: Some(vec![self.name.into()]),
            topic_partitions: Some(Vec::new()),
            ..Request::default()
        }
    }

    /// A heartbeat that says nothing.
    fn beat(&self, member: &str, member_epoch: i32) -> Request {
        Request {
            group_id: self.name.into(),
            member_id: member.to_owned().into(),
            member_epoch,
            rebalance_timeout_ms: -1,
            ..Request::default()
        }
    }

    /// Sends a heartbeat and looks at the group.
    fn tell(&mut self, case: &str, request: &Request) -> Answer {
        let answer = self.peer.call(1, case, request);
        self.describe(case);
        answer
    }

    /// Says what a member has.
    fn has(&mut self, case: &str, member: &str, epoch: i32, has: &[TopicPartitions]) -> Answer {
        let request = Request { topic_partitions: Some(has.to_vec()), ..self.beat(member, epoch) };
        self.tell(case, &request)
    }

    fn says_nothing(&mut self, case: &str, member: &str, epoch: i32) -> Answer {
        let request = self.beat(member, epoch);
        self.tell(case, &request)
    }

    fn describe(&mut self, case: &str) {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![self.name.into()],
            include_authorized_operations: false,
        };
        self.peer.call(1, case, &request);
        let name = self.name;
        self.peer.call_edited(5, case, &ListGroupsRequest::default(), |answer| {
            answer.groups.retain(|group| group.group_id == name);
        });
    }

    fn commit(&mut self, case: &str, member: &str, epoch: i32, partitions: &[i32]) {
        let partition = |index: &i32| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: 3,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: self.name.into(),
            topic_id: self.topic,
            partitions: partitions.iter().map(partition).collect(),
        };
        let request = OffsetCommitRequest {
            group_id: self.name.into(),
            member_id: member.to_owned().into(),
            generation_id_or_member_epoch: epoch,
            retention_time_ms: -1,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        for version in [9, 10] {
            self.peer.call(version, case, &request);
        }
    }

    fn committed(&mut self, case: &str) {
        let groups = vec![OffsetFetchRequestGroup { group_id: self.name.into(), ..Default::default() }];
        let request = OffsetFetchRequest { groups, ..OffsetFetchRequest::default() };
        self.peer.call(8, case, &request);
    }

    fn forget(&mut self, case: &str, topics: &[(&str, &[i32])]) {
        let topic = |(name, indexes): &(&str, &[i32])| OffsetDeleteRequestTopic {
            name: (*name).to_owned().into(),
            partitions: indexes
                .iter()
                .map(|index| OffsetDeleteRequestPartition { partition_index: *index })
                .collect(),
        };
        let topics = topics.iter().map(topic).collect();
        self.peer.call(0, case, &OffsetDeleteRequest { group_id: self.name.into(), topics });
        self.committed(&format!("after OffsetDelete: {case}"));
    }

    fn delete(&mut self, case: &str) {
        let request = DeleteGroupsRequest { groups_names: vec![self.name.into()] };
        self.peer.call(2, case, &request);
        self.describe(case);
    }

    /// A member that has everything.
    fn first(&mut self, member: &str) -> Answer {
        let request = self.join(member);
        let joined = self.tell("the first joins", &request);
        self.has("the first has all", member, joined.member_epoch, &given(&joined));
        joined
    }
}

fn three_members(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers");
    group.describe("before");
    let one = group.first("one");
    group.commit("by the only member", "one", one.member_epoch, &[0, 3]);
    let request = group.join("two");
    let two = group.tell("the second joins", &request);
    group.says_nothing("the second waits", "two", two.member_epoch);
    let told = group.says_nothing("the first is told", "one", one.member_epoch);
    group.commit("by the first while it gives up", "one", one.member_epoch, &[0, 1, 2, 3]);
    let one = group.has("the first gave up", "one", one.member_epoch, &given(&told));
    let two = group.says_nothing("the second takes", "two", two.member_epoch);
    group.has("the second has", "two", two.member_epoch, &given(&two));
    let request = group.join("three");
    let three = group.tell("the third joins", &request);
    let told = group.says_nothing("the first of three", "one", one.member_epoch);
    let one = group.has("the first of three gave up", "one", one.member_epoch, &given(&told));
    let told = group.says_nothing("the second of three", "two", two.member_epoch);
    let two = group.has("the second of three gave up", "two", two.member_epoch, &given(&told));
    let three = group.says_nothing("the third takes", "three", three.member_epoch);
    group.has("the third has", "three", three.member_epoch, &given(&three));
    group.commit("by the third", "three", three.member_epoch, &[0, 1, 2, 3]);
    for (case, epoch) in [("older", -1), ("newer", 1)] {
        group.says_nothing(&format!("a {case} epoch"), "one", one.member_epoch + epoch);
    }
    group.says_nothing("the second leaves", "two", -1);
    group.says_nothing("the second after it left", "two", two.member_epoch);
    let one = group.says_nothing("the first after one left", "one", one.member_epoch);
    group.has("the first of two again", "one", one.member_epoch, &given(&one));
    let three = group.says_nothing("the third after one left", "three", three.member_epoch);
    group.has("the third of two", "three", three.member_epoch, &given(&three));
    group.says_nothing("the first leaves", "one", -1);
    group.says_nothing("the first leaves again", "one", -1);
    group.delete("with a member");
    group.says_nothing("the third leaves", "three", -1);
    group.committed("of nobody");
    group.delete("of nobody");
}

fn slow_to_give_up(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers-slow");
    let request = Request { rebalance_timeout_ms: 400, ..group.join("one") };
    let one = group.tell("the first joins", &request);
    let all = given(&one);
    group.has("the first has all", "one", one.member_epoch, &all);
    let request = group.join("two");
    let two = group.tell("the second joins", &request);
    group.says_nothing("the first is told", "one", one.member_epoch);
    // It does not give up: after its rebalance timeout it is a member no more.
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![group.name.into()],
        include_authorized_operations: false,
    };
    group.peer.wait_for(1, &request, |answer| answer.groups[0].members.len() == 1);
    group.describe("without the first");
    group.has("the first after its time", "one", one.member_epoch, &all);
    let two = group.says_nothing("the second takes all", "two", two.member_epoch);
    group.has("the second has all", "two", two.member_epoch, &given(&two));
    let request = group.join("one");
    group.tell("the first comes back", &request);
}

/// Rebalance timeouts at the edges. What must be there at first is any number but -1; below zero is as zero: a member that has
/// something to give up is removed at once, but not before it is told.
fn no_time_to_give_up(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers-hasty");
    let name = group.name;
    for (timeout, member) in [(-1, "unsaid"), (0, "none"), (-2, "below"), (i32::MIN, "least"), (1, "short")] {
        let case = |text: &str| format!("rebalance timeout {timeout}: {text}");
        let request = Request { rebalance_timeout_ms: timeout, ..group.join(member) };
        let one = group.tell(&case("joins"), &request);
        if one.error_code != 0 {
            continue;
        }
        let all = given(&one);
        group.has(&case("has all"), member, one.member_epoch, &all);
        let request = Request {
            rebalance_timeout_ms: timeout,
            topic_partitions: Some(all.clone()),
            subscribed_topic_names: Some(vec![name.into()]),
            ..group.beat(member, one.member_epoch)
        };
        group.tell(&case("says everything"), &request);
        let request = group.join("patient");
        let two = group.tell(&case("another joins"), &request);
        let request = group.beat(member, one.member_epoch);
        group.peer.call(1, &case("is told to give up"), &request);
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![name.into()],
            include_authorized_operations: false,
        };
        group.peer.wait_for(1, &request, |answer| answer.groups[0].members.len() == 1);
        group.describe(&case("it is removed"));
        group.has(&case("too late"), member, one.member_epoch, &[]);
        let two = group.says_nothing(&case("the other takes all"), "patient", two.member_epoch);
        group.has(&case("the other has all"), "patient", two.member_epoch, &given(&two));
        // Only those that must give something up are in a hurry.
        let request = Request { rebalance_timeout_ms: timeout, ..group.join(member) };
        group.tell(&case("comes back"), &request);
        group.says_nothing(&case("the other leaves"), "patient", -1);
        group.says_nothing(&case("leaves"), member, -1);
    }
    let one = group.first("later");
    for timeout in [0, -2, i32::MAX, -1] {
        let request = Request { rebalance_timeout_ms: timeout, ..group.beat("later", one.member_epoch) };
        group.tell(&format!("changes its rebalance timeout to {timeout}"), &request);
    }
}

fn static_consumers(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers-static");
    let named = |request: Request| Request { instance_id: Some("i".into()), ..request };
    let request = named(group.join("s1"));
    let one = group.tell("a static member joins", &request);
    let request = Request { topic_partitions: Some(given(&one)), ..group.beat("s1", one.member_epoch) };
    group.tell("it has all", &named(request));
    let request = named(group.join("s1"));
    group.tell("it joins again", &request);
    let request = named(group.join("s2"));
    group.tell("another of the same instance", &request);
    let request = named(group.beat("s2", one.member_epoch));
    group.tell("another's heartbeat", &request);
    let request = named(group.beat("s1", -2));
    group.tell("away for a while", &request);
    let request = group.join("d");
    let dynamic = group.tell("a dynamic one joins", &request);
    let request = named(group.join("s3"));
    let back = group.tell("another takes its place", &request);
    for member in ["s1", "s2"] {
        let request = named(group.beat(member, one.member_epoch));
        group.tell(&format!("the old one {member}"), &request);
        group.commit(&format!("by the old one {member}"), member, one.member_epoch, &[0]);
    }
    let request = Request { topic_partitions: Some(given(&back)), ..group.beat("s3", back.member_epoch) };
    let back = group.tell("the new one has its part", &named(request));
    let dynamic = group.says_nothing("the dynamic one takes", "d", dynamic.member_epoch);
    group.has("the dynamic one has", "d", dynamic.member_epoch, &given(&dynamic));
    let request = named(group.beat("s3", back.member_epoch));
    group.tell("the new one goes on", &request);
    let request = Request { subscribed_topic_names: Some(vec!["w-none".into()]), ..named(group.join("s4")) };
    group.tell("another while it is there", &request);
    let request = named(group.beat("s3", -2));
    group.tell("the new one is away", &request);
    let request = Request { subscribed_topic_names: Some(vec!["w-none".into()]), ..named(group.join("s4")) };
    group.tell("another with other topics", &request);
    let request = named(group.beat("s4", -1));
    group.tell("leaves for good", &request);
    let request = named(group.beat("s4", -2));
    group.tell("away after it left", &request);
    group.says_nothing("the dynamic one is away", "d", -2);
    group.says_nothing("the dynamic one leaves", "d", -1);
}

fn expressions(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers-regex");
    let by = |request: Request, regex: &'static str| Request {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(regex.into()),
        ..request
    };
    for regex in ["(", "[a", "a{2", "*", "(?<n"] {
        let request = by(group.join("r"), regex);
        group.tell(&format!("expression {regex}"), &request);
    }
    let request = by(group.join("r"), "w-consumers-rege[wxy]");
    let all = group.peer.wait_for(1, &request, |answer| !given(answer).is_empty());
    group.describe("by expression");
    group.has("by expression, has all", "r", all.member_epoch, &given(&all));
    let request = by(group.join("q"), "w-consumers-rege[wxy]");
    let second = group.tell("the same expression", &request);
    let told = group.says_nothing("told to give up", "r", all.member_epoch);
    let first = group.has("gave up", "r", all.member_epoch, &given(&told));
    let second = group.says_nothing("takes", "q", second.member_epoch);
    group.has("has", "q", second.member_epoch, &given(&second));
    let request = Request {
        subscribed_topic_names: Some(vec![group.name.into()]),
        ..by(group.beat("r", first.member_epoch), "")
    };
    group.tell("by name instead", &request);
    group.says_nothing("leaves", "r", -1);
    group.says_nothing("leaves too", "q", -1);
}

fn bad_heartbeats(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers-bad");
    let one = group.first("one");
    let epoch = one.member_epoch;
    let beat = group.beat("one", epoch);
    let own = |partitions: Vec<i32>, topic_id| Some(vec![TopicPartitions { topic_id, partitions }]);
    for (case, request) in [
        ("no member", Request { member_id: "".into(), ..beat.clone() }),
        ("no group", Request { group_id: "".into(), ..beat.clone() }),
        ("another group", Request { group_id: "w-consumers-none".into(), ..beat.clone() }),
        ("another member", Request { member_id: "none".into(), ..beat.clone() }),
        ("an instance it has not", Request { instance_id: Some("i".into()), ..beat.clone() }),
        ("an empty rack", Request { rack_id: Some("".into()), ..beat.clone() }),
        ("a rack", Request { rack_id: Some("r".into()), ..beat.clone() }),
        ("an unknown assignor", Request { server_assignor: Some("best".into()), ..beat.clone() }),
        ("an epoch below all", Request { member_epoch: -3, ..beat.clone() }),
        ("an epoch long ago", Request { member_epoch: epoch - 5, ..beat.clone() }),
        (
            "a partition that is not its",
            Request { topic_partitions: own(vec![9], group.topic), ..beat.clone() },
        ),
        (
            "an unknown topic",
            Request { topic_partitions: own(vec![0], Uuid::from_parts(5, 5)), ..beat.clone() },
        ),
        ("no topics", Request { subscribed_topic_names: Some(Vec::new()), ..beat.clone() }),
        ("its topic twice", {
            let names = vec![group.name.into(), group.name.into()];
            Request { subscribed_topic_names: Some(names), ..beat.clone() }
        }),
    ] {
        group.tell(case, &request);
    }
    let join = group.join("two");
    for (case, request) in [
        ("joins without a timeout", Request { rebalance_timeout_ms: -1, ..join.clone() }),
        ("joins without topics", Request { subscribed_topic_names: None, ..join.clone() }),
        ("joins without partitions", Request { topic_partitions: None, ..join.clone() }),
        ("joins with partitions", Request { topic_partitions: own(vec![1], group.topic), ..join.clone() }),
        ("joins with an empty instance", Request { instance_id: Some("".into()), ..join.clone() }),
        ("joins with an unknown assignor", Request { server_assignor: Some("".into()), ..join.clone() }),
    ] {
        group.tell(case, &request);
    }
}

fn changing_topics(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers-topics");
    let one = group.first("one");
    let mut epoch = one.member_epoch;
    let name = group.name;
    group.peer.call(3, "to six", &grow(name, 6));
    barrier(group.peer);
    let more = group.says_nothing("after its topic grew", "one", epoch);
    epoch = more.member_epoch;
    group.has("has six", "one", epoch, &given(&more));
    group.commit("of six", "one", epoch, &[0, 5]);
    let names = vec![name.into(), "w-consumers-more".into()];
    let request = Request { subscribed_topic_names: Some(names), ..group.beat("one", epoch) };
    epoch = group.tell("a topic that is not there", &request).member_epoch;
    make_topic(group.peer, "w-consumers-more", 2, &[]);
    barrier(group.peer);
    let more = group.says_nothing("after the topic was made", "one", epoch);
    epoch = more.member_epoch;
    group.has("has both", "one", epoch, &given(&more));
    group.peer.call(6, "one of two", &delete("w-consumers-more"));
    barrier(group.peer);
    let less = group.says_nothing("after the topic was deleted", "one", epoch);
    let kept = given(&less);
    group.has("has the rest", "one", less.member_epoch, &kept);
    group.committed("of the rest");
}

fn made_again(peer: &mut Peer) {
    let mut group = Group::new(peer, "w-consumers-again");
    let one = group.first("one");
    group.commit("by the first", "one", one.member_epoch, &[0]);
    group.delete("with a member");
    group.says_nothing("leaves", "one", -1);
    group.commit("of an empty group, by a former member", "one", one.member_epoch, &[1]);
    group.commit("of an empty group", "", -1, &[1]);
    group.committed("of an empty group");
    group.delete("empty");
    group.committed("of a deleted group");
    group.says_nothing("after it was deleted", "one", one.member_epoch);
    let again = group.first("one");
    group.commit("made again", "one", again.member_epoch, &[2]);
    group.committed("made again");
}

fn offsets_deleted(peer: &mut Peer) {
    make_topic(peer, "w-forget-other", 2, &[]);
    let mut group = Group::new(peer, "w-forget");
    let none = "w-forget-none";
    group.forget("no group", &[("w-forget", &[0])]);
    group.commit("of nobody", "", -1, &[0, 1, 2, 3]);
    for (case, topics) in [
        ("a topic twice", &[("w-forget", &[0, 0][..]), ("w-forget", &[1])][..]),
        ("a topic twice, once unknown", &[("w-forget", &[9]), ("w-forget", &[2])]),
        ("a topic twice, both unknown", &[("w-forget", &[8]), ("w-forget", &[9])]),
        ("an unknown topic twice", &[(none, &[0]), (none, &[1]), (none, &[])]),
        ("an unknown topic and a topic twice", &[("w-forget", &[2]), (none, &[1]), ("w-forget", &[9, 3])]),
        ("an unknown partition twice", &[("w-forget", &[9, 9])]),
        ("what has no offsets", &[("w-forget-other", &[0, 1])]),
    ] {
        group.forget(case, topics);
    }
    group.commit("of nobody again", "", -1, &[0, 1]);
    group.first("one");
    group.forget("what is read", &[("w-forget", &[0]), ("w-forget-other", &[0]), ("w-forget", &[1, 9])]);
    group.says_nothing("leaves", "one", -1);
    group.forget("what was read", &[("w-forget", &[0])]);
}
