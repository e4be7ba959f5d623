//! Membership in a group whose coordinator assigns the partitions (KIP-848): heartbeats carry everything.
//!
//! When the assignment changes, the consumer commits and gives up all of its partitions, and takes up the new assignment with
//! the next full heartbeat. That is more than the protocol asks for, and keeps one way of changing hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use ottla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_protocol::messages::consumer_group_heartbeat_response::Assignment;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{PartitionIndex, TopicName, TopicPartition, Uuid};
use tokio::task::AbortHandle;
use tracing::debug;

use super::ConsumerConfig;
use super::group::{LOST, REJOIN, STABLE, Standing, millis};
use crate::admin::Committer;
use crate::client::{random_below, random_uuid};
use crate::error::check;
use crate::{Client, ClientError, Result};

/// Epoch with which a member joins, and with which it leaves.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
/// Assignments that follow each other while a member joins, at most; the heartbeats find out about later ones.
const MAX_STEPS: u32 = 10;

/// Partitions by the id of their topic.
type Owned = BTreeMap<Uuid, Vec<PartitionIndex>>;

/// A consumer's membership.
#[derive(Debug)]
pub(super) struct ServerMembership {
    client: Client,
    config: Arc<ConsumerConfig>,
    group: String,
    topics: Vec<TopicName>,
    member_id: String,
    /// The member's epoch; [`JOINING`] outside of the group.
    epoch: Arc<AtomicI32>,
    owned: Owned,
    standing: Arc<Standing>,
    heartbeat: Option<AbortHandle>,
}

impl ServerMembership {
    pub(super) fn new(
        client: &Client,
        config: Arc<ConsumerConfig>,
        group: String,
        topics: Vec<TopicName>,
    ) -> Self {
        Self {
            client: client.separate(),
            config,
            group,
            topics,
            member_id: random_uuid().to_string(),
            epoch: Arc::new(AtomicI32::new(JOINING)),
            owned: Owned::new(),
            standing: Arc::new(Standing::new()),
            heartbeat: None,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    pub(super) fn is_stable(&self) -> bool {
        self.standing.get() == STABLE
    }

    pub(super) fn may_commit(&self) -> bool {
        self.epoch.load(Ordering::SeqCst) > JOINING && self.standing.get() != LOST
    }

    pub(super) async fn changed(&self) {
        self.standing.changed().await;
    }

    pub(super) fn committer(&self) -> Committer<'_> {
        let generation = self.epoch.load(Ordering::SeqCst);
        Committer { group: &self.group, member_id: &self.member_id, generation }
    }

    pub(super) fn note(&self, error: &ClientError) {
        if error.code().is_some_and(is_expulsion) {
            self.standing.set(LOST);
        }
    }

    pub(super) async fn join(&mut self) -> Result<Vec<TopicPartition>> {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
        if self.standing.get() == LOST {
            self.epoch.store(JOINING, Ordering::SeqCst);
            self.owned.clear();
        }
        let mut retry = self.client.retry();
        let interval = loop {
            match self.take_assignment().await {
                Ok(interval) => break interval,
                Err(error) if error.code().is_some_and(is_expulsion) => {
                    self.epoch.store(JOINING, Ordering::SeqCst);
                    self.owned.clear();
                    let reason = error.to_string();
                    retry.pause(ClientError::Disconnected { address: self.group.clone(), reason }).await?;
                }
                Err(error) => {
                    if error.is_connection() || has_moved(&error) {
                        self.client.forget_coordinator(&self.group);
                    }
                    retry.pause(error).await?;
                }
            }
        };
        let partitions = self.names().await?;
        self.standing.set(STABLE);
        let beat = Heartbeat {
            client: self.client.clone(),
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            epoch: Arc::clone(&self.epoch),
            owned: self.owned.clone(),
            standing: Arc::clone(&self.standing),
        };
        self.heartbeat = Some(tokio::spawn(beat.run(interval)).abort_handle());
        Ok(partitions)
    }

    /// Heartbeats with everything that there is to say, which is answered with the assignment, until that is what is owned.
    async fn take_assignment(&mut self) -> Result<Duration> {
        let mut interval = self.config.heartbeat_interval;
        for _ in 0..MAX_STEPS {
            let epoch = self.epoch.load(Ordering::SeqCst);
            let owned = self.owned.iter().map(|(topic_id, partitions)| TopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.clone(),
            });
            let request = ConsumerGroupHeartbeatRequest {
                group_id: self.group.as_str().into(),
                member_id: self.member_id.as_str().into(),
                member_epoch: epoch,
                rebalance_timeout_ms: millis(self.config.rebalance_timeout),
                subscribed_topic_names: Some(self.topics.iter().map(|it| it.to_string().into()).collect()),
                topic_partitions: Some(owned.collect()),
                ..ConsumerGroupHeartbeatRequest::default()
            };
            let response = beat(&self.client, &self.group, request).await?;
            self.epoch.store(response.member_epoch, Ordering::SeqCst);
            interval = Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0));
            let assigned = response.assignment.as_ref().map(owned_of);
            match assigned {
                Some(assigned) if assigned != self.owned => self.owned = assigned,
                _ => break,
            }
        }
        Ok(interval)
    }

    /// What is owned, by the names of the topics.
    async fn names(&self) -> Result<Vec<TopicPartition>> {
        let mut partitions = Vec::new();
        for topic in &self.topics {
            // One may have been deleted meanwhile.
            let Ok(metadata) = self.client.topic(topic).await else { continue };
            let owned = self.owned.get(&metadata.id).into_iter().flatten();
            partitions.extend(owned.map(|index| TopicPartition::new(topic, *index)));
        }
        partitions.sort();
        Ok(partitions)
    }

    pub(super) async fn leave(mut self) -> Result<()> {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
        if !self.may_commit() {
            return Ok(());
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.as_str().into(),
            member_id: self.member_id.as_str().into(),
            member_epoch: LEAVING,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        beat(&self.client, &self.group, request).await.map(|_| ())
    }
}

