//! The records of `__consumer_offsets`: typed form, and keys and values byte for byte as Kafka 4.4 writes them
//! (`GroupCoordinatorRecordHelpers`, `GroupCoordinatorRecordSerde`).
//!
//! A key is an i16 record type and the key message; a value is an i16 value version and the value message; a tombstone
//! has no value. When loading, an unknown type is skipped, an unknown value version is fatal.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::group_metadata_value::MemberMetadata;
use ottla_protocol::messages::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, LegacyOffsetCommitValue, OffsetCommitKey,
    OffsetCommitValue,
};
use ottla_protocol::{Message, Reader};
use ottla_types::{TopicName, Uuid};

use super::consumer::ConsumerRecord;
use super::effect::{GroupId, MemberId};
use super::foreign::{ForeignKey, GroupKind};

const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
/// The version of group metadata values that every supported Kafka release reads.
const GROUP_METADATA_VERSION: i16 = 3;
const GROUP_METADATA_MAX_VERSION: i16 = 4;
const OFFSET_COMMIT_VERSION: i16 = 4;
/// The only value version with an expire timestamp, written when the request set a retention time.
const OFFSET_COMMIT_EXPIRE_VERSION: i16 = 1;

/// One record of `__consumer_offsets`. A `None` value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// Types 0 (read only) and 1: the committed offset of a partition.
    OffsetCommit {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
        /// The partition of the topic.
        partition: i32,
        /// The offset, or `None` to remove it.
        value: Option<OffsetValue>,
    },
    /// Type 2: a generation of a classic group.
    GroupMetadata {
        /// The group.
        group: GroupId,
        /// The generation, or `None` to remove the group.
        value: Option<GroupMetadata>,
    },
    /// Types 3 to 8 and 16: consumer groups.
    Consumer(ConsumerRecord),
    /// Types 9 to 15 and 17 to 23: share and streams groups. Kept as bytes.
    Foreign {
        /// What the key says.
        key: ForeignKey,
        /// The whole value with its version, or `None` to remove it.
        value: Option<Bytes>,
    },
}

/// A committed offset as the log has it (`OffsetCommitValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// The committed offset.
    pub offset: i64,
    /// The leader epoch of the last consumed record, -1 when unknown.
    pub leader_epoch: i32,
    /// What the consumer attached.
    pub metadata: Box<str>,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// When it expires, if the commit asked for its own retention time (OffsetCommit v2-4).
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id, zero when the commit did not know it.
    pub topic_id: Uuid,
}

/// A generation of a classic group as the log has it (`GroupMetadataValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `consumer`, `connect`, …; empty for a group that never had members.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The assignment strategy that the members voted for.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub leader: Option<MemberId>,
    /// When the group entered its state; -1 when unknown (value versions 0 and 1).
    pub state_timestamp_ms: i64,
    /// The members in order of their ids.
    pub members: Vec<MemberRecord>,
}

/// A member in a [`GroupMetadata`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// The member id.
    pub member_id: MemberId,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The client id of its JoinGroup.
    pub client_id: Arc<str>,
    /// The address of its JoinGroup, as in `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// Its rebalance timeout; -1 when unknown (value version 0).
    pub rebalance_timeout_ms: i32,
    /// Its session timeout.
    pub session_timeout_ms: i32,
    /// Its metadata for the voted protocol.
    pub subscription: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

/// Why a record cannot be read; loading the partition fails with it, as in Kafka.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The key ends early or holds something else than its type says.
    #[error("key of record type {record_type:?} cannot be read: {reason}")]
    Key {
        /// The record type, if the key is long enough to have one.
        record_type: Option<i16>,
        /// What is wrong.
        reason: String,
    },
    /// The value has a version that this release does not know: written by a newer one.
    #[error("value version {version} of record type {record_type} is unknown")]
    UnknownValueVersion {
        /// The record type.
        record_type: i16,
        /// The version found.
        version: i16,
    },
    /// The value ends early or holds something else than its version says.
    #[error("value of record type {record_type} cannot be read: {reason}")]
    Value {
        /// The record type.
        record_type: i16,
        /// What is wrong.
        reason: String,
    },
}

/// What a record read from the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A record to replay.
    Record(GroupRecord),
    /// A record type that this release does not know, to be reported and skipped; it may be left over from an upgrade that
    /// was given up.
    UnknownType(i16),
}

