//! The end of a log in the journal of its directory: what to write there, and how it comes back after a power failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_record::BatchHeader;
use ottla_types::{LeaderEpoch, Offset, Uuid};

use super::{AppendError, Log, LogError};
use crate::fs::FsFile;

/// Most bytes of one log that go through the journal at a time: they are written twice, so that more is cheaper in place.
pub const MAX_JOURNALED_BYTES: u32 = 128 * 1024;

/// Bytes at the end of a full segment that do not go through the journal, so that rolling it seldom has to wait for the disk …
const MARGIN_BYTES: u32 = 1 << 20;
/// … or such a part of the segment, if that is less.
const MARGIN_PART: u32 = 8;

/// First offset of a ticket that says that what was written before is void from its other offset on.
pub(crate) const VOID: Offset = Offset(-1);

/// The bytes at the end of a log that are in no safe place yet, to be written to a journal
/// ([`Journal::commit`](crate::dir::Journal::commit)). Cut under the log's lock, carried out without it, handed back with
/// [`Log::complete_journal`].
#[derive(Debug)]
#[must_use = "nothing is safe before the journal has it and the ticket is completed"]
pub struct JournalTicket {
    pub(crate) name: String,
    pub(crate) topic_id: Uuid,
    /// The records are those from here …
    pub(crate) from: Offset,
    /// … to here, exclusively.
    pub(crate) to: Offset,
    pub(crate) file: Arc<dyn FsFile>,
    pub(crate) position: u64,
    pub(crate) bytes: u32,
    covered: Covered,
    voided: Arc<AtomicU64>,
    voided_before: u64,
}

impl JournalTicket {
    /// How many bytes of batches it is for.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// The log was cut, or is about to be: what the ticket says must not be written any more.
    pub(crate) fn is_void(&self) -> bool {
        self.voided.load(Ordering::Acquire) != self.voided_before
    }
}

/// How much of which segment is safe: in place or in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) base: Offset,
    pub(super) size: u32,
}

/// What the journal knew of a log's end, when it was opened after a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records that the segments had lost.
    pub records: i64,
    /// Whether the journal continues a log end that is not there: something else was lost before.
    pub has_gap: bool,
}

impl Log {
    /// Everything below survives a power failure, in place or in the journal. What promises durability waits for it.
    pub fn secured_offset(&self) -> Offset {
        self.durable.max(self.journaled)
    }

    /// Whether what was appended is little enough for the journal, and nothing else than records of the active segment: new
    /// files, first records and rolled segments are made durable in place.
    pub fn may_journal(&self) -> bool {
        let active = self.active();
        self.covered.base == active.base
            && (1..=MAX_JOURNALED_BYTES).contains(&self.unflushed_bytes())
            && self.poisoned().is_none()
            && self.topic_id.is_some()
            && self.config.flush_messages == i64::MAX
            && active.size.saturating_add(self.journal_margin()) <= self.config.segment_bytes
            && self.durable >= active.base
            && self.durable > self.log_start
            && self.unsynced_files.is_empty()
            && !self.metadata_unsynced
            && !self.parent_unsynced
            && self.dir_changes == self.dir_synced
    }

    fn journal_margin(&self) -> u32 {
        MARGIN_BYTES.min(self.config.segment_bytes / MARGIN_PART)
    }

    /// What to write to the journal so that the log is safe up to its present end; `None` when it cannot be made so there.
    ///
    /// # Errors
    /// Opening a file that was closed; the log is poisoned then.
    pub fn begin_journal(&mut self) -> Result<Option<JournalTicket>, LogError> {
        if !self.may_journal() {
            return Ok(None);
        }
        let secured = self.secured_offset();
        let (from, to) = (secured, self.log_end);
        let (position, end) = (self.covered.size, self.active().size);
        self.journal_begun = self.journal_begun.max(to);
        self.ticket(from, to, position, end - position)
    }

    /// Before another segment begins: what is safe in the journal alone, or is on its way there, is made durable in place. So the journal has
    /// nothing that counts of any segment but the last, and replaying it needs to know nothing of the others: whether a record in a hole
    /// between two of them was lost or compacted away, nobody could tell.
    pub(super) fn settle_journaled(&mut self) -> Result<(), LogError> {
        if self.journal_begun > self.durable {
            let fs = self.fs.clone();
            self.sync_active(fs.as_ref())?;
            // All else that these records need was durable before they were let through (`Log::may_journal`).
            self.durable = self.journal_begun;
        }
        Ok(())
    }

    /// What to write to the journal before the log is cut at `target`: that what it has of this log from there on is void, or a power
    /// failure could bring back what was cut; all of it where everything below is durable in place, since compaction may have removed records
    /// there. Tickets from before are void. `None` for a log without topic id, of which it has nothing.
    ///
    /// # Errors
    /// As [`Log::begin_journal`].
    pub fn begin_cut(&mut self, target: Offset) -> Result<Option<JournalTicket>, LogError> {
        self.voided.fetch_add(1, Ordering::Release);
        let kept = if target > self.durable { target } else { Offset::ZERO };
        self.ticket(VOID, kept, 0, 0)
    }

