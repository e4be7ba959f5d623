//! State of one partition, and how a change record alters it (`PartitionRegistration`).

use ottla_protocol::messages::{PartitionChangeRecord, PartitionRecord};
use ottla_types::{LeaderEpoch, NodeId, PartitionIndex, Uuid};

use crate::features::MetadataVersion;
use crate::record::VersionedRecord;
use crate::{ReplayError, UnwritableError};

/// Leader of a partition that has none.
pub const NO_LEADER: NodeId = NodeId(-1);
/// Value of a change record's leader field that leaves leader and leader epoch as they are.
pub const LEADER_UNCHANGED: i32 = -2;
/// Value of a change record's recovery field that leaves it as it is.
pub const RECOVERY_UNCHANGED: i8 = -1;

/// Whether the leader came from a clean election, or still has to repair its log after an unclean one (KIP-704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecovery {
    /// Clean.
    #[default]
    Recovered,
    /// Elected outside the ISR, and not yet done with its recovery.
    Recovering,
}

impl LeaderRecovery {
    /// By its number in records and requests.
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }

    /// Its number in records and requests.
    pub const fn id(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }
}

/// A partition: replicas with their directories, in-sync and eligible ones, leader and epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Brokers that hold a replica; the first is the preferred leader.
    pub replicas: Vec<NodeId>,
    /// Log directory of each replica, in the same order.
    pub directories: Vec<Uuid>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment takes away.
    pub removing: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// Eligible leader replicas: out of the ISR, but complete up to the high watermark (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last leader while there is none.
    pub last_known_elr: Vec<NodeId>,
    /// Leader, or [`NO_LEADER`].
    pub leader: NodeId,
    /// Whether the leader still recovers from an unclean election.
    pub recovery: LeaderRecovery,
    /// Grows when leadership is decided anew.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub partition_epoch: i32,
}

impl Partition {
    /// A new partition as topic and partition creation make it: led by the first of `isr`.
    pub(crate) fn new(replicas: Vec<NodeId>, directories: Vec<Uuid>, isr: Vec<NodeId>) -> Self {
        debug_assert!(replicas.len() == directories.len() && !isr.is_empty());
        Self {
            leader: isr.first().copied().unwrap_or(NO_LEADER),
            replicas,
            directories,
            isr,
            removing: Vec::new(),
            adding: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            recovery: LeaderRecovery::Recovered,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
        }
    }

    /// The state that a partition record describes.
    ///
    /// # Errors
    /// When its fields contradict each other.
    pub fn from_record(record: &PartitionRecord) -> Result<Self, ReplayError> {
        let replicas = nodes(&record.replicas);
        if !record.directories.is_empty() && record.directories.len() != replicas.len() {
            return Err(mismatched_directories(record.topic_id, record.partition_id));
        }
        Ok(Self {
            directories: or_migrating(record.directories.clone(), replicas.len()),
            replicas,
            isr: nodes(&record.isr),
            removing: nodes(&record.removing_replicas),
            adding: nodes(&record.adding_replicas),
            elr: record.eligible_leader_replicas.as_deref().map_or_else(Vec::new, nodes),
            last_known_elr: record.last_known_elr.as_deref().map_or_else(Vec::new, nodes),
            leader: NodeId(record.leader),
            recovery: recovery(record.leader_recovery_state)?,
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
        })
    }

