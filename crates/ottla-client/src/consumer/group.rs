//! Membership in a classic group: join, get an assignment, heartbeat, leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ottla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group_request::MemberIdentity;
use ottla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest,
};
use ottla_protocol::{ApiKey, ErrorCode, VersionRange};
use ottla_types::{TopicName, TopicPartition};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::debug;

use super::{ConsumerConfig, protocol};
use crate::admin::Committer;
use crate::client::Retry;
use crate::error::check;
use crate::{Client, ClientError, Connection, Result};

const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";

/// A consumer's membership.
#[derive(Debug)]
pub(super) struct ClassicMembership {
    client: Client,
    config: Arc<ConsumerConfig>,
    group: String,
    topics: Vec<TopicName>,
    member_id: String,
    generation: i32,
    standing: Arc<Standing>,
    heartbeat: Option<AbortHandle>,
    /// What the leader's assignment was computed from; `None` for followers.
    counts: Option<BTreeMap<TopicName, i32>>,
}

/// What the heartbeats have found out.
#[derive(Debug)]
pub(super) struct Standing {
    state: AtomicU8,
    changed: Notify,
}

/// Not in the group, or told to join again.
pub(super) const REJOIN: u8 = 0;
/// Has an assignment.
pub(super) const STABLE: u8 = 1;
/// The coordinator no longer knows the member.
pub(super) const LOST: u8 = 2;

impl Standing {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(REJOIN), changed: Notify::new() }
    }

    /// Resolves when it may have changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn set(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
        self.changed.notify_one();
    }

    pub(super) fn get(&self) -> u8 {
        self.state.load(Ordering::SeqCst)
    }
}

impl ClassicMembership {
    pub(super) fn new(
        client: &Client,
        config: Arc<ConsumerConfig>,
        group: String,
        topics: Vec<TopicName>,
    ) -> Self {
        let client = client.separate();
        let standing = Arc::new(Standing::new());
        let (member_id, generation) = (String::new(), -1);
        Self { client, config, group, topics, member_id, generation, standing, heartbeat: None, counts: None }
    }

    /// The client with the member's own connection to the coordinator.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// Whether the assignment holds.
    pub(super) fn is_stable(&self) -> bool {
        self.standing.get() == STABLE
    }

    /// Whether offsets may still be committed in this member's name.
    pub(super) fn may_commit(&self) -> bool {
        self.generation >= 0 && self.standing.get() != LOST
    }

    /// Resolves when the standing may have changed.
    pub(super) async fn changed(&self) {
        self.standing.changed().await;
    }

