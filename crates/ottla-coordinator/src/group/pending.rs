//! Appends that are under way, and what the shard does when they are committed or fail.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::classic::StaticRejoin;
use super::effect::{GroupId, GroupResponse, MemberId, Parked};
use super::shard::Group;

/// What an append is for.
#[derive(Clone, Debug)]
pub(crate) enum Completion {
    /// Nobody waits: an empty generation, expired offsets.
    Nothing,
    /// A reply waits for the commit.
    Reply { parked: Parked, response: GroupResponse },
    /// A group was created in memory, maybe in place of an empty one of a newer protocol; without its record it must not
    /// stay.
    Creation { group: GroupId, replaced: Option<Box<Group>> },
    /// A classic group becomes a consumer group; if it does not, its members' sessions go on.
    Upgrade { parked: Parked, response: GroupResponse, group: GroupId },
    /// A consumer group became a classic group in memory; without its record it must not stay.
    Downgrade { group: GroupId, replaced: Option<Box<Group>>, waiting: Option<(Parked, GroupResponse)> },
    /// Members of a consumer group whose time is up, or who leave, are removed; if not, it is tried again.
    Fence { group: GroupId, members: Vec<MemberId>, waiting: Option<(Parked, GroupResponse)> },
    /// The leader's assignment.
    Assignment { group: GroupId, generation: i32, leader: MemberId, assignments: BTreeMap<MemberId, Bytes> },
    /// A static member returned under a new id.
    StaticRejoin(StaticRejoin),
}

/// An append under way.
#[derive(Debug)]
pub(crate) struct PendingAppend {
    pub(crate) completion: Completion,
    /// The groups whose offsets it changes, and the consumer groups.
    pub(crate) changes: Vec<GroupId>,
    /// Reads that saw what it changes; they are answered with it, since a read must not show what may yet be lost.
    pub(crate) readers: Vec<(Parked, GroupResponse)>,
}
