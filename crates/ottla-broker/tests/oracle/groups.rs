//! OffsetCommit, OffsetFetch, DescribeGroups, ListGroups, DeleteGroups: groups without members.

use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::requests::make_topic;

const TOPIC: &str = "committed";
const NOBODY: Uuid = Uuid::from_parts(4, 4);

pub(crate) fn script(peer: &mut Peer) {
    let id = make_topic(peer, TOPIC, 3, &[]);
    for version in versions::<OffsetCommitRequest<'_>>() {
        commit(peer, version, id);
    }
    for version in versions::<OffsetFetchRequest<'_>>() {
        if version < 8 { fetch_one(peer, version) } else { fetch_groups(peer, version, id) }
    }
    describe(peer);
    list(peer);
    offset_delete(peer);
    delete(peer);
}

fn partition(index: i32, offset: i64, metadata: Option<&str>) -> OffsetCommitRequestPartition<'static> {
    OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset,
        committed_leader_epoch: 3,
        committed_metadata: metadata.map(|text| text.to_owned().into()),
    }
}

pub(crate) fn committing(
    group: &str,
    topic: &'static str,
    topic_id: Uuid,
    partitions: Vec<OffsetCommitRequestPartition<'static>>,
) -> OffsetCommitRequest<'static> {
    OffsetCommitRequest {
        group_id: group.to_owned().into(),
        topics: vec![OffsetCommitRequestTopic { name: topic.into(), topic_id, partitions }],
        ..OffsetCommitRequest::default()
    }
}

fn commit(peer: &mut Peer, version: i16, id: Uuid) {
    let group = format!("simple-{version}");
    let offsets = vec![partition(0, 10, Some("note")), partition(1, 0, Some("")), partition(2, 7, None)];
    let ok = committing(&group, TOPIC, id, offsets);
    peer.call(version, "ok", &ok);
    let with = |partitions| committing(&group, TOPIC, id, partitions);
    peer.call(version, "again", &with(vec![partition(0, 11, Some("newer"))]));
    peer.call(version, "negative offset", &with(vec![partition(1, -1, Some(""))]));
    peer.call(
        version,
        "metadata too long",
        &with(vec![partition(0, 1, Some(&"x".repeat(5000))), partition(2, 8, None)]),
    );
    peer.call(
        version,
        "unknown partition",
        &with(vec![partition(9, 1, None), partition(2, 9, None), partition(-1, 1, None)]),
    );
    peer.call(
        version,
        "unknown topic",
        &committing(&group, "committed-none", NOBODY, vec![partition(0, 1, None)]),
    );
    peer.call(version, "no topic", &committing(&group, "", Uuid::ZERO, vec![partition(0, 1, None)]));
    peer.call(version, "topic without partitions", &with(Vec::new()));
    peer.call(version, "nothing", &OffsetCommitRequest { topics: Vec::new(), ..ok.clone() });
    let mut mixed = ok.clone();
    mixed.topics.extend(committing(&group, "committed-none", NOBODY, vec![partition(0, 1, None)]).topics);
    peer.call(version, "known and unknown topic", &mixed);
    let fresh = OffsetCommitRequest { group_id: "".into(), ..ok.clone() };
    peer.call(version, "empty group", &fresh);
    for (case, group, generation, member) in [
        ("generation of a group that is not", "simple-none", 3, ""),
        ("member of a group that is not", "simple-none", 3, "somebody"),
        ("generation of an empty group", &*group, 3, ""),
        ("member of an empty group", &group, 3, "somebody"),
        ("member without a generation", &group, -1, "somebody"),
    ] {
        let request = OffsetCommitRequest {
            group_id: group.to_owned().into(),
            generation_id_or_member_epoch: generation,
            member_id: member.into(),
            ..ok.clone()
        };
        peer.call(version, case, &request);
    }
    if version >= 7 {
        let request = OffsetCommitRequest { group_instance_id: Some("static".into()), ..ok.clone() };
        peer.call(version, "static member of an empty group", &request);
    }
}

