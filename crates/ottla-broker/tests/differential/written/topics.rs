//! Topics, their partitions and configurations, and what a change means for the next request.

use ottla_protocol::messages::MetadataRequest;
use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::{CreatePartitionsRequest, DeleteTopicsRequest, ProduceRequest};
use ottla_types::Uuid;

use super::Sequence;
use super::steps::{self, config};
use crate::client::Peer;
use crate::requests::{
    barrier, batch, create, list_offsets, make_topic, metadata_of, new_topic, produce, produce_to,
};

pub(super) const SEQUENCES: &[Sequence] = &[
    ("metadata after every change", metadata_after_every_change),
    ("produce to partitions that were added", produce_to_added_partitions),
    ("max.message.bytes counts for the next batch", max_message_bytes),
    ("min.insync.replicas counts for the next batch", min_insync_replicas),
    ("cleanup.policy counts for the next batch", cleanup_policy),
    ("compression.type counts for the next batch", compression_type),
    ("message.timestamp.type counts for the next batch", timestamp_type),
    ("a topic made again has another id", topic_made_again),
    ("a default of all brokers counts for topics", broker_default),
];

pub(super) fn grow(topic: &str, count: i32) -> CreatePartitionsRequest<'_> {
    let topics = vec![CreatePartitionsTopic { name: topic.into(), count, assignments: None }];
    CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false }
}

pub(super) fn delete(topic: &str) -> DeleteTopicsRequest<'_> {
    let topics = vec![DeleteTopicState { name: Some(topic.into()), topic_id: Uuid::ZERO }];
    DeleteTopicsRequest { topics, timeout_ms: 10_000, ..DeleteTopicsRequest::default() }
}

fn by_id(id: Uuid) -> MetadataRequest<'static> {
    let topics = Some(vec![MetadataRequestTopic { topic_id: id, name: None }]);
    MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() }
}

fn metadata_after_every_change(peer: &mut Peer) {
    let name = "w-changing";
    peer.call(13, "before", &metadata_of(&[name]));
    let made = peer.call(7, "with one partition", &create(vec![new_topic(name, 1, &[])]));
    let id = made.topics[0].topic_id;
    barrier(peer);
    peer.call(13, "made", &metadata_of(&[name]));
    peer.call(13, "made, by id", &by_id(id));
    for count in [3, 3, 2, 0, -1, 4] {
        peer.call(3, &format!("to {count}"), &grow(name, count));
        barrier(peer);
        peer.call(12, &format!("grown to {count}"), &metadata_of(&[name]));
    }
    config(peer, name, "min.insync.replicas", "1");
    peer.call(12, "configured", &metadata_of(&[name]));
    peer.call(
        6,
        "by id",
        &DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: None, topic_id: id }],
            timeout_ms: 10_000,
            ..DeleteTopicsRequest::default()
        },
    );
    barrier(peer);
    peer.call(12, "deleted", &metadata_of(&[name]));
    peer.call(12, "deleted, by id", &by_id(id));
    peer.call(6, "again", &delete(name));
    peer.call(3, "of what was deleted", &grow(name, 9));
}

fn produce_to_added_partitions(peer: &mut Peer) {
    let name = "w-growing";
    let id = make_topic(peer, name, 1, &[]);
    peer.call(13, "before there is one", &produce_to(name, id, 1, -1, Some(batch(1))));
    peer.call(7, "before there is one", &list_offsets(name, &[(0, -1), (1, -1)]));
    peer.call(3, "to two", &grow(name, 2));
    barrier(peer);
    peer.call(13, "to the new one", &produce_to(name, id, 1, -1, Some(batch(2))));
    peer.call(12, "to the new one", &produce_to(name, id, 1, -1, Some(batch(2))));
    peer.call(7, "of both", &list_offsets(name, &[(0, -1), (1, -1)]));
    steps::fetch(peer, 17, "the new one", name, id, &[(1, 0), (0, 0), (2, 0)]);
}

/// The same batch before and after each change of a key.
fn under_each(peer: &mut Peer, name: &str, key: &str, values: &[&str], send: &dyn Fn(&mut Peer, &str, Uuid)) {
    let id = make_topic(peer, name, 1, &[]);
    send(peer, "as made", id);
    for value in values {
        config(peer, name, key, value);
        send(peer, value, id);
    }
    steps::unset(peer, name, key);
    send(peer, "as made again", id);
    steps::fetch(peer, 12, "all of it", name, id, &[(0, 0)]);
    peer.call(10, "all of it", &list_offsets(name, &[(0, -1)]));
}

