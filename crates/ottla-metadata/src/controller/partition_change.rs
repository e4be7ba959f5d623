//! Every change of a partition goes through here: from target ISR, replicas and reassignment to one change record, or none
//! (`PartitionChangeBuilder`).

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::PartitionChangeRecord;
use ottla_types::{NodeId, PartitionIndex, Uuid};

use crate::features::MetadataVersion;
use crate::image::{LEADER_UNCHANGED, LeaderRecovery, NO_LEADER, Partition, RECOVERY_UNCHANGED, ids};
use crate::record::VersionedRecord;

/// Which leaders are to be preferred, or allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica, if it may lead.
    Preferred,
    /// The present leader, if it may stay.
    #[default]
    Online,
    /// As online, but rather a replica outside the ISR than none.
    Unclean,
}

/// What the builder asks about the cluster.
pub(super) struct Rules<'a> {
    pub(super) version: MetadataVersion,
    pub(super) elr_enabled: bool,
    /// `min.insync.replicas`, at most the replication factor.
    pub(super) min_isr: usize,
    /// Whether a broker may lead this partition: active, and with the partition's directory online.
    pub(super) may_lead: &'a dyn Fn(NodeId) -> bool,
    /// Directory to record for a broker's new replica.
    pub(super) default_dir: &'a dyn Fn(NodeId) -> Uuid,
}

/// A change in the making: set the targets, then [`PartitionChange::build`].
pub(super) struct PartitionChange<'a> {
    partition: &'a Partition,
    topic_id: Uuid,
    index: PartitionIndex,
    rules: Rules<'a>,
    pub(super) election: Election,
    pub(super) isr: Vec<NodeId>,
    pub(super) replicas: Vec<NodeId>,
    pub(super) removing: Vec<NodeId>,
    pub(super) adding: Vec<NodeId>,
    pub(super) recovery: LeaderRecovery,
    /// Replicas that stopped without flushing: they may have lost committed records.
    pub(super) unclean_shutdown: Vec<NodeId>,
    /// Directories by broker, where they are not to stay as they are.
    pub(super) directories: BTreeMap<NodeId, Uuid>,
    elr: Vec<NodeId>,
}

impl<'a> PartitionChange<'a> {
    /// Nothing changes yet.
    pub(super) fn new(
        partition: &'a Partition,
        topic_id: Uuid,
        index: PartitionIndex,
        rules: Rules<'a>,
    ) -> Self {
        let directories =
            partition.replicas.iter().copied().zip(partition.directories.iter().copied()).collect();
        Self {
            partition,
            topic_id,
            index,
            rules,
            election: Election::Online,
            isr: partition.isr.clone(),
            replicas: partition.replicas.clone(),
            removing: partition.removing.clone(),
            adding: partition.adding.clone(),
            recovery: partition.recovery,
            unclean_shutdown: Vec::new(),
            directories,
            elr: partition.elr.clone(),
        }
    }

    /// The record, or nothing when nothing changes.
    pub(super) fn build(mut self) -> Option<VersionedRecord> {
        let mut record = PartitionChangeRecord {
            topic_id: self.topic_id,
            partition_id: self.index,
            ..PartitionChangeRecord::default()
        };
        self.complete_reassignment();
        self.update_elr();
        self.elect(&mut record);
        self.bump_epoch_when_a_replica_leaves(&mut record);
        self.record_elr(&mut record);
        self.record_isr(&mut record);
        self.bump_epoch_on_isr_shrink(&mut record);
        self.record_last_known_leader(&mut record);
        self.record_assignment(&mut record);
        if self.recovery != self.partition.recovery {
            record.leader_recovery_state = self.recovery.id();
        }
        (!is_no_op(&record))
            .then(|| VersionedRecord::new(record, self.rules.version.partition_record_version()))
    }

