//! Appends that are under way, and what the shard does when they are committed or fail.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::classic::StaticRejoin;
use super::effect::{GroupId, GroupResponse, MemberId, Parked};
use super::foreign::ForeignGroup;

/// What an append is for.
#[derive(Clone, Debug)]
pub(crate) enum Completion {
    /// Nobody waits: an empty generation, expired offsets.
    Nothing,
    /// A reply waits for the commit.
    Reply { parked: Parked, response: GroupResponse },
    /// A group was created in memory, maybe in place of an empty one of a newer protocol; without its record it must not
    /// stay.
    Creation { group: GroupId, replaced: Option<ForeignGroup> },
    /// The leader's assignment.
    Assignment { group: GroupId, generation: i32, leader: MemberId, assignments: BTreeMap<MemberId, Bytes> },
    /// A static member returned under a new id.
    StaticRejoin(StaticRejoin),
}

/// An append under way.
#[derive(Debug)]
pub(crate) struct PendingAppend {
    pub(crate) completion: Completion,
    /// The groups whose offsets it changes.
    pub(crate) offsets_of: Vec<GroupId>,
    /// Reads that saw what it changes; they are answered with it, since a read must not show what may yet be lost.
    pub(crate) readers: Vec<(Parked, GroupResponse)>,
}
