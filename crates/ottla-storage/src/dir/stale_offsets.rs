//! Checkpoint entries that outlived their log.
//!
//! A checkpoint is written now and then, so after a log is gone its offsets are still in the files for a while. A new log of
//! the same name must not be opened with them after a crash: it would be trusted where nobody has checked it, or cut off at
//! a start it never had. So each directory remembers whose entries may be stale, and a log is created only after
//! they are out of the files.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla_types::TopicPartition;

use super::log_dir::Checkpoint;

/// Partitions whose logs have left a directory, with the checkpoints that may still name them, as a set of bits.
#[derive(Debug, Default)]
pub(super) struct StaleOffsets {
    partitions: Mutex<BTreeMap<TopicPartition, u8>>,
}

impl StaleOffsets {
    /// Notes that the log is gone.
    pub(super) fn add(&self, partition: &TopicPartition) {
        let every = Checkpoint::ALL.iter().fold(0, |bits, which| bits | bit(*which));
        self.partitions().insert(partition.clone(), every);
    }

    /// Whose entries may be stale now. A checkpoint collected after this call does not have them.
    pub(super) fn partitions_now(&self) -> Vec<TopicPartition> {
        self.partitions().keys().cloned().collect()
    }

    /// Notes that a checkpoint was written without them.
    pub(super) fn written_without(&self, gone: &[TopicPartition], which: Checkpoint) {
        let mut partitions = self.partitions();
        for partition in gone {
            if let Some(bits) = partitions.get_mut(partition) {
                *bits &= !bit(which);
                if *bits == 0 {
                    partitions.remove(partition);
                }
            }
        }
    }

    /// The checkpoints that may name a partition whose log is gone.
    pub(super) fn checkpoints_of(&self, partition: &TopicPartition) -> Vec<Checkpoint> {
        let bits = self.partitions().get(partition).copied().unwrap_or(0);
        Checkpoint::ALL.into_iter().filter(|which| bits & bit(*which) != 0).collect()
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, u8>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bit(which: Checkpoint) -> u8 {
    1 << which as u8
}
