//! CreateTopics, CreatePartitions, DeleteTopics, DeleteRecords.

use ottla_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
};
use ottla_types::Uuid;

use crate::client::{Peer, versions};
use crate::requests::{append, batch, create, list_offsets, make_topic, metadata_of, new_topic, ready};

pub(crate) fn script(peer: &mut Peer) {
    create_topics(peer);
    create_partitions(peer);
    delete_topics(peer);
    delete_records(peer);
}

fn assigned(name: &str, assignments: &[(i32, &[i32])], counts: (i32, i16)) -> CreatableTopic<'static> {
    CreatableTopic {
        num_partitions: counts.0,
        replication_factor: counts.1,
        assignments: assignments
            .iter()
            .map(|(index, brokers)| CreatableReplicaAssignment {
                partition_index: *index,
                broker_ids: brokers.to_vec(),
            })
            .collect(),
        ..new_topic(name, -1, &[])
    }
}

fn create_topics(peer: &mut Peer) {
    make_topic(peer, "there.it_is", 1, &[]);
    for version in versions::<CreateTopicsRequest<'_>>() {
        let ok = format!("made-{version}");
        let configs =
            [("cleanup.policy", "compact"), ("retention.ms", "12345"), ("segment.bytes", "1048576")];
        peer.call(version, "ok", &create(vec![new_topic(&ok, 3, &configs)]));
        ready(peer, &ok, 3);
        peer.call(version, "exists", &create(vec![new_topic(&ok, 3, &[])]));
        peer.call(version, "collides", &create(vec![new_topic("there_it.is", 1, &[])]));
        let validate = CreateTopicsRequest {
            validate_only: true,
            ..create(vec![new_topic(&format!("checked-{version}"), 2, &configs), new_topic(&ok, 1, &[])])
        };
        peer.call(version, "validate only", &validate);
        let defaults =
            CreatableTopic { replication_factor: -1, ..new_topic(&format!("def-{version}"), -1, &[]) };
        peer.call(version, "default counts", &create(vec![defaults]));
        for (case, name) in [("blank", "a b"), ("dots", ".."), ("empty", ""), ("long", &*"x".repeat(250))] {
            peer.call(version, &format!("name {case}"), &create(vec![new_topic(name, 1, &[])]));
        }
        bad_counts(peer, version);
        bad_configs(peer, version);
        let twice =
            vec![new_topic("twice", 1, &[]), new_topic("once-only", 0, &[]), new_topic("twice", 2, &[])];
        peer.call(version, "named twice", &create(twice));
        peer.call(version, "nothing", &create(Vec::new()));
        let internal = vec![new_topic("__cluster_metadata", 1, &[])];
        peer.call(version, "the metadata topic", &create(internal));
    }
}

fn bad_counts(peer: &mut Peer, version: i16) {
    let counted = |partitions, replication_factor| CreatableTopic {
        replication_factor,
        ..new_topic("bad-counts", partitions, &[])
    };
    for (case, topic) in [
        ("no partitions", counted(0, 1)),
        ("negative partitions", counted(-2, 1)),
        ("no replicas", counted(1, 0)),
        ("negative replicas", counted(1, -2)),
        ("too many replicas", counted(1, 2)),
    ] {
        peer.call(version, case, &create(vec![topic]));
    }
    let all = (-1, -1);
    for (case, topic) in [
        ("assignment with counts", assigned("bad-a", &[(0, &[1])], (1, 1))),
        ("assignment with partitions", assigned("bad-a", &[(0, &[1])], (1, -1))),
        ("assignment with replicas", assigned("bad-a", &[(0, &[1])], (-1, 1))),
        ("assignment to an unknown broker", assigned("bad-a", &[(0, &[7])], all)),
        ("assignment to nobody", assigned("bad-a", &[(0, &[])], all)),
        ("assignment to one broker twice", assigned("bad-a", &[(0, &[1, 1])], all)),
        ("assignment with a gap", assigned("bad-a", &[(0, &[1]), (2, &[1])], all)),
        ("assignment not from zero", assigned("bad-a", &[(1, &[1])], all)),
        ("assignment of a partition twice", assigned("bad-a", &[(0, &[1]), (0, &[1])], all)),
        ("assignment of a negative partition", assigned("bad-a", &[(-1, &[1])], all)),
        ("assignment uneven", assigned("bad-a", &[(0, &[1]), (1, &[])], all)),
    ] {
        let request = CreateTopicsRequest { validate_only: true, ..create(vec![topic]) };
        peer.call(version, case, &request);
    }
    let good = assigned(&format!("assigned-{version}"), &[(1, &[1]), (0, &[1])], all);
    peer.call(version, "assignment", &create(vec![good]));
}