impl GroupRecord {
    /// Reads a record of the log. A record without a key is refused.
    ///
    /// # Errors
    /// The record is damaged, or its value is of an unknown version.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, RecordError> {
        let Some((record_type, key)) = key.and_then(split_i16) else {
            return Err(RecordError::Key { record_type: None, reason: "no record type".to_owned() });
        };
        let record = match record_type {
            LEGACY_OFFSET_COMMIT => decode_legacy_offset_commit(key, value)?,
            OFFSET_COMMIT => decode_offset_commit(key, value)?,
            GROUP_METADATA => decode_group_metadata(key, value)?,
            other if ConsumerRecord::has_type(other) => {
                Self::Consumer(ConsumerRecord::decode(other, key, value)?)
            }
            other if GroupKind::of_record_type(other).is_some() => decode_foreign(other, key, value)?,
            other => return Ok(Decoded::UnknownType(other)),
        };
        Ok(Decoded::Record(record))
    }

    /// The bytes of the record's key.
    pub fn encode_key(&self) -> Vec<u8> {
        match self {
            Self::OffsetCommit { group, topic, partition, .. } => {
                let key = OffsetCommitKey {
                    group: Cow::Borrowed(group),
                    topic: Cow::Borrowed(topic),
                    partition: *partition,
                };
                prefixed(OFFSET_COMMIT, &key, 0)
            }
            Self::GroupMetadata { group, .. } => {
                prefixed(GROUP_METADATA, &GroupMetadataKey { group: Cow::Borrowed(group) }, 0)
            }
            Self::Consumer(record) => record.encode_key(),
            Self::Foreign { key, .. } => key.bytes().to_vec(),
        }
    }

    /// The bytes of the record's value; `None` for a tombstone.
    pub fn encode_value(&self) -> Option<Vec<u8>> {
        match self {
            Self::OffsetCommit { value, .. } => value.as_ref().map(encode_offset),
            Self::GroupMetadata { value, .. } => value.as_ref().map(encode_generation),
            Self::Consumer(record) => record.encode_value(),
            Self::Foreign { value, .. } => value.as_ref().map(|v| v.to_vec()),
        }
    }

    /// The group that the record is about.
    pub fn group(&self) -> &GroupId {
        match self {
            Self::OffsetCommit { group, .. } | Self::GroupMetadata { group, .. } => group,
            Self::Consumer(record) => record.group(),
            Self::Foreign { key, .. } => key.group(),
        }
    }
}

