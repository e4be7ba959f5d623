//! Receiving records: from partitions that the caller names, or as a member of a group.
//!
//! Everything happens within [`Consumer::poll`]; only heartbeats and the fetches that are under way have tasks.

mod fetch;
mod group;
mod membership;
mod positions;
pub(crate) mod protocol;
mod server_group;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::ErrorCode;
use ottla_record::TimestampType;
use ottla_types::{LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs, TopicName, TopicPartition};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use self::fetch::{Fetched, Wanted, fetch};
use self::membership::Membership;
use self::positions::Progress;
use crate::{Client, ClientError, Result};

/// A partition with so many records waiting for the caller is not fetched.
const PREFETCHED_RECORDS: usize = 2_000;
/// Pause before a partition is fetched again after an error.
const ERROR_BACKOFF: Duration = Duration::from_millis(200);

/// Which transactional records are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum Isolation {
    /// All records, those of open and aborted transactions included.
    #[default]
    ReadUncommitted = 0,
    /// Only records of committed transactions, and those outside transactions, up to the first open transaction.
    ReadCommitted = 1,
}

/// `auto.offset.reset`: where to start without a committed offset, or when the position no longer exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record there is.
    Earliest,
    /// At the end.
    #[default]
    Latest,
    /// Nowhere: it is an error.
    None,
}

/// `group.protocol`: who assigns partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The members.
    #[default]
    Classic,
    /// The coordinator (KIP-848).
    Consumer,
}

/// Where to start reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the first record there is.
    Earliest,
    /// At the end.
    Latest,
    /// At an offset.
    At(Offset),
    /// At the first record of this time or later, or the end.
    Since(TimestampMs),
    /// Where the group has committed, or else by [`ConsumerConfig::reset`].
    Committed,
}

/// Settings of a consumer; the defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `group.id`: where offsets are committed, and the group that [`Consumer::subscribe`] joins.
    pub group: Option<String>,
    /// `group.protocol`.
    pub protocol: GroupProtocol,
    /// `auto.offset.reset`.
    pub reset: OffsetReset,
    /// `isolation.level`.
    pub isolation: Isolation,
    /// `fetch.max.wait.ms`.
    pub max_wait: Duration,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: i32,
    /// `auto.commit.interval.ms`; `None` commits only when told to and on closing is up to the caller too.
    pub auto_commit: Option<Duration>,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: how long the group waits for a member to join again.
    pub rebalance_timeout: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group: None,
            protocol: GroupProtocol::Classic,
            reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            auto_commit: Some(Duration::from_secs(5)),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_mins(5),
        }
    }
}

/// A record as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRecord {
    /// Its topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: Offset,
    /// Epoch of the leader that appended it, or -1.
    pub leader_epoch: LeaderEpoch,
    /// Its timestamp, or -1.
    pub timestamp: TimestampMs,
    /// Whose clock the timestamp comes from.
    pub timestamp_type: TimestampType,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Option<Bytes>)>,
}

type FetchOutcome = (NodeId, u64, Vec<TopicPartition>, Result<Vec<Fetched>>);

/// Receives records.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    /// With connections of its own, which fetches keep busy.
    fetching: Client,
    config: Arc<ConsumerConfig>,
    assigned: BTreeMap<TopicPartition, Progress>,
    /// Counts assignments: fetches for an earlier one do not count.
    assignment: u64,
    fetches: JoinSet<FetchOutcome>,
    /// Brokers with a fetch under way.
    busy: BTreeSet<NodeId>,
    /// Turns the order of partitions in fetches, so that a full response does not starve the last ones.
    rotation: usize,
    buffer: VecDeque<ReceivedRecord>,
    membership: Option<Membership>,
    committed_at: Instant,
    checked_topics_at: Instant,
}

impl Consumer {
    /// A consumer without partitions: follow with [`Consumer::assign`] or [`Consumer::subscribe`].
    pub fn new(client: Client, config: ConsumerConfig) -> Self {
        Self {
            fetching: client.separate(),
            client,
            config: Arc::new(config),
            assigned: BTreeMap::new(),
            assignment: 0,
            fetches: JoinSet::new(),
            busy: BTreeSet::new(),
            rotation: 0,
            buffer: VecDeque::new(),
            membership: None,
            committed_at: Instant::now(),
            checked_topics_at: Instant::now(),
        }
    }

