//! `.timeindex`: sparse map from timestamp to offset. 12-byte entries, i64 timestamp and i32 relative offset, timestamps
//! strictly increasing (`TimeIndex`). An entry says: no batch up to this offset has a larger timestamp.
//!
//! As with the offset index, memory holds the last entry and those not yet written.

use std::io;

use ottla_types::{NO_TIMESTAMP, Offset, TimestampMs};

use super::offset_index::partition_point;
use crate::fs::FsFile;

/// Bytes of an entry.
pub(crate) const ENTRY_LEN: u64 = 12;

/// A timestamp, and the last offset of the first batch that has it as its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampOffset {
    pub(crate) timestamp: TimestampMs,
    pub(crate) offset: Offset,
}

/// The part of a time index that is in memory.
#[derive(Debug)]
pub(crate) struct TimeIndex {
    base: Offset,
    written: u64,
    pending: Vec<TimestampOffset>,
    /// The last entry; (-1, base) when there is none.
    last: TimestampOffset,
}

impl TimeIndex {
    /// The index of a new segment.
    pub(crate) fn empty(base: Offset) -> Self {
        let last = TimestampOffset { timestamp: NO_TIMESTAMP, offset: base };
        Self { base, written: 0, pending: Vec::new(), last }
    }

    /// Finds the last entry of an existing file, ignoring a tail of zeros.
    pub(crate) fn open(base: Offset, file: &dyn FsFile) -> io::Result<Self> {
        let mut index = Self::empty(base);
        let slots = file.len()? / ENTRY_LEN;
        if slots == 0 {
            return Ok(index);
        }
        index.written = slots;
        if slots > 1 && index.is_zero(file, slots - 1)? {
            // The first entry may be all zeros in earnest: timestamp 0 in the segment's first record.
            index.written = 1 + partition_point(slots - 1, |slot| Ok(!index.is_zero(file, slot + 1)?))?;
        }
        if index.written == 1 && index.is_zero(file, 0)? && slots > 1 {
            index.written = 0;
        }
        if let Some(last) = index.written.checked_sub(1) {
            index.last = index.slot(file, last)?.unwrap_or(index.last);
        }
        Ok(index)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// One slot is kept for the entry that is added when the segment is rolled or closed.
    pub(crate) fn is_full(&self, max_bytes: u32) -> bool {
        self.entries() + 1 >= u64::from(max_bytes) / ENTRY_LEN
    }

    /// The last entry; timestamp -1 and the base offset when there is none.
    pub(crate) fn last(&self) -> TimestampOffset {
        self.last
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Adds an entry if its timestamp is larger than the last one.
    pub(crate) fn maybe_append(&mut self, entry: TimestampOffset) {
        let relative = entry.offset - self.base;
        if entry.timestamp > self.last.timestamp
            && entry.offset >= self.last.offset
            && relative <= i64::from(i32::MAX)
        {
            self.pending.push(entry);
            self.last = entry;
        }
    }

    /// Writes pending entries.
    pub(crate) fn write(&mut self, file: &dyn FsFile) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.pending.len() * ENTRY_LEN as usize);
        for entry in &self.pending {
            let relative = i32::try_from(entry.offset - self.base).expect("checked when appended");
            bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
            bytes.extend_from_slice(&relative.to_be_bytes());
        }
        file.write_at(&bytes, self.written * ENTRY_LEN)?;
        self.written += self.pending.len() as u64;
        self.pending = Vec::new();
        Ok(())
    }

    /// Cuts the file to the entries.
    pub(crate) fn trim(&self, file: &dyn FsFile) -> io::Result<()> {
        file.set_len(self.written * ENTRY_LEN)
    }

    /// Drops entries whose offset is at or above `offset`.
    pub(crate) fn truncate(&mut self, file: &dyn FsFile, offset: Offset) -> io::Result<()> {
        self.pending.retain(|entry| entry.offset < offset);
        if let Some(last) = self.pending.last() {
            self.last = *last;
            return self.trim(file);
        }
        self.written = partition_point(self.written, |slot| {
            Ok(self.slot(file, slot)?.is_some_and(|entry| entry.offset < offset))
        })?;
        self.last = TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base };
        if let Some(last) = self.written.checked_sub(1) {
            self.last = self.slot(file, last)?.unwrap_or(self.last);
        }
        self.trim(file)
    }

    /// The greatest entry whose timestamp is at or below `timestamp`; timestamp -1 and the base offset when there is
    /// none.
    pub(crate) fn lookup(&self, file: &dyn FsFile, timestamp: TimestampMs) -> io::Result<TimestampOffset> {
        let none = TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base };
        if self.entries() > 0 && self.last.timestamp <= timestamp {
            return Ok(self.last);
        }
        if self.pending.first().is_some_and(|first| first.timestamp <= timestamp) {
            let after = self.pending.partition_point(|entry| entry.timestamp <= timestamp);
            return Ok(after.checked_sub(1).and_then(|at| self.pending.get(at)).copied().unwrap_or(none));
        }
        let after = partition_point(self.written, |slot| {
            Ok(self.slot(file, slot)?.is_some_and(|entry| entry.timestamp <= timestamp))
        })?;
        match after.checked_sub(1) {
            Some(at) => Ok(self.slot(file, at)?.unwrap_or(none)),
            None => Ok(none),
        }
    }

    fn slot(&self, file: &dyn FsFile, slot: u64) -> io::Result<Option<TimestampOffset>> {
        let mut bytes = [0; ENTRY_LEN as usize];
        if file.read_at(&mut bytes, slot * ENTRY_LEN)? < bytes.len() {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let relative = i32::from_be_bytes([i, j, k, l]);
        Ok(Some(TimestampOffset {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: self.base + i64::from(relative),
        }))
    }

    fn is_zero(&self, file: &dyn FsFile, slot: u64) -> io::Result<bool> {
        let zero = TimestampOffset { timestamp: 0, offset: self.base };
        Ok(self.slot(file, slot)?.is_none_or(|entry| entry == zero))
    }
}
