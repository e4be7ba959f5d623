//! The state of a classic group: members, the protocol they agree on, its generation (`ClassicGroup`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use super::{ClassicState, Member, Protocol, subscription};
use crate::group::deadline::Deadline;
use crate::group::effect::{GroupId, MemberId, Parked, Step, TimerKey};
use crate::group::record::{GroupMetadata, GroupRecord, MemberRecord};
use crate::group::reply;

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// What is left of the initial rebalance delay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitialDelay {
    /// How long the pending timer runs.
    pub(crate) delay_ms: i32,
    /// By how much the wait may still be extended.
    pub(crate) remaining_ms: i32,
}

/// A classic group.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: GroupId,
    pub(crate) state: ClassicState,
    pub(crate) previous_state: ClassicState,
    pub(crate) state_timestamp_ms: Option<i64>,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<MemberId>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) static_members: BTreeMap<Arc<str>, MemberId>,
    /// Ids that were handed out and whose owners have not joined with them yet (KIP-394).
    pub(crate) pending_join: BTreeMap<MemberId, Deadline>,
    /// Members of the current generation that have not sent SyncGroup.
    pub(crate) pending_sync: BTreeSet<MemberId>,
    /// The generation whose assignment is on its way into the log: it is decided by the leader's first SyncGroup, so that
    /// what is handed out is what a restart finds.
    pub(crate) assigning: Option<i32>,
    /// How many members have a parked JoinGroup.
    pub(crate) awaiting_join: usize,
    /// How many members support each protocol.
    supporters: BTreeMap<Arc<str>, usize>,
    /// The topics of all members, when the protocol is the consumer's and could be read.
    pub(crate) subscribed_topics: Option<BTreeSet<String>>,
    /// A member joined since the initial rebalance delay was last looked at.
    pub(crate) new_member_added: bool,
    pub(crate) initial_delay: Option<InitialDelay>,
    pub(crate) join_deadline: Deadline,
    pub(crate) sync_deadline: Deadline,
    /// Whether the log has a record of the group.
    pub(crate) logged: bool,
}

impl ClassicGroup {
    pub(crate) fn new(id: GroupId, now_ms: Option<i64>) -> Self {
        Self {
            id,
            state: ClassicState::Empty,
            previous_state: ClassicState::Dead,
            state_timestamp_ms: now_ms,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            assigning: None,
            awaiting_join: 0,
            supporters: BTreeMap::new(),
            subscribed_topics: None,
            new_member_added: false,
            initial_delay: None,
            join_deadline: Deadline::default(),
            sync_deadline: Deadline::default(),
            logged: false,
        }
    }

    /// The group of a logged generation: Stable if it has members, else Empty.
    pub(crate) fn from_record(id: GroupId, value: &GroupMetadata) -> Self {
        let timestamp = (value.state_timestamp_ms != -1).then_some(value.state_timestamp_ms);
        let mut group = Self::new(id, timestamp);
        group.logged = true;
        group.state = if value.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
        group.generation = value.generation;
        group.protocol_type = (!value.protocol_type.is_empty()).then(|| Arc::clone(&value.protocol_type));
        group.protocol.clone_from(&value.protocol);
        group.leader.clone_from(&value.leader);
        for record in &value.members {
            group.insert(Member::from_record(record, value.protocol.as_ref()));
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// The record of the current generation, with these assignments.
    pub(crate) fn record(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupRecord {
        let members = self.members.values().map(|member| MemberRecord {
            member_id: MemberId::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(self.protocol.as_deref()),
            assignment: assignment(member),
        });
        let value = GroupMetadata {
            members: members.collect(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
        };
        GroupRecord::GroupMetadata { group: GroupId::clone(&self.id), value: Some(value) }
    }

    /// The record of a group that was just created: it has members at most in memory.
    pub(crate) fn creation_record(&self) -> GroupRecord {
        let value = GroupMetadata {
            protocol_type: "".into(),
            generation: 0,
            protocol: None,
            leader: None,
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
            members: Vec::new(),
        };
        GroupRecord::GroupMetadata { group: GroupId::clone(&self.id), value: Some(value) }
    }

    pub(crate) fn is(&self, state: ClassicState) -> bool {
        self.state == state
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    pub(crate) fn transition(&mut self, step: &Step<'_>, next: ClassicState) {
        assert!(self.state.may_become(next), "group {} cannot go from {:?} to {next:?}", self.id, self.state);
        self.previous_state = self.state;
        self.state = next;
        self.state_timestamp_ms = Some(step.now_ms);
    }

    /// Takes a member in. The first one decides the protocol type and leads.
    pub(crate) fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), MemberId::clone(&member.id));
        }
        self.leader.get_or_insert_with(|| MemberId::clone(&member.id));
        for protocol in &member.protocols {
            *self.supporters.entry(Arc::clone(&protocol.name)).or_default() += 1;
        }
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.pending_join.remove(&member.id);
        self.members.insert(MemberId::clone(&member.id), member);
    }

    /// Forgets a member or a pending one, cancels its timer and answers what it still waits for. If it led, the next one
    /// in order leads.
    pub(crate) fn remove(&mut self, step: &mut Step<'_>, member_id: &str) {
        if let Some(mut member) = self.members.remove(member_id) {
            self.drop_support(&member);
            if let Some(parked) = member.awaiting_join.take() {
                self.awaiting_join -= 1;
                reply::join_error(step, parked, "", ErrorCode::UnknownMemberId);
            }
            if let Some(parked) = member.awaiting_sync.take() {
                reply::sync_error(step, parked, ErrorCode::UnknownMemberId);
            }
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
            if member.session.clear() {
                step.cancel(self.member_key(&member.id));
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        if let Some((id, mut deadline)) = self.pending_join.remove_entry(member_id)
            && deadline.clear()
        {
            step.cancel(self.member_key(&id));
        }
        self.pending_sync.remove(member_id);
    }

    fn drop_support(&mut self, member: &Member) {
        for protocol in &member.protocols {
            if let Some(count) = self.supporters.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supporters.remove(&protocol.name);
                }
            }
        }
    }

    /// Gives a member new protocols and timeouts, and parks its JoinGroup or clears the parked one.
    pub(crate) fn update_member(
        &mut self,
        step: &mut Step<'_>,
        member_id: &str,
        protocols: Vec<Protocol>,
        timeouts: (i32, i32),
        parked: Option<Parked>,
    ) {
        let Some(mut member) = self.members.remove(member_id) else { return };
        self.drop_support(&member);
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(replaced) = std::mem::replace(&mut member.awaiting_join, parked)
            && parked.is_some()
        {
            // The client gave the earlier request up; Kafka lets it dangle until the connection closes.
            reply::join_error(step, replaced, member_id, ErrorCode::RebalanceInProgress);
        }
        member.protocols = protocols;
        (member.rebalance_timeout_ms, member.session_timeout_ms) = timeouts;
        self.insert(member);
    }

    /// Takes the parked JoinGroup of a member, to be answered.
    pub(crate) fn take_join(&mut self, member_id: &str) -> Option<Parked> {
        let parked = self.members.get_mut(member_id)?.awaiting_join.take()?;
        self.awaiting_join -= 1;
        Some(parked)
    }

    pub(crate) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// The longest rebalance timeout of the members.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0)
    }

