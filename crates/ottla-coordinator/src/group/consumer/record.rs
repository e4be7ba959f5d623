//! The records of consumer groups, types 3 to 8 and 16 (`GroupCoordinatorRecordHelpers`, KIP-848).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue, consumer_group_current_member_assignment_value as current,
    consumer_group_member_metadata_value as metadata,
    consumer_group_target_assignment_member_value as target,
};
use ottla_types::Uuid;

use crate::group::effect::{GroupId, MemberId};
use crate::group::record::{RecordError, decode_key, decode_value, prefixed};

/// Partitions by topic.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;
/// Partitions by topic, each with the member epoch in which the member got it (KIP-1251).
pub type OwnedPartitions = BTreeMap<Uuid, BTreeMap<i32, i32>>;

const EPOCH: i16 = 3;
const PARTITION_METADATA: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_METADATA: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// Where a member stands on its way to its target assignment (`MemberState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It has what the target of its epoch gives it.
    Stable,
    /// It must give partitions up before it may go on.
    UnrevokedPartitions,
    /// It waits for partitions that other members must give up.
    UnreleasedPartitions,
    /// Written by a newer release.
    Unknown,
}

impl MemberState {
    const fn id(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    const fn of_id(id: i8) -> Self {
        match id {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// What a member that speaks the classic protocol said when it joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMetadata {
    /// Its session timeout.
    pub session_timeout_ms: i32,
    /// Its assignment strategies with their metadata, the preferred one first.
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

/// What a member says about itself (`ConsumerGroupMemberMetadataValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// `client.rack`.
    pub rack_id: Option<Arc<str>>,
    /// The client id of its last request.
    pub client_id: Arc<str>,
    /// The address of its last request, as in `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// The topics that it names.
    pub topic_names: BTreeSet<Arc<str>>,
    /// The regular expression for more topics; empty or `None` for no expression.
    pub topic_regex: Option<Arc<str>>,
    /// The server-side assignor that it prefers.
    pub assignor: Option<Arc<str>>,
    /// How long it may take to give partitions up; -1 when it never said.
    pub rebalance_timeout_ms: i32,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMetadata>,
}

/// Where a member stands (`ConsumerGroupCurrentMemberAssignmentValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// Its epoch; -2 while a static member is away.
    pub epoch: i32,
    /// The epoch before.
    pub previous_epoch: i32,
    /// Its state.
    pub state: MemberState,
    /// What it has, or has been told to take.
    pub assigned: OwnedPartitions,
    /// What it must give up.
    pub pending_revocation: OwnedPartitions,
}

/// The topics that a regular expression stands for (`ResolvedRegularExpression`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// The topics.
    pub topics: BTreeSet<Arc<str>>,
    /// The version of the metadata that was searched.
    pub version: i64,
    /// When it was searched.
    pub resolved_at_ms: i64,
}

/// A record of a consumer group. A `None` value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// Type 3: the group's epoch and the hash of its topics' metadata.
    Epoch {
        /// The group.
        group: GroupId,
        /// Epoch and hash.
        value: Option<(i32, i64)>,
    },
    /// Type 4: partitions of the subscribed topics, written until Kafka 4.0. Kept as bytes.
    PartitionMetadata {
        /// The group.
        group: GroupId,
        /// The value with its version.
        value: Option<Bytes>,
    },
    /// Type 5: a member.
    Member {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// What it says.
        value: Option<MemberMetadata>,
    },
    /// Type 6: the epoch of the target assignment, and when it was computed.
    TargetMetadata {
        /// The group.
        group: GroupId,
        /// Epoch and time in milliseconds.
        value: Option<(i32, i64)>,
    },
    /// Type 7: what a member shall have.
    Target {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// The partitions.
        value: Option<Partitions>,
    },
    /// Type 8: what a member has.
    Current {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// Where it stands.
        value: Option<CurrentAssignment>,
    },
    /// Type 16: what a regular expression stands for.
    Regex {
        /// The group.
        group: GroupId,
        /// The expression.
        regex: Arc<str>,
        /// The topics.
        value: Option<ResolvedRegex>,
    },
}

impl ConsumerRecord {
    /// The group that the record is about.
    pub fn group(&self) -> &GroupId {
        match self {
            Self::Epoch { group, .. }
            | Self::PartitionMetadata { group, .. }
            | Self::Member { group, .. }
            | Self::TargetMetadata { group, .. }
            | Self::Target { group, .. }
            | Self::Current { group, .. }
            | Self::Regex { group, .. } => group,
        }
    }

