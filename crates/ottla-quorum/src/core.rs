//! Consensus without I/O: what to write and what is committed follows from what was told.

use std::collections::BTreeMap;

use ottla_types::{LeaderEpoch, NodeId, Offset, TimestampMs, Uuid};

use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MetadataBatch, data_batch, record_bound};
use crate::voters::History;
use crate::{Control, ElectionState, Endpoint, QuorumError, Voter, VoterSet};

/// Space for the header of a batch.
const BATCH_HEADER_BYTES: usize = 61;

/// Who this node is in the quorum.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    /// Its id.
    pub node_id: NodeId,
    /// Id of its metadata log directory.
    pub directory_id: Uuid,
    /// Its controller listeners, as voters and brokers reach them.
    pub endpoints: Vec<Endpoint>,
    /// `controller.quorum.voters`; empty for a dynamic quorum.
    pub static_voters: VoterSet,
}

/// What a node is in the current epoch (`EpochState`).
///
/// Elections among several nodes are not carried out yet: a node that is not the only voter stays unattached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Knows no leader, or must not act as the one it was.
    Unattached,
    /// Has voted for itself.
    Candidate,
    /// Leads.
    Leader {
        /// End of the log when it became leader: what it commits first lies beyond.
        epoch_start: Offset,
        /// Up to where each voter's log is durable.
        durable: BTreeMap<NodeId, Offset>,
    },
}

/// What the driver has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make this the contents of `quorum-state`, durably, before anything after it.
    StoreElection(ElectionState),
    /// Note in the log that this epoch begins at its end.
    BeginEpoch(LeaderEpoch),
    /// Append these batches at the end of the log, and report by [`Quorum::flushed`] when they are durable.
    Append(Vec<u8>),
}

/// Where records were appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record; below the first when there were none.
    pub last_offset: Offset,
}

/// The quorum as one node sees it.
///
/// Made by [`Quorum::new`] from what is stored. [`Quorum::note_batch`] takes every batch of the snapshot and of the log
/// once, before [`Quorum::start`]. A leader's records go through [`Quorum::append`]; [`Quorum::flushed`] moves the high
/// watermark. Whatever is to be done comes back as [`Action`]s; a failed action ends the node's life in the quorum.
#[derive(Clone, Debug)]
pub struct Quorum {
    config: QuorumConfig,
    election: ElectionState,
    role: Role,
    end_offset: Offset,
    high_watermark: Option<Offset>,
    voters: History<VoterSet>,
    kraft_version: History<i16>,
}

impl Quorum {
    /// From the stored election state and the log's end and newest epoch.
    pub fn new(
        config: QuorumConfig,
        stored: Option<ElectionState>,
        end_offset: Offset,
        last_epoch: Option<LeaderEpoch>,
    ) -> Self {
        let stored = stored.unwrap_or_default();
        let last_epoch = last_epoch.unwrap_or(LeaderEpoch(0));
        // The log can be ahead of the file only if the file was lost; the log's epoch was once decided.
        let election = if stored.epoch < last_epoch {
            ElectionState { epoch: last_epoch, leader: None, voted: None }
        } else {
            stored
        };
        Self {
            config,
            election,
            role: Role::Unattached,
            end_offset,
            high_watermark: None,
            voters: History::default(),
            kraft_version: History::default(),
        }
    }

    /// Takes over what the control records of a batch say about voters and version. Batches of a snapshot count as if they
    /// were at the last offset that it covers, given as `at`.
    pub fn note_batch(&mut self, batch: &MetadataBatch, at: Option<Offset>) {
        let mut offset = batch.base_offset;
        for control in batch.controls() {
            let position = at.unwrap_or(offset);
            match control {
                Control::Voters(voters) => self.voters.add(position, voters.clone()),
                Control::KRaftVersion(level) => self.kraft_version.add(position, *level),
                Control::LeaderChange { .. } | Control::SnapshotHeader { .. } | Control::SnapshotFooter => {}
            }
            offset = offset.next();
        }
    }

    /// The voters: the newest set in log or snapshot, else the static ones.
    pub fn voters(&self) -> &VoterSet {
        self.voters.last().map_or(&self.config.static_voters, |(_, voters)| voters)
    }

    /// The voters in effect at `offset`, for the header of a snapshot.
    pub fn voters_at(&self, offset: Offset) -> Option<&VoterSet> {
        self.voters.at(offset)
    }

    /// `kraft.version`: 0 for static voters, 1 for dynamic ones.
    pub fn kraft_version(&self) -> i16 {
        self.kraft_version.last().map_or(0, |(_, level)| *level)
    }

    /// `kraft.version` in effect at `offset`.
    pub fn kraft_version_at(&self, offset: Offset) -> i16 {
        self.kraft_version.at(offset).copied().unwrap_or(0)
    }

    /// Epoch, leader and vote.
    pub fn election(&self) -> &ElectionState {
        &self.election
    }