fn bad_configs(peer: &mut Peer, version: i16) {
    for (case, key, value) in [
        ("unknown", "no.such.key", "1"),
        ("not a number", "retention.ms", "soon"),
        ("out of range", "min.insync.replicas", "0"),
        ("bad enum", "cleanup.policy", "burn"),
        ("combination", "min.compaction.lag.ms", "-5"),
        ("list with empties", "cleanup.policy", "delete,compact"),
        ("remote without remote", "remote.storage.enable", "true"),
        ("empty value", "compression.type", ""),
    ] {
        let topic = new_topic("bad-config", 1, &[(key, value)]);
        let request = CreateTopicsRequest { validate_only: true, ..create(vec![topic]) };
        peer.call(version, &format!("config {case}"), &request);
    }
    let null = CreatableTopicConfig { name: "retention.ms".into(), value: None };
    let topic = CreatableTopic { configs: vec![null], ..new_topic("bad-config", 1, &[]) };
    peer.call(version, "config null", &CreateTopicsRequest { validate_only: true, ..create(vec![topic]) });
}

fn create_partitions(peer: &mut Peer) {
    let more = |name: &str, count, assignments: Option<&[&[i32]]>| CreatePartitionsTopic {
        name: name.to_owned().into(),
        count,
        assignments: assignments.map(|assignments| {
            let assignment = |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec() };
            assignments.iter().map(assignment).collect()
        }),
    };
    for version in versions::<CreatePartitionsRequest<'_>>() {
        let name = format!("grow-{version}");
        make_topic(peer, &name, 2, &[]);
        for (case, topics, validate_only) in [
            ("validate only", vec![more(&name, 4, None)], true),
            ("more", vec![more(&name, 3, None)], false),
            ("same", vec![more(&name, 3, None)], false),
            ("fewer", vec![more(&name, 1, None)], false),
            ("zero", vec![more(&name, 0, None)], false),
            ("negative", vec![more(&name, -1, None)], false),
            ("unknown topic", vec![more("grow-none", 3, None)], false),
            ("invalid name", vec![more("a b", 3, None)], false),
            ("twice", vec![more(&name, 5, None), more(&name, 6, None), more("grow-none", 6, None)], false),
            ("assigned", vec![more(&name, 4, Some(&[&[1]]))], false),
            ("too few assigned", vec![more(&name, 6, Some(&[&[1]]))], false),
            ("too many assigned", vec![more(&name, 5, Some(&[&[1], &[1]]))], false),
            ("unknown broker", vec![more(&name, 5, Some(&[&[9]]))], false),
            ("uneven", vec![more(&name, 5, Some(&[&[]]))], false),
            ("broker twice", vec![more(&name, 5, Some(&[&[1, 1]]))], false),
            ("nothing", Vec::new(), false),
        ] {
            let request = CreatePartitionsRequest { topics, timeout_ms: 5000, validate_only };
            peer.call(version, case, &request);
        }
        ready(peer, &name, 4);
        peer.call(12, "after CreatePartitions", &metadata_of(&[&name]));
    }
}