    /// Whether the record removes something.
    pub(crate) fn is_tombstone(&self) -> bool {
        match self {
            Self::Epoch { value, .. } | Self::TargetMetadata { value, .. } => value.is_none(),
            Self::PartitionMetadata { value, .. } => value.is_none(),
            Self::Member { value, .. } => value.is_none(),
            Self::Target { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Regex { value, .. } => value.is_none(),
        }
    }

    /// Whether a record type is a consumer group's.
    pub(crate) const fn has_type(record_type: i16) -> bool {
        matches!(record_type, EPOCH..=CURRENT | REGEX)
    }

    /// Reads a record of one of the types of [`has_type`](Self::has_type).
    pub(crate) fn decode(record_type: i16, key: &[u8], value: Option<&[u8]>) -> Result<Self, RecordError> {
        match record_type {
            EPOCH => {
                let key: ConsumerGroupMetadataKey<'_> = decode_key(record_type, key)?;
                let value =
                    optional(record_type, value, |v: ConsumerGroupMetadataValue| (v.epoch, v.metadata_hash))?;
                Ok(Self::Epoch { group: key.group_id.into(), value })
            }
            PARTITION_METADATA => {
                let key: ConsumerGroupPartitionMetadataKey<'_> = decode_key(record_type, key)?;
                let value = value.map(Bytes::copy_from_slice);
                Ok(Self::PartitionMetadata { group: key.group_id.into(), value })
            }
            MEMBER => {
                let key: ConsumerGroupMemberMetadataKey<'_> = decode_key(record_type, key)?;
                let value = optional(record_type, value, member_of)?;
                Ok(Self::Member { group: key.group_id.into(), member: key.member_id.into(), value })
            }
            TARGET_METADATA => {
                let key: ConsumerGroupTargetAssignmentMetadataKey<'_> = decode_key(record_type, key)?;
                let value = optional(record_type, value, |v: ConsumerGroupTargetAssignmentMetadataValue| {
                    (v.assignment_epoch, v.assignment_timestamp)
                })?;
                Ok(Self::TargetMetadata { group: key.group_id.into(), value })
            }
            TARGET => {
                let key: ConsumerGroupTargetAssignmentMemberKey<'_> = decode_key(record_type, key)?;
                let value = optional(record_type, value, |v: ConsumerGroupTargetAssignmentMemberValue| {
                    v.topic_partitions
                        .into_iter()
                        .map(|t| (t.topic_id, t.partitions.into_iter().collect()))
                        .collect()
                })?;
                Ok(Self::Target { group: key.group_id.into(), member: key.member_id.into(), value })
            }
            CURRENT => {
                let key: ConsumerGroupCurrentMemberAssignmentKey<'_> = decode_key(record_type, key)?;
                let value = optional(record_type, value, current_of)?;
                Ok(Self::Current { group: key.group_id.into(), member: key.member_id.into(), value })
            }
            _ => {
                let key: ConsumerGroupRegularExpressionKey<'_> = decode_key(record_type, key)?;
                let value = optional(record_type, value, |v: ConsumerGroupRegularExpressionValue<'_>| {
                    ResolvedRegex {
                        topics: v.topics.iter().map(|topic| topic.as_ref().into()).collect(),
                        version: v.version,
                        resolved_at_ms: v.timestamp,
                    }
                })?;
                let (group, regex) = (key.group_id.into(), key.regular_expression.into());
                Ok(Self::Regex { group, regex, value })
            }
        }
    }

    /// The bytes of the key.
    pub(crate) fn encode_key(&self) -> Vec<u8> {
        let group_id = Cow::Borrowed(self.group().as_ref());
        match self {
            Self::Epoch { .. } => prefixed(EPOCH, &ConsumerGroupMetadataKey { group_id }, 0),
            Self::PartitionMetadata { .. } => {
                prefixed(PARTITION_METADATA, &ConsumerGroupPartitionMetadataKey { group_id }, 0)
            }
            Self::Member { member, .. } => {
                let member_id = Cow::Borrowed(member.as_ref());
                prefixed(MEMBER, &ConsumerGroupMemberMetadataKey { group_id, member_id }, 0)
            }
            Self::TargetMetadata { .. } => {
                prefixed(TARGET_METADATA, &ConsumerGroupTargetAssignmentMetadataKey { group_id }, 0)
            }
            Self::Target { member, .. } => {
                let member_id = Cow::Borrowed(member.as_ref());
                prefixed(TARGET, &ConsumerGroupTargetAssignmentMemberKey { group_id, member_id }, 0)
            }
            Self::Current { member, .. } => {
                let member_id = Cow::Borrowed(member.as_ref());
                prefixed(CURRENT, &ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id }, 0)
            }
            Self::Regex { regex, .. } => {
                let regular_expression = Cow::Borrowed(regex.as_ref());
                prefixed(REGEX, &ConsumerGroupRegularExpressionKey { group_id, regular_expression }, 0)
            }
        }
    }

    /// The bytes of the value; `None` for a tombstone.
    pub(crate) fn encode_value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Epoch { value, .. } => value.map(|(epoch, metadata_hash)| {
                prefixed(0, &ConsumerGroupMetadataValue { epoch, metadata_hash }, 0)
            }),
            Self::PartitionMetadata { value, .. } => value.as_ref().map(|bytes| bytes.to_vec()),
            Self::Member { value, .. } => value.as_ref().map(|value| prefixed(0, &member_value(value), 0)),
            Self::TargetMetadata { value, .. } => value.map(|(assignment_epoch, assignment_timestamp)| {
                let value =
                    ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch, assignment_timestamp };
                prefixed(0, &value, 0)
            }),
            Self::Target { value, .. } => value.as_ref().map(|partitions| {
                let topics = partitions.iter().map(|(&topic_id, partitions)| target::TopicPartition {
                    topic_id,
                    partitions: partitions.iter().copied().collect(),
                });
                let topic_partitions = topics.collect();
                prefixed(0, &ConsumerGroupTargetAssignmentMemberValue { topic_partitions }, 0)
            }),
            Self::Current { value, .. } => value.as_ref().map(|value| prefixed(0, &current_value(value), 0)),
            Self::Regex { value, .. } => value.as_ref().map(|value| {
                let value = ConsumerGroupRegularExpressionValue {
                    topics: value.topics.iter().map(|topic| Cow::Borrowed(topic.as_ref())).collect(),
                    version: value.version,
                    timestamp: value.resolved_at_ms,
                };
                prefixed(0, &value, 0)
            }),
        }
    }
}