fn fetch_one(peer: &mut Peer, version: i16) {
    let topic = |name: &'static str, indexes: &[i32]| OffsetFetchRequestTopic {
        name: name.into(),
        partition_indexes: indexes.to_vec(),
    };
    let request = |group: &'static str, topics| OffsetFetchRequest {
        group_id: group.into(),
        topics,
        ..OffsetFetchRequest::default()
    };
    peer.call(version, "some", &request("simple-8", Some(vec![topic(TOPIC, &[0, 2, 9])])));
    peer.call(version, "negative offset", &request("simple-8", Some(vec![topic(TOPIC, &[1])])));
    peer.call(version, "unknown topic", &request("simple-8", Some(vec![topic("committed-none", &[0])])));
    peer.call(version, "unknown group", &request("simple-none", Some(vec![topic(TOPIC, &[0])])));
    peer.call(version, "empty group", &request("", Some(vec![topic(TOPIC, &[0])])));
    peer.call(version, "nothing", &request("simple-8", Some(Vec::new())));
    if version >= 2 {
        peer.call(version, "all", &request("simple-8", None));
        peer.call(version, "all of an unknown group", &request("simple-none", None));
    }
    if version >= 7 {
        let stable = OffsetFetchRequest { require_stable: true, ..request("simple-8", None) };
        peer.call(version, "stable", &stable);
    }
}

fn fetch_groups(peer: &mut Peer, version: i16, id: Uuid) {
    let topic = |name: &'static str, topic_id, indexes: &[i32]| OffsetFetchRequestTopics {
        name: name.into(),
        topic_id,
        partition_indexes: indexes.to_vec(),
    };
    let group = |name: &'static str, topics| OffsetFetchRequestGroup {
        group_id: name.into(),
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    let some = Some(vec![topic(TOPIC, id, &[0, 2, 9]), topic("committed-none", NOBODY, &[0])]);
    for (case, groups) in [
        ("some", vec![group("simple-8", some.clone())]),
        ("all", vec![group("simple-8", None)]),
        (
            "several groups",
            vec![group("simple-8", some.clone()), group("simple-none", None), group("simple-9", None)],
        ),
        ("unknown group", vec![group("simple-none", some)]),
        ("empty group", vec![group("", None)]),
        ("no topics", vec![group("simple-8", Some(Vec::new()))]),
        ("no topic", vec![group("simple-8", Some(vec![topic("", Uuid::ZERO, &[0])]))]),
        ("group twice", vec![group("simple-8", None), group("simple-8", None)]),
        ("no groups", Vec::new()),
    ] {
        for require_stable in [false, true] {
            let request = OffsetFetchRequest {
                groups: groups.clone(),
                require_stable,
                ..OffsetFetchRequest::default()
            };
            peer.call(version, &format!("{case}, stable {require_stable}"), &request);
        }
    }
    if version < 9 {
        return;
    }
    for (case, member, epoch) in [
        ("member of an empty group", Some("somebody"), 3),
        ("epoch without a member", None, 3),
        ("member without an epoch", Some("somebody"), -1),
    ] {
        let group = OffsetFetchRequestGroup {
            member_id: member.map(Into::into),
            member_epoch: epoch,
            ..group("simple-8", None)
        };
        peer.call(
            version,
            case,
            &OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() },
        );
    }
}

fn describe(peer: &mut Peer) {
    for version in versions::<DescribeGroupsRequest<'_>>() {
        let request = |groups: &[&'static str]| DescribeGroupsRequest {
            groups: groups.iter().map(|group| (*group).into()).collect(),
            include_authorized_operations: false,
        };
        peer.call(version, "empty", &request(&["simple-8"]));
        peer.call(version, "unknown", &request(&["simple-none"]));
        peer.call(version, "without name", &request(&[""]));
        peer.call(version, "several", &request(&["simple-8", "simple-none", "simple-9"]));
        peer.call(version, "twice", &request(&["simple-8", "simple-8"]));
        peer.call(version, "none", &request(&[]));
        if version >= 3 {
            let groups = request(&["simple-8", "simple-none"]);
            let asked = DescribeGroupsRequest { include_authorized_operations: true, ..groups };
            peer.call(version, "operations", &asked);
        }
    }
}

