//! Membership in a group whose coordinator assigns the partitions (KIP-848): heartbeats carry everything.
//!
//! When the assignment changes, the consumer commits, gives up what goes and keeps reading what stays; the next full heartbeat
//! says so, and takes up what comes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use super::membership::Joined;
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
    /// What a heartbeat has brought since, to be owned next.
    target: Arc<Mutex<Option<Owned>>>,
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
            target: Arc::default(),
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

    /// Of what the consumer has, the partitions that stay its own whatever [`ServerMembership::join`] brings.
    pub(super) async fn staying(&self) -> Vec<TopicPartition> {
        if self.standing.get() == LOST || self.epoch.load(Ordering::SeqCst) <= JOINING {
            return Vec::new();
        }
        let target = lock(&self.target).clone();
        self.names(target.as_ref().unwrap_or(&self.owned)).await
    }

    /// Owns what the last heartbeat has brought, and says so. Partitions that were not among those that
    /// [`ServerMembership::staying`] named must have been given up.
    pub(super) async fn join(&mut self) -> Result<Joined> {
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
        let mut is_new = self.epoch.load(Ordering::SeqCst) <= JOINING;
        if self.standing.get() == LOST {
            self.expelled();
            is_new = true;
        }
        if let Some(target) = lock(&self.target).take() {
            self.owned = target;
        }
        let mut retry = self.client.retry();
        let (interval, more) = loop {
            match self.take_assignment(is_new).await {
                Ok(taken) => break taken,
                Err(error) if error.code().is_some_and(is_expulsion) => {
                    self.expelled();
                    is_new = true;
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
        let partitions = self.names(&self.owned).await;
        let has_more = more.is_some();
        *lock(&self.target) = more;
        self.standing.set(if has_more { REJOIN } else { STABLE });
        let beat = Heartbeat {
            client: self.client.clone(),
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            epoch: Arc::clone(&self.epoch),
            owned: self.owned.clone(),
            target: Arc::clone(&self.target),
            standing: Arc::clone(&self.standing),
        };
        self.heartbeat = Some(tokio::spawn(beat.run(interval)).abort_handle());
        Ok(Joined { partitions, is_new })
    }

    /// Nothing is owned any more; the member joins as a new one.
    fn expelled(&mut self) {
        self.epoch.store(JOINING, Ordering::SeqCst);
        self.owned.clear();
        *lock(&self.target) = None;
    }

    /// Heartbeats with everything that there is to say, which is answered with the assignment, until that is what is owned. An
    /// assignment that takes partitions away again comes back: the consumer must give them up first. A new member has none yet.
    async fn take_assignment(&mut self, is_new: bool) -> Result<(Duration, Option<Owned>)> {
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
            match response.assignment.as_ref().map(owned_of) {
                Some(assigned) if assigned == self.owned => break,
                Some(assigned) if !is_new && takes_away(&self.owned, &assigned) => {
                    return Ok((interval, Some(assigned)));
                }
                Some(assigned) => self.owned = assigned,
                None => break,
            }
        }
        Ok((interval, None))
    }

    /// Partitions by the names of their topics.
    async fn names(&self, owned: &Owned) -> Vec<TopicPartition> {
        let mut partitions = Vec::new();
        for topic in &self.topics {
            // One may have been deleted meanwhile.
            let Ok(metadata) = self.client.topic(topic).await else { continue };
            let owned = owned.get(&metadata.id).into_iter().flatten();
            partitions.extend(owned.map(|index| TopicPartition::new(topic, *index)));
        }
        partitions.sort();
        partitions
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

/// Whether something is owned that is not assigned.
fn takes_away(owned: &Owned, assigned: &Owned) -> bool {
    let stays = |topic: &Uuid, index| assigned.get(topic).is_some_and(|indexes| indexes.contains(index));
    owned.iter().any(|(topic, indexes)| indexes.iter().any(|index| !stays(topic, index)))
}

fn lock(target: &Mutex<Option<Owned>>) -> MutexGuard<'_, Option<Owned>> {
    target.lock().unwrap_or_else(PoisonError::into_inner)
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
    target: Arc<Mutex<Option<Owned>>>,
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
                    let mut target = lock(&self.target);
                    let expected = target.as_ref().unwrap_or(&self.owned);
                    let assigned = response.assignment.as_ref().map(owned_of);
                    if let Some(assigned) = assigned.filter(|assigned| assigned != expected) {
                        *target = Some(assigned);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_taken_away() {
        let (a, b) = (random_uuid(), random_uuid());
        let owned = |entries: &[(Uuid, &[i32])]| entries.iter().map(|(id, it)| (*id, it.to_vec())).collect();
        let now: Owned = owned(&[(a, &[0, 1]), (b, &[2])]);
        assert!(!takes_away(&now, &now));
        assert!(!takes_away(&now, &owned(&[(a, &[0, 1, 5]), (b, &[2, 3])])));
        assert!(takes_away(&now, &owned(&[(a, &[0, 1])])));
        assert!(takes_away(&now, &owned(&[(a, &[1, 3]), (b, &[2])])));
        assert!(!takes_away(&Owned::new(), &now));
    }
}
