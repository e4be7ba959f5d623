//! A partition that lies in two directories: a crash between the two renames that end a move, or a disk that failed then and is
//! back, leaves it so. Kafka refuses to start (`LogManager.loadLog`), and recommends to delete the copy on the disk that has failed lately;
//! here the copy that has everything goes on. What one has more than the other was acknowledged after the move, or was cut in the other
//! when the move had failed: the directories do not tell, and nothing that was acknowledged may be lost. What was cut comes
//! back only while nothing was written in its place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ottla_types::{TopicPartition, Uuid};

use super::load::{DirLoad, LoadJob, LoadOutcome, rename_in};
use super::log_dirs::{LogDirs, LogKey};
use super::partition_dir::{PartitionDirKind, partition_dir_name};
use crate::log::{Log, ReadError};

/// Takes the jobs out of the directories' that would open one current log each of the same partition. Run those of a partition
/// together, and give the outcomes to [`LogDirs::settle_twins`].
pub fn take_twins(loads: &mut [DirLoad]) -> Vec<Vec<LoadJob>> {
    let mut counts: BTreeMap<LogKey, usize> = BTreeMap::new();
    for job in loads.iter().flat_map(|load| &load.jobs).filter(|job| !job.key().is_future) {
        *counts.entry(job.key().clone()).or_default() += 1;
    }
    let mut twins: BTreeMap<LogKey, Vec<LoadJob>> = BTreeMap::new();
    for load in loads {
        let is_twin = |job: &mut LoadJob| counts.get(job.key()).is_some_and(|count| *count > 1);
        for job in load.jobs.extract_if(.., is_twin) {
            twins.entry(job.key().clone()).or_default().push(job);
        }
    }
    twins.into_values().collect()
}

impl LogDirs {
    /// Decides between the opened logs of one partition. If one has all that the others have, it takes over their high
    /// watermark and log start, and the others are renamed `-stray`, with `unique` in their names, and kept; of equals the one
    /// in the directory goes on that the metadata says, `assigned`. That one also goes on without what the others have if it is the
    /// newest: it was cut when a leader had another end, and where it was moved from nobody was there to tell. Returns what is to be handed to [`LogDirs::admit`], which
    /// takes `is_stray` too and refuses what was not decided; and the directories set aside.
    pub fn settle_twins(
        &self,
        mut outcomes: Vec<LoadOutcome>,
        is_stray: &dyn Fn(&TopicPartition, Option<Uuid>) -> bool,
        assigned: Option<Uuid>,
        unique: u128,
    ) -> (Vec<LoadOutcome>, Vec<PathBuf>) {
        let is_candidate = |outcome: &mut LoadOutcome| {
            outcome.dir.is_online()
                && outcome
                    .result
                    .as_ref()
                    .is_ok_and(|(log, _)| !is_stray(&outcome.key.partition, log.topic_id()))
        };
        let mut candidates: Vec<LoadOutcome> = outcomes.extract_if(.., is_candidate).collect();
        // The best is the last.
        candidates.sort_by_key(|outcome| {
            let log = outcome.result.as_ref().ok().map(|(log, _)| (log.latest_epoch(), log.log_end_offset()));
            (log, outcome.dir.id() == assigned)
        });
        let Some(mut best) = candidates.pop() else { return (outcomes, Vec::new()) };
        let Ok((log, _)) = &mut best.result else { return (outcomes, Vec::new()) };
        let others = || candidates.iter().filter_map(|other| other.result.as_ref().ok().map(|(log, _)| log));
        let has_all = others().all(|other| has_all_of(log, other));
        let is_assigned = assigned.is_some() && best.dir.id() == assigned;
        let is_newest = is_assigned && others().all(|other| is_newer(log, other));
        if !has_all && !is_newest {
            outcomes.append(&mut candidates);
            outcomes.push(best);
            outcomes.sort_by(|a, b| a.path.cmp(&b.path));
            return (outcomes, Vec::new());
        }
        // What is told of other records does not hold here.
        let others = || others().filter(|_| has_all);
        let high_watermark = others().map(Log::high_watermark).fold(log.high_watermark(), Ord::max);
        let start = others().map(Log::log_start_offset).fold(log.log_start_offset(), Ord::max);
        log.set_high_watermark(high_watermark);
        if let Err(ReadError::Log(failure)) = log.advance_log_start(start.min(log.high_watermark())) {
            best.result = Err(failure);
        }
        outcomes.push(best);
        let aside = candidates.into_iter().filter_map(|other| {
            let LoadOutcome { dir, path, key, result, .. } = other;
            drop(result);
            // Should anything fail, that has taken its directory offline.
            dir.note_loaded().ok()?;
            dir.stale().add(&key.partition);
            rename_in(&dir, &path, &partition_dir_name(&key.partition, PartitionDirKind::Stray, unique)).ok()
        });
        let aside = aside.collect();
        (outcomes, aside)
    }
}

/// Whether another log's history is the beginning of this one's, as far as their epochs tell. What counts of the other are its records: of a
/// crash a last segment may be left that is empty, behind records that are not there.
fn has_all_of(log: &Log, other: &Log) -> bool {
    let end = match other.latest_epoch() {
        None => Some(log.log_end_offset()),
        Some(epoch) => log.end_offset_for_epoch(epoch).filter(|end| end.epoch == epoch).map(|end| end.end),
    };
    log.topic_id().is_some()
        && log.topic_id() == other.topic_id()
        && end.is_some_and(|end| {
            end >= other.log_end_offset() || other.records_end().is_ok_and(|records_end| end >= records_end)
        })
}

/// Whether a log was led in a later epoch than another of the same topic.
fn is_newer(log: &Log, other: &Log) -> bool {
    log.topic_id().is_some()
        && log.topic_id() == other.topic_id()
        && log.latest_epoch() > other.latest_epoch()
}