fn max_message_bytes(peer: &mut Peer) {
    under_each(peer, "w-message-bytes", "max.message.bytes", &["150", "100000", "0"], &|peer, case, id| {
        for (count, version) in [(1, 3), (1, 13), (5, 13)] {
            let request: ProduceRequest<'_> = produce("w-message-bytes", id, -1, Some(batch(count)));
            peer.call(version, &format!("{count} under {case}"), &request);
        }
    });
}

fn min_insync_replicas(peer: &mut Peer) {
    under_each(peer, "w-insync", "min.insync.replicas", &["2", "1"], &|peer, case, id| {
        for acks in [-1, 1] {
            let request = produce("w-insync", id, acks, Some(batch(1)));
            let answer = peer.call(13, &format!("acks {acks} under {case}"), &request);
            let end = answer.responses[0].partition_responses[0].base_offset + 1;
            steps::until_readable(peer, "w-insync", 0, end);
        }
    });
}

fn cleanup_policy(peer: &mut Peer) {
    let values = &["compact", "delete", "compact,delete"];
    under_each(peer, "w-cleanup", "cleanup.policy", values, &|peer, case, id| {
        peer.call(13, &format!("keys under {case}"), &produce("w-cleanup", id, -1, Some(batch(2))));
        let records = Some(steps::keyless(2));
        peer.call(13, &format!("no keys under {case}"), &produce("w-cleanup", id, -1, records.clone()));
        peer.call(4, &format!("no keys under {case}"), &produce("w-cleanup", id, -1, records));
    });
}

fn compression_type(peer: &mut Peer) {
    let values = &["gzip", "zstd", "lz4", "snappy", "uncompressed", "producer"];
    under_each(peer, "w-compression", "compression.type", values, &|peer, case, id| {
        peer.call(13, &format!("under {case}"), &produce("w-compression", id, -1, Some(batch(3))));
    });
}

fn timestamp_type(peer: &mut Peer) {
    let values = &["LogAppendTime", "CreateTime"];
    under_each(peer, "w-stamps", "message.timestamp.type", values, &|peer, case, id| {
        peer.call(13, &format!("under {case}"), &produce("w-stamps", id, -1, Some(batch(3))));
        peer.call(10, &format!("latest time under {case}"), &list_offsets("w-stamps", &[(0, -3)]));
    });
}

fn topic_made_again(peer: &mut Peer) {
    let name = "w-again";
    let old = make_topic(peer, name, 2, &[("retention.ms", "-1")]);
    peer.call(13, "to the first", &produce(name, old, -1, Some(batch(3))));
    peer.call(6, "the first", &delete(name));
    barrier(peer);
    for version in [12, 13] {
        peer.call(version, "while there is none", &produce(name, old, -1, Some(batch(3))));
    }
    steps::fetch(peer, 12, "while there is none", name, old, &[(0, 0)]);
    steps::fetch(peer, 17, "while there is none", name, old, &[(0, 0)]);
    let new = make_topic(peer, name, 1, &[]);
    peer.call(10, "of the second", &list_offsets(name, &[(0, -1), (0, -2), (1, -1)]));
    peer.call(13, "to the second by the first's id", &produce(name, old, -1, Some(batch(3))));
    steps::fetch(peer, 17, "the second by the first's id", name, old, &[(0, 0)]);
    steps::fetch(peer, 17, "the second", name, new, &[(0, 0), (0, 3), (1, 0)]);
    peer.call(13, "to the second", &produce(name, new, -1, Some(batch(1))));
    steps::describe(peer, name, &["retention.ms", "cleanup.policy"]);
}

fn broker_default(peer: &mut Peer) {
    let name = "w-defaults";
    let id = make_topic(peer, name, 1, &[]);
    let keys = &["log.message.downconversion.enable", "min.compaction.lag.ms", "delete.retention.ms"];
    steps::describe(peer, name, keys);
    steps::config_of(peer, 4, "", "log.cleaner.delete.retention.ms", Some("77777"));
    steps::describe(peer, name, keys);
    steps::config_of(peer, 4, "1", "log.cleaner.delete.retention.ms", Some("88888"));
    steps::describe(peer, name, keys);
    config(peer, name, "delete.retention.ms", "99999");
    steps::describe(peer, name, keys);
    steps::config_of(peer, 4, "1", "log.cleaner.delete.retention.ms", None);
    steps::unset(peer, name, "delete.retention.ms");
    steps::describe(peer, name, keys);
    steps::config_of(peer, 4, "", "log.cleaner.delete.retention.ms", None);
    steps::describe(peer, name, keys);
    peer.call(13, "at the end", &produce(name, id, -1, Some(batch(1))));
}