    /// Who commits.
    pub(super) fn committer(&self) -> Committer<'_> {
        Committer { group: &self.group, member_id: &self.member_id, generation: self.generation }
    }

    /// Takes note of an error that came back for a commit.
    pub(super) fn note(&self, error: &ClientError) {
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => self.standing.set(REJOIN),
            Some(code) if is_expulsion(code) => self.standing.set(LOST),
            _ => {}
        }
    }

    /// For a leader: joins again when partitions were added to the topics.
    pub(super) async fn check_topics(&mut self) {
        if let Some(before) = &self.counts {
            for topic in before.keys() {
                self.client.forget_topic(topic);
            }
            let topics: BTreeSet<_> = before.keys().cloned().collect();
            if let Ok(now) = self.partition_counts(&topics).await
                && now != *before
            {
                self.standing.set(REJOIN);
            }
        }
    }

    /// Joins the group, or joins it again, and returns the partitions that are this member's.
    pub(super) async fn join(&mut self) -> Result<Vec<TopicPartition>> {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
        if self.standing.get() == LOST {
            self.forget_member();
        }
        // A rebalance takes as long as the slowest member; only errors are counted against the limit.
        let mut retry = self.client.retry();
        loop {
            match self.try_join().await {
                Ok(partitions) => {
                    self.standing.set(STABLE);
                    let beat = heartbeat(
                        self.client.clone(),
                        Arc::clone(&self.config),
                        Arc::clone(&self.standing),
                        (self.group.clone(), self.member_id.clone(), self.generation),
                    );
                    self.heartbeat = Some(tokio::spawn(beat).abort_handle());
                    return Ok(partitions);
                }
                Err(error) => self.recover(error, &mut retry).await?,
            }
        }
    }

    /// Prepares another attempt after an error, unless it is final.
    async fn recover(&mut self, error: ClientError, retry: &mut Retry) -> Result<()> {
        debug!(%error, group = self.group, "joining again");
        match error.code() {
            // `join_group` has kept the id.
            Some(ErrorCode::MemberIdRequired) => return Ok(()),
            Some(ErrorCode::RebalanceInProgress) => {
                *retry = self.client.retry();
                return Ok(());
            }
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.forget_member();
                return retry
                    .pause(ClientError::Disconnected {
                        address: self.group.clone(),
                        reason: error.to_string(),
                    })
                    .await;
            }
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) => {
                self.client.forget_coordinator(&self.group);
            }
            _ if error.is_connection() => self.client.forget_coordinator(&self.group),
            _ => {}
        }
        retry.pause(error).await
    }

    fn forget_member(&mut self) {
        self.member_id.clear();
        self.generation = -1;
    }

    async fn try_join(&mut self) -> Result<Vec<TopicPartition>> {
        let connection = self.client.coordinator(&self.group).await?;
        let joined = self.join_group(&connection).await?;
        let leads = joined.leader == joined.member_id;
        let assignments =
            if leads && !joined.skip_assignment { self.assign(&joined).await? } else { Vec::new() };
        if !leads {
            self.counts = None;
        }
        self.sync_group(&connection, assignments).await
    }

    async fn join_group(&mut self, connection: &Connection) -> Result<JoinGroupResponse<'static>> {
        let version = connection.version_in(ApiKey::JoinGroup, VersionRange::new(2, 9))?;
        let request = JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(self.config.rebalance_timeout),
            member_id: self.member_id.as_str().into(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: ASSIGNOR.into(),
                metadata: protocol::subscription(&self.topics)?.into(),
            }],
            ..JoinGroupRequest::default()
        };
        let response = connection.call_within(&request, version, self.join_limit()).await?;
        if ErrorCode::from_code(response.error_code) == ErrorCode::MemberIdRequired {
            self.member_id = response.member_id.clone().into_owned();
        }
        check(response.error_code, None, || format!("joining group '{}'", self.group))?;
        self.member_id = response.member_id.clone().into_owned();
        self.generation = response.generation_id;
        Ok(response)
    }

    /// Computes everybody's assignment, as the leader does.
    async fn assign(
        &mut self,
        joined: &JoinGroupResponse<'_>,
    ) -> Result<Vec<SyncGroupRequestAssignment<'static>>> {
        let mut members = Vec::new();
        for member in &joined.members {
            members.push((member.member_id.to_string(), protocol::subscribed_topics(&member.metadata)?));
        }
        let topics = members.iter().flat_map(|(_, topics)| topics.iter().cloned()).collect();
        let counts = self.partition_counts(&topics).await?;
        let assignments = protocol::assign_ranges(&members, &counts);
        self.counts = Some(counts);
        assignments
            .into_iter()
            .map(|(member_id, partitions)| {
                let assignment = protocol::assignment(&partitions)?.into();
                Ok(SyncGroupRequestAssignment { member_id: member_id.into(), assignment })
            })
            .collect()
    }

    /// Partition counts of the topics that exist; a missing one has 0 and may appear later.
    async fn partition_counts(&self, topics: &BTreeSet<TopicName>) -> Result<BTreeMap<TopicName, i32>> {
        let mut counts = BTreeMap::new();
        for topic in topics {
            let count = match self.client.topic(topic).await {
                Ok(metadata) => i32::try_from(metadata.partitions.len()).unwrap_or(i32::MAX),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => 0,
                Err(error) => return Err(error),
            };
            counts.insert(topic.clone(), count);
        }
        Ok(counts)
    }

    async fn sync_group(
        &self,
        connection: &Connection,
        assignments: Vec<SyncGroupRequestAssignment<'static>>,
    ) -> Result<Vec<TopicPartition>> {
        let version = connection.version_in(ApiKey::SyncGroup, VersionRange::new(0, 5))?;
        let request = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.member_id.as_str().into(),
            protocol_type: (version >= 5).then(|| PROTOCOL_TYPE.into()),
            protocol_name: (version >= 5).then(|| ASSIGNOR.into()),
            assignments,
            ..SyncGroupRequest::default()
        };
        let response = connection.call_within(&request, version, self.join_limit()).await?;
        check(response.error_code, None, || format!("getting the assignment of group '{}'", self.group))?;
        if response.assignment.is_empty() {
            return Ok(Vec::new());
        }
        let assignment: ConsumerProtocolAssignment<'_> = protocol::decode(&response.assignment)?;
        Ok(protocol::partitions(&assignment))
    }

    fn join_limit(&self) -> std::time::Duration {
        self.config.rebalance_timeout + self.client.config().connection.request_timeout
    }

    /// Leaves the group, so that its partitions go to others at once.
    pub(super) async fn leave(mut self) -> Result<()> {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
        if self.member_id.is_empty() || self.standing.get() == LOST {
            return Ok(());
        }
        let connection = self.client.coordinator(&self.group).await?;
        let response = connection
            .call_with(VersionRange::new(0, 5), |version| {
                let (group_id, member_id) = (self.group.as_str().into(), self.member_id.as_str());
                if version < 3 {
                    LeaveGroupRequest {
                        group_id,
                        member_id: member_id.into(),
                        ..LeaveGroupRequest::default()
                    }
                } else {
                    let member = MemberIdentity {
                        member_id: member_id.into(),
                        reason: (version >= 5).then(|| "the consumer is being closed".into()),
                        ..MemberIdentity::default()
                    };
                    LeaveGroupRequest { group_id, members: vec![member], ..LeaveGroupRequest::default() }
                }
            })
            .await?;
        check(response.error_code, None, || format!("leaving group '{}'", self.group))
    }
}

impl Drop for ClassicMembership {
    fn drop(&mut self) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.abort();
        }
    }
}

fn is_expulsion(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId)
}

/// Tells the coordinator at intervals that the member lives, until the member has to act.
async fn heartbeat(
    client: Client,
    config: Arc<ConsumerConfig>,
    standing: Arc<Standing>,
    (group, member_id, generation_id): (String, String, i32),
) {
    loop {
        tokio::time::sleep(config.heartbeat_interval).await;
        let beat = async {
            let connection = client.coordinator(&group).await?;
            let request = HeartbeatRequest {
                group_id: group.as_str().into(),
                generation_id,
                member_id: member_id.as_str().into(),
                ..HeartbeatRequest::default()
            };
            let response = connection.call_with(VersionRange::new(0, 4), |_| request).await?;
            check(response.error_code, None, || format!("heartbeat to group '{group}'"))
        };
        let Err(error) = beat.await else { continue };
        if standing.get() == STABLE {
            debug!(%error, group, "heartbeat");
        }
        match error.code() {
            // Goes on, so that the member is not taken for dead until it has joined again.
            Some(ErrorCode::RebalanceInProgress) => standing.set(REJOIN),
            Some(code) if is_expulsion(code) => return standing.set(LOST),
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) => {
                client.forget_coordinator(&group);
            }
            _ if error.is_connection() => client.forget_coordinator(&group),
            _ => {}
        }
    }
}

pub(super) fn millis(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