    /// What to write to the journal of the directory of this future log, before its own directory gets its final `name` there: that what the
    /// journal has by that name is void. The partition may have been there before, and have been cut since, elsewhere.
    ///
    /// # Errors
    /// As [`Log::begin_journal`].
    pub(crate) fn begin_return(&mut self, name: String) -> Result<JournalTicket, LogError> {
        let fs = self.fs.clone();
        let file = self.active().log_file(fs.as_ref());
        let file = self.poison_on_error(file)?;
        Ok(self.ticket_of(name, self.topic_id.unwrap_or_default(), file, (VOID, Offset::ZERO), (0, 0)))
    }

    fn ticket(
        &mut self,
        from: Offset,
        to: Offset,
        position: u32,
        bytes: u32,
    ) -> Result<Option<JournalTicket>, LogError> {
        let fs = self.fs.clone();
        let file = self.active().log_file(fs.as_ref());
        let file = self.poison_on_error(file)?;
        let name = self.dir.file_name().and_then(|name| name.to_str());
        let (Some(topic_id), Some(name)) = (self.topic_id, name) else { return Ok(None) };
        Ok(Some(self.ticket_of(name.to_owned(), topic_id, file, (from, to), (position, bytes))))
    }

    fn ticket_of(
        &self,
        name: String,
        topic_id: Uuid,
        file: Arc<dyn FsFile>,
        (from, to): (Offset, Offset),
        (position, bytes): (u32, u32),
    ) -> JournalTicket {
        let active = self.active();
        JournalTicket {
            name,
            topic_id,
            from,
            to,
            file,
            position: u64::from(position),
            bytes,
            covered: Covered { base: active.base, size: active.size },
            voided: Arc::clone(&self.voided),
            voided_before: self.voided.load(Ordering::Acquire),
        }
    }

    /// The journal has what the ticket says, durably.
    pub fn complete_journal(&mut self, ticket: &JournalTicket) {
        if !ticket.is_void() && self.poisoned().is_none() {
            self.journaled = self.journaled.max(ticket.to);
            self.cover(ticket.covered);
        }
    }

    pub(super) fn cover(&mut self, covered: Covered) {
        let is_more = covered.base > self.covered.base
            || (covered.base == self.covered.base && covered.size > self.covered.size);
        if is_more {
            self.covered = covered;
        }
    }

    /// Appends what the journal has and the log has not, and makes it durable in place. `pieces` are what [`JournalTicket`]s said,
    /// oldest first: first offset, offset after the last, bytes. What the log has already is passed over, so that replaying twice
    /// does no harm.
    ///
    /// # Errors
    /// The disk; the log is poisoned then.
    pub fn replay_journal<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = (Offset, Offset, &'a [u8])>,
        now_ms: i64,
    ) -> Result<Replayed, LogError> {
        let mut replayed = Replayed::default();
        for (from, to, bytes) in pieces {
            if to <= self.log_end {
                continue;
            }
            if from > self.log_end {
                // Others may be of a log that was cut since.
                replayed.has_gap = true;
                continue;
            }
            let missing = self.missing(up_to(bytes, to));
            if missing.is_empty() {
                continue;
            }
            let before = self.log_end;
            match self.append_as_follower(missing, LeaderEpoch(i32::MAX), now_ms) {
                Ok(_) => replayed.records += self.log_end - before,
                Err(AppendError::Log(error)) => return Err(error),
                // What a cut made meaningless while it was being written.
                Err(_) => break,
            }
        }
        // What the journal has may be in the page cache only, and then the journal goes.
        self.flush(now_ms)?;
        Ok(replayed)
    }

    /// The batches from the log end on, unless they are of an older leader than the log's last: then they were cut off since. The last
    /// segment has no hole before its end: opening it ends it at the first, and only others are compacted.
    fn missing<'a>(&self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let Ok(batch) = BatchHeader::parse(bytes) {
            if batch.base_offset() >= self.log_end {
                let is_stale = self.latest_epoch().is_some_and(|latest| batch.leader_epoch() < latest);
                return if is_stale { &[] } else { bytes };
            }
            bytes = bytes.get(batch.size_in_bytes()..).unwrap_or_default();
        }
        &[]
    }
}

/// The batches that end at or below `end`: the log was cut there since.
fn up_to(bytes: &[u8], end: Offset) -> &[u8] {
    let mut len = 0;
    while let Ok(batch) = BatchHeader::parse(bytes.get(len..).unwrap_or_default())
        && batch.next_offset() <= end
    {
        len += batch.size_in_bytes();
    }
    bytes.get(..len).unwrap_or(bytes)
}
