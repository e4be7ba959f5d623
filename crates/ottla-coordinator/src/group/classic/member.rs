//! One member of a classic group (`ClassicGroupMember`).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use crate::group::deadline::Deadline;
use crate::group::effect::{MemberId, Parked};
use crate::group::record::MemberRecord;

/// An assignment strategy that a member supports, with what it tells the leader about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: Arc<str>,
    pub(crate) metadata: Bytes,
}

impl Protocol {
    /// The protocols of a JoinGroup in the order of the member's preference; a repeated name counts once.
    pub(crate) fn list(request: &[JoinGroupRequestProtocol<'_>]) -> Vec<Self> {
        let mut seen = BTreeSet::new();
        request
            .iter()
            .filter(|protocol| seen.insert(protocol.name.as_ref()))
            .map(|protocol| Self {
                name: protocol.name.as_ref().into(),
                metadata: Bytes::copy_from_slice(&protocol.metadata),
            })
            .collect()
    }
}

/// A member of a classic group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// Joined, and has not been through a complete join phase: not heard of by heartbeat yet, so it can expire while its
    /// JoinGroup is parked.
    pub(crate) is_new: bool,
    pub(crate) awaiting_join: Option<Parked>,
    pub(crate) awaiting_sync: Option<Parked>,
    pub(crate) session: Deadline,
}

impl Member {
    /// A member of a logged generation, which is known with the voted protocol only.
    pub(crate) fn from_record(record: &MemberRecord, protocol: Option<&Arc<str>>) -> Self {
        let name = protocol.cloned().unwrap_or_default();
        let unknown_rebalance_timeout = record.rebalance_timeout_ms == -1;
        Self {
            id: MemberId::clone(&record.member_id),
            instance_id: record.instance_id.clone(),
            client_id: Arc::clone(&record.client_id),
            client_host: Arc::clone(&record.client_host),
            rebalance_timeout_ms: if unknown_rebalance_timeout {
                record.session_timeout_ms
            } else {
                record.rebalance_timeout_ms
            },
            session_timeout_ms: record.session_timeout_ms,
            protocols: vec![Protocol { name, metadata: record.subscription.clone() }],
            assignment: record.assignment.clone(),
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
            session: Deadline::default(),
        }
    }

    pub(crate) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    /// What the member said with this protocol; empty if it does not support it.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|p| Some(p.name.as_ref()) == protocol);
        found.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    /// Whether a JoinGroup with these protocols changes nothing.
    pub(crate) fn matches(&self, protocols: &[JoinGroupRequestProtocol<'_>]) -> bool {
        self.protocols.len() == protocols.len()
            && self
                .protocols
                .iter()
                .zip(protocols)
                .all(|(mine, theirs)| *mine.name == *theirs.name && mine.metadata == *theirs.metadata)
    }

    /// Whether the session deadline may pass without consequence: the member waits for us, not we for it.
    pub(crate) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}
