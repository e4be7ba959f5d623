//! Which leader epoch wrote which offsets (`LeaderEpochFileCache`) and its file, `leader-epoch-checkpoint`.
//!
//! The cache is memory only; `epoch_file.rs` writes the file before the recovery point passes the offsets concerned. What a crash
//! loses is read back from the batch headers above it.

use std::fmt::Write as _;

use ottla_types::{LeaderEpoch, Offset};

/// Name of the file in the partition directory.
pub(crate) const FILE_NAME: &str = "leader-epoch-checkpoint";

/// The first offset of a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start: Offset,
}

/// Answer to "where does epoch E end": the largest known epoch that is not above the one asked for, and its exclusive
/// end offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch the answer is about; may be smaller than asked.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end: Offset,
}

/// Epochs of one log, both columns strictly increasing.
#[derive(Clone, Debug, Default)]
pub(crate) struct EpochCache {
    entries: Vec<EpochEntry>,
}

/// The text of a checkpoint.
pub(super) fn format(entries: &[EpochEntry]) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        let _ = writeln!(text, "{} {}", entry.epoch, entry.start);
    }
    text
}

/// The epoch of the record at `offset`.
pub(super) fn epoch_at(entries: &[EpochEntry], offset: Offset) -> Option<LeaderEpoch> {
    let after = entries.partition_point(|entry| entry.start <= offset);
    entries.get(after.checked_sub(1)?).map(|entry| entry.epoch)
}

