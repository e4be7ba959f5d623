//! Steps that written sequences share.

use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::{FetchRequest, FetchResponse};
use ottla_record::BatchBuilder;
use ottla_types::Uuid;

use crate::batches;
use crate::client::Peer;
use crate::requests::{SET, T0, TOPIC, alter, barrier, list_offsets};

const DELETE: i8 = 1;

/// Sets a topic's key; the next request sees it.
pub(super) fn config(peer: &mut Peer, topic: &str, key: &str, value: &str) {
    config_of(peer, TOPIC, topic, key, Some(value));
}

/// Takes a topic's key away.
pub(super) fn unset(peer: &mut Peer, topic: &str, key: &str) {
    config_of(peer, TOPIC, topic, key, None);
}

pub(super) fn config_of(peer: &mut Peer, kind: i8, name: &str, key: &str, value: Option<&str>) {
    let operation = if value.is_some() { SET } else { DELETE };
    peer.call(1, &format!("{key} to {value:?}"), &alter(kind, name, &[(key, operation, value)]));
    barrier(peer);
}

/// Some keys of a topic, with their synonyms.
pub(super) fn describe(peer: &mut Peer, topic: &str, keys: &[&str]) {
    let mut request = crate::requests::describe(TOPIC, topic, Some(keys));
    request.include_synonyms = true;
    peer.call(4, "of a topic", &request);
}

pub(super) fn fetching(topic: &str, id: Uuid, partitions: &[(i32, i64)]) -> FetchRequest<'static> {
    let wanted = |(partition, offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: topic.to_owned().into(),
            topic_id: id,
            partitions: partitions.iter().map(wanted).collect(),
        }],
        ..FetchRequest::default()
    }
}

/// Fetches, and writes down the batches too.
pub(super) fn fetch(
    peer: &mut Peer,
    version: i16,
    case: &str,
    topic: &str,
    id: Uuid,
    partitions: &[(i32, i64)],
) -> FetchResponse<'static> {
    fetch_with(peer, version, case, &fetching(topic, id, partitions))
}

pub(super) fn fetch_with(
    peer: &mut Peer,
    version: i16,
    case: &str,
    request: &FetchRequest<'_>,
) -> FetchResponse<'static> {
    let answer = peer.call_edited(version, case, request, batches::take_out);
    peer.note(version, &format!("Batches: {case}"), &batches::of(&answer));
    answer
}

/// Waits until what was appended with acks=1 or acks=0 can be read: when that is, is the server's choice.
pub(super) fn until_readable(peer: &mut Peer, topic: &str, partition: i32, end: i64) {
    let request = list_offsets(topic, &[(partition, -1)]);
    peer.wait_for(5, &request, |answer| answer.topics[0].partitions[0].offset >= end);
}

/// Records without keys.
pub(super) fn keyless(count: usize) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for _ in 0..count {
        batch.append(T0, None, Some(b"v"), &[]).expect("a small record");
    }
    batch.build().expect("a small batch")
}