    /// This node's part in the epoch.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    /// Offset of the next record.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// End of what is committed; `None` while a leader of this epoch has not committed anything yet.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    fn this_voter(&self) -> Voter {
        Voter {
            id: self.config.node_id,
            directory: Some(self.config.directory_id),
            endpoints: self.config.endpoints.clone(),
            min_kraft_version: 0,
            max_kraft_version: 1,
        }
    }

    /// Begins to take part. The only voter elects itself in a new epoch.
    ///
    /// # Errors
    /// When the quorum is dynamic and nothing says who votes.
    pub fn start(&mut self, now_ms: TimestampMs) -> Result<Vec<Action>, QuorumError> {
        let (id, directory) = (self.config.node_id, self.config.directory_id);
        if !self.voters().is_only_voter(id, Some(directory)) {
            if self.voters().is_empty() && self.kraft_version() >= 1 {
                return Err(QuorumError::NoVoters(self.kraft_version()));
            }
            self.role = Role::Unattached;
            return Ok(Vec::new());
        }
        let mut actions = Vec::new();
        self.election = ElectionState {
            epoch: self.election.epoch.next(),
            leader: None,
            voted: Some((id, Some(directory))),
        };
        self.role = Role::Candidate;
        actions.push(Action::StoreElection(self.election.clone()));
        // Its own vote is a majority.
        self.lead(now_ms, &mut actions)?;
        Ok(actions)
    }

    fn lead(&mut self, now_ms: TimestampMs, actions: &mut Vec<Action>) -> Result<(), QuorumError> {
        let id = self.config.node_id;
        self.election = ElectionState { epoch: self.election.epoch, leader: Some(id), voted: None };
        self.role = Role::Leader { epoch_start: self.end_offset, durable: BTreeMap::new() };
        actions.push(Action::StoreElection(self.election.clone()));
        actions.push(Action::BeginEpoch(self.election.epoch));
        let controls = self.epoch_start_records()?;
        let base = self.end_offset;
        let bytes = Control::batch(&controls, base, self.election.epoch, now_ms)
            .map_err(|source| QuorumError::Batch { offset: base, source })?;
        for (offset, control) in (base.0..).zip(controls) {
            match control {
                Control::Voters(voters) => self.voters.add(Offset(offset), voters),
                Control::KRaftVersion(level) => self.kraft_version.add(Offset(offset), level),
                _ => {}
            }
            self.end_offset = Offset(offset).next();
        }
        actions.push(Action::Append(bytes));
        Ok(())
    }

    /// A leader's first batch: who leads, and with dynamic voters the version and the voters if the log has none yet or this
    /// node's endpoints changed (`LeaderState.appendStartOfEpochControlRecords`).
    fn epoch_start_records(&self) -> Result<Vec<Control>, QuorumError> {
        let ids: Vec<_> = self.voters().ids().collect();
        let granting = vec![self.config.node_id];
        let mut controls = vec![Control::LeaderChange { leader: self.config.node_id, voters: ids, granting }];
        let level = self.kraft_version();
        if level >= 1 {
            let (set_at, voters) = self.voters.last().ok_or(QuorumError::NoVoters(level))?;
            let updated = voters.updated(&self.this_voter());
            if set_at < Offset::ZERO || updated.is_some() {
                controls.push(Control::KRaftVersion(level));
                controls.push(Control::Voters(updated.unwrap_or_else(|| voters.clone())));
            }
        }
        Ok(controls)
    }

    /// Turns records into batches at the end of the log: one if `atomic`, else as many as the bounds of a batch ask for.
    ///
    /// # Errors
    /// When this node does not lead, or an atomic append exceeds a batch. Nothing has changed then.
    pub fn append<V: AsRef<[u8]>>(
        &mut self,
        values: &[V],
        atomic: bool,
        now_ms: TimestampMs,
    ) -> Result<(Appended, Vec<Action>), QuorumError> {
        if !self.is_leader() {
            return Err(QuorumError::NotLeader { node: self.config.node_id, epoch: self.election.epoch });
        }
        let base_offset = self.end_offset;
        let mut next = base_offset;
        let mut actions = Vec::new();
        for chunk in chunks(values, atomic)? {
            let bytes = data_batch(chunk, next, self.election.epoch, now_ms)
                .map_err(|source| QuorumError::Batch { offset: next, source })?;
            actions.push(Action::Append(bytes));
            next = Offset(next.0 + i64::try_from(chunk.len()).expect("a batch has few records"));
        }
        self.end_offset = next;
        Ok((Appended { base_offset, last_offset: Offset(next.0 - 1) }, actions))
    }

    /// This node's log is durable below `offset`. Returns the high watermark if it has moved.
    pub fn flushed(&mut self, offset: Offset) -> Option<Offset> {
        let id = self.config.node_id;
        self.voter_durable(id, offset)
    }

    /// The log of a voter is durable below `offset`: its own flush, or the offset of its fetch.
    fn voter_durable(&mut self, id: NodeId, offset: Offset) -> Option<Offset> {
        let voters = self.voters().clone();
        let Role::Leader { epoch_start, durable } = &mut self.role else { return None };
        let known = durable.entry(id).or_insert(offset);
        *known = offset.max(*known);
        let mut ends: Vec<_> =
            voters.ids().map(|id| durable.get(&id).copied().unwrap_or(Offset::ZERO)).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        // The end that a majority has; records of earlier epochs are committed only along with one of this epoch.
        let candidate = ends.get(voters.majority() - 1).copied().filter(|end| end > epoch_start)?;
        if self.high_watermark.is_some_and(|committed| committed >= candidate) {
            return None;
        }
        self.high_watermark = Some(candidate);
        Some(candidate)
    }
}

/// Splits values so that each part fits a batch.
fn chunks<V: AsRef<[u8]>>(values: &[V], atomic: bool) -> Result<Vec<&[V]>, QuorumError> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, BATCH_HEADER_BYTES);
    for (at, value) in values.iter().enumerate() {
        let size = record_bound(value.as_ref());
        let too_large = BATCH_HEADER_BYTES + size > MAX_BATCH_BYTES;
        let full = bytes + size > MAX_BATCH_BYTES || at - start == MAX_BATCH_RECORDS;
        if too_large || (atomic && full) {
            return Err(QuorumError::BatchTooLarge { records: values.len(), bytes: bytes + size });
        }
        if full {
            parts.push(&values[start..at]);
            (start, bytes) = (at, BATCH_HEADER_BYTES);
        }
        bytes += size;
    }
    if start < values.len() {
        parts.push(&values[start..]);
    }
    Ok(parts)
}
