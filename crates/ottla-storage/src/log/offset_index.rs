//! `.index`: sparse map from offset to position in the segment file. 8-byte entries, i32 relative offset and i32
//! position, offsets strictly increasing (`OffsetIndex`).
//!
//! Entries live on disk and are searched there; memory holds the last entry and those not yet written. Entries of the
//! active segment may be written late, because recovery rebuilds the index of every segment above the recovery point.

use std::io;

use ottla_types::Offset;

use crate::fs::FsFile;

/// Bytes of an entry.
pub(crate) const ENTRY_LEN: u64 = 8;
/// Unwritten entries that make the log write them.
const MAX_PENDING: usize = 512;

/// Last offset of a batch and where the batch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetPosition {
    pub(crate) offset: Offset,
    pub(crate) position: u32,
}

/// The part of an offset index that is in memory.
#[derive(Clone, Debug)]
pub(crate) struct OffsetIndex {
    base: Offset,
    /// Entries on disk.
    written: u64,
    pending: Vec<OffsetPosition>,
    last: Option<OffsetPosition>,
}

impl OffsetIndex {
    /// The index of a new segment.
    pub(crate) fn empty(base: Offset) -> Self {
        Self { base, written: 0, pending: Vec::new(), last: None }
    }

    /// Finds the last entry of an existing file. Files that Kafka preallocated and never trimmed end in zeros, which
    /// are no entries.
    pub(crate) fn open(base: Offset, file: &dyn FsFile) -> io::Result<Self> {
        let mut index = Self::empty(base);
        let slots = file.len()? / ENTRY_LEN;
        if slots == 0 {
            return Ok(index);
        }
        index.written = slots;
        if index.slot(file, slots - 1)?.is_none() {
            index.written = partition_point(slots, |slot| Ok(index.slot(file, slot)?.is_some()))?;
        }
        if let Some(last) = index.written.checked_sub(1) {
            index.last = index.slot(file, last)?;
        }
        Ok(index)
    }

    /// Entries, written or not.
    pub(crate) fn entries(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    pub(crate) fn is_full(&self, max_bytes: u32) -> bool {
        self.entries() >= u64::from(max_bytes) / ENTRY_LEN
    }

    pub(crate) fn last(&self) -> Option<OffsetPosition> {
        self.last
    }

    pub(crate) fn needs_write(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Adds an entry; offsets must grow. `false` when this one does not (the segment's offsets go backwards).
    #[must_use]
    pub(crate) fn append(&mut self, entry: OffsetPosition) -> bool {
        let relative = entry.offset - self.base;
        if !(0..=i64::from(i32::MAX)).contains(&relative)
            || self.last.is_some_and(|l| l.offset >= entry.offset)
        {
            return false;
        }
        self.pending.push(entry);
        self.last = Some(entry);
        true
    }

    /// Writes pending entries.
    pub(crate) fn write(&mut self, file: &dyn FsFile) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.pending.len() * ENTRY_LEN as usize);
        for entry in &self.pending {
            let relative = i32::try_from(entry.offset - self.base).expect("checked when appended");
            bytes.extend_from_slice(&relative.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
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

    /// Drops entries at or above `offset`.
    pub(crate) fn truncate(&mut self, file: &dyn FsFile, offset: Offset) -> io::Result<()> {
        self.pending.retain(|entry| entry.offset < offset);
        if self.pending.is_empty() {
            let keep = partition_point(self.written, |slot| {
                Ok(self.slot(file, slot)?.is_some_and(|entry| entry.offset < offset))
            })?;
            self.written = keep;
            self.last = match keep.checked_sub(1) {
                Some(last) => self.slot(file, last)?,
                None => None,
            };
        } else {
            self.last = self.pending.last().copied();
        }
        self.trim(file)
    }

    /// The greatest entry at or below `offset`, else the segment's start.
    pub(crate) fn lookup(&self, file: &dyn FsFile, offset: Offset) -> io::Result<OffsetPosition> {
        if let Some(known) = self.lookup_in_memory(offset) {
            return Ok(known);
        }
        let start = OffsetPosition { offset: self.base, position: 0 };
        let after = partition_point(self.written, |slot| {
            Ok(self.slot(file, slot)?.is_some_and(|entry| entry.offset <= offset))
        })?;
        match after.checked_sub(1) {
            Some(at) => Ok(self.slot(file, at)?.unwrap_or(start)),
            None => Ok(start),
        }
    }

    /// The same where the entry is in memory; `None` where the file has to be asked.
    pub(crate) fn lookup_in_memory(&self, offset: Offset) -> Option<OffsetPosition> {
        let after = self.pending.partition_point(|entry| entry.offset <= offset);
        let pending = after.checked_sub(1).and_then(|at| self.pending.get(at)).copied();
        pending.or(self.last.filter(|last| last.offset <= offset))
    }

    /// What is in the file, to be searched while the index grows on.
    pub(crate) fn written_part(&self) -> Self {
        Self { base: self.base, written: self.written, pending: Vec::new(), last: None }
    }

    /// The first entry whose position is at or above `position` (`fetchUpperBoundOffset`).
    pub(crate) fn first_at_position(
        &self,
        file: &dyn FsFile,
        position: u64,
    ) -> io::Result<Option<OffsetPosition>> {
        if self.last.is_none_or(|last| u64::from(last.position) < position) {
            return Ok(None);
        }
        let at = partition_point(self.written, |slot| {
            Ok(self.slot(file, slot)?.is_some_and(|entry| u64::from(entry.position) < position))
        })?;
        if at < self.written {
            return self.slot(file, at);
        }
        Ok(self.pending.iter().find(|entry| u64::from(entry.position) >= position).copied())
    }

    /// An entry on disk; `None` for zeros, which no entry is because the first batch of a segment is never indexed.
    fn slot(&self, file: &dyn FsFile, slot: u64) -> io::Result<Option<OffsetPosition>> {
        let mut bytes = [0; ENTRY_LEN as usize];
        if file.read_at(&mut bytes, slot * ENTRY_LEN)? < bytes.len() {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h] = bytes;
        let (relative, position) = (i32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        Ok((position != 0).then_some(OffsetPosition { offset: self.base + i64::from(relative), position }))
    }
}

/// The first of `0..len` for which `below` is false; `below` must be true up to a point and false from there.
pub(crate) fn partition_point(len: u64, below: impl Fn(u64) -> io::Result<bool>) -> io::Result<u64> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if below(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
