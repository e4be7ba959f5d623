//! Records of the internal topics as JSON.

use std::fmt::Debug;

use ottla_protocol::messages as m;
use ottla_protocol::messages::MetadataRecord;
use ottla_protocol::records::{
    ControlRecord, CoordinatorKey, FramedRecord as _, decode_key, decode_value, split_prefix,
};
use ottla_protocol::wire::Reader;
use serde_json::json;

use super::value;

/// What the records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Metadata,
    Groups,
    Transactions,
    ShareGroups,
}

impl Decoder {
    /// Key and value as text; `None` where there is none, or nothing to read.
    pub(super) fn read(self, key: Option<&[u8]>, value: Option<&[u8]>) -> (Option<String>, Option<String>) {
        if self == Self::Metadata {
            return (None, value.map(metadata));
        }
        let Some(key) = key else { return (Some("<NULL>".to_owned()), None) };
        let known = match self {
            Self::Groups => group(key, value),
            Self::Transactions => pair::<m::TransactionLogKey<'_>>(key, value),
            _ => pair::<m::ShareSnapshotKey<'_>>(key, value)
                .or_else(|| pair::<m::ShareUpdateKey<'_>>(key, value)),
        };
        match known {
            Some((key, value)) => (Some(key), Some(value)),
            None => (
                Some(format!("unknown record type {:?}, skipping", split_prefix(key).map(|(of, _)| of))),
                None,
            ),
        }
    }
}

fn metadata(bytes: &[u8]) -> String {
    match MetadataRecord::read(&mut Reader::new(bytes)) {
        Ok((record, version)) => {
            let (name, data) = value::of(&record);
            json!({ "type": upper_snake(&name), "version": version, "data": data }).to_string()
        }
        Err(error) => format!("Error at {bytes:?}, skipping. {error}"),
    }
}

/// `PartitionChangeRecord` as `PARTITION_CHANGE_RECORD`.
fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// A record of the quorum: `LeaderChange {…}`.
pub(super) fn control(key: &[u8], value: &[u8]) -> String {
    match ControlRecord::decode(key, value) {
        Ok(Some(record)) => {
            let (name, data) = value::of(&record);
            format!("{} {data}", name.trim_end_matches("Record").trim_end_matches("Message"))
        }
        Ok(None) => "control record of an unknown type".to_owned(),
        Err(error) => format!("unreadable control record: {error}"),
    }
}

/// Key and value of one record type; `None` when the key is of another.
fn pair<'a, K>(key: &'a [u8], value: Option<&'a [u8]>) -> Option<(String, String)>
where
    K: CoordinatorKey<'a> + Debug,
    K::Value<'a>: Debug,
{
    let key = decode_key::<K>(key).ok()?;
    let key = json!({ "type": K::TYPE.to_string(), "data": value::of(&key).1 }).to_string();
    let value = match value {
        None => "<DELETE>".to_owned(),
        Some(bytes) => match decode_value::<K::Value<'a>>(bytes) {
            Ok((message, version)) => {
                json!({ "version": version.to_string(), "data": value::of(&message).1 }).to_string()
            }
            Err(error) => format!("unreadable: {error}"),
        },
    };
    Some((key, value))
}

/// The first of these record types that the key is of.
macro_rules! first_of {
    ($key:expr, $value:expr; $($message:ident),+) => {
        None$(.or_else(|| pair::<m::$message<'_>>($key, $value)))+
    };
}

fn group(key: &[u8], value: Option<&[u8]>) -> Option<(String, String)> {
    first_of!(key, value;
        OffsetCommitKey, LegacyOffsetCommitKey, GroupMetadataKey, ConsumerGroupMetadataKey,
        ConsumerGroupPartitionMetadataKey, ConsumerGroupMemberMetadataKey, ConsumerGroupTargetAssignmentMetadataKey,
        ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupCurrentMemberAssignmentKey,
        ConsumerGroupRegularExpressionKey, ShareGroupMetadataKey, ShareGroupMemberMetadataKey,
        ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMemberKey,
        ShareGroupCurrentMemberAssignmentKey, ShareGroupStatePartitionMetadataKey, StreamsGroupMetadataKey,
        StreamsGroupMemberMetadataKey, StreamsGroupTargetAssignmentMetadataKey,
        StreamsGroupTargetAssignmentMemberKey, StreamsGroupCurrentMemberAssignmentKey, StreamsGroupTopologyKey
    )
}