fn delete_topics(peer: &mut Peer) {
    for version in versions::<DeleteTopicsRequest<'_>>() {
        let names = [format!("gone-{version}"), format!("gone-too-{version}")];
        let ids = names.each_ref().map(|name| make_topic(peer, name, 1, &[]));
        let by_name = |names: &[&str]| {
            let mut request = DeleteTopicsRequest { timeout_ms: 5000, ..DeleteTopicsRequest::default() };
            for name in names {
                let name = (*name).to_owned();
                if version < 6 {
                    request.topic_names.push(name.into());
                } else {
                    request.topics.push(DeleteTopicState { name: Some(name.into()), topic_id: Uuid::ZERO });
                }
            }
            request
        };
        peer.call(version, "unknown", &by_name(&["gone-none"]));
        peer.call(version, "invalid name", &by_name(&["a b", ""]));
        peer.call(version, "twice", &by_name(&[&names[0], &names[0]]));
        peer.call(version, "one and unknown", &by_name(&[&names[0], "gone-none"]));
        peer.wait_for(12, &metadata_of(&[&names[0]]), |answer| answer.topics[0].error_code == 3);
        peer.call(version, "again", &by_name(&[&names[0]]));
        peer.call(version, "nothing", &by_name(&[]));
        if version < 6 {
            continue;
        }
        let by_id = |wanted: &[(Option<&'static str>, Uuid)]| DeleteTopicsRequest {
            topics: wanted
                .iter()
                .map(|(name, id)| DeleteTopicState { name: name.map(Into::into), topic_id: *id })
                .collect(),
            timeout_ms: 5000,
            ..DeleteTopicsRequest::default()
        };
        peer.call(version, "unknown id", &by_id(&[(None, Uuid::from_parts(9, 9))]));
        peer.call(version, "id and name", &by_id(&[(Some("gone"), ids[1])]));
        peer.call(version, "neither", &by_id(&[(None, Uuid::ZERO)]));
        peer.call(version, "id twice", &by_id(&[(None, ids[1]), (None, ids[1])]));
        let mut mixed = by_name(&[&names[1]]);
        mixed.topics.push(DeleteTopicState { name: None, topic_id: ids[1] });
        peer.call(version, "by id and by name", &mixed);
        peer.call(version, "by id", &by_id(&[(None, ids[1])]));
    }
}

fn delete_records(peer: &mut Peer) {
    make_topic(peer, "shrink-compacted", 1, &[("cleanup.policy", "compact")]);
    make_topic(peer, "shrink-both", 1, &[("cleanup.policy", "compact,delete")]);
    for version in versions::<DeleteRecordsRequest<'_>>() {
        let name = format!("shrink-{version}");
        make_topic(peer, &name, 2, &[]);
        append(peer, &name, 0, batch(5));
        append(peer, &name, 0, batch(5));
        let request = |topic: &str, wanted: &[(i32, i64)]| DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: topic.to_owned().into(),
                partitions: wanted
                    .iter()
                    .map(|(index, offset)| DeleteRecordsPartition {
                        partition_index: *index,
                        offset: *offset,
                    })
                    .collect(),
            }],
            timeout_ms: 5000,
        };
        for (case, topic, wanted) in [
            ("within a batch", &*name, &[(0, 3)][..]),
            ("back", &name, &[(0, 1)]),
            ("to the same", &name, &[(0, 3)]),
            ("negative", &name, &[(0, -2)]),
            ("beyond the end", &name, &[(0, 11)]),
            ("unknown partition beside a known one", &name, &[(2, 1), (1, 0)]),
            ("negative partition", &name, &[(-1, 1)]),
            ("to the high watermark", &name, &[(0, -1), (1, -1)]),
            ("unknown topic", "shrink-none", &[(0, 1)]),
            ("invalid topic", "a b", &[(0, 1)]),
            ("internal topic", "__consumer_offsets", &[(0, 0)]),
            ("compacted topic", "shrink-compacted", &[(0, 0)]),
            ("compacted and deleted topic", "shrink-both", &[(0, 0)]),
        ] {
            peer.call(version, case, &request(topic, wanted));
        }
        peer.call(11, "after DeleteRecords", &list_offsets(&name, &[(0, -2), (1, -2)]));
    }
}
