//! Requests that the scripts share.

use std::borrow::Cow;

use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use ottla_record::BatchBuilder;
use ottla_types::Uuid;

use crate::client::Peer;

/// The time of all records.
pub(crate) const T0: i64 = 1_700_000_000_000;

/// Waits until a server is up: broker alive, group coordinator ready.
pub(crate) fn settle(peer: &mut Peer) {
    let everything = MetadataRequest { topics: None, ..MetadataRequest::default() };
    peer.wait_for(12, &everything, |answer| answer.brokers.len() == 1);
    let coordinator =
        FindCoordinatorRequest { coordinator_keys: vec!["any".into()], ..FindCoordinatorRequest::default() };
    peer.wait_for(4, &coordinator, |answer| answer.coordinators.iter().all(|found| found.error_code == 0));
}

pub(crate) fn new_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic<'static> {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned().into(),
        value: Some((*value).to_owned().into()),
    };
    CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    }
}

pub(crate) fn create(topics: Vec<CreatableTopic<'_>>) -> CreateTopicsRequest<'_> {
    CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: false }
}

pub(crate) fn metadata_of<'a>(names: &[&'a str]) -> MetadataRequest<'a> {
    let topic =
        |name: &&'a str| MetadataRequestTopic { topic_id: Uuid::ZERO, name: Some(Cow::Borrowed(*name)) };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    }
}

/// Makes a topic and waits until its partitions can be used; returns its id. Writes nothing down.
pub(crate) fn make_topic(peer: &mut Peer, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
    let made = peer.ask(7, &create(vec![new_topic(name, partitions, configs)])).expect("an answer");
    assert_eq!(made.topics[0].error_code, 0, "{made:?}");
    ready(peer, name, partitions);
    made.topics[0].topic_id
}

/// Waits until a topic's partitions can be used.
pub(crate) fn ready(peer: &mut Peer, name: &str, partitions: i32) {
    peer.wait_for(12, &metadata_of(&[name]), |answer| {
        let topic = &answer.topics[0];
        topic.partitions.len() == usize::try_from(partitions).expect("a count")
            && topic.partitions.iter().all(|partition| partition.leader_id >= 0)
    });
    let offsets = list_offsets(name, &(0..partitions).map(|index| (index, -1)).collect::<Vec<_>>());
    peer.wait_for(5, &offsets, |answer| {
        answer.topics.iter().flat_map(|topic| &topic.partitions).all(|partition| partition.error_code == 0)
    });
}

/// Asks for offsets: partition and timestamp.
pub(crate) fn list_offsets<'a>(topic: &'a str, wanted: &[(i32, i64)]) -> ListOffsetsRequest<'a> {
    let partition = |(index, timestamp): &(i32, i64)| ListOffsetsPartition {
        partition_index: *index,
        timestamp: *timestamp,
        ..ListOffsetsPartition::default()
    };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: wanted.iter().map(partition).collect(),
        }],
        timeout_ms: 5000,
        ..ListOffsetsRequest::default()
    }
}

/// Records of one topic, one partition.
pub(crate) fn produce<'a>(
    topic: &'a str,
    id: Uuid,
    acks: i16,
    records: Option<Vec<u8>>,
) -> ProduceRequest<'a> {
    produce_to(topic, id, 0, acks, records)
}

pub(crate) fn produce_to<'a>(
    topic: &'a str,
    topic_id: Uuid,
    index: i32,
    acks: i16,
    records: Option<Vec<u8>>,
) -> ProduceRequest<'a> {
    ProduceRequest {
        acks,
        timeout_ms: 5000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            topic_id,
            partition_data: vec![PartitionProduceData { index, records: records.map(Into::into) }],
        }],
        ..ProduceRequest::default()
    }
}

/// A batch of so many small records, a millisecond apart.
pub(crate) fn batch(count: usize) -> Vec<u8> {
    fill(BatchBuilder::new(), count, T0)
}

/// Fills a batch with records from a time on.
pub(crate) fn fill(mut batch: BatchBuilder, count: usize, from_ms: i64) -> Vec<u8> {
    for (index, timestamp) in (0..count).zip(from_ms..) {
        let (key, value) = (format!("key-{index}"), format!("the value of record {index}"));
        batch.append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[]).expect("a small record");
    }
    batch.build().expect("a small batch")
}

/// Appends a batch and insists that it works. Writes nothing down.
pub(crate) fn append(peer: &mut Peer, topic: &str, index: i32, records: Vec<u8>) {
    let request = produce_to(topic, Uuid::ZERO, index, -1, Some(records));
    let answer = peer.ask(9, &request).expect("an answer");
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
}
