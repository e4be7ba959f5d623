//! Where the dirty part of a log lies, and whether it should be cleaned (`LogCleanerManager.cleanableOffsets`,
//! `LogToClean`).

use ottla_types::Offset;

use crate::log::segment::Segment;
use crate::log::{Log, LogError};

/// What there is to clean in a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirtiness {
    /// The dirty part begins here.
    pub first_dirty: Offset,
    /// It ends before this offset, the base of a segment.
    pub first_uncleanable: Offset,
    /// Bytes of the clean part.
    pub clean_bytes: u64,
    /// Bytes of the dirty part.
    pub dirty_bytes: u64,
    /// For how long `max.compaction.lag.ms` has been exceeded; 0 when it is not.
    pub overdue_ms: i64,
    /// Whether the checkpoint does not fit the log, so that [`Dirtiness::first_dirty`] belongs there.
    pub resets_checkpoint: bool,
}

impl Dirtiness {
    /// The dirty part of what can be clean, 0 to 1.
    #[expect(clippy::cast_precision_loss)]
    pub fn ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            total => self.dirty_bytes as f64 / total as f64,
        }
    }

    /// Whether to clean, with `min.cleanable.dirty.ratio`.
    pub fn is_due(&self, min_ratio: f64) -> bool {
        (self.overdue_ms > 0 && self.dirty_bytes > 0) || self.ratio() > min_ratio
    }
}

impl Log {
    /// What there is to clean; `checkpoint` is the log's entry in `cleaner-offset-checkpoint`. Reads from the disk only where
    /// a compaction lag is configured.
    ///
    /// # Errors
    /// The disk.
    pub fn dirtiness(&self, checkpoint: Option<Offset>, now_ms: i64) -> Result<Dirtiness, LogError> {
        let valid = checkpoint.is_none_or(|at| at >= self.log_start && at <= self.log_end);
        let first_dirty = checkpoint.filter(|_| valid).unwrap_or(self.log_start);
        let active = self.active().base;
        let mut end = self.last_stable_offset().min(active);
        let lag_ms = self.config.min_compaction_lag_ms;
        if lag_ms > 0
            && let Some(young) = self.first_younger(first_dirty, now_ms.saturating_sub(lag_ms))?
        {
            end = end.min(young);
        }
        let end = end.max(first_dirty);
        // A segment is cleaned whole or not at all.
        let first_uncleanable = self.inactive_from(end).next().map_or(active, |segment| segment.base);
        let bytes = |segments: &[Segment]| segments.iter().map(|segment| u64::from(segment.size)).sum();
        Ok(Dirtiness {
            first_dirty,
            first_uncleanable,
            clean_bytes: bytes(self.segments_between(Offset::NONE, first_dirty)),
            dirty_bytes: bytes(self.segments_between(first_dirty.min(first_uncleanable), first_uncleanable)),
            overdue_ms: self.overdue_ms(first_dirty, now_ms)?,
            resets_checkpoint: !valid,
        })
    }

    /// Base of the first dirty segment with a record younger than `limit_ms`.
    fn first_younger(&self, first_dirty: Offset, limit_ms: i64) -> Result<Option<Offset>, LogError> {
        for segment in self.inactive_from(first_dirty) {
            if segment.largest_timestamp(self.fs.as_ref())? > limit_ms {
                return Ok(Some(segment.base));
            }
        }
        Ok(None)
    }

    fn overdue_ms(&self, first_dirty: Offset, now_ms: i64) -> Result<i64, LogError> {
        let lag_ms = self.config.max_compaction_lag_ms.max(0);
        let limit_ms = now_ms.saturating_sub(lag_ms);
        if limit_ms <= 0 {
            return Ok(0);
        }
        let mut earliest = i64::MAX;
        for segment in self.inactive_from(first_dirty) {
            if let Some(first) = segment.first_batch_timestamp(self.fs.as_ref())?.filter(|first| *first > 0) {
                earliest = earliest.min(first);
            }
        }
        Ok(limit_ms.saturating_sub(earliest).max(0))
    }

    /// The segments, without the active one, that hold `from` or lie above it (`nonActiveLogSegmentsFrom`).
    fn inactive_from(&self, from: Offset) -> impl Iterator<Item = &Segment> {
        let active = self.active().base;
        let to = if from > active { from } else { active };
        self.segments_between(from, to).iter().filter(move |segment| segment.base < active && from <= active)
    }

    /// The segments that overlap `[from, to)` (`LogSegments.values`).
    pub(super) fn segments_between(&self, from: Offset, to: Offset) -> &[Segment] {
        if from >= to {
            return &[];
        }
        let start = self.floor_segment(from).unwrap_or(0);
        let end = self.segments.partition_point(|segment| segment.base < to);
        self.segments.get(start..end).unwrap_or_default()
    }
}
