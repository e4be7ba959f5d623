//! Starting a new segment (`LocalLog.roll`).

use std::sync::Arc;

use ottla_types::{Offset, SplitMix64};

use super::files;
use super::segment::Segment;
use super::{Log, LogError};
use crate::fs::remove_file_if_exists;

impl Log {
    /// Starts a new segment at the log end.
    ///
    /// # Errors
    /// The disk; the log is poisoned then.
    pub fn roll(&mut self, now_ms: i64) -> Result<Offset, LogError> {
        self.write(|log| {
            log.roll_at(log.log_end, now_ms)?;
            Ok(log.active().base)
        })
    }

    /// Starts a new segment for an append that begins at `first`, which replication may let lie above the log end.
    pub(super) fn roll_at(&mut self, first: Offset, now_ms: i64) -> Result<(), LogError> {
        let base = first.max(self.log_end);
        let fs = self.fs.clone();
        let active = self.active_mut();
        if active.base == base {
            if active.size > 0 {
                let what = format!("a new segment would have the base offset {base} of the present one");
                return Err(LogError::corrupt(&self.dir, what));
            }
            // An empty segment whose index has no room at all; begun anew, as Kafka does (KAFKA-6388).
            active.reset_indexes(fs.as_ref())?;
            return active.seal(fs.as_ref());
        }
        self.settle_journaled()?;
        self.active_mut().seal(fs.as_ref())?;
        self.push_segment(base, now_ms)?;
        // Taken at the segment's base even if that lies above the log end, so that recovery can start at the segment.
        self.producers.map_end = base;
        self.take_snapshot()
    }

    /// Adds an empty active segment.
    pub(super) fn push_segment(&mut self, base: Offset, now_ms: i64) -> Result<(), LogError> {
        let txn_index = files::path(&self.dir, base, files::TXN_INDEX);
        remove_file_if_exists(self.fs.as_ref(), &txn_index).map_err(LogError::io("remove", &txn_index))?;
        let mut segment = Segment::create(self.fs.as_ref(), Arc::clone(&self.dir), base, now_ms)?;
        segment.jitter_ms = self.jitter_ms(base);
        self.segments.push(segment);
        self.dir_changes += 1;
        Ok(())
    }

    /// The part of `segment.jitter.ms` that a segment gets: spread by the seed, the same each time the log is opened with it.
    pub(super) fn jitter_ms(&self, base: Offset) -> i64 {
        let bound = self.config.jitter_bound_ms();
        if bound <= 0 {
            return 0;
        }
        let random = SplitMix64::nth(self.jitter_seed, base.0.cast_unsigned());
        i64::try_from(random % bound.cast_unsigned()).unwrap_or(0)
    }
}
