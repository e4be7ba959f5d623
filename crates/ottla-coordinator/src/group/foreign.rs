//! Share and streams groups, as far as a shard that does not coordinate them must know them: that they exist, of which kind
//! they are, whether they have members, and which keys they own.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::effect::GroupId;
use super::record::GroupRecord;

/// The protocol of a group (`Group.GroupType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
    /// ShareGroupHeartbeat (KIP-932).
    Share,
    /// StreamsGroupHeartbeat (KIP-1071).
    Streams,
}

impl GroupKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Classic, Self::Consumer, Self::Share, Self::Streams];

    /// The states that groups of this kind can be seen in (`GroupCoordinatorMetrics` counts those).
    pub const fn states(self) -> &'static [&'static str] {
        match self {
            Self::Classic => &["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty"],
            Self::Consumer => &["Empty", "Assigning", "Reconciling", "Stable", "Dead"],
            // Not served: one is seen only when Apache Kafka has left it behind.
            Self::Share | Self::Streams => &[],
        }
    }

    /// The name in ListGroups.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }

    /// The kind with this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The kind of group that a record type above 2 belongs to.
    pub(crate) const fn of_record_type(record_type: i16) -> Option<Self> {
        match record_type {
            3..=8 | 16 => Some(Self::Consumer),
            9..=15 => Some(Self::Share),
            17..=23 => Some(Self::Streams),
            _ => None,
        }
    }
}

/// The key of a record of a newer group type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignKey {
    record_type: i16,
    group: GroupId,
    bytes: Bytes,
}

impl ForeignKey {
    /// Reads the key's body: a group id, and for some types a member id or a regular expression.
    pub(crate) fn decode(record_type: i16, body: &[u8]) -> Option<Self> {
        let (length, rest) = body.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let group = std::str::from_utf8(rest.get(..length)?).ok()?;
        let bytes = [record_type.to_be_bytes().as_slice(), body].concat();
        Some(Self { record_type, group: group.into(), bytes: bytes.into() })
    }

    /// The record type.
    pub fn record_type(&self) -> i16 {
        self.record_type
    }

    /// The group.
    pub fn group(&self) -> &GroupId {
        &self.group
    }

    /// The whole key with its type.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the record says that a member exists.
    fn is_member(&self) -> bool {
        matches!(self.record_type, 10 | 19)
    }

    /// The kind of group.
    pub fn kind(&self) -> GroupKind {
        GroupKind::of_record_type(self.record_type).expect("checked when the key was read")
    }
}

/// A group of a newer protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForeignGroup {
    pub(crate) kind: GroupKind,
    /// The keys with a live value.
    pub(crate) keys: BTreeSet<ForeignKey>,
}

impl ForeignGroup {
    pub(crate) fn new(kind: GroupKind) -> Self {
        Self { kind, keys: BTreeSet::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.keys.iter().any(ForeignKey::is_member)
    }

    /// Whether a JoinGroup may make a classic group of it: of a streams group whose members all left.
    pub(crate) fn can_become_classic(&self) -> bool {
        self.is_empty() && self.kind == GroupKind::Streams
    }

    /// The records that remove the group. Its own record has the lowest type: last, so that the group exists until the
    /// others are gone.
    pub(crate) fn tombstones(&self) -> impl Iterator<Item = GroupRecord> {
        self.keys.iter().rev().map(|key| GroupRecord::Foreign { key: key.clone(), value: None })
    }

    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_empty() { "Empty" } else { "Stable" }
    }
}