impl Drop for ServerMembership {
    fn drop(&mut self) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.abort();
        }
    }
}

async fn beat(
    client: &Client,
    group: &str,
    request: ConsumerGroupHeartbeatRequest<'_>,
) -> Result<ConsumerGroupHeartbeatResponse<'static>> {
    let connection = client.coordinator(group).await?;
    // In version 0 the coordinator gave the member its id.
    let response = connection.call_with(VersionRange::new(1, 1), |_| request).await?;
    check(response.error_code, response.error_message.as_deref(), || {
        format!("heartbeat to group '{group}'")
    })?;
    Ok(response)
}

fn owned_of(assignment: &Assignment) -> Owned {
    let topics = assignment.topic_partitions.iter().filter(|topic| !topic.partitions.is_empty());
    topics
        .map(|topic| {
            let mut partitions = topic.partitions.clone();
            partitions.sort_unstable();
            (topic.topic_id, partitions)
        })
        .collect()
}

fn is_expulsion(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch)
}

fn has_moved(error: &ClientError) -> bool {
    matches!(error.code(), Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable))
}

/// Tells the coordinator at intervals that the member lives, until there is another assignment.
struct Heartbeat {
    client: Client,
    group: String,
    member_id: String,
    epoch: Arc<AtomicI32>,
    owned: Owned,
    standing: Arc<Standing>,
}

impl Heartbeat {
    async fn run(self, mut interval: Duration) {
        loop {
            // Up to a tenth earlier, so that members do not beat in step.
            tokio::time::sleep(interval.mul_f64(1.0 - random_below(100) as f64 / 1000.0)).await;
            let request = ConsumerGroupHeartbeatRequest {
                group_id: self.group.as_str().into(),
                member_id: self.member_id.as_str().into(),
                member_epoch: self.epoch.load(Ordering::SeqCst),
                ..ConsumerGroupHeartbeatRequest::default()
            };
            match beat(&self.client, &self.group, request).await {
                Ok(response) => {
                    self.epoch.store(response.member_epoch, Ordering::SeqCst);
                    interval =
                        Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0))
                            .max(Duration::from_millis(10));
                    if response.assignment.as_ref().is_some_and(|assigned| owned_of(assigned) != self.owned) {
                        self.standing.set(REJOIN);
                    }
                }
                Err(error) => {
                    debug!(%error, group = self.group, "heartbeat");
                    if error.code().is_some_and(is_expulsion) {
                        return self.standing.set(LOST);
                    }
                    if error.is_connection() || has_moved(&error) {
                        self.client.forget_coordinator(&self.group);
                    }
                }
            }
        }
    }
}
