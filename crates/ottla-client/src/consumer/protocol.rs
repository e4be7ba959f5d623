//! What consumers of a classic group tell each other: subscriptions and assignments (`ConsumerProtocol`), and the range
//! assignor.

use std::collections::BTreeMap;

use ottla_protocol::messages::consumer_protocol_assignment;
use ottla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::{Message, Reader};
use ottla_types::{PartitionIndex, TopicName, TopicPartition};

use crate::Result;

/// The version that is written; readers of any version understand it.
const WRITTEN_VERSION: i16 = 1;

/// Encodes a message with its version in front.
fn encode<'a>(message: &impl Message<'a>) -> Result<Vec<u8>> {
    let mut bytes = WRITTEN_VERSION.to_be_bytes().to_vec();
    bytes.extend(message.encode(WRITTEN_VERSION)?);
    Ok(bytes)
}

/// Decodes a message with its version in front; of a newer version, the part that is known.
pub(crate) fn decode<'a, T: Message<'a>>(bytes: &'a [u8]) -> Result<T> {
    let (version, rest) =
        bytes.split_first_chunk().map_or((0, bytes), |(version, rest)| (i16::from_be_bytes(*version), rest));
    Ok(T::read(&mut Reader::new(rest), version.min(T::VERSIONS.high))?)
}

/// The partitions of an assignment, in order.
pub(crate) fn partitions(assignment: &ConsumerProtocolAssignment<'_>) -> Vec<TopicPartition> {
    let mut partitions: Vec<_> = assignment
        .assigned_partitions
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|index| TopicPartition::new(&topic.topic, *index)))
        .collect();
    partitions.sort();
    partitions
}

/// A member's subscription.
pub(super) fn subscription(topics: &[TopicName]) -> Result<Vec<u8>> {
    let mut topics: Vec<_> = topics.iter().map(|topic| topic.to_string().into()).collect();
    topics.sort();
    encode(&ConsumerProtocolSubscription { topics, ..ConsumerProtocolSubscription::default() })
}

/// The topics of a subscription.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Result<Vec<TopicName>> {
    let subscription: ConsumerProtocolSubscription<'_> = decode(metadata)?;
    Ok(subscription.topics.iter().map(|topic| TopicName::new(topic)).collect())
}

/// A member's assignment.
pub(super) fn assignment(partitions: &BTreeMap<TopicName, Vec<PartitionIndex>>) -> Result<Vec<u8>> {
    let topic = |(topic, partitions): (&TopicName, &Vec<PartitionIndex>)| {
        consumer_protocol_assignment::TopicPartition {
            topic: topic.to_string().into(),
            partitions: partitions.clone(),
        }
    };
    let assigned_partitions = partitions.iter().map(topic).collect();
    encode(&ConsumerProtocolAssignment { assigned_partitions, user_data: None })
}

/// Assigns each topic's partitions in ranges to its subscribers in the order of their ids (`RangeAssignor`). `members` are
/// (id, subscribed topics); `counts` has the number of partitions of each topic that exists.
pub(super) fn assign_ranges(
    members: &[(String, Vec<TopicName>)],
    counts: &BTreeMap<TopicName, i32>,
) -> BTreeMap<String, BTreeMap<TopicName, Vec<PartitionIndex>>> {
    let mut assignments: BTreeMap<_, _> = members
        .iter()
        .map(|(id, _)| (id.clone(), BTreeMap::<TopicName, Vec<PartitionIndex>>::new()))
        .collect();
    for (topic, count) in counts {
        let mut subscribers: Vec<&String> =
            members.iter().filter(|(_, topics)| topics.contains(topic)).map(|(id, _)| id).collect();
        subscribers.sort();
        let members = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        if members == 0 {
            continue;
        }
        let (each, extra) = (count / members, count % members);
        let mut next = 0;
        for (id, place) in subscribers.into_iter().zip(0..) {
            let end = next + each + i32::from(place < extra);
            if let Some(assigned) = assignments.get_mut(id)
                && next < end
            {
                assigned.insert(topic.clone(), (next..end).collect());
            }
            next = end;
        }
    }
    assignments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<TopicName> {
        names.iter().map(|name| TopicName::new(name)).collect()
    }

    #[test]
    fn ranges_are_contiguous_and_the_first_members_get_the_rest() {
        let members = [
            ("b".to_owned(), names(&["x", "y"])),
            ("a".to_owned(), names(&["x", "y"])),
            ("c".to_owned(), names(&["x", "missing"])),
        ];
        let counts = BTreeMap::from([("x".into(), 7), ("y".into(), 1)]);
        let assigned = assign_ranges(&members, &counts);
        assert_eq!(assigned["a"], BTreeMap::from([("x".into(), vec![0, 1, 2]), ("y".into(), vec![0])]));
        assert_eq!(assigned["b"], BTreeMap::from([("x".into(), vec![3, 4])]));
        assert_eq!(assigned["c"], BTreeMap::from([("x".into(), vec![5, 6])]));
    }

    #[test]
    fn subscriptions_and_assignments_survive_their_encoding() {
        let metadata = subscription(&names(&["b", "a"])).unwrap();
        assert_eq!(subscribed_topics(&metadata).unwrap(), names(&["a", "b"]));
        let bytes = assignment(&BTreeMap::from([("x".into(), vec![2, 1])])).unwrap();
        let decoded: ConsumerProtocolAssignment<'_> = decode(&bytes).unwrap();
        assert_eq!(partitions(&decoded), [TopicPartition::new("x", 1), TopicPartition::new("x", 2)]);
        assert!(decode::<ConsumerProtocolAssignment<'_>>(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode::<ConsumerProtocolAssignment<'_>>(&[]).is_err());
    }
}
