//! One member of a consumer group (`ConsumerGroupMember`).

use std::sync::Arc;

use bytes::Bytes;

use super::record::{CurrentAssignment, MemberMetadata, MemberState, OwnedPartitions};
use crate::group::effect::MemberId;

/// The epoch of a static member that is away.
pub(crate) const AWAY: i32 = -2;
/// The epoch with which a member leaves.
pub(crate) const LEAVING: i32 = -1;

/// A member: what it says about itself, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerMember {
    pub(crate) id: MemberId,
    pub(crate) metadata: MemberMetadata,
    pub(crate) current: CurrentAssignment,
}

impl ConsumerMember {
    /// A member of which nothing is known yet.
    pub(crate) fn new(id: MemberId) -> Self {
        Self {
            id,
            metadata: MemberMetadata {
                instance_id: None,
                rack_id: None,
                client_id: "".into(),
                client_host: "".into(),
                topic_names: Default::default(),
                topic_regex: Some("".into()),
                assignor: None,
                rebalance_timeout_ms: -1,
                classic: None,
            },
            current: CurrentAssignment {
                epoch: 0,
                previous_epoch: -1,
                state: MemberState::Stable,
                assigned: OwnedPartitions::new(),
                pending_revocation: OwnedPartitions::new(),
            },
        }
    }

    /// The member under a new id and at the beginning: a static member that came back.
    pub(crate) fn reborn(&self, id: MemberId) -> Self {
        let current = CurrentAssignment { epoch: 0, previous_epoch: 0, ..self.current.clone() };
        Self { id, metadata: self.metadata.clone(), current }
    }

    pub(crate) fn instance_id(&self) -> Option<&Arc<str>> {
        self.metadata.instance_id.as_ref()
    }

    /// The regular expression, if there is one.
    pub(crate) fn regex(&self) -> Option<&Arc<str>> {
        self.metadata.topic_regex.as_ref().filter(|regex| !regex.is_empty())
    }

    pub(crate) fn uses_classic_protocol(&self) -> bool {
        self.metadata.classic.is_some()
    }

    /// The classic strategy that it is told: its preferred one.
    pub(crate) fn classic_protocol(&self) -> Option<&(Arc<str>, Bytes)> {
        self.metadata.classic.as_ref()?.protocols.first()
    }

    pub(crate) fn classic_session_timeout_ms(&self) -> Option<i32> {
        self.metadata.classic.as_ref().map(|classic| classic.session_timeout_ms)
    }

    /// Whether it has all of the target of this epoch.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == target_epoch
    }
}