pub(crate) fn list(peer: &mut Peer) {
    for version in versions::<ListGroupsRequest<'_>>() {
        let request = |states: &[&'static str], types: &[&'static str]| ListGroupsRequest {
            states_filter: states.iter().map(|state| (*state).into()).collect(),
            types_filter: types.iter().map(|kind| (*kind).into()).collect(),
        };
        peer.call(version, "all", &request(&[], &[]));
        if version >= 4 {
            for (case, states) in [
                ("empty ones", &["Empty"][..]),
                ("lower case", &["empty"]),
                ("stable ones", &["Stable"]),
                ("two states", &["Stable", "Empty"]),
                ("no such state", &["Lazy"]),
            ] {
                peer.call(version, case, &request(states, &[]));
            }
        }
        if version >= 5 {
            for (case, types) in [
                ("classic", &["classic"][..]),
                ("upper case", &["CLASSIC"]),
                ("consumer", &["consumer"]),
                ("no such type", &["modern"]),
            ] {
                peer.call(version, case, &request(&[], types));
            }
            peer.call(version, "both filters", &request(&["Empty"], &["classic"]));
        }
    }
}

fn offset_delete(peer: &mut Peer) {
    for version in versions::<OffsetDeleteRequest<'_>>() {
        let group = "forgetful";
        let offsets = (0..3).map(|index| partition(index, 10, None)).collect();
        peer.ask(8, &committing(group, TOPIC, Uuid::ZERO, offsets)).expect("an answer");
        let topic = |name: &'static str, indexes: &[i32]| OffsetDeleteRequestTopic {
            name: name.into(),
            partitions: indexes
                .iter()
                .map(|&partition_index| OffsetDeleteRequestPartition { partition_index })
                .collect(),
        };
        let request =
            |group_id: &'static str, topics| OffsetDeleteRequest { group_id: group_id.into(), topics };
        for (case, request) in [
            ("some", request(group, vec![topic(TOPIC, &[0, 2])])),
            ("again", request(group, vec![topic(TOPIC, &[0, 2])])),
            ("twice", request(group, vec![topic(TOPIC, &[0, 0]), topic(TOPIC, &[1])])),
            ("known and unknown partitions", request(group, vec![topic(TOPIC, &[9, 1, -1])])),
            ("unknown topic", request(group, vec![topic("committed-none", &[0, 1]), topic(TOPIC, &[1])])),
            ("unknown topic without partitions", request(group, vec![topic("committed-none", &[])])),
            ("topic without partitions", request(group, vec![topic(TOPIC, &[])])),
            ("only unknown partitions", request(group, vec![topic(TOPIC, &[7])])),
            ("nothing", request(group, Vec::new())),
            ("unknown group", request("simple-none", vec![topic(TOPIC, &[0])])),
            ("unknown group and partition", request("simple-none", vec![topic(TOPIC, &[9])])),
            ("empty group", request("", vec![topic(TOPIC, &[0])])),
        ] {
            peer.call(version, case, &request);
        }
        let groups = vec![OffsetFetchRequestGroup { group_id: group.into(), ..Default::default() }];
        let left = OffsetFetchRequest { groups, ..OffsetFetchRequest::default() };
        peer.call(8, "what OffsetDelete left", &left);
    }
}

fn delete(peer: &mut Peer) {
    for version in versions::<DeleteGroupsRequest<'_>>() {
        let name = format!("doomed-{version}");
        let id = Uuid::ZERO;
        peer.ask(8, &committing(&name, TOPIC, id, vec![partition(0, 1, None)])).expect("an answer");
        let request = |groups: &[&str]| DeleteGroupsRequest {
            groups_names: groups.iter().map(|group| (*group).to_owned().into()).collect(),
        };
        peer.call(version, "several", &request(&["simple-none", &name, ""]));
        peer.call(version, "again", &request(&[&name]));
        peer.call(version, "twice", &request(&["simple-2", "simple-2"]));
        peer.call(version, "none", &request(&[]));
    }
}