    /// Ends a reassignment once the ISR allows: it holds all added replicas and keeps somebody without the removed ones.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let without_removed = |list: &[NodeId]| -> Vec<_> {
            list.iter().filter(|id| !self.removing.contains(id)).copied().collect()
        };
        let (isr, replicas) = (without_removed(&self.isr), without_removed(&self.replicas));
        if !self.removing.is_empty() && (isr.is_empty() || replicas.is_empty()) {
            return;
        }
        if !self.adding.iter().all(|id| isr.contains(id)) {
            return;
        }
        if self.adding.len() < self.removing.len() && !replicas.iter().all(|id| isr.contains(id)) {
            return;
        }
        (self.isr, self.replicas) = (isr, replicas);
        self.removing.clear();
        self.adding.clear();
    }

    /// Below `min.insync.replicas` who leaves the ISR stays eligible, unless it stopped uncleanly (KIP-966).
    fn update_elr(&mut self) {
        if !self.rules.elr_enabled {
            return;
        }
        if self.isr.len() >= self.rules.min_isr {
            self.elr.clear();
            return;
        }
        let candidates: BTreeSet<_> = self.elr.iter().chain(&self.partition.isr).copied().collect();
        self.elr = candidates
            .into_iter()
            .filter(|id| !self.isr.contains(id) && !self.unclean_shutdown.contains(id))
            .collect();
    }

    fn is_valid(&self, id: NodeId) -> bool {
        let in_sync = self.isr.contains(&id) || (self.isr.is_empty() && self.elr.contains(&id));
        in_sync && (self.rules.may_lead)(id)
    }

    /// The leader to be, and whether it may lack committed records.
    fn choose(&self) -> (NodeId, bool) {
        let preferred = self.replicas.first().filter(|_| self.election == Election::Preferred);
        let in_order = preferred.into_iter().chain([&self.partition.leader]).chain(&self.replicas);
        if let Some(leader) = in_order.copied().find(|id| self.is_valid(*id)) {
            return (leader, false);
        }
        if let Some(last) = self.last_known_leader() {
            return (last, true);
        }
        if self.election == Election::Unclean
            && let Some(any) = self.replicas.iter().copied().find(|id| (self.rules.may_lead)(*id))
        {
            return (any, true);
        }
        (NO_LEADER, false)
    }

    fn last_known_leader(&self) -> Option<NodeId> {
        let alone = self.rules.elr_enabled && self.elr.is_empty() && self.isr.is_empty();
        match self.partition.last_known_elr.as_slice() {
            [only] if alone && (self.rules.may_lead)(*only) => Some(*only),
            _ => None,
        }
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let (leader, unclean) = self.choose();
        if leader == self.partition.leader {
            return;
        }
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|id| *id != leader);
        }
        record.leader = leader.0;
        if unclean {
            record.isr = Some(vec![leader.0]);
            if self.partition.recovery != LeaderRecovery::Recovering {
                record.leader_recovery_state = LeaderRecovery::Recovering.id();
            }
        }
    }

    /// Fetches of a replica that is gone must be refused.
    fn bump_epoch_when_a_replica_leaves(&self, record: &mut PartitionChangeRecord) {
        let left = self.partition.replicas.iter().any(|id| !self.replicas.contains(id));
        if record.leader == LEADER_UNCHANGED && left {
            record.leader = self.partition.leader.0;
        }
    }

    fn record_elr(&mut self, record: &mut PartitionChangeRecord) {
        let is_clean = record.isr.is_none();
        if !is_clean || !self.rules.elr_enabled {
            self.elr.clear();
        }
        if self.elr != self.partition.elr {
            record.eligible_leader_replicas = Some(ids(&self.elr));
        }
    }

    /// The last member stays in the ISR, except with eligible leader replicas.
    fn record_isr(&self, record: &mut PartitionChangeRecord) {
        let may_be_empty = self.rules.elr_enabled;
        if record.isr.is_none() && (!self.isr.is_empty() || may_be_empty) && self.isr != self.partition.isr {
            record.isr = Some(ids(&self.isr));
        }
    }

    fn bump_epoch_on_isr_shrink(&self, record: &mut PartitionChangeRecord) {
        if !self.rules.version.bumps_leader_epoch_on_isr_shrink() || record.leader != LEADER_UNCHANGED {
            return;
        }
        if let Some(isr) = &record.isr
            && self.partition.isr.iter().any(|id| !isr.contains(&id.0))
        {
            record.leader = self.partition.leader.0;
        }
    }

    fn record_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.rules.elr_enabled {
            return;
        }
        if record.leader == NO_LEADER.0 && self.partition.last_known_elr.is_empty() {
            record.last_known_elr = Some(vec![self.partition.leader.0]);
        } else if record.leader >= 0 && !self.partition.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn record_assignment(&self, record: &mut PartitionChangeRecord) {
        if !self.replicas.is_empty() {
            if self.rules.version.has_directory_assignment() {
                let directory = |id: &NodeId| {
                    self.directories.get(id).copied().unwrap_or_else(|| (self.rules.default_dir)(*id))
                };
                let directories: Vec<_> = self.replicas.iter().map(directory).collect();
                if directories != self.partition.directories {
                    record.directories = Some(directories);
                }
            }
            if self.replicas != self.partition.replicas {
                record.replicas = Some(ids(&self.replicas));
            }
        }
        if self.removing != self.partition.removing {
            record.removing_replicas = Some(ids(&self.removing));
        }
        if self.adding != self.partition.adding {
            record.adding_replicas = Some(ids(&self.adding));
        }
    }
}

fn is_no_op(record: &PartitionChangeRecord) -> bool {
    record.isr.is_none()
        && record.eligible_leader_replicas.is_none()
        && record.last_known_elr.is_none()
        && record.leader == LEADER_UNCHANGED
        && record.replicas.is_none()
        && record.removing_replicas.is_none()
        && record.adding_replicas.is_none()
        && record.leader_recovery_state == RECOVERY_UNCHANGED
        && record.directories.is_none()
}