    /// Reads these partitions from these positions, without membership in a group.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Position)>) {
        self.membership = None;
        self.set_assignment(
            partitions.into_iter().map(|(it, from)| (it, Progress::starting(from))).collect(),
        );
    }

    /// Joins the group to read its share of these topics. The joining is done by [`Consumer::poll`].
    ///
    /// # Errors
    /// No group is configured.
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        let Some(group) = self.config.group.clone() else {
            return Err(ClientError::Usage("subscribing needs a group: pass --group NAME".to_owned()));
        };
        let topics = topics.iter().map(|topic| TopicName::new(topic)).collect();
        self.membership = Some(Membership::new(&self.client, Arc::clone(&self.config), group, topics));
        self.set_assignment(BTreeMap::new());
        Ok(())
    }

    /// The partitions being read, with the offset of the next record where it is known.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Option<Offset>)> {
        self.assigned.iter().map(|(partition, progress)| (partition, progress.position()))
    }

    /// Whether every partition has been read up to its end, as of the last fetch of each.
    pub fn is_at_end(&self) -> bool {
        self.assigned.values().all(Progress::is_at_end)
    }

    /// The next records, at most `max_records`, in order per partition. Comes back empty when there are none within
    /// `timeout`. Joins the group when there is need, which takes until the other members have joined: members need tasks of
    /// their own. No record is lost when the future is dropped.
    ///
    /// # Errors
    /// What does not pass by itself: a missing topic, an offset out of range without a reset policy, no permission.
    pub async fn poll(&mut self, timeout: Duration, max_records: usize) -> Result<Vec<ReceivedRecord>> {
        let deadline = Instant::now() + timeout;
        loop {
            self.tend_group().await?;
            if !self.buffer.is_empty() {
                self.start_fetches().await?;
                return Ok(self.take(max_records));
            }
            self.resolve_positions().await?;
            self.start_fetches().await?;
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            self.wait(deadline).await?;
        }
    }

    /// Waits for a fetch, for news from the group, or until it is time to look again.
    async fn wait(&mut self, deadline: Instant) -> Result<()> {
        let until = deadline.min(Instant::now() + ERROR_BACKOFF);
        let membership = self.membership.as_ref();
        let news = async {
            match membership {
                Some(membership) => membership.changed().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            Some(outcome) = self.fetches.join_next() => outcome,
            () = news => return Ok(()),
            () = tokio::time::sleep_until(until) => return Ok(()),
        };
        match outcome {
            Ok(outcome) => self.absorb(outcome),
            Err(error) => Err(ClientError::Usage(format!("a fetch did not end: {error}"))),
        }
    }

    /// Commits the positions: everything that [`Consumer::poll`] has returned counts as done.
    ///
    /// # Errors
    /// No group is configured, or the coordinator refuses.
    pub async fn commit(&mut self) -> Result<()> {
        let due: Vec<_> = self
            .assigned
            .iter()
            .filter_map(|(partition, progress)| progress.uncommitted().map(|at| (partition.clone(), at)))
            .collect();
        self.committed_at = Instant::now();
        if due.is_empty() {
            return Ok(());
        }
        let client = self.membership.as_ref().map_or(&self.client, Membership::client);
        let committed = positions::commit(client, &self.config, self.membership.as_ref(), &due).await;
        if let (Err(error), Some(membership)) = (&committed, &self.membership) {
            membership.note(error);
        }
        committed?;
        for (partition, (offset, _)) in due {
            if let Some(progress) = self.assigned.get_mut(&partition) {
                progress.set_committed(offset);
            }
        }
        Ok(())
    }

    /// Commits, unless [`ConsumerConfig::auto_commit`] is off, and leaves the group.
    ///
    /// # Errors
    /// The commit failed; the group is left nevertheless.
    pub async fn close(mut self) -> Result<()> {
        let is_member = self.membership.as_ref().is_some_and(Membership::may_commit);
        let committed =
            if self.config.auto_commit.is_some() && is_member { self.commit().await } else { Ok(()) };
        committed.and(self.leave().await)
    }

    /// Leaves the group without committing: what was returned since the last commit will come again.
    ///
    /// # Errors
    /// The coordinator refuses or does not answer.
    pub async fn leave(mut self) -> Result<()> {
        match self.membership.take() {
            Some(membership) => membership.leave().await,
            None => Ok(()),
        }
    }

    /// Joins the group where there is need, and commits where it is time.
    async fn tend_group(&mut self) -> Result<()> {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        if self.checked_topics_at.elapsed() >= self.client.config().metadata_max_age {
            self.checked_topics_at = Instant::now();
            membership.check_topics().await;
        }
        if membership.is_stable() {
            if self.config.auto_commit.is_some_and(|interval| self.committed_at.elapsed() >= interval)
                && let Err(error) = self.commit().await
            {
                warn!(%error, "offsets are not committed; trying again later");
            }
            return Ok(());
        }
        if membership.may_commit()
            && self.config.auto_commit.is_some()
            && let Err(error) = self.commit().await
        {
            warn!(%error, "offsets are not committed before the rebalance: some records will come again");
        }
        let Some(membership) = &self.membership else { return Ok(()) };
        let staying = membership.staying().await;
        self.keep(&staying);
        if let Some(membership) = &mut self.membership {
            let joined = membership.join().await?;
            debug!(group = membership.group(), ?joined, "assigned");
            if joined.is_new {
                self.set_assignment(BTreeMap::new());
            }
            self.keep(&joined.partitions);
            for partition in joined.partitions {
                self.assigned.entry(partition).or_insert_with(|| Progress::starting(Position::Committed));
            }
        }
        Ok(())
    }

    /// Gives up all partitions but these. What of them is not returned yet will be fetched by whoever gets them.
    fn keep(&mut self, staying: &[TopicPartition]) {
        let is_staying = |partition: &TopicPartition| staying.contains(partition);
        self.assigned.retain(|partition, _| is_staying(partition));
        if self.assigned.is_empty() {
            return self.set_assignment(BTreeMap::new());
        }
        let assigned = &self.assigned;
        self.buffer.retain(|record| {
            let (topic, partition) = (record.topic.clone(), record.partition);
            assigned.contains_key(&TopicPartition { topic, partition })
        });
    }

    fn set_assignment(&mut self, assigned: BTreeMap<TopicPartition, Progress>) {
        self.assigned = assigned;
        self.assignment += 1;
        self.buffer.clear();
    }

    async fn resolve_positions(&mut self) -> Result<()> {
        let open: Vec<_> = self
            .assigned
            .iter()
            .filter_map(|(partition, progress)| progress.unresolved().map(|from| (partition.clone(), from)))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let group = self.config.group.as_deref();
        for (partition, offset) in positions::resolve(&self.client, &self.config, group, &open).await? {
            if let Some(progress) = self.assigned.get_mut(&partition) {
                progress.resolve(offset);
            }
        }
        Ok(())
    }

    /// Starts a fetch from each leader that has none under way and leads something to fetch.
    async fn start_fetches(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut by_leader = BTreeMap::<NodeId, Vec<Wanted>>::new();
        for (partition, progress) in &mut self.assigned {
            let Some(offset) = progress.fetchable(now, PREFETCHED_RECORDS) else { continue };
            let (topic_id, metadata) =
                match self.client.partition(&partition.topic, partition.partition).await {
                    Ok(found) => found,
                    Err(error) if error.is_retriable() => {
                        warn!(%error, %partition, "no metadata; trying again");
                        progress.pause_until(now + ERROR_BACKOFF);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
            if metadata.leader == NodeId::NONE {
                self.client.forget_topic(&partition.topic);
                progress.pause_until(now + ERROR_BACKOFF);
                continue;
            }
            if !self.busy.contains(&metadata.leader) {
                let leader_epoch = metadata.leader_epoch;
                let wanted = Wanted { partition: partition.clone(), topic_id, offset, leader_epoch };
                by_leader.entry(metadata.leader).or_default().push(wanted);
            }
        }
        for (leader, mut wanted) in by_leader {
            self.rotation = self.rotation.wrapping_add(1);
            let start = self.rotation % wanted.len();
            wanted.rotate_left(start);
            self.busy.insert(leader);
            let (client, config, assignment) =
                (self.fetching.clone(), Arc::clone(&self.config), self.assignment);
            self.fetches.spawn(async move {
                let partitions = wanted.iter().map(|it| it.partition.clone()).collect();
                (leader, assignment, partitions, fetch(client, leader, wanted, config).await)
            });
        }
        Ok(())
    }

    /// Takes over what a fetch has brought.
    fn absorb(&mut self, (leader, assignment, asked, result): FetchOutcome) -> Result<()> {
        self.busy.remove(&leader);
        if assignment != self.assignment {
            return Ok(());
        }
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(error) => {
                for partition in &asked {
                    self.hold(partition, &error);
                }
                let passes = error.is_retriable() || error.code() == Some(ErrorCode::BrokerNotAvailable);
                return if passes { Ok(()) } else { Err(error) };
            }
        };
        for Fetched { partition, from, result } in fetched {
            let Some(progress) = self.assigned.get_mut(&partition) else { continue };
            if progress.next_fetch() != Some(from) {
                continue;
            }
            match result {
                Ok(chunk) => {
                    progress.fetched(chunk.records.len(), chunk.next_offset, chunk.high_watermark);
                    self.buffer.extend(chunk.records);
                }
                Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                    let Some(from) = positions::reset(self.config.reset) else { return Err(error) };
                    warn!(%partition, "{error}: going on at the {from:?} record");
                    progress.restart(from);
                }
                Err(error) if error.is_retriable() => self.hold(&partition, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// After an error that passes: looks for the leader anew, a little later.
    fn hold(&mut self, partition: &TopicPartition, error: &ClientError) {
        debug!(%error, %partition, "fetching again later");
        self.client.forget_topic(&partition.topic);
        if let Some(progress) = self.assigned.get_mut(partition) {
            progress.pause_until(Instant::now() + ERROR_BACKOFF);
        }
    }

    fn take(&mut self, max_records: usize) -> Vec<ReceivedRecord> {
        let count = self.buffer.len().min(max_records);
        let records: Vec<_> = self.buffer.drain(..count).collect();
        for record in &records {
            // The buffer has no records of partitions that were given up.
            let partition = TopicPartition { topic: record.topic.clone(), partition: record.partition };
            if let Some(progress) = self.assigned.get_mut(&partition) {
                progress.consumed(record.offset, record.leader_epoch);
            }
        }
        records
    }
}