pub(crate) fn prefixed<'a, M: Message<'a>>(prefix: i16, message: &M, version: i16) -> Vec<u8> {
    let body = message
        .encode(version)
        .expect("texts come from requests, which limit them, and fields are those of the version");
    let mut bytes = Vec::with_capacity(2 + body.len());
    bytes.extend_from_slice(&prefix.to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn encode_offset(value: &OffsetValue) -> Vec<u8> {
    let with_expiry = value.expire_timestamp_ms.is_some();
    let version = if with_expiry { OFFSET_COMMIT_EXPIRE_VERSION } else { OFFSET_COMMIT_VERSION };
    let message = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: if with_expiry { -1 } else { value.leader_epoch },
        metadata: Cow::Borrowed(&value.metadata),
        commit_timestamp: value.commit_timestamp_ms,
        expire_timestamp: value.expire_timestamp_ms.unwrap_or(-1),
        topic_id: if with_expiry { Uuid::ZERO } else { value.topic_id },
    };
    prefixed(version, &message, version)
}

fn encode_generation(value: &GroupMetadata) -> Vec<u8> {
    let message = GroupMetadataValue {
        protocol_type: Cow::Borrowed(&value.protocol_type),
        generation: value.generation,
        protocol: value.protocol.as_deref().map(Cow::Borrowed),
        leader: value.leader.as_deref().map(Cow::Borrowed),
        current_state_timestamp: value.state_timestamp_ms,
        members: value
            .members
            .iter()
            .map(|member| MemberMetadata {
                member_id: Cow::Borrowed(&member.member_id),
                group_instance_id: member.instance_id.as_deref().map(Cow::Borrowed),
                client_id: Cow::Borrowed(&member.client_id),
                client_host: Cow::Borrowed(&member.client_host),
                rebalance_timeout: member.rebalance_timeout_ms,
                session_timeout: member.session_timeout_ms,
                subscription: Cow::Borrowed(&member.subscription),
                assignment: Cow::Borrowed(&member.assignment),
            })
            .collect(),
    };
    prefixed(GROUP_METADATA_VERSION, &message, GROUP_METADATA_VERSION)
}

fn split_i16(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (prefix, rest) = bytes.split_first_chunk::<2>()?;
    Some((i16::from_be_bytes(*prefix), rest))
}

pub(crate) fn decode_key<'a, M: Message<'a>>(record_type: i16, bytes: &'a [u8]) -> Result<M, RecordError> {
    M::decode(bytes, 0)
        .map_err(|e| RecordError::Key { record_type: Some(record_type), reason: e.to_string() })
}

pub(crate) fn decode_value<'a, M: Message<'a>>(
    record_type: i16,
    bytes: &'a [u8],
    max_version: i16,
) -> Result<(M, i16), RecordError> {
    let Some((version, body)) = split_i16(bytes) else {
        return Err(RecordError::Value { record_type, reason: "no version".to_owned() });
    };
    if !(0..=max_version).contains(&version) {
        return Err(RecordError::UnknownValueVersion { record_type, version });
    }
    match M::read(&mut Reader::new(body), version) {
        Ok(message) => Ok((message, version)),
        Err(e) => Err(RecordError::Value { record_type, reason: e.to_string() }),
    }
}

fn decode_legacy_offset_commit(key: &[u8], value: Option<&[u8]>) -> Result<GroupRecord, RecordError> {
    let key: LegacyOffsetCommitKey<'_> = decode_key(LEGACY_OFFSET_COMMIT, key)?;
    let value = match value {
        None => None,
        Some(bytes) => {
            let (value, _): (LegacyOffsetCommitValue<'_>, _) = decode_value(LEGACY_OFFSET_COMMIT, bytes, 0)?;
            Some(OffsetValue {
                offset: value.offset,
                leader_epoch: -1,
                metadata: value.metadata.into(),
                commit_timestamp_ms: value.commit_timestamp,
                expire_timestamp_ms: None,
                topic_id: Uuid::ZERO,
            })
        }
    };
    let (group, topic) = (key.group.into(), TopicName::new(&key.topic));
    Ok(GroupRecord::OffsetCommit { group, topic, partition: key.partition, value })
}

fn decode_offset_commit(key: &[u8], value: Option<&[u8]>) -> Result<GroupRecord, RecordError> {
    let key: OffsetCommitKey<'_> = decode_key(OFFSET_COMMIT, key)?;
    let value = match value {
        None => None,
        Some(bytes) => {
            let (value, _): (OffsetCommitValue<'_>, _) =
                decode_value(OFFSET_COMMIT, bytes, OFFSET_COMMIT_VERSION)?;
            Some(OffsetValue {
                offset: value.offset,
                leader_epoch: value.leader_epoch,
                metadata: value.metadata.into(),
                commit_timestamp_ms: value.commit_timestamp,
                expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
                topic_id: value.topic_id,
            })
        }
    };
    let (group, topic) = (key.group.into(), TopicName::new(&key.topic));
    Ok(GroupRecord::OffsetCommit { group, topic, partition: key.partition, value })
}

fn decode_group_metadata(key: &[u8], value: Option<&[u8]>) -> Result<GroupRecord, RecordError> {
    let key: GroupMetadataKey<'_> = decode_key(GROUP_METADATA, key)?;
    let value = match value {
        None => None,
        Some(bytes) => {
            let (value, _): (GroupMetadataValue<'_>, _) =
                decode_value(GROUP_METADATA, bytes, GROUP_METADATA_MAX_VERSION)?;
            Some(generation_of(value))
        }
    };
    Ok(GroupRecord::GroupMetadata { group: key.group.into(), value })
}

fn generation_of(value: GroupMetadataValue<'_>) -> GroupMetadata {
    let members = value.members.into_iter().map(|member| MemberRecord {
        member_id: member.member_id.into(),
        instance_id: member.group_instance_id.map(Into::into),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    });
    GroupMetadata {
        members: members.collect(),
        protocol_type: value.protocol_type.into(),
        generation: value.generation,
        protocol: value.protocol.map(Into::into),
        leader: value.leader.map(Into::into),
        state_timestamp_ms: value.current_state_timestamp,
    }
}

fn decode_foreign(record_type: i16, key: &[u8], value: Option<&[u8]>) -> Result<GroupRecord, RecordError> {
    let key = ForeignKey::decode(record_type, key)
        .ok_or_else(|| RecordError::Key { record_type: Some(record_type), reason: "too short".to_owned() })?;
    match value.map(|bytes| (bytes, split_i16(bytes))) {
        None => Ok(GroupRecord::Foreign { key, value: None }),
        Some((bytes, Some((0, _)))) => {
            Ok(GroupRecord::Foreign { key, value: Some(Bytes::copy_from_slice(bytes)) })
        }
        Some((_, Some((version, _)))) => Err(RecordError::UnknownValueVersion { record_type, version }),
        Some((_, None)) => Err(RecordError::Value { record_type, reason: "no version".to_owned() }),
    }
}