    /// The state after a change record. The partition epoch always grows; the leader epoch grows exactly when the record
    /// has a leader, even the present one.
    ///
    /// # Errors
    /// When the record does not fit the state.
    pub fn merge(&self, record: &PartitionChangeRecord) -> Result<Self, ReplayError> {
        let mut next = self.clone();
        if let Some(replicas) = &record.replicas {
            next.replicas = nodes(replicas);
        }
        next.directories = match &record.directories {
            Some(directories) if !directories.is_empty() => directories.clone(),
            Some(_) => Vec::new(),
            // Kafka always writes directories along with new replicas; whoever did not keeps those that stay.
            None if record.replicas.is_some() => {
                next.replicas.iter().map(|id| self.directory(*id).unwrap_or(Uuid::DIR_MIGRATING)).collect()
            }
            None => next.directories,
        };
        next.directories = or_migrating(next.directories, next.replicas.len());
        if next.directories.len() != next.replicas.len() {
            return Err(mismatched_directories(record.topic_id, record.partition_id));
        }
        let set = |list: &mut Vec<NodeId>, change: &Option<Vec<i32>>| {
            if let Some(ids) = change {
                *list = nodes(ids);
            }
        };
        set(&mut next.isr, &record.isr);
        set(&mut next.removing, &record.removing_replicas);
        set(&mut next.adding, &record.adding_replicas);
        set(&mut next.elr, &record.eligible_leader_replicas);
        set(&mut next.last_known_elr, &record.last_known_elr);
        if record.leader != LEADER_UNCHANGED {
            next.leader = NodeId(record.leader);
            next.leader_epoch = self.leader_epoch.next();
        }
        if record.leader_recovery_state != RECOVERY_UNCHANGED {
            next.recovery = recovery(record.leader_recovery_state)?;
        }
        next.partition_epoch = self.partition_epoch.wrapping_add(1);
        Ok(next)
    }

    /// The record that restores this state in a snapshot.
    ///
    /// # Errors
    /// When `version` cannot hold it.
    pub fn to_record(
        &self,
        topic_id: Uuid,
        partition_id: PartitionIndex,
        version: MetadataVersion,
        with_elr: bool,
    ) -> Result<VersionedRecord, UnwritableError> {
        let mut record = PartitionRecord {
            partition_id,
            topic_id,
            replicas: ids(&self.replicas),
            isr: ids(&self.isr),
            removing_replicas: ids(&self.removing),
            adding_replicas: ids(&self.adding),
            leader: self.leader.0,
            leader_recovery_state: self.recovery.id(),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            ..PartitionRecord::default()
        };
        if with_elr {
            record.eligible_leader_replicas = (!self.elr.is_empty()).then(|| ids(&self.elr));
            record.last_known_elr = (!self.last_known_elr.is_empty()).then(|| ids(&self.last_known_elr));
        }
        if version.has_directory_assignment() {
            record.directories.clone_from(&self.directories);
        } else if self.directories.iter().any(|directory| *directory != Uuid::DIR_MIGRATING) {
            return Err(UnwritableError {
                version,
                lost: "the directory assignment state of one or more replicas".to_owned(),
            });
        }
        Ok(VersionedRecord::new(record, version.partition_record_version()))
    }

    /// Whether it has a leader.
    pub fn has_leader(&self) -> bool {
        self.leader != NO_LEADER
    }

    /// Whether its leader is the first replica.
    pub fn has_preferred_leader(&self) -> bool {
        self.leader == self.replicas.first().copied().unwrap_or(NO_LEADER)
    }

    /// Whether a reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Directory of a broker's replica; `None` when it has none here.
    pub fn directory(&self, broker: NodeId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(at).copied()
    }
}

/// Node ids from a record's numbers.
pub(crate) fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// A record's numbers from node ids.
pub(crate) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|id| id.0).collect()
}

fn or_migrating(directories: Vec<Uuid>, replicas: usize) -> Vec<Uuid> {
    if directories.iter().all(|directory| *directory == Uuid::DIR_MIGRATING) {
        vec![Uuid::DIR_MIGRATING; replicas]
    } else {
        directories
    }
}

fn recovery(id: i8) -> Result<LeaderRecovery, ReplayError> {
    LeaderRecovery::from_id(id)
        .ok_or_else(|| ReplayError::Contradiction(format!("unknown leader recovery state {id}")))
}

fn mismatched_directories(topic_id: Uuid, partition: PartitionIndex) -> ReplayError {
    ReplayError::Contradiction(format!(
        "partition {topic_id}:{partition} has another number of directories than replicas"
    ))
}
