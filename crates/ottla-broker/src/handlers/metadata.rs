//! Metadata (3), versions 0–13: brokers, and topics with their partitions' leaders and replicas.
//!
//! Version 1 added racks, the controller and "no topics" beside "all topics", 2 the cluster id, 4 leaves automatic creation to
//! the client, 5 offline replicas, 7 leader epochs, 8 authorized operations, 10 topic ids, 11 dropped the cluster's authorized
//! operations, 12 lets topics be asked for by id, 13 has an error for the whole response. A missing topic is created when both
//! sides allow it; the client is told `UNKNOWN_TOPIC_OR_PARTITION` and asks again, as with Kafka.
//!
//! Errors per topic: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `INVALID_TOPIC_EXCEPTION`, `INVALID_REQUEST` (ids in versions
//! 10 and 11, which have the field already); per partition:
//! `LEADER_NOT_AVAILABLE`, `LISTENER_NOT_FOUND`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_metadata::image::{MetadataImage, Partition, Topic};
use ottla_net::Outcome;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{MetadataRequest, MetadataResponse};
use ottla_types::TopicName;

use crate::authorized_operations as operations;
use crate::broker::Broker;
use crate::internal_topics;
use crate::request::Request;

pub(crate) fn handle(broker: &Arc<Broker>, request: Request) -> Outcome {
    let message: MetadataRequest<'_> = match request.decode() {
        Ok(message) => message,
        Err(error) => return Outcome::close(error.to_string()),
    };
    let version = request.api_version;
    if version < 12 && names_by_id(&message) {
        return request.reply(&refusal(&message));
    }
    let image = broker.image();
    let mut answer = TopicAnswers {
        broker,
        image: &image,
        listener: &request.session.connection.listener,
        version,
        may_create: message.allow_auto_topic_creation && broker.auto_create_topics(),
        with_operations: message.include_topic_authorized_operations,
        to_create: Vec::new(),
    };
    let topics = match &message.topics {
        Some(topics) if !(version == 0 && topics.is_empty()) => {
            distinct(topics).into_iter().map(|topic| answer.named(topic)).collect()
        }
        _ => image.topics().iter().map(|topic| answer.known(topic)).collect(),
    };
    let to_create = std::mem::take(&mut answer.to_create);
    if !to_create.is_empty() {
        // What a client makes come into being is charged as strictly as what it asks for.
        broker.create_topics_in_background(to_create, &request.mutation_quota(0));
    }
    let brokers = broker.endpoints(&image, &request.session.connection.listener);
    request.reply(&MetadataResponse {
        brokers: brokers
            .into_iter()
            .map(|node| MetadataResponseBroker {
                node_id: node.id,
                host: node.host.into(),
                port: node.port,
                rack: node.rack.map(Cow::Owned),
            })
            .collect(),
        cluster_id: Some(broker.cluster_id.as_str().into()),
        controller_id: broker.node_id.value(),
        topics,
        cluster_authorized_operations: match message.include_cluster_authorized_operations {
            true => operations::CLUSTER,
            false => operations::NOT_ASKED,
        },
        ..MetadataResponse::default()
    })
}

/// Whether a topic is asked for in the way that came with version 12: versions 10 and 11 have the fields already.
fn names_by_id(message: &MetadataRequest<'_>) -> bool {
    let topics = message.topics.iter().flatten();
    topics.into_iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_zero())
}

/// Nothing but `INVALID_REQUEST` for each topic, as Kafka has it.
fn refusal(message: &MetadataRequest<'_>) -> MetadataResponse<'static> {
    let topics = message.topics.iter().flatten().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.as_deref().unwrap_or_default().to_owned().into()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    });
    MetadataResponse { topics: topics.collect(), ..MetadataResponse::default() }
}

