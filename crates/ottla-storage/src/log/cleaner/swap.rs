//! Putting a cleaned segment in the place of others (`LocalLog.replaceSegments`), in three steps of which the middle one,
//! which waits for the disk, needs no lock.

use std::sync::Arc;

use ottla_types::{Offset, Sequence};

use super::filter::{LastRecord, LastRecords, StableBatch};
use super::run::{Plan, Source};
use crate::fs::remove_file_if_exists;
use crate::log::producer_state::{BatchMetadata, ProducerEntry};
use crate::log::segment::Segment;
use crate::log::{AbortedTxn, Log, LogError, files};

/// A cleaned segment whose files are named `.swap`, and what it replaces.
#[derive(Debug)]
pub(in crate::log) struct Swap {
    segment: Segment,
    replaced: Vec<Offset>,
}

impl Swap {
    pub(in crate::log) fn segment_mut(&mut self) -> &mut Segment {
        &mut self.segment
    }
}

impl Log {
    /// Takes down what a cleaning up to `first_uncleanable` works on.
    pub(super) fn plan_cleaning(&self, first_uncleanable: Offset) -> Plan {
        let sources = self.segments_between(Offset::ZERO, first_uncleanable).iter().map(|segment| Source {
            base: segment.base,
            size: segment.size,
            modified_ms: segment.modified_ms,
        });
        Plan {
            fs: Arc::clone(&self.fs),
            dir: Arc::clone(&self.dir),
            config: self.config.clone(),
            sources: sources.collect(),
            cuts: self.cuts,
        }
    }

    /// What each active producer wrote last, for batches that must stay (`lastRecordsOfActiveProducers`). Kafka takes the last
    /// one alone, even if a crash can still take that away, and then refuses what the producer sends next.
    pub(super) fn last_records(&self) -> LastRecords {
        let last = |entry: &ProducerEntry| LastRecord {
            last_data: entry.batches.last().map(|batch| batch.last_offset),
            epoch: entry.epoch,
            stable: self.last_stable_batch(entry),
        };
        self.producers.producers().iter().map(|(id, entry)| (*id, last(entry))).collect()
    }

    fn last_stable_batch(&self, entry: &ProducerEntry) -> Option<StableBatch> {
        let is_stable = |batch: &BatchMetadata| batch.last_offset < self.high_watermark;
        let (first, last) = entry.batches.first().zip(entry.batches.last())?;
        if is_stable(last) {
            return None;
        }
        match entry.batches.iter().rfind(|batch| is_stable(batch)) {
            Some(batch) => Some(StableBatch::EndsAt(batch.last_offset)),
            None => match first.first_sequence().value() {
                // It may be its first batch of all, or follow one with the largest sequence.
                0 => Some(StableBatch::Sequence(Sequence(i32::MAX))),
                next => Some(StableBatch::Sequence(Sequence(next.wrapping_sub(1)))),
            },
        }
    }

    /// The transactions that were aborted and touch `[from, upper)` (`collectAbortedTransactions`).
    pub(super) fn aborted_between(&self, from: Offset, upper: Offset) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        for segment in self.segments.iter().skip(self.floor_segment(from).unwrap_or(0)) {
            if segment.collect_aborted(self.fs.as_ref(), from, upper, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// Step one: renames the files of a durable cleaned segment `.swap`, if `replaced` are still what they were when the log
    /// had been cut `cuts` times. `false`: they are not. Step two is to make the renaming durable.
    pub(super) fn begin_swap(
        &mut self,
        mut segment: Segment,
        replaced: Vec<Offset>,
        cuts: u64,
    ) -> Result<bool, LogError> {
        let is_there = |base: &Offset| self.segments.binary_search_by_key(base, |old| old.base).is_ok();
        let reaches_active = replaced.contains(&self.active().base);
        if self.cuts != cuts || reaches_active || !replaced.iter().all(is_there) {
            return Ok(false);
        }
        self.write(|log| {
            // One that an abort has left must not come between.
            log.abandon_swap()?;
            let fs = Arc::clone(&log.fs);
            segment.rename_files(fs.as_ref(), files::SWAP)?;
            log.dir_changes += 1;
            log.swap = Some(Swap { segment, replaced });
            Ok(true)
        })
    }

    /// Step three: the cleaned segment takes the place of the old ones, whose files go after `file.delete.delay.ms`.
    /// `false`: it was abandoned in the meantime, because the log was cut.
    pub(super) fn complete_swap(&mut self, now_ms: i64) -> Result<bool, LogError> {
        let Some(Swap { replaced, .. }) = &self.swap else { return Ok(false) };
        let start = self.segments.partition_point(|old| Some(&old.base) < replaced.first());
        let present = self.segments.iter().skip(start).map(|old| old.base).take(replaced.len());
        if !present.eq(replaced.iter().copied()) {
            // Retention, since the topic is not a compacted one any more.
            self.write(Self::abandon_swap)?;
            return Ok(false);
        }
        let Some(Swap { mut segment, replaced }) = self.swap.take() else { return Ok(false) };
        self.write(|log| {
            let fs = Arc::clone(&log.fs);
            let end = start + replaced.len();
            let old: Vec<Segment> = log.segments.drain(start..end).collect();
            let changes = old.iter().map(|old| old.changes).max().unwrap_or(0);
            for old in old {
                log.discard_files(old.paths(), now_ms)?;
                if old.base != segment.base {
                    log.discard_snapshot(old.base, now_ms)?;
                }
            }
            if replaced.len() > 1 {
                // The others must not come back beside the segment that has what they had.
                log.sync_dir()?;
            }
            segment.rename_files(fs.as_ref(), "")?;
            // A flush that began before does not speak of this segment.
            segment.changes = changes + 1;
            segment.synced_changes = segment.changes;
            log.segments.insert(start, segment);
            log.dir_changes += 1;
            Ok(())
        })?;
        Ok(true)
    }

    /// The log is about to be cut: what was cleaned is not its history any more.
    pub(in crate::log) fn abandon_swap(&mut self) -> Result<(), LogError> {
        if let Some(swap) = self.swap.take() {
            swap.segment.remove_files(self.fs.as_ref())?;
            self.sync_dir()?;
        }
        Ok(())
    }
}

impl Segment {
    /// Renames all files from the present suffix to another, the `.log` file first, on whose name a start goes.
    fn rename_files(&mut self, fs: &dyn crate::fs::Fs, suffix: &'static str) -> Result<(), LogError> {
        let before = self.paths();
        self.suffix = suffix;
        for (from, to) in before.iter().zip(self.paths()) {
            fs.rename(from, &to).map_err(LogError::io("rename", from))?;
        }
        Ok(())
    }

    /// Removes the files, those of a cleaning that came to nothing.
    pub(super) fn remove_files(&self, fs: &dyn crate::fs::Fs) -> Result<(), LogError> {
        for path in self.paths() {
            remove_file_if_exists(fs, &path).map_err(LogError::io("remove", &path))?;
        }
        Ok(())
    }
}
