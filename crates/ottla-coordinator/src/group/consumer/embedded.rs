//! The consumer protocol that classic members wrap into JoinGroup and SyncGroup (`ConsumerProtocol`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Message;
use ottla_protocol::Reader;
use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_protocol_assignment as assignment;
use ottla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};

use super::record::Partitions;
use crate::group::topics::ClusterView;

/// The newest versions that Kafka 4.4 knows.
const MAX_VERSION: i16 = 3;

/// Bytes that are not of the consumer protocol.
#[derive(Debug)]
pub(crate) struct Malformed;

/// What a classic consumer says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) owned: Vec<(Arc<str>, Vec<i32>)>,
    pub(crate) rack_id: Option<Arc<str>>,
}

/// The version in front of the bytes.
fn version_of(bytes: &[u8]) -> Result<(i16, &[u8]), Malformed> {
    let (version, rest) = bytes.split_first_chunk::<2>().ok_or(Malformed)?;
    let version = i16::from_be_bytes(*version);
    if version < 0 { Err(Malformed) } else { Ok((version.min(MAX_VERSION), rest)) }
}

/// Reads a subscription; of a newer version what is known of it.
pub(crate) fn subscription(bytes: &[u8]) -> Result<Subscription, Malformed> {
    let (version, rest) = version_of(bytes)?;
    let read = ConsumerProtocolSubscription::read(&mut Reader::new(rest), version).map_err(|_| Malformed)?;
    Ok(Subscription {
        topics: read.topics.into_iter().map(Into::into).collect(),
        owned: read
            .owned_partitions
            .into_iter()
            .map(|topic| (topic.topic.into(), topic.partitions))
            .collect(),
        rack_id: read.rack_id.filter(|rack| !rack.is_empty()).map(Into::into),
    })
}

impl Subscription {
    /// What the member has, of topics that exist.
    pub(crate) fn owned(&self, cluster: &dyn ClusterView) -> Vec<TopicPartitions> {
        let with_id = |(name, partitions): &(Arc<str>, Vec<i32>)| {
            let topic_id = cluster.by_name(name)?.id;
            Some(TopicPartitions { topic_id, partitions: partitions.clone() })
        };
        self.owned.iter().filter_map(with_id).collect()
    }
}

/// What an assignment gives, of topics that exist; and whether an assignor of the clients left data of its own in it.
pub(crate) fn assigned(bytes: &[u8], cluster: &dyn ClusterView) -> Result<(Partitions, bool), Malformed> {
    if bytes.is_empty() {
        return Ok((Partitions::new(), false));
    }
    let (version, rest) = version_of(bytes)?;
    let read = ConsumerProtocolAssignment::read(&mut Reader::new(rest), version).map_err(|_| Malformed)?;
    let mut partitions = Partitions::new();
    for topic in read.assigned_partitions {
        if let Some(known) = cluster.by_name(&topic.topic) {
            partitions.insert(known.id, topic.partitions.into_iter().collect());
        }
    }
    Ok((partitions, read.user_data.is_some_and(|data| !data.is_empty())))
}

/// An assignment for a member whose subscription is `subscription`, in the version that it speaks.
pub(crate) fn assignment(
    partitions: &Partitions,
    subscription: &[u8],
    cluster: &dyn ClusterView,
) -> Result<Bytes, Malformed> {
    let (version, _) = version_of(subscription)?;
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for (id, partitions) in partitions {
        if let Some(topic) = cluster.by_id(*id) {
            topics.insert(topic.name, partitions.iter().copied().collect());
        }
    }
    let message = ConsumerProtocolAssignment {
        assigned_partitions: topics
            .iter()
            .map(|(topic, partitions)| assignment::TopicPartition {
                topic: std::borrow::Cow::Borrowed(topic.as_ref()),
                partitions: partitions.clone(),
            })
            .collect(),
        user_data: None,
    };
    let body = message.encode(version).map_err(|_| Malformed)?;
    Ok([version.to_be_bytes().as_slice(), &body].concat().into())
}