    /// Whether a member with this protocol type and these protocols fits in: any, into an empty group; else it must share
    /// a protocol that all members support.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol<'_>]) -> bool {
        if self.is(ClassicState::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| {
                self.supporters.get(protocol.name.as_ref()).copied().unwrap_or(0) == self.members.len()
            })
    }

    /// The protocol of the next generation: among those that all members support, the one most members prefer. Of equals
    /// the first by name (in Kafka the order of a hash map decides).
    pub(crate) fn select_protocol(&self) -> Option<Arc<str>> {
        let everybody = self.members.len();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member
                .protocols
                .iter()
                .find(|protocol| self.supporters.get(&protocol.name) == Some(&everybody));
            if let Some(protocol) = vote {
                *votes.entry(&protocol.name).or_default() += 1;
            }
        }
        votes.into_iter().rev().max_by_key(|&(_, count)| count).map(|(name, _)| Arc::clone(name))
    }

    /// The topics of all members, or `None` when that cannot be known.
    pub(crate) fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(Some(protocol)))?);
        }
        Some(topics)
    }

    /// Whether offsets of the topic are in use. A consumer group whose subscription is unknown may use any.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// Checks that a request comes from a member, and that a static one has not been replaced.
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current.as_ref() != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Starts the session of a member anew.
    pub(crate) fn restart_session(&mut self, step: &mut Step<'_>, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            self.expect_member_within(step, member_id, member.session_timeout_ms);
        }
    }

    pub(crate) fn expect_member_within(&mut self, step: &mut Step<'_>, member_id: &str, timeout_ms: i32) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(at_ms) = member.session.set(step.now_ms + i64::from(timeout_ms)) {
            let member = MemberId::clone(&member.id);
            step.schedule(TimerKey::Member { group: GroupId::clone(&self.id), member }, at_ms);
        }
    }

    /// Answers everybody who waits with the error; they are members all the same.
    pub(crate) fn wake(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in &member_ids {
            let join = self.take_join(member_id);
            let sync = self.members.get_mut(member_id).and_then(|member| member.awaiting_sync.take());
            if join.is_some() || sync.is_some() {
                self.restart_session(step, member_id);
            }
            if let Some(parked) = join {
                reply::join_error(step, parked, member_id, error);
            }
            if let Some(parked) = sync {
                reply::sync_error(step, parked, error);
            }
        }
    }

    /// The group goes away: cancels its timers and answers everybody who waits with the error.
    pub(crate) fn discard(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        let member_ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for member_id in &member_ids {
            let join = self.take_join(member_id);
            let Some(member) = self.members.get_mut(member_id) else { continue };
            let sync = member.awaiting_sync.take();
            if member.session.clear() {
                step.cancel(self.member_key(member_id));
            }
            if let Some(parked) = join {
                reply::join_error(step, parked, member_id, error);
            }
            if let Some(parked) = sync {
                reply::sync_error(step, parked, error);
            }
        }
        for (member_id, mut deadline) in std::mem::take(&mut self.pending_join) {
            if deadline.clear() {
                step.cancel(self.member_key(&member_id));
            }
        }
        if self.join_deadline.clear() {
            step.cancel(self.join_key());
        }
        if self.sync_deadline.clear() {
            step.cancel(self.sync_key());
        }
    }

    pub(crate) fn member_key(&self, member_id: &MemberId) -> TimerKey {
        TimerKey::Member { group: GroupId::clone(&self.id), member: MemberId::clone(member_id) }
    }

    pub(crate) fn join_key(&self) -> TimerKey {
        TimerKey::Join { group: GroupId::clone(&self.id) }
    }

    pub(crate) fn sync_key(&self) -> TimerKey {
        TimerKey::Sync { group: GroupId::clone(&self.id) }
    }
}