impl EpochCache {
    /// Reads the checkpoint's text; empty text has no entries.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let Some(version) = lines.next() else { return Ok(Self::default()) };
        if version.trim() != "0" {
            return Err(format!("version {version:?} is not 0"));
        }
        let Some(count) = lines.next() else { return Ok(Self::default()) };
        let count: usize =
            count.trim().parse().map_err(|_| format!("{count:?} is not a number of entries"))?;
        let mut entries: Vec<EpochEntry> = Vec::new();
        for line in lines {
            let mut fields = line.split_whitespace();
            let (Some(epoch), Some(start), None) = (fields.next(), fields.next(), fields.next()) else {
                return Err(format!("malformed line {line:?}"));
            };
            let (Ok(epoch), Ok(start)) = (epoch.parse::<i32>(), start.parse::<i64>()) else {
                return Err(format!("malformed line {line:?}"));
            };
            if epoch < 0 || start < 0 {
                return Err(format!("negative number in {line:?}"));
            }
            entries.push(EpochEntry { epoch: LeaderEpoch(epoch), start: Offset(start) });
        }
        if entries.len() != count {
            return Err(format!("{} entries where {count} were promised", entries.len()));
        }
        // Kafka keeps entries sorted by epoch; entries whose offsets do not grow are of no use to anybody.
        entries.sort_by_key(|entry| entry.epoch);
        entries.dedup_by(|later, earlier| later.start <= earlier.start);
        Ok(Self { entries })
    }

    pub(crate) fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    pub(crate) fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` starts at `start`; entries that contradict it are dropped.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if epoch.value() < 0 || start.value() < 0 {
            return;
        }
        if self.latest().is_some_and(|last| last.epoch == epoch && start >= last.start) {
            return;
        }
        while self.entries.last().is_some_and(|last| last.epoch >= epoch || last.start >= start) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start });
    }

    /// Notes that recovery found a batch of `epoch` from `base` to `last`. Kafka only takes epochs above the latest known one;
    /// here the file may lag behind the log, so whatever contradicts the batch goes. Later epochs need not: what follows
    /// may not be read.
    pub(crate) fn confirm(&mut self, epoch: LeaderEpoch, base: Offset, last: Offset) {
        if epoch.value() < 0 || base.value() < 0 {
            return;
        }
        let next = self.entries.partition_point(|entry| entry.start < base);
        let after = self.entries.partition_point(|entry| entry.start <= last).max(next);
        let before = next.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.epoch);
        let begun_here = [EpochEntry { epoch, start: base }];
        let inside = self.entries.get(next..after).unwrap_or_default();
        if (before == Some(epoch) && inside.is_empty()) || (before != Some(epoch) && inside == begun_here) {
            return;
        }
        let fits = before.is_none_or(|before| before <= epoch)
            && self.entries.get(after).is_none_or(|after| after.epoch >= epoch);
        if fits {
            self.entries.drain(next..after);
            if self.entries.get(next).is_some_and(|entry| entry.epoch == epoch) {
                self.entries.remove(next);
            }
            if before != Some(epoch) {
                self.entries.insert(next, EpochEntry { epoch, start: base });
            }
            return;
        }
        while self.entries.last().is_some_and(|last| last.epoch > epoch || last.start > base) {
            self.entries.pop();
        }
        if self.latest().is_none_or(|last| last.epoch != epoch) {
            while self.entries.last().is_some_and(|last| last.start >= base) {
                self.entries.pop();
            }
            self.entries.push(EpochEntry { epoch, start: base });
        }
    }

    /// Forgets epochs that start at or after `end`.
    pub(crate) fn truncate_from_end(&mut self, end: Offset) {
        while self.entries.pop_if(|last| last.start >= end).is_some() {}
    }

    /// Forgets epochs that ended before `start`; the one that holds `start` now begins there.
    pub(crate) fn truncate_from_start(&mut self, start: Offset) {
        let covered = self.entries.partition_point(|entry| entry.start <= start);
        let Some(keep) = covered.checked_sub(1) else { return };
        self.entries.drain(..keep);
        if let Some(first) = self.entries.first_mut() {
            first.start = start;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The epoch of the record at `offset`.
    pub(crate) fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        epoch_at(&self.entries, offset)
    }

    /// Where `epoch` ends; `None` when it is above all known epochs or negative (`endOffsetFor`).
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if epoch == LeaderEpoch::NONE {
            return None;
        }
        if self.latest().is_some_and(|last| last.epoch == epoch) {
            return Some(EpochEnd { epoch, end: log_end });
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher)?.start;
        let floor = higher.checked_sub(1).and_then(|at| self.entries.get(at));
        Some(EpochEnd { epoch: floor.map_or(epoch, |entry| entry.epoch), end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for &(epoch, start) in entries {
            cache.assign(LeaderEpoch(epoch), Offset(start));
        }
        cache
    }

    fn pairs(cache: &EpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|e| (e.epoch.value(), e.start.value())).collect()
    }

    #[test]
    fn round_trips_kafkas_text() {
        let text = "0\n2\n0 0\n3 17\n";
        let cache = EpochCache::parse(text).unwrap();
        assert_eq!(pairs(&cache), [(0, 0), (3, 17)]);
        assert_eq!(format(cache.entries()), text);
        assert!(EpochCache::parse("").unwrap().entries().is_empty());
        assert!(EpochCache::parse("0").unwrap().entries().is_empty());
    }

    #[test]
    fn refuses_malformed_text() {
        for text in ["1\n0\n", "0\nx\n", "0\n2\n0 0\n", "0\n1\n0\n", "0\n1\n0 -1\n", "0\n1\n0 0 0\n"] {
            assert!(EpochCache::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn assign_drops_what_contradicts() {
        let mut cache = cache(&[(0, 0), (1, 10), (2, 20)]);
        cache.assign(LeaderEpoch(2), Offset(25));
        assert_eq!(pairs(&cache), [(0, 0), (1, 10), (2, 20)]);
        cache.assign(LeaderEpoch(3), Offset(10));
        assert_eq!(pairs(&cache), [(0, 0), (3, 10)]);
        cache.assign(LeaderEpoch(1), Offset(30));
        assert_eq!(pairs(&cache), [(0, 0), (1, 30)]);
    }

    #[test]
    fn truncates_both_ends_as_kafka() {
        let mut entries = cache(&[(1, 5), (2, 10), (4, 20)]);
        entries.truncate_from_end(Offset(20));
        assert_eq!(pairs(&entries), [(1, 5), (2, 10)]);
        entries.truncate_from_start(Offset(12));
        assert_eq!(pairs(&entries), [(2, 12)]);
        entries.truncate_from_start(Offset(11));
        assert_eq!(pairs(&entries), [(2, 12)]);
    }

    #[test]
    fn end_of_epoch_follows_kafkas_cases() {
        let cache = cache(&[(2, 10), (4, 20), (5, 30)]);
        let end =
            |epoch| cache.end_of(LeaderEpoch(epoch), Offset(99)).map(|e| (e.epoch.value(), e.end.value()));
        assert_eq!(end(-1), None);
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(2), Some((2, 20)));
        assert_eq!(end(3), Some((2, 20)));
        assert_eq!(end(5), Some((5, 99)));
        assert_eq!(end(6), None);
    }

    #[test]
    fn recovery_replaces_stale_epochs() {
        // The file still has epoch 5 from before a truncation; the log goes on with epochs 4 and 6.
        let mut stale = cache(&[(3, 0), (5, 100)]);
        stale.confirm(LeaderEpoch(3), Offset(80), Offset(80));
        stale.confirm(LeaderEpoch(4), Offset(85), Offset(85));
        stale.confirm(LeaderEpoch(6), Offset(100), Offset(100));
        assert_eq!(pairs(&stale), [(3, 0), (4, 85), (6, 100)]);
        let mut longer = cache(&[(3, 0), (5, 80)]);
        longer.confirm(LeaderEpoch(3), Offset(85), Offset(85));
        assert_eq!(pairs(&longer), [(3, 0)]);
    }

    #[test]
    fn a_batch_below_the_log_start_does_not_speak_against_later_epochs() {
        let mut moved = cache(&[(3, 30), (5, 80)]);
        moved.confirm(LeaderEpoch(1), Offset(0), Offset(2));
        moved.confirm(LeaderEpoch(3), Offset(10), Offset(10));
        assert_eq!(pairs(&moved), [(1, 0), (3, 10), (5, 80)]);
        let mut same = cache(&[(3, 30), (5, 80)]);
        same.confirm(LeaderEpoch(3), Offset(10), Offset(10));
        assert_eq!(pairs(&same), [(3, 10), (5, 80)]);
        // One that begins inside of a batch is stale.
        let mut inside = cache(&[(3, 0), (5, 90)]);
        inside.confirm(LeaderEpoch(4), Offset(85), Offset(95));
        assert_eq!(pairs(&inside), [(3, 0), (4, 85)]);
    }
}