/// Each topic once; names do not count when there are ids.
fn distinct<'t, 'a>(topics: &'t [MetadataRequestTopic<'a>]) -> Vec<&'t MetadataRequestTopic<'a>> {
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_zero());
    let mut seen = BTreeSet::new();
    let topics = topics.iter().filter(|topic| !(by_id && topic.topic_id.is_zero()));
    topics.filter(|topic| seen.insert((topic.topic_id, topic.name.as_deref()))).collect()
}

struct TopicAnswers<'a> {
    broker: &'a Broker,
    image: &'a MetadataImage,
    listener: &'a str,
    version: i16,
    may_create: bool,
    with_operations: bool,
    to_create: Vec<TopicName>,
}

impl TopicAnswers<'_> {
    fn named(&mut self, asked: &MetadataRequestTopic<'_>) -> MetadataResponseTopic<'static> {
        if !asked.topic_id.is_zero() {
            return match self.image.topics().by_id(asked.topic_id) {
                Some(topic) => self.known(topic),
                None => MetadataResponseTopic {
                    error_code: ErrorCode::UnknownTopicId.code(),
                    name: (self.version < 12).then(|| "".into()),
                    topic_id: asked.topic_id,
                    topic_authorized_operations: operations::NOT_ASKED,
                    ..MetadataResponseTopic::default()
                },
            };
        }
        let name = asked.name.as_deref().unwrap_or_default();
        if let Some(topic) = self.image.topics().by_name(name) {
            return self.known(topic);
        }
        let error = if TopicName::check(name).is_err() {
            ErrorCode::InvalidTopicException
        } else {
            if self.may_create {
                self.to_create.push(name.into());
            }
            ErrorCode::UnknownTopicOrPartition
        };
        MetadataResponseTopic {
            error_code: error.code(),
            name: Some(name.to_owned().into()),
            is_internal: internal_topics::is_internal(name),
            topic_authorized_operations: self.operations(),
            ..MetadataResponseTopic::default()
        }
    }

    fn operations(&self) -> i32 {
        if self.with_operations { operations::TOPIC } else { operations::NOT_ASKED }
    }

    fn known(&self, topic: &Topic) -> MetadataResponseTopic<'static> {
        MetadataResponseTopic {
            error_code: 0,
            name: Some(topic.name.to_string().into()),
            topic_id: topic.id,
            is_internal: internal_topics::is_internal(&topic.name),
            partitions: topic.partitions.iter().map(|(index, state)| self.partition(*index, state)).collect(),
            topic_authorized_operations: self.operations(),
        }
    }

    fn partition(&self, index: i32, state: &Partition) -> MetadataResponsePartition {
        let (error, leader) = leader_of(self.broker, self.image, state, self.listener);
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: leader,
            leader_epoch: state.leader_epoch.value(),
            replica_nodes: state.replicas.iter().map(|id| id.value()).collect(),
            isr_nodes: state.isr.iter().map(|id| id.value()).collect(),
            offline_replicas: offline_replicas(self.image, state),
        }
    }
}

/// Who leads, as a client of `listener` may know it.
pub(crate) fn leader_of(
    broker: &Broker,
    image: &MetadataImage,
    state: &Partition,
    listener: &str,
) -> (ErrorCode, i32) {
    if !state.has_leader() || !image.cluster().is_active(state.leader) {
        (ErrorCode::LeaderNotAvailable, -1)
    } else if broker.endpoint_of(image, state.leader, listener).is_none() {
        (ErrorCode::ListenerNotFound, -1)
    } else {
        (ErrorCode::None, state.leader.value())
    }
}

/// Replicas on brokers that are not alive, or in directories that failed.
pub(crate) fn offline_replicas(image: &MetadataImage, state: &Partition) -> Vec<i32> {
    let is_online = |id| {
        let directory = state.directory(id).unwrap_or_default();
        image.cluster().broker(id).is_some_and(|broker| !broker.fenced && broker.has_online_dir(directory))
    };
    state.replicas.iter().filter(|id| !is_online(**id)).map(|id| id.value()).collect()
}