fn optional<'a, M: ottla_protocol::Message<'a>, T>(
    record_type: i16,
    bytes: Option<&'a [u8]>,
    convert: impl FnOnce(M) -> T,
) -> Result<Option<T>, RecordError> {
    let Some(bytes) = bytes else { return Ok(None) };
    let (value, _) = decode_value(record_type, bytes, 0)?;
    Ok(Some(convert(value)))
}

fn member_of(value: ConsumerGroupMemberMetadataValue<'_>) -> MemberMetadata {
    MemberMetadata {
        instance_id: value.instance_id.map(Into::into),
        rack_id: value.rack_id.map(Into::into),
        client_id: value.client_id.into(),
        client_host: value.client_host.into(),
        topic_names: value.subscribed_topic_names.into_iter().map(Into::into).collect(),
        topic_regex: value.subscribed_topic_regex.map(Into::into),
        assignor: value.server_assignor.map(Into::into),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        classic: value.classic_member_metadata.map(|classic| ClassicMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic
                .supported_protocols
                .into_iter()
                .map(|protocol| (protocol.name.into(), Bytes::copy_from_slice(&protocol.metadata)))
                .collect(),
        }),
    }
}

fn member_value(value: &MemberMetadata) -> ConsumerGroupMemberMetadataValue<'_> {
    let text = |text: &'_ Option<Arc<str>>| text.as_deref().map(|text| Cow::Owned(text.to_owned()));
    ConsumerGroupMemberMetadataValue {
        instance_id: text(&value.instance_id),
        rack_id: text(&value.rack_id),
        client_id: Cow::Borrowed(&value.client_id),
        client_host: Cow::Borrowed(&value.client_host),
        subscribed_topic_names: value.topic_names.iter().map(|name| Cow::Borrowed(name.as_ref())).collect(),
        subscribed_topic_regex: text(&value.topic_regex),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: text(&value.assignor),
        classic_member_metadata: value.classic.as_ref().map(|classic| metadata::ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic
                .protocols
                .iter()
                .map(|(name, metadata)| metadata::ClassicProtocol {
                    name: Cow::Borrowed(name),
                    metadata: Cow::Borrowed(metadata),
                })
                .collect(),
        }),
    }
}

fn current_of(value: ConsumerGroupCurrentMemberAssignmentValue) -> CurrentAssignment {
    // Releases before Kafka 4.3 wrote no epochs: the member's stands for all.
    let default_epoch = value.member_epoch.max(0);
    let owned = |topics: Vec<current::TopicPartitions>| -> OwnedPartitions {
        let with_epochs = |topic: current::TopicPartitions| {
            let epochs = topic.assignment_epochs.filter(|epochs| epochs.len() == topic.partitions.len());
            let epochs = epochs.unwrap_or_else(|| vec![default_epoch; topic.partitions.len()]);
            (topic.topic_id, topic.partitions.into_iter().zip(epochs).collect())
        };
        topics.into_iter().map(with_epochs).collect()
    };
    CurrentAssignment {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state: MemberState::of_id(value.state),
        assigned: owned(value.assigned_partitions),
        pending_revocation: owned(value.partitions_pending_revocation),
    }
}

fn current_value(value: &CurrentAssignment) -> ConsumerGroupCurrentMemberAssignmentValue {
    let topics = |owned: &OwnedPartitions| {
        let topic = |(&topic_id, partitions): (&Uuid, &BTreeMap<i32, i32>)| current::TopicPartitions {
            topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        };
        owned.iter().map(topic).collect()
    };
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: value.epoch,
        previous_member_epoch: value.previous_epoch,
        state: value.state.id(),
        assigned_partitions: topics(&value.assigned),
        partitions_pending_revocation: topics(&value.pending_revocation),
    }
}
